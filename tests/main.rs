//! End to end: the real `rocker`, real containers, real registries on loopback.
//!
//! Each test makes a [`Host`] of its own (data, network namespace, mount namespace) and ends with
//! the leak check. Names are promises; what a test needs and the machine lacks is said by
//! `require!` and fails under `ROCKER_TEST_STRICT=1`.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests, which end with a panic when their ground does not hold"
)]

mod archive_ends;
mod archive_names;
mod archives;
mod bad_input;
mod battery;
mod changes;
mod confinement;
mod crash;
mod disk_usage;
mod examples;
mod exec;
mod full_disk;
mod host_report;
mod image_flags;
mod image_limits;
mod image_mount;
mod image_names;
mod images;
mod interrupt;
mod layouts;
mod lifecycle;
mod limits;
mod login;
mod logs;
mod network;
mod one_liners;
mod parallel;
mod power_failure;
mod progress;
mod proxies;
mod pulling;
mod push;
mod reach;
mod registry;
mod remote;
mod repair;
mod restart;
mod resume;
mod roundtrips;
mod search;
mod sharing;
mod short_names;
mod storage;
mod store_check;
mod terminal;
mod tour;
mod upgrade;
mod volumes;

use rocker_testkit::Host;
use rocker_testkit::host::Missing;

/// A host with the binary that Cargo built for this test run.
fn host() -> Result<Host, Missing> {
    Host::privileged(env!("CARGO_BIN_EXE_rocker"))
}

/// The words `run --rm IMAGE sh -c SCRIPT`, with flags before the image.
fn shell<'a>(flags: &[&'a str], image: &'a str, script: &'a str) -> Vec<&'a str> {
    let mut words = vec!["run", "--rm"];
    words.extend(flags);
    words.extend([image, "sh", "-c", script]);
    words
}

/// One field of `inspect`, by a Go template.
fn inspect(host: &Host, object: &str, template: &str) -> String {
    host.ok(["inspect", "-f", template, object])
}

/// A shell program that runs until it gets SIGTERM, and then ends with code 0 at once.
const HONOURS_TERM: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done";
