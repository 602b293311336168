//! Layers that are broken, or would like to be somewhere else.

use rocker_testkit::image::{BuiltLayer, Compression, Entry, EntryKind, ImageBuilder, Layer};
use rocker_testkit::require;

use super::{Case, Ground, good, image};
use crate::host;

fn layer(name: &'static str, layer: Layer, words: &'static str) -> Case {
    built(name, layer.build(), words)
}

fn built(name: &'static str, layer: BuiltLayer, words: &'static str) -> Case {
    image(name, good().built_layer(layer).build(), words)
}

fn entry(kind: EntryKind) -> Entry {
    Entry::new("t", kind)
}

/// An archive of one file, in whose header these bytes stand at this offset, with a checksum
/// that fits.
pub(super) fn patched(offset: usize, bytes: &[u8]) -> Layer {
    let mut tar = Layer::new().file("t", "content").tar().to_vec();
    tar[offset..offset + bytes.len()].copy_from_slice(bytes);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Layer::from_tar(tar)
}

pub(super) const SIZE: usize = 124;
pub(super) const MTIME: usize = 136;
const KIND: usize = 156;

/// A layer whose packed bytes are changed after its diff id was taken.
pub(super) fn repacked(layer: Layer, change: impl FnOnce(&mut Vec<u8>)) -> BuiltLayer {
    let mut layer = layer.build();
    let mut packed = layer.packed.to_vec();
    change(&mut packed);
    layer.packed = packed.into();
    layer
}

fn packings() -> Vec<Case> {
    let file = || Layer::new().file("t", "content");
    let gzip = |packed: &mut Vec<u8>| packed.truncate(packed.len() / 2);
    vec![
        built("half a gzip", repacked(file(), gzip), "as gzip"),
        built(
            "half a zstd",
            repacked(file().compression(Compression::Zstd), gzip),
            "as zstd",
        ),
        built(
            "half a tar",
            repacked(file().compression(Compression::Plain), |tar| {
                tar.truncate(515)
            }),
            "cut off",
        ),
        built(
            "bytes that are nothing",
            repacked(file(), |packed| packed.fill(0x55)),
            "media type says gzip",
        ),
        built(
            "a gzip with a wrong checksum",
            repacked(file(), |packed| {
                let crc = packed.len() - 8;
                packed[crc] ^= 1;
            }),
            "as gzip",
        ),
        layer(
            "xz",
            Layer::from_tar(b"\xfd7zXZ\0 and so on".to_vec()).compression(Compression::Plain),
            "which layers never are",
        ),
        layer(
            "no tar at all",
            Layer::from_tar(vec![b'x'; 2048]),
            "wrong checksum",
        ),
        layer(
            "more after the end",
            Layer::from_tar([&[0; 512][..], &file().tar()].concat()),
            "after an end marker",
        ),
    ]
}

fn headers() -> Vec<Case> {
    vec![
        layer(
            "a size that is no number",
            patched(SIZE, b"0000000000-\0"),
            "unusable size",
        ),
        layer(
            "a negative size",
            patched(SIZE, &[0xff; 12]),
            "unusable size",
        ),
        layer(
            "a size of 2^50",
            patched(SIZE, &[0x80, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]),
            "unpacked_bytes",
        ),
        layer(
            "a size beyond 2^63",
            patched(SIZE, &[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            "unusable size",
        ),
        layer(
            "a time beyond 2^63",
            patched(MTIME, &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            "unusable",
        ),
        layer("a socket", patched(KIND, b"s"), "unsupported type"),
        layer("a volume label", patched(KIND, b"V"), "unsupported type"),
        layer(
            "user 2^32",
            Layer::new().entry(entry(EntryKind::Fifo).owner(1 << 32, 0)),
            "user id",
        ),
        layer(
            "group -1",
            Layer::new().entry(entry(EntryKind::Fifo).owner(0, 0xffff_ffff)),
            "group id",
        ),
        layer(
            "a device that cannot be",
            Layer::new().entry(entry(EntryKind::CharDevice(5000, 0))),
            "no device",
        ),
        layer(
            "overlayfs' own mark",
            Layer::new().entry(entry(EntryKind::CharDevice(0, 0))),
            "overlayfs",
        ),
        layer(
            "attributes of 100 KiB",
            Layer::new().entry(entry(EntryKind::Dir).xattr("user.a", &[b'x'; 100 << 10])),
            "xattr_bytes",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn names() -> Vec<Case> {
    let file = |name: &str| Layer::new().file(name, "x");
    vec![
        layer("no name", file(""), "empty"),
        layer("up", file("../../../../tmp/evil"), ".."),
        layer("up after down", file("a/../../../tmp/evil"), ".."),
        layer(
            "a component of 256",
            file(&"n".repeat(256)),
            "component_bytes",
        ),
        layer(
            "a path of 6 KiB",
            file(&("n/".repeat(3 << 10) + "n")),
            "path_bytes",
        ),
        layer(
            "a file below a file",
            file("t").file("t/u", "x"),
            "another entry is below it",
        ),
        layer(
            "a loop of links",
            Layer::new()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/x", "x"),
            "too many symbolic links",
        ),
        layer(
            "a link to a directory",
            Layer::new().dir("d", 0o755).hardlink("t", "d"),
            "hard link to a directory",
        ),
        layer(
            "a link to nothing",
            Layer::new().hardlink("t", "missing"),
            "neither it nor a layer below it has",
        ),
        layer(
            "a link up",
            Layer::new().hardlink("t", "../../etc/passwd"),
            "..",
        ),
        layer("a whiteout of nothing", file(".wh."), "malformed whiteout"),
        layer(
            "a whiteout of itself",
            Layer::new().file(".wh..", ""),
            "malformed whiteout",
        ),
        layer(
            "a whiteout of what is above",
            Layer::new().file("d/.wh...", ""),
            "malformed whiteout",
        ),
        layer(
            "an unknown mark",
            Layer::new().file(".wh..wh.plnk", ""),
            "malformed whiteout",
        ),
        layer(
            "a whiteout that is a directory",
            Layer::new().dir(".wh.x", 0o755),
            "no empty file",
        ),
        layer(
            "a file below a whiteout",
            Layer::new().file(".wh.x/y", ""),
            "looks like a whiteout",
        ),
    ]
}

#[test]
fn layers_that_are_broken_are_refused() {
    let ground = Ground::new(require!(host()));
    ground.refuse_all(&packings());
    ground.refuse_all(&headers());
}

#[test]
fn names_that_no_layer_may_have_are_refused() {
    let ground = Ground::new(require!(host()));
    ground.refuse_all(&names());
}

#[test]
fn a_link_of_one_layer_is_no_way_out_for_the_next() {
    let ground = Ground::new(require!(host()));
    let before = ground.host.snapshot();
    let to = ground.victim.path();
    let below = || {
        Layer::new()
            .symlink("out", &to)
            .symlink("secret", &format!("{to}/secret"))
    };
    for (case, above) in [
        ("a file below it", Layer::new().file("out/secret", "evil")),
        ("a file over it", Layer::new().file("secret", "evil")),
        ("its mode", Layer::new().dir("out", 0o777)),
        ("a whiteout below it", Layer::new().whiteout("out/secret")),
        ("an opaque mark below it", Layer::new().opaque("out")),
        (
            "a hard link to it, setuid",
            Layer::new().entry(Entry::new("t", EntryKind::Hardlink("secret".into())).mode(0o4777)),
        ),
        (
            "a hard link through it",
            Layer::new().hardlink("t", "out/secret"),
        ),
        (
            "a directory of its name",
            Layer::new().file("secret/x", "evil"),
        ),
    ] {
        let image = ImageBuilder::busybox().layer(below()).layer(above).build();
        let reference = ground.host.registry().push("out:1", &image);
        let pulled = ground.host.rocker(["pull", "-q", &reference]);
        if pulled.exit_code == 0 {
            let script = "cat /t /secret; echo evil >/out/new; chmod 777 /out /secret; true";
            ground
                .host
                .rocker(crate::shell(&["--network", "none"], &reference, script));
            ground.host.ok(["rmi", &reference]);
        }
        ground.victim.assert_untouched(case);
        let lines = ground.host.difference_from(&before);
        assert!(lines.is_empty(), "{case}: {lines:#?}");
    }
}
