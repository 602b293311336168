//! The file that says which images the user wants to be let in.

use std::path::PathBuf;

use rocker_engine::Policy;

use super::CommandError;
use super::auth_files::{home, variable};
use crate::settings_file;

/// What `policy.json` of the container tools says, the user's or else the system's; `None` where
/// there is none.
///
/// # Errors
///
/// A file that is there and cannot be understood: it may have wanted to keep something out.
pub(super) fn policy() -> Result<Option<Policy>, CommandError> {
    let user = variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    let system = PathBuf::from("/etc");
    for directory in user.into_iter().chain([system]) {
        let path = directory.join("containers/policy.json");
        if let Some(text) = settings_file::read(&path)? {
            return Ok(Some(Policy::parse(text.as_bytes(), &path)?));
        }
    }
    Ok(None)
}
