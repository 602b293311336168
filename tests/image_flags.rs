//! Flags of image commands that scripts for docker and podman bring along, and what is said when
//! words make no sense.

use rocker_testkit::host::programs;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{host, inspect};

#[test]
fn a_made_image_has_a_health_check_and_an_id_in_a_file() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["create", "--name", "box", &image, "true"]);
    let file = host.scratch().join("id").to_string_lossy().into_owned();
    let check = "HEALTHCHECK --interval=1m30s --retries=2 CMD [\"true\"]";

    let id = host.ok([
        "commit",
        "-q",
        "--iidfile",
        &file,
        "-c",
        check,
        "box",
        "made:1",
    ]);

    assert_eq!(fs_err::read_to_string(&file).expect("a file"), id);
    assert_eq!(
        inspect(&host, "made:1", "{{json .Config.Healthcheck}}"),
        r#"{"Test":["CMD","true"],"Interval":90000000000,"Retries":2}"#
    );
    let bad = host.rocker(["commit", "-c", "HEALTHCHECK --every=1s CMD x", "box"]);
    assert_eq!(bad.exit_code, 125, "{bad:?}");
    host.ok(["rm", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn root_file_systems_come_in_every_packing() {
    let host = require!(host());
    require!(programs(&["gzip", "xz", "bzip2", "zstd"]));
    let scratch = host.scratch();
    let scratch = scratch.display();
    let script = "mkdir r; echo x > r/f; tar -cf r.tar -C r f; gzip -k r.tar; xz -k r.tar; bzip2 -k r.tar; zstd -q r.tar";
    let script = format!("cd {scratch}; {script}");
    let done = host.program("sh").arg("-ec").arg(&script).run();
    assert_eq!(done.exit_code, 0, "{done:?}");
    let plain = host.scratch().join("r.tar").to_string_lossy().into_owned();
    let layers = |name: &str| inspect(&host, name, "{{.RootFS.Layers}}");
    host.ok(["import", &plain, "plain:1"]);
    for suffix in ["gz", "xz", "bz2", "zst"] {
        host.ok(["import", &format!("{plain}.{suffix}"), "packed:1"]);
        assert_eq!(layers("packed:1"), layers("plain:1"), "{suffix}");
    }
    let cut = format!("cd {scratch}; head -c 100 {plain}.xz > cut.xz");
    assert_eq!(host.program("sh").arg("-ec").arg(&cut).run().exit_code, 0);
    let cut = host.scratch().join("cut.xz").to_string_lossy().into_owned();
    let refused = host.rocker(["import", &cut, "cut:1"]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    let windows = host.rocker(["import", "--platform", "windows/amd64", &plain]);
    assert_eq!(windows.exit_code, 125, "{windows:?}");
    assert!(windows.stderr.contains("linux alone"), "{windows:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn a_platform_is_one_and_is_that_of_the_image() {
    let host = require!(host());
    let arm = ImageBuilder::new()
        .platform("arm", Some("v7"))
        .layer(Layer::new().file("f", ""));
    let reference = host.registry().push("arm:1", &arm.build());
    host.ok(["pull", "-q", "--arch", "arm", "--variant", "v7", &reference]);
    for words in [
        &["history", "-q", "--platform", "linux/arm/v7", &reference][..],
        &[
            "save",
            "-o",
            "/dev/null",
            "--platform",
            "linux/arm/v7",
            &reference,
        ],
    ] {
        host.ok(words.iter().copied());
    }
    for words in [
        &["history", "--platform", "linux/amd64", &reference][..],
        &[
            "save",
            "-o",
            "/dev/null",
            "--platform",
            "linux/amd64",
            &reference,
        ],
    ] {
        let refused = host.rocker(words.iter().copied());
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains("not for linux/amd64"),
            "{refused:?}"
        );
    }
    let one = "--platform=linux/amd64";
    let twice = host.rocker(["pull", one, "--platform=linux/arm64", &reference]);
    assert_eq!(twice.exit_code, 125, "{twice:?}");
    assert!(twice.stderr.contains("more than once"), "{twice:?}");
    let plain = host.busybox();
    assert!(!host.ok(["image", "inspect", &plain]).contains("Variant"));
    assert_eq!(inspect(&host, &reference, "{{.Variant}}"), "v7");
    host.assert_nothing_left_behind();
}

#[test]
fn a_platform_is_that_of_every_image_that_a_name_without_a_tag_means() {
    let host = require!(host());
    let arm = ImageBuilder::new()
        .platform("arm", Some("v7"))
        .layer(Layer::new().file("f", ""));
    let reference = host.registry().push("arm:1", &arm.build());
    host.ok(["pull", "-q", "--arch", "arm", "--variant", "v7", &reference]);
    // there is no latest
    let bare = reference.trim_end_matches(":1").to_owned();
    for (platform, code) in [("linux/arm/v7", 0), ("linux/amd64", 1)] {
        let words = ["save", "-o", "/dev/null", "--platform", platform, &bare];
        let done = host.rocker(words);
        assert_eq!(done.exit_code, code, "{done:?}");
    }
    host.registry()
        .push("arm:latest", &ImageBuilder::busybox().build());
    host.ok(["pull", "-q", &bare]);
    let hosts = inspect(&host, &bare, "{{.Os}}/{{.Architecture}}");
    for (platform, other) in [
        ("linux/arm/v7", &format!("{bare}:latest")),
        (&hosts, &reference),
    ] {
        let words = ["save", "-o", "/dev/null", "--platform", platform, &bare];
        let refused = host.rocker(words);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains(other), "{refused:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn an_object_is_looked_for_among_its_kind() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["tag", &image, "same"]);
    host.ok(["create", "--name", "same", &image, "true"]);
    let of = |kind: &str| host.ok(["inspect", "--type", kind, "-f", "{{.Id}}", "same"]);
    assert_eq!(of("image"), inspect(&host, &image, "{{.Id}}"));
    assert_eq!(of("container"), inspect(&host, "same", "{{.Id}}"));
    assert_eq!(
        host.rocker(["inspect", "--type", "volume", "same"])
            .exit_code,
        1
    );
    host.ok(["rm", "same"]);
    host.ok(["rmi", "--no-prune", "same"]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_cannot_be_pulled_is_not_advised() {
    let host = require!(host());
    for name in ["", "zz*", "../../x"] {
        let refused = host.rocker(["rmi", name]);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(!refused.stderr.contains("rocker pull"), "{refused:?}");
    }
    let nothing = host.rocker(["pull", ""]);
    assert!(
        nothing.stderr.starts_with("Error: cannot use \"\": "),
        "{nothing:?}"
    );
    let creds = host.rocker(["pull", "--creds", ":", "localhost:1/x"]);
    assert_eq!(creds.exit_code, 125, "{creds:?}");
    assert!(creds.stderr.contains("user's name is missing"), "{creds:?}");
    let retry = host.rocker(["pull", "--retry", "-1", "localhost:1/x"]);
    assert!(retry.stderr.contains("0..=1000"), "{retry:?}");
    let conf = host.command(["pull", "localhost:1/x"]);
    let conf = conf.env("CONTAINERS_REGISTRIES_CONF", "/nope").run();
    assert!(
        conf.stderr.contains("No such file or directory"),
        "{conf:?}"
    );
    let directory = host.scratch().join("dir");
    fs_err::create_dir(&directory).expect("a directory");
    fs_err::write(directory.join("manifest.json"), "{}").expect("a file");
    let load = host.rocker(["load", "-i", &directory.to_string_lossy()]);
    assert!(load.stderr.contains("skopeo copy dir:DIR"), "{load:?}");
    host.assert_nothing_left_behind();
}
