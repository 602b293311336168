//! What is and what is no index, and which of its entries is for a platform.

use super::*;

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
