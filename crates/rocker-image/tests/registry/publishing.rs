//! Layers that others wait for.

use std::time::{Duration, Instant};

use rocker_testkit::image::{Compression, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rustix::fs::{FlockOperation, flock};

use crate::ground::{Ground, chain, noise};

#[test]
fn transfers_go_on_while_a_layer_goes_into_the_store() {
    let ground = Ground::new();
    let large = Layer::new().file("large", noise(2, 24 << 20));
    let image = ImageBuilder::new()
        .layer(Layer::new().file("small", "1"))
        .layer(large.compression(Compression::Plain))
        .build();
    let reference = ground.registry.push("app:1", &image);
    let last = On::Path(image.layers[1].digest.clone());
    ground
        .registry
        .fault(last, u32::MAX, Action::Throttle(24_000_000));
    // somebody who waits for us, and another one who keeps the store to himself
    let root = ground.directory.path().join("root");
    let watcher = root.join("tmp/0123456789abcdef");
    fs_err::create_dir(&watcher).unwrap();
    fs_err::write(watcher.join("waits"), "").unwrap();
    let lock = |path| {
        let file = fs_err::File::open(path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        file
    };
    let (_watcher, layers) = (lock(watcher), lock(root.join("layers")));
    let blobs = image.blobs().chain([&image.manifest]);
    let all: u64 = blobs.map(|blob| blob.bytes.len() as u64).sum();

    std::thread::scope(|scope| {
        let pull = scope.spawn(|| {
            let pulled = ground.pull(&reference);
            pulled.map_err(|error| chain(&error)).unwrap()
        });
        let end = Instant::now() + Duration::from_secs(30);
        while ground.registry.bytes_served() < all && Instant::now() < end && !pull.is_finished() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let (served, has_ended) = (ground.registry.bytes_served(), pull.is_finished());
        drop(layers);
        let pulled = pull.join().unwrap();
        assert!(served >= all && !has_ended, "{served} of {all}");
        assert_eq!(ground.file(&pulled, 0, "small"), "1");
    });
}
