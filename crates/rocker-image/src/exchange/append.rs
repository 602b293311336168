//! One image layout becomes a part of another.

use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Dir, Mode, OFlags, fsync, openat, renameat};
use rustix::io::Errno;
use serde_json::Value;

use super::directory::{NewDirectory, lock, make_directory, open_directory};
use super::save::SaveError;
use super::{INDEX, MANIFEST, OCI_LAYOUT};
use crate::document::{ANNOTATION_NAME, ANNOTATION_REF};

const BLOBS: &str = "blobs";

/// How the new list of images is called until it has its place.
const MERGED: &str = "index.json.new";

/// How long another one who adds an image is waited for; it takes as long as a rename of each blob.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// A longer index is nobody's layout.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Why a directory takes no image.
#[derive(Debug, thiserror::Error)]
pub enum NotALayout {
    /// A file of every layout is missing.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// The list of images is none.
    #[error("{INDEX} is malformed")]
    Syntax(#[source] serde_json::Error),
    /// The list of images is none, though it is JSON.
    #[error("{INDEX} lists no manifests")]
    NoList,
    /// It would not be seen.
    #[error("there is a {MANIFEST}, whose images count instead")]
    Docker,
}

/// Moves what is in the layout `from` into the layout `to`, on the same file system. An entry takes
/// its names from those that have them, as in skopeo. Until the last step, which is one rename, `to`
/// has at most blobs more that nobody needs; whoever does the same at the same time is waited for,
/// but not for longer than a minute.
///
/// # Errors
///
/// [`SaveError::File`], [`SaveError::NotALayout`] if `to` is none, and [`SaveError::Locked`].
pub fn append_layout(from: &NewDirectory, to: &Path) -> Result<(), SaveError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |errno: Errno| SaveError::File {
            path,
            source: errno.into(),
        }
    };
    let target = open_directory(CWD, to).map_err(at(to))?;
    lock(&target, LOCK_PATIENCE).map_err(|errno| match errno {
        Errno::WOULDBLOCK => SaveError::Locked {
            path: to.to_owned(),
        },
        errno => at(to)(errno),
    })?;
    let new = read_index(from.as_fd(), from.path())?;
    let old = read_index(target.as_fd(), to)?;
    move_blobs(from.as_fd(), &target).map_err(at(&to.join(BLOBS)))?;
    let merged = merge(old, new).map_err(not_a_layout(to))?;
    let written = from.create_file(MERGED).and_then(|mut file| {
        file.write_all(merged.to_string().as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| SaveError::File {
        path: from.path().join(MERGED),
        source,
    })?;
    renameat(from, MERGED, &target, INDEX).map_err(at(&to.join(INDEX)))?;
    fsync(&target).map_err(at(to))
}

/// Whether `directory` is a layout that can be added to.
///
/// # Errors
///
/// As [`append_layout`].
pub fn check_layout(directory: &Path) -> Result<(), SaveError> {
    let opened = open_directory(CWD, directory).map_err(|errno| SaveError::File {
        path: directory.to_owned(),
        source: errno.into(),
    })?;
    let has =
        |name| rustix::fs::statat(&opened, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let refuse = not_a_layout(directory);
    if !has(OCI_LAYOUT) {
        return Err(refuse(NotALayout::Missing(OCI_LAYOUT)));
    }
    if has(MANIFEST) {
        return Err(refuse(NotALayout::Docker));
    }
    let index = read_index(opened.as_fd(), directory)?;
    merge(index, Value::Null).map(drop).map_err(refuse)
}

fn not_a_layout(directory: &Path) -> impl Fn(NotALayout) -> SaveError {
    let path = directory.to_owned();
    move |source| SaveError::NotALayout {
        path: path.clone(),
        source,
    }
}

fn read_index(directory: BorrowedFd<'_>, path: &Path) -> Result<Value, SaveError> {
    let refuse = not_a_layout(path);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, INDEX, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Err(refuse(NotALayout::Missing(INDEX))),
        Err(errno) => {
            return Err(SaveError::File {
                path: path.join(INDEX),
                source: errno.into(),
            });
        }
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut bytes);
    let too_long = bytes.len() as u64 > MAX_INDEX_BYTES;
    let read = match too_long {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => read,
    };
    read.map_err(|source| SaveError::File {
        path: path.join(INDEX),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|error| refuse(NotALayout::Syntax(error)))
}

/// Blobs are called by their digests: one that is there is replaced by the same.
fn move_blobs(source: BorrowedFd<'_>, target: &OwnedFd) -> Result<(), Errno> {
    let (from, to) = (
        open_directory(source, BLOBS)?,
        make_directory(target, BLOBS)?,
    );
    for algorithm in names(&from)? {
        let (from, to) = (
            open_directory(&from, &algorithm)?,
            make_directory(&to, &algorithm)?,
        );
        for blob in names(&from)? {
            renameat(&from, &blob, &to, &blob)?;
        }
        fsync(&to)?;
    }
    fsync(&to)
}

fn names(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// The old entries, then the new ones. A new entry takes both of its names from those that have
/// them so far: the label, since others find the image by it alone, and the full name. An old
/// entry that is called nothing any more goes.
fn merge(mut old: Value, new: Value) -> Result<Value, NotALayout> {
    let new = match new.get("manifests") {
        Some(Value::Array(entries)) => entries.clone(),
        Some(_) | None => Vec::new(),
    };
    let Some(Value::Array(entries)) = old.get_mut("manifests") else {
        return Err(NotALayout::NoList);
    };
    entries.retain_mut(|entry| !new.contains(entry) && keeps_a_name(entry, &new));
    entries.extend(new);
    Ok(old)
}

/// Whether `entry` is called something when `new` have taken their names, or never was.
fn keeps_a_name(entry: &mut Value, new: &[Value]) -> bool {
    let Some(Value::Object(annotations)) = entry.get_mut("annotations") else {
        return true;
    };
    let mut was_called = false;
    let mut is_called = false;
    for key in [ANNOTATION_REF, ANNOTATION_NAME] {
        let Some(name) = annotations.get(key).filter(|name| name.is_string()) else {
            continue;
        };
        was_called = true;
        let of = |entry: &Value| entry.get("annotations")?.get(key).cloned();
        match new.iter().any(|entry| of(entry).as_ref() == Some(name)) {
            true => drop(annotations.remove(key)),
            false => is_called = true,
        }
    }
    is_called || !was_called
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(digest: &str, label: &str) -> Value {
        json!({"digest": digest, "annotations": {ANNOTATION_REF: label}})
    }

    fn called(digest: &str, label: &str, name: &str) -> Value {
        let annotations = json!({ANNOTATION_REF: label, ANNOTATION_NAME: name});
        json!({"digest": digest, "annotations": annotations})
    }

    #[test]
    fn an_entry_takes_the_place_of_those_with_its_name() {
        let nameless = json!({"digest": "d"});
        let old = json!({"schemaVersion": 2, "x": 1, "manifests": [entry("a", "1"), entry("b", "2"), nameless]});
        let new = json!({"manifests": [entry("c", "1"), nameless]});
        let merged = merge(old, new).unwrap();
        let expected = json!({"schemaVersion": 2, "x": 1, "manifests": [entry("b", "2"), entry("c", "1"), nameless]});
        assert_eq!(merged, expected);
        assert!(merge(json!([]), Value::Null).is_err());
        assert!(merge(json!({"manifests": {}}), Value::Null).is_err());
    }

    #[test]
    fn an_image_of_another_name_stays_though_its_tag_is_the_same() {
        let named = |digest: &str, name: &str| json!({"digest": digest, "annotations": {ANNOTATION_NAME: name}});
        let old = [
            called("a", "1", "h/app:1"),
            called("b", "1", "h/db:1"),
            called("c", "x", "h/web:1"),
        ];
        let new = called("d", "1", "h/web:1");
        let merged = merge(json!({ "manifests": old }), json!({ "manifests": [new] })).unwrap();
        let expected = [
            named("a", "h/app:1"),
            named("b", "h/db:1"),
            entry("c", "x"),
            new,
        ];
        assert_eq!(merged, json!({ "manifests": expected }));
        let again = called("e", "1", "h/web:1");
        let merged = merge(merged, json!({ "manifests": [again] })).unwrap();
        let digests = merged["manifests"].as_array().unwrap().iter();
        let digests = digests.map(|entry| entry["digest"].clone());
        assert_eq!(digests.collect::<Vec<_>>(), ["a", "b", "c", "e"]);
    }
}
