//! One start: from a definition to a running program.

use std::os::fd::OwnedFd;

use rocker_db::StartedRecord;
use rocker_net::{Attachment, HostInterface, PortForwarder};
use rocker_runtime::cgroup::CgroupLayout;
use rocker_runtime::{Created, Running, StdioFds};
use rocker_types::PublishedPort;

use super::{Watch, files, spec};
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::definition::{Definition, NetworkMode};
use crate::engine::Engine;
use crate::logs::{LogLimits, LogWriter};
use crate::monitor::Streams;
use crate::{EngineError, network};

/// A container whose program runs, and what its monitor holds of it.
pub(super) struct Live {
    pub(super) running: Running,
    pub(super) streams: Streams,
    pub(super) forwarder: Option<PortForwarder>,
    /// Its place on the bridge.
    pub(super) interface: Option<HostInterface>,
    pub(super) log: LogWriter,
    pub(super) restarts: u32,
    /// Open, where the end is to be told at once.
    pub(super) engine: Option<Engine>,
}

/// Starts the container. What is half made after an error is undone by `finish`.
pub(super) fn start(
    engine: &mut Engine,
    watch: &Watch,
    restarts: u32,
) -> Result<Live, EngineError> {
    let definition = &watch.definition;
    let attachment = attachment(engine, watch)?;
    let forwarder = attachment
        .as_ref()
        .map(|attachment| bind(engine, watch, attachment))
        .transpose()?;
    let attachment = match (attachment, &forwarder) {
        (Some(attachment), Some(forwarder)) => Some(Attachment {
            ports: forwarder.ports().to_vec(),
            ..attachment
        }),
        (attachment, _) => attachment,
    };
    crash::point(CrashPoint::MonitorAfterPorts);
    let names = files::NameFiles {
        address: attachment.as_ref().map(|a| a.address),
        gateway: attachment.as_ref().map(|a| a.bridge.gateway),
    };
    files::write_names(&watch.layout, &watch.id, definition, &names)?;
    let log = open_log(watch)?;

    let cgroups = CgroupLayout::detect().map_err(|source| EngineError::Cgroups { source })?;
    let container = spec::container(&watch.layout, &watch.id, definition, watch.oom_score_adj)?;
    let (stdio, pipes) = stdio(definition)?;
    let created = rocker_runtime::create(&container, &cgroups, stdio)
        .map_err(|error| EngineError::Create(Box::new(error)))?;
    crash::point(CrashPoint::MonitorAfterCreate);
    let interface = match connect(engine, watch, &created, attachment.as_ref()) {
        Ok(interface) => interface,
        Err(error) => {
            created.abort();
            return Err(error);
        }
    };
    crash::point(CrashPoint::MonitorAfterNetwork);
    let mut running = created
        .start()
        .map_err(|error| EngineError::Start(Box::new(error)))?;
    crash::point(CrashPoint::MonitorAfterStart);
    record(engine, watch, &running, restarts)?;
    let streams = running.take_terminal().map_or(pipes, Streams::Terminal);
    Ok(Live {
        running,
        streams,
        forwarder,
        interface,
        log,
        restarts,
        engine: None,
    })
}

/// What the container has on the bridge, from what the command line claimed.
fn attachment(engine: &Engine, watch: &Watch) -> Result<Option<Attachment>, EngineError> {
    if watch.definition.network != NetworkMode::Bridge {
        return Ok(None);
    }
    network::attachment(engine, &watch.id)
}

/// Takes the host's ports, before anything of the container exists.
fn bind(
    engine: &mut Engine,
    watch: &Watch,
    attachment: &Attachment,
) -> Result<PortForwarder, EngineError> {
    let known = engine.live.ports_of(&watch.id)?;
    let ports = with_known_numbers(&watch.definition.ports, &known);
    let forwarder =
        PortForwarder::bind(&ports, attachment.address).map_err(|source| EngineError::Publish {
            container: watch.name.clone(),
            source: Box::new(source),
        })?;
    let chosen: Vec<_> = forwarder
        .ports()
        .iter()
        .filter(|port| !known.contains(port))
        .collect();
    if !chosen.is_empty() {
        let tx = engine.live.begin()?;
        for port in chosen {
            tx.publish(&watch.id, port)?;
        }
        tx.commit()?;
    }
    Ok(forwarder)
}

/// A restart keeps the numbers that the first start got: ports `asked` for without a number get
/// one of those `known` that nobody asked for by number, each only once.
fn with_known_numbers(asked: &[PublishedPort], known: &[PublishedPort]) -> Vec<PublishedPort> {
    let mut chosen: Vec<_> = known
        .iter()
        .filter(|port| !asked.contains(port))
        .copied()
        .collect();
    let number = |port: &PublishedPort| {
        let without_number = |known: &PublishedPort| PublishedPort {
            host_port: 0,
            ..*known
        };
        let found = chosen
            .iter()
            .position(|known| without_number(known) == *port);
        found.map_or(*port, |at| chosen.remove(at))
    };
    asked.iter().map(number).collect()
}

fn connect(
    engine: &Engine,
    watch: &Watch,
    created: &Created,
    attachment: Option<&Attachment>,
) -> Result<Option<HostInterface>, EngineError> {
    match (attachment, watch.definition.network) {
        (Some(attachment), _) => {
            let attached = rocker_net::attach(attachment, created.netns()).map_err(|source| {
                EngineError::Attach {
                    container: watch.name.clone(),
                    source: Box::new(source),
                }
            })?;
            if attached.rules_were_lost {
                crate::network::restore_others(engine, &watch.id)?;
            }
            Ok(Some(attached.interface))
        }
        (None, NetworkMode::None | NetworkMode::Bridge) => rocker_net::loopback_up(created.netns())
            .map(|()| None)
            .map_err(|source| EngineError::Loopback {
                container: watch.name.clone(),
                source: Box::new(source),
            }),
        (None, NetworkMode::Host) => Ok(None),
    }
}

/// The program's three descriptors and our ends of them; with a terminal they are unused.
fn stdio(definition: &Definition) -> Result<(StdioFds, Streams), EngineError> {
    let pipe = || {
        std::io::pipe()
            .map(|(r, w)| (OwnedFd::from(r), OwnedFd::from(w)))
            .map_err(|source| EngineError::Pipe { source })
    };
    let (stdin, our_stdin) = if definition.open_stdin && !definition.tty {
        let (theirs, ours) = pipe()?;
        (theirs, Some(ours))
    } else {
        let null =
            fs_err::File::open("/dev/null").map_err(EngineError::file("open", "/dev/null"))?;
        (OwnedFd::from(null.into_parts().0), None)
    };
    let (our_stdout, stdout) = pipe()?;
    let (our_stderr, stderr) = pipe()?;
    let streams = Streams::Pipes {
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
        streams,
    ))
}

fn open_log(watch: &Watch) -> Result<LogWriter, EngineError> {
    let files = crate::containers::log_files(&watch.layout, &watch.id);
    LogWriter::open(files, LogLimits::default()).map_err(|source| EngineError::OpenLog {
        container: watch.name.clone(),
        source,
    })
}

/// The program runs: live at once, and durable before anybody is told.
fn record(
    engine: &mut Engine,
    watch: &Watch,
    running: &Running,
    restarts: u32,
) -> Result<(), EngineError> {
    let started = StartedRecord {
        init: (running.pid(), running.start_time_ticks()),
        monitor: own_identity()?,
        started_ns: now_ns(),
        restarts,
    };
    let tx = engine.live.begin()?;
    tx.record_start(&watch.id, &started)?;
    tx.commit()?;
    crash::point(CrashPoint::MonitorAfterRecord);
    if watch.kept {
        engine.write_down(&watch.id)?;
    }
    crash::point(CrashPoint::MonitorAfterDurable);
    Ok(())
}

fn own_identity() -> Result<(i32, u64), EngineError> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let start = rocker_sys::process::start_time_ticks(pid)
        .map_err(|source| EngineError::Spawn { source })?;
    Ok((pid, start))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rocker_types::Protocol;

    use super::*;

    fn port(host_port: u16, container_port: u16) -> PublishedPort {
        PublishedPort {
            host_ip: Ipv4Addr::UNSPECIFIED,
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn a_port_without_a_number_gets_no_number_that_was_asked_for() {
        let asked = [port(8080, 80), port(0, 80), port(0, 80), port(0, 81)];

        let first = with_known_numbers(&asked, &[port(8080, 80)]);
        let restarted = [port(8080, 80), port(30000, 80), port(30001, 80)];
        let again = with_known_numbers(&asked, &restarted);

        assert_eq!(first, asked);
        assert_eq!(
            again,
            [
                port(8080, 80),
                port(30000, 80),
                port(30001, 80),
                port(0, 81)
            ]
        );
    }
}
