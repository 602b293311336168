//! Bind mounts and named volumes.

use rocker_testkit::require;

use crate::{host, shell};

#[test]
fn a_host_directory_is_shared_and_read_only_where_asked() {
    let host = require!(host());
    let image = host.busybox();
    let shared = host.scratch().join("shared");
    fs_err::create_dir(&shared).expect("a directory");
    fs_err::write(shared.join("in"), "from the host").expect("a file");
    let shared = shared.to_string_lossy().into_owned();

    let read = host.ok(shell(
        &["-v", &format!("{shared}:/data")],
        &image,
        "cat /data/in; echo back >/data/out",
    ));
    let refused = host.rocker(shell(
        &["-v", &format!("{shared}:/data:ro")],
        &image,
        "echo x >/data/out",
    ));
    let file = host.ok(shell(
        &["-v", &format!("{shared}/in:/etc/in:ro")],
        &image,
        "cat /etc/in",
    ));

    assert_eq!(
        (read.as_str(), file.as_str()),
        ("from the host", "from the host")
    );
    assert_eq!(
        fs_err::read_to_string(format!("{shared}/out")).expect("what the container wrote"),
        "back\n"
    );
    assert_ne!(refused.exit_code, 0, "{refused:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn a_named_volume_outlives_its_containers() {
    let host = require!(host());
    let image = host.busybox();

    host.ok(shell(
        &["-v", "kept:/data"],
        &image,
        "echo remembered >/data/f",
    ));
    assert_eq!(host.ok(["volume", "ls", "-q"]), "kept");
    assert_eq!(
        host.ok(shell(&["-v", "kept:/data"], &image, "cat /data/f")),
        "remembered"
    );
    host.ok([
        "create",
        "--name",
        "user",
        "-v",
        "kept:/data",
        &image,
        "true",
    ]);
    let refused = host.rocker(["volume", "rm", "kept"]);
    host.ok(["rm", "user"]);
    assert_eq!(host.ok(["volume", "rm", "kept"]), "kept");

    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert_eq!(host.ok(["volume", "ls", "-q"]), "");
    host.assert_nothing_left_behind();
}

#[test]
fn a_volume_is_created_once_and_named_by_itself_if_need_be() {
    let host = require!(host());

    assert_eq!(host.ok(["volume", "create", "mine"]), "mine");
    assert_eq!(
        host.ok(["volume", "create", "mine"]),
        "mine",
        "as in docker, an existing one is fine"
    );
    let random = host.ok(["volume", "create"]);
    assert_eq!(random.len(), 64, "{random}");
    host.ok(["volume", "rm", "mine", &random]);

    host.assert_nothing_left_behind();
}

#[test]
fn an_empty_volume_takes_what_the_image_has_there() {
    use rocker_testkit::image::{Entry, EntryKind, ImageBuilder, Layer};

    let host = require!(host());
    let layer = Layer::new()
        .entry(
            Entry::new("data", EntryKind::Dir)
                .mode(0o750)
                .owner(1000, 1000),
        )
        .entry(
            Entry::new("data/seed", EntryKind::File(b"from the image".to_vec())).owner(1000, 1000),
        );
    let image = host.pulled("seeded:1", ImageBuilder::busybox().layer(layer));

    let first = host.ok(shell(
        &["-v", "seeded:/data"],
        &image,
        "cat /data/seed; stat -c '%a %u' /data; rm /data/seed; touch /data/mine",
    ));
    let second = host.ok(shell(&["-v", "seeded:/data"], &image, "ls /data"));

    assert_eq!(first, "from the image750 1000");
    assert_eq!(second, "mine", "only an empty volume is filled");
    host.ok(["volume", "rm", "seeded"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_volumes_target_cannot_be_led_out_of_the_container() {
    use rocker_testkit::image::{ImageBuilder, Layer};

    let host = require!(host());
    let victim = host.scratch().join("victim");
    fs_err::create_dir(&victim).expect("a directory");
    let link = Layer::new().symlink("way-out", &victim.to_string_lossy());
    let image = host.pulled("links:1", ImageBuilder::busybox().layer(link));
    let source = host.scratch().join("source");
    fs_err::create_dir(&source).expect("a directory");

    for target in ["/way-out/new", "/way-out", "/../../way-out/x"] {
        let volume = format!("{}:{target}", source.display());
        // Whether it is refused or lands inside the container: the host is not touched.
        host.rocker(shell(
            &["-v", &volume],
            &image,
            &format!("touch {target}/file"),
        ));
        assert_eq!(
            fs_err::read_dir(&victim).expect("the victim").count(),
            0,
            "{target}"
        );
    }
    host.assert_nothing_left_behind();
}
