//! A place of its own for one test: the real `rocker` with its own root and runroot, in its
//! own network and mount namespace, and a check at the end that nothing stays behind.
//!
//! The namespaces belong to the *thread* that made the [`Host`] and to whatever it starts, so
//! tests run side by side, in one process or in many: no port, bridge, address or firewall rule
//! of one is seen by another, and comparing them needs no filter. Shared by all tests remain the
//! cgroup trees; there the ids that ever appeared below this test's runroot tell what is its own
//! (see [`crate::leak`]).

mod ids;
mod isolation;
mod process;
mod terminal;
mod transcript;

use std::cell::OnceCell;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use process::poll_until;
pub use process::{Output, Process, RockerCommand, Spawned, kill_and_wait, largest_program};
pub use terminal::Terminal;
pub(crate) use transcript::Transcript;

use crate::image::ImageBuilder;
use crate::leak::{self, Scope, Snapshot};
use crate::registry::Registry;
use ids::IdWatch;

/// Why a test cannot run here. [`require!`](crate::require) prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Unwraps a `Result<T, Missing>`: what is missing ends the test early and says why, and under
/// `ROCKER_TEST_STRICT=1` fails it, so that a skip never passes for a success.
#[macro_export]
macro_rules! require {
    ($ground:expr) => {
        match $ground {
            Ok(ground) => ground,
            Err(missing) => {
                $crate::host::skip(&missing);
                return;
            }
        }
    };
}

/// The part of [`require!`](crate::require) that is not control flow.
///
/// # Panics
///
/// Under `ROCKER_TEST_STRICT=1`.
#[expect(
    clippy::print_stderr,
    reason = "a skipped test says why in its captured output"
)]
pub fn skip(missing: &Missing) {
    let strict = std::env::var_os("ROCKER_TEST_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "this test needs what is missing here: {missing}");
    eprintln!("skipped: {missing}");
}

/// `Ok` if every one of these programs is in `PATH`.
///
/// # Errors
///
/// Names the first one that is not.
pub fn programs(names: &[&str]) -> Result<(), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |name: &&str| std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    match names.iter().find(|name| !found(name)) {
        Some(name) => Err(Missing(format!("the program {name} is not installed"))),
        None => Ok(()),
    }
}

/// Factor for every deadline: 4 where the test environment says that it is slow (an emulated
/// machine for example), else 1.
pub fn patience() -> u32 {
    if std::env::var_os("ROCKER_TEST_SLOW").is_some_and(|value| value == "1") {
        4
    } else {
        1
    }
}

/// One test's own installation of rocker, and the means to run and check it.
#[derive(Debug)]
pub struct Host {
    binary: PathBuf,
    directory: tempfile::TempDir,
    ids: IdWatch,
    registry: OnceCell<Registry>,
    before: Snapshot,
}

impl Host {
    /// The address that plays "this machine's address in its network", beside 127.0.0.1.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// Makes namespaces, directories and the first snapshot.
    ///
    /// `binary` is the program under test; `ROCKER_BIN` in the environment overrides it.
    ///
    /// # Errors
    ///
    /// Without root, or without the programs that the leak check asks about the network.
    pub fn privileged(binary: &str) -> Result<Self, Missing> {
        if !rustix::process::geteuid().is_root() {
            return Err(Missing("not running as root".to_owned()));
        }
        programs(&["ip", "nft", "setsid", "busybox"])?;
        isolation::enter()
            .map_err(|error| Missing(format!("no namespaces of our own: {error}")))?;

        let directory = tempfile::Builder::new()
            .prefix("rocker-test-")
            .tempdir()
            .expect("a temporary directory");
        fs_err::create_dir(directory.path().join("root")).expect("a data directory");
        isolation::mount_tmpfs(&directory.path().join("run"))
            .expect("a tmpfs for the volatile directory");
        let ids = IdWatch::start(&directory.path().join("run")).expect("an inotify watch");
        let binary =
            std::env::var_os("ROCKER_BIN").map_or_else(|| PathBuf::from(binary), PathBuf::from);
        let mut host = Self {
            binary,
            directory,
            ids,
            registry: OnceCell::new(),
            before: Snapshot::default(),
        };
        host.before = host.snapshot();
        Ok(host)
    }

    /// The program under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        let scratch = self.directory.path().join("scratch");
        fs_err::create_dir_all(&scratch).expect("a scratch directory");
        scratch
    }

    /// What `--root` says.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// What `--runroot` says.
    pub fn runroot(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// The in-repo registry, started on first use.
    pub fn registry(&self) -> &Registry {
        self.registry.get_or_init(Registry::start)
    }

    /// Puts the busybox image into the registry and pulls it: the reference that `run` can use.
    pub fn busybox(&self) -> String {
        self.pulled("busybox:latest", ImageBuilder::busybox())
    }

    /// Puts an image into the registry and pulls it.
    pub fn pulled(&self, name: &str, image: ImageBuilder) -> String {
        let reference = self.registry().push(name, &image.build());
        let output = self.rocker(["pull", "-q", &reference]);
        assert_eq!(output.exit_code, 0, "pulling {reference}: {output:?}");
        reference
    }

    /// Runs `rocker` with these words to its end. Panics if it does not end in time.
    pub fn rocker<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(words).run()
    }

    /// As [`Host::rocker`], and panics unless it succeeds; returns its trimmed stdout.
    pub fn ok<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let output = self.rocker(words);
        assert_eq!(output.exit_code, 0, "{output:?}");
        output.stdout.trim_end().to_owned()
    }

    /// A `rocker` command line to be run or spawned, with stdin and environment to choose.
    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> RockerCommand {
        let command = RockerCommand::new(&self.binary)
            .arg("--root")
            .arg(&self.root().to_string_lossy())
            .arg("--runroot")
            .arg(&self.runroot().to_string_lossy());
        words.into_iter().fold(command, RockerCommand::arg)
    }

    /// Another program of the machine in this host's namespaces, to be run like `rocker`.
    pub fn program(&self, name: &str) -> RockerCommand {
        RockerCommand::new(Path::new(name))
    }

    /// Runs `rocker` with these words on a terminal of its own.
    pub fn terminal<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Terminal {
        self.command(words).at_terminal()
    }

    /// Every container id that ever had a directory below the runroot.
    pub fn ids(&self) -> Vec<String> {
        self.ids.seen()
    }

    /// What belongs to this test on the machine right now.
    pub fn snapshot(&self) -> Snapshot {
        leak::snapshot(&Scope {
            root: self.root(),
            runroot: self.runroot(),
            ids: self.ids(),
        })
    }

    /// Waits until the monitors of containers that have ended are gone too: an exit code is told
    /// before everything is written down.
    pub fn await_monitors(&self) {
        leak::await_monitors(Instant::now() + Duration::from_secs(10) * patience());
    }

    /// Waits until the monitors have ended and says what there is more (or less) than `before`.
    pub fn difference_from(&self, before: &Snapshot) -> Vec<String> {
        self.difference_but(before, |_| false)
    }

    /// As [`difference_from`](Self::difference_from), without pulled images, which may stay.
    pub fn leaks_since(&self, before: &Snapshot) -> Vec<String> {
        self.difference_but(before, leak::is_image_store)
    }

    /// As [`difference_from`](Self::difference_from), without the lines that are `expected`.
    fn difference_but(&self, before: &Snapshot, expected: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10) * patience();
        leak::await_monitors(deadline);
        loop {
            let mut lines = before.difference(&self.snapshot());
            lines.retain(|line| !expected(line));
            if lines.is_empty() || Instant::now() > deadline {
                return lines;
            }
            // The kernel takes network namespaces apart in a work queue of its own that nobody
            // can wait for, so the only way to see the end is to look again.
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Panics with one line for everything on the machine that was not there when this host was
    /// made. Images (layers, blobs, their rows) may stay; containers, volumes, staging may not.
    pub fn assert_nothing_left_behind(&self) {
        let leaks = self.leaks_since(&self.before);
        assert!(leaks.is_empty(), "left behind:\n{leaks:#?}");
    }

    /// As [`Host::assert_nothing_left_behind`] and against another start, images included.
    pub fn assert_unchanged_since(&self, before: &Snapshot) {
        let lines = self.difference_from(before);
        assert!(lines.is_empty(), "changed:\n{lines:#?}");
    }

    /// What keeps the machine clean when a test fails half-way: this test's containers go, by
    /// rocker's own means and, where these fail, by the kernel's.
    fn sweep(&self) {
        let listed = self.command(["ps", "-aq"]).quiet().run();
        for id in listed.stdout.split_whitespace() {
            self.command(["rm", "-f", id]).quiet().run();
        }
        leak::kill_what_is_left(&self.ids());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.sweep();
        }
        isolation::unmount_tmpfs(&self.runroot());
    }
}

/// Runs a program of the machine in this thread's namespaces and returns its stdout; panics
/// unless it succeeds.
pub fn run_program(words: &[&str]) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
