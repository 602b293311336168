//! `system check`: damage is found, told in one line, and put right without losing anything.

use std::path::{Path, PathBuf};

use rocker_testkit::Host;
use rocker_testkit::database::alter;
use rocker_testkit::host::{kill_and_wait, run_program};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;
use rustix::fs::{FlockOperation, flock};

use crate::crash::monitor_of;
use crate::host;
use crate::resume::await_that;

fn remove(path: &Path) {
    run_program(&["rm", "-r", &path.to_string_lossy()]);
}

/// What the host has that a damaged database must not cost.
pub(crate) fn furnish(host: &Host) -> String {
    let image = host.pulled(
        "kept:1",
        ImageBuilder::busybox().layer(Layer::new().dir("etc", 0o755).file("etc/word", "original")),
    );
    host.ok(["tag", &image, "second:name"]);
    host.ok(["volume", "create", "--label", "tier=db", "data"]);
    let ran = host.rocker([
        "run",
        "--name",
        "web",
        "--network",
        "none",
        "-v",
        "data:/data",
        "-e",
        "WORD=kept",
        &image,
        "sh",
        "-c",
        "echo $WORD | tee -a /mine /data/theirs; exit 3",
    ]);
    assert_eq!(ran.exit_code, 3, "{ran:?}");
    image
}

/// Everything of [`furnish`] is there.
pub(crate) fn assert_furnished(host: &Host, image: &str, context: &str) {
    let names = host.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, [image, "second:name"], "{context}");
    let listed = host.ok(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
    assert!(listed.starts_with("web Exited (3)"), "{context}: {listed}");
    assert_eq!(
        crate::inspect(host, "data", "{{.Labels.tier}}"),
        "db",
        "{context}"
    );
    let output = host.rocker(["start", "-a", "web"]);
    assert_eq!(
        (output.exit_code, output.stdout.trim()),
        (3, "kept"),
        "{context}: {output:?}"
    );
    let pulled = host.rocker(["pull", image]);
    assert!(
        pulled.stderr.contains("Image is up to date"),
        "{context}: {pulled:?}"
    );
}

pub(crate) fn clear(host: &Host, image: &str) {
    host.ok(["rm", "-v", "web"]);
    host.ok(["volume", "rm", "data"]);
    host.ok(["rmi", image, "second:name"]);
    host.assert_nothing_left_behind();
}

pub(crate) fn database(host: &Host) -> PathBuf {
    host.root().join("rocker.db")
}

/// Whatever is in the log moves to the file.
pub(crate) fn empty_log(host: &Host, image: &str) {
    host.ok(["tag", image, "for:amoment"]);
    host.ok(["rmi", "for:amoment"]);
    let log = fs_err::metadata(host.root().join("rocker.db-wal"));
    assert_eq!(log.map(|log| log.len()).unwrap_or(0), 0);
}

/// As if nothing since `before` had reached the disk.
pub(crate) fn go_back(host: &Host, before: &[u8]) {
    fs_err::write(database(host), before).expect("the database");
    let log = host.root().join("rocker.db-wal");
    fs_err::write(log, b"garbage, not a log").expect("the log");
    let shared = host.root().join("rocker.db-shm");
    if shared.exists() {
        fs_err::remove_file(shared).expect("removed");
    }
}

/// As after a reboot: every command has to read the database.
pub(crate) fn forget_what_is_live(host: &Host) {
    for entry in fs_err::read_dir(host.runroot()).expect("the runroot") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => remove(&path),
            false => fs_err::remove_file(path).expect("removed"),
        }
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of damages, and what each comes to"
)]
fn a_damaged_database_is_set_aside_and_made_anew_with_everything() {
    let host = require!(host());
    let image = furnish(&host);
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 7] = [
        ("missing", Vec::clear),
        ("half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("one page", |bytes| bytes.truncate(4096)),
        ("nothing", Vec::clear),
        ("random", |bytes| {
            let mut state = 7_u32;
            bytes.fill_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            });
        }),
        ("wrong header", |bytes| {
            bytes[..16].copy_from_slice(b"SQLite format 2\0")
        }),
        ("a page of zeros", |bytes| bytes[4096..8192].fill(0)),
    ];
    for (number, (name, damage)) in cases.into_iter().enumerate() {
        host.await_monitors();
        empty_log(&host, &image);
        let path = database(&host);
        let mut bytes = fs_err::read(&path).expect("the database");
        damage(&mut bytes);
        fs_err::write(&path, &bytes).expect("damage");
        if name == "missing" {
            fs_err::remove_file(&path).expect("removed");
        }
        if number % 2 == 0 {
            forget_what_is_live(&host);
        }

        let refused = host.rocker(["images"]);
        let found = host.rocker(["system", "check"]);
        assert_eq!(
            (refused.exit_code, refused.stdout.as_str()),
            (1, ""),
            "{name}: {refused:?}"
        );
        let [error, hint] = refused.stderr.lines().collect::<Vec<_>>()[..] else {
            panic!("{name}: {refused:?}");
        };
        assert!(
            error.starts_with("Error: ") && hint.contains("rocker system check --repair"),
            "{name}: {refused:?}"
        );
        assert_eq!(found.exit_code, 1, "{name}: {found:?}");
        assert!(
            found.stdout.contains("FAIL   database: "),
            "{name}: {found:?}"
        );
        assert_eq!(
            fs_err::read(&path).expect("the database"),
            bytes,
            "{name}: it was only looked at"
        );

        // of somebody who was killed while he made another
        fs_err::write(host.root().join("rocker.db.new"), b"half").expect("written");
        let repaired = host.rocker(["system", "check", "--repair"]);
        assert_eq!(repaired.exit_code, 0, "{name}: {repaired:?}");
        assert!(!host.root().join("rocker.db.new").exists(), "{name}");
        assert!(
            repaired.stdout.contains("mended database: "),
            "{name}: {repaired:?}"
        );
        let aside = fs_err::read_dir(host.root())
            .expect("the root")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let is_aside = name.starts_with("rocker.db.damaged-") && !name.ends_with("-wal");
                is_aside.then_some(path)
            });
        let aside: Vec<_> = aside.collect();
        assert_eq!(aside.len(), usize::from(!bytes.is_empty()), "{name}");
        for path in aside {
            assert!(
                repaired.stdout.contains(&*path.to_string_lossy()),
                "{name}: {repaired:?}"
            );
            assert_eq!(
                fs_err::read(&path).expect("what was set aside"),
                bytes,
                "{name}"
            );
            fs_err::remove_file(path).expect("removed");
        }
        assert_eq!(
            host.rocker(["system", "check", "--deep"]).exit_code,
            0,
            "{name}"
        );
        assert_furnished(&host, &image, name);
    }
    clear(&host, &image);
}

/// What brings lost changes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mending {
    NextCommand,
    Repair,
}

#[test]
fn changes_that_went_with_the_log_come_back_with_the_first_command_after_a_boot() {
    come_back(&require!(host()), Mending::NextCommand);
}

#[test]
fn changes_that_went_with_the_log_come_back_with_a_repair() {
    come_back(&require!(host()), Mending::Repair);
}

fn come_back(host: &Host, by: Mending) {
    let image = host.busybox();
    host.ok(["volume", "create", "seen"]);
    empty_log(host, &image);
    let before = fs_err::read(database(host)).expect("the database");
    let image = {
        host.ok(["rmi", &image]);
        furnish(host)
    };
    host.await_monitors();
    go_back(host, &before);
    forget_what_is_live(host);

    let found = host.rocker(["system", "check"]);
    assert_eq!(found.exit_code, 1, "{found:?}");
    assert!(found.stdout.contains("lost its last changes"), "{found:?}");
    let by_command = match by {
        Mending::NextCommand => &["volume", "ls"][..],
        Mending::Repair => &["system", "check", "--repair"],
    };
    let mended = host.rocker(by_command.iter().copied());
    assert_eq!(mended.exit_code, 0, "{mended:?}");
    if by == Mending::NextCommand {
        let told = mended
            .stderr
            .lines()
            .filter(|line| line.contains("last changes"));
        assert_eq!(told.count(), 1, "{mended:?}");
    }
    assert_eq!(host.ok(["volume", "ls", "-q"]), "data\nseen");

    host.ok(["volume", "rm", "seen"]);
    let listed = host.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for line in listed
        .lines()
        .filter(|line| *line != image && *line != "second:name")
    {
        // it was there when the copy was taken, and its layers are gone
        host.ok(["rmi", line]);
    }
    assert_eq!(host.rocker(["system", "check", "--deep"]).exit_code, 0);
    assert_furnished(host, &image, "lost log");
    clear(host, &image);
}

#[test]
fn changes_that_no_copy_has_are_not_passed_over() {
    let host = require!(host());
    let kept = host.busybox();
    empty_log(&host, &kept);
    let before = fs_err::read(database(&host)).expect("the database");
    let lost = ImageBuilder::busybox().layer(Layer::new().file("f", "x"));
    let lost = host.pulled("lost:1", lost);
    let id = crate::inspect(&host, &lost, "{{.Id}}");
    let config = host.root().join("blobs/sha256");
    let config = config.join(id.trim_start_matches("sha256:"));
    let text = fs_err::read(&config).expect("the config");
    go_back(&host, &before);
    forget_what_is_live(&host);
    fs_err::remove_file(&config).expect("the config goes as well");
    let copy = host.root().join("images");
    let copy = copy.join(format!("{}.json", id.trim_start_matches("sha256:")));
    let whole = fs_err::read(&copy).expect("the copy");
    let mut poor: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
    assert!(poor["config"].take().is_string(), "{poor}");
    fs_err::write(&copy, poor.to_string()).expect("a copy without the config");

    for words in [&["images"][..], &["tag", &kept, "more:1"]] {
        let refused = host.rocker(words.iter().copied());
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains("has lost its last changes")
                && refused.stderr.contains("rocker system check --repair"),
            "{refused:?}"
        );
    }
    fs_err::write(&config, text).expect("it is found");
    let names = host.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.lines().any(|name| name == lost), "{names}");
    host.ok(["rmi", &kept, &lost]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_container_that_the_database_forgot_keeps_its_files() {
    let host = require!(host());
    let image = host.busybox();
    empty_log(&host, &image);
    let before = fs_err::read(database(&host)).expect("the database");
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        "echo x > /mine",
    ];
    let id = host.ok(words);
    host.ok(["wait", &id]);
    host.await_monitors();
    go_back(&host, &before);
    // nobody looks before the next boot, and meanwhile it counts on
    for number in 0..20 {
        host.ok(["tag", &image, &format!("more:{number}")]);
    }
    forget_what_is_live(&host);

    host.ok(["volume", "ls"]);
    let directory = host.root().join("containers").join(&id);
    let mine = fs_err::read_to_string(directory.join("upper/mine"));
    assert_eq!(mine.expect("the user's file"), "x\n");
    let found = host.rocker(["system", "check"]);
    assert!(
        found.stdout.contains("belongs to no container"),
        "{found:?}"
    );

    remove(&directory);
    for number in 0..20 {
        host.ok(["rmi", &format!("more:{number}")]);
    }
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_newer_database_is_left_alone() {
    let host = require!(host());
    let image = host.busybox();
    empty_log(&host, &image);
    let mut bytes = fs_err::read(database(&host)).expect("the database");
    // the user version, a big-endian number at offset 60
    let mut version = 99_u32.to_be_bytes();
    bytes[60..64].swap_with_slice(&mut version);
    fs_err::write(database(&host), &bytes).expect("written");
    let now = || fs_err::read(database(&host)).expect("the database");

    for words in [
        &["images"][..],
        &["system", "check"],
        &["system", "check", "--repair"],
    ] {
        let output = host.rocker(words.iter().copied());
        assert_eq!(output.exit_code, 1, "{output:?}");
        assert!(
            (output.stdout + &output.stderr).contains("newer rocker"),
            "{words:?}"
        );
        assert!(now() == bytes, "{words:?} wrote to it");
    }
    bytes[60..64].copy_from_slice(&version);
    fs_err::write(database(&host), &bytes).expect("written");
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of damages, and what each comes to"
)]
fn damaged_images_are_fetched_again_layer_by_layer() {
    let host = require!(host());
    let image = furnish(&host);
    let layer = PathBuf::from(crate::inspect(&host, &image, "{{index .RootFS.Layers 1}}"));
    let hex = layer
        .to_string_lossy()
        .trim_start_matches("sha256:")
        .to_owned();
    let layer = host.root().join("layers").join(&hex);
    let beside = |end: &str| host.root().join("layers").join(format!("{hex}{end}"));
    let id = crate::inspect(&host, &image, "{{.Id}}")
        .trim_start_matches("sha256:")
        .to_owned();
    let blob = host.root().join("blobs/sha256").join(&id);
    let word = layer.join("etc/word");
    let modified = |path: &PathBuf| {
        fs_err::metadata(path)
            .and_then(|found| found.modified())
            .expect("a time")
    };
    let before = modified(&word);
    let quietly = || {
        fs_err::write(&word, "modified").expect("written");
        let file = fs_err::File::options()
            .write(true)
            .open(&word)
            .expect("the file");
        file.file().set_modified(before).expect("the time");
    };
    let cases: [(&str, &dyn Fn(), &str, bool); 8] = [
        (
            "directory missing",
            &|| remove(&layer),
            "directory is missing",
            false,
        ),
        (
            "emptied",
            &|| remove(&layer.join("etc")),
            "is missing",
            false,
        ),
        (
            "longer",
            &|| fs_err::write(&word, "other content").expect("written"),
            "another size",
            false,
        ),
        ("same size and time", &quietly, "content was changed", true),
        (
            "an extra file",
            &|| fs_err::write(layer.join("etc/extra"), "").expect("written"),
            "does not belong",
            false,
        ),
        (
            "no record",
            &|| fs_err::remove_file(beside(".json")).expect("gone"),
            "record",
            false,
        ),
        (
            "no recipe",
            &|| fs_err::remove_file(beside(".recipe")).expect("gone"),
            "recipe",
            false,
        ),
        (
            "no config",
            &|| fs_err::remove_file(&blob).expect("gone"),
            "config",
            false,
        ),
    ];
    for (name, damage, said, only_deep) in cases {
        damage();

        let looked = host.rocker(["system", "check"]);
        assert_eq!(
            looked.exit_code,
            i32::from(!only_deep),
            "{name}: {looked:?}"
        );
        let found = host.rocker(["system", "check", "--deep"]);
        assert_eq!(found.exit_code, 1, "{name}: {found:?}");
        let line = found
            .stdout
            .lines()
            .find(|line| line.starts_with("FAIL"))
            .expect("a finding");
        assert!(line.contains(said), "{name}: {found:?}");

        let repaired = host.rocker(["system", "check", "--deep", "--repair"]);
        assert_eq!(repaired.exit_code, 0, "{name}: {repaired:?}");
        assert!(repaired.stdout.contains("mended "), "{name}: {repaired:?}");
        assert_eq!(
            host.rocker(["system", "check", "--deep"]).exit_code,
            0,
            "{name}"
        );
        assert_eq!(
            host.ok(["run", "--rm", &image, "cat", "/etc/word"]),
            "original",
            "{name}"
        );
    }
    assert_furnished(&host, &image, "repaired");
    clear(&host, &image);
}

#[test]
fn what_cannot_be_put_right_says_why_and_what_to_do() {
    let host = require!(host());
    let image = host.busybox();
    let hex = crate::inspect(&host, &image, "{{index .RootFS.Layers 0}}");
    let layer = host
        .root()
        .join("layers")
        .join(hex.trim_start_matches("sha256:"));
    host.ok([
        "run",
        "-d",
        "--name",
        "busy",
        "--network",
        "none",
        &image,
        "sleep",
        "1000",
    ]);
    fs_err::write(layer.join("extra"), "").expect("written");

    let repaired = host.rocker(["system", "check", "--repair"]);
    assert_eq!(repaired.exit_code, 1, "{repaired:?}");
    assert!(repaired.stdout.contains("rocker stop busy"), "{repaired:?}");
    host.ok(["exec", "busy", "true"]);
    host.ok(["rm", "-f", "busy"]);
    let archive = host.scratch().join("root.tar");
    host.ok(["create", "--name", "source", &image]);
    host.ok(["export", "-o", &archive.to_string_lossy(), "source"]);
    host.ok(["rm", "source"]);
    assert_eq!(host.rocker(["system", "check", "--repair"]).exit_code, 0);
    host.ok(["rmi", &image]);

    host.ok(["import", &archive.to_string_lossy(), "own:1"]);
    let hex = crate::inspect(&host, "own:1", "{{index .RootFS.Layers 0}}");
    let layer = host
        .root()
        .join("layers")
        .join(hex.trim_start_matches("sha256:"));
    remove(&layer);
    for words in [&["system", "check"][..], &["system", "check", "--repair"]] {
        let output = host.rocker(words.iter().copied());
        assert_eq!(output.exit_code, 1, "{output:?}");
        assert!(output.stdout.contains("rocker rmi own:1"), "{output:?}");
    }
    host.ok(["rmi", "own:1"]);
    assert_eq!(host.rocker(["system", "check"]).exit_code, 0);
    host.assert_nothing_left_behind();
}

/// What is done to the database, where that shows, and what is said.
const UNTRUE_ROWS: [(&str, &str, &str); 7] = [
    (
        "DELETE FROM tags WHERE reference LIKE '%second:name'",
        "FAIL   image",
        "has lost names of it",
    ),
    (
        "DELETE FROM repo_digests",
        "FAIL   image",
        "has lost names of it",
    ),
    (
        "UPDATE images SET config = replace(config, 'linux', 'plan9')",
        "FAIL   image",
        "another config",
    ),
    (
        "UPDATE images SET config = '{'",
        "FAIL   image",
        "another config",
    ),
    (
        "DELETE FROM image_layers WHERE position = 1",
        "FAIL   image",
        "lost which layers",
    ),
    (
        "INSERT INTO image_layers SELECT image_id, 2, diff_id FROM image_layers WHERE position = 0",
        "FAIL   image",
        "lost which layers",
    ),
    (
        "DELETE FROM containers",
        "FAIL   container web",
        "has lost it",
    ),
];

#[test]
fn rows_that_are_gone_or_untrue_are_found_and_come_back() {
    let host = require!(host());
    let image = furnish(&host);
    host.await_monitors();
    let digests = crate::inspect(&host, &image, "{{.RepoDigests}}");
    for (statement, what, said) in UNTRUE_ROWS {
        alter(&database(&host), statement);

        let found = host.rocker(["system", "check"]);
        assert_eq!(found.exit_code, 1, "{statement}: {found:?}");
        let line = found.stdout.lines().find(|line| line.starts_with(what));
        assert!(
            line.is_some_and(|line| line.contains(said)),
            "{statement}: {found:?}"
        );
        let requests = host.registry().requests().len();
        let repaired = host.rocker(["system", "check", "--repair"]);
        assert_eq!(repaired.exit_code, 0, "{statement}: {repaired:?}");
        let more = host.registry().requests().len() - requests;
        assert_eq!(more, 0, "{statement}: nothing has to be fetched for it");
        assert_eq!(host.rocker(["system", "check"]).exit_code, 0, "{statement}");
        assert_eq!(
            crate::inspect(&host, &image, "{{.RepoDigests}}"),
            digests,
            "{statement}"
        );
    }
    forget_what_is_live(&host);
    assert_furnished(&host, &image, "rows");
    clear(&host, &image);
}

#[test]
fn a_copy_of_an_earlier_change_is_no_loss() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["tag", &image, "second:name"]);
    let id = crate::inspect(&host, &image, "{{.Id}}");
    let copy = host.root().join("images");
    let copy = copy.join(format!("{}.json", id.trim_start_matches("sha256:")));
    let earlier = fs_err::read(&copy).expect("the copy");
    host.ok(["untag", &image, "second:name"]);
    // as if its writer had been killed before the copy
    fs_err::write(&copy, earlier).expect("written");

    let found = host.rocker(["system", "check"]);
    assert_eq!(found.exit_code, 0, "{found:?}");
    host.ok(["system", "check", "--repair"]);
    let listed = host.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(listed, image);
    let copy = fs_err::read_to_string(&copy).expect("the copy");
    assert!(!copy.contains("second"), "{copy}");
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}

/// What takes an image into use while its layer is fetched again, what a repair says of that, and
/// what ends it.
type Use<'a> = (&'a [&'a str], &'a str, &'a [&'a str]);

#[test]
fn a_layer_is_not_replaced_under_whoever_took_it_into_use_meanwhile() {
    let host = require!(host());
    let image = ImageBuilder::busybox().layer(Layer::new().file("f", "x"));
    let image = host.pulled("meanwhile:1", image);
    let hex = crate::inspect(&host, &image, "{{index .RootFS.Layers 1}}");
    let hex = hex.trim_start_matches("sha256:");
    let layer = host.root().join("layers").join(hex);
    let run = ["run", "-d", "--name", "busy", "--network", "none"];
    let run = [&run[..], &[&image, "sleep", "1000"]].concat();
    let cases: [Use<'_>; 2] = [
        (&run, "rocker stop busy", &["rm", "-f", "busy"]),
        (
            &["image", "mount", &image],
            "rocker image unmount",
            &["image", "unmount", &image],
        ),
    ];
    for (begin, told, end) in cases {
        fs_err::write(layer.join("extra"), "").expect("written");
        let downloads = host.registry().blob_downloads();
        // nobody renames anything in there meanwhile
        let layers = fs_err::File::open(host.root().join("layers")).expect("the layers");
        flock(&layers, FlockOperation::LockExclusive).expect("the store's lock");

        let repair = host.command(["system", "check", "--repair"]).spawn();
        await_that(&repair, || host.registry().blob_downloads() > downloads);
        host.ok(begin.iter().copied());
        drop(layers);
        let repaired = repair.finish();

        assert_eq!(repaired.exit_code, 1, "{repaired:?}");
        assert!(repaired.stdout.contains(told), "{told}: {repaired:?}");
        assert!(layer.join("extra").exists(), "{told}: it is as it was");
        host.ok(end.iter().copied());
        assert_eq!(host.rocker(["system", "check", "--repair"]).exit_code, 0);
        assert!(!layer.join("extra").exists());
    }
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_damaged_database_of_running_things_is_made_anew_while_nothing_runs() {
    let host = require!(host());
    let image = furnish(&host);
    let path = host.runroot().join("live.db");
    for size in [0, 5000] {
        host.await_monitors();
        let log = host.runroot().join("live.db-wal");
        if log.exists() {
            fs_err::remove_file(log).expect("removed");
        }
        fs_err::write(&path, vec![7; size]).expect("damage");

        let repaired = host.rocker(["system", "check", "--repair"]);
        assert_eq!(repaired.exit_code, 0, "{size}: {repaired:?}");
        assert_eq!(host.rocker(["system", "check"]).exit_code, 0, "{size}");
        assert_furnished(&host, &image, &format!("live, {size} bytes"));
    }
    for entry in fs_err::read_dir(host.runroot()).expect("the runroot") {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().contains("live.db.damaged-") {
            fs_err::remove_file(path).expect("removed");
        }
    }
    host.await_monitors();
    forget_what_is_live(&host);
    assert_furnished(&host, &image, "the run directory wiped");
    clear(&host, &image);
}

/// A name, what happens to the database, and the next command.
type Case<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);

#[test]
fn what_the_dead_left_is_found_although_the_database_of_running_things_is_lost() {
    let host = require!(host());
    let image = host.busybox();
    let live = host.runroot().join("live.db");
    let missing = || {
        for end in ["", "-wal", "-shm"] {
            let path = host.runroot().join(format!("live.db{end}"));
            fs_err::remove_file(path).expect("removed");
        }
    };
    let damaged = || {
        fs_err::remove_file(host.runroot().join("live.db-wal")).expect("removed");
        fs_err::write(&live, [7; 5000]).expect("damage");
    };
    let cases: [Case<'_>; 2] = [
        ("missing", &missing, &["ps"]),
        ("damaged", &damaged, &["system", "check", "--repair"]),
    ];
    for (name, lose, words) in cases {
        let before = host.snapshot();
        for flags in [&["--name", "kept", "-p", "8080:80"][..], &["--rm"]] {
            let words = ["run", "-d"].iter().chain(flags);
            let id = host.ok(words.chain(&[image.as_str(), "sleep", "1000"]).copied());
            let program = crate::inspect(&host, &id, "{{.State.Pid}}");
            let program = program.parse().expect("a number");
            kill_and_wait(&[monitor_of(program), program]);
        }
        lose();

        let next = host.rocker(words.iter().copied());
        assert_eq!(next.exit_code, 0, "{name}: {next:?}");
        host.ok(["rm", "kept"]);
        for entry in fs_err::read_dir(host.runroot()).expect("the runroot") {
            let path = entry.expect("an entry").path();
            if path.to_string_lossy().contains("live.db.damaged-") {
                fs_err::remove_file(path).expect("removed");
            }
        }
        assert_eq!(host.leaks_since(&before), [""; 0], "{name}");
    }
    host.assert_nothing_left_behind();
}
