//! A store, and beside it what nothing may touch.

use std::cell::RefCell;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rocker_image::store::{ChainLayer, StagedLayer, Store, UnpackLimits, import_layer};
use rocker_types::{DiffId, Layout};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// What an archive of a few kilobytes may cost; small, so that limits are met at all.
pub(crate) fn limits() -> UnpackLimits {
    UnpackLimits {
        entries: 500,
        pax_bytes: 16 << 10,
        unpacked_bytes: 4 << 20,
        ratio: 100,
        ratio_grace_bytes: 1 << 20,
        index_bytes: 64 << 10,
        ..UnpackLimits::default()
    }
}

/// One store for all inputs of a thread: making one takes longer than using it.
pub(crate) struct Ground {
    directory: TempDir,
    pub(crate) store: Store,
    before: Vec<String>,
}

thread_local! {
    static GROUND: RefCell<Option<Ground>> = const { RefCell::new(None) };
}

/// Calls `attempt`, and then looks whether everything else is as it was.
pub(crate) fn on_ground<T>(attempt: impl FnOnce(&Ground) -> T) -> T {
    GROUND.with_borrow_mut(|ground| {
        let ground = ground.get_or_insert_with(Ground::new);
        let outcome = attempt(ground);
        ground.assert_untouched();
        outcome
    })
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("rocker-fuzz-").tempdir();
        let directory = directory.expect("a temporary directory");
        let victim = directory.path().join("victim");
        fs_err::create_dir(&victim).expect("a directory");
        fs_err::write(victim.join("secret"), "untouched").expect("a file");
        let private = std::fs::Permissions::from_mode(0o600);
        fs_err::set_permissions(victim.join("secret"), private).expect("a private file");
        let (fifo, mode) = (victim.join("fifo"), Mode::from_raw_mode(0o600));
        mknodat(CWD, fifo, FileType::Fifo, mode, 0).expect("a FIFO");
        let layout = Layout::new(directory.path().join("root"), directory.path().join("run"));
        let store = Store::open(&layout).expect("a store");
        let mut ground = Self {
            directory,
            store,
            before: Vec::new(),
        };
        ground.before = ground.facts();
        ground
    }

    /// A place for a file of the target's own.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory that nothing may touch.
    pub(crate) fn victim(&self) -> PathBuf {
        self.directory.path().join("victim")
    }

    /// Unpacks one layer, if it is one.
    pub(crate) fn unpack(&self, tar: &[u8]) -> Option<StagedLayer> {
        let staging = self.store.stage().expect("a place to unpack to");
        import_layer(&staging, tar, &limits()).ok()
    }

    /// Makes an image of layers, looks at each with `inspect`, and takes it away again.
    pub(crate) fn commit(&self, layers: Vec<StagedLayer>, inspect: impl Fn(&DiffId, &Path)) {
        let chain = layers.into_iter().map(ChainLayer::Staged).collect();
        for layer in self.store.commit(chain).unwrap_or_default() {
            if self.store.has_layer(&layer.diff_id) {
                inspect(&layer.diff_id, &self.store.layer_dir(&layer.diff_id));
                self.store
                    .remove_layer(&layer.diff_id)
                    .expect("a layer can be removed");
            }
        }
    }

    /// The archive can be had back byte for byte.
    pub(crate) fn assert_tar(&self, layer: &DiffId, tar: &[u8]) {
        let mut again = Vec::new();
        self.store
            .write_tar(layer, &mut again)
            .expect("a layer becomes its tar again");
        assert!(
            again == tar,
            "the tar of {} bytes came back with {}",
            tar.len(),
            again.len()
        );
    }

    /// The victim, and the names of what the store has; all of it is empty between two inputs.
    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        for below in [
            "victim",
            "root/tmp",
            "root/layers",
            "root/blobs/sha256",
            "root",
            ".",
        ] {
            let Ok(entries) = fs_err::read_dir(self.directory.path().join(below)) else {
                continue;
            };
            for entry in entries.map(|entry| entry.expect("an entry of our own directory")) {
                let meta = entry.metadata().expect("what is there can be looked at");
                // directories of the store itself change their times
                let time = if below == "victim" {
                    meta.mtime_nsec()
                } else {
                    0
                };
                facts.push(format!(
                    "{:?} {:o} {} {time}",
                    entry.path(),
                    meta.mode(),
                    meta.uid()
                ));
            }
        }
        facts.push(fs_err::read_to_string(self.victim().join("secret")).expect("the secret"));
        facts.sort_unstable();
        facts
    }

    fn assert_untouched(&self) {
        assert_eq!(self.facts(), self.before);
    }
}
