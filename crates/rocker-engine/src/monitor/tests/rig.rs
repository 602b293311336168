//! A process that plays the container, its monitor in a thread, and clients.

use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pty::OpenptFlags;

use crate::control::{self, ControlListener, Event, Session, Wants};
use crate::logs::{LogFiles, LogLimits, LogReader, LogWriter, ReadOptions};
use crate::monitor::{Delivery, InputEnd, Streams, Supervision};

/// How long a test waits for what must happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// What kind of standard streams the process gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Pipes, its input too.
    Pipes,
    /// The same, and the pipe for its output holds 1 MiB.
    PipesWide,
    /// Pipes for output, nothing for input.
    NoInput,
    Terminal,
}

/// A watched process.
pub(super) struct Rig {
    directory: tempfile::TempDir,
    monitor: Option<JoinHandle<Delivery>>,
    pid: u32,
}

impl Rig {
    /// Starts `sh -c script`, and a monitor without a client.
    pub(super) fn detached(script: &str, shape: Shape, input_end: InputEnd) -> Self {
        Self::start(script, shape, input_end, None)
    }

    /// Starts `sh -c script`, a monitor, and the client in the foreground.
    pub(super) fn attached(script: &str, shape: Shape) -> (Self, Client) {
        let (client, monitor) = control::pair().unwrap();
        let rig = Self::start(script, shape, InputEnd::WithFirstClient, Some(monitor));
        let session = Session::from_fd(client, Wants::OutputAndStdin).unwrap();
        (rig, Client::new(session))
    }

    fn start(script: &str, shape: Shape, input_end: InputEnd, first: Option<OwnedFd>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = ControlListener::bind(&directory.path().join("control")).unwrap();
        let log = LogWriter::open(log_files(directory.path()), LogLimits::default()).unwrap();
        let (child, streams) = spawn(script, shape);
        let pid = child.id();
        let monitor = std::thread::spawn(move || {
            supervise(
                child,
                streams,
                listener,
                log,
                Attachment { input_end, first },
            )
        });
        Self {
            directory,
            monitor: Some(monitor),
            pid,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// Connects, and waits until the monitor has said welcome.
    pub(super) fn connect(&self, wants: Wants) -> Client {
        let mut client = Client::new(Session::connect(&self.socket(), wants).unwrap());
        client.until(|client| client.welcome);
        client
    }

    /// Waits for the end of the monitor.
    pub(super) fn ended(&mut self) -> Delivery {
        self.monitor.take().unwrap().join().unwrap()
    }

    pub(super) fn log(&self) -> (String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let files = log_files(self.directory.path());
        let mut reader = LogReader::open(files, ReadOptions::default()).unwrap();
        reader.copy_to(&mut stdout, &mut stderr).unwrap();
        (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    }

    pub(super) fn kill(&self) {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

impl Drop for Rig {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        if self.monitor.is_some() {
            self.kill();
        }
    }
}

fn log_files(directory: &Path) -> LogFiles {
    LogFiles::new(directory, "log")
}

fn spawn(script: &str, shape: Shape) -> (Child, Streams) {
    if shape == Shape::Terminal {
        return spawn_on_terminal(script);
    }
    let stdin = if shape == Shape::NoInput {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if shape == Shape::PipesWide {
        rustix::pipe::fcntl_setpipe_size(child.stdout.as_ref().unwrap(), 1 << 20).unwrap();
    }
    let streams = Streams::Pipes {
        stdin: child.stdin.take().map(OwnedFd::from),
        stdout: child.stdout.take().unwrap().into(),
        stderr: child.stderr.take().unwrap().into(),
    };
    (child, streams)
}

fn spawn_on_terminal(script: &str) -> (Child, Streams) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    let stdio = || Stdio::from(slave.try_clone().unwrap());
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "sh", "-c", script])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio());
    (command.spawn().unwrap(), Streams::Terminal(master))
}

struct Attachment {
    input_end: InputEnd,
    first: Option<OwnedFd>,
}

fn supervise(
    mut child: Child,
    streams: Streams,
    listener: ControlListener,
    mut log: LogWriter,
    attachment: Attachment,
) -> Delivery {
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let mut send = |signal: Signal| {
        let signal = rustix::process::Signal::from_named_raw(signal.number()).unwrap();
        rustix::process::pidfd_send_signal(&pidfd, signal).unwrap();
    };
    let supervision = Supervision {
        pidfd: pidfd.as_fd(),
        signal: &mut send,
        streams,
        input_end: attachment.input_end,
        log: Some(&mut log),
        listener: Some(&listener),
        first_client: attachment.first,
        companion: None,
    };
    let mut ended = supervision.supervise().unwrap();
    let status = child.wait().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let delivery = ended.tell_exit(status.code().or(signal.map(|number| 128 + number)).unwrap());
    ended.linger();
    delivery
}

/// A client that remembers what it was told.
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) welcome: bool,
    pub(super) stdin_closed: bool,
    pub(super) exit: Option<i32>,
    pub(super) hung_up: bool,
}

impl Client {
    fn new(session: Session) -> Self {
        Self {
            session,
            stdout: Vec::new(),
            stderr: Vec::new(),
            welcome: false,
            stdin_closed: false,
            exit: None,
            hung_up: false,
        }
    }

    /// Takes events until `done`.
    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(!self.hung_up, "the monitor hung up first");
            self.wait_readable(deadline);
            self.take_events();
        }
    }

    pub(super) fn until_stdout(&mut self, wanted: &str) {
        self.until(|client| String::from_utf8_lossy(&client.stdout).contains(wanted));
    }

    /// Takes everything there is until the end, and returns the exit code.
    pub(super) fn until_exit(&mut self) -> i32 {
        self.until(|client| client.exit.is_some());
        self.exit.unwrap()
    }

    pub(super) fn wait_readable(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap();
        let mut polled = [PollFd::new(&self.session, PollFlags::IN)];
        let ready = rustix::event::poll(&mut polled, Some(&timeout)).unwrap();
        assert!(ready > 0, "nothing happened for {PATIENCE:?}");
    }

    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.session.next().unwrap() {
            match event {
                Event::Stdout(bytes) => self.stdout.extend_from_slice(bytes),
                Event::Stderr(bytes) => self.stderr.extend_from_slice(bytes),
                Event::StdinReady => self.welcome = true,
                Event::StdinClosed => self.stdin_closed = true,
                Event::Exited(code) => self.exit = Some(code),
                Event::Closed => {
                    self.hung_up = true;
                    return;
                }
            }
        }
    }

    /// Sends all of `bytes`, taking events meanwhile.
    pub(super) fn type_in(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = self.session.send_stdin(rest).unwrap();
            rest = &rest[sent..];
            if !rest.is_empty() {
                self.until(|client| client.session.stdin_room() > 0);
            }
        }
    }
}

/// The value in KiB of a line of `/proc/self/status`.
pub(super) fn memory_kib(line: &str) -> u64 {
    let mut status = String::new();
    fs_err::File::open("/proc/self/status")
        .unwrap()
        .read_to_string(&mut status)
        .unwrap();
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line))
        .unwrap();
    value
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap()
}
