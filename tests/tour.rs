//! The tour in README.md, every command of it, with the output it promises.
//!
//! In the tour's `console` blocks a line `$ …` is a command, `/ # …` is typed into the program
//! that it started (which then runs at a terminal), and everything else is output, in which `…`
//! stands for any text. The image `busybox` is the one of the test's own registry.

use rocker_testkit::image::ImageBuilder;
use rocker_testkit::{Host, require};

use crate::host;

const README: &str = include_str!("../README.md");

/// One command of the tour.
#[derive(Debug, Default)]
struct Step {
    command: String,
    typed: Vec<String>,
    output: Vec<String>,
}

fn steps() -> Vec<Step> {
    let (_, rest) = README
        .split_once("<!-- tour: begin -->")
        .expect("a tour in the README");
    let (tour, _) = rest
        .split_once("<!-- tour: end -->")
        .expect("an end of the tour");
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in tour.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            steps.push(Step {
                command: command.to_owned(),
                ..Step::default()
            });
        } else if in_block {
            let step = steps.last_mut().expect("output comes after a command");
            match line.strip_prefix("/ # ") {
                Some(typed) => step.typed.push(typed.to_owned()),
                None => step.output.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Whether the pieces of `expected` between `…` come in `text` one after another.
fn has_in_order(text: &str, expected: &str) -> bool {
    let mut rest = text;
    expected
        .split('…')
        .all(|piece| match rest.split_once(piece) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => piece.is_empty(),
        })
}

/// A directory with a `rocker` that works on this host's data.
fn path_with_rocker(host: &Host) -> String {
    let directory = host.scratch().join("bin");
    fs_err::create_dir_all(&directory).expect("a directory");
    let script = directory.join("rocker");
    let words =
        [host.binary(), &host.root(), &host.runroot()].map(|path| path.display().to_string());
    let [binary, root, runroot] = words;
    fs_err::write(
        &script,
        format!("#!/bin/sh\nexec '{binary}' --root '{root}' --runroot '{runroot}' \"$@\"\n"),
    )
    .expect("a script");
    rocker_testkit::host::run_program(&["chmod", "755", &script.to_string_lossy()]);
    format!(
        "{}:{}",
        directory.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

#[test]
fn every_command_of_the_readmes_tour_does_what_it_says() {
    let host = require!(host());
    require!(rocker_testkit::host::programs(&["curl"]));
    let image = host
        .registry()
        .push("busybox:latest", &ImageBuilder::busybox().build());
    let path = path_with_rocker(&host);

    let steps = steps();
    for step in &steps {
        // Only where the tour means the image, not a word inside a container's command.
        let command = step.command.replacen(
            " busybox",
            &format!(" {}", image.trim_end_matches(":latest")),
            1,
        );
        let said = if step.typed.is_empty() {
            let output = host
                .program("bash")
                .env("PATH", &path)
                .arg("-c")
                .arg(&command)
                .run();
            assert_eq!(output.exit_code, 0, "{command}: {output:?}");
            output.stdout
        } else {
            converse(&host, &path, &command, &step.typed)
        };
        // The lines come one after the other, as they stand there.
        let expected = step.output.join("…");
        assert!(
            has_in_order(&said, &expected),
            "{command}\npromised: {expected}\nsaid: {said}"
        );
    }

    assert!(steps.len() > 15, "{steps:#?}");
    host.assert_nothing_left_behind();
}

/// Runs `command` at a terminal, types each line at the prompt, returns what was on the screen.
fn converse(host: &Host, path: &str, command: &str, typed: &[String]) -> String {
    let shell = host
        .program("bash")
        .env("PATH", path)
        .arg("-c")
        .arg(command);
    let mut terminal = shell.at_terminal();
    for line in typed {
        terminal.await_text("/ # ");
        terminal.type_in(&format!("{line}\r"));
    }
    // The tour leaves the shell by `exit N`, and that is what comes back.
    let promised = typed.last().and_then(|line| line.strip_prefix("exit "));
    let promised = promised.map_or(0, |code| code.parse().expect("an exit code"));
    assert_eq!(terminal.wait(), promised, "{}", terminal.screen());
    terminal.screen()
}
