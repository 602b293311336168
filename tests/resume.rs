//! Pulls that were killed, and those that go on with what they left.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rocker_testkit::host::{Spawned, patience};
use rocker_testkit::image::{Compression, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::host;

/// Bytes that no compression makes smaller, others for each seed.
pub(crate) fn noise(seed: u64, length: u64) -> Vec<u8> {
    let words = (0..length / 8).map(|n| {
        let mixed = (n ^ (seed << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    });
    words.flat_map(u64::to_be_bytes).collect()
}

/// Ten layers of 50 kB to 2 MB, some of which take something from those below them.
fn ten_layers() -> Image {
    let sizes = [50, 2000, 120, 800, 70, 1200, 400, 1500, 90, 600];
    let layers = (0..).zip(sizes).map(|(n, kilobytes)| {
        let compression = match n % 3 {
            0 => Compression::Gzip,
            1 => Compression::Zstd,
            _ => Compression::Plain,
        };
        Layer::new()
            .dir(&format!("base{}", n / 4), 0o750)
            .file(
                &format!("base{}/shared/{n}", n / 5),
                noise(n, kilobytes * 1000),
            )
            .compression(compression)
    });
    layers
        .fold(ImageBuilder::new(), ImageBuilder::layer)
        .build()
}

fn bytes_of(image: &Image) -> u64 {
    let blobs = image.blobs().chain([&image.manifest]);
    blobs.map(|blob| blob.bytes.len() as u64).sum()
}

/// Waits until `is_so`, or until the process has ended.
pub(crate) fn await_that(pull: &Spawned, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10) * patience();
    let stat = format!("/proc/{}/stat", pull.pid());
    let has_ended = || {
        let stat = fs_err::read_to_string(&stat).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_none_or(|rest| rest.starts_with(['Z', 'X']))
    };
    while !is_so() && !has_ended() {
        assert!(Instant::now() < deadline, "it neither came nor ended");
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

pub(crate) fn staged(host: &Host) -> Vec<String> {
    let entries = fs_err::read_dir(host.root().join("tmp")).expect("a data directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_pull_that_is_killed_at_any_moment_is_finished_by_the_next_one() {
    let host = require!(host());
    let image = ten_layers();
    let reference = host.registry().push("ten:1", &image);
    let size = bytes_of(&image);
    // what waits in the buffers of the kernel is lost with the process that it is for
    let slow = Action::Throttle(3_000_000);
    host.registry().fault(On::Blob, u32::MAX, slow);
    host.ok(["ps"]);
    let before = host.snapshot();
    let mut survived = 0;

    for moment in 0..50_u64 {
        let start = host.registry().bytes_served();
        let served = || host.registry().bytes_served() - start;
        let pull = host.command(["pull", "-q", &reference]).quiet().spawn();
        // moments of the transfer, then of what comes after it
        let bytes = (size * moment / 38).min(size);
        await_that(&pull, || served() >= bytes);
        let after = Instant::now() + Duration::from_millis(6 * moment.saturating_sub(38));
        await_that(&pull, || Instant::now() >= after);
        pull.signal(Signal::KILL);
        survived += u32::from(pull.finish().exit_code == 0);

        let next = host
            .command(["pull", "-q", &reference])
            .time_limit(Duration::from_secs(60))
            .run();

        assert_eq!(next.exit_code, 0, "killed at {moment}: {next:?}");
        assert!(
            served() * 10 <= size * 13,
            "killed at {moment}: {} of {size}",
            served()
        );
        assert_eq!(staged(&host), [""; 0], "killed at {moment}");
        let check = host.rocker(["system", "check"]);
        assert_eq!(check.exit_code, 0, "killed at {moment}: {check:?}");
        host.ok(["rmi", &reference]);
        host.assert_unchanged_since(&before);
    }
    assert!(survived < 15, "too many came to their end: {survived}");
    host.assert_nothing_left_behind();
}

#[test]
fn layers_that_a_killed_pull_had_put_into_the_store_are_not_fetched_again() {
    let host = require!(host());
    let listed = host.rocker(["__crash-points"]);
    if listed.exit_code != 0 {
        return;
    }
    let image = ten_layers();
    let reference = host.registry().push("ten:1", &image);
    let killed = host
        .command(["pull", "-q", &reference])
        .env("ROCKER_CRASH_AT", "pull-after-commit")
        .quiet()
        .run();
    assert_eq!(killed.exit_code, -9, "{killed:?}");
    // every command sweeps what no row knows
    host.ok(["ps"]);
    let served = host.registry().bytes_served();

    host.ok(["pull", "-q", &reference]);

    let again = host.registry().bytes_served() - served;
    assert!(again < 10_000, "{again} bytes came again");
    assert_eq!(staged(&host), [""; 0]);
    host.assert_nothing_left_behind();
}

/// Whether some pull has written the beginning of a blob.
fn has_part_of_a_blob(host: &Host) -> bool {
    let entries = |dir: PathBuf| fs_err::read_dir(dir).into_iter().flatten().flatten();
    let staged = entries(host.root().join("tmp")).flat_map(|place| entries(place.path()));
    let mut blobs = staged.filter(|file| file.file_name().to_string_lossy().starts_with("blob-"));
    blobs.any(|file| file.metadata().is_ok_and(|blob| blob.len() > 100_000))
}

#[test]
fn a_prune_removes_what_an_unfinished_pull_left_and_says_how_much() {
    let host = require!(host());
    let image = ten_layers();
    let reference = host.registry().push("ten:1", &image);
    host.ok(["ps"]);
    let before = host.snapshot();
    let slow = Action::Throttle(3_000_000);
    host.registry().fault(On::Blob, u32::MAX, slow);
    let pull = host.command(["pull", "-q", &reference]).quiet().spawn();
    // what was sent need not have arrived
    await_that(&pull, || has_part_of_a_blob(&host));
    pull.signal(Signal::KILL);
    assert_eq!(pull.finish().exit_code, -9);
    host.ok(["ps"]);

    let said = host.ok(["image", "prune", "-f"]);

    assert!(said.contains("unfinished pulls"), "{said}");
    host.assert_unchanged_since(&before);
    host.assert_nothing_left_behind();
}
