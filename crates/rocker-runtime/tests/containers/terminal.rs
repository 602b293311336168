//! Containers and sessions with a terminal of their own.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rocker_runtime::{ExitStatus, Running, WindowSize, create, exec};

use crate::harness::tests;
use crate::sandbox::{Sandbox, pipes};

tests!(
    a_container_has_a_terminal_of_its_own,
    a_session_has_a_terminal_of_its_own,
    ctrl_c_reaches_the_program_once_through_the_reaper,
    a_user_owns_the_terminal,
    the_callers_terminal_is_never_a_stream,
);

/// Reads until the other side is closed, which a terminal tells as an error.
fn read_all(master: OwnedFd) -> String {
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(master).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

fn end(running: Running) -> ExitStatus {
    let (status, cgroup) = running.reap().unwrap();
    cgroup.remove().unwrap();
    status
}

const SIZE: WindowSize = WindowSize {
    rows: 33,
    columns: 77,
};

fn a_container_has_a_terminal_of_its_own() {
    let sandbox = Sandbox::new();
    let script = "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; ls -1 /dev/pts; \
        stat -c %t:%T /dev/console; echo to-tty > /dev/tty; echo to-console > /dev/console";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.process.terminal = Some(SIZE);
    let (stdio, _ours) = pipes();
    let mut running = create(&spec, &sandbox.layout, stdio)
        .unwrap()
        .start()
        .unwrap();
    let master = running.take_terminal().unwrap();
    assert!(running.take_terminal().is_none());

    let text = read_all(master);

    let want = "/dev/pts/0\n33 77\nall\n0\nptmx\n88:0\nto-tty\nto-console\n";
    assert_eq!(text, want);
    assert_eq!(end(running), ExitStatus::Code(0));
}

fn a_session_has_a_terminal_of_its_own() {
    let sandbox = Sandbox::new();
    let mut live = sandbox
        .start(&sandbox.spec(&["sh", "-c", "echo up; read x"]))
        .unwrap();
    assert_eq!(live.line(), "up");
    let mut spec = sandbox.exec_spec(&live, &["sh", "-c", "tty; stty size; echo $$ > /dev/tty"]);
    spec.process.terminal = Some(SIZE);
    let (stdio, _ours) = pipes();
    let mut running = exec(&spec, &sandbox.layout, stdio).unwrap();
    let text = read_all(running.take_terminal().unwrap());
    assert!(text.starts_with("/dev/pts/0\n33 77\n"), "{text:?}");
    assert_eq!(text.lines().count(), 3, "{text:?}");
    assert_eq!(end(running), ExitStatus::Code(0));
    live.kill();
}

fn ctrl_c_reaches_the_program_once_through_the_reaper() {
    let sandbox = Sandbox::new();
    let script = "n=0; trap 'n=$((n+1))' INT; trap 'echo got $n; exit 4' TERM; echo up; \
        while :; do sleep 0.05; [ $n -gt 0 ] && sleep 0.2 && kill -TERM $$; done";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.process.terminal = Some(SIZE);
    spec.process.init = true;
    let (stdio, _ours) = pipes();
    let mut running = create(&spec, &sandbox.layout, stdio)
        .unwrap()
        .start()
        .unwrap();
    let mut master = std::fs::File::from(running.take_terminal().unwrap());
    let mut up = [0_u8; 4];
    master.read_exact(&mut up).unwrap();
    master.write_all(&[3]).unwrap();
    let text = read_all(master.into());
    assert!(text.ends_with("got 1\n"), "{text:?}");
    assert_eq!(end(running), ExitStatus::Code(4));
}

fn a_user_owns_the_terminal() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "stat -c '%u %a' $(tty); echo x > $(tty)"]);
    spec.process.terminal = Some(SIZE);
    spec.process.user = "me".parse().unwrap();
    let (stdio, _ours) = pipes();
    let mut running = create(&spec, &sandbox.layout, stdio)
        .unwrap()
        .start()
        .unwrap();
    assert_eq!(read_all(running.take_terminal().unwrap()), "1000 620\nx\n");
    assert_eq!(end(running), ExitStatus::Code(0));
}

fn the_callers_terminal_is_never_a_stream() {
    let sandbox = Sandbox::new();
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    let (mut stdio, _ours) = pipes();
    stdio.stdin = slave;
    let error = create(&sandbox.spec(&["true"]), &sandbox.layout, stdio).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a terminal was to become a stream of the container"
    );
    sandbox.assert_no_cgroup();
}
