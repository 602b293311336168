//! The use-cases around images.

mod find;
mod history;
mod import;
mod load;
mod mount;
mod names;
mod preview;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod tree;

pub(crate) use find::config;
pub use find::{FoundBy, ImageSummary};
pub use history::BuildStep;
pub(crate) use import::made_layers;
pub use import::{ImportOptions, WebArchive};
pub use load::{Loaded, TakenNames};
pub use mount::MountedImage;
pub(crate) use mount::place_of;
pub use preview::{PreviewedLayer, PullPreview};
pub use prune::{PlannedImage, PrunePlan, PruneRequest};
pub use pull::{PullRequest, Pulled};
pub use push::{PushRequest, PushWatch, Pushed};
pub use remove::{RemovedImage, RmiForce};
pub use tree::{ImageTree, TreeLayer};
