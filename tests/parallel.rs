//! Many rockers at once: one winner where there can be one, nobody hurt, nothing left.

use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::{Host, require};

use crate::{host, shell};

const MANY: usize = 50;

/// Runs the same words `count` times at once and returns all outputs.
fn at_once(
    host: &Host,
    count: usize,
    words: impl Fn(usize) -> Vec<String>,
) -> Vec<rocker_testkit::host::Output> {
    let running: Vec<_> = (0..count)
        .map(|index| {
            let words = words(index);
            host.command(words.iter().map(String::as_str))
                .time_limit(std::time::Duration::from_secs(180))
                .spawn()
        })
        .collect();
    running
        .into_iter()
        .map(rocker_testkit::host::Spawned::finish)
        .collect()
}

fn owned(words: Vec<&str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn fifty_runs_at_once_all_succeed_and_leave_nothing() {
    let host = require!(host());
    let image = host.busybox();

    for flags in [&[][..], &["--network", "none"]] {
        let outputs = at_once(&host, MANY, |index| {
            owned(shell(flags, &image, &format!("echo {index}")))
        });
        for (index, output) in outputs.iter().enumerate() {
            assert_eq!(
                (output.exit_code, output.stdout.as_str()),
                (0, format!("{index}\n").as_str()),
                "{output:?}"
            );
            assert_eq!(output.stderr, "", "{output:?}");
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn of_many_runs_with_one_name_exactly_one_wins() {
    let host = require!(host());
    let image = host.busybox();

    let outputs = at_once(&host, 20, |_| {
        owned(vec!["run", "-d", "--name", "only", &image, "sleep", "1000"])
    });

    let winners = outputs
        .iter()
        .filter(|output| output.exit_code == 0)
        .count();
    assert_eq!(winners, 1, "{outputs:?}");
    for loser in outputs.iter().filter(|output| output.exit_code != 0) {
        assert_eq!(loser.exit_code, 125, "{loser:?}");
        assert!(
            loser.stderr.contains("only") && !loser.stderr.contains("locked"),
            "{loser:?}"
        );
    }
    host.ok(["rm", "-f", "only"]);
    host.assert_nothing_left_behind();
}

#[test]
fn of_many_runs_with_one_port_exactly_one_wins() {
    let host = require!(host());
    let image = host.busybox();

    let outputs = at_once(&host, 10, |_| {
        owned(vec![
            "run", "-d", "--rm", "-p", "8080:80", &image, "sleep", "1000",
        ])
    });

    let winners: Vec<_> = outputs
        .iter()
        .filter(|output| output.exit_code == 0)
        .collect();
    assert_eq!(winners.len(), 1, "{outputs:?}");
    for loser in outputs.iter().filter(|output| output.exit_code != 0) {
        assert_eq!(
            (loser.exit_code, loser.stdout.as_str()),
            (125, ""),
            "{loser:?}"
        );
        assert!(
            loser.stderr.contains("8080") && !loser.stderr.contains("locked"),
            "{loser:?}"
        );
    }
    host.ok(["rm", "-f", winners[0].stdout.trim_end()]);
    host.assert_nothing_left_behind();
}

#[test]
fn one_container_removed_by_many_is_gone_once() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["run", "-d", "--name", "target", &image, "sleep", "1000"]);

    let outputs = at_once(&host, 10, |_| owned(vec!["rm", "-f", "target"]));

    for output in &outputs {
        // Whoever came too late is content, and says that there was nothing to remove.
        assert_eq!(output.exit_code, 0, "{output:?}");
        match output.stdout.as_str() {
            "target\n" => assert_eq!(output.stderr, "", "{output:?}"),
            _ => assert!(output.stderr.contains("no such container"), "{output:?}"),
        }
    }
    assert!(
        outputs.iter().any(|output| output.stdout == "target\n"),
        "{outputs:?}"
    );
    assert_eq!(host.ok(["ps", "-aq"]), "");
    host.assert_nothing_left_behind();
}

#[test]
fn pulls_of_the_same_and_of_sharing_images_at_once_end_in_one_good_store() {
    let host = require!(host());
    let references: Vec<_> = (0..4)
        .map(|index| {
            let image = ImageBuilder::busybox()
                .layer(Layer::new().file("which", index.to_string()))
                .build();
            host.registry().push(&format!("share:{index}"), &image)
        })
        .collect();

    let outputs = at_once(&host, 16, |index| {
        owned(vec!["pull", "-q", &references[index % 4]])
    });

    for output in &outputs {
        assert_eq!(output.exit_code, 0, "{output:?}");
    }
    for (index, reference) in references.iter().enumerate() {
        assert_eq!(
            host.ok(["run", "--rm", reference, "cat", "/which"]),
            index.to_string()
        );
    }
    host.ok(["rmi"]
        .into_iter()
        .chain(references.iter().map(String::as_str)));
    assert_eq!(host.ok(["images", "-q"]), "");
    host.assert_nothing_left_behind();
}

#[test]
fn a_new_volume_is_filled_once_and_nobody_sees_half_of_it() {
    let host = require!(host());
    let image = host.busybox();
    let count = "ls /bin | wc -l";
    let whole = host.ok(shell(&[], &image, count));

    let outputs = at_once(&host, 8, |_| {
        owned(shell(&["-v", "shared:/bin"], &image, count))
    });

    for output in &outputs {
        assert_eq!(output.exit_code, 0, "{output:?}");
        assert_eq!(output.stdout.trim_end(), whole, "{output:?}");
    }
    host.ok(["volume", "rm", "shared"]);
    host.assert_nothing_left_behind();
}
