//! When to ask a registry, and how often.

use std::time::{Duration, Instant};

use rocker_testkit::host::patience;
use rocker_testkit::image::{Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On, Registry};
use rocker_testkit::require;

use crate::resume::noise;
use crate::{host, shell};

fn image(content: &str) -> Image {
    let layer = Layer::new().file("f", content);
    ImageBuilder::new().layer(layer).build()
}

#[test]
fn a_policy_says_when_the_registry_is_asked() {
    let host = require!(host());
    let registry = Registry::start();
    let reference = registry.push("app:1", &image("old"));
    let pull = |policy: &str| host.rocker(["pull", "--policy", policy, &reference]);
    let requests = || registry.requests().len();

    let never = pull("never");
    assert_eq!((never.exit_code, requests()), (1, 0), "{never:?}");
    let missing = pull("missing");
    assert_eq!(missing.exit_code, 0, "{missing:?}");
    let before = requests();
    for policy in ["missing", "never"] {
        let output = pull(policy);
        assert_eq!(output.exit_code, 0, "{output:?}");
        assert_eq!(output.stdout, format!("{reference}\n"));
    }
    assert_eq!(requests(), before);
    registry.push("app:1", &image("new"));
    let newer = pull("newer");
    assert!(newer.stderr.contains("Downloaded newer image"), "{newer:?}");

    drop(registry);
    let gone = pull("newer");
    assert_eq!(gone.exit_code, 0, "{gone:?}");
    assert!(
        gone.stderr.contains("the image that is here is used"),
        "{gone:?}"
    );
    assert_eq!(pull("always").exit_code, 1);
    let other = reference.replace("app:1", "other:1");
    let absent = host.rocker(["pull", "--policy", "newer", &other]);
    assert_eq!(absent.exit_code, 1, "{absent:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn run_takes_a_newer_image_if_there_is_one_and_the_old_one_if_nobody_answers() {
    let host = require!(host());
    let registry = Registry::start();
    let reference = registry.push("app:1", &ImageBuilder::busybox().env("V", "old").build());
    let run = || host.ok(shell(&["--pull", "newer"], &reference, "echo $V"));

    assert_eq!(run(), "old");
    registry.push("app:1", &ImageBuilder::busybox().env("V", "new").build());
    assert_eq!(run(), "new");
    drop(registry);
    assert_eq!(run(), "new");
    host.assert_nothing_left_behind();
}

#[test]
fn the_command_line_says_how_often_and_how_long() {
    let host = require!(host());
    let reference = host.registry().push("app:1", &image("content"));
    let asked = || host.registry().requests().len();
    let pull = |flags: &[&str]| host.rocker([&["pull"], flags, &[&reference]].concat());

    host.registry().fault(On::Manifest, 1, Action::Status(500));
    let without = pull(&["--retry", "0"]);
    assert_eq!((without.exit_code, asked()), (1, 1), "{without:?}");
    host.registry().fault(On::Manifest, 8, Action::Status(503));
    let often = pull(&["--retry", "8", "--retry-delay", "1ms"]);
    assert_eq!(often.exit_code, 0, "{often:?}");
    host.ok(["rmi", &reference]);
    host.registry()
        .fault(On::Manifest, u32::MAX, Action::StallAfter(3));
    let start = Instant::now();
    let stalled = pull(&["--stall-timeout", "600ms"]);
    assert_eq!(stalled.exit_code, 1, "{stalled:?}");
    assert!(stalled.stderr.contains("no progress"), "{stalled:?}");
    assert!(start.elapsed() < Duration::from_secs(10) * patience());
    for wrong in [
        ["--stall-timeout", "0"],
        ["--max-concurrent-downloads", "0"],
        ["--max-concurrent-downloads", "9"],
        ["--retry-delay", "soon"],
        ["--policy", "sometimes"],
    ] {
        assert_eq!(pull(&wrong).exit_code, 125, "{wrong:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn one_layer_at_a_time_is_one_connection_at_a_time() {
    let host = require!(host());
    let layers = (0..4).map(|n| Layer::new().file("f", noise(n, 200_000)));
    let image = layers
        .fold(ImageBuilder::new(), ImageBuilder::layer)
        .build();
    let reference = host.registry().push("app:1", &image);
    let slow = Action::Throttle(1_000_000);
    host.registry().fault(On::Blob, u32::MAX, slow);

    let output = host.rocker(["pull", "--max-concurrent-downloads", "1", &reference]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    let lines: Vec<_> = output.stderr.lines().collect();
    let begun = lines.iter().filter(|line| line.ends_with("Downloading"));
    assert_eq!(begun.count(), 4, "{output:?}");
    let mut under_way = 0;
    for line in lines {
        match line.rsplit(": ").next() {
            Some("Downloading") => under_way += 1,
            Some("Pull complete") => under_way -= 1,
            _ => {}
        }
        assert!(under_way <= 1, "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_bad_day_of_a_registry_costs_few_bytes() {
    let host = require!(host());
    let elsewhere = Registry::start();
    let layer = Layer::new().file("noise", noise(1, 9_000_000));
    let image = ImageBuilder::new().layer(layer).build();
    let reference = host.registry().push("app:1", &image);
    elsewhere.push("copy:1", &image);
    let blob = &image.layers[0];
    let on = || On::Path(blob.digest.clone());
    let cut = || Action::CutAfter(3_000_000);
    let wait = Action::RetryAfter {
        status: 429,
        seconds: 1,
    };
    let away = format!("http://{}/v2/copy/blobs/{}", elsewhere.host(), blob.digest);
    for action in [
        Action::Status(500),
        cut(),
        Action::Status(502),
        wait,
        cut(),
        Action::Hangup,
        Action::Redirect(away),
    ] {
        host.registry().fault(on(), 1, action);
    }

    let output = host.rocker(["pull", &reference]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    let served = host.registry().bytes_served() + elsewhere.bytes_served();
    let size = blob.bytes.len() as u64;
    assert!(served * 10 <= size * 13, "{served} of {size}");
    assert!(elsewhere.bytes_served() > 0, "nobody was sent elsewhere");
    host.assert_nothing_left_behind();
}

#[test]
fn all_tags_of_a_repository_come_with_one_command() {
    let host = require!(host());
    let names = ["a", "b", "c", "d", "e"];
    let all = names.map(|tag| {
        host.registry()
            .push(&format!("team/app:{tag}"), &image(tag))
    });
    let repository = format!("{}/team/app", host.registry().host());

    let output = host.rocker(["pull", "-a", "-q", &repository]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    assert_eq!(output.stdout, format!("{}\n", all.join("\n")));
    host.registry()
        .fault(On::Path("manifests/c".to_owned()), 1, Action::Status(404));
    let some = host.rocker(["pull", "-a", "-q", &repository]);
    assert_eq!(some.exit_code, 1, "{some:?}");
    assert_eq!(some.stdout.lines().count(), 4, "{some:?}");
    let named = host.rocker(["pull", "-a", &all[0]]);
    assert_ne!(named.exit_code, 0, "{named:?}");
    let absent = host.rocker(["pull", "-a", &format!("{}/no/such", host.registry().host())]);
    assert_eq!(absent.exit_code, 1, "{absent:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn a_dry_run_tells_what_is_missing_and_fetches_no_blob() {
    let host = require!(host());
    let base = Layer::new().file("base", vec![b'b'; 20_000]);
    let image = |top: &str| {
        let top = Layer::new().file("top", top.repeat(1000));
        ImageBuilder::busybox()
            .layer(base.clone())
            .layer(top)
            .build()
    };
    let reference = host.registry().push("dry:1", &image("one"));
    host.ok(["ps"]);
    let before = host.snapshot();

    let first = host.ok(["pull", "--dry-run", &reference]);
    assert!(first.contains("\nWould fetch: 3 of 3 layers, "), "{first}");
    assert!(first.starts_with("Digest: sha256:"), "{first}");
    assert_eq!(host.registry().blob_downloads(), 0);
    host.assert_unchanged_since(&before);

    host.ok(["pull", "-q", &reference]);
    let again = host.ok(["pull", "--dry-run", &reference]);
    assert!(again.ends_with("\nImage is up to date"), "{again}");
    assert_eq!(again.matches(": exists").count(), 3, "{again}");

    host.registry().push("dry:1", &image("two"));
    let downloads = host.registry().blob_downloads();
    let newer = host.ok(["pull", "--dry-run", &reference]);
    assert!(newer.contains("\nWould fetch: 1 of 3 layers, "), "{newer}");
    assert_eq!(newer.matches(": exists").count(), 2, "{newer}");
    assert_eq!(host.registry().blob_downloads(), downloads);

    let missing = host.rocker(["pull", "--dry-run", &reference.replace(":1", ":nope")]);
    assert_eq!(
        (missing.exit_code, missing.stdout.as_str()),
        (1, ""),
        "{missing:?}"
    );
    let file = host.rocker(["pull", "--dry-run", "oci:/tmp/x"]);
    assert_eq!(file.exit_code, 125, "{file:?}");
    let twice = [
        "pull",
        "--platform",
        "linux/amd64",
        "--platform",
        "linux/arm64",
        &reference,
    ];
    let twice = host.rocker(twice);
    assert_eq!(twice.exit_code, 125, "{twice:?}");
    assert!(twice.stderr.contains("a name means one image"), "{twice:?}");
    host.assert_nothing_left_behind();
}
