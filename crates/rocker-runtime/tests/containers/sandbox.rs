//! Containers for tests: a root made of busybox, pipes, and nothing left behind.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocker_runtime::cgroup::{CgroupLayout, CgroupName, DeviceRules, Limits};
use rocker_runtime::seccomp::SeccompPolicy;
use rocker_runtime::{
    Attachment, CgroupSpec, ContainerSpec, CreateError, ExecSpec, ExitStatus, NetworkNamespace,
    ProcessSpec, RootfsSpec, Running, SecuritySpec, StartError, StdioFds, create, exec,
};
use rocker_types::{CapabilitySet, ContainerId, UserSpec};

/// A directory with a busybox image, upper and work directories, and a victim that no container
/// may ever touch.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    /// How many specifications were made: each has its own upper directory.
    specs: Cell<u32>,
    pub(crate) id: ContainerId,
    pub(crate) layout: CgroupLayout,
}

/// What a container left in its pipes and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A container whose program runs.
pub(crate) struct Live {
    pub(crate) running: Running,
    pub(crate) stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Sandbox {
    /// An image of busybox with `/etc/passwd` and `/etc/group`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["image", "image/bin", "image/etc", "image/tmp", "victim"] {
            fs_err::create_dir(dir.path().join(name)).unwrap();
        }
        let sandbox = Self {
            dir,
            specs: Cell::new(0),
            id: random_id(),
            layout: CgroupLayout::detect().unwrap(),
        };
        let busybox = sandbox.image("bin/busybox");
        fs_err::copy("/bin/busybox", &busybox).unwrap();
        let list = Command::new(&busybox).arg("--list").output().unwrap();
        for applet in String::from_utf8(list.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", sandbox.image("bin").join(applet)).unwrap();
            }
        }
        sandbox.write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
        );
        sandbox.write(
            "etc/group",
            "root:x:0:\nme:x:1000:\nextra:x:2000:me\nwheel:x:10:root\n",
        );
        fs_err::write(sandbox.victim().join("secret"), "secret").unwrap();
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn image(&self, path: &str) -> PathBuf {
        self.path().join("image").join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs_err::write(self.image(path), text).unwrap();
    }

    /// What the last specification's container wrote.
    pub(crate) fn upper(&self) -> PathBuf {
        self.path().join(format!("upper{}", self.specs.get()))
    }

    pub(crate) fn victim(&self) -> PathBuf {
        self.path().join("victim")
    }

    /// The victim holds exactly what it held at the start.
    pub(crate) fn assert_victim_untouched(&self) {
        let names: Vec<_> = fs_err::read_dir(self.victim())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        let secret = fs_err::read_to_string(self.victim().join("secret")).unwrap();
        assert_eq!(secret, "secret");
    }

    /// A container on an overlay of the image, confined as by default.
    pub(crate) fn spec(&self, argv: &[&str]) -> ContainerSpec {
        let number = self.specs.get() + 1;
        self.specs.set(number);
        let (upper, work) = (
            self.path().join(format!("upper{number}")),
            self.path().join(format!("work{number}")),
        );
        fs_err::create_dir(&upper).unwrap();
        fs_err::create_dir(&work).unwrap();
        ContainerSpec {
            id: self.id.clone(),
            rootfs: RootfsSpec::Overlay {
                lowers: vec![self.image("")],
                upper,
                work,
                volatile: true,
                read_only: false,
            },
            mounts: Vec::new(),
            process: process(argv),
            hostname: Some("box".into()),
            network: NetworkNamespace::New,
            cgroup: CgroupSpec {
                name: CgroupName::new(&self.id),
                limits: Limits::default(),
                devices: DeviceRules::default(),
            },
            security: SecuritySpec::confined(SeccompPolicy::Default),
            sysctls: Vec::new(),
            shm_bytes: 64 << 20,
        }
    }

    /// Runs a shell script in a default container.
    pub(crate) fn sh(&self, script: &str) -> Output {
        self.run(&self.spec(&["sh", "-c", script]))
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, spec: &ContainerSpec) -> Output {
        match self.start(spec) {
            Ok(live) => live.finish(),
            Err(error) => panic!("{}", chain(&error)),
        }
    }

    /// Starts a container.
    pub(crate) fn start(&self, spec: &ContainerSpec) -> Result<Live, Failure> {
        let (pipes, ours) = pipes();
        let created = create(spec, &self.layout, pipes).map_err(Failure::Create)?;
        let running = created.start().map_err(Failure::Start)?;
        Ok(ours.live(running))
    }

    /// What `start` answers for a container that must not start; nothing is left of it.
    pub(crate) fn refusal(&self, spec: &ContainerSpec) -> Failure {
        match self.start(spec) {
            Ok(live) => panic!("started: {:?}", live.finish()),
            Err(error) => {
                self.assert_no_cgroup();
                self.assert_victim_untouched();
                error
            }
        }
    }

    /// No directory of this container's cgroup is left.
    pub(crate) fn assert_no_cgroup(&self) {
        let left = rocker_runtime::cgroup::Cgroup::open(&self.layout, &CgroupName::new(&self.id));
        assert!(!left.exists(), "{left:?}");
    }

    /// Another program in a running container.
    pub(crate) fn exec_spec(&self, live: &Live, argv: &[&str]) -> ExecSpec {
        ExecSpec {
            target_pid: live.running.pid(),
            start_time_ticks: live.running.start_time_ticks(),
            process: process(argv),
            seccomp: SeccompPolicy::Default,
            cgroup: CgroupName::new(&self.id),
            attachment: Attachment::DiesWithCaller,
        }
    }

    /// Runs a program in a running container to its end.
    pub(crate) fn exec(&self, spec: &ExecSpec) -> Output {
        let (pipes, ours) = pipes();
        match exec(spec, &self.layout, pipes) {
            Ok(running) => ours.live(running).finish(),
            Err(error) => panic!("{}", chain(&error)),
        }
    }
}

impl Drop for Sandbox {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        let cgroup = rocker_runtime::cgroup::Cgroup::open(&self.layout, &CgroupName::new(&self.id));
        if cgroup.exists() {
            let _ = cgroup.kill_all();
            let _ = cgroup.remove();
        }
    }
}

/// Why a container did not start.
#[derive(Debug)]
pub(crate) enum Failure {
    Create(CreateError),
    Start(StartError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Create(error) => error.source(),
            Self::Start(error) => error.source(),
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A program as `rocker run` would start it, as root of the container.
pub(crate) fn process(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        user: UserSpec::default(),
        extra_groups: Vec::new(),
        capabilities: CapabilitySet::DEFAULT,
        ambient_capabilities: CapabilitySet::EMPTY,
        no_new_privileges: false,
        rlimits: Vec::new(),
        oom_score_adj: None,
        terminal: None,
        init: false,
        umask: 0o022,
    }
}

fn random_id() -> ContainerId {
    let mut bytes = [0_u8; 32];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).unwrap();
    ContainerId::from_bytes(bytes)
}

/// Our ends of a container's pipes.
pub(crate) struct OurEnds {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

pub(crate) fn pipes() -> (StdioFds, OurEnds) {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (stdin, our_stdin) = pipe();
    let (our_stdout, stdout) = pipe();
    let (our_stderr, stderr) = pipe();
    (
        StdioFds {
            stdin,
            stdout,
            stderr,
        },
        OurEnds {
            stdin: our_stdin,
            stdout: our_stdout,
            stderr: our_stderr,
        },
    )
}

/// Our ends of the pipes of a program that somebody else started.
pub(crate) struct Streams(OurEnds);

impl Streams {
    pub(crate) fn line(&mut self) -> String {
        read_line(&self.0.stdout)
    }

    pub(crate) fn say(&mut self, text: &str) {
        // The reader may be dead already.
        let _ = rustix::io::write(&self.0.stdin, text.as_bytes());
    }

    pub(crate) fn rest(self) -> String {
        drop(self.0.stdin);
        let mut text = String::new();
        std::fs::File::from(self.0.stdout)
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

fn read_line(fd: &OwnedFd) -> String {
    let mut line = Vec::new();
    let mut byte = [0_u8; 1];
    while rustix::io::read(fd, &mut byte).unwrap() == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

impl OurEnds {
    pub(crate) fn reading(self) -> Streams {
        Streams(self)
    }

    pub(crate) fn live(self, running: Running) -> Live {
        Live {
            running,
            stdin: Some(self.stdin),
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

impl Live {
    /// Reads one line of its output.
    pub(crate) fn line(&mut self) -> String {
        read_line(&self.stdout)
    }

    /// Writes to its input.
    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.stdin.take().unwrap();
        let mut file = std::fs::File::from(stdin);
        file.write_all(text.as_bytes()).unwrap();
        self.stdin = Some(file.into());
    }

    /// Closes its input, reads its output and collects it.
    pub(crate) fn finish(mut self) -> Output {
        drop(self.stdin.take());
        let read = |fd: OwnedFd| {
            let mut bytes = Vec::new();
            std::fs::File::from(fd).read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (read(self.stdout), read(self.stderr));
        let (status, cgroup) = self.running.reap().unwrap();
        cgroup.remove().unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    }

    /// Collects it while its input is still open.
    pub(crate) fn reap(self) -> ExitStatus {
        let (status, cgroup) = self.running.reap().unwrap();
        cgroup.remove().unwrap();
        status
    }

    /// Kills it and collects it.
    pub(crate) fn kill(self) {
        self.running.signal(rocker_types::Signal::KILL).unwrap();
        self.finish();
    }
}
