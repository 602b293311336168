//! Names without a registry, and what `registries.conf` says that they mean.

use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::registry::Registry;
use rocker_testkit::{Host, require};

use crate::host;

#[test]
fn short_names_mean_what_the_files_say() {
    let host = require!(host());
    let [first, second] = [Registry::start(), Registry::start()];
    let image = ImageBuilder::busybox().build();
    second.push("team/app:1", &image);
    first.push("known:latest", &image);
    let text = |mode: &str| {
        format!(
            "unqualified-search-registries = ['{}', '{}']\nshort-name-mode = '{mode}'\n[aliases]\nalias = '{}/known'\n",
            first.host(),
            second.host(),
            first.host()
        )
    };
    let file = host.scratch().join("registries.conf");
    let with = |mode: &str, words: &[&str]| {
        fs_err::write(&file, text(mode)).expect("a file");
        host.command(words.iter().copied())
            .env("CONTAINERS_REGISTRIES_CONF", &file.to_string_lossy())
    };

    let pulled = with("permissive", &["pull", "-q", "team/app:1"]).run();
    let name = format!("{}/team/app:1", second.host());
    assert_eq!(pulled.stdout, format!("{name}\n"), "{pulled:?}");
    assert!(first.requests().iter().any(|r| r.path.contains("team/app")));
    let run = with("enforcing", &["run", "--rm", "team/app:1", "echo", "here"]).run();
    assert_eq!(run.stdout, "here\n", "what is here is found: {run:?}");
    host.ok(["rmi", &name]);

    let refused = with("enforcing", &["pull", "team/app:1"]).run();
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("nobody can be asked"),
        "{refused:?}"
    );
    let mut terminal = with("enforcing", &["pull", "-q", "team/app:1"]).at_terminal();
    terminal.await_text("Number of the one you mean: ");
    terminal.type_in("7\n");
    terminal.await_text("Number of the one you mean: ");
    terminal.type_in("2\n");
    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    host.ok(["rmi", &name]);

    let all = with("enforcing", &["pull", "-q", "-a", "alias"]).run();
    let known = format!("{}/known:latest\n", first.host());
    assert_eq!((all.exit_code, &all.stdout), (0, &known), "{all:?}");

    let alias = with("enforcing", &["run", "--rm", "alias", "echo", "known"]).run();
    assert_eq!(alias.stdout, "known\n", "{alias:?}");
    host.ok(["rmi", &format!("{}/known", first.host())]);
    host.assert_nothing_left_behind();
}

#[test]
fn whoever_looks_at_registries_goes_on_to_the_next_and_a_password_goes_to_one() {
    let host = require!(host());
    let [first, second] = [Registry::start(), Registry::start()];
    let name = second.push("team/app:1", &ImageBuilder::busybox().build());
    let file = host.scratch().join("registries.conf");
    let text = format!(
        "unqualified-search-registries = ['{}', '{}']\nshort-name-mode = 'disabled'\n",
        first.host(),
        second.host()
    );
    fs_err::write(&file, text).expect("a file");
    let run = |words: &[&str]| {
        host.command(words.iter().copied())
            .env("CONTAINERS_REGISTRIES_CONF", &file.to_string_lossy())
            .run()
    };

    let repository = name.trim_end_matches(":1");
    let tag = format!("{repository}:1\n");
    for (words, expected) in [
        (&["pull", "--dry-run", "team/app:1"][..], "Would fetch"),
        (&["manifest", "inspect", "-v", "team/app:1"], &name),
        (&["search", "--list-tags", "team/app"], repository),
        (&["pull", "-q", "-a", "team/app"], &tag),
    ] {
        let done = run(words);
        assert_eq!(done.exit_code, 0, "{done:?}");
        assert!(done.stdout.contains(expected), "{done:?}");
    }

    let asked = || first.requests().len() + second.requests().len();
    let before = asked();
    for words in [
        &["pull", "team/app:1"][..],
        &["pull", "--dry-run", "team/app:1"],
        &["pull", "-a", "team/app"],
        &["manifest", "inspect", "team/app:1"],
        &["search", "--list-tags", "team/app"],
    ] {
        let refused = run(&[words, &["--creds", "user:secret"]].concat());
        assert_eq!(refused.exit_code, 125, "{refused:?}");
        assert!(
            refused.stderr.contains("--creds is for one registry"),
            "{refused:?}"
        );
    }
    assert_eq!(asked(), before);
    host.ok(["rmi", &name]);
    host.assert_nothing_left_behind();
}

/// A host of the machine and a file that has `bb` mean an image of its registry.
struct Aliased {
    host: Host,
    conf: String,
    /// What `bb` means, without a tag.
    repository: String,
}

impl Aliased {
    fn new(host: Host) -> Self {
        let repository = format!("{}/team/box", host.registry().host());
        let conf = host.scratch().join("registries.conf");
        fs_err::write(&conf, format!("[aliases]\nbb = '{repository}'\n")).expect("a file");
        let conf = conf.to_string_lossy().into_owned();
        Self {
            host,
            conf,
            repository,
        }
    }

    /// Runs a command to its end and gives back what it said; panics unless it succeeds.
    fn ok(&self, words: &[&str]) -> String {
        let command = self.host.command(words.iter().copied());
        let output = command.env("CONTAINERS_REGISTRIES_CONF", &self.conf).run();
        assert_eq!(output.exit_code, 0, "{words:?}: {output:?}");
        output.stdout.trim_end().to_owned()
    }
}

#[test]
fn what_came_by_an_alias_is_found_by_it_by_every_command() {
    let ground = Aliased::new(require!(host()));
    let before = ground.host.snapshot();
    let image = ImageBuilder::busybox().build();
    let name = ground.host.registry().push("team/box:latest", &image);
    assert_eq!(ground.ok(&["pull", "-q", "bb"]), name);
    let id = ground.ok(&["inspect", "-f", "{{.Id}}", &name]);
    let archive = ground.host.scratch().join("bb.tar");
    let archive = archive.to_string_lossy();
    let layout = format!("oci:{}:one", ground.host.scratch().join("bb").display());

    assert_eq!(ground.ok(&["image", "inspect", "-f", "{{.Id}}", "bb"]), id);
    assert_eq!(ground.ok(&["inspect", "-f", "{{.Id}}", "bb:latest"]), id);
    ground.ok(&["image", "exists", "bb"]);
    assert!(ground.ok(&["image", "tree", "bb"]).contains(&name));
    ground.ok(&["image", "diff", "bb", "bb"]);
    assert!(
        ground
            .ok(&["history", "-q", "--no-trunc", "bb"])
            .contains(&id)
    );
    assert_eq!(ground.ok(&["images", "-q", "--no-trunc", "bb"]), id);
    ground.ok(&["save", "-o", &archive, "bb"]);
    ground.ok(&["push", "-q", "bb", &layout]);
    assert_eq!(ground.ok(&["push", "-q", "bb"]), name);
    assert_eq!(ground.ok(&["push", "-q", "-a", "bb"]), name);

    ground.ok(&["tag", "bb", &format!("{}:2", ground.repository)]);
    assert_eq!(ground.ok(&["push", "-q", "-a", "bb"]).lines().count(), 2);
    ground.ok(&["untag", "bb", "bb:2"]);
    let removed = ground.ok(&["rmi", "bb"]);
    assert!(
        removed.contains(&format!("Untagged: {name}\n")),
        "{removed}"
    );

    assert!(
        ground.ok(&["load", "-i", &archive]).contains(&name),
        "its full name is in the archive"
    );
    ground.ok(&["rmi", "bb"]);
    ground.host.assert_unchanged_since(&before);
}

#[test]
fn a_name_given_here_is_found_unless_the_alias_is_here_too() {
    let ground = Aliased::new(require!(host()));
    let given = ground.host.pulled("given:1", ImageBuilder::busybox());
    ground.ok(&["tag", &given, "bb"]);

    assert_eq!(
        ground.ok(&["run", "--rm", "--pull=never", "bb", "echo", "here"]),
        "here"
    );
    let other = ImageBuilder::busybox().layer(Layer::new().file("other", "1"));
    ground
        .host
        .registry()
        .push("team/box:latest", &other.build());
    ground.ok(&["pull", "-q", "bb"]);
    let run = ground.ok(&["run", "--rm", "bb", "cat", "/other"]);
    assert_eq!(run, "1", "the alias comes first");

    ground.ok(&["rmi", "bb"]);
    let left = ground.ok(&["images", "--format", "{{.Repository}}", "bb"]);
    assert_eq!(left, "bb", "the other one stays");
    ground.ok(&["rmi", "bb*"]);
    let pushed_by_id = ground.ok(&["inspect", "-f", "{{.Id}}", &given]);
    let name = ground.ok(&[
        "push",
        "-q",
        &pushed_by_id,
        &format!("{}:3", ground.repository),
    ]);
    assert_eq!(name, format!("{}:3", ground.repository));
    ground.host.assert_nothing_left_behind();
}
