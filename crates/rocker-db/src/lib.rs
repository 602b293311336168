//! What exists, and who won the race: the two sqlite databases and the owner locks.
//!
//! * [`LiveDb`] (`/run/rocker/live.db`, tmpfs) knows every container, who runs, which
//!   addresses and ports are taken, and which work is under way. It is gone at reboot, which
//!   is the truth about running things.
//! * [`DurableDb`] (`/var/lib/rocker/rocker.db`) knows images, layers, volumes and the
//!   definitions of kept containers. What it has committed is on disk.
//! * [`OwnerLock`] tells living owners from dead ones: the kernel frees a flock, whatever
//!   way its holder died.
//!
//! This crate remembers and decides races between processes. It never draws, never
//! signals, never mounts. A write transaction on the live database is the one lock that
//! orders everything else: deleting an image and creating a container from it both hold it.
//!
//! Room: above `rocker-types`, beside the image, network and runtime crates, below the engine.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod busy;
mod connection;
mod durable;
mod error;
mod live;
mod lock;
mod named_file;

pub use durable::{
    DurableContainer, DurableDb, ImageRow, LayerRow, NamedBy, NewImage, Salvage, Untagged,
    VolumeRow,
};
pub use error::DbError;
pub use live::{
    ContainerRow, ContainerState, EndRequest, ExitRecord, ImageMountRow, Intent, IntentKind,
    LiveDb, LiveTransaction, NetworkRow, NewContainer, StartClaim, StartGrant, StartedRecord,
    SweepWish,
};
pub use lock::{LockError, OwnerLock, SharedLock};
