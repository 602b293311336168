//! Containers that run while another rocker is installed, whose databases are not those that their
//! monitors know.

use std::path::PathBuf;

use rocker_testkit::database::alter;
use rocker_testkit::host::Host;
use rocker_testkit::require;

use crate::host;

/// What a later rocker would write, and what makes its database this one's again.
struct Later {
    database: PathBuf,
    version: u32,
}

impl Later {
    fn install(&self, compatible_since: u32) {
        let sql = format!(
            "ALTER TABLE containers ADD COLUMN later TEXT NOT NULL DEFAULT 'x';
             INSERT INTO meta(key, value) VALUES('compatible_since', {compatible_since});
             PRAGMA user_version = 99"
        );
        alter(&self.database, &sql);
    }

    /// The column may stay.
    fn remove(&self) {
        let sql = format!(
            "DELETE FROM meta WHERE key = 'compatible_since';
             PRAGMA user_version = {}",
            self.version
        );
        alter(&self.database, &sql);
    }
}

fn databases(host: &Host) -> [Later; 2] {
    [
        (host.runroot().join("live.db"), 2),
        (host.root().join("rocker.db"), 4),
    ]
    .map(|(database, version)| Later { database, version })
}

/// Starts a container that ends with code 7 when it is told to; whom to tell.
fn start(host: &Host, flags: &[&str], image: &str) -> PathBuf {
    let shared = host.scratch().join("shared");
    fs_err::create_dir_all(&shared).expect("a directory");
    let end = shared.join("end");
    run_fifo(&end);
    let bind = format!("{}:/shared", shared.display());
    let words = ["run", "-d", "--name", "old", "-v", &bind];
    let program = [image, "sh", "-c", "read word < /shared/end; exit 7"];
    host.ok(words.iter().chain(flags).chain(&program).copied());
    end
}

fn run_fifo(path: &std::path::Path) {
    if !path.exists() {
        rocker_testkit::host::run_program(&["mkfifo", &path.to_string_lossy()]);
    }
}

#[test]
fn a_container_that_ends_under_a_schema_that_goes_with_its_own_is_recorded() {
    let host = require!(host());
    let image = host.busybox();
    let end = start(&host, &["-p", "8080:80"], &image);
    for later in databases(&host) {
        later.install(1);
    }

    assert_eq!(host.ok(["ps", "--format", "{{.Names}}"]), "old");
    fs_err::write(&end, "now\n").expect("it is told");
    assert_eq!(host.ok(["wait", "old"]), "7");
    host.await_monitors();

    let row = crate::inspect(&host, "old", "{{.State.Status}} {{.State.ExitCode}}");
    assert_eq!(row, "exited 7");
    for later in databases(&host) {
        later.remove();
    }
    host.ok(["rm", "old"]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_exit_code_that_no_database_takes_is_found_by_the_next_command() {
    let host = require!(host());
    let image = host.busybox();
    for (number, flags) in [&["-p", "8080:80"][..], &[]].into_iter().enumerate() {
        let end = start(&host, flags, &image);
        let database = &databases(&host)[number];
        database.install(50);

        let refused = host.rocker(["images"]);
        if number == 0 {
            assert_eq!(refused.exit_code, 1, "{refused:?}");
        }
        fs_err::write(&end, "now\n").expect("it is told");
        host.await_monitors();
        database.remove();

        let listed = host.ok(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
        assert!(listed.starts_with("old Exited (7)"), "{number}: {listed}");
        host.ok(["rm", "old"]);
    }
    host.assert_nothing_left_behind();
}
