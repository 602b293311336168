//! Several pulls at once of images that have layers in common.

use std::time::{Duration, Instant};

use rocker_testkit::host::{Spawned, patience};
use rocker_testkit::image::{BuiltLayer, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::host;
use crate::resume::{await_that, noise, staged};

/// Bytes a second of each transfer: slow enough for four processes to meet.
const RATE: usize = 2_000_000;

/// A layer of 1 MB that takes owner and mode of a directory from below.
fn layer(n: u64) -> BuiltLayer {
    Layer::new()
        .file(&format!("shared/{n}"), noise(n, 1_000_000))
        .build()
}

fn image(layers: &[u64]) -> Image {
    let layers = layers.iter().map(|n| layer(*n));
    let base = ImageBuilder::new().layer(Layer::new().dir("shared", 0o750));
    layers.fold(base, ImageBuilder::built_layer).build()
}

/// Four images that share a base and, some of them, what lies on it.
fn four_images() -> [Image; 4] {
    [
        image(&[1, 2, 3]),
        image(&[1, 2, 4]),
        image(&[1, 5]),
        image(&[1, 2, 3, 6]),
    ]
}

fn push_all(host: &Host, images: &[Image]) -> Vec<String> {
    let names = (0..).zip(images);
    names
        .map(|(n, image)| host.registry().push(&format!("app{n}:1"), image))
        .collect()
}

/// Bytes of all that has to be fetched, each layer once.
fn bytes_once(images: &[Image]) -> u64 {
    let mut layers: Vec<_> = images.iter().flat_map(|image| &image.layers).collect();
    layers.sort_by_key(|layer| &layer.digest);
    layers.dedup_by_key(|layer| &layer.digest);
    let documents = images
        .iter()
        .flat_map(|image| [&image.config, &image.manifest]);
    let all = layers.into_iter().chain(documents);
    all.map(|blob| blob.bytes.len() as u64).sum()
}

/// Has every blob come at this rate, and makes the data directory.
fn slow_down(host: &Host, bytes_a_second: usize) {
    let slow = Action::Throttle(bytes_a_second);
    let blobs = On::Path("/blobs/".to_owned());
    host.registry().fault(blobs, u32::MAX, slow);
    host.ok(["ps"]);
}

fn pull_all(host: &Host, references: &[String]) -> Vec<Spawned> {
    let pull = |reference: &String| {
        let limit = Duration::from_secs(60) * patience();
        host.command(["pull", reference])
            .time_limit(limit)
            .quiet()
            .spawn()
    };
    references.iter().map(pull).collect()
}

fn assert_all_are_whole(host: &Host, references: &[String]) {
    for reference in references {
        let tar = host.scratch().join("saved.tar");
        host.ok(["save", "-o", &tar.to_string_lossy(), reference]);
        host.ok(["rmi", reference]);
    }
    let check = host.rocker(["system", "check"]);
    assert_eq!(check.exit_code, 0, "{check:?}");
    assert_eq!(staged(host), [""; 0]);
}

#[test]
fn pulls_at_the_same_time_fetch_each_layer_once() {
    let host = require!(host());
    let images = four_images();
    let references = push_all(&host, &images);
    slow_down(&host, RATE);

    let pulls = pull_all(&host, &references);
    let outputs: Vec<_> = pulls.into_iter().map(Spawned::finish).collect();

    for output in &outputs {
        assert_eq!(output.exit_code, 0, "{output:?}");
    }
    let waited = outputs
        .iter()
        .any(|output| output.stderr.contains("Waiting (another pull)"));
    assert!(waited, "nobody met anybody: {outputs:?}");
    let served = host.registry().bytes_served();
    assert_eq!(served, bytes_once(&images));
    assert_all_are_whole(&host, &references);
    host.assert_nothing_left_behind();
}

#[test]
fn a_layer_that_is_there_is_not_kept_from_others_until_the_rest_comes() {
    let host = require!(host());
    // the base comes long before the top, which comes at a tenth of the speed
    let (base, top) = (layer(1), layer(9));
    let large = ImageBuilder::new()
        .built_layer(base.clone())
        .built_layer(top);
    let small = ImageBuilder::new()
        .built_layer(base)
        .layer(Layer::new().file("x", "x"));
    let (large, small) = (large.build(), small.build());
    let references = push_all(&host, &[large.clone(), small.clone()]);
    host.ok(["ps"]);
    let top = On::Path(large.layers[1].digest.clone());
    host.registry()
        .fault(top, u32::MAX, Action::Throttle(RATE / 20));

    let first = host.command(["pull", &references[0]]).quiet().spawn();
    await_that(&first, || host.registry().bytes_served() > 1_100_000);
    host.ok(["pull", &references[1]]);

    let all = bytes_once(&[large, small]);
    let served = host.registry().bytes_served();
    assert!(served < all, "the large one came first");
    assert_eq!(first.finish().exit_code, 0);
    assert_eq!(host.registry().bytes_served(), all);
    assert_all_are_whole(&host, &references);
    host.assert_nothing_left_behind();
}

#[test]
fn a_pull_that_comes_on_is_not_taken_for_stuck() {
    let host = require!(host());
    // too small for its bytes to be kept while it is unpacked, so that nothing else shows
    let image = ImageBuilder::new().layer(Layer::new().file("file", noise(1, 50_000)));
    let image = image.build();
    let references = push_all(&host, std::slice::from_ref(&image));
    slow_down(&host, 10_000);

    let first = host.command(["pull", &references[0]]).quiet().spawn();
    await_that(&first, || host.registry().bytes_served() > 5_000);
    let waits = ["pull", "--stall-timeout", "2s", &references[0]];
    let second = host.command(waits).quiet().spawn();
    second.await_stderr("Waiting (another pull)");

    assert_eq!(first.finish().exit_code, 0);
    let second = second.finish();
    assert_eq!(second.exit_code, 0, "{second:?}");
    let layer = &image.layers[0].digest;
    let requests = host.registry().requests();
    let asked = requests
        .iter()
        .filter(|request| request.path.contains(layer.as_str()));
    assert_eq!(asked.count(), 1, "{requests:?}");
    assert_all_are_whole(&host, &references);
    host.assert_nothing_left_behind();
}

#[test]
fn what_a_killed_pull_was_fetching_is_taken_over_by_those_who_wait_for_it() {
    let host = require!(host());
    let images = four_images();
    let references = push_all(&host, &images);
    slow_down(&host, RATE);

    // the first gets all that it needs; the others come to wait for it
    let first = host.command(["pull", &references[3]]).quiet().spawn();
    await_that(&first, || host.registry().bytes_served() > 500_000);
    let others = pull_all(&host, &references[..3]);
    others
        .iter()
        .for_each(|pull| pull.await_stderr("Waiting (another pull)"));
    first.signal(Signal::KILL);
    let start = Instant::now();
    assert_eq!(first.finish().exit_code, -9);

    for output in others.into_iter().map(Spawned::finish) {
        assert_eq!(output.exit_code, 0, "{output:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(30) * patience());
    // one layer of the killed pull is of no use to the others; what was in flight may be lost
    let served = host.registry().bytes_served();
    let once = bytes_once(&images);
    assert!(served <= once + 300_000, "{served} of {once}");
    host.ok(["pull", "-q", &references[3]]);
    assert_all_are_whole(&host, &references);
    host.assert_nothing_left_behind();
}

#[test]
fn what_a_stopped_pull_was_fetching_is_fetched_by_those_who_wait_for_it() {
    let host = require!(host());
    let reference = host.registry().push("app:1", &image(&[1, 2]));
    slow_down(&host, RATE / 4);

    let stopped = host.command(["pull", &reference]).quiet().spawn();
    await_that(&stopped, || host.registry().bytes_served() > 300_000);
    let other = host
        .command(["pull", "--stall-timeout", "2s", &reference])
        .quiet()
        .spawn();
    other.await_stderr("Waiting (another pull)");
    stopped.signal(Signal::STOP);

    let other = other.finish();
    assert_eq!(other.exit_code, 0, "{other:?}");
    stopped.signal(Signal::CONT);
    let stopped = stopped.finish();
    assert_eq!(stopped.exit_code, 0, "{stopped:?}");
    assert_all_are_whole(&host, &[reference]);
    host.assert_nothing_left_behind();
}

#[test]
fn two_images_with_the_same_layers_in_another_order_do_not_wait_for_each_other_for_ever() {
    let host = require!(host());
    let images = [image(&[1, 2]), image(&[2, 1])];
    let references = push_all(&host, &images);
    slow_down(&host, RATE);

    for output in pull_all(&host, &references)
        .into_iter()
        .map(Spawned::finish)
    {
        assert_eq!(output.exit_code, 0, "{output:?}");
    }
    for reference in &references {
        host.ok(["rmi", reference]);
    }
    host.assert_nothing_left_behind();
}
