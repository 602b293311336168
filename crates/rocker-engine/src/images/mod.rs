//! The use-cases around images.

mod find;
mod history;
mod import;
mod load;
mod names;
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
pub use pull::{PullRequest, Pulled};
pub use push::{PushRequest, PushWatch, Pushed};
pub use remove::RemovedImage;
pub use tree::{ImageTree, TreeLayer};
