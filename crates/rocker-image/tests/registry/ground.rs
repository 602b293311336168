//! What the tests stand on.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocker_image::registry::{
    LayerState, NoProgress, PullError, PullEvent, PullProgress, PullRequest, PulledImage,
    RetryPolicy, Timeouts, pull,
};
use rocker_image::store::Store;
use rocker_testkit::image::{Compression, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Auth, Registry};
use rocker_types::{ImageRef, Layout};

/// A registry and an empty store.
pub(crate) struct Ground {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with_auth(Auth::Open)
    }

    pub(crate) fn with_auth(auth: Auth) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().join("root"), directory.path().join("run"));
        Self {
            registry: Registry::with_auth(auth),
            store: Store::open(&layout).unwrap(),
            directory,
        }
    }

    pub(crate) fn pull(&self, reference: &str) -> Result<PulledImage, PullError> {
        self.pull_with(&request(reference))
    }

    pub(crate) fn pull_with(&self, request: &PullRequest<'_>) -> Result<PulledImage, PullError> {
        pull(&self.store, request, &NoProgress)
    }

    /// What a layer has at `path`.
    pub(crate) fn file(&self, image: &PulledImage, layer: usize, path: &str) -> String {
        let directory = self.store.layer_dir(&image.layers[layer].diff_id);
        fs_err::read_to_string(directory.join(path)).unwrap()
    }

    /// Everything below the store's root but its empty directories.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut directories = vec![self.directory.path().join("root")];
        while let Some(directory) = directories.pop() {
            for entry in fs_err::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else {
                    files.push(entry.path().display().to_string());
                }
            }
        }
        files
    }

    /// A refused image must leave neither layers nor documents nor half of either.
    pub(crate) fn assert_store_is_empty(&self) {
        assert_eq!(self.store.layers().unwrap(), [], "layers are left");
        let left: Vec<_> = ["tmp", "blobs"]
            .iter()
            .flat_map(|place| self.files_below(place))
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let staged = fs_err::read_dir(self.directory.path().join("root/tmp"))
            .unwrap()
            .count();
        assert_eq!(staged, 0, "staging directories are left");
    }

    /// A pull that failed because of the network leaves what the next one can use, and no more.
    pub(crate) fn assert_nothing_but_leftovers(&self) {
        self.store.sweep().unwrap();
        self.store.remove_unfinished().unwrap();
        self.assert_store_is_empty();
    }

    fn files_below(&self, place: &str) -> Vec<String> {
        let place = self
            .directory
            .path()
            .join("root")
            .join(place)
            .display()
            .to_string();
        self.files()
            .into_iter()
            .filter(|file| file.starts_with(&place))
            .collect()
    }
}

/// A request that tries again soon and does not wait for long.
pub(crate) fn request<'a>(reference: &str) -> PullRequest<'a> {
    let mut request = PullRequest::new(reference.parse::<ImageRef>().unwrap());
    request.registry.retry = RetryPolicy {
        delay: Duration::from_millis(5),
        ..RetryPolicy::default()
    };
    request.registry.timeouts = Timeouts {
        no_progress: Duration::from_secs(20),
        ..Timeouts::default()
    };
    request
}

/// The same for faults that end only with a time limit.
pub(crate) fn impatient_request<'a>(reference: &str) -> PullRequest<'a> {
    let mut request = request(reference);
    request.registry.timeouts = Timeouts {
        connect: Duration::from_millis(900),
        no_progress: Duration::from_millis(900),
        progress_bytes: 64,
    };
    request
}

/// An error with its chain of causes, in one line.
pub(crate) fn chain(error: &PullError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Bytes that no compression makes smaller, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// An image of three layers: gzip, zstd and plain, 200 KiB and more each.
pub(crate) fn three_layers() -> Image {
    let layer = |n: u64| {
        Layer::new()
            .file("name", format!("layer {n}"))
            .file(&format!("noise-{n}"), noise(n, 200 << 10))
    };
    ImageBuilder::new()
        .layer(layer(1))
        .layer(layer(2).compression(Compression::Zstd))
        .layer(layer(3).compression(Compression::Plain))
        .cmd(["/bin/sh"])
        .build()
}

/// An image of one layer of noise.
pub(crate) fn one_layer(length: usize) -> Image {
    ImageBuilder::new()
        .layer(Layer::new().file("noise", noise(7, length)))
        .build()
}

/// Notes down every event as text.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<(String, String)>>);

impl Recorder {
    /// What happened to a blob, repetitions of "downloading" left out.
    pub(crate) fn of(&self, digest: &str) -> Vec<String> {
        let mut states: Vec<String> = self
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|(of, _)| of == digest)
            .map(|(_, what)| what.clone())
            .collect();
        states.dedup();
        states
    }
}

impl PullProgress for Recorder {
    fn event(&self, event: PullEvent<'_>) {
        let (of, what) = match event {
            PullEvent::Layer { digest, state } => {
                let state = match state {
                    LayerState::AlreadyExists => "already exists",
                    LayerState::Waiting => "waiting",
                    LayerState::Elsewhere => "elsewhere",
                    LayerState::Resuming { .. } => "resuming",
                    LayerState::Verifying => "verifying",
                    LayerState::Downloading { .. } => "downloading",
                    LayerState::Extracting => "extracting",
                    LayerState::Done => "done",
                };
                (digest.to_string(), state.to_owned())
            }
            PullEvent::Resolving => (String::new(), "resolving".to_owned()),
            PullEvent::Resolved { digest, .. } => (String::new(), format!("resolved {digest}")),
            PullEvent::Retrying { .. } => (String::new(), "retrying".to_owned()),
            PullEvent::Committing => (String::new(), "committing".to_owned()),
            PullEvent::NotThere { .. } | _ => return,
        };
        self.0.lock().unwrap().push((of, what));
    }
}

/// A server that answers every connection with the same bytes and closes it: for answers
/// that no HTTP library would give.
pub(crate) fn raw_server(answer: impl Into<Vec<u8>>) -> String {
    listening_server(answer).0
}

/// The same, and the requests that it gets, with their bodies.
pub(crate) fn listening_server(answer: impl Into<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (answer, heard) = (answer.into(), Arc::new(Mutex::default()));
    let requests: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::from_utf8_lossy(&read_head(&mut stream)).into_owned();
            let length = request
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| {
                    rest.split_once('\r')
                        .map_or(0, |(length, _)| length.parse().unwrap())
                });
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8_lossy(&body));
            heard.lock().unwrap().push(request);
            // the client may hang up first
            let _ = stream.write_all(&answer);
        }
    });
    (host, requests)
}

/// Reads to the empty line that ends a request's head.
pub(crate) fn read_head(stream: &mut impl std::io::Read) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    head
}
