//! Progress for programs: one JSON object on each line of standard error.
//!
//! The keys are promised to stay; new ones may come.

use rocker_engine::{LayerState, PullEvent, Pulled, PushEvent, PushState, Pushed};
use serde_json::{Value, json};

use crate::report;

fn tell(event: &Value) {
    report::note(&event.to_string());
}

/// What came of a pull.
pub(crate) fn pulled(reference: &str, pulled: &Pulled) {
    tell(&json!({
        "event": "pulled",
        "image": reference,
        "id": pulled.id.to_string(),
        "digest": pulled.digest.to_string(),
        "newer": pulled.newer,
    }));
}

/// What came of a push.
pub(crate) fn pushed(reference: &str, pushed: &Pushed) {
    tell(&json!({
        "event": "pushed",
        "image": reference,
        "digest": pushed.digest.to_string(),
    }));
}

pub(super) fn pull_event(event: &PullEvent<'_>) {
    let told = match event {
        PullEvent::Resolving => json!({ "event": "resolving" }),
        PullEvent::Resolved { digest, layers } => {
            let layers = layers
                .iter()
                .map(|layer| json!({ "digest": layer.digest.to_string(), "size": layer.size }));
            json!({
                "event": "resolved",
                "digest": digest.to_string(),
                "layers": layers.collect::<Vec<_>>(),
            })
        }
        PullEvent::NotThere { registry, cause } => {
            json!({ "event": "not-there", "registry": registry, "cause": cause })
        }
        PullEvent::Layer { digest, state } => {
            let (state, bytes) = pull_state(*state);
            layer(json!(digest.to_string()), state, bytes)
        }
        PullEvent::Retrying { what, cause, delay } => retrying(what, cause, delay.as_secs_f64()),
        PullEvent::Committing => json!({ "event": "committing" }),
        _ => return,
    };
    tell(&told);
}

pub(super) fn push_event(event: &PushEvent<'_>) {
    let told = match event {
        PushEvent::Begun { layers } => {
            let layers: Vec<_> = layers.iter().map(ToString::to_string).collect();
            json!({ "event": "begun", "layers": layers })
        }
        PushEvent::Layer { layer: id, state } => {
            let (state, bytes) = push_state(*state);
            layer(json!(id.to_string()), state, bytes)
        }
        PushEvent::Retrying { what, cause, delay } => retrying(what, cause, delay.as_secs_f64()),
        _ => return,
    };
    tell(&told);
}

fn layer(digest: Value, state: &str, bytes: Option<(u64, u64)>) -> Value {
    let mut event = json!({ "event": "layer", "digest": digest, "state": state });
    if let Some((done, total)) = bytes {
        event["done"] = done.into();
        event["total"] = total.into();
    }
    event
}

fn retrying(what: &str, cause: &str, seconds: f64) -> Value {
    json!({ "event": "retrying", "what": what, "cause": cause, "seconds": seconds })
}

fn pull_state(state: LayerState) -> (&'static str, Option<(u64, u64)>) {
    match state {
        LayerState::AlreadyExists => ("exists", None),
        LayerState::Waiting => ("waiting", None),
        LayerState::Elsewhere => ("elsewhere", None),
        LayerState::Resuming { done, total } => ("resuming", Some((done, total))),
        LayerState::Verifying => ("verifying", None),
        LayerState::Downloading { done, total } => ("downloading", Some((done, total))),
        LayerState::Extracting => ("extracting", None),
        LayerState::Done => ("done", None),
    }
}

fn push_state(state: PushState<'_>) -> (&'static str, Option<(u64, u64)>) {
    match state {
        PushState::Waiting => ("waiting", None),
        PushState::AlreadyExists => ("exists", None),
        PushState::Mounted { .. } => ("mounted", None),
        PushState::Pushing { done, total } => ("pushing", Some((done, total))),
        PushState::Pushed => ("done", None),
    }
}

#[cfg(test)]
mod tests {
    use rocker_types::Digest;

    use super::*;

    #[test]
    fn the_keys_of_a_layers_event_are_those_that_are_promised() {
        let digest = json!(Digest::from_sha256([0xab; 32]).to_string());
        let (state, bytes) = pull_state(LayerState::Downloading { done: 1, total: 2 });

        let event = layer(digest, state, bytes).to_string();

        let expected = format!(
            r#"{{"event":"layer","digest":"sha256:{}","state":"downloading","done":1,"total":2}}"#,
            "ab".repeat(32)
        );
        assert_eq!(event, expected);
    }
}
