//! Images that are well served and badly meant.

use rocker_testkit::image::{Blob, Image, ImageBuilder, Layer};
use rocker_types::{Diagnose as _, ErrorKind};
use serde_json::{Value, json};

use crate::ground::{Ground, chain, one_layer, request};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn refused(ground: &Ground, reference: &str, kind: ErrorKind, words: &str) {
    let error = ground.pull(reference).unwrap_err();
    assert!(
        chain(&error).contains(words),
        "{words:?} is not in {}",
        chain(&error)
    );
    assert_eq!(error.kind(), kind, "{}", chain(&error));
    if kind == ErrorKind::NotFound {
        // it may be there tomorrow, so what came meanwhile is worth keeping
        ground.assert_nothing_but_leftovers();
    } else {
        ground.assert_store_is_empty();
    }
}

fn two_layers() -> ImageBuilder {
    ImageBuilder::new()
        .layer(Layer::new().file("a", "a"))
        .layer(Layer::new().file("b", "b"))
}

#[test]
fn manifests_that_lie_are_refused() {
    use ErrorKind::{Invalid, NotFound, Tampered, Unsupported};
    let zeros = format!("sha256:{}", "0".repeat(64));
    let (traversal, zstd) = (
        "sha256:../../x",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    );
    let cases: Vec<(&str, Value, ErrorKind, &str)> = vec![
        ("/layers/0/size", json!(-1), Invalid, "layers[0].size"),
        ("/layers/0/size", json!(1_u64 << 62), Tampered, "promised"),
        ("/layers/0/size", json!(7), Tampered, "promised"),
        ("/layers/0/size", json!(1.5), Invalid, "layers[0].size"),
        (
            "/layers/0/digest",
            json!(traversal),
            Invalid,
            "layers[0].digest",
        ),
        ("/layers/0/digest", json!(zeros), NotFound, &zeros),
        ("/layers", json!([]), Invalid, "layers is empty"),
        ("/config/size", json!(7), Tampered, "7 were promised"),
        (
            "/config/size",
            json!(9 << 20),
            Invalid,
            "exceeds the limit config_bytes",
        ),
        ("/config/digest", json!(zeros), NotFound, &zeros),
        ("/schemaVersion", json!(1), Unsupported, "schema 1"),
        ("/layers/0/mediaType", json!(zstd), Invalid, "gzip"),
    ];
    for (pointer, value, kind, words) in cases {
        let ground = Ground::new();
        let image = two_layers().bend_manifest(pointer, value).build();
        refused(&ground, &ground.registry.push("app:1", &image), kind, words);
    }
}

#[test]
fn configs_that_lie_are_refused() {
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let cases: Vec<(&str, Value, ErrorKind, &str)> = vec![
        ("/os", json!("windows"), ErrorKind::Unsupported, "windows"),
        (
            "/rootfs/type",
            json!("foo"),
            ErrorKind::Invalid,
            "rootfs.type",
        ),
        (
            "/rootfs/diff_ids",
            json!([]),
            ErrorKind::Invalid,
            "0 diff_ids",
        ),
        (
            "/rootfs/diff_ids",
            json!([digest(1), digest(2), digest(3)]),
            ErrorKind::Invalid,
            "3 diff_ids",
        ),
        (
            "/rootfs/diff_ids",
            json!([digest(1), digest(2)]),
            ErrorKind::Tampered,
            "promised",
        ),
        (
            "/rootfs/diff_ids/0",
            json!("sha256:x"),
            ErrorKind::Invalid,
            "not valid",
        ),
        ("/config", json!([]), ErrorKind::Invalid, "not valid"),
    ];
    for (pointer, value, kind, words) in cases {
        let ground = Ground::new();
        let image = two_layers().bend_config(pointer, value).build();
        refused(&ground, &ground.registry.push("app:1", &image), kind, words);
    }
}

#[test]
fn swapped_layers_are_refused() {
    let ground = Ground::new();
    let image = two_layers().build();
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    manifest["layers"].as_array_mut().unwrap().reverse();
    let manifest = Blob::new(&image.manifest.media_type, manifest.to_string());
    ground.registry.push("app:1", &image);
    refused(
        &ground,
        &ground.registry.put_manifest("app:1", manifest),
        ErrorKind::Tampered,
        "promised",
    );
}

#[test]
fn an_index_that_points_at_itself_or_round_in_circles_ends() {
    let ground = Ground::new();
    // a digest that contains itself cannot be made, but a registry can claim one
    let digest = format!("sha256:{}", "5".repeat(64));
    let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": INDEX, "digest": digest, "size": 100}]});
    let blob = Blob {
        media_type: INDEX.to_owned(),
        digest,
        bytes: body.to_string().into(),
    };
    let reference = ground.registry.put_manifest("app:1", blob);
    let error = ground.pull(&reference).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{}", chain(&error));

    let ground = Ground::new();
    let mut inner = one_layer(100).manifest;
    for _ in 0..5 {
        let outer =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.descriptor()]});
        ground.registry.put_manifest("app:inner", inner);
        inner = Blob::new(INDEX, outer.to_string());
    }
    refused(
        &ground,
        &ground.registry.put_manifest("app:1", inner),
        ErrorKind::Invalid,
        "indexes point at one another",
    );
}

fn put_index(ground: &Ground, image: &Image, change: impl FnOnce(&mut Value)) -> String {
    ground.registry.push("app:image", image);
    let mut index: Value = serde_json::from_slice(&Image::index(&[image]).bytes).unwrap();
    change(&mut index);
    ground
        .registry
        .put_manifest("app:1", Blob::new(INDEX, index.to_string()))
}

#[test]
fn an_index_that_lies_about_its_images_is_refused() {
    let host = rocker_types::Platform::host().architecture;
    let foreign = if host == "arm64" { "amd64" } else { "arm64" };
    let ground = Ground::new();
    let image = ImageBuilder::new()
        .platform(foreign, None)
        .layer(Layer::new().file("a", "a"))
        .build();
    let reference = put_index(&ground, &image, |index| {
        index["manifests"][0]["platform"]["architecture"] = json!(host)
    });
    refused(&ground, &reference, ErrorKind::Unsupported, "image is for");

    let ground = Ground::new();
    let image = one_layer(100);
    let reference = put_index(&ground, &image, |index| {
        index["manifests"][0]["size"] = json!(7)
    });
    refused(&ground, &reference, ErrorKind::Tampered, "7 were promised");

    let ground = Ground::new();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let reference = put_index(&ground, &image, |index| {
        index["manifests"][0]["mediaType"] = json!(docker)
    });
    refused(&ground, &reference, ErrorKind::Invalid, "announced as");
}

#[test]
fn a_single_image_for_another_platform_is_pulled_only_without_a_wish() {
    let ground = Ground::new();
    let image = ImageBuilder::new()
        .platform("s390x", None)
        .layer(Layer::new().file("a", "a"))
        .build();
    let reference = ground.registry.push("app:1", &image);
    let mut wish = request(&reference);
    wish.platform = Some("linux/amd64".parse().unwrap());

    let error = ground.pull_with(&wish).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", chain(&error));
    ground.assert_store_is_empty();

    assert_eq!(
        ground.pull(&reference).unwrap().config.architecture,
        "s390x"
    );
}

#[test]
fn a_layer_that_lies_about_its_size_does_not_fill_the_disk() {
    let ground = Ground::new();
    let image = ImageBuilder::new()
        .layer(Layer::new().file("zeros", vec![0; 32 << 20]))
        .build();
    let reference = ground.registry.push("app:1", &image);
    let mut request = request(&reference);
    request.limits.unpacked_bytes = 1 << 20;

    let error = ground.pull_with(&request).unwrap_err();

    assert!(chain(&error).contains("too large"), "{}", chain(&error));
    ground.assert_store_is_empty();
}
