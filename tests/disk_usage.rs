//! `system df`, and removals that do not let anybody wait.

use rocker_testkit::Host;
use rocker_testkit::host::run_program;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{crash, host, inspect};

/// What du says of the data directory, in bytes.
fn du(host: &Host) -> u64 {
    let told = run_program(&["du", "-s", "-B1", &host.root().to_string_lossy()]);
    told.split_whitespace()
        .next()
        .and_then(|bytes| bytes.parse().ok())
        .expect("a number")
}

/// All that `system df` counts, in bytes.
fn df(host: &Host) -> u64 {
    let rows = host.ok(["system", "df", "--format", "{{.RawSize}}"]);
    let rest = "{{.LogsSize}} {{.PartialSize}} {{.DatabaseSize}}";
    let rest = host.ok(["system", "df", "-v", "--format", rest]);
    let numbers = rows.split_whitespace().chain(rest.split_whitespace());
    numbers
        .map(|number| number.parse::<u64>().expect("a number"))
        .sum()
}

fn assert_adds_up(host: &Host, context: &str) {
    let (counted, real) = (df(host), du(host));
    assert!(
        counted.abs_diff(real) * 100 <= real,
        "{context}: df {counted}, du {real}"
    );
}

fn row(host: &Host, kind: &str) -> String {
    let rows = host.ok([
        "system",
        "df",
        "--format",
        "{{.Type}}|{{.TotalCount}} {{.Active}} {{.Reclaimable}}",
    ]);
    let found = rows
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{kind}|")).map(str::to_owned));
    found.expect("a row")
}

fn assert_readable(host: &Host) {
    let table = host.ok(["system", "df"]);
    assert!(table.starts_with("TYPE "), "{table}");
    assert_eq!(
        table.lines().count(),
        5,
        "scripts see docker's four rows: {table}"
    );
    let verbose = host.ok(["system", "df", "-v"]);
    for word in [
        "SHARED SIZE",
        "LOCAL VOLUMES",
        "LINKS",
        "Partial downloads",
        "writer",
        "unused",
    ] {
        assert!(verbose.contains(word), "{word}: {verbose}");
    }
}

#[test]
fn sizes_add_up_to_what_du_says_of_the_data_directory() {
    let host = require!(host());
    let many = (0..400).fold(Layer::new(), |layer, number| {
        layer.file(&format!("many/{number}"), "x".repeat(number * 37))
    });
    let big = Layer::new().file("big", "0123456789abcdef".repeat(200_000));
    let image = host.pulled(
        "sizes:1",
        ImageBuilder::busybox().layer(many).layer(big.clone()),
    );
    let other = host.pulled("sizes:2", ImageBuilder::busybox().layer(big));
    assert_adds_up(&host, "images");
    assert_eq!(
        row(&host, "Images").split(' ').take(2).collect::<Vec<_>>(),
        ["2", "0"]
    );

    let wrote = "i=0; while [ $i -lt 300 ]; do echo $i > /f$i; i=$((i+1)); done; head -c 3000000 /dev/urandom > /v/a; ln /v/a /v/b; seq 1 100000";
    host.ok([
        "run",
        "--name",
        "writer",
        "--network",
        "none",
        "-v",
        "data:/v",
        &image,
        "sh",
        "-c",
        wrote,
    ]);
    host.ok(["volume", "create", "unused"]);
    fs_err::write(
        host.root().join("volumes/unused/_data/file"),
        vec![1; 500_000],
    )
    .expect("written");
    assert_adds_up(&host, "a container, its log and volumes");

    assert_eq!(
        row(&host, "Images").split(' ').take(2).collect::<Vec<_>>(),
        ["2", "1"]
    );
    assert!(
        row(&host, "Containers").starts_with("1 0 ")
            && row(&host, "Containers").ends_with("(100%)")
    );
    assert!(row(&host, "Local Volumes").starts_with("2 1 "));
    assert_readable(&host);
    host.ok(["rm", "writer"]);
    host.ok(["volume", "rm", "data", "unused"]);
    host.ok(["rmi", &image, &other]);
    host.assert_nothing_left_behind();
}

#[test]
fn files_of_what_was_removed_go_after_the_answer_and_also_if_that_is_cut_short() {
    let host = require!(host());
    require!(crash::points(&host, &["trash-"]));
    let image = host.busybox();
    let before = host.snapshot();
    let big = host.pulled(
        "big:1",
        ImageBuilder::busybox().layer(Layer::new().file("big", "x".repeat(1 << 20))),
    );
    let layer = inspect(&host, &big, "{{index .RootFS.Layers 1}}");
    let layer = host
        .root()
        .join("layers")
        .join(layer.trim_start_matches("sha256:"));

    // killed before the files were deleted: the image is gone, and so are they with the next command
    let mark = host.scratch().join("mark");
    let killed = host
        .command(["rmi", &big])
        .env(
            "ROCKER_CRASH_AT",
            &format!("trash-before-empty,{}", mark.display()),
        )
        .run();
    assert!(mark.exists(), "{killed:?}");
    assert!(
        killed.stdout.contains("Untagged: "),
        "the answer came first: {killed:?}"
    );
    assert!(!layer.exists());
    host.ok(["ps"]);
    host.assert_unchanged_since(&before);

    host.ok([
        "run",
        "--name",
        "writer",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        "echo x > /file",
    ]);
    let killed = host
        .command(["rm", "writer"])
        .env(
            "ROCKER_CRASH_AT",
            &format!("trash-before-empty,{}", mark.display()),
        )
        .run();
    assert_eq!(killed.stdout, "writer\n", "{killed:?}");
    host.ok(["ps"]);
    host.assert_unchanged_since(&before);
}
