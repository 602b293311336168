//! The engine: one value that holds what every use-case needs.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread::JoinHandle;

use rocker_db::{DurableDb, LiveDb};
use rocker_image::store::{Store, UnpackLimits};
use rocker_types::{ContainerId, ImageRef, Layout, VolumeName};

use crate::EngineError;
use crate::spare::names_in;
use crate::trash::PendingTrash;

/// The use-cases of rocker, for one installation.
///
/// Opening it puts right what a dead rocker process left half done: whatever is asked next
/// sees a consistent world. What only some commands need is opened when first used.
#[derive(Debug)]
pub struct Engine {
    pub(crate) layout: Layout,
    pub(crate) live: LiveDb,
    durable: Option<DurableDb>,
    store: Option<Store>,
    pub(crate) trash: Vec<PendingTrash>,
    /// Who deletes files while the command goes on.
    pub(crate) emptying: Option<JoinHandle<Result<(), EngineError>>>,
    pub(crate) limits: UnpackLimits,
    pub(crate) short_names: fn(&str) -> Vec<ImageRef>,
}

impl Engine {
    /// Opens the installation at `layout`, making its directories on first use.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnsafeDirectory`] for directories that others can write, and whatever
    /// the databases say.
    pub fn open(layout: &Layout) -> Result<Self, EngineError> {
        let mut engine = Self::open_as_is(layout)?;
        engine.seed_after_boot()?;
        engine.recover()?;
        Ok(engine)
    }

    /// Opens without looking for what the dead left, and so without changing anything that is
    /// there: for who only wants to know (`system check` without `--repair`, the completion of a
    /// shell), and for the monitor, whose own container is half made. After a boot the kept
    /// containers are not seen before somebody [`open`](Self::open)s.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_as_is(layout: &Layout) -> Result<Self, EngineError> {
        for dir in [layout.root(), layout.runroot(), &layout.locks()] {
            ensure_own_directory(dir)?;
        }
        let live = LiveDb::open(&layout.live_db())?;
        Ok(Self {
            layout: layout.clone(),
            live,
            durable: None,
            store: None,
            trash: Vec::new(),
            emptying: None,
            limits: UnpackLimits::default(),
            short_names: |_| Vec::new(),
        })
    }

    /// What a layer may cost that comes from now on.
    pub fn set_limits(&mut self, limits: UnpackLimits) {
        self.limits = limits;
    }

    /// Has a name without a registry mean first the images that `meant` says, in that order.
    pub fn set_short_names(&mut self, meant: fn(&str) -> Vec<ImageRef>) {
        self.short_names = meant;
    }

    /// Where this installation lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The database of kept things.
    pub(crate) fn durable(&mut self) -> Result<&mut DurableDb, EngineError> {
        self.databases().map(|(_, durable)| durable)
    }

    /// Both databases at once, for what is decided under the live one's write lock.
    pub(crate) fn databases(&mut self) -> Result<(&mut LiveDb, &mut DurableDb), EngineError> {
        let durable = match &mut self.durable {
            Some(db) => db,
            empty => {
                let is_lost = || has_content(&self.layout);
                empty.insert(DurableDb::open_unless(&self.layout.db(), &is_lost)?)
            }
        };
        Ok((&mut self.live, durable))
    }

    /// Lets go of the database of kept things: the file is about to be another. What was open of
    /// it.
    pub(crate) fn take_durable(&mut self) -> Option<DurableDb> {
        self.durable.take()
    }

    /// Takes `durable` for the database of kept things, until it is closed.
    pub(crate) fn use_durable(&mut self, durable: DurableDb) {
        self.durable = Some(durable);
    }

    /// The layer store.
    pub(crate) fn store(&mut self) -> Result<&Store, EngineError> {
        match &mut self.store {
            Some(store) => Ok(store),
            empty => {
                let store = Store::open(&self.layout)?;
                Ok(empty.insert(store))
            }
        }
    }

    pub(crate) fn seed_after_boot(&mut self) -> Result<(), EngineError> {
        if self.live.is_seeded()? {
            return Ok(());
        }
        self.take_away_forgotten();
        self.catch_up_after_boot()?;
        let kept = self.durable()?.kept_containers()?;
        let tx = self.live.begin()?;
        if !tx.is_seeded()? {
            for name in tx.seed(&kept)? {
                tracing::warn!(%name, "another container has its name: it is called by its id too");
            }
            // what was under way when the machine went down is known to nobody else
            tx.want_sweep()?;
        }
        Ok(tx.commit()?)
    }
}

/// Whether there is anything that a database has to know of.
fn has_content(layout: &Layout) -> bool {
    // what is called otherwise is somebody else's, like the lost+found of a file system
    let has = |directory: &Path, is_ours: &dyn Fn(&str) -> bool| {
        names_in(directory).iter().any(|name| is_ours(name))
    };
    let is_digest = |name: &str| name.bytes().take_while(u8::is_ascii_hexdigit).count() >= 64;
    let is_volume = |name: &str| {
        let name = name.parse::<VolumeName>();
        name.is_ok_and(|name| layout.volume(&name).join(crate::VOLUME_DATA).is_dir())
    };
    has(&layout.layers(), &is_digest)
        || has(&layout.images(), &is_digest)
        || has(&layout.containers(), &|name| {
            name.parse::<ContainerId>().is_ok()
        })
        || has(&layout.volumes(), &is_volume)
}

/// Makes a directory that only root may enter, or sees that an existing one is that.
///
/// Layers hold setuid programs, logs hold secrets: CVE-2021-41091, CVE-2024-25621.
pub(crate) fn ensure_own_directory(path: &Path) -> Result<(), EngineError> {
    let unsafe_directory = |why| EngineError::UnsafeDirectory {
        path: path.to_owned(),
        why,
    };
    let metadata = match fs_err::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return make_own_directory(path),
        Err(e) => return Err(EngineError::file("look at", path)(e)),
    };
    if !metadata.is_dir() {
        return Err(unsafe_directory("it is a link or a file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unsafe_directory("it belongs to another user"));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(unsafe_directory("others may write to it"));
    }
    if mode & 0o077 != 0 {
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o700))
            .map_err(EngineError::file("close", path))?;
    }
    Ok(())
}

fn make_own_directory(path: &Path) -> Result<(), EngineError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder
        .create(path)
        .map_err(EngineError::file("make", path))
}

/// Random bytes of the kernel's.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    let flags = rustix::rand::GetRandomFlags::empty();
    let got = rustix::rand::getrandom(&mut bytes, flags)
        .map_err(|e| EngineError::Random { source: e.into() })?;
    if got == N {
        Ok(bytes)
    } else {
        Err(EngineError::Random {
            source: std::io::ErrorKind::UnexpectedEof.into(),
        })
    }
}

/// A new container's identity.
pub(crate) fn new_id() -> Result<ContainerId, EngineError> {
    random().map(ContainerId::from_bytes)
}

/// The name of a volume that nobody named: 64 hex digits, as in docker.
pub(crate) fn new_volume_name() -> Result<VolumeName, EngineError> {
    let id = new_id()?;
    let name = id.as_str().parse();
    name.map_err(|_| EngineError::Random {
        source: std::io::ErrorKind::InvalidData.into(),
    })
}
