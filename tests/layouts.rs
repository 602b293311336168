//! What images are called in the files that `push` writes.

use rocker_testkit::Host;
use rocker_testkit::host::programs;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{host, inspect};

fn at(host: &Host, transport: &str, name: &str) -> String {
    let file = host.scratch().join(transport);
    format!("{transport}:{}{name}", file.display())
}

/// An image and its id.
fn image(host: &Host, name: &str) -> (String, String) {
    let image = ImageBuilder::busybox().layer(Layer::new().file("which", name));
    let image = host.pulled(&format!("{name}:1"), image);
    let id = inspect(host, &image, "{{.Id}}");
    (image, id)
}

/// The document that skopeo finds in a layout under this name.
fn with_skopeo(host: &Host, place: &str) -> String {
    let done = host
        .program("skopeo")
        .args(["inspect", "--raw", place])
        .run();
    assert_eq!(done.exit_code, 0, "{place}: {done:?}");
    done.stdout
}

#[test]
fn one_image_of_a_layout_takes_no_name_of_another_but_its_own() {
    let host = require!(host());
    require!(programs(&["skopeo"]));
    let images = ["app", "db"].map(|name| image(&host, name));
    let names = ["x/app:1", "x/db:1"];
    for ((image, _), name) in images.iter().zip(names) {
        host.ok(["push", "-q", image, &at(&host, "oci", &format!(":{name}"))]);
    }
    let (web, web_id) = image(&host, "web");
    host.ok(["push", "-q", &web, &at(&host, "oci", ":1")]);

    for ((_, id), name) in images.iter().zip(names) {
        let place = at(&host, "oci", &format!(":{name}"));
        assert!(with_skopeo(&host, &place).contains(id), "{place}");
        let pulled = host.ok(["pull", "-q", &place]);
        assert_eq!(pulled, format!("docker.io/{name}"));
        assert_eq!(inspect(&host, &pulled, "{{.Id}}"), *id);
    }
    let place = at(&host, "oci", ":1");
    assert!(with_skopeo(&host, &place).contains(&web_id));
    // the tag alone moves on; the full name stays
    host.ok(["push", "-q", &images[0].0, &place]);
    assert!(with_skopeo(&host, &place).contains(&images[0].1));
    assert_eq!(
        host.ok(["pull", "-q", &at(&host, "oci", &format!(":{web}"))]),
        web
    );
    host.ok(["rmi", "-f", &images[0].1, &images[1].1, &web_id]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_that_is_given_by_its_id_gets_no_name_that_nobody_gave() {
    let host = require!(host());
    let (name, id) = image(&host, "app");
    for query in [&id[..], &id["sha256:".len()..][..12]] {
        let layout = at(&host, "oci", ":1");
        host.ok(["push", "-q", query, &layout]);
        host.ok(["untag", &name, &name]);
        assert_eq!(host.ok(["pull", "-q", &layout]), id);
        host.ok(["tag", &id, &name]);

        let refused = host.rocker(["push", query, &at(&host, "docker-archive", ":1")]);
        assert_eq!(refused.exit_code, 125, "{refused:?}");
        assert!(refused.stderr.contains("FILE:NAME:TAG"), "{refused:?}");
        let whole = at(&host, "docker-archive", ":x/app:1");
        host.ok(["push", "-q", query, &whole]);
        assert_eq!(host.ok(["pull", "-q", &whole]), "docker.io/x/app:1");
    }
    for name in [":UPPER/x", &format!(":x@{id}")] {
        let refused = host.rocker(["push", &id, &at(&host, "oci", name)]);
        assert_ne!(refused.exit_code, 0, "{refused:?}");
    }
    host.ok(["rmi", "-f", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_layout_is_found_through_the_link_that_the_user_names() {
    let host = require!(host());
    let (app, app_id) = image(&host, "app");
    let (db, db_id) = image(&host, "db");
    let link = host.scratch().join("link");
    fs_err::create_dir(host.scratch().join("oci")).expect("a directory");
    fs_err::os::unix::fs::symlink("oci", &link).expect("a link");
    for (image, name) in [(&app, "x/app:1"), (&db, "x/db:1")] {
        host.ok([
            "push",
            "-q",
            image,
            &format!("oci:{}:{name}", link.display()),
        ]);
    }
    host.ok(["rmi", "-f", &app_id, &db_id]);
    for (name, id) in [("x/app:1", &app_id), ("x/db:1", &db_id)] {
        let pulled = host.ok(["pull", "-q", &at(&host, "oci", &format!(":{name}"))]);
        assert_eq!(inspect(&host, &pulled, "{{.Id}}"), *id);
    }
    assert!(fs_err::symlink_metadata(&link).is_ok_and(|link| link.is_symlink()));
    host.ok(["rmi", "-f", &app_id, &db_id]);
    host.assert_nothing_left_behind();
}
