//! Registries that want to know who we are.

use std::sync::atomic::{AtomicU32, Ordering};

use rocker_image::registry::{Credential, LayerState, PullEvent, PullProgress, PullRequest, pull};
use rocker_testkit::registry::{Action, Auth, On, Registry};
use rocker_types::{Diagnose as _, ErrorKind};

use crate::ground::{
    Ground, chain, listening_server, one_layer, raw_server, request, three_layers,
};

const SECRET: &str = "correct-horse";

fn basic() -> Auth {
    Auth::Basic {
        user: "ann".to_owned(),
        password: SECRET.to_owned(),
    }
}

fn token(user: bool) -> Auth {
    Auth::Token {
        user: user.then(|| ("ann".to_owned(), SECRET.to_owned())),
    }
}

fn request_as<'a>(registry: &str, reference: &str, password: &str) -> PullRequest<'a> {
    let mut request = request(reference);
    let credential = Credential::Basic {
        username: "ann".to_owned(),
        password: password.to_owned(),
    };
    request.registry.credentials.insert(registry, credential);
    request
}

#[test]
fn whoever_has_the_password_gets_the_image() {
    for auth in [basic(), token(true)] {
        let ground = Ground::with_auth(auth.clone());
        let reference = ground.registry.push("team/app:1", &three_layers());
        let request = request_as(&ground.registry.host(), &reference, SECRET);
        let outcome = ground.pull_with(&request);
        assert!(
            outcome.is_ok(),
            "{auth:?}: {}",
            chain(&outcome.unwrap_err())
        );
    }
}

#[test]
fn a_token_for_everybody_needs_no_password() {
    let ground = Ground::with_auth(token(false));
    let reference = ground.registry.push("team/app:1", &three_layers());

    ground.pull(&reference).unwrap();

    let requests = ground.registry.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.path.starts_with("/token"))
        .count();
    let refused = requests
        .iter()
        .filter(|request| request.status == 401)
        .count();
    assert_eq!(
        (tokens, refused),
        (1, 1),
        "one token serves the whole pull: {requests:?}"
    );
}

#[test]
fn nothing_is_shown_before_it_is_asked_for() {
    let ground = Ground::new();
    let reference = ground.registry.push("team/app:1", &one_layer(1000));
    let request = request_as(&ground.registry.host(), &reference, SECRET);

    ground.pull_with(&request).unwrap();

    assert!(
        ground
            .registry
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

#[test]
fn a_wrong_password_is_refused_without_being_shown() {
    for auth in [basic(), token(true)] {
        let ground = Ground::with_auth(auth.clone());
        let reference = ground.registry.push("team/app:1", &three_layers());
        let request = request_as(&ground.registry.host(), &reference, "hunter2");

        let error = ground.pull_with(&request).unwrap_err();

        assert_eq!(
            error.kind(),
            ErrorKind::Denied,
            "{auth:?}: {}",
            chain(&error)
        );
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("credentials")),
            "{auth:?}"
        );
        let shown = format!("{} {error:?} {request:?}", chain(&error));
        assert!(
            !shown.contains("hunter2") && !shown.contains("YW5uOmh1bnRlcjI"),
            "{shown}"
        );
        assert!(
            ground.registry.requests().len() <= 4,
            "{auth:?}: a refusal is not argued with"
        );
        ground.assert_store_is_empty();
    }
}

#[test]
fn without_a_password_the_way_to_one_is_told() {
    for auth in [basic(), token(true)] {
        let ground = Ground::with_auth(auth);
        let reference = ground.registry.push("team/app:1", &one_layer(1000));
        let error = ground.pull(&reference).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(
            error.hint().is_some_and(|hint| hint.contains("log in")),
            "{:?}",
            error.hint()
        );
    }
}

/// Makes the registry forget its tokens when a layer is done.
struct Forgetful<'a> {
    registry: &'a Registry,
    left: AtomicU32,
}

impl PullProgress for Forgetful<'_> {
    fn event(&self, event: PullEvent<'_>) {
        let is_done = matches!(
            event,
            PullEvent::Layer {
                state: LayerState::Done,
                ..
            }
        );
        let resolved = matches!(event, PullEvent::Resolved { .. });
        if (is_done || resolved) && self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            self.registry.expire_tokens();
        }
    }
}

#[test]
fn a_token_that_expires_during_a_pull_is_renewed() {
    for concurrency in [1, 3] {
        let ground = Ground::with_auth(token(true));
        let reference = ground.registry.push("team/app:1", &three_layers());
        let mut request = request_as(&ground.registry.host(), &reference, SECRET);
        request.registry.concurrency = concurrency;
        let progress = Forgetful {
            registry: &ground.registry,
            left: AtomicU32::new(3),
        };

        let outcome = pull(&ground.store, &request, &progress);

        assert!(outcome.is_ok(), "{}", chain(&outcome.unwrap_err()));
        let tokens = ground
            .registry
            .requests()
            .iter()
            .filter(|r| r.path.starts_with("/token"))
            .count();
        assert!((2..=5).contains(&tokens), "{tokens} tokens");
    }
}

#[test]
fn a_registry_that_never_is_content_is_left() {
    let ground = Ground::with_auth(token(false));
    let reference = ground.registry.push("team/app:1", &one_layer(1000));
    let challenge = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"x\"}";
    let realm = raw_server(challenge);
    ground.registry.fault(
        On::Token,
        u32::MAX,
        Action::Redirect(format!("http://{realm}/")),
    );

    let error = ground.pull(&reference).unwrap_err();

    assert!(
        matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unavailable),
        "{}",
        chain(&error)
    );
    assert!(ground.registry.requests().len() < 10);
}

#[test]
fn token_services_that_fail_are_named() {
    let answer = |status, body: &str| Action::Answer {
        status,
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let cases = [
        (answer(200, "{}"), "not a token"),
        (answer(200, "<html>"), "not a token"),
        (
            answer(200, &format!("{{\"token\":\"{}\"}}", "x".repeat(2 << 20))),
            "longer than 1048576 bytes",
        ),
        (answer(200, "{\"token\":\"a\\nb\"}"), "not a token"),
        (answer(404, "{}"), "status 404"),
        (Action::Status(503), "status 503"),
        (Action::Hangup, "broke"),
    ];
    for (action, words) in cases {
        let ground = Ground::with_auth(token(false));
        let reference = ground.registry.push("team/app:1", &one_layer(1000));
        ground.registry.fault(On::Token, u32::MAX, action.clone());
        let error = ground.pull(&reference).unwrap_err();
        let shown = format!("{:.60}", format!("{action:?}"));
        assert!(chain(&error).contains(words), "{shown}: {}", chain(&error));
        assert!(
            chain(&error).contains("/token"),
            "{shown}: {}",
            chain(&error)
        );
    }
}

#[test]
fn a_token_service_that_fails_once_is_asked_again() {
    let ground = Ground::with_auth(token(true));
    let reference = ground.registry.push("team/app:1", &one_layer(1000));
    ground.registry.fault(On::Token, 2, Action::Status(500));
    ground
        .pull_with(&request_as(&ground.registry.host(), &reference, SECRET))
        .unwrap();
}

#[test]
fn a_refresh_token_is_exchanged_by_post() {
    let ground = Ground::new();
    let body = r#"{"access_token":"fresh"}"#;
    let (realm, asked) = listening_server(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"the registry\"");
    let (host, shown) = listening_server(format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n"
    ));
    let mut request = request(&format!("{host}/team/app:1"));
    let refresh = Credential::Identity("refresh+token".to_owned());
    request.registry.credentials.insert(&host, refresh);

    let error = ground.pull_with(&request).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].starts_with("POST /token HTTP/1.1\r\n"),
        "{asked:?}"
    );
    let form = "scope=repository%3Ateam%2Fapp%3Apull&service=the+registry\
        &grant_type=refresh_token&client_id=rocker&refresh_token=refresh%2Btoken";
    assert!(asked[0].ends_with(form), "{asked:?}");
    let shown = shown.lock().unwrap();
    assert!(!shown[0].contains("authorization:"), "{shown:?}");
    assert!(
        shown[1].contains("authorization: Bearer fresh\r\n"),
        "{shown:?}"
    );
}

#[test]
fn passwords_go_to_no_realm_elsewhere() {
    let realms = [
        "http://127.0.0.2:1/token",
        "http://registry.example.com/token",
        "http://169.254.169.254/token",
        "https://169.254.169.254/token",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "",
    ];
    for realm in realms {
        let ground = Ground::new();
        let host = raw_server(format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0\r\n\r\n"
        ));
        let error = ground
            .pull_with(&request_as(&host, &format!("{host}/app:1"), SECRET))
            .unwrap_err();
        assert!(
            chain(&error).contains("sends us to"),
            "{realm}: {}",
            chain(&error)
        );
        assert_eq!(error.kind(), ErrorKind::Tampered, "{realm}");
    }
}

#[test]
fn challenges_that_nobody_understands_are_shown() {
    for challenge in [
        "",
        "WWW-Authenticate: Negotiate\r\n",
        "WWW-Authenticate: Bearer\r\n",
    ] {
        let ground = Ground::new();
        let host = raw_server(format!(
            "HTTP/1.1 401 Unauthorized\r\n{challenge}Content-Length: 0\r\n\r\n"
        ));
        let error = ground.pull(&format!("{host}/app:1")).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Unsupported,
            "{challenge}: {}",
            chain(&error)
        );
    }
}

#[test]
fn a_token_service_that_says_later_is_asked_later() {
    for action in [
        Action::RetryAfter {
            status: 429,
            seconds: 0,
        },
        Action::RetryAfter {
            status: 503,
            seconds: 0,
        },
        Action::Status(429),
    ] {
        let ground = Ground::with_auth(token(false));
        let reference = ground.registry.push("team/app:1", &one_layer(1000));
        ground.registry.fault(On::Token, 2, action.clone());

        let outcome = ground.pull(&reference);

        assert!(
            outcome.is_ok(),
            "{action:?}: {}",
            chain(&outcome.unwrap_err())
        );
    }
}
