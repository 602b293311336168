//! What a pull shows while it runs: on a terminal, in a log, to a program.

use rocker_testkit::image::{Blob, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::require;
use serde_json::Value;

use crate::host;
use crate::resume::noise;

/// Two layers, the larger one slow enough to be seen coming.
fn image() -> Image {
    ImageBuilder::new()
        .layer(Layer::new().file("small", "1"))
        .layer(Layer::new().file("large", noise(1, 600_000)))
        .build()
}

#[test]
fn a_terminal_gets_a_bar_for_each_layer_and_one_for_all() {
    let host = require!(host());
    let image = image();
    let reference = host.registry().push("shown:1", &image);
    let large = &image.layers[1].digest;
    let slow = Action::Throttle(1_000_000);
    host.registry().fault(On::Path(large.clone()), 1, slow);

    let mut terminal = host.terminal(["pull", &reference]);

    terminal.await_text("1: Pulling from");
    terminal.await_text("Downloading");
    terminal.await_text("Total");
    terminal.await_text("Pull complete");
    terminal.await_text("Digest: sha256:");
    terminal.await_text("Status: Downloaded newer image for");
    // the end of that line, and the answer
    terminal.await_text(&format!("{reference}\r\n"));
    terminal.await_text(&format!("{reference}\r\n"));
    assert_eq!(terminal.wait(), 0);
    let screen = terminal.screen();
    for layer in &image.layers {
        let short = &layer.digest["sha256:".len()..][..12];
        assert!(screen.contains(short), "{short} in {screen:?}");
    }
    assert!(!screen.contains("0/0"), "a bar without a look: {screen:?}");
    // while they came, and at the end
    let seen = terminal.lines_before("Pull complete");
    let header = format!(
        "1: Pulling from {}",
        &reference[..reference.len() - ":1".len()]
    );
    assert_eq!(seen[0], header, "{seen:#?}");
    let is_known = |line: &&String| {
        let is_layer = |layer: &Blob| line.starts_with(&layer.digest["sha256:".len()..][..12]);
        image.layers.iter().any(is_layer) || line.starts_with("Total")
    };
    let unknown = seen[1..].iter().find(|line| !is_known(line));
    assert_eq!(unknown, None, "{seen:#?}");
    let lines = terminal.lines();
    let shorts = image
        .layers
        .iter()
        .map(|layer| layer.digest["sha256:".len()..][..12].to_owned());
    let layers = shorts.map(|short| format!("{short}: Pull complete"));
    let expected: Vec<String> = [header]
        .into_iter()
        .chain(layers)
        .chain([
            format!("Digest: {}", image.manifest.digest),
            format!("Status: Downloaded newer image for {reference}"),
            reference.clone(),
        ])
        .collect();
    assert_eq!(lines, expected);
    let mut again = host.terminal(["pull", &reference]);
    again.await_text("Already exists");
    again.await_text("Status: Image is up to date for");
    assert_eq!(again.wait(), 0);
    host.assert_nothing_left_behind();
}

#[test]
fn a_log_gets_a_line_for_each_change_and_nothing_that_moves_a_cursor() {
    let host = require!(host());
    let image = image();
    let reference = host.registry().push("shown:1", &image);

    let plain = host.rocker(["pull", "--progress", "plain", &reference]);
    host.ok(["rmi", &reference]);
    let none = host.rocker(["pull", "--progress", "none", &reference]);
    host.ok(["rmi", &reference]);
    let quiet = host.rocker(["pull", "-q", "--progress", "plain", &reference]);

    assert_eq!(plain.exit_code, 0, "{plain:?}");
    let is_control = |c: char| c.is_control() && c != '\n';
    assert!(!plain.stderr.contains(is_control), "{plain:?}");
    for layer in &image.layers {
        let short = &layer.digest["sha256:".len()..][..12];
        for words in ["Waiting", "Downloading", "Extracting", "Pull complete"] {
            let line = format!("{short}: {words}\n");
            assert_eq!(plain.stderr.matches(&line).count(), 1, "{line} {plain:?}");
        }
    }
    assert_eq!(none.stderr, "");
    assert_eq!(quiet.stderr, "");
    for output in [&plain, &none, &quiet] {
        assert_eq!(output.stdout, format!("{reference}\n"), "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_gets_an_object_for_each_event() {
    let host = require!(host());
    let image = image();
    let reference = host.registry().push("shown:1", &image);

    let output = host.rocker(["pull", "--progress", "json", &reference]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    let events: Vec<Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(names.len(), events.len(), "{output:?}");
    assert_eq!(names[..2], ["resolving", "resolved"]);
    assert_eq!(names[names.len() - 2..], ["committing", "pulled"]);
    let layers = events[1]["layers"].as_array().expect("a list");
    for (told, layer) in layers.iter().zip(&image.layers) {
        assert_eq!(told["digest"], layer.digest);
        assert_eq!(told["size"], layer.bytes.len());
        let states: Vec<&str> = events
            .iter()
            .filter(|event| event["event"] == "layer" && event["digest"] == layer.digest)
            .filter_map(|event| event["state"].as_str())
            .collect();
        assert_eq!(states.first(), Some(&"waiting"), "{states:?}");
        assert_eq!(states.last(), Some(&"done"), "{states:?}");
        let is_whole = |event: &Value| {
            event["digest"] == layer.digest
                && event["state"] == "downloading"
                && event["done"] == event["total"]
        };
        assert!(events.iter().any(is_whole), "{output:?}");
    }
    let last = &events[events.len() - 1];
    assert_eq!(last["image"], reference);
    assert_eq!(last["digest"], image.manifest.digest);
    assert_eq!(last["id"], image.config.digest);
    assert_eq!(last["newer"], true);
    host.assert_nothing_left_behind();
}

#[test]
fn bars_without_a_terminal_are_refused() {
    let host = require!(host());
    let output = host.rocker(["pull", "--progress", "tty", "localhost:1/app"]);
    assert_eq!(output.exit_code, 1, "{output:?}");
    assert!(output.stderr.contains("--progress plain"), "{output:?}");
    host.assert_nothing_left_behind();
}
