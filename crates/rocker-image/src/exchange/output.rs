//! Where blobs and documents are written: a tar or a directory.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err::File;
use rocker_types::DiffId;

use super::plan::{Plan, blob_path};
use super::save::{OnLayer, SaveError};
use crate::store::{ArchiveWriter, Entry, EntryKind, Store};

/// Writes everything into one tar.
pub(super) fn write_tar(
    store: &Store,
    plan: &Plan,
    on_layer: OnLayer<'_>,
    output: &mut dyn Write,
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Output { source };
    let mut archive = ArchiveWriter::new(output);
    let mut last = String::new();
    let mut begin = |archive: &mut ArchiveWriter<_>, name: &str, size| {
        // some readers want a directory before what is in it
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        if directory != last {
            for (end, _) in directory.match_indices('/').chain([(directory.len(), "")]) {
                let directory = &directory[..end];
                if !last.starts_with(directory) {
                    let name = format!("{directory}/");
                    archive.entry(&Entry::plain(name.as_bytes(), EntryKind::Directory))?;
                }
            }
            directory.clone_into(&mut last);
        }
        archive.entry(&Entry::plain(name.as_bytes(), EntryKind::File { size }))
    };
    for (name, bytes) in &plan.documents {
        begin(&mut archive, name, bytes.len() as u64).map_err(failed)?;
        archive.data().write_all(bytes).map_err(failed)?;
    }
    for (layer, size) in &plan.layers {
        begin(&mut archive, &blob_path(&layer.0), *size).map_err(failed)?;
        on_layer(layer, *size);
        write_layer(store, layer, &mut archive.data())?;
    }
    archive.finish().map_err(failed)?;
    Ok(())
}

/// Writes everything below `directory`, which is there and empty, and flushes it to disk.
pub(super) fn write_directory(
    store: &Store,
    plan: &Plan,
    on_layer: OnLayer<'_>,
    directory: &Path,
) -> Result<(), SaveError> {
    for (name, bytes) in &plan.documents {
        let (mut file, path) = create(directory, name)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|source| SaveError::File { path, source })?;
    }
    for (layer, size) in &plan.layers {
        let (mut file, path) = create(directory, &blob_path(&layer.0))?;
        on_layer(layer, *size);
        write_layer(store, layer, &mut file)?;
        file.sync_all()
            .map_err(|source| SaveError::File { path, source })?;
    }
    let blobs = plan.layers.iter().map(|(layer, _)| blob_path(&layer.0));
    let names = plan.documents.iter().map(|(name, _)| name.clone());
    sync_directories(directory, names.chain(blobs))
}

/// Flushes the names of files below `directory`, and of the directories that they are in.
fn sync_directories(
    directory: &Path,
    names: impl Iterator<Item = String>,
) -> Result<(), SaveError> {
    let mut written = BTreeSet::new();
    for name in names {
        let path = directory.join(name);
        let above = path.ancestors().skip(1);
        let above = above.take_while(|path| path.starts_with(directory));
        written.extend(above.map(Path::to_owned));
    }
    for path in written {
        let synced = File::open(&path).and_then(|directory| directory.sync_all());
        synced.map_err(|source| SaveError::File { path, source })?;
    }
    Ok(())
}

fn write_layer(store: &Store, layer: &DiffId, output: &mut dyn Write) -> Result<(), SaveError> {
    let written = store.write_tar(layer, output);
    written.map(drop).map_err(SaveError::layer(layer))
}

fn create(directory: &Path, name: &str) -> Result<(File, PathBuf), SaveError> {
    let path = directory.join(name);
    let above = path.parent().unwrap_or(directory);
    let created = fs_err::create_dir_all(above).and_then(|()| File::create_new(&path));
    match created {
        Ok(file) => Ok((file, path)),
        Err(source) => Err(SaveError::File { path, source }),
    }
}
