//! Archives that do not begin, that do not end, that hold too much, and loads that are stopped.

use std::time::Instant;

use rocker_testkit::host::Output;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::{Host, require};
use rustix::process::Signal;
use serde_json::json;

use crate::{host, inspect};

/// Runs a line of the shell in which `$0` is rocker.
fn line(host: &Host, script: &str) -> Output {
    let rocker = format!(
        "{} --root {} --runroot {}",
        host.binary().display(),
        host.root().display(),
        host.runroot().display()
    );
    let script = script.replace("rocker", &rocker);
    let script = format!("cd {}; {script}", host.scratch().display());
    host.program("sh").arg("-c").arg(&script).run()
}

#[test]
fn nothing_is_no_archive_and_an_empty_archive_is_one() {
    let host = require!(host());
    let before = host.snapshot();
    for script in [
        "false | rocker import - silent:1",
        "false | gzip | rocker import - silent:1",
        ": > empty; rocker import empty silent:1",
    ] {
        let refused = line(&host, script);
        assert_eq!(refused.exit_code, 1, "{script}: {refused:?}");
        assert!(refused.stderr.contains("no bytes at all"), "{refused:?}");
    }
    host.assert_unchanged_since(&before);
    let empty = line(&host, "tar -cT /dev/null | rocker import - empty:1");
    assert_eq!(empty.exit_code, 0, "{empty:?}");
    assert_eq!(inspect(&host, "empty:1", "{{len .RootFS.Layers}}"), "1");
    host.assert_nothing_left_behind();
}

#[test]
fn an_archive_that_has_ended_and_goes_on_is_refused_at_once() {
    let host = require!(host());
    let image = host.busybox();
    let before = host.snapshot();
    let began = Instant::now();
    let saved = format!("rocker save -o saved.tar {image}; cat saved.tar /dev/zero");
    for script in [
        "rocker load -i /dev/zero".to_owned(),
        "rocker import /dev/zero zeros:1".to_owned(),
        format!("({saved}) | rocker load"),
        format!("({saved}) | rocker import - zeros:1"),
    ] {
        let refused = line(&host, &script);
        assert_eq!(refused.exit_code, 1, "{script}: {refused:?}");
        let told = "more than 16777216 bytes follow the end of the archive";
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    host.assert_unchanged_since(&before);
}

#[test]
fn a_load_that_is_stopped_says_so_and_leaves_nothing() {
    let host = require!(host());
    let image = ImageBuilder::new().layer(Layer::new().file("f", vec![1; 3_000_000]));
    let image = host.pulled("stopped:1", image);
    let archive = host.scratch().join("a.tar").to_string_lossy().into_owned();
    host.ok(["save", "-o", &archive, &image]);
    host.ok(["rmi", &image]);
    let before = host.snapshot();
    for signal in [Signal::INT, Signal::TERM] {
        // half of the archive, and then nobody writes and nobody closes
        let pipe = host.scratch().join("pipe");
        let made = host.program("mkfifo").arg(&pipe.to_string_lossy()).run();
        assert_eq!(made.exit_code, 0, "{made:?}");
        let load = host
            .command(["load", "-i", &pipe.to_string_lossy()])
            .spawn();
        let mut writer = fs_err::OpenOptions::new()
            .write(true)
            .open(&pipe)
            .expect("somebody reads");
        let bytes = fs_err::read(&archive).expect("an archive");
        std::io::Write::write_all(&mut writer, &bytes[..1_500_000]).expect("it is read");
        load.signal(signal);
        let stopped = load.finish();
        drop(writer);
        assert_eq!(stopped.exit_code, 128 + signal.as_raw(), "{stopped:?}");
        assert!(stopped.stderr.contains("stopped by SIG"), "{stopped:?}");
        fs_err::remove_file(&pipe).expect("a pipe");
        let held = host
            .program("du")
            .arg("-sk")
            .arg(&host.root().join("tmp").to_string_lossy());
        let held = held.run().stdout;
        let kilobytes = held
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        assert!(kilobytes.is_some_and(|kilobytes| kilobytes < 100), "{held}");
    }
    host.ok(["images"]);
    host.ok(["image", "prune", "-f"]);
    host.assert_unchanged_since(&before);
}

#[test]
fn how_many_images_an_archive_may_have_is_said() {
    let host = require!(host());
    let list: Vec<_> = (0..1001)
        .map(|number| json!({"Config": "c.json", "RepoTags": [format!("many:{number}")], "Layers": ["l"]}))
        .collect();
    let list = serde_json::to_vec(&list).expect("JSON");
    fs_err::write(host.scratch().join("manifest.json"), list).expect("a file");
    let refused = line(&host, "tar -c manifest.json | rocker load");
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    let told = "1001 images exceeds the limit images of 1000";
    assert!(refused.stderr.contains(told), "{refused:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn too_few_files_are_called_that() {
    let host = require!(host());
    host.busybox();
    let mut refusals = 0;
    for limit in 6..14 {
        let done = line(&host, &format!("ulimit -n {limit}; rocker images"));
        if done.exit_code != 0 {
            let told = format!("hint: only {limit} files may be open at once");
            assert!(done.stderr.contains(&told), "{limit}: {done:?}");
            refusals += 1;
        }
    }
    assert!(refusals > 0, "as few as that are enough");
    host.assert_nothing_left_behind();
}
