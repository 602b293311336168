//! The CNCF distribution server, so that we do not only agree with ourselves.

use std::net::TcpListener;
use std::process::Command;

use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::registry::Distribution;
use rocker_testkit::require;

use crate::ground::{Ground, chain, three_layers};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn images_come_from_the_distribution_server() {
    let ground = Ground::new();
    let server = require!(Distribution::start(ground.directory.path(), free_port()));
    let image = three_layers();
    let reference = server.push("team/app:1", &image);

    let outcome = ground.pull(&reference);

    let pulled = outcome.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(pulled.manifest_digest.to_string(), image.manifest.digest);
    assert_eq!(ground.file(&pulled, 2, "name"), "layer 3");
    let error = ground.pull(&reference.replace(":1", ":2")).unwrap_err();
    assert!(
        chain(&error).contains("tag 2 of team/app was not found"),
        "{}",
        chain(&error)
    );
}

#[test]
fn images_come_as_skopeo_pushed_them() {
    let ground = Ground::new();
    let server = require!(Distribution::start(ground.directory.path(), free_port()));
    // schema 2 knows gzip only
    let layer = |n: u32| Layer::new().file("name", format!("layer {n}"));
    let image = ImageBuilder::new().layer(layer(1)).layer(layer(2)).build();
    let host = server.push("seed:1", &image).replace("/seed:1", "");
    let layout = ground.directory.path().join("layout");
    fs_err::create_dir_all(&layout).unwrap();
    image.write_oci_layout(&layout, "1").unwrap();
    for (format, reference) in [
        ("oci", format!("{host}/team/oci:1")),
        ("v2s2", format!("{host}/team/docker:1")),
    ] {
        let source = format!("oci:{}:1", layout.display());
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "--format",
            format,
        ]);
        let pushed = skopeo
            .args([source, format!("docker://{reference}")])
            .output();
        let pushed =
            require!(pushed.map_err(|error| rocker_testkit::Missing(format!("skopeo: {error}"))));
        assert!(pushed.status.success(), "{pushed:?}");

        let pulled = ground
            .pull(&reference)
            .unwrap_or_else(|error| panic!("{format}: {}", chain(&error)));

        assert_eq!(ground.file(&pulled, 0, "name"), "layer 1", "{format}");
    }
}
