//! What the test registry promises to the tests that stand on it, seen by a plain HTTP client.
#![expect(clippy::expect_used, reason = "helpers of an integration test")]

use std::time::Duration;

use rocker_testkit::http::{self, Response};
use rocker_testkit::image::{Compression, Format, Image, ImageBuilder, Layer, sha256};
use rocker_testkit::registry::{Action, Auth, Distribution, On, Registry};
use rocker_testkit::{Host, require};

fn small_image() -> Image {
    ImageBuilder::new()
        .layer(
            Layer::new()
                .file("hello", vec![b'x'; 5000])
                .compression(Compression::Plain),
        )
        .build()
}

fn get(registry: &Registry, path: &str, headers: &[(&str, &str)]) -> Response {
    http::request(&registry.host(), "GET", path, headers, &[]).expect("the test registry answers")
}

fn layer_path(image: &Image) -> String {
    format!("/v2/app/blobs/{}", image.layers[0].digest)
}

#[test]
fn a_pushed_image_is_served_by_tag_and_by_digest() {
    let registry = Registry::start();
    let image = small_image();
    let reference = registry.push("app:1", &image);

    let by_tag = get(&registry, "/v2/app/manifests/1", &[]);
    let by_digest = get(
        &registry,
        &format!("/v2/app/manifests/{}", image.manifest.digest),
        &[],
    );
    let layer = get(&registry, &layer_path(&image), &[]);

    assert_eq!(reference, format!("{}/app:1", registry.host()));
    assert_eq!(by_tag.body, image.manifest.bytes);
    assert_eq!(
        by_tag.header("docker-content-digest"),
        Some(image.manifest.digest.as_str())
    );
    assert_eq!(
        by_tag.header("content-type"),
        Some("application/vnd.oci.image.manifest.v1+json")
    );
    assert_eq!(by_digest.body, by_tag.body);
    assert_eq!(sha256(&layer.body), image.layers[0].digest);
}

#[test]
fn an_image_is_the_same_bytes_on_every_build() {
    for compression in [
        Compression::Plain,
        Compression::Gzip,
        Compression::GzipMembers,
        Compression::Zstd,
    ] {
        for format in [Format::Oci, Format::DockerSchema2] {
            let build = || {
                let layer = Layer::new()
                    .dir("a", 0o755)
                    .symlink("a/b", "../c")
                    .compression(compression);
                ImageBuilder::new().layer(layer).format(format).build()
            };
            assert_eq!(build(), build(), "{compression:?} {format:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_404_with_the_error_document_of_a_registry() {
    let registry = Registry::start();
    registry.push("app:1", &small_image());

    for (path, code) in [
        ("/v2/other/manifests/1", "NAME_UNKNOWN"),
        ("/v2/app/manifests/2", "MANIFEST_UNKNOWN"),
        ("/v2/app/blobs/sha256:00", "BLOB_UNKNOWN"),
    ] {
        let answer = get(&registry, path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            String::from_utf8_lossy(&answer.body).contains(code),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn a_range_gives_the_rest_of_a_blob_unless_if_range_names_another_one() {
    let registry = Registry::start();
    let image = small_image();
    registry.push("app:1", &image);
    let path = layer_path(&image);
    let etag = format!("\"{}\"", image.layers[0].digest);

    let rest = get(
        &registry,
        &path,
        &[("Range", "bytes=100-"), ("If-Range", &etag)],
    );
    let other = get(
        &registry,
        &path,
        &[("Range", "bytes=100-"), ("If-Range", "\"another\"")],
    );
    registry.fault(On::Blob, 1, Action::IgnoreRange);
    let ignored = get(&registry, &path, &[("Range", "bytes=100-")]);

    assert_eq!(
        (rest.status, &rest.body[..]),
        (206, &image.layers[0].bytes[100..])
    );
    assert_eq!(
        (other.status, other.body.len()),
        (200, image.layers[0].bytes.len())
    );
    assert_eq!(
        (ignored.status, ignored.body.len()),
        (200, image.layers[0].bytes.len())
    );
}

#[test]
fn faults_apply_to_the_requests_they_name_and_then_wear_off() {
    let registry = Registry::start();
    let image = small_image();
    registry.push("app:1", &image);
    registry.fault(On::Blob, 2, Action::Status(500));

    let statuses: Vec<_> = [
        "/v2/app/manifests/1",
        &layer_path(&image),
        &layer_path(&image),
        &layer_path(&image),
    ]
    .iter()
    .map(|path| get(&registry, path, &[]).status)
    .collect();

    assert_eq!(statuses, [200, 500, 500, 200]);
    let logged: Vec<_> = registry
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(logged, statuses);
}

#[test]
fn a_cut_and_a_stalled_body_stop_after_the_bytes_asked_for() {
    let registry = Registry::start();
    let image = small_image();
    registry.push("app:1", &image);
    registry.fault(On::Blob, 1, Action::CutAfter(1000));
    registry.fault(On::Blob, 1, Action::StallAfter(2000));

    let cut = get(&registry, &layer_path(&image), &[]);
    let stalled = http::get_with_patience(
        &registry.host(),
        &layer_path(&image),
        Duration::from_millis(200),
    )
    .expect("the head of a stalled answer");

    assert_eq!((cut.body.len(), cut.is_whole()), (1000, false));
    assert_eq!((stalled.body.len(), stalled.is_whole()), (2000, false));
}

#[test]
fn lies_about_content_are_told_as_asked() {
    let image = small_image();
    let blob = &image.layers[0];
    let served = |action: Action| {
        let registry = Registry::start();
        registry.push("app:1", &image);
        registry.fault(On::Path(blob.digest.clone()), 1, action);
        get(&registry, &layer_path(&image), &[])
    };

    let flipped = served(Action::FlipByte);
    assert_eq!(flipped.body.len(), blob.bytes.len());
    assert_ne!(sha256(&flipped.body), blob.digest);
    assert_eq!(served(Action::Shorten(7)).body.len(), blob.bytes.len() - 7);
    assert_eq!(served(Action::Lengthen(7)).body.len(), blob.bytes.len() + 7);
    assert_eq!(
        served(Action::ContentType("text/html".into())).header("content-type"),
        Some("text/html")
    );
    assert_eq!(
        served(Action::DigestHeader("sha256:0".into())).header("docker-content-digest"),
        Some("sha256:0")
    );
    let slow_down = served(Action::RetryAfter {
        status: 429,
        seconds: 1,
    });
    assert_eq!(
        (slow_down.status, slow_down.header("retry-after")),
        (429, Some("1"))
    );
    let elsewhere = served(Action::Redirect("http://127.0.0.1:1/x".into()));
    assert_eq!(
        (elsewhere.status, elsewhere.header("location")),
        (307, Some("http://127.0.0.1:1/x"))
    );
    assert_eq!(served(Action::Chunked).header("content-length"), None);
}

#[test]
fn basic_authentication_wants_the_name_and_password() {
    let registry = Registry::with_auth(Auth::Basic {
        user: "u".into(),
        password: "p".into(),
    });
    registry.push("app:1", &small_image());

    let without = get(&registry, "/v2/app/manifests/1", &[]);
    let with = get(
        &registry,
        "/v2/app/manifests/1",
        &[("Authorization", "Basic dTpw")],
    );

    assert_eq!(
        (without.status, without.header("www-authenticate")),
        (401, Some("Basic realm=\"test registry\""))
    );
    assert_eq!(with.status, 200);
}

#[test]
fn a_token_opens_the_repository_it_was_given_for_and_no_other() {
    let registry = Registry::with_auth(Auth::Token { user: None });
    registry.push("app:1", &small_image());
    registry.push("secret:1", &small_image());

    let refused = get(&registry, "/v2/app/manifests/1", &[]);
    let answer = get(
        &registry,
        "/token?service=test-registry&scope=repository%3Aapp%3Apull",
        &[],
    );
    let document: serde_json::Value =
        serde_json::from_slice(&answer.body).expect("a token document");
    let bearer = format!("Bearer {}", document["token"].as_str().expect("a token"));
    let statuses = |path| get(&registry, path, &[("Authorization", &bearer)]).status;

    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert!(
        challenge.contains(&format!("realm=\"http://{}/token\"", registry.host())),
        "{challenge}"
    );
    assert!(
        challenge.contains("scope=\"repository:app:pull\""),
        "{challenge}"
    );
    assert_eq!(
        [
            statuses("/v2/app/manifests/1"),
            statuses("/v2/secret/manifests/1")
        ],
        [200, 401]
    );
    registry.expire_tokens();
    assert_eq!(statuses("/v2/app/manifests/1"), 401);
}

#[test]
fn the_distribution_server_takes_and_serves_our_images() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A host only for its network namespace, in which every port is free.
    let _host = require!(Host::privileged("/bin/echo"));
    let server = require!(Distribution::start(directory.path(), 5000));

    for (format, compression) in [
        (Format::Oci, Compression::Zstd),
        (Format::DockerSchema2, Compression::Gzip),
    ] {
        let layer = Layer::new().file("hello", "world").compression(compression);
        let image = ImageBuilder::new().layer(layer).format(format).build();
        let reference = server.push("team/app:1", &image);

        let accept = [("Accept", image.manifest.media_type.as_str())];
        let served = http::request(
            "127.0.0.1:5000",
            "GET",
            "/v2/team/app/manifests/1",
            &accept,
            &[],
        )
        .expect("an answer");
        assert_eq!(reference, "127.0.0.1:5000/team/app:1");
        assert_eq!(sha256(&served.body), image.manifest.digest, "{format:?}");
    }
}
