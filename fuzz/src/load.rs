//! Archives as `load` reads them.

use std::io::{Seek as _, Write as _};

use rocker_image::document::digest_of;
use rocker_image::exchange::{LoadRequest, LoadSource, LoadedImage, load};
use rocker_types::{Algorithm, Digest};

use super::ground::{Ground, limits, on_ground};
use super::tape;

/// A whole archive, with its checksums put right.
pub fn archive(data: &[u8]) {
    load_tar(&tape::mended(data));
}

/// What an archive says of itself: a byte that chooses the layout, then `manifest.json` or
/// `index.json`. The archive has a layer, a config and a manifest that the text can name.
pub fn archive_index(data: &[u8]) {
    let Some((first, index)) = data.split_first() else {
        return;
    };
    let mut tar = Vec::new();
    for (digest, blob) in blobs() {
        let name = format!("blobs/sha256/{}", digest.to_string().replace("sha256:", ""));
        tape::append(&mut tar, b'0', name.as_bytes(), b"", &blob);
    }
    let [layer, config, _] = blobs();
    tape::append(&mut tar, b'0', b"layer.tar", b"", &layer.1);
    tape::append(&mut tar, b'0', b"config.json", b"", &config.1);
    tape::append(&mut tar, b'2', b"link", b"layer.tar", b"");
    match first % 3 {
        0 => tape::append(&mut tar, b'0', b"manifest.json", b"", index),
        1 => {
            tape::append(
                &mut tar,
                b'0',
                b"oci-layout",
                b"",
                br#"{"imageLayoutVersion":"1.0.0"}"#,
            );
            tape::append(&mut tar, b'0', b"index.json", b"", index);
        }
        _ => tape::append(&mut tar, b'0', b"repositories", b"", index),
    }
    tape::finish(&mut tar);
    load_tar(&tar);
}

/// A layer, its config and its manifest, always the same.
pub fn blobs() -> [(Digest, Vec<u8>); 3] {
    let mut layer = Vec::new();
    tape::append(&mut layer, b'0', b"file", b"", b"content");
    tape::finish(&mut layer);
    let digest = |bytes: &[u8]| digest_of(Algorithm::Sha256, bytes);
    let layer_id = digest(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_id}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_id}","size":{}}}]}}"#,
        digest(config.as_bytes()),
        config.len(),
        layer.len()
    );
    [
        (layer_id, layer),
        (digest(config.as_bytes()), config.into_bytes()),
        (digest(manifest.as_bytes()), manifest.into_bytes()),
    ]
}

fn load_tar(tar: &[u8]) {
    on_ground(|ground| {
        let mut file = tempfile::tempfile_in(ground.path()).expect("a file without a name");
        file.write_all(tar).expect("a file can be written");
        file.rewind()
            .expect("a file can be read from its beginning");
        let request = LoadRequest {
            platform: None,
            only: None,
            policy: None,
            limits: limits(),
            on_layer: &|_, _| (),
            cancelled: &|| false,
        };
        let source = LoadSource::Archive(fs_err::File::from_parts(file, "archive"));
        let images = load(&ground.store, source, &request);
        images
            .iter()
            .flatten()
            .for_each(|image| assert_whole(ground, image));
        clear(ground);
    });
}

/// What was loaded is in the store, under names that are names.
fn assert_whole(ground: &Ground, image: &LoadedImage) {
    assert_eq!(
        ground.store.read_blob(&image.id).ok().as_ref(),
        Some(&image.config)
    );
    assert!(
        image
            .layers
            .iter()
            .all(|layer| ground.store.has_layer(&layer.diff_id))
    );
    for name in &image.names {
        super::reference(name.canonical().as_bytes());
    }
}

/// Removes what a load leaves for its caller: images, or layers that nobody needs.
fn clear(ground: &Ground) {
    for layer in ground.store.layers().expect("the layers can be listed") {
        ground
            .store
            .remove_layer(&layer)
            .expect("a layer can be removed");
    }
    let blobs = ground.path().join("root/blobs/sha256");
    for blob in fs_err::read_dir(blobs).into_iter().flatten().flatten() {
        fs_err::remove_file(blob.path()).expect("a blob can be removed");
    }
}
