use proptest::prelude::*;

use super::*;

#[test]
fn tokens_are_read() {
    let cases = [
        (r#"{"token":"t"}"#, Some("t")),
        (r#"{"access_token":"a","expires_in":300}"#, Some("a")),
        (r#"{"token":"","access_token":"a"}"#, Some("a")),
        (r#"{"token":"t","access_token":"a"}"#, Some("t")),
        (r#"{"token":1}"#, None),
        (r#"{"token":""}"#, None),
        (r#"{"token":null}"#, None),
        ("{}", None),
        ("[]", None),
        ("<html>", None),
        ("", None),
    ];
    for (body, token) in cases {
        assert_eq!(
            parse_token(body.as_bytes()).ok().as_deref(),
            token,
            "{body}"
        );
    }
}

fn realm(registry: &str, realm: &str) -> Result<Url, RegistryError> {
    let origin = Origin::of(&Url::parse(registry).unwrap()).unwrap();
    let identity = Identity {
        registry: "r".to_owned(),
        repository: "x".to_owned(),
        scopes: Vec::new(),
        credential: None,
    };
    Authenticator::new(origin, identity, InsecureHosts::default()).realm_url(realm)
}

#[test]
fn realms_are_https_or_the_same_insecure_host() {
    let good = [
        ("https://quay.io/", "https://auth.quay.io/token"),
        ("https://quay.io/", "https://quay.io/v2/auth?x=1"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"),
        ("http://127.0.0.1:5000/", "https://auth.example.com/token"),
    ];
    for (registry, url) in good {
        assert!(realm(registry, url).is_ok(), "{registry} {url}");
    }
    let bad = [
        ("https://quay.io/", "http://quay.io/token"),
        ("https://quay.io/", "http://auth.quay.io/token"),
        ("http://127.0.0.1:5000/", "http://127.0.0.2:5000/token"),
        ("http://127.0.0.1:5000/", "http://evil.example.com/token"),
        ("https://quay.io/", "https://169.254.169.254/token"),
        ("https://quay.io/", "https://127.0.0.1/token"),
        ("https://quay.io/", "https://10.0.0.1/token"),
        ("https://quay.io/", "https://user:pw@auth.quay.io/token"),
        ("https://quay.io/", "file:///etc/passwd"),
        ("https://quay.io/", "token"),
        ("https://quay.io/", ""),
    ];
    for (registry, url) in bad {
        assert!(realm(registry, url).is_err(), "{registry} {url}");
    }
}

#[test]
fn forms_are_encoded() {
    assert_eq!(
        form_body(&[("a", "b c"), ("d", "&=+/é")]),
        "a=b+c&d=%26%3D%2B%2F%C3%A9"
    );
}

#[test]
fn the_corpus_of_challenges_leads_to_https_only() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/challenge");
    let mut services = 0;
    for entry in fs_err::read_dir(corpus).unwrap() {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        if let Some(service) = token_service(&String::from_utf8_lossy(&bytes)) {
            assert!(service.starts_with("https://"), "{service}");
            services += 1;
        }
    }
    assert!(services > 0);
}

proptest! {
    #[test]
    fn no_body_makes_the_token_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_token(&body);
    }
}
