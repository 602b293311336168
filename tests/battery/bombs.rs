//! Images that are small to fetch and large to have.

use rocker_testkit::image::{BuiltLayer, bomb};
use rocker_testkit::require;

use super::{Ground, good, image};
use crate::host;

/// Refuses it from a registry and from a directory.
fn refuse(name: &'static str, layer: BuiltLayer, words: &'static str) {
    let ground = Ground::new(require!(host()));
    let size = layer.packed.len();
    assert!(size < 4 << 20, "{name} has {size} bytes");
    let bomb = good().built_layer(layer).build();
    let layout = ground.host.scratch().join("layout");
    bomb.write_oci_layout(&layout, "1")
        .expect("an image layout");
    let before = ground.host.snapshot();

    let load = ["load", "-q", "-i", &layout.to_string_lossy()];
    ground.refuse(name, &load, words, &before);
    ground.refuse_all(&[image(name, bomb, words)]);
}

#[test]
fn a_file_that_unpacks_a_thousandfold_is_refused() {
    refuse(
        "2 GiB of zeros",
        bomb::zeros(2 << 30),
        "limit ratio of 1000",
    );
}

#[test]
fn entries_without_end_are_refused() {
    let entries = bomb::entries(5_000_000);
    refuse(
        "5 million entries",
        entries,
        "limit index_bytes of 67108864",
    );
}

#[test]
fn a_file_that_is_all_hole_is_refused() {
    let hole = bomb::hole(1 << 40);
    refuse(
        "1 TiB of nothing",
        hole,
        "limit unpacked_bytes of 68719476736",
    );
}

#[test]
fn a_window_beyond_memory_is_refused() {
    let window = bomb::zstd_window();
    refuse("a window of 2 GiB", window, "limit zstd_window_log of 25");
}
