//! Digests, sizes and compression: what was promised, or nothing.

use std::io::Read;

use rocker_image::store::{
    ChainLayer, Compression, ExpectedLayer, UnpackLimits, import_layer, unpack_layer,
};
use rocker_types::{DiffId, Digest};
use sha2::Digest as _;

use super::archive::{Member, archive, gzip, zstd};
use super::listing::names;
use super::support::{Host, chain_of, diff_id, promise, sha256};

fn sample() -> Vec<u8> {
    let noise: Vec<u8> = (0..600_000u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    archive(&[
        Member::directory("d"),
        Member::file("d/noise", noise),
        Member::file("e", "1"),
    ])
}

/// Unpacks and commits; the names in the layer, or the error.
fn attempt(host: &Host, blob: &[u8], expected: &ExpectedLayer) -> Result<Vec<String>, String> {
    let staging = host.stage();
    let limits = UnpackLimits::default();
    let layer = unpack_layer(&staging, blob, expected, &limits, &|_| ())
        .map_err(|error| chain_of(&error))?;
    let layers = host.store.commit(vec![ChainLayer::Staged(layer)]).unwrap();
    Ok(names(&host.store.layer_dir(&layers[0].diff_id)))
}

fn assert_accepted(context: &str, blob: &[u8], tar: &[u8], compression: Compression) {
    let host = Host::new();
    let result = attempt(&host, blob, &promise(blob, tar, compression));
    assert_eq!(
        result.unwrap(),
        ["d .", "d d", "f d/noise", "f e"],
        "{context}"
    );
    host.assert_untouched(context);
}

fn assert_refused(context: &str, blob: &[u8], expected: &ExpectedLayer, why: &str) {
    let host = Host::new();
    let error = attempt(&host, blob, expected).unwrap_err();
    assert!(error.contains(why), "{context}: {error}");
    host.assert_empty(context);
    host.assert_untouched(context);
}

#[test]
fn every_way_of_packing_gives_the_same_layer() {
    let tar = sample();
    let (first, second) = tar.split_at(100_000);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"toc!"].concat();
    assert_accepted("plain", &tar, &tar, Compression::None);
    assert_accepted("gzip", &gzip(&tar), &tar, Compression::Gzip);
    assert_accepted("zstd", &zstd(&tar), &tar, Compression::Zstd);
    let members = [gzip(first), gzip(&[]), gzip(second)].concat();
    assert_accepted("gzip members", &members, &tar, Compression::Gzip);
    let garbage = [gzip(&tar), b"\0\0\0 trailing garbage".to_vec()].concat();
    assert_accepted("garbage after gzip", &garbage, &tar, Compression::Gzip);
    let frames = [skippable.clone(), zstd(first), zstd(second), skippable].concat();
    assert_accepted("zstd frames", &frames, &tar, Compression::Zstd);
}

#[test]
fn what_follows_the_archive_belongs_to_the_diff_id_and_to_no_file() {
    let end = sample().len() - 1024;
    let without_end = sample()[..end].to_vec();
    let one_block = sample()[..end + 512].to_vec();
    let garbage = [sample(), vec![0; 10_240], b"garbage".repeat(100_000)].concat();
    for (context, tar) in [
        ("no end", without_end),
        ("one block", one_block),
        ("garbage", garbage),
    ] {
        assert_accepted(context, &gzip(&tar), &tar, Compression::Gzip);
    }
}

#[test]
fn an_empty_layer_is_a_layer() {
    for tar in [archive(&[]), Vec::new()] {
        let host = Host::new();
        assert_eq!(
            attempt(
                &host,
                &gzip(&tar),
                &promise(&gzip(&tar), &tar, Compression::Gzip)
            )
            .unwrap(),
            ["d ."]
        );
    }
}

#[test]
fn a_blob_that_is_not_as_promised_is_refused() {
    let tar = sample();
    let blob = gzip(&tar);
    let honest = promise(&blob, &tar, Compression::Gzip);
    let other = sha256(b"other");
    let wrong_blob = ExpectedLayer {
        blob: other.clone(),
        ..honest.clone()
    };
    assert_refused("digest", &blob, &wrong_blob, "has digest");
    let wrong_diff = ExpectedLayer {
        diff_id: DiffId(other),
        ..honest.clone()
    };
    assert_refused("diff id", &blob, &wrong_diff, "the image config promised");
    for size_bytes in [0, honest.size_bytes - 1, honest.size_bytes + 1, 1 << 62] {
        let wrong_size = ExpectedLayer {
            size_bytes,
            ..honest.clone()
        };
        assert_refused(
            &format!("size {size_bytes}"),
            &blob,
            &wrong_size,
            "its manifest promised",
        );
    }
    for cut in [1, 9, 10, 1000, blob.len() - 9, blob.len() - 1] {
        assert_refused(&format!("cut at {cut}"), &blob[..cut], &honest, "promised");
    }
    let mut flipped = blob.clone();
    flipped[blob.len() / 2] ^= 0x10;
    let host = Host::new();
    attempt(&host, &flipped, &honest).unwrap_err();
    host.assert_empty("one bit");
}

#[test]
fn a_layer_with_the_right_digest_may_still_be_damaged() {
    let tar = sample();
    let (gz, zst) = (gzip(&tar), zstd(&tar));
    for cut in [12, 1000, gz.len() - 9, gz.len() - 1] {
        let expected = promise(&gz[..cut], &tar, Compression::Gzip);
        assert_refused(
            &format!("gzip cut at {cut}"),
            &gz[..cut],
            &expected,
            "cannot decompress",
        );
    }
    let expected = promise(&zst[..zst.len() - 1], &tar, Compression::Zstd);
    assert_refused(
        "zstd",
        &zst[..zst.len() - 1],
        &expected,
        "cannot decompress",
    );
    for cut in [100, 600, 1500, 70_000] {
        let expected = promise(&tar[..cut], &tar[..cut], Compression::None);
        assert_refused(
            &format!("tar cut at {cut}"),
            &tar[..cut],
            &expected,
            "cut off",
        );
    }
    let noise = gzip(&tar)[1..].to_vec();
    let expected = promise(&noise, &noise, Compression::None);
    assert_refused("noise", &noise, &expected, "checksum");
    let resumed = [archive(&[])[..512].to_vec(), sample()].concat();
    let expected = promise(&resumed, &resumed, Compression::None);
    assert_refused(
        "goes on after an end",
        &resumed,
        &expected,
        "after an end marker",
    );
}

#[test]
fn the_media_type_and_the_bytes_must_agree() {
    let tar = sample();
    let blobs = [
        (Compression::None, tar.clone()),
        (Compression::Gzip, gzip(&tar)),
        (Compression::Zstd, zstd(&tar)),
    ];
    for (actual, blob) in &blobs {
        for (promised, _) in blobs.iter().filter(|(promised, _)| promised != actual) {
            let context = format!("{actual:?} as {promised:?}");
            assert_refused(
                &context,
                blob,
                &promise(blob, &tar, *promised),
                "media type",
            );
        }
    }
}

#[test]
fn sha512_is_verified_like_sha256() {
    let tar = sample();
    let blob = gzip(&tar);
    let sha512 = |bytes: &[u8]| Digest::from_sha512(sha2::Sha512::digest(bytes).into());
    let expected = ExpectedLayer {
        blob: sha512(&blob),
        diff_id: DiffId(sha512(&tar)),
        ..promise(&blob, &tar, Compression::Gzip)
    };
    let host = Host::new();
    attempt(&host, &blob, &expected).unwrap();
    assert!(host.store.has_layer(&expected.diff_id));
    let swapped = ExpectedLayer {
        diff_id: DiffId(sha512(&blob)),
        ..expected
    };
    assert_refused(
        "sha512 diff id",
        &blob,
        &swapped,
        "the image config promised",
    );
}

#[test]
fn imports_find_out_the_compression_and_the_diff_id() {
    let tar = sample();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let host = Host::new();
        let layer = import_layer(&host.stage(), blob.as_slice(), &UnpackLimits::default()).unwrap();
        assert_eq!(layer.diff_id(), &diff_id(&tar));
        assert_eq!(layer.size_bytes(), 600_001);
        let layer = host
            .store
            .commit(vec![ChainLayer::Staged(layer)])
            .unwrap()
            .remove(0);
        assert_eq!((layer.size_bytes, layer.was_present), (600_001, false));
        assert_eq!(host.store.layer_size(&layer.diff_id).unwrap(), 600_001);
    }
}

#[test]
fn an_import_that_is_compressed_in_another_way_says_how_to_help() {
    let host = Host::new();
    for (name, magic) in [
        ("xz", &b"\xfd7zXZ\0"[..]),
        ("bzip2", b"BZh9"),
        ("lz4", b"\x04\x22M\x18"),
    ] {
        let bytes = [magic, &[0; 600]].concat();
        let error = host
            .store
            .import(bytes.as_slice(), &UnpackLimits::default())
            .unwrap_err();
        let hint = rocker_types::Diagnose::hint(&error).unwrap();
        assert!(hint.contains(&format!("{name} -dc")), "{hint}");
    }
    let named_like_bzip2 = archive(&[Member::file("BZh", "1")]);
    host.store
        .import(named_like_bzip2.as_slice(), &UnpackLimits::default())
        .unwrap();
    host.assert_untouched("imports");
}

#[test]
fn progress_counts_compressed_bytes_up_to_all_of_them() {
    let host = Host::new();
    let (tar, last) = (sample(), std::sync::atomic::AtomicU64::new(0));
    let on_progress = |bytes| last.store(bytes, std::sync::atomic::Ordering::Relaxed);
    let expected = promise(&tar, &tar, Compression::None);
    unpack_layer(
        &host.stage(),
        tar.as_slice(),
        &expected,
        &UnpackLimits::default(),
        &on_progress,
    )
    .unwrap();
    assert_eq!(last.into_inner(), tar.len() as u64);
}

#[test]
fn bytes_may_arrive_one_by_one_and_the_source_may_fail() {
    /// Gives one byte at a time, and an error at the end.
    struct Trickle<'a>(&'a [u8], Option<std::io::Error>);
    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match (self.0.split_first(), self.1.take()) {
                (Some((byte, rest)), failure) => {
                    (self.0, self.1, buffer[0]) = (rest, failure, *byte);
                    Ok(1)
                }
                (None, Some(failure)) => Err(failure),
                (None, None) => Ok(0),
            }
        }
    }
    let tar = archive(&[Member::file("f", "1")]);
    let blob = zstd(&tar);
    let expected = promise(&blob, &tar, Compression::Zstd);
    let limits = UnpackLimits::default();
    let host = Host::new();
    unpack_layer(
        &host.stage(),
        Trickle(&blob, None),
        &expected,
        &limits,
        &|_| (),
    )
    .unwrap();

    let failure = std::io::Error::other("the network went away");
    let source = Trickle(&blob[..blob.len() - 1], Some(failure));
    let error = unpack_layer(&host.stage(), source, &expected, &limits, &|_| ()).unwrap_err();

    assert!(
        chain_of(&error).contains("the network went away"),
        "{error:?}"
    );
    host.assert_untouched("failing source");
}

#[test]
fn blobs_are_kept_only_under_their_own_digest() {
    let host = Host::new();
    let (bytes, digest) = (b"{}".as_slice(), sha256(b"{}"));
    assert!(!host.store.has_blob(&digest));
    let error = host.store.read_blob(&digest).unwrap_err();
    assert!(error.to_string().contains("is not in the store"), "{error}");
    assert!(host.store.write_blob(&sha256(b"other"), bytes).is_err());

    host.store.write_blob(&digest, bytes).unwrap();
    host.store.write_blob(&digest, bytes).unwrap();

    assert!(host.store.has_blob(&digest));
    assert_eq!(host.store.read_blob(&digest).unwrap(), bytes);
    fs_err::write(host.store.layout().blob(&digest), "[]").unwrap();
    let error = host.store.read_blob(&digest).unwrap_err();
    assert!(error.to_string().contains("other content"), "{error}");
    host.store.remove_blob(&digest).unwrap();
    host.store.remove_blob(&digest).unwrap();
    assert!(!host.store.has_blob(&digest));
    host.assert_untouched("blobs");
}
