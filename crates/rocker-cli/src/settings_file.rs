//! Files in which people write down how things are to be.

use std::io::{self, Read as _};
use std::path::Path;

use fs_err::File;

use crate::commands::CommandError;

/// The largest one, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// All of a file; `None` where there is none.
///
/// # Errors
///
/// Those of [`read_existing`].
pub(crate) fn read(path: &Path) -> Result<Option<String>, CommandError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::ReadSettings(error)),
    }
}

/// All of a file that has to be there, because the user named it.
///
/// # Errors
///
/// [`CommandError::ReadSettings`] for what the kernel says, and for a file of more than a mebibyte:
/// a part of it could say the opposite.
pub(crate) fn read_existing(path: &Path) -> Result<String, CommandError> {
    read_text(path).map_err(CommandError::ReadSettings)
}

fn read_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let why = format!("{path:?} has more than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let most = usize::try_from(MAX_BYTES).unwrap();
        fs_err::write(&path, "x".repeat(most)).unwrap();
        assert_eq!(read(&path).unwrap().map(|text| text.len()), Some(most));
        fs_err::write(&path, "x".repeat(most + 1)).unwrap();
        for path in [&path, Path::new("/dev/zero")] {
            let refused = read_text(path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        }
        let missing = dir.path().join("missing");
        assert_eq!(read(&missing).unwrap(), None);
        assert!(read_existing(&missing).is_err());
    }
}
