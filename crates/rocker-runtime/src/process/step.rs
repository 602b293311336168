//! The steps of init, by name: what crosses the socket when one of them fails.

use std::fmt;
use std::io;

/// Defines the enum, its wire numbers and its phrases in one table.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $phrase:literal;)*) => {
        /// What init (or an exec session) was doing when it failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum InitStep { $($(#[$doc])* $name = $number),* }

        impl InitStep {
            /// Every step, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn phrase(self) -> &'static str {
                match self { $(Self::$name => $phrase),* }
            }

            /// The step with this wire number.
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

steps! {
    /// Entering the cgroup; the object is the controller's file.
    JoinCgroup = 1, "cannot join cgroup";
    /// Leaving the shared cgroup namespace or joining one by setns.
    Namespace = 2, "cannot enter namespaces";
    /// Cutting the mount namespace off from the host's.
    IsolateMounts = 3, "cannot isolate mounts";
    /// The object is the host path.
    OpenSource = 4, "cannot open mount source";
    /// The object says which part.
    MountRootfs = 5, "cannot mount root file system:";
    /// A directory of the image is a link or a file where only a directory is safe.
    RefuseDirectory = 6, "image refused: not a real directory:";
    /// Making a mount's target.
    CreateTarget = 7, "cannot create mount target";
    /// The object is the path in the container.
    Mount = 8, "cannot mount";
    /// A mount would cover part of /proc.
    RefuseTarget = 9, "mount refused, its target lies in /proc or /sys:";
    /// Device nodes and links in /dev.
    CreateDevice = 10, "cannot create device";
    /// Read-only paths.
    ProtectPath = 11, "cannot make read-only";
    /// Masked paths.
    MaskPath = 12, "cannot mask";
    /// Allocating or attaching the terminal.
    Terminal = 13, "cannot set up terminal:";
    /// sethostname(2).
    Hostname = 14, "cannot set hostname";
    /// The object is the setting.
    Sysctl = 15, "cannot set kernel setting";
    /// pivot_root(2) and dropping the old root.
    PivotRoot = 16, "cannot change root:";
    /// A passwd or group file that is no plain, small file.
    ReadUsers = 17, "image refused: cannot read";
    /// A name that the container's passwd file does not hold.
    FindUser = 18, "no such user in the container's /etc/passwd:";
    /// A name that the container's group file does not hold.
    FindGroup = 19, "no such group in the container's /etc/group:";
    /// The object is the limit.
    Rlimit = 20, "cannot set resource limit";
    /// keyctl(2).
    Keyring = 21, "cannot create session keyring";
    /// `/proc/self/oom_score_adj`.
    OomScore = 22, "cannot set OOM score";
    /// Making or entering the working directory.
    WorkingDirectory = 23, "cannot use working directory";
    /// The working directory lies outside the container.
    RefuseWorkingDirectory = 24, "working directory refused, it leaves the container:";
    /// Groups, uid, gid.
    SwitchUser = 25, "cannot switch to user";
    /// Capability sets.
    Capabilities = 26, "cannot set capabilities:";
    /// What was read back is not what was set.
    Verify = 27, "confinement is not what was asked:";
    /// `no_new_privs`.
    NoNewPrivileges = 28, "cannot set no_new_privs";
    /// Loading the filter.
    Seccomp = 29, "cannot load seccomp filter";
    /// Streams and descriptors.
    Stdio = 30, "cannot set up standard streams:";
    /// Signal masks, dispositions, parent death signal.
    Signals = 31, "cannot set up signals:";
    /// Starting the process inside the container.
    Fork = 32, "cannot start process in container";
    /// execve(2); the object is the program.
    Execute = 33, "cannot run";
    /// A program that is nowhere in `PATH`; the object is program and path.
    FindProgram = 34, "program not found:";
    /// Making `/` read-only.
    ReadOnlyRoot = 35, "cannot make the root file system read-only";
}

/// A step of init that failed: enough to rebuild a real error on the host's side.
#[derive(Debug)]
pub struct InitFailure {
    /// What was being done.
    pub step: InitStep,
    /// What it was done to; may be empty.
    pub object: String,
    /// The kernel's answer; `None` when rocker itself refused.
    pub source: Option<io::Error>,
}

/// Names the step in which a system call failed.
pub(crate) trait At<T> {
    /// `object` is what the step was done to.
    fn at(self, step: InitStep, object: &str) -> Result<T, InitFailure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: InitStep, object: &str) -> Result<T, InitFailure> {
        self.map_err(|source| InitFailure {
            step,
            object: object.to_owned(),
            source: Some(source.into()),
        })
    }
}

impl InitFailure {
    /// A failure without an answer of the kernel's: rocker refuses.
    pub(crate) fn refusal(step: InitStep, object: impl Into<String>) -> Self {
        Self {
            step,
            object: object.into(),
            source: None,
        }
    }

    /// The raw error number, 0 when rocker itself refused.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let raw = self.source.as_ref().and_then(io::Error::raw_os_error);
        raw.unwrap_or(0)
    }
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.phrase())?;
        if self.object.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.object.escape_debug())
    }
}

impl std::error::Error for InitFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
