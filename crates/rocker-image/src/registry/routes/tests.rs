use super::*;

const FILE: &str = r#"
    unqualified-search-registries = ["example.com"]
    short-name-mode = "enforcing"

    [[registry]]
    prefix = "docker.io"
    location = "docker.io"
    [[registry.mirror]]
    location = "127.0.0.1:5000/hub"
    insecure = true
    [[registry.mirror]]
    location = "mirror.gcr.io"
    pull-from-mirror = "digest-only"

    [[registry]]
    prefix = "quay.io/team"
    location = "inner.lan:8443/copies/"

    [[registry]]
    location = "evil.example"
    blocked = true

    [[registry]]
    prefix = "*.lan"
    insecure = true
"#;

fn stops(files: &[&str], reference: &str) -> Result<Vec<String>, RouteError> {
    let mut routes = Routes::default();
    for file in files {
        routes.add(file)?;
    }
    let way = routes.way(&reference.parse().unwrap())?;
    let shown = way.mirrors.iter().chain([&way.own]).map(|stop| {
        let mark = if stop.insecure { "!" } else { "" };
        format!("{mark}{}/{}", stop.registry, stop.repository)
    });
    Ok(shown.collect())
}

#[test]
fn references_are_led_to_where_they_are() {
    let digest = format!("alpine@sha256:{}", "0".repeat(64));
    let cases: &[(&str, &[&str])] = &[
        (
            "alpine",
            &[
                "!127.0.0.1:5000/hub/library/alpine",
                "docker.io/library/alpine",
            ],
        ),
        (
            &digest,
            &[
                "!127.0.0.1:5000/hub/library/alpine",
                "mirror.gcr.io/library/alpine",
                "docker.io/library/alpine",
            ],
        ),
        ("quay.io/team/app", &["inner.lan:8443/copies/app"]),
        ("quay.io/team2/app", &["quay.io/team2/app"]),
        ("quay.io/teamwork", &["quay.io/teamwork"]),
        ("a.b.lan/app", &["!a.b.lan/app"]),
        ("ghcr.io/x/y", &["ghcr.io/x/y"]),
    ];
    for (reference, expected) in cases {
        assert_eq!(stops(&[FILE], reference).unwrap(), *expected, "{reference}");
    }
    let blocked = stops(&[FILE], "evil.example/app").unwrap_err();
    assert!(matches!(blocked, RouteError::Blocked { .. }), "{blocked}");
    assert_eq!(blocked.kind(), ErrorKind::Denied);
    let mut routes = Routes::default();
    routes.add(FILE).unwrap();
    for (registry, insecure) in [("x.lan", true), ("lan", false), ("docker.io", false)] {
        assert_eq!(routes.is_insecure(registry), insecure, "{registry}");
    }
}

#[test]
fn a_later_file_says_the_last_word_about_its_prefix() {
    let later = "[[registry]]\nprefix = \"quay.io/team\"\nlocation = \"other.lan\"";
    assert_eq!(
        stops(&[FILE, later], "quay.io/team/app").unwrap(),
        ["other.lan/app"]
    );
    assert_eq!(stops(&[FILE, later], "alpine").unwrap().len(), 2);
    assert_eq!(stops(&[], "alpine").unwrap(), ["docker.io/library/alpine"]);
}

#[test]
fn files_that_are_not_understood_are_refused() {
    for (file, says) in [
        ("[[registry]", "line 1"),
        ("x = 1\n[[registry]]\nblocked = \"yes\"", "line 3"),
        ("[registries.search]\nregistries = []", "version 1"),
        ("[[registry]]\ninsecure = true", "not HOST"),
        ("[[registry]]\nlocation = \"https://a.io\"", "not HOST"),
        ("[[registry]]\nlocation = \"a.io/x:tag\"", "not HOST"),
        ("[[registry]]\nlocation = \"a.io/../x\"", "not HOST"),
        (
            "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"\"",
            "not HOST",
        ),
    ] {
        let error = stops(&[file], "alpine").unwrap_err().to_string();
        assert!(error.contains(says), "{file}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_parser_panic(text in ".{0,200}") {
        let _ = Routes::default().add(&text);
    }
}
