//! What one pull leaves, and the next one makes of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rocker_image::registry::{PullRequest, pull};
use rocker_image::store::UnpackLimits;
use rocker_testkit::image::{Compression, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};

use crate::ground::{Ground, Recorder, chain, impatient_request, noise, request};

/// Where the last layer's transfer stops.
const STALL: usize = 1 << 20;

fn layer(n: u64, bytes: usize) -> Layer {
    Layer::new()
        .file(&format!("only/implied/{n}"), noise(n, bytes))
        .file("name", format!("layer {n}"))
}

/// Two layers that come, and a third of 2 MiB that stalls half-way.
fn image(last: Compression) -> Image {
    ImageBuilder::new()
        .layer(layer(1, 300_000))
        .layer(layer(2, 200_000).compression(Compression::Zstd))
        .layer(layer(3, 2 << 20).compression(last))
        .build()
}

/// Whether two layers are whole, and the third has come as far as it comes.
fn has_stalled(ground: &Ground, image: &Image) -> bool {
    let last = format!("blob-{}", image.layers[2].digest.replace(':', "-"));
    places(ground).iter().any(|directory| {
        let names = fs_err::read_dir(directory).into_iter().flatten().flatten();
        let done = names.filter(|entry| entry.path().extension() == Some("done".as_ref()));
        let blob = fs_err::metadata(directory.join(&last));
        done.count() == 2 && blob.is_ok_and(|blob| blob.len() == STALL as u64)
    })
}

/// A pull of `image` that is interrupted; the bytes that were served until then.
fn interrupt(ground: &Ground, reference: &str, image: &Image) -> u64 {
    let last = &image.layers[2].digest;
    let stall = Action::StallAfter(STALL);
    ground.registry.fault(On::Path(last.clone()), 1, stall);
    let cancelled = || has_stalled(ground, image);
    let request = PullRequest {
        cancelled: &cancelled,
        ..request(reference)
    };
    let error = ground.pull_with(&request).unwrap_err();
    assert!(chain(&error).contains("interrupted"), "{}", chain(&error));
    ground.registry.bytes_served()
}

/// The same with an image of its own.
fn interrupted(ground: &Ground, image: &Image) -> (String, u64) {
    let reference = ground.registry.push("app:1", image);
    let served = interrupt(ground, &reference, image);
    (reference, served)
}

fn bytes_of(image: &Image) -> u64 {
    let blobs = image.blobs().chain([&image.manifest]);
    blobs.map(|blob| blob.bytes.len() as u64).sum()
}

/// The directories in `tmp/`.
fn places(ground: &Ground) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(ground.directory.path().join("root/tmp")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The one that stays. A pull that is interrupted does not wait for the thread that writes its
/// documents, which takes along what it made.
fn left(ground: &Ground) -> PathBuf {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut places = places(ground);
        if places.len() == 1 {
            return places.remove(0);
        }
        assert!(Instant::now() < end, "{places:?}");
        std::thread::yield_now();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn assert_whole(ground: &Ground, image: &rocker_image::registry::PulledImage) {
    for (n, bytes) in [(1, 300_000), (2, 200_000), (3, 2 << 20)] {
        let layer = &image.layers[usize::try_from(n).unwrap() - 1].diff_id;
        let file = format!("only/implied/{n}");
        let content = fs_err::read(ground.store.layer_dir(layer).join(file)).unwrap();
        assert!(content == noise(n, bytes), "layer {n}");
        let mut tar = Vec::new();
        ground.store.write_tar(layer, &mut tar).unwrap();
    }
}

#[test]
fn the_next_pull_fetches_only_what_is_missing() {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Plain] {
        let ground = Ground::new();
        let image = image(compression);
        let (reference, taken) = interrupted(&ground, &image);
        let unfinished = ground.store.unfinished_pulls().unwrap();
        assert_eq!(unfinished.len(), 1, "{unfinished:?}");
        assert_eq!((unfinished[0].layers, unfinished[0].blobs), (2, 1));
        assert!(
            unfinished[0].bytes > 500_000 + STALL as u64,
            "{unfinished:?}"
        );
        // the layer that was being unpacked is of no use to anybody
        ground.store.sweep().unwrap();
        assert_eq!(
            names(&left(&ground)).len(),
            7,
            "{:?}",
            names(&left(&ground))
        );

        let recorder = Recorder::default();
        let pulled = pull(&ground.store, &request(&reference), &recorder).unwrap();

        let all = ground.registry.bytes_served();
        assert!(taken > STALL as u64 && all > taken, "{taken} of {all}");
        // manifest and config come twice
        assert!(
            all < bytes_of(&image) + 10_000,
            "{all} of {}",
            bytes_of(&image)
        );
        let last = recorder.of(&image.layers[2].digest);
        assert_eq!(
            last,
            ["waiting", "resuming", "downloading", "extracting", "done"]
        );
        assert_eq!(recorder.of(&image.layers[0].digest), ["waiting", "done"]);
        assert_whole(&ground, &pulled);
        drop(pulled);
        assert_eq!(places(&ground).len(), 0);
    }
}

/// Changes every file whose name has `wanted` in it.
fn change(directory: &Path, wanted: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    for name in names(directory).iter().filter(|name| name.contains(wanted)) {
        let path = directory.join(name);
        let bytes = fs_err::read(&path).unwrap();
        fs_err::write(&path, change(bytes)).unwrap();
    }
}

/// A name, a way to spoil what is left, and how many bytes must be fetched again because of it.
type Damage = (&'static str, fn(&Path), usize);

fn damages() -> [Damage; 6] {
    [
        (
            "a changed byte",
            |left| {
                change(left, "blob-", |mut bytes| {
                    bytes[99_999] ^= 1;
                    bytes
                });
            },
            STALL,
        ),
        (
            "zeros at the end",
            |left| {
                change(left, "blob-", |mut bytes| {
                    bytes[STALL - 5000..].fill(0);
                    bytes
                });
            },
            STALL,
        ),
        (
            "too long a start",
            |left| change(left, "blob-", |bytes| bytes.repeat(4)),
            STALL,
        ),
        (
            "another boot",
            |left| {
                change(left, ".done", |bytes| {
                    let text = String::from_utf8(bytes).unwrap();
                    text.replacen("\"boot\":\"", "\"boot\":\"x", 1).into()
                });
            },
            500_000,
        ),
        (
            "half a note",
            |left| change(left, ".done", |bytes| bytes[..bytes.len() / 2].to_vec()),
            500_000,
        ),
        (
            "no recipe",
            |left| {
                for name in names(left).iter().filter(|name| name.ends_with(".recipe")) {
                    fs_err::remove_file(left.join(name)).unwrap();
                }
            },
            500_000,
        ),
    ]
}

#[test]
fn what_is_damaged_or_of_another_boot_is_fetched_again() {
    for (name, damage, again) in damages() {
        let ground = Ground::new();
        let image = image(Compression::Gzip);
        let (reference, _) = interrupted(&ground, &image);
        damage(&left(&ground));

        let pulled = ground
            .pull(&reference)
            .unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));

        let all = ground.registry.bytes_served();
        assert!(all >= bytes_of(&image) + again as u64, "{name}: {all}");
        assert_whole(&ground, &pulled);
        drop(pulled);
        assert_eq!(places(&ground).len(), 0, "{name}");
    }
}

#[test]
fn leftovers_wait_for_a_week_or_for_a_prune() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, _) = interrupted(&ground, &image);
    let directory = left(&ground);
    let day = Duration::from_secs(24 * 60 * 60);
    let set_age = |days: u32| {
        let time = SystemTime::now() - day * days;
        fs_err::File::open(&directory)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };

    ground.store.sweep().unwrap();
    set_age(6);
    ground.store.sweep().unwrap();
    assert_eq!(ground.store.unfinished_pulls().unwrap().len(), 1);
    set_age(8);
    assert_eq!(ground.store.sweep().unwrap().trash.len(), 1);
    ground.assert_store_is_empty();

    interrupt(&ground, &reference, &image);
    left(&ground);
    assert!(ground.store.remove_unfinished().unwrap() > STALL as u64);
    ground.assert_store_is_empty();
}

#[test]
fn what_is_about_to_be_deleted_is_not_waited_for() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let reference = ground.registry.push("app:1", &image);
    // of a pull that was killed before the first byte of a blob came
    let place = ground.directory.path().join("root/tmp/0123456789abcdef");
    fs_err::create_dir_all(place.join("layer-0/etc")).unwrap();
    for layer in &image.layers {
        let claim = format!("want-{}", layer.digest.replace(':', "-"));
        fs_err::write(place.join(claim), "").unwrap();
    }
    fs_err::write(place.join("waits"), "").unwrap();

    let swept = ground.store.sweep().unwrap();

    assert_eq!(swept.trash.len(), 1);
    let recorder = Recorder::default();
    let pulled = pull(&ground.store, &request(&reference), &recorder).unwrap();
    for layer in &image.layers {
        let states = recorder.of(&layer.digest);
        assert!(!states.contains(&"elsewhere".to_owned()), "{states:?}");
    }
    drop((pulled, swept));
    assert_eq!(places(&ground).len(), 0);
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_of_it_again() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, taken) = interrupted(&ground, &image);
    let last = &image.layers[2].digest;
    ground
        .registry
        .fault(On::Path(last.clone()), 1, Action::IgnoreRange);

    let pulled = ground.pull(&reference).unwrap();

    assert!(ground.registry.bytes_served() > taken + (2 << 20));
    assert_whole(&ground, &pulled);
}

#[test]
fn bytes_that_are_known_already_are_progress_as_well() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, _) = interrupted(&ground, &image);
    let last = On::Path(image.layers[2].digest.clone());
    // what is known takes longer to come again than a registry may be silent
    let slow = Action::IgnoreRangeAt(STALL / 2);
    ground.registry.fault(last, u32::MAX, slow);

    let pulled = ground.pull_with(&impatient_request(&reference));

    assert_whole(
        &ground,
        &pulled.unwrap_or_else(|error| panic!("{}", chain(&error))),
    );
}

#[test]
fn a_layer_that_is_wrong_from_the_first_byte_is_refused_also_when_it_is_resumed() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, _) = interrupted(&ground, &image);
    let last = &image.layers[2].digest;
    ground
        .registry
        .fault(On::Path(last.clone()), u32::MAX, Action::FlipByte);

    let error = ground.pull(&reference).unwrap_err();

    assert!(chain(&error).contains(last), "{}", chain(&error));
    ground.assert_store_is_empty();
}

#[test]
fn what_exceeds_a_limit_is_not_fetched_once_more() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, taken) = interrupted(&ground, &image);
    let request = PullRequest {
        limits: UnpackLimits {
            unpacked_bytes: 3 << 19,
            ..UnpackLimits::default()
        },
        ..request(&reference)
    };

    let error = ground.pull_with(&request).unwrap_err();

    assert!(chain(&error).contains("unpacked_bytes"), "{error:?}");
    let again = ground.registry.bytes_served() - taken;
    assert!(again < (STALL + STALL / 2) as u64, "{again} bytes came");
    ground.assert_store_is_empty();
}

#[test]
fn an_image_that_shares_a_layer_leaves_the_rest_to_the_one_that_was_interrupted() {
    let ground = Ground::new();
    let image = image(Compression::Gzip);
    let (reference, taken) = interrupted(&ground, &image);
    let other = ImageBuilder::new()
        .layer(layer(1, 300_000))
        .layer(Layer::new().file("other", noise(9, 1000)))
        .build();
    let other = ground.registry.push("other:1", &other);

    drop(ground.pull(&other).unwrap());

    // a layer and the start of a blob that the other image does not have
    let unfinished = ground.store.unfinished_pulls().unwrap();
    assert_eq!(unfinished.len(), 1, "{unfinished:?}");
    assert_eq!((unfinished[0].layers, unfinished[0].blobs), (1, 1));
    let names = names(&left(&ground));
    assert_eq!(names.len(), 4, "{names:?}");
    let before = ground.registry.bytes_served();
    assert!(before < taken + 10_000, "the shared layer came again");
    let pulled = ground.pull(&reference).unwrap();
    let again = ground.registry.bytes_served() - before;
    assert!(again < (STALL + STALL / 2) as u64, "{again} bytes came");
    assert_whole(&ground, &pulled);
    drop(pulled);
    assert_eq!(places(&ground).len(), 0);
}
