//! As much of libtest as cargo and nextest need.

use std::process::{Command, ExitCode};

/// A name and what it promises.
pub(crate) type Test = (&'static str, fn());

/// Makes a table of tests from function names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[
            $((concat!(module_path!(), "::", stringify!($name)), $name)),*
        ];
    };
}
pub(crate) use tests;

/// What this host lacks to run any of these tests.
pub(crate) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("containers need root");
    }
    if !std::path::Path::new("/bin/busybox").exists() {
        return Some("there is no /bin/busybox (package busybox-static)");
    }
    None
}

/// Runs what the command line asks for.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--list") {
        if !has("--ignored") {
            tests
                .iter()
                .for_each(|(name, _)| println!("{}: test", short(name)));
        }
        return ExitCode::SUCCESS;
    }
    if has("--ignored") {
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                if has("--exact") {
                    name == *filter
                } else {
                    name.contains(filter.as_str())
                }
            })
    };
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|(name, _)| wanted(short(name)))
        .collect();
    if let [(_, test)] = chosen[..] {
        test();
        return ExitCode::SUCCESS;
    }
    run_each(&chosen)
}

/// The name without the crate's.
fn short(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

fn run_each(chosen: &[&Test]) -> ExitCode {
    let mut failed = 0;
    for (name, _) in chosen {
        let name = short(name);
        let ran = Command::new("/proc/self/exe")
            .args(["--exact", name])
            .output()
            .unwrap();
        let word = if ran.status.success() { "ok" } else { "FAILED" };
        println!("test {name} ... {word}");
        if !ran.status.success() {
            failed += 1;
            print!("{}", String::from_utf8_lossy(&ran.stdout));
            eprint!("{}", String::from_utf8_lossy(&ran.stderr));
        }
    }
    println!("{} tests, {failed} failed", chosen.len());
    ExitCode::from(u8::from(failed > 0))
}
