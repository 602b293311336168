use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::patience;
use super::terminal::Terminal;
use super::transcript::Transcript;

/// How long a command may take when the test does not say otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long a stream may stay open after its program has ended: long enough for any scheduler,
/// short enough to notice a monitor that holds the caller's stdout.
const STREAM_LIMIT: Duration = Duration::from_secs(5);

/// How a command ended and what it said.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// The words after `rocker`.
    pub words: Vec<String>,
    /// The exit code, or minus the signal's number.
    pub exit_code: i32,
    /// stdout, invalid UTF-8 replaced.
    pub stdout: String,
    /// stderr, invalid UTF-8 replaced.
    pub stderr: String,
    /// stdout as it came.
    pub stdout_bytes: Vec<u8>,
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n  command: rocker {}", self.words.join(" "))?;
        writeln!(formatter, "  exit code: {}", self.exit_code)?;
        writeln!(formatter, "  stdout: {}", self.stdout.trim_end())?;
        write!(formatter, "  stderr: {}", self.stderr.trim_end())
    }
}

/// A `rocker` command line under construction.
#[derive(Debug)]
pub struct RockerCommand {
    command: Command,
    stdin: Option<Vec<u8>>,
    time_limit: Duration,
    quiet: bool,
}

impl RockerCommand {
    pub(super) fn new(binary: &Path) -> Self {
        let mut command = Command::new(binary);
        // What the developer has set must not decide what a test sees.
        for name in [
            "ROCKER_CRASH_AT",
            "ROCKER_ROOT",
            "ROCKER_RUNROOT",
            "ROCKER_CONFIG",
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "CONTAINERS_REGISTRIES_CONF",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "NO_COLOR",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "no_proxy",
        ] {
            command.env_remove(name);
        }
        Self {
            command,
            stdin: None,
            time_limit: TIME_LIMIT,
            quiet: false,
        }
    }

    /// Adds a word.
    #[must_use]
    pub fn arg(mut self, word: &str) -> Self {
        self.command.arg(word);
        self
    }

    /// Adds words.
    #[must_use]
    pub fn args<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of rocker's own environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives these bytes on stdin, then its end. Without this, stdin is `/dev/null`.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Allows this much time instead of a minute.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Does not panic when the time is over; the exit code is then -9.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    pub(super) fn words(&self) -> Vec<String> {
        self.command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    pub(super) fn program_and_args(&self) -> Vec<OsString> {
        std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(OsString::from)
            .collect()
    }

    pub(super) fn environment(&self) -> Vec<(OsString, Option<OsString>)> {
        self.command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(OsString::from)))
            .collect()
    }

    /// Starts it and returns at once.
    pub fn spawn(mut self) -> Spawned {
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let words = self.words();
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the rocker binary starts");
        if let (Some(bytes), Some(mut stdin)) = (self.stdin.take(), child.stdin.take()) {
            // In a thread: a program that does not read must not block the test. It may also
            // close its stdin early, which is its right.
            std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        let stdout = Transcript::read_from(child.stdout.take().expect("a piped stdout"));
        let stderr = Transcript::read_from(child.stderr.take().expect("a piped stderr"));
        Spawned {
            child,
            words,
            stdout,
            stderr,
            deadline: Instant::now() + self.time_limit * patience(),
            quiet: self.quiet,
        }
    }

    /// Starts it on a terminal of its own.
    pub fn at_terminal(self) -> Terminal {
        Terminal::start(&self)
    }

    /// Runs it to its end.
    pub fn run(self) -> Output {
        self.spawn().finish()
    }
}

/// A `rocker` that is running.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    words: Vec<String>,
    stdout: Transcript,
    stderr: Transcript,
    deadline: Instant,
    quiet: bool,
}

impl Spawned {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        pid_of(&self.child).as_raw_nonzero().get()
    }

    /// Waits until `text` appears on stdout, after everything awaited before.
    pub fn await_stdout(&self, text: &str) {
        let came = self.stdout.await_text(text, self.deadline);
        assert!(
            came,
            "rocker {:?} did not print {text:?}: {:?} {:?}",
            self.words,
            self.stdout.text(),
            self.stderr.text()
        );
    }

    /// Waits until `text` appears on stderr, after everything awaited before.
    pub fn await_stderr(&self, text: &str) {
        let came = self.stderr.await_text(text, self.deadline);
        assert!(
            came,
            "rocker {:?} did not say {text:?}: {:?} {:?}",
            self.words,
            self.stdout.text(),
            self.stderr.text()
        );
    }

    /// Sends a signal to the rocker process itself.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits for its end; panics (after killing it) when its time is over.
    pub fn finish(mut self) -> Output {
        let ended = await_exit(&self.child, self.deadline);
        if !ended {
            send(&self.child, Signal::KILL);
        }
        let status = self
            .child
            .wait()
            .expect("a child of ours can be waited for");
        let stream_deadline = Instant::now() + STREAM_LIMIT * patience();
        let closed =
            self.stdout.await_end(stream_deadline) && self.stderr.await_end(stream_deadline);
        let output = Output {
            words: self.words,
            exit_code: exit_code(status),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            stdout_bytes: self.stdout.bytes(),
        };
        assert!(ended || self.quiet, "did not end in time: {output:?}");
        assert!(
            closed || self.quiet,
            "somebody holds stdout or stderr after rocker ended: {output:?}"
        );
        output
    }
}

pub(super) fn send(child: &Child, signal: Signal) {
    // The process is our child and not yet reaped, so its number cannot be a stranger's; it
    // may have ended by itself, and then the signal goes nowhere.
    let _ = rustix::process::kill_process(pid_of(child), signal);
}

pub(super) fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or(status.signal().map(|signal| -signal))
        .unwrap_or(i32::MIN)
}

fn pid_of(child: &Child) -> Pid {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child has a process id")
}

/// Waits by pidfd until `child` has ended.
pub(super) fn await_exit(child: &Child, deadline: Instant) -> bool {
    let pidfd = pidfd_open(pid_of(child), PidfdFlags::empty()).expect("a pidfd of a child");
    poll_until(&pidfd, deadline)
}

/// The most memory, in bytes, that any program which this process started has had resident.
///
/// It only ever grows, and the kernel counts what a child shares with this process between fork
/// and execve: a bound that holds for it holds for every single program.
#[must_use]
pub fn largest_program() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("what children used is always told");
    u64::try_from(usage.max_rss()).unwrap_or_default() * 1024
}

/// A process that is not our child.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    /// Panics if none has this number.
    #[must_use]
    pub fn of(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).expect("the number of a process");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd of a running process");
        Self { pid, pidfd }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for its end; panics if that takes more than ten seconds.
    pub fn await_end(&self) {
        let deadline = Instant::now() + Duration::from_secs(10) * patience();
        assert!(poll_until(&self.pidfd, deadline), "{self:?} still runs");
    }
}

/// Ends processes with SIGKILL, all at once, and waits until the last is gone: `kill` alone
/// returns while they still hold their files and locks.
pub fn kill_and_wait(pids: &[i32]) {
    let all: Vec<_> = pids.iter().map(|pid| Process::of(*pid)).collect();
    for process in &all {
        // It may have ended with the one before it.
        let _ = rustix::process::pidfd_send_signal(&process.pidfd, Signal::KILL);
    }
    all.iter().for_each(Process::await_end);
}

/// Waits until `fd` is readable.
pub(crate) fn poll_until(fd: &impl std::os::fd::AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec::try_from(left).expect("a deadline within the range of the kernel's times");
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}
