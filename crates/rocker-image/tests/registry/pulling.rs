//! Pulls that go well.

use rocker_image::registry::{KnownLayer, PullRequest, pull};
use rocker_testkit::image::{Compression, Format, ImageBuilder, Layer};
use rocker_types::{Diagnose as _, DiffId, ErrorKind};

use crate::ground::{Ground, Recorder, chain, one_layer, request, three_layers};

#[test]
fn a_pulled_image_is_whole() {
    let ground = Ground::new();
    let image = three_layers();
    let reference = ground.registry.push("team/app:1", &image);

    let pulled = ground.pull(&reference).unwrap();

    assert_eq!(pulled.image_id.to_string(), image.config.digest);
    assert_eq!(pulled.manifest_digest.to_string(), image.manifest.digest);
    assert_eq!(pulled.digest, pulled.manifest_digest);
    assert_eq!(pulled.index_digest, None);
    assert_eq!(
        pulled.config.config.cmd.as_deref(),
        Some(&["/bin/sh".to_owned()][..])
    );
    assert_eq!(
        ground.store.read_blob(&pulled.manifest_digest).unwrap(),
        image.manifest.bytes
    );
    assert_eq!(
        ground.store.read_blob(&pulled.image_id).unwrap(),
        image.config.bytes
    );
    for (position, layer) in pulled.layers.iter().enumerate() {
        assert_eq!(layer.diff_id.to_string(), image.diff_ids[position]);
        assert_eq!(layer.blob_digest.to_string(), image.layers[position].digest);
        assert_eq!(layer.blob_size, image.layers[position].bytes.len() as u64);
        assert!(
            !layer.was_present && layer.size_bytes > 200 << 10,
            "{layer:?}"
        );
        assert_eq!(
            ground.file(&pulled, position, "name"),
            format!("layer {}", position + 1)
        );
    }
}

#[test]
fn docker_manifests_are_pulled_as_well() {
    let ground = Ground::new();
    let image = ImageBuilder::new()
        .format(Format::DockerSchema2)
        .layer(Layer::new().file("a", "b"))
        .build();
    let reference = ground.registry.push("app:1", &image);

    let pulled = ground.pull(&reference).unwrap();

    assert_eq!(ground.file(&pulled, 0, "a"), "b");
}

#[test]
fn each_blob_is_fetched_once_and_nothing_is_asked_twice() {
    let ground = Ground::new();
    let shared = Layer::new().file("a", "b");
    let image = ImageBuilder::new()
        .layer(shared.clone())
        .layer(Layer::new().file("c", "d"))
        .layer(shared)
        .build();
    let reference = ground.registry.push("app:1", &image);

    let pulled = ground.pull(&reference).unwrap();

    assert_eq!(pulled.layers.len(), 3);
    assert_eq!(pulled.layers[0], pulled.layers[2]);
    assert_eq!(
        ground.registry.requests().len(),
        1 + 1 + 2,
        "{:?}",
        ground.registry.requests()
    );
}

/// What an engine with a database would know of the layers that were pulled.
fn remember(
    pulled: &rocker_image::registry::PulledImage,
) -> impl Fn(&DiffId) -> Option<KnownLayer> {
    let layers = pulled.layers.clone();
    move |diff_id| {
        let layer = layers.iter().find(|layer| layer.diff_id == *diff_id)?;
        let blob = Some((layer.blob_digest.clone(), layer.blob_size));
        Some(KnownLayer { blob })
    }
}

#[test]
fn what_is_in_the_store_is_not_fetched_again() {
    let ground = Ground::new();
    let image = three_layers();
    let reference = ground.registry.push("app:1", &image);
    let pulled = ground.pull(&reference).unwrap();
    let before = ground.registry.requests().len();
    let known = remember(&pulled);

    let recorder = Recorder::default();
    let again = PullRequest {
        known_layers: &known,
        ..request(&reference)
    };
    let again = pull(&ground.store, &again, &recorder).unwrap();

    assert!(
        again.layers.iter().all(|layer| layer.was_present),
        "{:?}",
        again.layers
    );
    assert_eq!(
        ground.registry.requests().len() - before,
        1,
        "only what the tag means is asked"
    );
    assert_eq!(recorder.of(&image.layers[0].digest), ["already exists"]);
}

#[test]
fn images_share_layers() {
    let ground = Ground::new();
    let base = Layer::new().file("base", "base");
    let small = ImageBuilder::new().layer(base.clone()).build();
    let large = ImageBuilder::new()
        .layer(base)
        .layer(Layer::new().file("top", "top"))
        .build();
    let pulled = ground
        .pull(&ground.registry.push("base:1", &small))
        .unwrap();
    let known = remember(&pulled);
    let reference = ground.registry.push("app:1", &large);
    let before = ground.registry.blob_downloads();

    let pulled = ground
        .pull_with(&PullRequest {
            known_layers: &known,
            ..request(&reference)
        })
        .unwrap();

    assert_eq!(
        pulled
            .layers
            .iter()
            .map(|layer| layer.was_present)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(
        ground.registry.blob_downloads() - before,
        2,
        "the config and the upper layer"
    );
}

#[test]
fn a_layer_that_is_remembered_but_gone_is_fetched() {
    let ground = Ground::new();
    let reference = ground.registry.push("app:1", &one_layer(1000));
    let pulled = ground.pull(&reference).unwrap();
    let known = remember(&pulled);
    ground
        .store
        .remove_layer(&pulled.layers[0].diff_id)
        .unwrap();

    let again = ground
        .pull_with(&PullRequest {
            known_layers: &known,
            ..request(&reference)
        })
        .unwrap();

    assert!(!again.layers[0].was_present);
    assert!(ground.store.has_layer(&pulled.layers[0].diff_id));
}

#[test]
fn a_known_layer_does_not_excuse_a_wrong_manifest() {
    let ground = Ground::new();
    let image = one_layer(1000);
    let pulled = ground.pull(&ground.registry.push("app:1", &image)).unwrap();
    let known = remember(&pulled);
    let size = image.layers[0].bytes.len();
    let rebuild =
        || ImageBuilder::new().layer(Layer::new().file("noise", crate::ground::noise(7, 1000)));
    let zeros = format!("sha256:{}", "0".repeat(64));

    for size in [size - 7, size + 7] {
        let lie = rebuild().bend_manifest("/layers/0/size", size).build();
        let reference = ground.registry.push("size:1", &lie);
        let error = ground
            .pull_with(&PullRequest {
                known_layers: &known,
                ..request(&reference)
            })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "{}", chain(&error));
    }
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let lie = rebuild().bend_manifest("/layers/0/mediaType", zstd).build();
    let error = ground
        .pull_with(&PullRequest {
            known_layers: &known,
            ..request(&ground.registry.push("type:1", &lie))
        })
        .unwrap_err();
    assert!(
        chain(&error).contains("media type says zstd"),
        "{}",
        chain(&error)
    );
    let lie = rebuild().bend_manifest("/layers/0/digest", zeros).build();
    let reference = ground.registry.push("digest:1", &lie);
    let error = ground
        .pull_with(&PullRequest {
            known_layers: &known,
            ..request(&reference)
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", chain(&error));
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let ground = Ground::new();
    let host = rocker_types::Platform::host().architecture;
    let other = if host == "arm64" { "amd64" } else { "arm64" };
    let build = |architecture: &str| {
        let layer = Layer::new().file("architecture", architecture);
        ImageBuilder::new()
            .platform(architecture, None)
            .layer(layer)
            .build()
    };
    let images = [build(other), build(&host)];
    let reference = ground
        .registry
        .push_index("app:1", &[&images[0], &images[1]]);

    let ours = ground.pull(&reference).unwrap();
    let theirs = PullRequest {
        platform: Some(format!("linux/{other}").parse().unwrap()),
        ..request(&reference)
    };
    let theirs = ground.pull_with(&theirs).unwrap();

    assert_eq!(ground.file(&ours, 0, "architecture"), host);
    assert_eq!(ground.file(&theirs, 0, "architecture"), other);
    assert_eq!(ours.digest, theirs.digest, "the digest of the index");
    assert_eq!(Some(&ours.digest), ours.index_digest.as_ref());
    assert!(ground.store.has_blob(&ours.digest), "the index is kept");

    let missing = PullRequest {
        platform: Some("linux/s390x".parse().unwrap()),
        ..request(&reference)
    };
    let error = ground.pull_with(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        chain(&error).contains(&format!("there is linux/{other}, linux/{host}")),
        "{}",
        chain(&error)
    );
}

#[test]
fn an_image_is_pulled_by_its_digest() {
    let ground = Ground::new();
    let image = one_layer(1000);
    ground.registry.push("app:1", &image);
    let reference = format!("{}/app@{}", ground.registry.host(), image.manifest.digest);

    let pulled = ground.pull(&reference).unwrap();
    assert_eq!(pulled.manifest_digest.to_string(), image.manifest.digest);

    let wrong = format!("{}/app@sha256:{}", ground.registry.host(), "1".repeat(64));
    let error = ground.pull(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", chain(&error));
}

#[test]
fn a_pull_tells_what_it_does() {
    let ground = Ground::new();
    let image = three_layers();
    let reference = ground.registry.push("app:1", &image);
    let recorder = Recorder::default();

    pull(&ground.store, &request(&reference), &recorder).unwrap();

    let resolved = format!("resolved {}", image.manifest.digest);
    assert_eq!(recorder.of(""), ["resolving", &resolved, "committing"]);
    for layer in &image.layers {
        assert_eq!(
            recorder.of(&layer.digest),
            ["waiting", "downloading", "extracting", "done"]
        );
    }
}

#[test]
fn fifty_layers_are_more_than_threads() {
    let ground = Ground::new();
    let layers = (0..50).map(|n| Layer::new().file(&format!("file-{n}"), format!("{n}")));
    let image = layers
        .fold(ImageBuilder::new(), ImageBuilder::layer)
        .build();
    let reference = ground.registry.push("app:1", &image);

    let pulled = ground.pull(&reference).unwrap();

    for n in 0..50 {
        assert_eq!(ground.file(&pulled, n, &format!("file-{n}")), n.to_string());
    }
}

#[test]
fn a_missing_tag_is_named() {
    let ground = Ground::new();
    ground.registry.push("app:1", &one_layer(1000));

    for (name, words) in [
        ("app:2", "tag 2 of app was not found"),
        ("other:1", "tag 1 of other was not found"),
    ] {
        let error = ground
            .pull(&format!("{}/{name}", ground.registry.host()))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(chain(&error).contains(words), "{}", chain(&error));
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_registry_that_is_not_there_is_told_from_one_without_tls() {
    let ground = Ground::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);

    let error = ground.pull(&format!("{host}/app:1")).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        chain(&error).contains(&format!("cannot connect to http://{host}")),
        "{}",
        chain(&error)
    );
    assert_eq!(error.hint().as_deref(), Some("is the registry running?"));
}

/// Two images may have one layer, compressed in two ways; the caller remembers only one.
#[test]
fn a_layer_compressed_in_another_way_is_fetched_once() {
    let ground = Ground::new();
    let layer = Layer::new().file("base", "base");
    let [first, second] = [Compression::Gzip, Compression::Zstd].map(|compression| {
        let layer = layer.clone().compression(compression);
        ImageBuilder::new().layer(layer).build()
    });
    let pulled = ground
        .pull(&ground.registry.push("first:1", &first))
        .unwrap();
    let known = remember(&pulled);
    let reference = ground.registry.push("second:1", &second);

    let fetched = [(); 2].map(|()| {
        let again = PullRequest {
            known_layers: &known,
            ..request(&reference)
        };
        ground.pull_with(&again).unwrap();
        let requests = ground.registry.requests();
        let is_layer = |path: &str| path.contains(&second.layers[0].digest);
        requests.iter().filter(|r| is_layer(&r.path)).count()
    });

    assert_eq!(fetched, [1, 1]);
}
