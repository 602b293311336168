//! The end of a staging directory begins with what it tells others.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::Dir;

use super::DONE;
use super::claims::{WAITS, WANT};
use crate::store::remove::remove_tree;

/// Takes away what a directory of ours tells others. Called before anything else in it goes, and
/// once nothing of it shall be of use: whoever finds the note about a layer believes the layer,
/// and whoever finds a claim waits for its owner.
///
/// # Errors
///
/// If something stays; then all the rest has to stay as well.
pub(in crate::store) fn renounce(directory: BorrowedFd<'_>) -> io::Result<()> {
    let mut telling = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if tells(name.to_bytes()) {
            telling.push(name);
        }
    }
    let mut telling = telling.iter();
    telling.try_for_each(|name| remove_tree(directory, name.to_bytes()))
}

fn tells(name: &[u8]) -> bool {
    name.ends_with(DONE.as_bytes()) || name.starts_with(WANT.as_bytes()) || name == WAITS.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_told_goes_and_all_else_stays() {
        let place = tempfile::tempdir().unwrap();
        let files = [
            "layer-0.recipe",
            "layer-0.done",
            "want-a",
            "waits",
            "blob-a",
        ];
        for name in files {
            fs_err::write(place.path().join(name), name).unwrap();
        }
        fs_err::create_dir(place.path().join("layer-0")).unwrap();
        let directory = fs_err::File::open(place.path()).unwrap();

        renounce(directory.as_fd()).unwrap();

        let entries = fs_err::read_dir(place.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["blob-a", "layer-0", "layer-0.recipe"]);
    }

    #[test]
    fn a_directory_that_is_gone_tells_nothing() {
        let place = tempfile::tempdir().unwrap();
        let directory = fs_err::File::open(place.path()).unwrap();
        place.close().unwrap();

        renounce(directory.as_fd()).unwrap();
    }
}
