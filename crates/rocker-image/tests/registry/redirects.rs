//! Redirects, and what travels along them.

use std::time::{Duration, Instant};

use rocker_image::registry::Credential;
use rocker_testkit::registry::{Action, Auth, On, Registry};
use rocker_types::{Diagnose as _, ErrorKind};

use crate::ground::{Ground, chain, one_layer, request, three_layers};

#[test]
fn blobs_may_live_elsewhere_but_credentials_stay_at_home() {
    for auth in [
        Auth::Basic {
            user: "ann".to_owned(),
            password: "secret".to_owned(),
        },
        Auth::Token {
            user: Some(("ann".to_owned(), "secret".to_owned())),
        },
    ] {
        let ground = Ground::with_auth(auth.clone());
        let elsewhere = Registry::start();
        let image = three_layers();
        let reference = ground.registry.push("team/app:1", &image);
        elsewhere.push("team/app:1", &image);
        for blob in image.blobs() {
            let target = format!(
                "http://{}/v2/team/app/blobs/{}?sig=1",
                elsewhere.host(),
                blob.digest
            );
            ground.registry.fault(
                On::Path(blob.digest.clone()),
                u32::MAX,
                Action::Redirect(target),
            );
        }
        let mut request = request(&reference);
        let credential = Credential::Basic {
            username: "ann".to_owned(),
            password: "secret".to_owned(),
        };
        request
            .registry
            .credentials
            .insert(&ground.registry.host(), credential);

        let outcome = ground.pull_with(&request);

        assert!(
            outcome.is_ok(),
            "{auth:?}: {}",
            chain(&outcome.unwrap_err())
        );
        let there = elsewhere.requests();
        assert_eq!(there.len(), 4, "config and layers come from there");
        assert!(
            there.iter().all(|request| request.authorization.is_none()),
            "{there:?}"
        );
        let home = ground.registry.requests();
        assert!(home.iter().any(|request| request.authorization.is_some()));
    }
}

#[test]
fn a_resumed_blob_is_resumed_behind_the_redirect() {
    let ground = Ground::new();
    let elsewhere = Registry::start();
    let image = one_layer(1 << 20);
    let reference = ground.registry.push("app:1", &image);
    elsewhere.push("app:1", &image);
    let digest = &image.layers[0].digest;
    let target = format!("http://{}/v2/app/blobs/{digest}", elsewhere.host());
    ground
        .registry
        .fault(On::Path(digest.clone()), u32::MAX, Action::Redirect(target));
    elsewhere.fault(On::Blob, 2, Action::CutAfter(300_000));

    ground.pull(&reference).unwrap();

    let ranges: Vec<_> = elsewhere
        .requests()
        .into_iter()
        .map(|request| request.range)
        .collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=300000-".to_owned()),
            Some("bytes=600000-".to_owned())
        ]
    );
}

#[test]
fn a_refusal_behind_a_redirect_is_not_about_our_credentials() {
    let ground = Ground::new();
    let elsewhere = Registry::start();
    let reference = ground.registry.push("app:1", &one_layer(1000));
    let target = format!("http://{}/expired?sig=secret", elsewhere.host());
    ground
        .registry
        .fault(On::Blob, u32::MAX, Action::Redirect(target));
    elsewhere.fault(On::Any, u32::MAX, Action::Status(403));

    let error = ground.pull(&reference).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
    assert!(
        chain(&error).contains("/expired answered with status 403"),
        "{}",
        chain(&error)
    );
    assert_eq!(error.hint(), None);
}

#[test]
fn redirects_that_lead_nowhere_good_end_at_once() {
    let cases = [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://127.0.0.1/x", "only http and https"),
        (
            "http://169.254.169.254/latest/meta-data",
            "no address of a server",
        ),
        ("http://[fe80::1]/x", "no address of a server"),
        ("http://0.0.0.0/x", "no address of a server"),
        ("http://user:secret@127.0.0.1/x", "credentials"),
        ("http://", "not a URL"),
    ];
    for (target, words) in cases {
        for on in [On::Manifest, On::Blob] {
            let ground = Ground::new();
            let reference = ground.registry.push("app:1", &one_layer(1000));
            ground
                .registry
                .fault(on.clone(), u32::MAX, Action::Redirect(target.to_owned()));

            let error = ground.pull(&reference).unwrap_err();

            assert!(
                chain(&error).contains(words),
                "{target} {on:?}: {}",
                chain(&error)
            );
            assert!(!chain(&error).contains("secret"), "{}", chain(&error));
            assert_eq!(error.kind(), ErrorKind::Tampered, "{target}");
            ground.assert_store_is_empty();
        }
    }
}

#[test]
fn loops_and_long_ways_end_soon() {
    let ground = Ground::new();
    let reference = ground.registry.push("app:1", &one_layer(1000));
    ground.registry.fault(
        On::Manifest,
        u32::MAX,
        Action::Redirect("/v2/app/manifests/1".to_owned()),
    );
    let start = Instant::now();
    let error = ground.pull(&reference).unwrap_err();
    assert!(chain(&error).contains("loop"), "{}", chain(&error));

    let ground = Ground::new();
    let reference = ground.registry.push("app:1", &one_layer(1000));
    for hop in 0..20 {
        let here = if hop == 0 {
            "/manifests/1".to_owned()
        } else {
            format!("/hop/{hop}?")
        };
        ground.registry.fault(
            On::Path(here),
            1,
            Action::Redirect(format!("/hop/{}?", hop + 1)),
        );
    }
    let error = ground.pull(&reference).unwrap_err();
    assert!(chain(&error).contains("too many"), "{}", chain(&error));
    assert!(
        ground.registry.requests().len() <= 11,
        "{}",
        ground.registry.requests().len()
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn ten_hops_are_not_too_many() {
    let ground = Ground::new();
    let image = one_layer(1000);
    let reference = ground.registry.push("app:1", &image);
    let last = format!("/v2/app/manifests/{}", image.manifest.digest);
    for hop in 0..10 {
        let here = if hop == 0 {
            "/manifests/1".to_owned()
        } else {
            format!("/hop/{hop}?")
        };
        let there = if hop == 9 {
            last.clone()
        } else {
            format!("/hop/{}?", hop + 1)
        };
        ground
            .registry
            .fault(On::Path(here), 1, Action::Redirect(there));
    }
    let outcome = ground.pull(&reference);
    assert!(outcome.is_ok(), "{}", chain(&outcome.unwrap_err()));
}
