//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rocker_image::registry::{LayerState, PullEvent, PullProgress, PullRequest, pull};
use rocker_testkit::registry::{Action, Auth, On};
use rocker_types::{Diagnose as _, ErrorKind};

use crate::ground::{Ground, chain, one_layer, request, three_layers};

/// Interrupts when an event of a kind comes.
struct Interrupter<'a> {
    flag: &'a AtomicBool,
    when: fn(&PullEvent<'_>) -> bool,
}

impl PullProgress for Interrupter<'_> {
    fn event(&self, event: PullEvent<'_>) {
        if (self.when)(&event) {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// What holds the pull up, on which requests, and when the user loses patience.
type Case = (&'static str, On, Action, fn(&PullEvent<'_>) -> bool);

fn at_once(event: &PullEvent<'_>) -> bool {
    matches!(event, PullEvent::Resolving)
}

fn downloading(event: &PullEvent<'_>) -> bool {
    let PullEvent::Layer { state, .. } = event else {
        return false;
    };
    matches!(state, LayerState::Downloading { .. })
}

fn retrying(event: &PullEvent<'_>) -> bool {
    matches!(event, PullEvent::Retrying { .. })
}

fn cases() -> [Case; 5] {
    let slow = Action::Throttle(1000);
    let silent = Action::Delay(Duration::from_secs(120));
    let wait = Action::RetryAfter {
        status: 429,
        seconds: 59,
    };
    [
        ("silent manifest", On::Manifest, silent, at_once),
        ("slow manifest", On::Manifest, slow.clone(), at_once),
        ("slow blob", On::Blob, slow, at_once),
        (
            "silent blob",
            On::Blob,
            Action::StallAfter(100_000),
            downloading,
        ),
        ("waiting", On::Manifest, wait, retrying),
    ]
}

#[test]
fn an_interrupted_pull_returns_at_once_and_leaves_only_what_the_next_one_can_use() {
    for (name, on, action, when) in cases() {
        let ground = Ground::new();
        let reference = ground.registry.push("app:1", &three_layers());
        if on == On::Blob {
            // the config comes as usual
            ground.registry.fault(On::Blob, 1, Action::Chunked);
        }
        ground.registry.fault(on, u32::MAX, action);
        let flag = AtomicBool::new(false);
        let cancelled = || flag.load(Ordering::Relaxed);
        let request = PullRequest {
            cancelled: &cancelled,
            ..request(&reference)
        };

        let start = Instant::now();
        let interrupter = Interrupter { flag: &flag, when };
        let error = pull(&ground.store, &request, &interrupter).unwrap_err();

        assert_eq!(
            error.kind(),
            ErrorKind::Interrupted,
            "{name}: {}",
            chain(&error)
        );
        // the faults would hold the pull for minutes
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{name}: {:?}",
            start.elapsed()
        );
        ground.assert_nothing_but_leftovers();
    }
}

#[test]
fn a_pull_that_was_interrupted_before_it_began_sends_nothing() {
    let ground = Ground::with_auth(Auth::Open);
    let reference = ground.registry.push("app:1", &one_layer(1000));
    let request = PullRequest {
        cancelled: &|| true,
        ..request(&reference)
    };

    let error = ground.pull_with(&request).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(ground.registry.requests(), []);
}

#[test]
fn the_same_pull_succeeds_after_an_interruption() {
    let ground = Ground::new();
    let reference = ground.registry.push("app:1", &three_layers());
    let flag = AtomicBool::new(false);
    let cancelled = || flag.load(Ordering::Relaxed);
    let request = PullRequest {
        cancelled: &cancelled,
        ..request(&reference)
    };
    let when = |event: &PullEvent<'_>| matches!(event, PullEvent::Committing);
    let at_the_end = Interrupter {
        flag: &flag,
        when: |event| {
            matches!(
                event,
                PullEvent::Layer {
                    state: LayerState::Done,
                    ..
                }
            )
        },
    };
    assert!(pull(&ground.store, &request, &at_the_end).is_err());
    ground.assert_nothing_but_leftovers();
    flag.store(false, Ordering::Relaxed);

    // once everything is verified, an interruption comes too late
    pull(&ground.store, &request, &Interrupter { flag: &flag, when }).unwrap();
}
