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

#[test]
fn an_interrupted_pull_returns_at_once_and_leaves_nothing() {
    let slow = Action::Throttle(1000);
    let cases: [(&str, On, Action, fn(&PullEvent<'_>) -> bool); 5] = [
        (
            "silent manifest",
            On::Manifest,
            Action::Delay(Duration::from_secs(120)),
            |e| matches!(e, PullEvent::Resolving),
        ),
        ("slow manifest", On::Manifest, slow.clone(), |e| {
            matches!(e, PullEvent::Resolving)
        }),
        ("slow blob", On::Blob, slow, |e| {
            matches!(e, PullEvent::Resolving)
        }),
        (
            "silent blob",
            On::Blob,
            Action::StallAfter(100_000),
            |event| {
                matches!(
                    event,
                    PullEvent::Layer {
                        state: LayerState::Downloading { .. },
                        ..
                    }
                )
            },
        ),
        (
            "waiting",
            On::Manifest,
            Action::RetryAfter {
                status: 429,
                seconds: 59,
            },
            |e| matches!(e, PullEvent::Retrying { .. }),
        ),
    ];
    for (name, on, action, when) in cases {
        let ground = Ground::new();
        let reference = ground.registry.push("app:1", &three_layers());
        let config = Action::Throttle(1 << 30);
        if on == On::Blob {
            ground.registry.fault(On::Blob, 1, config);
        }
        ground.registry.fault(on, u32::MAX, action);
        let flag = AtomicBool::new(false);
        let cancelled = || flag.load(Ordering::Relaxed);
        let request = PullRequest {
            cancelled: &cancelled,
            ..request(&reference)
        };

        let start = Instant::now();
        let error = pull(&ground.store, &request, &Interrupter { flag: &flag, when }).unwrap_err();

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
        ground.assert_store_is_empty();
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
    ground.assert_store_is_empty();
    flag.store(false, Ordering::Relaxed);

    // once everything is verified, an interruption comes too late
    pull(&ground.store, &request, &Interrupter { flag: &flag, when }).unwrap();
}
