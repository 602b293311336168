//! `manifest inspect` and `search --list-tags`: what Debian's distribution server says it has.

use std::collections::BTreeSet;

use rocker_testkit::image::ImageBuilder;
use rocker_testkit::registry::Distribution;
use rocker_testkit::require;
use serde_json::Value;

use crate::host;

#[test]
fn a_manifest_is_shown_as_the_registry_has_it_and_nothing_is_pulled() {
    let host = require!(host());
    let server = require!(Distribution::start(&host.scratch(), 5000));
    let reference = server.push("team/app:1", &ImageBuilder::busybox().build());

    let plain: Value = host
        .ok(["manifest", "inspect", &reference])
        .parse()
        .expect("JSON");
    let verbose = host.ok(["manifest", "inspect", "-v", &reference]);
    let verbose: Value = verbose.parse().expect("JSON");
    assert_eq!(plain["layers"].as_array().map(Vec::len), Some(1), "{plain}");
    assert_eq!(verbose["Document"], plain);
    assert_eq!(host.ok(["images", "-q"]), "");

    host.ok(["pull", "-q", &reference]);
    let digest = crate::inspect(&host, &reference, "{{index .RepoDigests 0}}");
    let shown = verbose["Descriptor"]["digest"].as_str().unwrap_or_default();
    assert!(digest.ends_with(&format!("@{shown}")), "{digest} {verbose}");
    let by_digest: Value = host
        .ok(["manifest", "inspect", &digest])
        .parse()
        .expect("JSON");
    assert_eq!(by_digest, plain);

    let missing = host.rocker(["manifest", "inspect", &reference.replace(":1", ":2")]);
    assert_eq!(
        (missing.exit_code, missing.stdout.as_str()),
        (1, ""),
        "{missing:?}"
    );
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn tags_are_listed_page_after_page() {
    let host = require!(host());
    let server = require!(Distribution::start(&host.scratch(), 5000));
    let image = ImageBuilder::busybox().build();
    let mut reference = String::new();
    for number in 0..105 {
        reference = server.push(&format!("team/app:v{number:03}"), &image);
    }
    let repository = reference
        .rsplit_once(':')
        .map(|(name, _)| name)
        .expect("a tag");

    let listed = |more: &[&str]| {
        let words = [
            &["search", "--list-tags", "--format", "{{.Tag}}"],
            more,
            &[repository],
        ]
        .concat();
        host.ok(words)
    };
    let all = listed(&["--limit", "1000"]);
    let all: BTreeSet<_> = all.lines().collect();
    assert_eq!(all.len(), 105, "{all:?}");
    assert_eq!(all.last(), Some(&"v104"));
    assert_eq!(listed(&[]).lines().count(), 25);
    let table = host.ok(["search", "--list-tags", "--limit", "1", repository]);
    let words: Vec<_> = table.split_whitespace().collect();
    assert_eq!(words[..3], ["NAME", "TAG", repository], "{table}");
    assert_eq!(words.len(), 4, "{table}");
    assert_eq!(
        host.rocker(["search", "--list-tags", &reference]).exit_code,
        125
    );
    assert!(host.ok(["search", repository]).contains(repository));
    drop(server);
    host.assert_nothing_left_behind();
}
