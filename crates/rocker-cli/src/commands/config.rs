//! `/etc/rocker/config.toml`: what the machine's owner decided.

use std::path::{Path, PathBuf};
use std::sync::Once;

use rocker_engine::UnpackLimits;
use toml::{Table, Value};

use super::CommandError;
use super::auth_files::variable;
use super::config_keys::KEYS;
use crate::{report, settings_file};

/// The system's configuration; `ROCKER_CONFIG` names another file.
const CONFIG: &str = "/etc/rocker/config.toml";

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// `HOST[:PORT]` of registries that speak plain HTTP.
    pub(crate) insecure: Vec<String>,
    /// What an image may cost.
    pub(crate) limits: UnpackLimits,
}

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) key: String,
    pub(super) wanted: String,
}

/// Reads the configuration; without a file everything is as it comes.
///
/// # Errors
///
/// A file that cannot be read, is no TOML, or has a value that its key cannot have.
pub(crate) fn read() -> Result<Config, CommandError> {
    let own = variable("ROCKER_CONFIG");
    let path: PathBuf = own.clone().unwrap_or_else(|| CONFIG.into());
    let text = match own {
        Some(_) => Some(settings_file::read_existing(&path)?),
        None => settings_file::read(&path)?,
    };
    let Some(text) = text else {
        return Ok(Config::default());
    };
    let table = text.parse::<Table>();
    let table = table.map_err(|error| misread(&path, &text, &error))?;
    let (config, unknown) = understand(&table).map_err(|Unusable { key, wanted }| {
        let line = line_of(&text, &key);
        let message = format!("{key} wants {wanted}");
        let path = path.clone();
        CommandError::Config {
            path,
            line,
            message,
        }
    })?;
    // what is read several times is warned of once
    WARNED.call_once(|| warn(&path, &unknown));
    Ok(config)
}

static WARNED: Once = Once::new();

fn warn(path: &Path, unknown: &[String]) {
    for key in unknown {
        let meant = nearest(key).map_or_else(String::new, |near| format!(": did you mean {near}?"));
        let path = path.display();
        report::note(&format!("WARNING: {path}: unknown key {key}{meant}"));
    }
}

/// The values, and keys that nobody knows.
fn understand(table: &Table) -> Result<(Config, Vec<String>), Unusable> {
    let mut config = Config::default();
    let mut unknown = Vec::new();
    for (name, value) in flat(table)? {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => key.take(&mut config, value)?,
            None => unknown.push(name),
        }
    }
    Ok((config, unknown))
}

/// Every value with its full name; those of a table that nobody knows are not looked at.
fn flat(table: &Table) -> Result<Vec<(String, &Value)>, Unusable> {
    let mut values = Vec::new();
    for (name, value) in table {
        let inside = format!("{name}.");
        let is_table = KEYS.iter().any(|key| key.name.starts_with(&inside));
        match value.as_table().filter(|_| is_table) {
            Some(table) => {
                values.extend(
                    table
                        .iter()
                        .map(|(key, value)| (inside.clone() + key, value)),
                );
            }
            None if is_table => {
                return Err(Unusable {
                    key: name.clone(),
                    wanted: "a table".to_owned(),
                });
            }
            None => values.push((name.clone(), value)),
        }
    }
    Ok(values)
}

/// The known key that was perhaps meant: one with the same letters but two.
fn nearest(key: &str) -> Option<String> {
    let near = KEYS.iter().map(|key| key.name.to_owned());
    let near = near.chain(["limits".to_owned()]);
    let near = near.map(|known| (distance(key, &known), known));
    let (distance, near) = near.min()?;
    (distance <= 2).then_some(near)
}

/// How many letters have to be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut above_left = i;
        let mut left = i + 1;
        for (j, to) in b.chars().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let replaced = above_left + usize::from(from != to);
            let best = replaced.min(above.saturating_add(1)).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (above_left, left) = (above, best);
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Where a key stands; 1 for one that is written in another way.
fn line_of(text: &str, key: &str) -> usize {
    let name = key.rsplit('.').next().unwrap_or(key);
    let at = text
        .lines()
        .position(|line| line.trim_start().starts_with(name));
    at.map_or(1, |line| line + 1)
}

/// The parser's words without its drawing of the place.
fn misread(path: &Path, text: &str, error: &toml::de::Error) -> CommandError {
    let before = error.span().and_then(|span| text.get(..span.start));
    CommandError::Config {
        path: path.to_owned(),
        line: 1 + before.unwrap_or_default().matches('\n').count(),
        message: error.message().to_owned(),
    }
}

/// Whether every key of a text is known and has a value that it can have.
#[cfg(test)]
pub(super) fn is_understood(text: &str) -> bool {
    let table = text.parse();
    table.is_ok_and(|table| understand(&table).is_ok_and(|(_, unknown)| unknown.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str) -> Result<(Config, Vec<String>), Unusable> {
        understand(&text.parse().unwrap())
    }

    #[test]
    fn limits_are_numbers_or_sizes_and_the_others_stay() {
        let text = "insecure = [\"a:1\"]\n[limits]\nunpacked_bytes = \"2g\"\nratio = 7\n";
        let (config, unknown) = understood(text).unwrap();
        assert_eq!(config.insecure, ["a:1"]);
        assert_eq!(
            config.limits,
            UnpackLimits {
                unpacked_bytes: 2 << 30,
                ratio: 7,
                ..UnpackLimits::default()
            }
        );
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_the_name_of_the_key() {
        for text in [
            "limits = 1",
            "insecure = 1",
            "[limits]\nratio = 0",
            "[limits]\nkeep_free_percent = 100",
            "[limits]\nzstd_window_log = 32",
            "[limits]\nentries = -1",
            "[limits]\npath_bytes = \"5k\"",
            "[limits]\nunpacked_bytes = true",
            "[limits]\nlayers = 501",
            "[limits]\njson_depth = 0",
            "[limits]\nmanifest_bytes = \"1t\"",
            "[limits]\nconfig_bytes = 1e30",
        ] {
            let refused = understood(text).unwrap_err();
            assert!(
                text.contains(refused.key.trim_start_matches("limits.")),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_kept_apart_and_the_nearest_is_found() {
        let (_, unknown) = understood("insecur = []\n[limits]\nentrys = 3\nxyz = 1\n").unwrap();
        assert_eq!(unknown, ["insecur", "limits.entrys", "limits.xyz"]);
        let near: Vec<_> = unknown.iter().map(|key| nearest(key)).collect();
        let expected = [
            Some("insecure".to_owned()),
            Some("limits.entries".to_owned()),
            None,
        ];
        assert_eq!(near, expected);
        assert_eq!(line_of("a = 1\n[limits]\n  ratio = 0\n", "limits.ratio"), 3);
    }
}
