//! Pushes: what goes over the wire, and how often.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rocker_image::document::{Compression, Descriptor};
use rocker_image::registry::{
    Credential, Elsewhere, Endpoint, KnownBlob, NoPushProgress, PulledImage, PushCompression,
    PushError, PushEvent, PushProgress, PushRequest, PushState, PushedImage, RegistryOptions,
    Reuse, push,
};
use rocker_testkit::image::{Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, Auth, On, Registry, RequestRecord};
use rocker_types::{Diagnose as _, DiffId, ErrorKind, ImageRef};

use crate::ground::{Ground, impatient_request, noise, request};

/// An image in a store, the registry that it came from, and another one that it goes to.
struct Journey {
    ground: Ground,
    image: PulledImage,
    target: Registry,
}

fn large() -> Image {
    let layer = Layer::new().file("noise", noise(7, 12_000_000));
    ImageBuilder::new().layer(layer).build()
}

impl Journey {
    fn new(image: &Image, auth: Auth) -> Self {
        let ground = Ground::new();
        let reference = ground.registry.push("origin/app:1", image);
        let image = ground.pull(&reference).unwrap();
        Self {
            ground,
            image,
            target: Registry::with_auth(auth),
        }
    }

    fn known(&self, layer: &DiffId, seen_in: &[ImageRef]) -> Vec<KnownBlob> {
        let layer = self
            .image
            .layers
            .iter()
            .find(|known| known.diff_id == *layer);
        let layer = layer.unwrap();
        vec![KnownBlob {
            blob: Descriptor {
                media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
                digest: layer.blob_digest.clone(),
                size: layer.blob_size,
            },
            seen_in: seen_in.to_vec(),
        }]
    }

    /// Pushes to the target; the layers are said to be at their origin or nowhere.
    fn push(
        &self,
        origin: bool,
        options: RegistryOptions,
        progress: &dyn PushProgress,
    ) -> Result<PushedImage, PushError> {
        let origin = origin.then(|| self.image.reference.clone());
        let seen_in: Vec<ImageRef> = origin.into_iter().collect();
        self.push_seen_in(&seen_in, options, progress)
    }

    /// The same where the layers are said to be in these repositories.
    fn push_seen_in(
        &self,
        seen_in: &[ImageRef],
        options: RegistryOptions,
        progress: &dyn PushProgress,
    ) -> Result<PushedImage, PushError> {
        let request = PushRequest {
            reference: format!("{}/app:1", self.target.host()).parse().unwrap(),
            registry: options,
            instead: None,
            image_id: self.image.image_id.clone(),
            manifest: Some(self.image.manifest_digest.clone()),
            layers: self
                .image
                .layers
                .iter()
                .map(|layer| layer.diff_id.clone())
                .collect(),
            known_blobs: &|layer| self.known(layer, seen_in),
            elsewhere: Elsewhere::new(|origin| Some(Endpoint::of(origin, request("x/y").registry))),
            compression: PushCompression::Gzip,
            reuse: Reuse::Any,
            level: None,
            format: None,
            cancelled: &|| false,
        };
        push(&self.ground.store, &request, progress)
    }

    fn content_ranges(&self) -> Vec<String> {
        let requests = self.target.requests();
        requests
            .into_iter()
            .filter_map(|request| request.content_range)
            .collect()
    }
}

fn chain(error: &PushError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn the_rest_of_a_broken_upload_goes_in_chunks_that_may_break_again() {
    for origin in [true, false] {
        let journey = Journey::new(&large(), Auth::Open);
        journey
            .target
            .fault(On::Method("PATCH"), 1, Action::CutUploadAfter(3_000_000));
        journey
            .target
            .fault(On::Method("PATCH"), 1, Action::CutUploadAfter(2_000_000));

        let pushed = journey
            .push(origin, request("x").registry, &NoPushProgress)
            .unwrap();

        let ranges = journey.content_ranges();
        let start = |range: &String| range.split('-').next().map(str::to_owned);
        let starts: Vec<_> = ranges.iter().filter_map(start).collect();
        assert_eq!(starts[..2], ["3000000", "5000000"], "{ranges:?}");
        assert_eq!(starts.len(), 3, "5 MiB and the rest: {ranges:?}");
        assert_eq!(pushed.digest == journey.image.manifest_digest, origin);
        assert_eq!(journey.target.open_uploads(), 0);
        // the blob is what it says, and unpacks to the layer
        let reference = format!("{}/app:1", journey.target.host());
        let again = Ground::new().pull(&reference).unwrap();
        assert_eq!(again.image_id, journey.image.image_id);
    }
}

/// Makes the registry forget its tokens while a layer is on its way.
struct Forgetful<'a> {
    registry: &'a Registry,
    left: AtomicU32,
}

impl PushProgress for Forgetful<'_> {
    fn event(&self, event: PushEvent<'_>) {
        let is_waiting = matches!(
            event,
            PushEvent::Layer {
                state: PushState::Waiting,
                ..
            } | PushEvent::Retrying { .. }
        );
        if is_waiting && self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            self.registry.expire_tokens();
        }
    }
}

#[test]
fn a_token_that_expires_during_a_push_is_renewed() {
    let user = || ("ann".to_owned(), "secret".to_owned());
    let journey = Journey::new(&large(), Auth::Token { user: Some(user()) });
    // the stream finds out that its token is no good when all of it is sent
    journey
        .target
        .fault(On::Method("PATCH"), 1, Action::Status(500));
    let mut options = request("x").registry;
    let (username, password) = user();
    let credential = Credential::Basic { username, password };
    options
        .credentials
        .insert(&journey.target.host(), credential);
    let progress = Forgetful {
        registry: &journey.target,
        left: AtomicU32::new(2),
    };

    let pushed = journey.push(true, options, &progress);

    let pushed = pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(pushed.digest, journey.image.manifest_digest);
    let requests = journey.target.requests();
    assert!(
        requests
            .iter()
            .filter(|r| r.path.starts_with("/token"))
            .count()
            >= 2
    );
}

#[test]
fn a_blob_that_its_registry_spoilt_is_not_passed_on() {
    let journey = Journey::new(&large(), Auth::Open);
    let blob = journey.image.layers[0].blob_digest.to_string();
    let spoil = On::Path(format!("/blobs/{blob}"));
    journey.ground.registry.fault(spoil, 99, Action::FlipByte);

    let pushed = journey
        .push(true, request("x").registry, &NoPushProgress)
        .unwrap();

    assert_ne!(pushed.digest, journey.image.manifest_digest);
    assert!(journey.target.blob("app", &blob).is_none());
    assert_eq!(journey.target.open_uploads(), 0);
    let reference = format!("{}/app:1", journey.target.host());
    let again = Ground::new().pull(&reference).unwrap();
    assert_eq!(again.image_id, journey.image.image_id);
}

#[test]
fn a_layer_that_was_changed_on_disk_is_not_pushed() {
    let journey = Journey::new(&large(), Auth::Open);
    let directory = journey
        .ground
        .store
        .layer_dir(&journey.image.layers[0].diff_id);
    fs_err::write(directory.join("noise"), noise(8, 12_000_000)).unwrap();

    let error = journey
        .push(false, request("x").registry, &NoPushProgress)
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Tampered, "{}", chain(&error));
    assert!(journey.target.manifest("app:1").is_none());
    assert_eq!(journey.target.open_uploads(), 0);
}

#[test]
fn a_registry_that_takes_nothing_more_is_given_up() {
    let journey = Journey::new(&large(), Auth::Open);
    journey
        .target
        .fault(On::Method("PATCH"), 99, Action::StallUploadAfter(0));
    let mut options = impatient_request("x").registry;
    options.retry.retries = 1;
    let start = Instant::now();

    let error = journey.push(true, options, &NoPushProgress).unwrap_err();

    assert!(chain(&error).contains("no progress"), "{}", chain(&error));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert!(journey.target.manifest("app:1").is_none());
}

#[test]
fn a_known_blob_of_any_compression_is_one_that_can_be_there_already() {
    let journey = Journey::new(&large(), Auth::Open);
    let blob = journey.image.layers[0].blob_digest.to_string();
    let kept = journey.ground.registry.blob("origin/app", &blob).unwrap();
    journey.target.put_blob("app", kept);

    let pushed = journey
        .push(false, request("x").registry, &NoPushProgress)
        .unwrap();

    assert_eq!(pushed.digest, journey.image.manifest_digest);
    let known = journey.known(&journey.image.layers[0].diff_id, &[]);
    assert_eq!(known[0].blob.compression(), Some(Compression::Gzip));
    let patches = journey.target.requests();
    assert!(patches.iter().all(|request| request.method != "PATCH"));
}

#[test]
fn a_config_whose_upload_fails_is_sent_again() {
    let journey = Journey::new(&large(), Auth::Open);
    let config = On::Path(journey.image.image_id.hex().to_owned());
    // the question whether it is there, and then its upload twice
    journey.target.fault(config, 3, Action::Hangup);

    let pushed = journey.push(true, request("x").registry, &NoPushProgress);

    let pushed = pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(pushed.digest, journey.image.manifest_digest);
    assert_eq!(
        journey.target.open_uploads(),
        0,
        "{:?}",
        journey.target.requests()
    );
}

#[test]
fn a_registry_that_loses_track_of_an_upload_gets_it_again() {
    for action in [
        Action::Status(404),
        Action::Status(416),
        // what one answers that takes streams only
        Action::Status(400),
    ] {
        let journey = Journey::new(&large(), Auth::Open);
        journey
            .target
            .fault(On::Method("PATCH"), 1, Action::CutUploadAfter(3_000_000));
        journey.target.fault(On::Method("PATCH"), 1, action.clone());

        let pushed = journey.push(true, request("x").registry, &NoPushProgress);

        let pushed = pushed.unwrap_or_else(|error| panic!("{action:?} {}", chain(&error)));
        assert_eq!(pushed.digest, journey.image.manifest_digest);
        assert_eq!(journey.target.open_uploads(), 0, "{action:?}");
    }
    let journey = Journey::new(&large(), Auth::Open);
    journey
        .target
        .fault(On::Method("PATCH"), 99, Action::Status(400));
    let error = journey
        .push(true, request("x").registry, &NoPushProgress)
        .unwrap_err();
    assert!(chain(&error).contains("status 400"), "{}", chain(&error));
    let patches = journey.target.requests();
    let patches = patches.iter().filter(|request| request.method == "PATCH");
    assert_eq!(patches.count(), 1, "a refusal is not argued with");
}

/// What was sent to `registry`, by method.
fn sent_to<'r>(requests: &'r [RequestRecord], registry: &Registry) -> Vec<&'r RequestRecord> {
    let host = registry.host();
    requests.iter().filter(|r| r.host == host).collect()
}

/// How a client that may do everything at the target's first entrance talks to it.
fn as_ann(journey: &Journey) -> RegistryOptions {
    let mut options = request("x").registry;
    let credential = Credential::Basic {
        username: "ann".to_owned(),
        password: "secret".to_owned(),
    };
    let host = journey.target.host();
    options.credentials.insert(&host, credential);
    options
}

fn basic() -> Auth {
    Auth::Basic {
        user: "ann".to_owned(),
        password: "secret".to_owned(),
    }
}

#[test]
fn a_token_that_expires_while_a_layer_is_on_its_way_is_renewed() {
    for origin in [true, false] {
        let user = Some(("ann".to_owned(), "secret".to_owned()));
        let journey = Journey::new(&large(), Auth::Token { user });
        let on = On::Method("PATCH");
        journey.target.fault(on, 1, Action::ExpireTokens);

        let pushed = journey.push(origin, as_ann(&journey), &NoPushProgress);

        let pushed = pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(pushed.digest == journey.image.manifest_digest, origin);
        let requests = journey.target.requests();
        let patches = requests.iter().filter(|request| request.method == "PATCH");
        let statuses: Vec<_> = patches.map(|patch| patch.status).collect();
        assert_eq!(statuses.first(), Some(&401), "{statuses:?}");
        assert_eq!(statuses.last(), Some(&202), "{statuses:?}");
        assert_eq!(journey.target.open_uploads(), 0);
    }
}

#[test]
fn a_token_service_that_grants_all_or_nothing_is_asked_for_less() {
    for status in [400, 401, 403] {
        let user = Some(("ann".to_owned(), "secret".to_owned()));
        let journey = Journey::new(&large(), Auth::Token { user });
        journey.target.hand_out_tokens_only_for("app", status);
        let foreign = format!("{}/theirs:1", journey.target.host());
        let foreign: ImageRef = foreign.parse().unwrap();

        let pushed = journey.push_seen_in(&[foreign], as_ann(&journey), &NoPushProgress);

        pushed.unwrap_or_else(|error| panic!("{status} {}", chain(&error)));
        let requests = journey.target.requests();
        let tokens: Vec<_> = requests
            .iter()
            .filter(|request| request.path.starts_with("/token") && request.path.contains("app"))
            .map(|request| request.path.contains("theirs"))
            .collect();
        assert_eq!(tokens[..2], [true, false], "{tokens:?}");
        assert!(!tokens[1..].contains(&true), "it is asked for it again");
    }
}

#[test]
fn uploads_that_go_on_elsewhere_are_not_followed_by_credentials() {
    for (origin, auth) in [(true, basic()), (false, basic())] {
        let journey = Journey::new(&large(), auth);
        let other = journey.target.beside(Auth::Open);
        journey.target.send_uploads_to(&other.host());
        let on = On::Method("PATCH");
        journey
            .target
            .fault(on, 1, Action::CutUploadAfter(3_000_000));

        let pushed = journey.push(origin, as_ann(&journey), &NoPushProgress);

        pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
        let requests = journey.target.requests();
        let there = sent_to(&requests, &other);
        let methods = |name: &str| there.iter().filter(|r| r.method == name).count();
        assert!(methods("PATCH") > 1 && methods("PUT") > 1, "{there:?}");
        let with_credentials = there.iter().filter(|r| r.authorization.is_some());
        assert_eq!(with_credentials.count(), 0, "{there:?}");
        assert!(journey.target.manifest("app:1").is_some());
        assert_eq!(journey.target.open_uploads(), 0);
    }
}

#[test]
fn what_is_sent_elsewhere_goes_there_whole_and_without_credentials() {
    for on in [
        On::Method("HEAD"),
        On::Method("POST"),
        On::Method("PATCH"),
        On::Method("PUT"),
        On::Manifest,
    ] {
        let journey = Journey::new(&large(), basic());
        let other = journey.target.beside(Auth::Open);
        let action = Action::SendTo(other.host());
        journey.target.fault(on.clone(), 1, action);

        let pushed = journey.push(true, as_ann(&journey), &NoPushProgress);

        let pushed = pushed.unwrap_or_else(|error| panic!("{on:?} {}", chain(&error)));
        assert_eq!(pushed.digest, journey.image.manifest_digest, "{on:?}");
        let requests = journey.target.requests();
        let there = sent_to(&requests, &other);
        assert!(!there.is_empty(), "{on:?}");
        let with_credentials = there.iter().filter(|r| r.authorization.is_some());
        assert_eq!(with_credentials.count(), 0, "{on:?} {there:?}");
        assert_eq!(journey.target.open_uploads(), 0, "{on:?} {requests:?}");
    }
    // and round and round
    let journey = Journey::new(&large(), Auth::Open);
    let action = Action::SendTo(journey.target.host());
    journey.target.fault(On::Method("PATCH"), 999, action);
    let error = journey.push(true, request("x").registry, &NoPushProgress);
    let error = chain(&error.unwrap_err());
    assert!(error.contains("one redirect too many"), "{error}");
}

#[test]
fn what_was_compressed_once_is_told() {
    let journey = Journey::new(&large(), Auth::Open);
    let push = || {
        journey
            .push(false, request("x").registry, &NoPushProgress)
            .unwrap()
    };

    let pushed = push();

    let [(layer, blob)] = pushed.compressed.as_slice() else {
        panic!("one layer: {:?}", pushed.compressed);
    };
    assert_eq!(*layer, journey.image.layers[0].diff_id);
    assert_eq!(blob.compression(), Some(Compression::Gzip));
    assert!(
        journey
            .target
            .blob("app", &blob.digest.to_string())
            .is_some()
    );
    let store = &journey.ground.store;
    store.remember_blobs([(layer, blob)].into_iter()).unwrap();
    assert_eq!(
        store.blobs_of(layer).first(),
        Some(blob),
        "the latest first"
    );
}
