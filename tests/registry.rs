//! Pulling: from Debian's distribution server, with authentication, and from a registry that
//! misbehaves.

use rocker_testkit::image::{Compression, Format, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, Auth, Distribution, On, Registry};
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::{host, shell};

#[test]
fn an_image_of_the_distribution_server_runs() {
    let host = require!(host());
    let server = require!(Distribution::start(&host.scratch(), 5000));

    for (format, compression) in [
        (Format::Oci, Compression::Zstd),
        (Format::DockerSchema2, Compression::Gzip),
    ] {
        let layer = Layer::new()
            .file("etc/marker", "from distribution")
            .compression(compression);
        let reference = server.push(
            "team/app:1",
            &ImageBuilder::busybox().layer(layer).format(format).build(),
        );
        assert_eq!(
            host.ok([
                "run",
                "--rm",
                "--pull",
                "always",
                &reference,
                "cat",
                "/etc/marker"
            ]),
            "from distribution"
        );
    }
    drop(server);
    host.assert_nothing_left_behind();
}

/// A docker `config.json` with credentials for `registry`, and the directory it lies in.
fn docker_config(host: &Host, registry: &Registry, user: &str, password: &str) -> String {
    let directory = host.scratch().join("docker");
    fs_err::create_dir_all(&directory).expect("a directory");
    let plain = host.scratch().join("plain");
    fs_err::write(&plain, format!("{user}:{password}")).expect("a file");
    let coded = rocker_testkit::host::run_program(&["base64", "-w0", &plain.to_string_lossy()]);
    let document = serde_json::json!({ "auths": { registry.host(): { "auth": coded } } });
    fs_err::write(directory.join("config.json"), document.to_string()).expect("a file");
    directory.to_string_lossy().into_owned()
}

#[test]
fn credentials_are_given_to_the_registry_that_asks_for_them() {
    let host = require!(host());
    let image = ImageBuilder::busybox().build();
    let user = || ("me".to_owned(), "secret".to_owned());

    for auth in [
        Auth::Basic {
            user: user().0,
            password: user().1,
        },
        Auth::Token { user: Some(user()) },
    ] {
        let registry = Registry::with_auth(auth.clone());
        let reference = registry.push("private:1", &image);

        let config = docker_config(&host, &registry, "me", "secret");
        let welcome = host
            .command(["pull", "-q", &reference])
            .env("DOCKER_CONFIG", &config)
            .run();
        host.ok(["rmi", &reference]);
        let wrong = docker_config(&host, &registry, "me", "wrong");
        let refused = host
            .command(["pull", "-q", &reference])
            .env("DOCKER_CONFIG", &wrong)
            .run();
        let anonymous = host.rocker(["pull", "-q", &reference]);

        assert_eq!(welcome.exit_code, 0, "{auth:?} {welcome:?}");
        for output in [refused, anonymous] {
            assert_eq!(output.exit_code, 1, "{auth:?} {output:?}");
            assert!(
                !output.stderr.contains("secret") && !output.stderr.contains("wrong"),
                "{output:?}"
            );
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn an_anonymous_token_is_fetched_where_one_is_wanted() {
    let host = require!(host());
    let registry = Registry::with_auth(Auth::Token { user: None });
    let reference = registry.push("public:1", &ImageBuilder::busybox().build());

    assert_eq!(host.ok(["run", "--rm", &reference, "echo", "in"]), "in");
    host.assert_nothing_left_behind();
}

#[test]
fn a_passing_fault_is_survived() {
    let host = require!(host());
    // Random enough not to shrink, so that the cut falls into the layer.
    let noise: Vec<u8> = (0..400_000_u64)
        .flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
        .collect();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("noise", noise))
        .build();

    for (on, times, action) in [
        (
            On::Manifest,
            1,
            Action::RetryAfter {
                status: 429,
                seconds: 1,
            },
        ),
        (On::Blob, 2, Action::Status(500)),
        (On::Blob, 1, Action::Status(503)),
        (On::Blob, 1, Action::Hangup),
        (
            On::Path(image.layers[1].digest.clone()),
            2,
            Action::CutAfter(500_000),
        ),
        (On::Blob, 3, Action::Chunked),
    ] {
        let registry = Registry::start();
        let reference = registry.push("flaky:1", &image);
        registry.fault(on.clone(), times, action.clone());

        let output = host.rocker(["pull", "-q", &reference]);

        assert_eq!(output.exit_code, 0, "{on:?} {action:?} {output:?}");
        assert_eq!(
            host.ok(shell(&[], &reference, "wc -c </noise")),
            "3200000",
            "{action:?}"
        );
        host.ok(["rmi", &reference]);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_broken_download_goes_on_where_it_broke_off() {
    let host = require!(host());
    let noise: Vec<u8> = (0..400_000_u64)
        .flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
        .collect();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("noise", noise))
        .build();
    let reference = host.registry().push("resume:1", &image);
    let layer = image.layers[1].digest.clone();
    host.registry()
        .fault(On::Path(layer.clone()), 1, Action::CutAfter(1_000_000));

    host.ok(["pull", "-q", &reference]);

    let ranges: Vec<_> = host
        .registry()
        .requests()
        .into_iter()
        .filter(|request| request.path.contains(&layer))
        .map(|request| request.range)
        .collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(
        ranges[1]
            .as_deref()
            .is_some_and(|range| range.starts_with("bytes=") && range != "bytes=0-"),
        "{ranges:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_pull_that_is_stopped_by_a_signal_says_which_in_its_exit_code() {
    let host = require!(host());
    let reference = host
        .registry()
        .push("slow:1", &ImageBuilder::busybox().build());
    host.ok(["ps"]);
    let before = host.snapshot();

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for command in [&["pull"][..], &["run", "--rm"]] {
            host.registry().fault(On::Blob, 9, Action::StallAfter(10));
            let pull = host.command([command, &[&reference]].concat()).spawn();
            pull.await_stderr("Pulling from");
            pull.signal(signal);
            let output = pull.finish();
            assert_eq!(output.exit_code, code, "{output:?}");
            host.assert_unchanged_since(&before);
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_redirected_download_does_not_take_the_credentials_along() {
    let host = require!(host());
    let image = ImageBuilder::busybox().build();
    let storage = Registry::start();
    storage.push("elsewhere:1", &image);
    let registry = Registry::with_auth(Auth::Basic {
        user: "me".into(),
        password: "secret".into(),
    });
    let reference = registry.push("front:1", &image);
    let layer = &image.layers[0].digest;
    registry.fault(
        On::Path(layer.clone()),
        1,
        Action::Redirect(format!(
            "http://{}/v2/elsewhere/blobs/{layer}",
            storage.host()
        )),
    );

    let config = docker_config(&host, &registry, "me", "secret");
    let output = host
        .command(["pull", "-q", &reference])
        .env("DOCKER_CONFIG", &config)
        .run();

    assert_eq!(output.exit_code, 0, "{output:?}");
    let requests = storage.requests();
    assert!(
        !requests.is_empty()
            && requests
                .iter()
                .all(|request| request.authorization.is_none()),
        "{requests:?}"
    );
    host.assert_nothing_left_behind();
}

/// A `registries.conf` for one command.
fn registries_conf(host: &Host, text: &str) -> String {
    let path = host.scratch().join("registries.conf");
    fs_err::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn mirrors_are_asked_first_and_the_registry_itself_last() {
    let host = require!(host());
    let (mirror, own) = (Registry::start(), Registry::start());
    let image = ImageBuilder::busybox().build();
    let reference = own.push("team/app:1", &image);
    let conf = registries_conf(
        &host,
        &format!(
            "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/copies\"\n",
            own.host(),
            mirror.host()
        ),
    );
    let pull = || {
        host.command(["pull", &reference])
            .env("CONTAINERS_REGISTRIES_CONF", &conf)
            .run()
    };

    let without = pull();
    assert_eq!(without.exit_code, 0, "{without:?}");
    assert!(without.stderr.contains("asking elsewhere"), "{without:?}");
    host.ok(["rmi", &reference]);
    let asked = own.requests().len();
    mirror.push("copies/team/app:1", &image);
    let with = pull();
    assert_eq!(with.stdout, format!("{reference}\n"), "{with:?}");
    assert!(!with.stderr.contains("asking elsewhere"), "{with:?}");
    assert_eq!(own.requests().len(), asked, "the mirror has it");
    host.ok(["rmi", &reference]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_repository_is_where_registries_conf_says_unless_it_is_blocked() {
    let host = require!(host());
    let (named, real) = (Registry::start(), Registry::start());
    let image = ImageBuilder::busybox().build();
    real.push("copies/app:1", &image);
    let reference = format!("{}/team/app:1", named.host());
    let rule = |more: &str| {
        let prefix = named.host();
        format!("[[registry]]\nprefix = \"{prefix}/team\"\n{more}\n")
    };
    let with = |conf: &str, words: &[&str]| {
        let conf = registries_conf(&host, conf);
        host.command(words.iter().copied())
            .env("CONTAINERS_REGISTRIES_CONF", &conf)
            .run()
    };
    let elsewhere = rule(&format!("location = \"{}/copies\"", real.host()));

    let pull = with(&elsewhere, &["pull", &reference]);
    assert_eq!(pull.stdout, format!("{reference}\n"), "{pull:?}");
    real.remove_repository("copies/app");
    let push = with(&elsewhere, &["push", &reference]);
    assert_eq!(push.exit_code, 0, "{push:?}");
    assert!(real.manifest("copies/app:1").is_some(), "{push:?}");
    for words in [["pull", &reference], ["push", &reference]] {
        let blocked = with(&rule("blocked = true"), &words);
        assert_eq!(blocked.exit_code, 1, "{blocked:?}");
        assert!(blocked.stderr.contains("is blocked"), "{blocked:?}");
    }
    for (conf, says) in [
        ("[[registry]", "line 1"),
        ("[registries.search]\nregistries = []", "version 1"),
    ] {
        let bad = with(conf, &["pull", &reference]);
        assert_eq!(bad.exit_code, 1, "{bad:?}");
        assert!(bad.stderr.contains(says), "{bad:?}");
    }
    assert_eq!(named.requests().len(), 0, "{:?}", named.requests());
    host.ok(["rmi", &reference]);
    host.assert_nothing_left_behind();
}
