//! tag, untag, history, image exists, image prune, and choosing among images.

use std::slice::from_ref;

use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;
use serde_json::json;

use crate::{host, inspect};

#[test]
fn a_container_shows_its_image_as_it_was_called() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["tag", &image, "mine:latest"]);

    for (name, called) in [
        ("aa", "mine"),
        ("bb", "mine:latest"),
        ("cc", image.as_str()),
    ] {
        host.ok(["create", "--name", name, called, "true"]);
        assert_eq!(inspect(&host, name, "{{.Config.Image}}"), called);
        let listed = host.ok(["ps", "-a", "--format", "{{.Names}}={{.Image}}"]);
        let line = format!("{name}={called}");
        assert!(listed.lines().any(|listed| listed == line), "{listed}");
    }
    host.ok(["rm", "aa", "bb", "cc"]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_has_as_many_names_as_it_is_given() {
    let host = require!(host());
    let before = host.snapshot();
    let image = host.busybox();

    host.ok(["tag", &image, "mine"]);
    host.ok(["image", "tag", "mine", "localhost:5000/team/mine:2"]);
    assert_eq!(
        inspect(&host, "mine", "{{json .RepoTags}}"),
        json!([image, "mine:latest", "localhost:5000/team/mine:2"]).to_string()
    );
    assert_eq!(host.ok(["run", "--rm", "mine", "echo", "hello"]), "hello");

    host.ok(["untag", &image, "mine"]);
    let gone = host.rocker(["image", "exists", "mine"]);
    assert_eq!((gone.exit_code, gone.stderr.as_str()), (1, ""), "{gone:?}");
    host.ok(["image", "exists", &image]);
    let unknown = host
        .program(&host.binary().to_string_lossy())
        .arg("--root=/proc/1/nowhere")
        .arg("image")
        .arg("exists")
        .arg("mine")
        .run();
    assert_eq!(unknown.exit_code, 125, "{unknown:?}");

    host.ok(["untag", "localhost:5000/team/mine:2"]);
    assert_eq!(host.ok(["images", "--format", "{{.Tag}}"]), "<none>");
    let id = host.ok(["images", "-q"]);
    host.ok(["rmi", &id]);
    host.assert_unchanged_since(&before);
}

#[test]
fn a_name_that_cannot_be_is_refused_and_changes_nothing() {
    let host = require!(host());
    let image = host.busybox();
    let before = host.snapshot();
    let digest = format!("mine@sha256:{}", "0".repeat(64));
    let cases: [(&[&str], &str); 5] = [
        (&["tag", &image, "UPPER"], "UPPER"),
        (&["tag", &image, &digest], "digest"),
        (&["tag", "nobody", "mine"], "nobody"),
        (&["untag", &image, "other:1"], "other:1"),
        (&["untag", "nobody"], "nobody"),
    ];
    for (words, named) in cases {
        let refused = host.rocker(words.iter().copied());
        assert_eq!(refused.exit_code, 1, "{words:?}: {refused:?}");
        assert!(refused.stderr.contains(named), "{words:?}: {refused:?}");
    }
    assert_eq!(host.difference_from(&before), Vec::<String>::new());
    host.ok(["image", "exists", &image]);
}

#[test]
fn the_history_is_that_of_the_build() {
    let host = require!(host());
    let step = |by: &str, empty: bool| json!({"created": "2024-02-03T04:05:06Z", "created_by": by, "comment": "made\u{1b}[31m", "empty_layer": empty});
    let long = format!("RUN {}", "x".repeat(60));
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("big", vec![b'x'; 50_000]))
        .bend_config(
            "/history",
            json!([
                step("ADD base", false),
                step("ENV A=1", true),
                step(&long, false)
            ]),
        );
    let image = host.pulled("history:1", image);

    let listed = host.ok([
        "history",
        "--no-trunc",
        "--human=false",
        "--format",
        "{{.ID}}|{{.CreatedBy}}|{{.Comment}}",
        &image,
    ]);
    let id = inspect(&host, &image, "{{.Id}}");
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            format!("{id}|{long}|made [31m"),
            "<missing>|ENV A=1|made [31m".to_owned(),
            "<missing>|ADD base|made [31m".to_owned(),
        ]
    );
    let sizes = host.ok([
        "history",
        "-H=false",
        "--format",
        "{{.Size}} {{.CreatedAt}}",
        &image,
    ]);
    let sizes: Vec<u64> = sizes
        .lines()
        .map(|line| {
            let (size, made) = line.split_once(' ').expect("two fields");
            assert!(made.starts_with("2024-02-0"), "{made}");
            size.parse().expect("bytes")
        })
        .collect();
    assert_eq!(sizes.len(), 3);
    assert!(
        sizes[0] >= 50_000 && sizes[1] == 0 && sizes[2] > 500_000,
        "{sizes:?}"
    );

    let table = host.ok(["history", &image]);
    assert!(table.starts_with("IMAGE "), "{table}");
    assert!(table.contains("RUN xxx") && table.contains('…'), "{table}");
    assert!(
        table.contains(" ago ") && table.contains(" 50kB "),
        "for people: {table}"
    );
    assert_eq!(host.ok(["history", "-q", &image]).lines().count(), 3);
}

#[test]
fn a_prune_asks_and_takes_what_nobody_uses() {
    let host = require!(host());
    let before = host.snapshot();
    let image = host.busybox();
    host.ok(["tag", &image, "second"]);
    let old = host.pulled(
        "old:1",
        ImageBuilder::busybox().layer(Layer::new().file("old", "1")),
    );
    let new = ImageBuilder::busybox().layer(Layer::new().file("new", vec![b'n'; 5000]));
    host.registry().push("old:1", &new.build());
    let old_id = inspect(&host, &old, "{{.Id}}");
    host.ok(["pull", "-q", &old]);
    host.ok(["create", "--name", "user", &image, "true"]);

    for said in ["", "n\n", "y\n"] {
        let asked = host.command(["image", "prune", "-a"]).stdin(said).run();
        let answer = (asked.exit_code, asked.stdout.as_str());
        assert_eq!(answer, (1, ""), "{said:?}: {asked:?}");
        assert!(asked.stderr.contains("hint: use -f"), "{asked:?}");
    }
    let mut terminal = host.terminal(["image", "prune"]);
    terminal.await_text("[y/N]");
    terminal.type_in("n\r");
    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    host.ok(["image", "exists", &old_id]);

    let yes = host.command(["image", "prune"]);
    let yes = yes.env("ROCKER_ASSUME_YES", "1").run();
    assert_eq!(yes.exit_code, 0, "{yes:?}");
    assert!(
        yes.stdout.contains(&format!("deleted: {old_id}\n")),
        "{yes:?}"
    );
    assert!(yes.stdout.contains("\nTotal reclaimed space: "), "{yes:?}");

    let none = host.ok(["image", "prune", "-f"]);
    assert_eq!(none, "Total reclaimed space: 0B");
    let all = host.ok(["image", "prune", "-af", "--filter", "label!=keep"]);
    assert!(all.contains(&format!("untagged: {old}")), "{all}");
    host.ok(["image", "exists", "second"]);

    host.ok(["rm", "user"]);
    host.ok(["image", "prune", "-af"]);
    assert_eq!(host.ok(["images", "-q"]), "");
    host.assert_unchanged_since(&before);
}

#[test]
fn a_prune_shows_its_plan_and_keeps_what_was_used_last() {
    let host = require!(host());
    let images: Vec<String> = (0..3)
        .map(|number| {
            let layer = Layer::new().file("which", vec![b'0' + number; 50_000]);
            host.pulled(
                &format!("n{number}:1"),
                ImageBuilder::busybox().layer(layer),
            )
        })
        .collect();
    // the one that came first is used last
    host.ok(["run", "--rm", &images[0], "true"]);
    host.await_monitors();

    let dry = host.ok(["image", "prune", "-a", "--keep-last", "1", "--dry-run"]);
    let lines: Vec<&str> = dry.lines().collect();
    assert_eq!(lines.len(), 3, "{dry}");
    assert!(
        lines[0].contains(&images[1]) && lines[1].contains(&images[2]),
        "{dry}"
    );
    assert!(lines[2].starts_with("Would free: 1"), "{dry}");
    assert_eq!(host.ok(["images", "-q"]).lines().count(), 3);
    for nothing in [
        ["--older-than", "1h"],
        ["--keep-bytes", "1g"],
        ["--keep-last", "3"],
    ] {
        let words = [&["image", "prune", "-a", "--dry-run"][..], &nothing].concat();
        assert_eq!(host.ok(words), "Would free: 0B", "{nothing:?}");
    }

    let prune = [
        "image",
        "prune",
        "-a",
        "--keep-bytes",
        "2m",
        "--keep-last",
        "1",
    ];
    let no = host.command(prune).stdin("n\n").run();
    assert!(no.stderr.contains(&images[1]), "{no:?}");
    assert!(!no.stderr.contains(&images[0]), "{no:?}");
    let words = ["image", "prune", "-af", "--keep-last", "1"];
    host.ok(words);
    let left = host.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(left, images[0]);
    host.ok(["run", "--rm", &images[0], "true"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_prune_at_a_terminal_takes_a_y_for_a_yes() {
    let host = require!(host());
    let image = host.busybox();
    let mut terminal = host.terminal(["image", "prune", "--all"]);
    terminal.await_text("[y/N]");
    terminal.type_in("y\r");
    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    let gone = host.rocker(["image", "exists", &image]);
    assert_eq!(gone.exit_code, 1);
}

#[test]
fn images_are_chosen_by_filters_and_patterns() {
    let host = require!(host());
    let made = |name: &str, created: &str, label: &str| {
        let image = ImageBuilder::busybox()
            .layer(Layer::new().file("name", name))
            .bend_config("/created", created)
            .bend_config("/config/Labels", json!({ "tier": label }));
        host.pulled(name, image)
    };
    let one = made("app:1", "2023-01-01T00:00:00Z", "base");
    let two = made("app:2", "2024-01-01T00:00:00Z", "web");
    let other = made("db:1", "2025-01-01T00:00:00Z", "web");
    let listed = |flags: &[&str]| {
        let words = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], flags].concat();
        let text = host.ok(words);
        let mut names: Vec<_> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    };

    assert_eq!(
        listed(&["-f", "label=tier=web"]),
        [two.clone(), other.clone()]
    );
    assert_eq!(listed(&["-f", &format!("before={two}")]), from_ref(&one));
    assert_eq!(
        listed(&["-f", &format!("since={one}"), "-f", "reference=*/app"]),
        from_ref(&two)
    );
    assert_eq!(listed(&["*/app:*"]), [one.clone(), two.clone()]);
    assert_eq!(listed(&["-f", "dangling=true"]), Vec::<String>::new());
    let by_age = host.ok([
        "images",
        "--noheading",
        "--sort",
        "created",
        "--format",
        "table {{.Tag}}",
    ]);
    assert_eq!(
        by_age.split_whitespace().collect::<Vec<_>>(),
        ["1", "2", "1"]
    );
    let unknown = host.rocker(["images", "-f", "colour=red"]);
    assert_eq!(unknown.exit_code, 125, "{unknown:?}");
    assert!(
        unknown.stderr.contains("dangling"),
        "says what there is: {unknown:?}"
    );

    host.ok(["rmi", "*/app:*"]);
    assert_eq!(listed(&[]), from_ref(&other));
    let gone = host.rocker(["rmi", "*/app:*"]);
    assert_eq!(gone.exit_code, 1, "{gone:?}");
    host.ok(["rmi", "-i", "*/app:*", "nobody"]);
    host.ok(["tag", &other, "again"]);
    host.ok(["rmi", "--all"]);
    assert_eq!(listed(&[]), Vec::<String>::new());
}

#[test]
fn a_tree_shows_who_shares_layers_and_a_diff_what_images_differ_in() {
    let host = require!(host());
    let shared = Layer::new()
        .dir("d", 0o755)
        .file("d/old", "1")
        .file("d/same", "1")
        .file("gone", "1");
    let base = host.pulled("base:1", ImageBuilder::busybox().layer(shared.clone()));
    let top = Layer::new()
        .whiteout("gone")
        .file("d/old", "changed")
        .file("d/new", "2")
        .dir("tree", 0o755)
        .file("tree/leaf", "3");
    let image = host.pulled("top:1", ImageBuilder::busybox().layer(shared).layer(top));

    let tree = host.ok(["image", "tree", &image]);
    let layers: Vec<_> = tree
        .lines()
        .filter(|line| line.contains("── ID: "))
        .collect();
    assert_eq!(layers.len(), 3, "{tree}");
    assert!(
        layers[1].contains("Shared with: 1 Top Layer of: ["),
        "{tree}"
    );
    assert!(
        layers[2].starts_with("└──") && !layers[2].contains("Shared"),
        "{tree}"
    );

    let expected = "C /d\nA /d/new\nC /d/old\nD /gone\nA /tree\nA /tree/leaf";
    assert_eq!(host.ok(["image", "diff", &image]), expected);
    assert_eq!(host.ok(["image", "diff", &image, &base]), expected);
    assert_eq!(
        host.ok(["image", "diff", &base, &image]),
        "C /d\nD /d/new\nC /d/old\nA /gone\nD /tree"
    );
    assert_eq!(host.ok(["image", "diff", &base, &base]), "");
    assert_eq!(host.rocker(["image", "diff", "no-such"]).exit_code, 1);
    host.assert_nothing_left_behind();
}
