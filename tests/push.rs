//! Pushing: to Debian's distribution server, to one that is read back with skopeo, and to a
//! registry that misbehaves.

use rocker_testkit::host::Output;
use rocker_testkit::image::{Compression, Format, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, Auth, Distribution, On, Registry, RequestRecord};
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::host;

/// Bytes that no compressor makes smaller.
fn noise(length: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..length / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    words.collect()
}

/// An image whose second layer takes more than one request to upload.
fn large() -> Image {
    ImageBuilder::busybox()
        .layer(Layer::new().file("noise", noise(3_000_000)))
        .build()
}

/// Pulls an image from a registry of its own and gives it the name `app:1` at `target`, which
/// does not have it. The registry is given back.
fn pulled_for(host: &Host, image: &Image, target: &Registry) -> (Registry, String) {
    let origin = Registry::start();
    let reference = origin.push("origin/app:1", image);
    host.ok(["pull", "-q", &reference]);
    name_at(host, image, target, "app:1");
    (origin, reference)
}

/// Gives an image a name at a registry that does not have it under that name.
fn name_at(host: &Host, image: &Image, registry: &Registry, name: &str) {
    let reference = registry.push(name, image);
    // what it takes to read it
    let user = "ann:secret";
    host.ok(["pull", "-q", "--creds", user, &reference]);
    registry.remove_repository(name.split(':').next().unwrap_or_default());
}

/// Removes an image with all its names.
fn remove(host: &Host, name: &str) {
    let id = host.ok(["inspect", "-f", "{{.Id}}", name]);
    host.ok(["rmi", "-f", &id]);
}

fn digest_of(output: &Output) -> &str {
    assert_eq!(output.exit_code, 0, "{output:?}");
    let words: Vec<_> = output.stdout.split_whitespace().collect();
    assert!(
        words.len() == 5 && words[1] == "digest:" && words[3] == "size:",
        "{output:?}"
    );
    words[2]
}

fn requests(registry: &Registry, method: &str, part: &str) -> Vec<RequestRecord> {
    let mut requests = registry.requests();
    requests.retain(|request| request.method == method && request.path.contains(part));
    requests
}

#[test]
fn what_was_pulled_arrives_as_it_was_and_skopeo_reads_it_back() {
    let host = require!(host());
    require!(rocker_testkit::host::programs(&["skopeo"]));

    for (number, format, compression) in [
        (0, Format::Oci, Compression::Zstd),
        (1, Format::DockerSchema2, Compression::Gzip),
    ] {
        let layer = Layer::new()
            .file("etc/marker", "pushed")
            .compression(compression);
        let image = ImageBuilder::busybox().layer(layer).format(format).build();
        let directory = |which: &str| {
            let directory = host.scratch().join(format!("{which}{number}"));
            fs_err::create_dir(&directory).expect("a directory");
            directory
        };
        let origin = Registry::start();
        let reference = origin.push("origin/app:1", &image);
        host.ok(["pull", "-q", &reference]);
        let full = require!(Distribution::start(&directory("full"), 5000));
        let name = full.push("team/app:1", &image);
        host.ok(["pull", "-q", &name]);
        drop(full);
        let server = require!(Distribution::start(&directory("empty"), 5000));

        let push = host.rocker(["push", &name]);

        assert_eq!(digest_of(&push), image.manifest.digest, "{push:?}");
        assert!(push.stderr.contains("Pushed"), "{push:?}");
        let raw = ["inspect", "--tls-verify=false", "--raw"];
        let raw = raw
            .iter()
            .fold(host.program("skopeo"), |c, word| c.arg(word));
        let raw = raw.arg(&format!("docker://{name}")).run();
        assert_eq!(raw.stdout_bytes, image.manifest.bytes, "{raw:?}");
        let again = host.rocker(["push", &name]);
        assert_eq!(digest_of(&again), image.manifest.digest);
        assert!(again.stderr.contains("Layer already exists"), "{again:?}");
        remove(&host, &name);
        let run = ["run", "--rm", &name, "cat", "/etc/marker"];
        assert_eq!(host.ok(run), "pushed");
        remove(&host, &name);
        drop(server);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn the_distribution_server_takes_large_layers_and_compressed_ones() {
    let host = require!(host());
    let layer = Layer::new().file("noise", noise(20_000_000));
    let image = ImageBuilder::busybox().layer(layer).build();
    for flag in ["gzip", "zstd"] {
        let directory = |which: &str| {
            let directory = host.scratch().join(format!("{which}-{flag}"));
            fs_err::create_dir(&directory).expect("a directory");
            directory
        };
        let full = require!(Distribution::start(&directory("full"), 5000));
        let name = full.push("team/app:1", &image);
        host.ok(["pull", "-q", &name]);
        drop(full);
        let server = require!(Distribution::start(&directory("empty"), 5000));

        let push = host.rocker(["push", "--compression", flag, &name]);

        let digest = digest_of(&push).to_owned();
        assert_ne!(
            digest, image.manifest.digest,
            "its blobs are nowhere to be had"
        );
        let id = host.ok(["inspect", "-f", "{{.Id}}", &name]);
        remove(&host, &name);
        host.ok(["pull", "-q", &name]);
        assert_eq!(
            host.ok(["inspect", "-f", "{{.Id}}", &name]),
            id,
            "the same image"
        );
        remove(&host, &name);
        drop(server);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_registry_takes_from_its_own_repositories_what_it_has_there() {
    let host = require!(host());
    for auth in [Auth::Open, Auth::Token { user: None }] {
        let registry = Registry::with_auth(auth.clone());
        let image = large();
        let reference = registry.push("base/app:1", &image);
        host.ok(["pull", "-q", &reference]);
        name_at(&host, &image, &registry, "mine/app:2");
        let name = format!("{}/mine/app:2", registry.host());

        let push = host.rocker(["push", &name]);

        assert_eq!(digest_of(&push), image.manifest.digest, "{auth:?}");
        assert!(push.stderr.contains("Mounted from base/app"), "{push:?}");
        assert_eq!(requests(&registry, "PATCH", "").len(), 0, "{auth:?}");
        let pushed = registry.manifest("mine/app:2").expect("a manifest");
        assert_eq!(pushed.bytes, image.manifest.bytes);
        remove(&host, &name);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn layers_whose_blobs_are_gone_are_compressed_anew() {
    let host = require!(host());
    for (flag, format, says) in [
        (
            "gzip",
            Format::DockerSchema2,
            "vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        (
            "zstd",
            Format::DockerSchema2,
            "vnd.oci.image.layer.v1.tar+zstd",
        ),
        ("zstd", Format::Oci, "vnd.oci.image.layer.v1.tar+zstd"),
    ] {
        let target = Registry::start();
        let image = ImageBuilder::busybox()
            .layer(Layer::new().file("noise", noise(3_000_000)))
            .format(format)
            .build();
        let name = format!("{}/app:1", target.host());
        let (origin, _) = pulled_for(&host, &image, &target);
        drop(origin);

        let push = host.rocker(["push", "--compression", flag, &name]);

        let digest = digest_of(&push).to_owned();
        let manifest = target.manifest("app:1").expect("a manifest");
        assert_eq!(manifest.digest, digest);
        assert_ne!(manifest.digest, image.manifest.digest);
        let text = String::from_utf8_lossy(&manifest.bytes);
        assert!(text.contains(says), "{text}");
        let id = host.ok(["inspect", "-f", "{{.Id}}", &name]);
        remove(&host, &name);
        host.ok(["pull", "-q", &name]);
        assert_eq!(
            host.ok(["inspect", "-f", "{{.Id}}", &name]),
            id,
            "the same image"
        );
        let sum = host.ok(["run", "--rm", &name, "wc", "-c", "/noise"]);
        assert_eq!(sum, "3000000 /noise");
        remove(&host, &name);
        assert_eq!(target.open_uploads(), 0);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_that_was_made_here_is_known_after_its_first_push() {
    let host = require!(host());
    let registry = host.registry();
    let archive = ImageBuilder::busybox().build().layers[0].bytes.clone();
    let file = host.scratch().join("root.tar.gz");
    fs_err::write(&file, archive).expect("a file");
    let [first, second] = ["here", "there"].map(|name| {
        let name = format!("{}/made/{name}:1", registry.host());
        host.ok(["import", &file.to_string_lossy(), &name]);
        name
    });

    let digest = digest_of(&host.rocker(["push", &first])).to_owned();

    let digests = host.ok(["inspect", "-f", "{{json .RepoDigests}}", &first]);
    assert!(digests.contains(&digest), "{digests}");
    let again = host.rocker(["push", &first]);
    assert_eq!(digest_of(&again), digest);
    assert!(again.stderr.contains("Layer already exists"), "{again:?}");
    let push = host.rocker(["push", &second]);
    assert!(push.stderr.contains("Mounted from made/here"), "{push:?}");
    assert_eq!(requests(registry, "PATCH", "made/there").len(), 0);
    host.ok(["rmi", &first]);
    host.ok(["rmi", &second]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_upload_that_breaks_goes_on_where_it_broke() {
    let host = require!(host());
    // from the layer's own registry, and from the compressor, whose length nobody knows before
    for origin_lives in [true, false] {
        let target = Registry::start();
        let image = large();
        let name = format!("{}/app:1", target.host());
        let (origin, _) = pulled_for(&host, &image, &target);
        let origin = origin_lives.then_some(origin);
        target.fault(On::Method("PATCH"), 1, Action::CutUploadAfter(1_000_000));
        target.fault(On::Method("PATCH"), 1, Action::Status(503));

        let push = host.rocker(["push", &name]);

        let digest = digest_of(&push).to_owned();
        assert_eq!(digest == image.manifest.digest, origin_lives, "{push:?}");
        let patches = requests(&target, "PATCH", "");
        let goes_on = |patch: &RequestRecord| {
            let range = patch.content_range.as_deref();
            range.is_some_and(|range| range.starts_with("1000000-"))
        };
        assert!(patches.iter().any(goes_on), "{patches:?}");
        assert!(push.stderr.contains("trying again"), "{push:?}");
        assert_eq!(target.open_uploads(), 0, "{:?}", target.requests());
        drop(origin);
        remove(&host, &name);
        host.ok(["pull", "-q", &name]);
        remove(&host, &name);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn passing_faults_are_survived_and_others_told() {
    let host = require!(host());
    let image = large();
    let name = |registry: &Registry| format!("{}/app:1", registry.host());
    for (on, times, action, code) in [
        (On::Method("HEAD"), 2, Action::Status(500), 0),
        (On::Method("POST"), 2, Action::Status(503), 0),
        (On::Method("POST"), 1, Action::Hangup, 0),
        (On::Method("PATCH"), 2, Action::Hangup, 0),
        (On::Method("PUT"), 1, Action::Hangup, 0),
        (On::Method("PUT"), 1, Action::Status(502), 0),
        (
            On::Method("PATCH"),
            1,
            Action::RetryAfter {
                status: 429,
                seconds: 1,
            },
            0,
        ),
        (On::Manifest, 2, Action::Status(500), 0),
        (On::Method("PUT"), 9, Action::Status(400), 1),
        (On::Method("POST"), 9, Action::Status(403), 1),
        (On::Method("PATCH"), 99, Action::Hangup, 1),
        (
            On::Method("POST"),
            9,
            Action::Redirect("http://169.254.169.254/".into()),
            1,
        ),
    ] {
        let target = Registry::start();
        let (_origin, _) = pulled_for(&host, &image, &target);
        target.fault(on.clone(), times, action.clone());

        let push = host.rocker(["push", &name(&target)]);

        assert_eq!(push.exit_code, code, "{on:?} {action:?} {push:?}");
        assert_eq!(
            target.manifest("app:1").is_some(),
            code == 0,
            "{on:?} {action:?}"
        );
        assert_eq!(
            target.open_uploads(),
            0,
            "{on:?} {action:?} {:?}",
            target.requests()
        );
        remove(&host, &name(&target));
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_push_that_is_stopped_takes_its_uploads_back() {
    let host = require!(host());
    let image = large();
    let target = Registry::start();
    let name = format!("{}/app:1", target.host());
    let (_origin, _) = pulled_for(&host, &image, &target);
    host.ok(["ps"]);
    let before = host.snapshot();

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        target.fault(On::Method("PATCH"), 9, Action::StallUploadAfter(100_000));
        let push = host.command(["push", &name]).spawn();
        push.await_stderr("Pushing");
        push.signal(signal);
        let output = push.finish();
        assert_eq!(output.exit_code, code, "{output:?}");
        assert_eq!(target.open_uploads(), 0, "{:?}", target.requests());
        assert!(target.manifest("app:1").is_none());
        host.assert_unchanged_since(&before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn who_may_not_push_is_told_to_log_in() {
    let host = require!(host());
    let (user, password) = ("ann".to_owned(), "secret".to_owned());
    for auth in [
        Auth::Basic {
            user: user.clone(),
            password: password.clone(),
        },
        Auth::Token {
            user: Some((user.clone(), password.clone())),
        },
    ] {
        let target = Registry::with_auth(auth);
        let name = format!("{}/app:1", target.host());
        let (_origin, _) = pulled_for(&host, &large(), &target);
        let refused = host.rocker(["push", &name]);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains("hint: log in"), "{refused:?}");
        let file = host.scratch().join("digest");
        let pushed = host.rocker([
            "push",
            "-q",
            "--creds",
            "ann:secret",
            "--digestfile",
            &file.to_string_lossy(),
            &name,
        ]);
        assert_eq!(pushed.stdout, format!("{name}\n"), "{pushed:?}");
        assert_eq!(pushed.stderr, "", "{pushed:?}");
        let digest = fs_err::read_to_string(&file).expect("a digest");
        assert_eq!(target.manifest("app:1").expect("a manifest").digest, digest);
        let tokens = requests(&target, "GET", "/token");
        let asked_for_more = tokens.last().is_none_or(|last| last.path.contains("push"));
        assert!(asked_for_more, "{tokens:?}");
        remove(&host, &name);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn what_cannot_be_pushed_is_said_before_anything_is_sent() {
    let host = require!(host());
    let registry = host.registry();
    let missing = format!("{}/missing:1", registry.host());
    let digest = format!("{}/x@sha256:{}", registry.host(), "0".repeat(64));
    for (name, says) in [
        (missing.as_str(), "no such image"),
        (&digest, "a digest is the registry's to give"),
        ("Not A Name", "invalid"),
    ] {
        let output = host.rocker(["push", name]);
        assert_eq!(output.exit_code, 1, "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
    assert_eq!(registry.requests().len(), 0);
    host.assert_nothing_left_behind();
}

#[test]
fn what_had_to_be_compressed_is_compressed_once() {
    let host = require!(host());
    let target = Registry::start();
    let name = format!("{}/app:1", target.host());
    let (origin, _) = pulled_for(&host, &large(), &target);
    drop(origin);

    let digest = digest_of(&host.rocker(["push", &name])).to_owned();
    let before = requests(&target, "PATCH", "").len();
    let again = host.rocker(["push", &name]);

    assert_eq!(digest_of(&again), digest);
    assert!(again.stderr.contains("Layer already exists"), "{again:?}");
    assert_eq!(requests(&target, "PATCH", "").len(), before, "{again:?}");
    // and another repository of that registry takes it over
    let other = format!("{}/other:1", target.host());
    host.ok(["tag", &name, &other]);
    let mounted = host.rocker(["push", &other]);
    assert!(mounted.stderr.contains("Mounted from app"), "{mounted:?}");
    assert_eq!(requests(&target, "PATCH", "").len(), before, "{mounted:?}");
    remove(&host, &name);
    host.assert_nothing_left_behind();
}

#[test]
fn a_helper_is_asked_once_about_where_layers_came_from_and_takes_signals() {
    let host = require!(host());
    let user = ("ann".to_owned(), "secret".to_owned());
    let origin = Registry::with_auth(Auth::Token { user: Some(user) });
    let target = Registry::start();
    let layer = |n: u8| Layer::new().file(&format!("noise-{n}"), noise(u64::from(n) * 400_000));
    let image = [1, 2, 3]
        .into_iter()
        .fold(ImageBuilder::busybox(), |image, n| image.layer(layer(n)))
        .build();
    let home = host.scratch().join("home");
    fs_err::create_dir_all(home.join(".docker")).expect("a directory");
    let settings = serde_json::json!({ "credHelpers": { origin.host(): "log" } });
    let file = home.join(".docker/config.json");
    fs_err::write(&file, settings.to_string()).expect("a file");
    let log = host.scratch().join("log");
    let script = format!(
        "#!/bin/sh\necho $1 $(cat) $(grep SigBlk /proc/$$/status) >> {}\n\
         echo '{{\"Username\":\"ann\",\"Secret\":\"secret\"}}'\n",
        log.display()
    );
    let program = home.join("docker-credential-log");
    fs_err::write(&program, script).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&program, mode).expect("a program");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", home.display());
    let with_helper = |words: &[&str]| {
        let command = host.command(words.iter().copied());
        let command = command.env("HOME", &home.to_string_lossy());
        command.env("PATH", &path).run()
    };
    let reference = origin.push("origin/app:1", &image);
    let pulled = with_helper(&["pull", "-q", &reference]);
    assert_eq!(pulled.exit_code, 0, "{pulled:?}");
    let name = format!("{}/app:1", target.host());
    host.ok(["tag", &reference, &name]);
    fs_err::remove_file(&log).expect("the pull asked");

    let push = with_helper(&["push", &name]);

    assert_eq!(digest_of(&push), image.manifest.digest, "{push:?}");
    let asked = fs_err::read_to_string(&log).expect("the push asked");
    let line = format!("get {} SigBlk: 0000000000000000\n", origin.host());
    assert_eq!(asked, line);
    remove(&host, &name);
    host.assert_nothing_left_behind();
}

#[test]
fn every_tag_of_a_repository_is_pushed_where_that_is_asked_for() {
    let host = require!(host());
    let target = Registry::start();
    let image = large();
    let (_origin, reference) = pulled_for(&host, &image, &target);
    let name = |tag: &str| format!("{}/app:{tag}", target.host());
    for tag in ["2", "latest"] {
        host.ok(["tag", &reference, &name(tag)]);
    }
    host.ok(["tag", &reference, &format!("{}/apple:1", target.host())]);
    let repository = name("1").trim_end_matches(":1").to_owned();

    let pushed = host.ok(["push", "-q", "--all-tags", &repository]);

    let names = ["1", "2", "latest"].map(name);
    assert_eq!(pushed.lines().collect::<Vec<_>>(), names);
    for tag in ["1", "2", "latest"] {
        let there = target.manifest(&format!("app:{tag}")).expect("a manifest");
        assert_eq!(there.digest, image.manifest.digest, "{tag}");
    }
    assert!(target.manifest("apple:1").is_none());
    for words in [
        &["push", "-a", &names[0]][..],
        &["push", "-a", "--digestfile", "x", &repository],
        &["push", "-a", &repository, "other"],
    ] {
        assert_eq!(
            host.rocker(words.iter().copied()).exit_code,
            125,
            "{words:?}"
        );
    }
    let missing = host.rocker(["push", "-a", "localhost:1/nothing"]);
    assert_eq!(missing.exit_code, 1, "{missing:?}");
    remove(&host, &reference);
    host.assert_nothing_left_behind();
}

#[test]
fn a_tag_that_cannot_be_pushed_does_not_keep_the_others_from_their_turn() {
    let host = require!(host());
    let target = Registry::with_auth(Auth::Basic {
        user: "ann".to_owned(),
        password: "secret".to_owned(),
    });
    let (_origin, reference) = pulled_for(&host, &ImageBuilder::busybox().build(), &target);
    let repository = format!("{}/app", target.host());
    for tag in ["2", "3"] {
        host.ok(["tag", &reference, &format!("{repository}:{tag}")]);
    }
    target.fault(
        On::Path("/manifests/2".to_owned()),
        100,
        Action::Status(400),
    );

    let mut terminal = host.terminal(["push", "-q", "-a", "--creds", "ann", &repository]);
    terminal.await_text("Password: ");
    terminal.type_in("secret\r");

    assert_eq!(terminal.wait(), 1, "{}", terminal.screen());
    let screen = terminal.screen();
    assert_eq!(screen.matches("Password: ").count(), 1, "{screen}");
    assert_eq!(screen.matches("Error: ").count(), 1, "{screen}");
    let there = ["1", "2", "3"].map(|tag| target.manifest(&format!("app:{tag}")).is_some());
    assert_eq!(there, [true, false, true], "{screen}");
    remove(&host, &reference);
    host.assert_nothing_left_behind();
}

#[test]
fn a_file_for_the_digest_that_cannot_be_written_is_found_out_before_the_push() {
    let host = require!(host());
    let target = Registry::start();
    let (_origin, _) = pulled_for(&host, &ImageBuilder::busybox().build(), &target);
    let name = format!("{}/app:1", target.host());
    let before = target.requests().len();
    let file = host.scratch().join("digest");
    let digestfile = |path: &str| host.rocker(["push", "-q", "--digestfile", path, &name]);

    for path in ["/proc/no-such-directory/digest", "/"] {
        let refused = digestfile(path);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains("nothing is pushed"), "{refused:?}");
    }
    assert_eq!(target.requests().len(), before);

    fs_err::write(&file, "old").expect("a file");
    target.fault(On::Method("PUT"), 1, Action::Status(400));
    let failed = digestfile(&file.to_string_lossy());
    assert_eq!(failed.exit_code, 1, "{failed:?}");
    let left = fs_err::read_to_string(&file).expect("a file");
    assert_eq!(left, "old", "as it was");
    remove(&host, &name);
    host.assert_nothing_left_behind();
}

#[test]
fn the_registry_gets_the_documents_that_are_asked_for() {
    let host = require!(host());
    let target = Registry::start();
    let zstd = Layer::new().file("z", "z").compression(Compression::Zstd);
    for (format, flag, says) in [
        (Format::Oci, "v2s2", "vnd.docker.distribution.manifest.v2"),
        (Format::DockerSchema2, "oci", "vnd.oci.image.manifest.v1"),
    ] {
        let image = ImageBuilder::busybox()
            .layer(zstd.clone())
            .format(format)
            .build();
        let (_origin, reference) = pulled_for(&host, &image, &target);
        let id = host.ok(["inspect", "-f", "{{.Id}}", &reference]);
        let name = format!("{}/app:1", target.host());

        let pushed = host.rocker(["push", "--format", flag, &name]);

        let there = target.manifest("app:1").expect("a manifest");
        assert_eq!(digest_of(&pushed), there.digest);
        let text = String::from_utf8_lossy(&there.bytes).into_owned();
        assert!(
            text.contains(says) && there.media_type.contains(says),
            "{text}"
        );
        assert_eq!(text.contains("zstd"), flag == "oci", "{text}");
        remove(&host, &name);
        host.ok(["pull", "-q", &name]);
        assert_eq!(host.ok(["inspect", "-f", "{{.Id}}", &name]), id);
        remove(&host, &name);
    }
    for words in [
        &["push", "--format", "v2s2", "--compression", "zstd", "x"][..],
        &["push", "--compression-level", "10", "x"],
        &["push", "--compression-level", "0", "x"],
    ] {
        assert_eq!(
            host.rocker(words.iter().copied()).exit_code,
            125,
            "{words:?}"
        );
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_higher_level_makes_smaller_blobs() {
    let host = require!(host());
    let words: String = (0..200_000)
        .map(|n: u32| format!("{} ", n.wrapping_mul(2_654_435_761) % 5000))
        .collect();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("words", words))
        .build();
    let mut sizes = Vec::new();
    for (packing, level) in [("gzip", "1"), ("gzip", "9"), ("zstd", "1"), ("zstd", "19")] {
        let target = Registry::start();
        let name = format!("{}/app:1", target.host());
        let (origin, _) = pulled_for(&host, &image, &target);
        drop(origin);
        host.ok([
            "push",
            "-q",
            "--compression",
            packing,
            "--compression-level",
            level,
            &name,
        ]);
        let manifest = target.manifest("app:1").expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
        sizes.push(manifest["layers"][1]["size"].as_u64().expect("a size"));
        remove(&host, &name);
    }
    assert!(sizes[0] > sizes[1] && sizes[2] > sizes[3], "{sizes:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn layers_are_compressed_anew_only_by_force() {
    let host = require!(host());
    let image = host.pulled(
        "packed:1",
        ImageBuilder::busybox().layer(Layer::new().file("f", "x").compression(Compression::Gzip)),
    );
    let target = format!("{}/packed:2", host.registry().host());
    let kinds = || {
        let manifest = host.registry().manifest("packed:2").expect("it was pushed");
        let text = String::from_utf8_lossy(&manifest.bytes).into_owned();
        (
            text.matches("tar+gzip").count(),
            text.matches("tar+zstd").count(),
        )
    };

    let kept = host.rocker(["push", "--compression", "zstd", &image, &target]);
    assert_eq!(kept.exit_code, 0, "{kept:?}");
    assert!(kept.stderr.contains("--force-compression"), "{kept:?}");
    assert_eq!(kinds(), (2, 0));

    let forced = ["push", "--compression", "zstd", "--force-compression"];
    let forced = host.rocker(forced.into_iter().chain([image.as_str(), target.as_str()]));
    assert_eq!(forced.exit_code, 0, "{forced:?}");
    assert!(!forced.stderr.contains("--force-compression"), "{forced:?}");
    assert_eq!(kinds(), (0, 2));
    host.ok(["rmi", "-f", &image]);
    host.ok(["run", "--rm", &target, "cat", "/f"]);
    host.assert_nothing_left_behind();
}
