//! A file system without room.

use super::*;

/// Runs `test` of this binary again in a mount namespace of its own, below a full file system.
fn with_tiny_file_system(test: &str) -> bool {
    let mount = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=256k none \"$TINY\" && exec \"$0\" --exact --nocapture \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("TINY", mount.path())
        .output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && stderr.contains("unshare") | stderr.contains("mount:") {
        let strict = std::env::var_os("ROCKER_TEST_STRICT").is_some_and(|value| value == "1");
        assert!(!strict, "cannot mount: {stderr}");
        eprintln!("skipped, cannot mount: {stderr}");
        return false;
    }
    assert!(
        output.status.success(),
        "{stderr}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    true
}

#[test]
fn a_full_disk_costs_lines_but_never_tears_one() {
    let Some(tiny) = std::env::var_os("TINY") else {
        with_tiny_file_system(
            "logs::tests::full_disk::a_full_disk_costs_lines_but_never_tears_one",
        );
        return;
    };
    let directory = Path::new(&tiny);
    let ballast = directory.join("ballast");
    fs_err::write(&ballast, vec![0; 100 * 1024]).unwrap();
    let mut log = writer(directory, LARGE);

    log.write(Stream::Stdout, &numbered(5000));
    let dropped = log.dropped_lines();
    assert!(dropped > 0 && dropped < 5000, "{dropped}");
    let content = fs_err::read_to_string(files(directory).current()).unwrap();
    assert!(content.ends_with('\n') && content.lines().all(|line| line.ends_with("Z\"}")));
    fs_err::remove_file(ballast).unwrap();
    log.write(Stream::Stdout, b"room again\n");

    let entries = read(directory, ReadOptions::default());
    let [.., (Stream::Stderr, notice), (Stream::Stdout, after)] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert!(
        notice.starts_with(&format!("rocker: {dropped} log lines")),
        "{notice}"
    );
    assert_eq!(after, "room again\n");
    assert_eq!(entries.len() as u64, 5000 - dropped + 2);
}
