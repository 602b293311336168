//! export and diff: what a container's file system is, and what became of it.

use std::io::Read as _;

use rocker_testkit::Host;
use rocker_testkit::image::{Entry, EntryKind, ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{HONOURS_TERM, host, inspect};

/// Every file with what an archive must keep of it, but for what is mounted.
const LISTING: &str = r#"find / -xdev | sort | while read -r f; do
    case "$f" in /|/etc|/proc*|/sys*|/dev*|/etc/hosts|/etc/hostname|/etc/resolv.conf) ;;
    *) stat -c '%n %F %a %u %g %t %T %y' "$f"; [ -d "$f" ] || stat -c %h "$f"; [ ! -f "$f" ] || md5sum < "$f"; readlink "$f" || : ;; esac; done"#;

fn image(host: &Host) -> String {
    let below = Layer::new()
        .dir("etc", 0o755)
        .dir("gone", 0o755)
        .file("gone/a", "1")
        .dir("kept", 0o750)
        .file("kept/a", "1")
        .file("kept/b", "2")
        .dir("new", 0o755)
        .file("new/a", "1")
        .file("new/b", "2")
        .file("touched", "1")
        .file("left", "1");
    let above = Layer::new().whiteout("left").file("kept/b", "3");
    host.pulled(
        "changing:1",
        ImageBuilder::busybox().layer(below).layer(above),
    )
}

const CHANGE: &str = "rm -r /gone; rm -r /new; mkdir /new; echo 9 > /new/b; chmod 700 /touched; \
    echo x > /kept/c; rm /kept/a; mkdir -p /made/deep; echo y > /made/deep/f; ln /made/deep/f /made/hard; \
    ln -s deep/f /made/soft; mkfifo /made/fifo; chown 70000:3 /made/deep; chmod 4755 /made/deep/f; \
    truncate -s 3000000 /made/holes; echo end >> /made/holes; touch -d '2001-02-03 04:05:06' /made/soft /made/hard; \
    echo z > /mounted/z; echo t > /tmp/t";

#[test]
fn diff_lists_what_was_added_changed_and_deleted() {
    let host = require!(host());
    let image = image(&host);
    let flags = [
        "run", "-d", "--name", "web", "-v", "/mounted", "--tmpfs", "/tmp",
    ];
    let script = format!("{CHANGE}; {HONOURS_TERM}");
    host.ok(flags.into_iter().chain([&image, "sh", "-c", &script]));
    host.command(["logs", "-f", "web"])
        .spawn()
        .await_stdout("ready");

    let want = "D /gone\nC /kept\nD /kept/a\nA /kept/c\nA /made\nA /made/deep\nA /made/deep/f\nA /made/fifo\n\
        A /made/hard\nA /made/holes\nA /made/soft\nA /mounted\nC /new\nD /new/a\nC /new/b\nC /touched";
    assert_eq!(host.ok(["diff", "web"]), want);
    host.ok(["stop", "web"]);
    assert_eq!(host.ok(["container", "diff", "web"]), want);

    host.ok(["create", "--name", "fresh", &image]);
    assert_eq!(host.ok(["diff", "fresh"]), "");
    assert_eq!(host.rocker(["diff", "nobody"]).exit_code, 1);
    host.ok(["rm", "-v", "web", "fresh"]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_export_has_what_the_container_sees() {
    let host = require!(host());
    let image = image(&host);
    let script = format!("mkdir /mounted; {CHANGE}; {HONOURS_TERM}");
    host.ok(["run", "-d", "--name", "web", &image, "sh", "-c", &script]);
    host.command(["logs", "-f", "web"])
        .spawn()
        .await_stdout("ready");
    let seen = host.ok(["exec", "web", "sh", "-c", LISTING]);
    let archive = host.scratch().join("web.tar");
    let archive = archive.to_string_lossy();

    host.ok(["export", "-o", &archive, "web"]);
    host.ok(["import", &archive, "flat:1"]);
    let imported = host.ok(["run", "--rm", "flat:1", "sh", "-c", LISTING]);
    let different = imported
        .lines()
        .zip(seen.lines())
        .find(|(one, two)| one != two);
    assert_eq!(different, None);
    assert_eq!(imported.lines().count(), seen.lines().count());
    let holes = host.ok(["run", "--rm", "flat:1", "du", "/made/holes"]);
    assert!(holes.starts_with(['4', '8']), "{holes}");

    host.ok(["stop", "web"]);
    let stopped = host.scratch().join("stopped.tar");
    host.ok(["export", "-o", &stopped.to_string_lossy(), "web"]);
    let read = |path: &std::path::Path| fs_err::read(path).expect("an archive");
    assert!(read(&stopped) == read(&host.scratch().join("web.tar")));
    host.ok(["rm", "web"]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_export_keeps_attributes_devices_and_long_names_and_gnu_tar_reads_it() {
    let host = require!(host());
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    // revision 2, effective, cap_net_raw permitted: linux/capability.h, vfs_cap_data
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let content = || EntryKind::File(b"x".to_vec());
    let layer = Layer::new()
        .entry(
            Entry::new("ping", content())
                .mode(0o755)
                .xattr("security.capability", &capability),
        )
        .entry(Entry::new("noted", content()).xattr("user.note", b"kept\0\n"))
        .entry(Entry::new("null", EntryKind::CharDevice(1, 3)).mode(0o666))
        .entry(Entry::new("loop", EntryKind::BlockDevice(7, 300)))
        .file(&long, "far");
    let image = host.pulled("attributes:1", ImageBuilder::busybox().layer(layer));
    host.ok(["create", "--name", "attrs", &image]);
    let archive = host.scratch().join("attrs.tar");

    host.ok(["export", "-o", &archive.to_string_lossy(), "attrs"]);

    let script = r#"cd "$0"; mkdir x; tar -xpf attrs.tar --xattrs --xattrs-include='*' -C x; cd x
        stat -c '%n %F %a %t %T' null loop; cat d*/f*"#;
    let tar = host
        .program("sh")
        .arg("-ec")
        .arg(script)
        .arg(&host.scratch().to_string_lossy())
        .run();
    let want = "null character special file 666 1 3\nloop block special file 644 7 12c\nfar";
    assert_eq!((tar.exit_code, tar.stdout.as_str()), (0, want), "{tar:?}");
    for (file, name, want) in [
        ("ping", "security.capability", &capability[..]),
        ("noted", "user.note", b"kept\0\n"),
    ] {
        let mut value = [0u8; 64];
        let path = host.scratch().join("x").join(file);
        let length = rustix::fs::lgetxattr(&path, name, value.as_mut_slice());
        assert_eq!(length.map(|length| &value[..length]), Ok(want), "{file}");
    }
    let mut terminal = host.terminal(["export", "attrs"]);
    assert_eq!(terminal.wait(), 125);
    host.ok(["rm", "attrs"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_commit_is_the_container_on_top_of_its_image() {
    let host = require!(host());
    let image = image(&host);
    let script = format!("mkdir /mounted; {CHANGE}; {HONOURS_TERM}");
    host.ok([
        "run", "-d", "--name", "web", "-e", "A=1", &image, "sh", "-c", &script,
    ]);
    host.command(["logs", "-f", "web"])
        .spawn()
        .await_stdout("ready");
    let seen = host.ok(["exec", "web", "sh", "-c", LISTING]);
    let changes = [
        "-c",
        "CMD [\"cat\", \"/kept/c\"]",
        "-c",
        "LABEL by=test",
        "-a",
        "me",
        "-m",
        "changed",
    ];

    let id = host.ok(["commit"]
        .into_iter()
        .chain(changes)
        .chain(["web", "made:1"]));
    let quick = host.ok(["commit", "--pause=false", "web"]);

    assert!(
        id.starts_with("sha256:") && quick.starts_with("sha256:"),
        "{id} {quick}"
    );
    let made = host.ok(["run", "--rm", "made:1", "sh", "-c", LISTING]);
    let different = made.lines().zip(seen.lines()).find(|(one, two)| one != two);
    assert_eq!(different, None);
    assert_eq!(made.lines().count(), seen.lines().count());
    assert_eq!(host.ok(["run", "--rm", "made:1"]), "x");
    assert_eq!(
        inspect(
            &host,
            "made:1",
            "{{index .Config.Labels \"by\"}} {{.Author}} {{len .RootFS.Layers}}"
        ),
        "test me 4"
    );
    assert_eq!(host.ok(["exec", "web", "echo", "goes on"]), "goes on");

    host.ok(["stop", "web"]);
    let stopped = host.ok(["commit", "web"]);
    let layers = |id: &str| inspect(&host, id, "{{.RootFS.Layers}}");
    assert_eq!(
        layers(&stopped),
        layers("made:1"),
        "the same files make the same layer"
    );
    host.ok(["rm", "web"]);
    let refused = host.rocker(["commit", "-c", "RUN x", "web"]);
    assert_eq!(refused.exit_code, 125, "{refused:?}");
    assert_eq!(host.rocker(["commit", "nobody"]).exit_code, 1);
    host.assert_nothing_left_behind();
}

#[test]
fn a_commit_runs_as_its_container_was_told_to() {
    let host = require!(host());
    let image = rocker_testkit::image::ImageBuilder::busybox()
        .env("FROM", "image")
        .env("CHANGED", "no")
        .set("StopSignal", "3")
        .set("WorkingDir", "/")
        .set("ExposedPorts", serde_json::json!({"80/tcp": {}}))
        .set("Healthcheck", serde_json::json!({"Test": ["CMD", "true"]}))
        .cmd(["echo", "lost"]);
    let image = host.pulled("told:1", image);
    let own = |name: &str, words: &[&str]| {
        let create = ["create", "--name", name];
        host.ok(create.iter().chain(words).copied());
        host.ok(["commit", name, "made:1"]);
        host.ok(["rm", "-v", name]);
        let config = inspect(&host, "made:1", "{{json .Config}}");
        serde_json::from_str::<serde_json::Value>(&config).expect("JSON")
    };

    let plain = own("plain", &["-t", &image]);
    let config = inspect(&host, &image, "{{json .Config}}");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(plain, config);

    let flags = "-e FOO=1 -e CHANGED=yes --entrypoint sh -w /bin -u 0:5 --label lab=1 -p 8053:53/udp -v /data";
    let mut words: Vec<&str> = flags.split(' ').collect();
    words.extend(["--stop-signal", "INT", &image, "-c", "env; pwd; id -g"]);
    let told = own("told", &words);
    for (key, want) in [
        ("/Env", r#"["FROM=image","CHANGED=yes","FOO=1"]"#),
        ("/Entrypoint", r#"["sh"]"#),
        ("/Cmd", r#"["-c","env; pwd; id -g"]"#),
        ("/WorkingDir", r#""/bin""#),
        ("/User", r#""0:5""#),
        ("/Labels", r#"{"lab":"1"}"#),
        ("/ExposedPorts", r#"{"53/udp":{},"80/tcp":{}}"#),
        ("/Volumes", r#"{"/data":{}}"#),
        ("/StopSignal", r#""SIGINT""#),
        ("/Healthcheck", r#"{"Test":["CMD","true"]}"#),
    ] {
        let mut found = told.pointer(key).cloned();
        if let Some(serde_json::Value::Array(words)) = &mut found {
            // the base's own
            words.retain(|word| !word.as_str().is_some_and(|word| word.starts_with("PATH=")));
        }
        let want = serde_json::from_str::<serde_json::Value>(want).expect("JSON");
        assert_eq!(found, Some(want), "{key}: {told}");
    }
    let said = host.ok(["run", "--rm", "made:1"]);
    for line in ["FOO=1", "CHANGED=yes", "/bin", "5"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    host.assert_nothing_left_behind();
}

/// Makes a container that has written a large file, and a small one that is read after it.
fn with_files(host: &Host, megabytes: &str) {
    let script = format!("dd if=/dev/zero of=/a bs=1M count={megabytes}; echo last > /z");
    let image = host.busybox();
    host.ok(["run", "--name", "box", &image, "sh", "-c", &script]);
}

#[test]
fn an_export_of_a_container_that_goes_meanwhile_fails() {
    let host = require!(host());
    with_files(&host, "1");
    let fifo = host.scratch().join("fifo");
    let fifo = fifo.to_string_lossy();
    let made = host.program("mkfifo").arg(&fifo).run();
    assert_eq!(made.exit_code, 0, "{made:?}");
    let export = host.command(["export", "-o", &fifo, "box"]).spawn();
    let mut reader = fs_err::File::open(&*fifo).expect("a reader");
    let mut first = [0];
    reader.read_exact(&mut first).expect("a first byte");

    host.ok(["rm", "box"]);
    std::io::copy(&mut reader, &mut std::io::sink()).expect("the rest");

    let export = export.finish();
    assert_eq!(export.exit_code, 1, "{export:?}");
    assert!(
        export.stderr.contains("no such container: box"),
        "{export:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_commit_of_a_container_that_goes_meanwhile_has_all_files_or_fails() {
    let host = require!(host());
    with_files(&host, "64");
    let commit = host.command(["commit", "box", "made:1"]).spawn();
    host.ok(["rm", "box"]);

    let commit = commit.finish();
    match commit.exit_code {
        0 => assert_eq!(host.ok(["run", "--rm", "made:1", "cat", "/z"]), "last"),
        _ => assert_eq!(commit.stdout, "", "{commit:?}"),
    }
    host.assert_nothing_left_behind();
}
