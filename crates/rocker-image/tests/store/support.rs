//! A store of its own for every test, and a victim beside it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocker_image::store::{
    ChainLayer, CommittedLayer, Compression, Depth, ExpectedLayer, LayerFault, StagedLayer,
    Staging, Store, StoreError, UnpackError, UnpackLimits, unpack_layer,
};
use rocker_types::{DiffId, Digest, Layout};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use sha2::Digest as _;
use tempfile::TempDir;

use super::listing::{listing, names};

/// A store in a directory of its own, with files outside that nothing may touch.
pub(crate) struct Host {
    dir: TempDir,
    pub(crate) store: Store,
    before: BTreeMap<String, String>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rocker-store-")
            .tempdir()
            .unwrap();
        let victim = dir.path().join("victim");
        fs_err::create_dir(&victim).unwrap();
        fs_err::write(victim.join("secret"), "secret bytes").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        fs_err::set_permissions(victim.join("secret"), private).unwrap();
        mknodat(
            CWD,
            victim.join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let before = listing(&victim);
        let store = Store::open(&layout(&dir)).unwrap();
        Self { dir, store, before }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The victim's absolute path, as an archive would name it.
    pub(crate) fn victim(&self) -> String {
        self.path("victim").to_str().unwrap().to_owned()
    }

    /// A second handle on the same store.
    pub(crate) fn reopen(&self) -> Store {
        Store::open(&layout(&self.dir)).unwrap()
    }

    /// Unpacks plain tar bytes with the digests they have.
    pub(crate) fn unpack(&self, tar: &[u8]) -> Result<StagedLayer, UnpackError> {
        self.unpack_within(tar, &UnpackLimits::default())
    }

    pub(crate) fn unpack_within(
        &self,
        tar: &[u8],
        limits: &UnpackLimits,
    ) -> Result<StagedLayer, UnpackError> {
        let expected = promise(tar, tar, Compression::None);
        unpack_layer(&self.stage(), tar, &expected, limits, &|_| ())
    }

    pub(crate) fn stage(&self) -> Staging {
        self.store.stage().unwrap()
    }

    /// Unpacks plain tars and commits them as one image, base first.
    pub(crate) fn commit(&self, tars: &[Vec<u8>]) -> Result<Vec<CommittedLayer>, StoreError> {
        let chain = tars.iter().map(|tar| {
            let id = diff_id(tar);
            if self.store.has_layer(&id) {
                return ChainLayer::Present(id);
            }
            ChainLayer::Staged(self.unpack(tar).unwrap_or_else(|error| panic!("{error:?}")))
        });
        let committed = self.store.commit(chain.collect())?;
        // Whatever a test is about, the archive can be had back, and no fault is found.
        for tar in tars {
            self.assert_tar(tar);
            self.assert_whole(&diff_id(tar));
        }
        Ok(committed)
    }

    /// The store gives the very bytes back that the layer was made of.
    pub(crate) fn assert_tar(&self, tar: &[u8]) {
        let mut again = Vec::new();
        let bytes = self.store.write_tar(&diff_id(tar), &mut again).unwrap();
        assert!(again == tar, "{} bytes are {bytes} others", tar.len());
        assert_eq!(bytes, self.store.tar_bytes(&diff_id(tar)).unwrap());
    }

    /// The layer is what it should be, however closely one looks.
    pub(crate) fn assert_whole(&self, layer: &DiffId) {
        for depth in [Depth::Sample, Depth::Exact] {
            assert_eq!(self.faults(layer, depth), [], "{depth:?}");
        }
    }

    pub(crate) fn faults(&self, layer: &DiffId, depth: Depth) -> Vec<LayerFault> {
        let limits = UnpackLimits::default();
        self.store.inspect_layer(layer, depth, &limits).unwrap()
    }

    /// Commits one layer and tells where it is.
    pub(crate) fn committed(&self, tar: &[u8]) -> PathBuf {
        let layers = self.commit(&[tar.to_vec()]).unwrap();
        self.store.layer_dir(&layers[0].diff_id)
    }

    /// The victim is as it was, and nothing is left in `tmp`.
    pub(crate) fn assert_untouched(&self, context: &str) {
        assert_eq!(listing(&self.path("victim")), self.before, "{context}");
        assert_eq!(names(&self.path("root/tmp")), ["d ."], "{context}");
    }

    /// There is no layer, nor a trace of one.
    pub(crate) fn assert_empty(&self, context: &str) {
        assert_eq!(names(&self.path("root/layers")), ["d ."], "{context}");
    }
}

fn layout(dir: &TempDir) -> Layout {
    Layout::new(dir.path().join("root"), dir.path().join("run"))
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}

pub(crate) fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(sha256(tar))
}

/// What honest documents say about a blob and the tar in it.
pub(crate) fn promise(blob: &[u8], tar: &[u8], compression: Compression) -> ExpectedLayer {
    ExpectedLayer {
        blob: sha256(blob),
        size_bytes: blob.len() as u64,
        compression,
        diff_id: diff_id(tar),
    }
}

/// An error with its causes, as a user reads it.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Says why a test did not run; that counts as a failure where nothing may be skipped.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("ROCKER_TEST_STRICT").is_none_or(|v| v != "1"),
        "cannot run: {why}"
    );
    println!("skipped: {why}");
}

/// Runs a line of shell in the directory, or sets an extended attribute: `xattr FILE NAME VALUE`.
pub(crate) fn shell(directory: &Path, line: &str) {
    if let ["xattr", file, name, value] = line.split(' ').collect::<Vec<_>>()[..] {
        return setxattr(
            directory.join(file),
            name,
            value.as_bytes(),
            XattrFlags::REPLACE,
        )
        .unwrap();
    }
    let status = Command::new("sh")
        .args(["-ec", line])
        .current_dir(directory)
        .status();
    assert!(status.unwrap().success(), "{line}");
}
