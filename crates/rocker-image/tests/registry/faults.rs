//! Networks and registries that fail.

use std::time::{Duration, Instant};

use rocker_testkit::registry::{Action, On};
use rocker_types::{Diagnose as _, ErrorKind};

use crate::ground::{
    Ground, chain, impatient_request, one_layer, raw_server, request, three_layers,
};

#[test]
fn what_may_pass_is_survived() {
    let ignore_range_after_cut = [Action::CutAfter(100_000), Action::IgnoreRange];
    let cases: Vec<(On, Vec<Action>)> = vec![
        (On::Manifest, vec![Action::Status(500), Action::Status(502)]),
        (On::Blob, vec![Action::Status(503); 3]),
        (On::Manifest, vec![Action::Hangup, Action::CutAfter(10)]),
        (On::Blob, vec![Action::Hangup, Action::Hangup]),
        (On::Blob, vec![Action::CutAfter(10); 3]),
        (On::Blob, vec![Action::CutAfter(150_000); 3]),
        (On::Blob, ignore_range_after_cut.to_vec()),
        (On::Blob, vec![Action::Chunked; 4]),
        (On::Manifest, vec![Action::Chunked]),
        (
            On::Manifest,
            vec![Action::RetryAfter {
                status: 429,
                seconds: 1,
            }],
        ),
        (
            On::Blob,
            vec![Action::RetryAfter {
                status: 503,
                seconds: 0,
            }],
        ),
        (On::Blob, vec![Action::Delay(Duration::from_millis(200)); 2]),
        (On::Blob, vec![Action::Throttle(2_000_000); 4]),
        (
            On::Manifest,
            vec![Action::ContentType("application/json".to_owned())],
        ),
    ];
    for (on, actions) in cases {
        let ground = Ground::new();
        let image = three_layers();
        let reference = ground.registry.push("app:1", &image);
        for action in &actions {
            ground.registry.fault(on.clone(), 1, action.clone());
        }
        let outcome = ground.pull(&reference);
        assert!(
            outcome.is_ok(),
            "{on:?} {actions:?}: {}",
            chain(&outcome.unwrap_err())
        );
    }
}

#[test]
fn a_blob_that_breaks_off_is_resumed_where_it_broke() {
    let ground = Ground::new();
    let image = one_layer(1 << 20);
    let reference = ground.registry.push("app:1", &image);
    let layer = &image.layers[0];
    ground
        .registry
        .fault(On::Path(layer.digest.clone()), 3, Action::CutAfter(200_000));

    ground.pull(&reference).unwrap();

    let ranges: Vec<_> = ground
        .registry
        .requests()
        .into_iter()
        .filter(|r| r.path.contains(&layer.digest))
        .collect();
    let starts: Vec<_> = ranges
        .iter()
        .map(|request| request.range.as_deref())
        .collect();
    assert_eq!(
        starts,
        [
            None,
            Some("bytes=200000-"),
            Some("bytes=400000-"),
            Some("bytes=600000-")
        ]
    );
}

#[test]
fn a_blob_that_always_breaks_off_a_little_later_arrives() {
    let ground = Ground::new();
    let image = one_layer(40_000);
    let reference = ground.registry.push("app:1", &image);
    ground.registry.fault(
        On::Path(image.layers[0].digest.clone()),
        1000,
        Action::CutAfter(1500),
    );

    ground.pull(&reference).unwrap();

    let downloads = ground
        .registry
        .requests()
        .iter()
        .filter(|r| r.path.contains(&image.layers[0].digest))
        .count();
    assert!(downloads >= 27, "{downloads}");
}

#[test]
fn a_connection_that_falls_silent_is_replaced() {
    let ground = Ground::new();
    let image = one_layer(1 << 20);
    let reference = ground.registry.push("app:1", &image);
    ground.registry.fault(
        On::Path(image.layers[0].digest.clone()),
        1,
        Action::StallAfter(500_000),
    );
    let mut request = request(&reference);
    request.registry.timeouts.no_progress = Duration::from_secs(3);

    ground.pull_with(&request).unwrap();

    let ranges: Vec<_> = ground
        .registry
        .requests()
        .into_iter()
        .filter_map(|request| request.range)
        .collect();
    assert_eq!(ranges, ["bytes=500000-"]);
}

/// The fault, the kind of the error and words in its chain.
type Hopeless = (On, Action, ErrorKind, &'static str);

fn hopeless_servers() -> Vec<Hopeless> {
    use ErrorKind::{Denied, NotFound, Unavailable};
    let retry_after = |status, seconds| Action::RetryAfter { status, seconds };
    let asked = "status 400: the test asked for this";
    vec![
        (On::Manifest, Action::Status(503), Unavailable, "status 503"),
        (On::Blob, Action::Status(500), Unavailable, "status 500"),
        (On::Manifest, Action::Status(400), Unavailable, asked),
        (
            On::Manifest,
            Action::Status(403),
            Denied,
            "refused access to app",
        ),
        (On::Blob, Action::Status(404), NotFound, "blob sha256:"),
        (
            On::Manifest,
            retry_after(429, 3600),
            Unavailable,
            "try again in 3600 s",
        ),
        (
            On::Blob,
            retry_after(503, 61),
            Unavailable,
            "try again in 61 s",
        ),
        (On::Any, Action::Hangup, Unavailable, "broke"),
        (On::Manifest, Action::CutAfter(10), Unavailable, "broke"),
        (On::Blob, Action::CutAfter(0), Unavailable, "broke"),
        (
            On::Manifest,
            Action::StallAfter(10),
            Unavailable,
            "no progress",
        ),
        (On::Blob, Action::StallAfter(0), Unavailable, "no progress"),
        (
            On::Manifest,
            Action::Delay(Duration::from_secs(60)),
            Unavailable,
            "no progress",
        ),
    ]
}

fn hopeless_answers() -> Vec<Hopeless> {
    use ErrorKind::{Invalid, Tampered};
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json".to_owned();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let answer = |content_type: &str, body: Vec<u8>| Action::Answer {
        status: 200,
        content_type: content_type.to_owned(),
        body,
    };
    let huge = answer(manifest, vec![b' '; 64 << 20]);
    vec![
        (
            On::Manifest,
            answer("text/html", b"<html>".to_vec()),
            Invalid,
            "text/html",
        ),
        (
            On::Manifest,
            answer(manifest, b"<html>".to_vec()),
            Invalid,
            "not valid",
        ),
        (
            On::Manifest,
            answer(manifest, Vec::new()),
            Invalid,
            "not valid",
        ),
        (
            On::Manifest,
            huge,
            Invalid,
            "exceeds the limit manifest_bytes of 4194304",
        ),
        (
            On::Manifest,
            Action::ContentType(index),
            Invalid,
            "announced",
        ),
        (
            On::Manifest,
            Action::DigestHeader(zeros),
            Tampered,
            "was promised",
        ),
        (On::Manifest, Action::FlipByte, Tampered, "was promised"),
        (On::Blob, Action::FlipByte, Tampered, "digest"),
        (On::Blob, Action::Shorten(7), Tampered, "promised"),
        (On::Blob, Action::Lengthen(7), Tampered, "promised"),
    ]
}

#[test]
fn what_does_not_pass_ends_soon_and_leaves_no_image() {
    for (on, action, kind, words) in hopeless_servers().into_iter().chain(hopeless_answers()) {
        let ground = Ground::new();
        let reference = ground.registry.push("app:1", &three_layers());
        ground.registry.fault(on.clone(), u32::MAX, action.clone());
        let shown = format!("{on:?} {:.80}", format!("{action:?}"));

        let start = Instant::now();
        let error = ground
            .pull_with(&impatient_request(&reference))
            .expect_err(&shown);

        // far from the limits below, and as far from the time that patience would need
        assert!(start.elapsed() < Duration::from_secs(15), "{shown}");
        assert!(chain(&error).contains(words), "{shown}: {}", chain(&error));
        assert_eq!(error.kind(), kind, "{shown}: {}", chain(&error));
        if kind == ErrorKind::Tampered {
            ground.assert_store_is_empty();
        } else {
            ground.assert_nothing_but_leftovers();
        }
    }
}

#[test]
fn one_layer_with_wrong_bytes_spoils_the_whole_image() {
    for action in [Action::FlipByte, Action::Shorten(1), Action::Lengthen(1)] {
        let ground = Ground::new();
        let image = three_layers();
        let reference = ground.registry.push("app:1", &image);
        ground.registry.fault(
            On::Path(image.layers[1].digest.clone()),
            u32::MAX,
            action.clone(),
        );

        let error = ground.pull(&reference).unwrap_err();

        assert_eq!(
            error.kind(),
            ErrorKind::Tampered,
            "{action:?}: {}",
            chain(&error)
        );
        assert!(
            chain(&error).contains(&image.layers[1].digest),
            "{action:?}: {}",
            chain(&error)
        );
        ground.assert_store_is_empty();
    }
}

#[test]
fn a_trickle_is_no_progress() {
    let ground = Ground::new();
    let reference = ground.registry.push("app:1", &one_layer(1 << 20));
    ground
        .registry
        .fault(On::Blob, u32::MAX, Action::Throttle(50));
    let mut request = impatient_request(&reference);
    request.registry.timeouts.progress_bytes = 4096;

    let error = ground.pull_with(&request).unwrap_err();

    assert!(chain(&error).contains("no progress"), "{}", chain(&error));
    ground.assert_nothing_but_leftovers();
}

#[test]
fn answers_that_are_no_http_are_errors() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let cases = [
        String::new(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        format!("{head}Content-Length: -1\r\n\r\n{{}}"),
        format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("{head}Content-Length: 99\r\n\r\n{{}}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{{}}"),
        format!("{head}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20)),
    ];
    for answer in cases {
        let ground = Ground::new();
        let host = raw_server(answer.clone());
        let error = ground
            .pull_with(&impatient_request(&format!("{host}/app:1")))
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Unavailable,
            "{answer:.60?}: {}",
            chain(&error)
        );
        ground.assert_store_is_empty();
    }
}

#[test]
fn a_range_that_was_not_asked_for_is_not_believed() {
    for (first, total) in [(5, None), (0, Some(999)), (100_001, None)] {
        let ground = Ground::new();
        let image = one_layer(300_000);
        let layer = &image.layers[0];
        let size = layer.bytes.len();
        let reference = ground.registry.push("app:1", &image);
        ground
            .registry
            .fault(On::Path(layer.digest.clone()), 1, Action::CutAfter(100_000));
        // the second answer is of a server that counts differently
        let total = total.unwrap_or(size);
        let host = raw_server(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{total}\r\nContent-Length: 4\r\n\r\nevil",
            first + 3
        ));
        ground.registry.fault(
            On::Path(layer.digest.clone()),
            1,
            Action::Redirect(format!("http://{host}/")),
        );

        let outcome = ground.pull(&reference);

        if total == size {
            assert!(
                outcome.is_ok(),
                "{first}/{total}: {}",
                chain(&outcome.unwrap_err())
            );
        } else {
            assert_eq!(
                outcome.unwrap_err().kind(),
                ErrorKind::Tampered,
                "{first}/{total}"
            );
        }
    }
}
