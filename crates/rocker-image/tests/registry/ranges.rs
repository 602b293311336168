//! A blob over several connections.

use std::time::Duration;

use rocker_image::registry::RangePolicy;
use rocker_testkit::registry::{Action, On};

use crate::ground::{Ground, one_layer, request};

const BLOB_BYTES: usize = 6 << 20;

/// Small and impatient, so that a test is short.
const POLICY: RangePolicy = RangePolicy {
    watch: Duration::from_millis(100),
    bytes: 256 << 10,
    connections: 4,
};

/// Pulls one layer while its blob's requests meet `faults`; what ranges were asked for, and how
/// many bytes were sent.
fn pull_with(faults: &[(u32, Action)]) -> (Vec<String>, u64) {
    let ground = Ground::new();
    let image = one_layer(BLOB_BYTES);
    let reference = ground.registry.push("app:1", &image);
    let digest = &image.layers[0].digest;
    for (times, action) in faults {
        let on = On::Path(digest.clone());
        ground.registry.fault(on, *times, action.clone());
    }
    let mut request = request(&reference);
    request.registry.ranges = POLICY;

    // whose bytes are not those of the digest is no success
    ground.pull_with(&request).unwrap();

    let requests = ground.registry.requests();
    let of_blob = requests.iter().filter(|r| r.path.contains(digest));
    let ranges = of_blob.map(|r| r.range.clone().unwrap_or_default());
    (ranges.collect(), ground.registry.bytes_served())
}

fn is_closed(range: &str) -> bool {
    !range.is_empty() && !range.ends_with('-')
}

#[test]
fn where_connections_are_slow_several_share_a_blob() {
    let (ranges, bytes) = pull_with(&[(1000, Action::Throttle(2_000_000))]);

    assert_eq!(ranges[0], "");
    assert!(
        ranges[1..].iter().all(|range| is_closed(range)),
        "{ranges:?}"
    );
    assert!(ranges.len() > 4, "{ranges:?}");
    let limit = BLOB_BYTES as u64 / 10 * 11;
    assert!(bytes < limit, "{bytes} bytes for a blob of {BLOB_BYTES}");
}

#[test]
fn where_several_are_no_faster_one_goes_on() {
    let (ranges, _) = pull_with(&[
        (1, Action::Throttle(4_000_000)),
        (8, Action::Throttle(400_000)),
    ]);

    assert_eq!(ranges[0], "");
    // four more are under way when the first eight are judged
    let closed = ranges.iter().filter(|range| is_closed(range)).count();
    assert!((8..=12).contains(&closed), "{ranges:?}");
    let last = ranges.last().unwrap();
    assert!(last.ends_with('-'), "{ranges:?}");
}

#[test]
fn a_range_that_fails_is_no_failure_of_the_pull() {
    for fault in [Action::Status(500), Action::IgnoreRange, Action::Hangup] {
        let faults = [(1, Action::Throttle(2_000_000)), (1, fault.clone())];
        let (ranges, _) = pull_with(&faults);

        let last = ranges.last().unwrap();
        assert!(last.ends_with('-'), "{fault:?}: {ranges:?}");
    }
}

#[test]
fn a_fast_connection_stays_alone() {
    let (ranges, _) = pull_with(&[]);
    assert_eq!(ranges, [""]);
}
