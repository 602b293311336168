//! Two layers of a few members each, chosen so that they meddle with one another.

use std::path::Path;

use rocker_image::store::StagedLayer;

use super::ground::{Ground, on_ground};
use super::tape;

const NAMES: [&str; 20] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "b/c",
    "a/",
    "./a",
    "/a",
    "l",
    "l/x",
    "l/l",
    "a/l",
    "../victim/secret",
    ".wh.a",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    "l/.wh.secret",
    "l/.wh..wh..opq",
    ".",
];

/// Where links lead; the first is the victim's own path.
const TARGETS: [&str; 14] = [
    "",
    "a",
    "b",
    "a/b",
    "l",
    "l/x",
    "..",
    "../..",
    "/",
    ".",
    "../../../../victim",
    "../../../../victim/secret",
    "/proc/self/root",
    "a/../b",
];

/// Three bytes for each member: its kind, its name, its target. A kind with the highest bit
/// begins the second layer.
pub fn entries(data: &[u8]) {
    on_ground(|ground| {
        let victim = ground.victim();
        let mut tars = vec![Vec::new()];
        for member in data.chunks_exact(3).take(40) {
            if member[0] & 0x80 != 0 && tars.len() == 1 {
                tars.push(Vec::new());
            }
            if let Some(tar) = tars.last_mut() {
                append(tar, member, &victim);
            }
        }
        tars.iter_mut().for_each(tape::finish);
        let layers: Option<Vec<StagedLayer>> = tars.iter().map(|tar| ground.unpack(tar)).collect();
        if let Some(layers) = layers.filter(|layers| differ(layers)) {
            assert_image(ground, &tars, layers);
        }
    });
}

fn append(tar: &mut Vec<u8>, member: &[u8], victim: &Path) {
    let name = NAMES[usize::from(member[1]) % NAMES.len()].as_bytes();
    let target = match usize::from(member[2]) % TARGETS.len() {
        0 => victim.as_os_str().as_encoded_bytes(),
        other => TARGETS[other].as_bytes(),
    };
    match member[0] & 0x7f {
        0..0x20 => tape::append(tar, b'5', name, b"", b""),
        0x20..0x30 => tape::append(tar, b'0', name, b"", b""),
        0x30..0x48 => tape::append(tar, b'0', name, b"", &member[2..]),
        0x48..0x60 => tape::append(tar, b'2', name, target, b""),
        0x60..0x78 => tape::append(tar, b'1', name, target, b""),
        0x78..0x7c => tape::append(tar, b'3', name, b"", b""),
        _ => tape::append(tar, b'6', name, b"", b""),
    }
}

/// One image does not have the same staged layer twice.
fn differ(layers: &[StagedLayer]) -> bool {
    layers.len() == 1 || layers[0].diff_id() != layers[1].diff_id()
}

/// Each layer comes back byte for byte.
fn assert_image(ground: &Ground, tars: &[Vec<u8>], layers: Vec<StagedLayer>) {
    let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id().clone()).collect();
    ground.commit(layers, |id, _| {
        let number = ids.iter().position(|known| known == id);
        let tar = number
            .map(|number| &tars[number])
            .expect("a layer that was committed");
        ground.assert_tar(id, tar);
    });
}
