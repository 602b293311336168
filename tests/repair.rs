//! `system check --repair` where it cannot know everything: what it does not bring back it leaves
//! where it is, and says so.

use std::path::{Path, PathBuf};

use rocker_testkit::Host;
use rocker_testkit::database::{alter, ruin_table};
use rocker_testkit::host::{Output, run_program};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::host;
use crate::store_check::{
    assert_furnished, clear, database, empty_log, forget_what_is_live, furnish, go_back,
};

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// The directories of layers.
fn layers(host: &Host) -> Vec<String> {
    let mut names = names_in(&host.root().join("layers"));
    names.retain(|name| name.len() == 64);
    names
}

/// The hex digits of an image's id.
fn image_id(host: &Host, image: &str) -> String {
    let id = crate::inspect(host, image, "{{.Id}}");
    id.trim_start_matches("sha256:").to_owned()
}

fn config(host: &Host, id: &str) -> PathBuf {
    host.root().join("blobs/sha256").join(id)
}

fn copy(host: &Host, id: &str) -> PathBuf {
    host.root().join("images").join(format!("{id}.json"))
}

/// An image that came from no registry, with a file `/word`.
fn import(host: &Host, name: &str, word: &str) -> String {
    let tree = host.scratch().join(format!("tree-{word}"));
    fs_err::create_dir(&tree).expect("a directory");
    fs_err::write(tree.join("word"), word).expect("a file");
    let archive = host.scratch().join(format!("{word}.tar"));
    let (archive, tree) = (archive.to_string_lossy(), tree.to_string_lossy());
    run_program(&["tar", "-C", &tree, "-cf", &archive, "."]);
    host.ok(["import", &archive, name]);
    image_id(host, name)
}

/// Leaves nothing of the database that anybody could read.
fn ruin_database(host: &Host) {
    host.await_monitors();
    fs_err::write(host.root().join("rocker.db"), vec![7; 5000]).expect("noise");
    for beside in ["rocker.db-wal", "rocker.db-shm"] {
        let path = host.root().join(beside);
        if path.exists() {
            fs_err::remove_file(path).expect("removed");
        }
    }
}

fn repair(host: &Host) -> Output {
    host.rocker(["system", "check", "--repair"])
}

/// Something to pull and to remove, after which a sweep looks for what nobody knows.
fn sweep(host: &Host) {
    let image = host.pulled(
        "passing:by",
        ImageBuilder::busybox().layer(Layer::new().file("passing", "by")),
    );
    host.ok(["rmi", &image]);
}

/// The copies as an earlier rocker wrote them.
fn leave_configs_out(host: &Host) {
    for name in names_in(&host.root().join("images")) {
        let path = host.root().join("images").join(name);
        let text = fs_err::read_to_string(&path).expect("a copy");
        let (before, rest) = text.split_once("\"config\":\"").expect("a config");
        let (_, after) = rest.split_once("}\",").expect("the end of the config");
        fs_err::write(&path, format!("{before}{after}")).expect("a copy");
    }
}

fn drop_what_was_set_aside(host: &Host) {
    for name in names_in(&host.root()) {
        if name.contains(".damaged-") {
            fs_err::remove_file(host.root().join(name)).expect("removed");
        }
    }
}

#[test]
fn an_imported_image_comes_back_without_database_and_config() {
    let host = require!(host());
    let id = import(&host, "own:1", "mine");
    fs_err::remove_file(config(&host, &id)).expect("removed");
    ruin_database(&host);

    let repaired = repair(&host);

    assert_eq!(repaired.exit_code, 0, "{repaired:?}");
    assert!(repaired.stdout.contains("1 images"), "{repaired:?}");
    assert_eq!(image_id(&host, "own:1"), id);
    assert_eq!(host.rocker(["system", "check", "--deep"]).exit_code, 0);
    host.ok(["rmi", "own:1"]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

#[test]
fn what_a_repair_cannot_bring_back_stays_until_it_comes_again() {
    let host = require!(host());
    let image = host.pulled(
        "lost:1",
        ImageBuilder::busybox().layer(Layer::new().file("word", "kept")),
    );
    host.ok([
        "create",
        "--name",
        "web",
        "--network",
        "none",
        &image,
        "cat",
        "/word",
    ]);
    let id = image_id(&host, &image);
    let own = import(&host, "own:1", "mine");
    let before = layers(&host);
    leave_configs_out(&host);
    for id in [&id, &own] {
        fs_err::remove_file(config(&host, id)).expect("removed");
    }
    ruin_database(&host);

    let repaired = repair(&host);
    sweep(&host);

    assert_eq!(repaired.exit_code, 1, "{repaired:?}");
    for told in [
        format!("image {image} could not be brought back"),
        "rocker pull ".to_owned(),
        "image own:1 could not be brought back".to_owned(),
        "load or import it again".to_owned(),
    ] {
        assert!(repaired.stdout.contains(&told), "{told}: {repaired:?}");
    }
    assert_eq!(layers(&host), before);
    let again = repair(&host);
    assert!(again.stdout.contains("image own:1 could not"), "{again:?}");
    let downloads = host.registry().blob_downloads();
    host.ok(["pull", &image]);
    assert_eq!(
        host.registry().blob_downloads(),
        downloads + 1,
        "the config"
    );
    assert_eq!(host.ok(["start", "-a", "web"]), "kept");
    let archive = host.scratch().join("mine.tar");
    host.ok(["import", &archive.to_string_lossy(), "own:2"]);
    // its config says when, so it is another image of the same layer
    fs_err::remove_file(copy(&host, &own).with_extension("lost")).expect("given up");
    assert_eq!(host.rocker(["system", "check", "--deep"]).exit_code, 0);
    host.ok(["rm", "web"]);
    host.ok(["rmi", &image, "own:2"]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

#[test]
fn layers_of_which_nothing_is_written_down_stay() {
    let host = require!(host());
    let id = import(&host, "own:1", "mine");
    let broken = host.pulled(
        "broken:1",
        ImageBuilder::busybox().layer(Layer::new().file("word", "kept")),
    );
    let missing = crate::inspect(&host, &broken, "{{index .RootFS.Layers 0}}");
    let missing = missing.trim_start_matches("sha256:").to_owned();
    let broken = image_id(&host, &broken);
    fs_err::remove_file(config(&host, &id)).expect("removed");
    for id in [&id, &broken] {
        fs_err::remove_file(copy(&host, id)).expect("removed");
    }
    run_program(&[
        "rm",
        "-r",
        &host.root().join("layers").join(&missing).to_string_lossy(),
    ]);
    let before = layers(&host);
    ruin_database(&host);

    let repaired = repair(&host);
    sweep(&host);

    assert_eq!(repaired.exit_code, 1, "{repaired:?}");
    assert!(
        repaired.stdout.contains("of which image 1 layers are"),
        "{repaired:?}"
    );
    let now = layers(&host);
    assert!(before.iter().all(|layer| now.contains(layer)), "{now:?}");
    assert_eq!(
        host.ok(["images", "-q", "--no-trunc"]),
        format!("sha256:{broken}")
    );
    fs_err::remove_file(host.root().join("images/unknown.lost")).expect("given up");
    host.ok(["rmi", &broken]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

#[test]
fn a_container_that_nobody_knows_keeps_its_log() {
    let host = require!(host());
    let image = host.busybox();
    let words = [
        "run",
        "--name",
        "web",
        "--network",
        "none",
        &image,
        "echo",
        "said",
    ];
    host.ok(words);
    host.await_monitors();
    let id = host.ok(["inspect", "-f", "{{.Id}}", "web"]);
    let directory = host.root().join("containers").join(&id);
    fs_err::write(directory.join("container.json"), "torn").expect("a copy");
    ruin_database(&host);
    fs_err::remove_file(host.runroot().join("live.db")).expect("removed");

    let repaired = repair(&host);
    sweep(&host);

    assert!(
        repaired.stdout.contains("belongs to no container"),
        "{repaired:?}"
    );
    let log = fs_err::read_to_string(directory.join(format!("{id}-json.log")));
    assert!(log.expect("the log").contains("said"));
    run_program(&["rm", "-r", &directory.to_string_lossy()]);
    host.ok(["rmi", &image]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

/// A row that refers to nothing: sqlite reads everything, and finds it wrong.
const DANGLING: &str = "PRAGMA foreign_keys=OFF; INSERT INTO tags(reference, image_id) VALUES('docker.io/library/none:1', 'sha256:none')";

#[test]
fn what_can_be_read_of_a_damaged_database_needs_no_copy() {
    let host = require!(host());
    let image = furnish(&host);
    let host_image_copies = host.root().join("images");
    for damage in [
        DANGLING,
        "DELETE FROM meta WHERE key = 'generation'",
        "INSERT INTO volumes VALUES('odd', 1, 'not labels', 0)",
        "UPDATE layers SET blob_digest = 'nonsense'",
        "INSERT INTO containers SELECT 'no id', name, image_id, definition, volumes, created_ns, status,
            exit_code, oom_killed, error, started_ns, finished_ns FROM containers",
    ] {
        host.await_monitors();
        let id = host.ok(["inspect", "-f", "{{.Id}}", "web"]);
        let copies = names_in(&host_image_copies).into_iter();
        let mut copies: Vec<PathBuf> = copies.map(|name| host_image_copies.join(name)).collect();
        copies.push(host.root().join("containers").join(id).join("container.json"));
        copies.push(host.root().join("volumes/data/volume.json"));
        for copy in copies {
            fs_err::remove_file(copy).expect("removed");
        }
        alter(&database(&host), damage);
        forget_what_is_live(&host);
        assert_eq!(host.rocker(["system", "check"]).exit_code, 1, "{damage}");

        let repaired = repair(&host);

        assert_eq!(repaired.exit_code, 0, "{damage}: {repaired:?}");
        assert_furnished(&host, &image, damage);
        assert_eq!(host.rocker(["system", "check"]).exit_code, 0, "{damage}");
    }
    drop_what_was_set_aside(&host);
    clear(&host, &image);
}

#[test]
fn names_and_layers_that_cannot_be_read_come_back_from_the_copies() {
    let host = require!(host());
    let image = furnish(&host);
    let digests = crate::inspect(&host, &image, "{{.RepoDigests}} {{.Size}}");
    for table in [
        "tags",
        "repo_digests",
        "image_layers",
        "layers",
        "meta",
        "images",
    ] {
        host.await_monitors();
        empty_log(&host, &image);
        ruin_table(&database(&host), table);
        assert_eq!(host.rocker(["system", "check"]).exit_code, 1, "{table}");

        let repaired = repair(&host);

        assert_eq!(repaired.exit_code, 0, "{table}: {repaired:?}");
        assert_eq!(
            crate::inspect(&host, &image, "{{.RepoDigests}} {{.Size}}"),
            digests,
            "{table}"
        );
        assert_furnished(&host, &image, table);
        assert_eq!(host.rocker(["system", "check"]).exit_code, 0, "{table}");
    }
    drop_what_was_set_aside(&host);
    clear(&host, &image);
}

#[test]
fn a_repair_that_was_killed_between_both_names_loses_nothing() {
    let host = require!(host());
    let image = furnish(&host);
    host.await_monitors();
    empty_log(&host, &image);
    // no copy says what is in it
    for name in names_in(&host.root().join("images")) {
        fs_err::remove_file(host.root().join("images").join(name)).expect("removed");
    }
    fs_err::rename(database(&host), host.root().join("rocker.db.made")).expect("as it was left");

    let found = host.rocker(["system", "check"]);
    assert_eq!(found.exit_code, 1, "{found:?}");
    assert_eq!(host.rocker(["images"]).exit_code, 1);
    let repaired = repair(&host);

    assert_eq!(repaired.exit_code, 0, "{repaired:?}");
    assert!(!host.root().join("rocker.db.made").exists());
    assert_furnished(&host, &image, "made");
    clear(&host, &image);
}

#[test]
fn of_several_repairs_one_makes_the_databases_anew() {
    let host = require!(host());
    let image = furnish(&host);
    host.await_monitors();
    ruin_database(&host);
    alter(
        &host.runroot().join("live.db"),
        "UPDATE containers SET status = 'nonsense'",
    );

    let repairs: Vec<_> = (0..4)
        .map(|_| host.command(["system", "check", "--repair"]).spawn())
        .collect();
    let repaired: Vec<_> = repairs.into_iter().map(|repair| repair.finish()).collect();

    assert!(
        repaired.iter().any(|output| output.exit_code == 0),
        "{repaired:?}"
    );
    for directory in [host.root(), host.runroot()] {
        let names = names_in(&directory);
        let aside = |name: &&String| name.contains(".damaged-") && !name.ends_with("-wal");
        assert_eq!(names.iter().filter(aside).count(), 1, "{names:?}");
        for name in names.iter().filter(|name| name.contains(".damaged-")) {
            fs_err::remove_file(directory.join(name)).expect("removed");
        }
    }
    assert_furnished(&host, &image, "several repairs");
    clear(&host, &image);
}

#[test]
fn a_container_that_runs_during_a_repair_ends_in_the_new_database() {
    let host = require!(host());
    let image = host.busybox();
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let words = [
        "run",
        "--name",
        "web",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        script,
    ];
    let run = host.command(words).spawn();
    run.await_stdout("ready");
    alter(&database(&host), DANGLING);

    let repaired = repair(&host);
    assert_eq!(repaired.exit_code, 0, "{repaired:?}");
    host.ok(["stop", "web"]);
    assert_eq!(run.finish().exit_code, 3);
    host.await_monitors();
    forget_what_is_live(&host);

    let listed = host.ok(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
    assert!(listed.starts_with("web Exited (3)"), "{listed}");
    assert_eq!(host.rocker(["system", "check"]).exit_code, 0);
    host.ok(["rm", "web"]);
    host.ok(["rmi", &image]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

#[test]
fn a_container_that_runs_during_a_repair_is_in_the_new_database_at_once() {
    let host = require!(host());
    let image = host.busybox();
    let words = [
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        &image,
        "sleep",
        "1000",
    ];
    host.ok(words);
    ruin_database(&host);
    let repaired = repair(&host);
    assert_eq!(repaired.exit_code, 0, "{repaired:?}");
    assert_eq!(host.rocker(["system", "check"]).exit_code, 0);
    host.ok(["exec", "web", "true"]);
    host.ok(["rm", "-f", "web"]);
    host.ok(["rmi", &image]);
    drop_what_was_set_aside(&host);
    host.assert_nothing_left_behind();
}

#[test]
fn how_a_known_container_ended_comes_back_too() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "create",
        "--name",
        "web",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        "exit 3",
    ]);
    empty_log(&host, &image);
    let before = fs_err::read(database(&host)).expect("the database");
    assert_eq!(host.rocker(["start", "-a", "web"]).exit_code, 3);
    host.await_monitors();
    go_back(&host, &before);
    forget_what_is_live(&host);

    assert_eq!(repair(&host).exit_code, 0);

    let listed = host.ok(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
    assert!(listed.starts_with("web Exited (3)"), "{listed}");
    host.ok(["rm", "web"]);
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_row_of_running_things_that_cannot_be_read_is_damage() {
    let host = require!(host());
    let image = furnish(&host);
    let nobody = "PRAGMA foreign_keys=OFF; INSERT INTO";
    for (damage, is_refused) in [
        ("UPDATE containers SET status = 'nonsense'", true),
        (
            "INSERT INTO image_mounts(image, namespace, count) VALUES('nonsense', 1, 1)",
            false,
        ),
        (
            "INSERT INTO networks(name, bridge, subnet, prefix_len, gateway, last_lease)
             VALUES('other', 'other0', -1, 24, 1, 1)",
            false,
        ),
        (
            &format!(
                "{nobody} ports(protocol, host_ip, host_port, container_port, container) VALUES('tcp', 0, 99999, 1, 'x')"
            ),
            true,
        ),
    ] {
        host.await_monitors();
        alter(&host.runroot().join("live.db"), damage);
        let refused = host.rocker(["ps", "-a"]);
        assert_eq!(
            refused.stderr.contains("system check --repair"),
            is_refused,
            "{damage}: {refused:?}"
        );
        let found = host.rocker(["system", "check"]);
        assert_eq!(found.exit_code, 1, "{damage}: {found:?}");
        assert!(
            found.stdout.contains("FAIL   live database: "),
            "{damage}: {found:?}"
        );

        let repaired = repair(&host);

        assert_eq!(repaired.exit_code, 0, "{damage}: {repaired:?}");
        assert_eq!(host.rocker(["system", "check"]).exit_code, 0, "{damage}");
        assert_furnished(&host, &image, damage);
    }
    for name in names_in(&host.runroot()) {
        if name.contains(".damaged-") {
            fs_err::remove_file(host.runroot().join(name)).expect("removed");
        }
    }
    clear(&host, &image);
}
