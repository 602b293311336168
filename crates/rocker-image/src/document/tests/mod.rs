//! Tables of documents, good and bad.

mod configs;
mod indexes;
mod manifests;

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

/// What is done to a good document, what announces it, and words of the refusal.
type Refused = (Value, Option<&'static str>, &'static str);

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
