//! run, create, start, stop, kill, wait, rm, ps: what a container's life looks like from outside.

use std::time::Duration;

use rocker_testkit::require;
use rustix::process::Signal;

use crate::{HONOURS_TERM, host, inspect, shell};

#[test]
fn run_exits_with_the_exit_code_of_the_containers_program() {
    let host = require!(host());
    let image = host.busybox();

    for code in [0, 1, 7, 125, 255] {
        let script = format!("exit {code}");
        let output = host.rocker(shell(&[], &image, &script));
        assert_eq!(output.exit_code, code, "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_that_cannot_start_is_126_or_127_and_leaves_nothing() {
    let host = require!(host());
    let image = host.busybox();

    for (program, code) in [
        ("/no/such/program", 127),
        ("nosuchprogram", 127),
        ("/etc", 126),
        ("/etc/passwd", 126),
    ] {
        for flags in [&["run", "--rm"][..], &["run", "--rm", "-d"]] {
            let output = host.rocker(flags.iter().copied().chain([image.as_str(), program]));
            assert_eq!(output.exit_code, code, "{output:?}");
            assert_eq!(output.stdout, "", "{output:?}");
            assert!(output.stderr.contains(program), "{output:?}");
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_ended_by_a_signal_is_128_plus_its_number() {
    let host = require!(host());
    let image = host.busybox();

    for (signal, code) in [
        ("KILL", "137"),
        ("TERM", "143"),
        ("9", "137"),
        ("SIGINT", "130"),
    ] {
        // The shell resets what pid 1 would ignore by having a child that dies of the signal.
        let id = host.ok(["run", "-d", "--init", &image, "sleep", "1000"]);
        host.ok(["kill", "-s", signal, &id]);
        assert_eq!(host.ok(["wait", &id]), code, "{signal}");
        host.ok(["rm", &id]);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn stdout_and_stderr_stay_apart_and_stdin_arrives_byte_for_byte() {
    let host = require!(host());
    let image = host.busybox();
    let bytes: Vec<u8> = (0..1_000_003_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();

    let apart = host.rocker(shell(&[], &image, "echo out; echo err >&2"));
    let echoed = host
        .command(["run", "--rm", "-i", &image, "cat"])
        .stdin(bytes.clone())
        .run();
    let without_stdin = host
        .command(["run", "--rm", &image, "cat"])
        .stdin("not for the container")
        .run();

    assert_eq!(
        (apart.stdout.as_str(), apart.stderr.as_str()),
        ("out\n", "err\n"),
        "{apart:?}"
    );
    assert_eq!(echoed.exit_code, 0, "{}", echoed.stderr);
    assert!(
        echoed.stdout_bytes == bytes,
        "{} of {} bytes came back",
        echoed.stdout_bytes.len(),
        bytes.len()
    );
    assert_eq!(
        (without_stdin.exit_code, without_stdin.stdout.as_str()),
        (0, ""),
        "{without_stdin:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_created_container_sees_the_end_of_the_input_of_start() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok(["create", "-i", "--name", "cat", &image, "cat"]);

    for text in ["first\n", "second\n"] {
        let output = host
            .command(["start", "-ai", "cat"])
            .stdin(text)
            .time_limit(Duration::from_secs(20))
            .run();
        assert_eq!(
            (output.exit_code, output.stdout.as_str()),
            (0, text),
            "{output:?}"
        );
    }

    assert_eq!(inspect(&host, &id, "{{.Config.StdinOnce}}"), "true");
    host.ok(["rm", "cat"]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_the_flags_say_is_what_the_program_sees() {
    let host = require!(host());
    let image = host.busybox();

    for (flags, script, expected) in [
        (&["-e", "A=1", "--env", "B=x y"][..], "echo $A-$B", "1-x y"),
        (&["-w", "/made/on/demand"], "pwd", "/made/on/demand"),
        (&["-u", "1000"], "id -u; id -g", "1000\n1000"),
        (&["-u", "user"], "id -un; echo $HOME", "user\n/home/user"),
        (
            &["-u", "1234:5678"],
            "id -u; id -g; id -G",
            "1234\n5678\n5678",
        ),
        (
            &["--hostname", "box"],
            "hostname; cat /etc/hostname; grep -c box /etc/hosts",
            "box\nbox\n1",
        ),
        (&["-h", "my_box.example"], "hostname", "my_box.example"),
        (
            &["--read-only"],
            "touch /x 2>/dev/null || echo refused",
            "refused",
        ),
        (
            &["--read-only", "--tmpfs", "/tmp"],
            "touch /tmp/x && echo written",
            "written",
        ),
        (
            &["--tmpfs", "/t:size=1m,mode=700"],
            "stat -c %a /t; dd if=/dev/zero of=/t/f bs=1k count=2000 2>/dev/null || echo full",
            "700\nfull",
        ),
        (
            &[],
            "echo $HOME $PATH",
            "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        (&[], "umask; pwd; echo $$", "0022\n/\n1"),
        (&["--init"], "[ $$ -gt 1 ] && echo not first", "not first"),
    ] {
        let output = host.rocker(shell(flags, &image, script));
        assert_eq!(output.exit_code, 0, "{output:?}");
        assert_eq!(output.stdout.trim_end(), expected, "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn entrypoint_and_command_combine_as_in_docker() {
    use rocker_testkit::image::ImageBuilder;

    let host = require!(host());
    let both = ImageBuilder::busybox()
        .entrypoint(["echo", "entry"])
        .cmd(["command"]);
    let image = host.pulled("both:1", both);

    for (flags, words, expected) in [
        (&[][..], &[][..], "entry command"),
        (&[], &["mine"], "entry mine"),
        (&["--entrypoint", "printf"], &["%s.", "a", "b"], "a.b."),
        (&["--entrypoint", "pwd"], &[], "/"),
        (&["--entrypoint", ""], &["echo", "bare"], "bare"),
    ] {
        let line = [&["run", "--rm"][..], flags, &[image.as_str()], words].concat();
        let output = host.rocker(line);
        assert_eq!(output.stdout.trim_end(), expected, "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn the_images_config_counts_where_no_flag_says_otherwise() {
    use rocker_testkit::image::ImageBuilder;
    use serde_json::json;

    let host = require!(host());
    let image = ImageBuilder::busybox()
        .env("FROM_IMAGE", "yes")
        .set("User", "1000:2000")
        .set("WorkingDir", "/home/user")
        .set("Labels", json!({ "made": "here" }))
        .set("StopSignal", "SIGUSR1")
        .cmd(["sh", "-c", "trap 'exit 42' USR1; echo $FROM_IMAGE $(id -u):$(id -g) $(pwd); while :; do sleep 1000 & wait; done"]);
    let image = host.pulled("configured:1", image);

    let id = host.ok(["run", "-d", "--label", "mine=too", &image]);
    let follower = host.command(["logs", "-f", &id]).spawn();
    follower.await_stdout("yes 1000:2000 /home/user\n");
    let labels = inspect(
        &host,
        &id,
        "{{index .Config.Labels \"made\"}} {{index .Config.Labels \"mine\"}}",
    );
    host.ok(["stop", &id]);

    assert_eq!(labels, "here too");
    assert_eq!(host.ok(["wait", &id]), "42");
    assert_eq!(follower.finish().exit_code, 0);
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_detached_container_is_listed_stopped_and_removed() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "run",
        "-d",
        "--name",
        "web",
        &image,
        "sh",
        "-c",
        HONOURS_TERM,
    ]);
    assert!(
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(host.ok(["ps", "-q"]), id[..12]);
    assert_eq!(
        host.ok(["ps", "--format", "{{.Names}} {{.Image}}"]),
        format!("web {image}")
    );
    assert_eq!(
        inspect(&host, "web", "{{.State.Status}} {{.State.Running}}"),
        "running true"
    );

    host.command(["logs", "-f", "web"])
        .spawn()
        .await_stdout("ready\n");
    assert_eq!(host.ok(["stop", "web"]), "web");
    assert_eq!(host.ok(["ps", "-q"]), "");
    assert_eq!(host.ok(["ps", "-aq"]), id[..12]);
    assert_eq!(
        inspect(&host, "web", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 0"
    );

    assert_eq!(host.ok(["rm", "web"]), "web");
    assert_eq!(host.ok(["ps", "-aq"]), "");
    host.assert_nothing_left_behind();
}

#[test]
fn a_kept_container_starts_again_with_what_it_wrote() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "create",
        "--name",
        "kept",
        &image,
        "sh",
        "-c",
        "echo x >>/count; wc -l </count",
    ]);
    assert_eq!(
        inspect(&host, "kept", "{{.State.Status}} {{.Id}}"),
        format!("created {id}")
    );
    let counts: Vec<_> = (0..3).map(|_| host.ok(["start", "-a", "kept"])).collect();

    assert_eq!(counts, ["1", "2", "3"]);
    host.ok(["rm", "kept"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_that_ignores_term_is_killed_when_its_time_is_over() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "run",
        "-d",
        &image,
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 1000; done",
    ]);
    host.command(["logs", "-f", &id])
        .spawn()
        .await_stdout("ready\n");
    host.ok(["stop", "-t", "1", &id]);

    assert_eq!(inspect(&host, &id, "{{.State.ExitCode}}"), "137");
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_detached_container_with_rm_goes_when_its_program_ends() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok(["run", "-d", "--rm", &image, "sh", "-c", HONOURS_TERM]);
    host.command(["logs", "-f", &id])
        .spawn()
        .await_stdout("ready\n");
    host.ok(["stop", &id]);

    host.assert_nothing_left_behind();
    assert_eq!(host.ok(["ps", "-aq"]), "");
}

#[test]
fn rm_refuses_a_running_container_unless_forced() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["run", "-d", "--name", "busy", &image, "sleep", "1000"]);

    let refused = host.rocker(["rm", "busy"]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("busy") && refused.stderr.contains("running"),
        "{refused:?}"
    );

    assert_eq!(host.ok(["rm", "-f", "busy"]), "busy");
    host.assert_nothing_left_behind();
}

#[test]
fn rm_by_force_is_content_with_what_does_not_exist_and_says_so_on_stderr() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["create", "--name", "there", &image, "true"]);

    let removed = host.rocker(["rm", "-f", "missing", "there"]);

    assert_eq!(
        (removed.exit_code, removed.stdout.as_str()),
        (0, "there\n"),
        "{removed:?}"
    );
    assert!(removed.stderr.contains("missing"), "{removed:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn quiet_wins_over_a_format_and_says_so() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok(["create", &image, "true"]);

    for command in [
        &["ps", "-aq"][..],
        &["images", "-q"],
        &["volume", "ls", "-q"],
    ] {
        let output = host.rocker([command, &["--format", "{{.Nonsense}}"]].concat());
        let warnings = output.stderr.matches("--format").count();
        assert_eq!((output.exit_code, warnings), (0, 1), "{output:?}");
        assert!(!output.stdout.contains("no value"), "{output:?}");
    }
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn killing_the_command_line_does_not_hurt_the_container() {
    let host = require!(host());
    let image = host.busybox();

    let attached = host
        .command([
            "run",
            "--name",
            "survivor",
            &image,
            "sh",
            "-c",
            HONOURS_TERM,
        ])
        .spawn();
    attached.await_stdout("ready\n");
    attached.signal(Signal::KILL);
    assert_eq!(attached.finish().exit_code, -9);

    assert_eq!(inspect(&host, "survivor", "{{.State.Running}}"), "true");
    host.ok(["stop", "survivor"]);
    assert_eq!(inspect(&host, "survivor", "{{.State.ExitCode}}"), "0");
    host.ok(["rm", "survivor"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_signal_to_an_attached_run_reaches_the_program() {
    let host = require!(host());
    let image = host.busybox();
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done";

    let attached = host.command(shell(&[], &image, script)).spawn();
    attached.await_stdout("ready\n");
    attached.signal(Signal::TERM);
    let output = attached.finish();

    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (5, "ready\ngot it\n"),
        "{output:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_that_leaves_a_process_behind_takes_it_along() {
    let host = require!(host());
    let image = host.busybox();

    // The grandchild holds stdout open; the container ends with its first process all the same.
    let output = host
        .command(shell(&[], &image, "sleep 1000 & echo done"))
        .time_limit(Duration::from_secs(20))
        .run();

    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (0, "done\n"),
        "{output:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn restart_gives_a_new_process_to_the_same_container() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok([
        "run",
        "-d",
        "--name",
        "again",
        &image,
        "sh",
        "-c",
        HONOURS_TERM,
    ]);
    let first = inspect(&host, "again", "{{.State.Pid}}");

    assert_eq!(host.ok(["restart", "again"]), "again");

    assert_ne!(inspect(&host, "again", "{{.State.Pid}}"), first);
    assert_eq!(
        inspect(&host, "again", "{{.Id}} {{.State.Running}}"),
        format!("{id} true")
    );
    host.ok(["rm", "-f", "again"]);
    host.assert_nothing_left_behind();
}

#[test]
fn init_reaps_orphans_and_passes_signals_and_the_exit_code_on() {
    let host = require!(host());
    let image = host.busybox();
    // Each inner shell leaves an orphan that is dead at once; the zombies are counted after all
    // that is left of them could have been reaped.
    let orphans = "for i in $(seq 50); do (true & ) ; done; \
                   for i in $(seq 100); do [ $(ps -o stat | grep -c Z) = 0 ] && break; usleep 20000; done; \
                   ps -o stat | grep -c Z; exit 9";

    let reaped = host.rocker(shell(&["--init"], &image, orphans));
    let attached = host
        .command(shell(
            &["--init"],
            &image,
            "trap 'exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done",
        ))
        .spawn();
    attached.await_stdout("ready\n");
    attached.signal(Signal::TERM);

    assert_eq!(
        (reaped.exit_code, reaped.stdout.as_str()),
        (9, "0\n"),
        "{reaped:?}"
    );
    assert_eq!(attached.finish().exit_code, 5);
    host.assert_nothing_left_behind();
}

#[test]
fn names_and_id_prefixes_find_a_container_and_ambiguity_is_an_error() {
    let host = require!(host());
    let image = host.busybox();
    let ids: Vec<_> = (0..20)
        .map(|_| host.ok(["create", &image, "true"]))
        .collect();

    assert_eq!(inspect(&host, &ids[0], "{{.Id}}"), ids[0]);
    assert_eq!(inspect(&host, &ids[0][..12], "{{.Id}}"), ids[0]);
    // Twenty ids share sixteen first digits.
    let shared = ids
        .iter()
        .find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1)
        .expect("pigeons");
    let ambiguous = host.rocker(["rm", &shared[..1]]);
    assert_eq!(ambiguous.exit_code, 1, "{ambiguous:?}");
    let missing = host.rocker(["rm", "nosuchcontainer"]);
    assert_eq!(missing.exit_code, 1, "{missing:?}");
    assert!(missing.stderr.contains("nosuchcontainer"), "{missing:?}");

    host.ok(std::iter::once("rm").chain(ids.iter().map(String::as_str)));
    host.assert_nothing_left_behind();
}

#[test]
fn ps_shows_what_is_asked_for() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run",
        "-d",
        "--name",
        "up",
        "-p",
        "127.0.0.1:8080:80",
        &image,
        "sleep",
        "1000",
    ]);
    host.rocker(["run", "--name", "down", &image, "false"]);

    let running = host.ok(["ps", "--format", "{{.Names}}|{{.State}}|{{.Ports}}"]);
    let mut all: Vec<_> = host
        .ok(["ps", "-a", "--format", "{{.Names}} {{.State}}"])
        .lines()
        .map(str::to_owned)
        .collect();
    all.sort();
    let table = host.ok(["ps", "-a"]);

    assert_eq!(running, "up|running|127.0.0.1:8080->80/tcp");
    assert_eq!(all, ["down exited", "up running"]);
    assert!(table.starts_with("CONTAINER ID   IMAGE"), "{table}");
    assert!(
        table.contains("Exited (1)") && table.contains("Up "),
        "{table}"
    );
    host.ok(["rm", "-f", "up", "down"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_port_is_free_as_soon_as_the_run_that_published_it_is_over() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["create", "--name", "kept", "-p", "8080:80", &image, "true"]);

    // No wait in between: who told the exit code may not have let go of the port yet.
    for _ in 0..8 {
        host.ok(["run", "--rm", "-p", "8080:80", &image, "true"]);
        host.ok(["start", "-a", "kept"]);
    }
    host.ok(["rm", "kept"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_from_ending_its_container() {
    let host = require!(host());
    let image = host.busybox();
    let end: [&[&str]; 2] = [&["stop", "-t", "0", "loud"], &["rm", "-f", "loud"]];

    for words in end {
        let client = host
            .command(["run", "--name", "loud", &image, "yes"])
            .spawn();
        client.await_stdout("y\n");
        client.signal(Signal::STOP);

        let ended = host.rocker(words.iter().copied());
        let removed = host.rocker(["rm", "-f", "loud"]);

        client.signal(Signal::CONT);
        assert_eq!(client.finish().exit_code, 137, "the client learns the end");
        assert_eq!(ended.exit_code, 0, "{ended:?}");
        assert_eq!(removed.exit_code, 0, "{removed:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn restart_keeps_a_container_that_goes_with_its_end() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok([
        "run", "-d", "--rm", "--name", "once", &image, "sleep", "1000",
    ]);
    let first = crate::inspect(&host, "once", "{{.State.Pid}}");

    host.ok(["restart", "-t", "0", "once"]);

    assert_eq!(
        crate::inspect(&host, "once", "{{.Id}} {{.State.Running}}"),
        format!("{id} true")
    );
    assert_ne!(crate::inspect(&host, "once", "{{.State.Pid}}"), first);
    host.ok(["stop", "-t", "0", "once"]);
    assert_eq!(host.ok(["ps", "-aq"]), "", "a stop is its end");
    host.assert_nothing_left_behind();
}
