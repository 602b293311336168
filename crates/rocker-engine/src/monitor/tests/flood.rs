//! Memory under a flood of output, in a process of its own.

use std::process::Command;

use super::rig::{Rig, Shape, memory_kib};
use crate::monitor::InputEnd;

/// What the monitor, its thread and its clients may add, in KiB. Four buffers of 64 KiB, the log's 160 KiB,
/// the test's own harness and the allocator's rounding; 100 MB flow.
const BOUND_KIB: u64 = 4096;

/// Runs one of this module's tests again, alone in a process.
fn alone(test: &str) -> bool {
    if std::env::var_os("ROCKER_FLOOD").is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("monitor::tests::flood::{test}"))
        .env("ROCKER_FLOOD", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{stderr}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    false
}

#[test]
fn a_flood_that_nobody_reads_takes_no_memory() {
    if !alone("a_flood_that_nobody_reads_takes_no_memory") {
        return;
    }
    let before = memory_kib("VmRSS:");
    let mut rig = Rig::detached(
        "yes | head -c 100000000",
        Shape::NoInput,
        InputEnd::WithContainer,
    );
    rig.ended();

    let grown = memory_kib("VmHWM:").saturating_sub(before);
    assert!(grown < BOUND_KIB, "{grown} KiB");
}

#[test]
fn a_flood_that_a_client_reads_takes_no_memory() {
    if !alone("a_flood_that_a_client_reads_takes_no_memory") {
        return;
    }
    let before = memory_kib("VmRSS:");
    let (mut rig, mut client) = Rig::attached("yes | head -c 100000000", Shape::NoInput);
    let mut count = 0;
    while client.exit.is_none() {
        client.until(|client| !client.stdout.is_empty() || client.exit.is_some());
        count += client.stdout.len();
        client.stdout.clear();
    }
    rig.ended();

    assert_eq!(count, 100_000_000);
    let grown = memory_kib("VmHWM:").saturating_sub(before);
    assert!(grown < BOUND_KIB, "{grown} KiB");
}
