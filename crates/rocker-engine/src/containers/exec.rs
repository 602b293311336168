//! `exec`.

use std::os::fd::OwnedFd;

use rocker_runtime::cgroup::{CgroupLayout, CgroupName};
use rocker_runtime::{Attachment, ExecSpec, ProcessSpec, Running, StdioFds, WindowSize};
use rocker_types::{CapabilitySet, ContainerQuery, ContainerStatus, UserSpec};

use crate::EngineError;
use crate::definition::Definition;
use crate::engine::Engine;
use crate::lifecycle::spec;

/// What to run in a running container. `None`: as the container's own program.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=VALUE` on top of the container's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Who runs it.
    pub user: Option<UserSpec>,
    /// With a terminal.
    pub tty: bool,
    /// Standard input is passed on.
    pub interactive: bool,
    /// Nobody waits for it.
    pub detach: bool,
    /// All capabilities, no seccomp filter.
    pub privileged: bool,
}

/// A program that runs in a container; this process is its parent.
#[derive(Debug)]
pub struct ExecSession {
    /// The program; [`Running::reap`] gives its exit status.
    pub running: Running,
    /// Our ends of its streams.
    pub streams: ExecStreams,
}

/// Our ends of a program's streams.
#[derive(Debug)]
pub enum ExecStreams {
    /// Nothing is passed on: it was detached.
    None,
    /// Without a terminal.
    Pipes {
        /// Where its input is written, if it was to have one.
        stdin: Option<OwnedFd>,
        /// Where its output is read.
        stdout: OwnedFd,
        /// Where its errors are read.
        stderr: OwnedFd,
    },
    /// The master of its terminal.
    Terminal(OwnedFd),
}

impl Engine {
    /// Starts a program in a running container. Unless it is detached, it dies with this
    /// process.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotRunning`], [`EngineError::Paused`], [`EngineError::Exec`].
    pub fn exec(
        &mut self,
        query: &ContainerQuery,
        request: &ExecRequest,
    ) -> Result<ExecSession, EngineError> {
        let row = self.live.find(query)?;
        let container = row.name.to_string();
        // starts this program anew unless it runs from a descriptor that nothing can write
        rocker_runtime::executable::ensure_protected()
            .map_err(|source| EngineError::Protect { source })?;
        if row.state.status == ContainerStatus::Paused {
            return Err(EngineError::Paused { container });
        }
        let running = row
            .state
            .init
            .filter(|_| row.state.status == ContainerStatus::Running);
        let (target_pid, start_time_ticks) = running.ok_or_else(|| EngineError::NotRunning {
            container: container.clone(),
        })?;
        let definition = self.definition(&row)?;
        let exec = ExecSpec {
            target_pid,
            start_time_ticks,
            process: process(request, &definition)?,
            seccomp: if request.privileged {
                rocker_runtime::seccomp::SeccompPolicy::Unconfined
            } else {
                spec::seccomp(&definition)
            },
            cgroup: CgroupName::new(&row.id),
            attachment: if request.detach {
                Attachment::Detached
            } else {
                Attachment::DiesWithCaller
            },
        };
        let layout = CgroupLayout::detect().map_err(|source| EngineError::Cgroups { source })?;
        let (stdio, pipes) = stdio(request)?;
        let mut running =
            rocker_runtime::exec(&exec, &layout, stdio).map_err(|source| EngineError::Exec {
                container,
                source: Box::new(source),
            })?;
        let streams = running.take_terminal().map_or(pipes, ExecStreams::Terminal);
        Ok(ExecSession { running, streams })
    }
}

/// The container's own process, with the request's words in their places.
fn process(request: &ExecRequest, definition: &Definition) -> Result<ProcessSpec, EngineError> {
    let capabilities = if request.privileged {
        CapabilitySet::ALL
    } else {
        definition.capabilities
    };
    let mut env = definition.env.clone();
    if request.tty && !env.iter().any(|known| known.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    crate::resolve::set_variables(&mut env, &request.env)?;
    Ok(ProcessSpec {
        argv: request.argv.clone(),
        env,
        cwd: crate::resolve::exec_working_dir(
            request.working_dir.as_deref(),
            &definition.working_dir,
        )?,
        user: request
            .user
            .clone()
            .unwrap_or_else(|| definition.user.clone()),
        extra_groups: Vec::new(),
        capabilities,
        ambient_capabilities: spec::ambient(definition),
        no_new_privileges: false,
        rlimits: spec::rlimits(definition),
        oom_score_adj: None,
        terminal: (request.tty && !request.detach).then(WindowSize::default),
        init: false,
        umask: 0o022,
    })
}

fn stdio(request: &ExecRequest) -> Result<(StdioFds, ExecStreams), EngineError> {
    let null = || -> Result<OwnedFd, EngineError> {
        let file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null");
        Ok(OwnedFd::from(
            file.map_err(EngineError::file("open", "/dev/null"))?
                .into_parts()
                .0,
        ))
    };
    if request.detach {
        return Ok((
            StdioFds {
                stdin: null()?,
                stdout: null()?,
                stderr: null()?,
            },
            ExecStreams::None,
        ));
    }
    let pipe = || {
        std::io::pipe()
            .map(|(r, w)| (OwnedFd::from(r), OwnedFd::from(w)))
            .map_err(|source| EngineError::Pipe { source })
    };
    let (stdin, our_stdin) = if request.interactive && !request.tty {
        let (theirs, ours) = pipe()?;
        (theirs, Some(ours))
    } else {
        (null()?, None)
    };
    let (our_stdout, stdout) = pipe()?;
    let (our_stderr, stderr) = pipe()?;
    let ours = ExecStreams::Pipes {
        stdin: our_stdin,
        stdout: our_stdout,
        stderr: our_stderr,
    };
    Ok((
        StdioFds {
            stdin,
            stdout,
            stderr,
        },
        ours,
    ))
}
