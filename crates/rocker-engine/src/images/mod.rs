//! The use-cases around images.

mod find;
mod import;
mod load;
mod pull;
mod remove;
mod save;

pub use find::ImageSummary;
pub use import::ImportOptions;
pub use pull::{PullRequest, Pulled};
pub use remove::RemovedImage;
