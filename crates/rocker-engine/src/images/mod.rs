//! The use-cases around images.

mod find;
mod import;
mod pull;
mod push;
mod remove;

pub use find::ImageSummary;
pub use import::ImportOptions;
pub use pull::{PullRequest, Pulled};
pub use push::{PushRequest, PushWatch, Pushed};
pub use remove::RemovedImage;
