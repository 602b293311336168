//! Where blobs and documents are written: a tar or a directory.

use std::collections::BTreeSet;
use std::io::Write;

use rocker_types::DiffId;

use super::directory::NewDirectory;
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

/// Writes everything below `directory`, which is empty, and flushes it to disk.
pub(super) fn write_directory(
    store: &Store,
    plan: &Plan,
    on_layer: OnLayer<'_>,
    directory: &NewDirectory,
) -> Result<(), SaveError> {
    let at = |name: &str| {
        let path = directory.path().join(name);
        move |source| SaveError::File { path, source }
    };
    for (name, bytes) in &plan.documents {
        let mut file = directory.create_file(name).map_err(at(name))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(at(name))?;
    }
    for (layer, size) in &plan.layers {
        let name = blob_path(&layer.0);
        let mut file = directory.create_file(&name).map_err(at(&name))?;
        on_layer(layer, *size);
        write_layer(store, layer, &mut file)?;
        file.sync_all().map_err(at(&name))?;
    }
    let blobs = plan.layers.iter().map(|(layer, _)| blob_path(&layer.0));
    let names = plan.documents.iter().map(|(name, _)| name.clone());
    for name in directories(names.chain(blobs)) {
        let synced = directory.directory(&name);
        let synced = synced.and_then(|directory| Ok(rustix::fs::fsync(directory)?));
        synced.map_err(at(&name))?;
    }
    Ok(())
}

/// The directories that files are in, and those above; the one above all is the empty name.
fn directories(files: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut directories = BTreeSet::from([String::new()]);
    for file in files {
        let slashes = file.match_indices('/');
        directories.extend(slashes.map(|(end, _)| file[..end].to_owned()));
    }
    directories
}

fn write_layer(store: &Store, layer: &DiffId, output: &mut dyn Write) -> Result<(), SaveError> {
    let written = store.write_tar(layer, output);
    written.map(drop).map_err(SaveError::layer(layer))
}
