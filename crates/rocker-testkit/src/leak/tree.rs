//! Files below root and runroot.

use std::path::Path;

use super::Scope;

/// Databases grow and shrink by themselves; their content is looked at as rows.
fn is_database(name: &str) -> bool {
    ["rocker.db", "live.db"]
        .iter()
        .any(|database| name.starts_with(database))
}

pub(super) fn facts(scope: &Scope) -> Vec<String> {
    let mut facts = Vec::new();
    for entry in entries(&scope.root) {
        match entry.as_str() {
            name if is_database(name) => {}
            "layers" => facts.extend(
                entries(&scope.root.join(&entry))
                    .into_iter()
                    // it goes by itself once the layer is on disk
                    .filter(|name| !name.ends_with(".unsynced"))
                    .map(|name| format!("layer {name}")),
            ),
            "blobs" => walk(&scope.root.join(&entry), "", &mut |path, is_directory| {
                if !is_directory {
                    facts.push(format!("blob {path}"));
                }
            }),
            // The directories themselves are made by the first command and stay; what is in them counts.
            _ => walk(&scope.root.join(&entry), "", &mut |path, _| {
                facts.push(format!("file root/{entry}/{path}"))
            }),
        }
    }
    walk(&scope.runroot, "", &mut |path, is_directory| {
        let of_a_container = scope.ids.iter().any(|id| path.contains(id.as_str()));
        let stays = is_database(path)
            || is_directory
            || path.ends_with(".lock")
            || path.starts_with("locks/");
        if of_a_container || !stays {
            facts.push(format!("file run/{path}"));
        }
    });
    facts
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Calls `visit(path relative to the start, is a directory)` for everything below `directory`.
/// Links are not followed, and what vanishes meanwhile is passed over.
fn walk(directory: &Path, prefix: &str, visit: &mut impl FnMut(&str, bool)) {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        visit(&path, is_directory);
        if is_directory {
            walk(&entry.path(), &format!("{path}/"), visit);
        }
    }
}
