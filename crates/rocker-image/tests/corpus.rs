//! What fuzzers found worth keeping, run as ordinary tests: the corpus of each target and the
//! inputs that once broke something.
#![expect(
    clippy::expect_used,
    reason = "the targets and the helper here fail by panicking, as tests do"
)]

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod targets;

use std::path::Path;

/// Runs every file of `corpus/NAME` and `regressions/NAME`.
fn replay(name: &str, target: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut inputs = 0;
    for kind in ["corpus", "regressions"] {
        let Ok(entries) = fs_err::read_dir(fuzz.join(kind).join(name)) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry of the corpus").path();
            let input = fs_err::read(&path).expect("an input");
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            inputs += 1;
        }
    }
    assert!(inputs > 0, "there is no corpus for {name}");
}

#[test]
fn reference() {
    replay("reference", targets::reference);
}

#[test]
fn document() {
    replay("document", targets::document);
}

#[test]
fn config() {
    replay("config", targets::config);
}

#[test]
fn layer() {
    replay("layer", targets::layer);
}

#[test]
fn entries() {
    replay("entries", targets::entries);
}

#[test]
fn pax() {
    replay("pax", targets::pax);
}

#[test]
fn compression() {
    replay("compression", targets::compression);
}

#[test]
fn archive() {
    replay("archive", targets::archive);
}

#[test]
fn archive_index() {
    replay("archive_index", targets::archive_index);
}
