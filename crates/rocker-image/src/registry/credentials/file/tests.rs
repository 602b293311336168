use super::*;

fn parse(text: &str) -> Result<AuthFile, AuthFileError> {
    AuthFile::parse(text.as_bytes(), Path::new("/auth.json"))
}

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

#[test]
fn entries_are_read() {
    let file = parse(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
            "quay.io": {"auth": "dXNlcjpwdw"},
            "ghcr.io": {"username": "u", "password": "p"},
            "acr.io": {"auth": "MDAwMDo=", "identitytoken": "refresh"},
            "helper.io": {}
        }, "credHelpers": {"gcr.io": ""}, "HttpHeaders": {"X": "y"}}"#,
    )
    .unwrap();
    let cases = [
        ("docker.io", Some(basic("user", "pa:ss"))),
        ("quay.io", Some(basic("user", "pw"))),
        ("ghcr.io", Some(basic("u", "p"))),
        ("acr.io", Some(Credential::Identity("refresh".to_owned()))),
        ("helper.io", None),
        ("gcr.io", None),
    ];
    for (registry, expected) in cases {
        assert_eq!(file.find(registry, "x/y").unwrap(), expected, "{registry}");
    }
}

#[test]
fn the_helper_that_keeps_a_login_is_that_of_its_registry() {
    let file = parse(
        r#"{"credsStore": "all", "credHelpers": {"https://GCR.io": "gcr", "quay.io/team": "team"}}"#,
    )
    .unwrap();
    let keeper = |server: &str| {
        let keeper = file.keeper(&server.parse().unwrap()).unwrap();
        keeper.map(|helper| helper.program().to_owned())
    };
    for (server, program) in [
        ("gcr.io", "docker-credential-gcr"),
        ("quay.io/team", "docker-credential-team"),
        ("quay.io", "docker-credential-all"),
    ] {
        assert_eq!(keeper(server).as_deref(), Some(program), "{server}");
    }
    assert!(
        parse(r#"{"credsStore": "../sh"}"#)
            .unwrap()
            .find("a.io", "x")
            .is_err()
    );
    for text in ["[]", r#"{"credHelpers": []}"#, r#"{"credsStore": 1}"#] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn empty_files_have_no_credentials() {
    for text in ["", " \n", "{}", r#"{"auths":{}}"#] {
        assert!(parse(text).unwrap().auths.is_empty(), "{text:?}");
    }
}

#[test]
fn errors_name_the_registry_and_no_secret() {
    let secret = "c2VjcmV0"; // "secret": no colon
    let cases = [
        format!(r#"{{"auths":{{"quay.io":{{"auth":"{secret}"}}}}}}"#),
        format!(r#"{{"auths":{{"quay.io":{{"auth":"!{secret}"}}}}}}"#),
        format!(r#"{{"auths":{{"quay.io":{{"auth":["{secret}"]}}}}}}"#),
        format!(r#"{{"auths":"{secret}"}}"#),
        format!(r#"{{"auths":{{"quay.io":"{secret}"#),
    ];
    for text in cases {
        let found = parse(&text).and_then(|file| file.find("quay.io", "team/app"));
        let error = found.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("auth.json") && !shown.contains(secret),
            "{text}: {shown}"
        );
    }
}

#[test]
fn an_entry_that_nobody_can_read_is_no_matter_for_other_registries() {
    let text = r#"{"auths":{"quay.io/team":{"auth":"!"},"gcr.io":{"auth":"dXNlcjpwdw=="}}}"#;
    let file = parse(text).unwrap();
    assert!(file.find("gcr.io", "app").unwrap().is_some());
    assert_eq!(file.find("ghcr.io", "app").unwrap(), None);
    assert_eq!(file.find("quay.io", "other/app").unwrap(), None);
    assert!(file.find("quay.io", "team/app").is_err());
}

#[test]
fn a_missing_file_is_not_an_error() {
    let read = |path| AuthFile::read(Path::new(path));
    assert!(read("/nonexistent/auth.json").unwrap().is_none());
    assert!(read("/dev/zero").is_err());
}
