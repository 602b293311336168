//! search: by the API of version 1, as Docker Hub has it, and by the catalogue of version 2.

use std::time::Duration;

use rocker_testkit::Host;
use rocker_testkit::host::{Output, RockerCommand};
use rocker_testkit::image::ImageBuilder;
use rocker_testkit::registry::{Action, Distribution, On};
use rocker_testkit::require;
use serde_json::json;

use crate::host;

/// What the Hub answers for `busybox`, and what a liar would.
fn results() -> String {
    json!({
        "num_pages": 1, "num_results": 4, "page": 1, "page_size": 25, "query": "busybox",
        "results": [
            {"name": "busybox", "description": "Busybox base image.", "star_count": 316,
             "is_official": true, "is_automated": false},
            {"name": "radial/busyboxplus", "star_count": 8, "is_official": false,
             "description": "Full-chain, Internet enabled,\nbusybox made from scratch.\u{1b}[2J"},
            {"name": "odise/busybox-python", "description": null},
            {"name": "\u{1b}]0;owned\u{7}", "description": "", "star_count": 9},
        ],
    })
    .to_string()
}

/// A rocker for which Docker Hub is the test's registry.
fn search(host: &Host, words: &[&str]) -> Output {
    search_command(host, words).run()
}

fn search_command(host: &Host, words: &[&str]) -> RockerCommand {
    let conf = host.scratch().join("registries.conf");
    let registry = host.registry().host();
    let text = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{registry}\"\n");
    fs_err::write(&conf, text).expect("a registries.conf");
    let words = [&["search"], words].concat();
    let command = host.command(words);
    command.env("CONTAINERS_REGISTRIES_CONF", &conf.to_string_lossy())
}

fn answer_with(host: &Host, body: &str) {
    host.registry().fault(
        On::Path("/v1/search".to_owned()),
        2,
        Action::Answer {
            status: 200,
            content_type: "application/json".to_owned(),
            body: body.into(),
        },
    );
}

#[test]
fn docker_hub_is_searched_and_the_answer_is_shown_as_docker_shows_it() {
    let host = require!(host());
    answer_with(&host, &results());
    let found = search(&host, &["busybox & co"]);
    assert_eq!(found.exit_code, 0, "{found:?}");
    let lines: Vec<&str> = found.stdout.lines().collect();
    let columns = |line: &str| {
        let columns = line.split("  ").map(str::trim);
        let columns = columns.filter(|column| !column.is_empty());
        columns.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        columns(lines[0]),
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    );
    assert_eq!(
        columns(lines[1]),
        ["busybox", "Busybox base image.", "316", "[OK]"]
    );
    assert_eq!(
        columns(lines[2]),
        [
            "radial/busyboxplus",
            "Full-chain, Internet enabled, busybox made f…",
            "8"
        ]
    );
    assert_eq!(lines.len(), 4, "{found:?}");
    assert!(!found.stdout.contains('\u{1b}'), "{found:?}");
    let asked = &host.registry().requests()[0].path;
    assert_eq!(asked, "/v1/search?q=busybox+%26+co&n=25&page=1");

    for (words, expected) in [
        (vec!["--filter", "is-official=true", "x"], "busybox\n"),
        (vec!["-f", "stars=8", "x"], "busybox\nradial/busyboxplus\n"),
        (vec!["--limit", "1", "x"], "busybox\n"),
    ] {
        answer_with(&host, &results());
        let words = [vec!["--format", "{{.Name}}"], words].concat();
        let found = search(&host, &words);
        assert_eq!(found.stdout, expected, "{found:?}");
    }
    answer_with(&host, &results());
    let whole = search(&host, &["--no-trunc", "--format", "{{.Description}}", "x"]);
    assert!(
        whole.stdout.contains("busybox made from scratch."),
        "{whole:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_registry_without_a_search_is_asked_for_its_catalogue() {
    let host = require!(host());
    let server = require!(Distribution::start(&host.scratch(), 5000));
    let image = ImageBuilder::busybox().build();
    let mut registry = String::new();
    for name in ["team/app", "team/api", "other/app"] {
        let reference = server.push(&format!("{name}:1"), &image);
        registry = reference.split('/').next().expect("a host").to_owned();
    }
    let listed = |term: &str| {
        let term = format!("{registry}/{term}");
        let listed = host.ok(["search", "--format", "{{.Name}}", &term]);
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    };

    assert_eq!(
        listed("app"),
        ["other/app", "team/app"].map(|name| format!("{registry}/{name}"))
    );
    assert_eq!(listed("").len(), 3);
    assert_eq!(listed("nothing-like-it"), [""; 0]);
    host.ok(["pull", "-q", &listed("team/api")[0].replace("api", "api:1")]);
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn a_page_with_more_than_anybody_asked_for_is_read_in_no_time() {
    let host = require!(host());
    let names: Vec<_> = (0..200_000)
        .map(|number| format!(r#"{{"name":"{number:x}"}}"#))
        .collect();
    answer_with(&host, &format!(r#"{{"results":[{}]}}"#, names.join(",")));
    let found = search_command(&host, &["--limit", "1000000", "--format", "names", "x"])
        .time_limit(Duration::from_secs(10))
        .run();
    assert_eq!(found.exit_code, 0, "{}", found.stderr);
    assert_eq!(found.stdout.lines().count(), 200_000);
    host.assert_nothing_left_behind();
}

#[test]
fn a_registry_that_shows_a_page_for_what_it_does_not_know_is_asked_for_its_catalogue() {
    let host = require!(host());
    let registry = host.registry().host();
    let page = |path: &str, status, body: &str| {
        host.registry().fault(
            On::Path(path.to_owned()),
            1,
            Action::Answer {
                status,
                content_type: "text/html".to_owned(),
                body: body.into(),
            },
        );
    };
    let term = format!("{registry}/app");
    page("/v1/search", 200, "<html>");
    page("/v2/_catalog", 200, r#"{"repositories":["team/app","db"]}"#);
    let found = host.ok(["search", "--format", "names", &term]);
    assert_eq!(found, format!("{registry}/team/app"));

    page("/v1/search", 200, "<html>");
    page("/v2/_catalog", 403, "");
    let refused = host.rocker(["search", &term]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    let said = format!("cannot search {registry}: {registry} refused access (status 403)");
    assert!(refused.stderr.contains(&said), "{refused:?}");
    assert!(!refused.stderr.contains("image"), "{refused:?}");
    for (words, expected) in [
        (["manifest", "inspect"], "cannot read the manifest of"),
        (["search", "--list-tags"], "cannot list the tags of"),
        (["pull", "-a"], "cannot list the tags of"),
    ] {
        let refused = host.rocker(words.into_iter().chain([&*term]));
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn what_cannot_be_searched_is_one_clear_line() {
    let host = require!(host());
    let cases: [(&[&str], &str); 5] = [
        (&[""], "there is nothing to search for"),
        (&["127.0.0.1:1/x"], "cannot search 127.0.0.1:1"),
        (
            &["--filter", "is-automated=true", "x"],
            "is neither stars=NUMBER nor is-official=BOOL",
        ),
        (
            &["--filter", "stars=1", "--list-tags", "x"],
            "cannot be used with",
        ),
        (&["no such/host:/x"], ""),
    ];
    for (words, expected) in cases {
        let refused = search(&host, words);
        assert_ne!(refused.exit_code, 0, "{refused:?}");
        assert!(refused.stderr.contains(expected), "{refused:?}");
        assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    }
    answer_with(&host, "<html>");
    let senseless = search(&host, &["x"]);
    assert_eq!(senseless.exit_code, 1, "{senseless:?}");
    assert!(
        senseless.stderr.contains("/v2/_catalog was not found"),
        "{senseless:?}"
    );
    host.assert_nothing_left_behind();
}
