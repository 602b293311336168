//! What is and what is no manifest.

use super::*;

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
