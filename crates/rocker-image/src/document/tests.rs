//! Tables of documents, good and bad.

use proptest::prelude::*;
use rocker_types::{Algorithm, Digest, Platform};
use serde_json::{Value, json};

use super::*;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn hex(n: usize) -> String {
    format!("sha256:{n:064x}")
}

fn descriptor(media_type: &str, n: usize) -> Value {
    json!({"mediaType": media_type, "digest": hex(n), "size": n})
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, 1),
        "layers": [descriptor(OCI_GZIP, 2), descriptor(OCI_GZIP, 3)],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": hex(1), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
        ],
    })
}

/// `document` with the value at a JSON pointer replaced; `null` removes an object's key.
fn with(document: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut document = document;
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(map) if value.is_null() => {
            map.remove(key);
        }
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{pointer} has no parent")
        }
    }
    document
}

fn parse_text(text: &str, announced: Option<&str>) -> Result<Document, DocumentError> {
    let digest = digest_of(Algorithm::Sha256, text.as_bytes());
    Document::parse(
        text.as_bytes().to_vec(),
        announced,
        digest,
        &DocumentLimits::default(),
    )
}

fn parse(document: &Value, announced: Option<&str>) -> Result<Document, DocumentError> {
    parse_text(&document.to_string(), announced)
}

fn parsed_manifest(document: &Value) -> Manifest {
    match parse(document, None).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => panic!("{index:?}"),
    }
}

fn parsed_index(document: &Value) -> Index {
    match parse(document, None).unwrap() {
        Document::Index(index) => index,
        Document::Manifest(manifest) => panic!("{manifest:?}"),
    }
}

fn refusal(result: Result<Document, DocumentError>) -> String {
    let error = result.unwrap_err();
    let source = std::error::Error::source(&error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn manifests_of_both_families_are_read() {
    let docker = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, 1),
        "layers": [descriptor(DOCKER_GZIP, 2)],
    });
    let manifest = parsed_manifest(&docker);
    assert_eq!(manifest.media_type, DOCKER_MANIFEST);
    assert_eq!(manifest.config.digest, hex(1).parse::<Digest>().unwrap());
    assert_eq!(manifest.layers[0].compression(), Some(Compression::Gzip));
    assert_eq!(manifest.raw, docker.to_string().into_bytes());
    assert_eq!(manifest.digest, digest_of(Algorithm::Sha256, &manifest.raw));

    let oci = parsed_manifest(&self::manifest());
    assert_eq!(
        oci.layers
            .iter()
            .map(|layer| layer.size)
            .collect::<Vec<_>>(),
        [2, 3]
    );
}

#[test]
fn oci_documents_may_leave_their_media_type_out() {
    for announced in [
        None,
        Some("application/json"),
        Some("text/plain"),
        Some(OCI_MANIFEST),
    ] {
        let document = parse(&with(manifest(), "/mediaType", Value::Null), announced).unwrap();
        assert_eq!(document.media_type(), OCI_MANIFEST, "{announced:?}");
    }
    let document = parse(&with(index(), "/mediaType", Value::Null), None).unwrap();
    assert_eq!(document.media_type(), OCI_INDEX);
}

#[test]
fn layer_types_say_how_they_are_compressed() {
    let cases = [
        ("application/vnd.oci.image.layer.v1.tar", Compression::None),
        (OCI_GZIP, Compression::Gzip),
        (
            "application/vnd.oci.image.layer.v1.tar+zstd",
            Compression::Zstd,
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar",
            Compression::None,
        ),
        (DOCKER_GZIP, Compression::Gzip),
        (
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            Compression::Zstd,
        ),
    ];
    for (media_type, compression) in cases {
        let manifest = parsed_manifest(&with(manifest(), "/layers/1/mediaType", json!(media_type)));
        assert_eq!(
            manifest.layers[1].compression(),
            Some(compression),
            "{media_type}"
        );
    }
}

/// What is done to a good document, what announces it, and words of the refusal.
type Refused = (Value, Option<&'static str>, &'static str);

fn refused_kinds() -> Vec<Refused> {
    let field = |pointer: &str, value: Value| with(manifest(), pointer, value);
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let nameless = || field("/mediaType", Value::Null);
    vec![
        (field("/schemaVersion", json!(1)), None, "schema 1"),
        (field("/schemaVersion", json!(3)), None, "schemaVersion"),
        (field("/schemaVersion", json!("2")), None, "schemaVersion"),
        (field("/schemaVersion", Value::Null), None, "schemaVersion"),
        (field("/fsLayers", json!([])), None, "schema 1"),
        (manifest(), Some(signed), "schema 1"),
        (manifest(), Some("text/html"), "text/html"),
        (manifest(), Some(OCI_INDEX), "announced as"),
        (manifest(), Some(DOCKER_MANIFEST), "announced as"),
        (nameless(), Some(OCI_INDEX), "by its fields"),
        (field("/mediaType", json!(OCI_INDEX)), None, "by its fields"),
        (field("/mediaType", json!("app/x")), None, "app/x"),
        (field("/mediaType", json!(7)), None, "mediaType"),
        (field("/manifests", json!([])), None, "both"),
        (field("/Layers", json!([])), None, "Layers"),
    ]
}

fn refused_fields() -> Vec<Refused> {
    let field = |pointer: &str, value: Value| (with(manifest(), pointer, value), None);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let helm = "application/vnd.cncf.helm.config.v1+json";
    let many = vec![descriptor(OCI_GZIP, 2); DocumentLimits::default().layers + 1];
    let by_position = json!([OCI_GZIP, hex(2), 2]);
    let cases = [
        (field("/config", Value::Null), "config is missing"),
        (field("/config", json!([])), "not valid"),
        (field("/config/digest", Value::Null), "config.digest"),
        (field("/config/mediaType", json!(helm)), "helm"),
        (field("/layers", Value::Null), "layers is missing"),
        (field("/layers", json!([])), "layers is empty"),
        (field("/layers", json!({})), "not valid"),
        (field("/layers", json!(many)), "501 layers"),
        (field("/layers/0", json!("x")), "not valid"),
        (field("/layers/0", by_position), "not valid"),
        (
            field("/layers/1/mediaType", json!("app/x")),
            "layers[1].mediaType",
        ),
        (
            field("/layers/1/mediaType", json!(foreign)),
            "layer 1 is a foreign layer",
        ),
    ];
    cases
        .into_iter()
        .map(|((document, announced), words)| (document, announced, words))
        .collect()
}

#[test]
fn bad_manifests_are_refused_by_name() {
    for (document, announced, words) in refused_kinds().into_iter().chain(refused_fields()) {
        let refusal = refusal(parse(&document, announced));
        assert!(refusal.contains(words), "{words:?} is not in {refusal:?}");
    }
}

#[test]
fn sizes_are_whole_numbers_of_63_bits() {
    for good in ["0", "1", "9223372036854775807"] {
        let text = manifest()
            .to_string()
            .replace("\"size\":3", &format!("\"size\":{good}"));
        assert!(parse_text(&text, None).is_ok(), "{good}");
    }
    for bad in [
        "-1",
        "1.5",
        "1e3",
        "\"3\"",
        "null",
        "9223372036854775808",
        "18446744073709551616",
        "[3]",
        "true",
    ] {
        let text = manifest()
            .to_string()
            .replace("\"size\":3", &format!("\"size\":{bad}"));
        let refusal = refusal(parse_text(&text, None));
        assert!(refusal.contains("layers[1].size"), "{bad}: {refusal}");
    }
    let text = manifest().to_string().replace(",\"size\":3", "");
    assert!(refusal(parse_text(&text, None)).contains("layers[1].size is missing"));
}

#[test]
fn digests_are_strict() {
    let long = "a".repeat(64);
    let bad = [
        String::new(),
        "sha256:".to_owned(),
        long.clone(),
        format!("sha256:{}", &long[1..]),
        format!("sha256:{}", long.to_uppercase()),
        format!("md5:{}", &long[..32]),
        format!("sha256:../../{}", &long[6..]),
        format!("sha256:{}", "٣".repeat(64)),
        format!("sha256:{long} "),
    ];
    for digest in bad {
        let refusal = refusal(parse(
            &with(manifest(), "/layers/0/digest", json!(digest)),
            None,
        ));
        assert!(refusal.contains("layers[0].digest"), "{digest}: {refusal}");
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let deep = format!(
        r#"{{"schemaVersion":2,"x":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let twice = manifest()
        .to_string()
        .replacen("\"layers\"", "\"layers\":[],\"layers\"", 1);
    let nested = manifest()
        .to_string()
        .replacen("\"size\":1", "\"size\":1,\"size\":1", 1);
    let annotation = with(manifest(), "/annotations", json!({"a": "b"})).to_string();
    let annotation = annotation.replace(r#""a":"b""#, r#""a":"b","a":"c""#);
    let whole = manifest().to_string();
    for text in [
        "",
        "{",
        "[]",
        "null",
        "<!DOCTYPE html>",
        &whole[..whole.len() - 1],
        &twice,
        &nested,
        &annotation,
    ] {
        assert!(
            matches!(parse_text(text, None), Err(DocumentError::Syntax { .. })),
            "{}",
            &text[..text.len().min(80)]
        );
    }
    let refused = parse_text(&deep, None);
    assert!(
        matches!(&refused, Err(DocumentError::Limit(limit)) if limit.limit == "json_depth"),
        "{refused:?}"
    );
}

#[test]
fn a_manifest_has_four_mebibytes() {
    let padding = |length: usize| {
        with(manifest(), "/annotations", json!({"x": "y".repeat(length)})).to_string()
    };
    let room =
        usize::try_from(DocumentLimits::default().manifest_bytes).unwrap() - padding(0).len();
    assert!(parse_text(&padding(room), None).is_ok());
    assert!(matches!(
        parse_text(&padding(room + 1), None),
        Err(DocumentError::Limit(_))
    ));
}

#[test]
fn urls_and_data_of_descriptors_are_not_read() {
    let document = with(manifest(), "/layers/0/urls", json!(["file:///etc/passwd"]));
    let document = with(document, "/layers/0/data", json!("eA=="));
    assert_eq!(
        parsed_manifest(&document).layers,
        parsed_manifest(&manifest()).layers
    );
}

fn index_of(platforms: &[&str]) -> Index {
    let entries = platforms.iter().enumerate().map(|(n, text)| {
        let mut entry = descriptor(OCI_MANIFEST, n);
        if !text.is_empty() {
            let mut words = text.split('/');
            entry["platform"] = json!({"os": words.next(), "architecture": words.next()});
            if let Some(variant) = words.next() {
                entry["platform"]["variant"] = json!(variant);
            }
        }
        entry
    });
    parsed_index(&with(index(), "/manifests", entries.collect()))
}

#[test]
fn an_index_offers_the_nearest_variant() {
    let cases: &[(&[&str], &str, Option<u64>)] = &[
        (&["linux/arm64", "linux/amd64"], "linux/amd64", Some(1)),
        (&["linux/amd64", "linux/amd64"], "linux/amd64", Some(0)),
        (
            &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
            "linux/amd64",
            Some(2),
        ),
        (
            &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
            "linux/amd64/v2",
            Some(1),
        ),
        (
            &["linux/amd64/v1", "linux/amd64/v2"],
            "linux/amd64/v4",
            Some(1),
        ),
        (&["linux/amd64/v3"], "linux/amd64", None),
        (
            &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"],
            "linux/arm/v7",
            Some(1),
        ),
        (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some(1)),
        (&["linux/arm/v5", "linux/arm/v7"], "linux/arm/v6", Some(0)),
        (&["linux/arm/v5", "linux/arm/v7"], "linux/arm", Some(1)),
        (&["linux/arm64/v8"], "linux/arm64", Some(0)),
        (&["linux/arm64"], "linux/arm64/v8", Some(0)),
        (&["linux/arm64/v9"], "linux/arm64", None),
        (&["linux/riscv64"], "linux/riscv64", Some(0)),
        (&["linux/x/odd"], "linux/x/odd", Some(0)),
        (&["linux/x/odd"], "linux/x", None),
        (&["windows/amd64"], "linux/amd64", None),
        (&["linux/386"], "linux/amd64", None),
        (&["windows/amd64", ""], "linux/amd64", Some(1)),
        (&["", "linux/amd64"], "linux/amd64", Some(1)),
        (&[], "linux/amd64", None),
    ];
    for (offered, wanted, expected) in cases {
        let index = index_of(offered);
        let chosen = index
            .choose(&platform(wanted))
            .ok()
            .map(|entry| entry.descriptor.size);
        assert_eq!(chosen, *expected, "{wanted} from {offered:?}");
    }
}

#[test]
fn a_missing_platform_lists_what_there_is() {
    let index = index_of(&[
        "linux/amd64",
        "linux/arm/v7",
        "windows/amd64",
        "linux/amd64",
    ]);
    let error = index.choose(&platform("linux/s390x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no image for linux/s390x; there is linux/amd64, linux/arm/v7, windows/amd64"
    );
    assert_eq!(
        index_of(&[])
            .choose(&platform("linux/s390x"))
            .unwrap_err()
            .to_string(),
        "no image for linux/s390x; there is none"
    );
}

#[test]
fn entries_that_are_no_images_are_passed_over() {
    let mut attestation = descriptor(OCI_MANIFEST, 5);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let foreign = descriptor("application/vnd.in-toto+json", 6);
    let document = with(
        index(),
        "/manifests",
        json!([attestation, foreign, descriptor(DOCKER_LIST, 7)]),
    );
    let index = parsed_index(&document);
    assert_eq!(index.entries.len(), 1);
    assert_eq!(
        index
            .choose(&platform("linux/amd64"))
            .unwrap()
            .descriptor
            .size,
        7
    );
}

#[test]
fn bad_indexes_are_refused_by_name() {
    let field = |pointer: &str, value: Value| with(index(), pointer, value);
    let cases: Vec<Refused> = vec![
        (field("/layers", json!([])), None, "both"),
        (field("/config", json!({})), None, "both"),
        (
            field("/mediaType", json!(OCI_MANIFEST)),
            None,
            "by its fields",
        ),
        (index(), Some(OCI_MANIFEST), "announced as"),
        (
            field("/manifests/0/size", json!(-1)),
            None,
            "manifests[0].size",
        ),
        (
            field("/manifests/0/digest", json!("x")),
            None,
            "manifests[0].digest",
        ),
        (
            field("/manifests/0/platform", json!("linux")),
            None,
            "not valid",
        ),
        (
            field("/manifests/0/platform/os", json!(1)),
            None,
            "manifests[0].platform.os",
        ),
        (field("/manifests", json!({})), None, "not valid"),
        (field("/manifests", Value::Null), None, "layers is missing"),
    ];
    for (document, announced, words) in cases {
        let refusal = refusal(parse(&document, announced));
        assert!(refusal.contains(words), "{words:?} is not in {refusal:?}");
    }
}

fn config() -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [hex(8), hex(9)]},
    })
}

fn default_config(raw: &[u8]) -> Result<rocker_types::ImageConfig, DocumentError> {
    let manifest = parsed_manifest(&manifest());
    parse_config(raw, &manifest, None, &DocumentLimits::default())
}

fn read_config(
    document: &Value,
    wanted: Option<&str>,
) -> Result<rocker_types::ImageConfig, DocumentError> {
    let wanted = wanted.map(platform);
    parse_config(
        document.to_string().as_bytes(),
        &parsed_manifest(&manifest()),
        wanted.as_ref(),
        &DocumentLimits::default(),
    )
}

#[test]
fn configs_are_read() {
    let config = read_config(&self::config(), Some("linux/amd64")).unwrap();
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    assert_eq!(config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
}

#[test]
fn a_config_is_for_the_platform_that_was_promised() {
    let of = |architecture: &str, variant: Option<&str>| {
        let config = with(config(), "/architecture", json!(architecture));
        variant.map_or(config.clone(), |variant| {
            with(config, "/variant", json!(variant))
        })
    };
    let good = [
        (of("s390x", None), None),
        (of("arm", Some("v7")), Some("linux/arm/v7")),
        (of("arm", None), Some("linux/arm/v7")),
        (of("arm", Some("v6")), Some("linux/arm/v7")),
        (of("arm64", Some("v8")), Some("linux/arm64")),
        (of("amd64", Some("")), Some("linux/amd64")),
    ];
    for (document, wanted) in good {
        assert!(
            read_config(&document, wanted).is_ok(),
            "{document} {wanted:?}"
        );
    }
    let bad = [
        (of("arm64", None), Some("linux/amd64")),
        (of("arm", Some("v7")), Some("linux/arm/v6")),
        (of("", None), Some("linux/amd64")),
    ];
    for (document, wanted) in bad {
        let error = read_config(&document, wanted).unwrap_err();
        assert!(
            matches!(error, DocumentError::WrongPlatform { .. }),
            "{document} {wanted:?}: {error}"
        );
    }
}

#[test]
fn bad_configs_are_refused_by_name() {
    let field = |pointer: &str, value: Value| with(config(), pointer, value);
    let cases = [
        (field("/os", json!("windows")), "windows"),
        (field("/os", json!("")), "operating system \"\""),
        (field("/os", Value::Null), "missing field `os`"),
        (field("/OS", json!("linux")), "OS"),
        (field("/architecture", json!(1)), "expected a string"),
        (field("/rootfs", Value::Null), "missing field `rootfs`"),
        (field("/rootfs/type", json!("foo")), "rootfs.type"),
        (field("/rootfs/diff_ids", json!([])), "0 diff_ids"),
        (field("/rootfs/diff_ids", json!([hex(8)])), "1 diff_ids"),
        (
            field("/rootfs/diff_ids", json!([hex(8), hex(9), hex(9)])),
            "3 diff_ids",
        ),
        (
            field("/rootfs/diff_ids/0", json!("sha256:../../etc")),
            "invalid digest",
        ),
        (field("/config/Cmd", json!("sh")), "expected a sequence"),
        (field("/config", json!([])), "expected a JSON object"),
        (
            field("/rootfs", json!(["layers", [hex(8), hex(9)]])),
            "expected a JSON object",
        ),
        (
            field("/history", json!([["2026"]])),
            "expected a JSON object",
        ),
        (
            field("/config/Healthcheck", json!([["NONE"]])),
            "expected a JSON object",
        ),
    ];
    for (document, words) in cases {
        let error = read_config(&document, None).unwrap_err();
        let source = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        let refusal = format!("{error}: {source}");
        assert!(refusal.contains(words), "{words:?} is not in {refusal:?}");
    }
    let twice = config()
        .to_string()
        .replacen("\"os\"", "\"os\":\"windows\",\"os\"", 1);
    let error = default_config(twice.as_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::Syntax { .. }), "{error}");
    let huge = vec![b' '; usize::try_from(DocumentLimits::default().config_bytes).unwrap() + 1];
    let error = default_config(&huge).unwrap_err();
    assert!(matches!(error, DocumentError::Limit(_)), "{error}");
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for (pointer, value, place) in [
        ("/config/Cmd", json!("sh"), "config.Cmd"),
        ("/config/Env", json!(["A=1", 2]), "config.Env[1]"),
        ("/config/User", json!(7), "config.User"),
        ("/config/Volumes", json!({"/v": 1}), "config.Volumes./v"),
        (
            "/rootfs/diff_ids/0",
            json!("sha256:x"),
            "rootfs.diff_ids[0]",
        ),
    ] {
        let document = with(config(), "/config", json!({}));
        let error = read_config(&with(document, pointer, value), None).unwrap_err();
        assert_eq!(error.to_string(), format!("config is not valid at {place}"));
    }
    let document = with(manifest(), "/layers", json!({}));
    let error = parse(&document, None).unwrap_err();
    assert_eq!(error.to_string(), "manifest is not valid at layers");
}

#[test]
fn bytes_are_compared_with_what_was_promised() {
    let digest = digest_of(Algorithm::Sha256, b"abc");
    assert_eq!(
        digest.to_string(),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(verify("x", b"abc", &digest, Some(3)).is_ok());
    assert!(matches!(
        verify("x", b"abc", &digest, Some(4)),
        Err(DocumentError::SizeMismatch { .. })
    ));
    assert!(matches!(
        verify("x", b"abd", &digest, None),
        Err(DocumentError::DigestMismatch { .. })
    ));
    let long = digest_of(Algorithm::Sha512, b"abc");
    assert!(verify("x", b"abc", &long, None).is_ok());
}

/// JSON that is near enough to a document to get past the first checks.
fn near_documents() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!(2)),
        Just(json!(OCI_MANIFEST)),
        Just(json!(OCI_INDEX)),
        Just(json!(OCI_CONFIG)),
        Just(json!(OCI_GZIP)),
        Just(json!(hex(1))),
    ];
    let key = prop_oneof![
        "(schemaVersion|mediaType|manifests|config|layers|digest|size|platform|os|architecture|variant)",
        ".{0,8}",
    ];
    scalar.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let digest = digest_of(Algorithm::Sha256, &bytes);
        let _ = Document::parse(bytes.clone(), None, digest, &DocumentLimits::default());
        let _ = parse_config(&bytes, &parsed_manifest(&manifest()), None, &DocumentLimits::default());
    }

    #[test]
    fn no_document_makes_a_parser_panic(document in near_documents(), announced in proptest::option::of(".{0,20}")) {
        let _ = parse(&document, announced.as_deref());
        let _ = read_config(&document, None);
    }

    #[test]
    fn what_is_accepted_keeps_its_promises(document in near_documents(), key in "(config|layers|manifests|mediaType)") {
        let good = with(manifest(), &format!("/{key}"), document);
        if let Ok(Document::Manifest(manifest)) = parse(&good, None) {
            prop_assert!(!manifest.layers.is_empty() && manifest.layers.len() <= DocumentLimits::default().layers);
            prop_assert!(manifest.layers.iter().all(|layer| layer.compression().is_some()));
            prop_assert!(manifest.layers.iter().all(|layer| i64::try_from(layer.size).is_ok()));
        }
    }
}
