//! `/etc/rocker/config.toml`: what the machine's owner decided.

use std::path::{Path, PathBuf};
use std::sync::Once;

use rocker_engine::UnpackLimits;
use rocker_types::ByteSize;
use toml::{Table, Value};

use super::CommandError;
use super::auth_files::variable;
use crate::{report, settings_file};

/// The system's configuration; `ROCKER_CONFIG` names another file.
const CONFIG: &str = "/etc/rocker/config.toml";

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// `HOST[:PORT]` of registries that speak plain HTTP.
    pub(crate) insecure: Vec<String>,
    /// What a layer may cost.
    pub(crate) limits: UnpackLimits,
}

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq)]
struct Unusable {
    key: String,
    wanted: String,
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
    for (key, value) in table {
        match (key.as_str(), value) {
            ("insecure", value) => config.insecure = hosts(value)?,
            ("limits", Value::Table(limits)) => {
                for (name, value) in limits {
                    let key = format!("limits.{name}");
                    match LIMITS.iter().find(|limit| limit.name == name) {
                        Some(limit) => limit.set(&mut config.limits, &key, value)?,
                        None => unknown.push(key),
                    }
                }
            }
            ("limits", _) => {
                return Err(Unusable {
                    key: key.clone(),
                    wanted: "a table".to_owned(),
                });
            }
            _ => unknown.push(key.clone()),
        }
    }
    Ok((config, unknown))
}

fn hosts(value: &Value) -> Result<Vec<String>, Unusable> {
    let hosts = value.as_array().and_then(|hosts| {
        let hosts = hosts.iter().map(|host| host.as_str().map(str::to_owned));
        hosts.collect()
    });
    hosts.ok_or_else(|| Unusable {
        key: "insecure".to_owned(),
        wanted: "a list of \"HOST[:PORT]\"".to_owned(),
    })
}

/// One key of `[limits]`, and what it may be.
struct Limit {
    name: &'static str,
    least: u64,
    most: u64,
    set: fn(&mut UnpackLimits, u64),
}

/// For numbers that were bounded by what fits.
fn narrow(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

const LIMITS: &[Limit] = &[
    Limit {
        name: "entries",
        least: 1,
        most: 1 << 40,
        set: |limits, value| limits.entries = value,
    },
    // the kernel takes no longer ones
    Limit {
        name: "path_bytes",
        least: 1,
        most: 4096,
        set: |limits, value| limits.path_bytes = narrow(value),
    },
    Limit {
        name: "component_bytes",
        least: 1,
        most: 255,
        set: |limits, value| limits.component_bytes = narrow(value),
    },
    Limit {
        name: "pax_bytes",
        least: 512,
        most: 1 << 30,
        set: |limits, value| limits.pax_bytes = value,
    },
    Limit {
        name: "xattr_bytes",
        least: 0,
        most: 64 << 20,
        set: |limits, value| limits.xattr_bytes = narrow(value),
    },
    Limit {
        name: "unpacked_bytes",
        least: 1,
        most: 1 << 60,
        set: |limits, value| limits.unpacked_bytes = value,
    },
    Limit {
        name: "keep_free_percent",
        least: 0,
        most: 99,
        set: |limits, value| limits.keep_free_percent = value,
    },
    Limit {
        name: "ratio",
        least: 1,
        most: 1 << 60,
        set: |limits, value| limits.ratio = value,
    },
    Limit {
        name: "ratio_grace_bytes",
        least: 0,
        most: 1 << 60,
        set: |limits, value| limits.ratio_grace_bytes = value,
    },
    // the decoder's own bounds
    Limit {
        name: "zstd_window_log",
        least: 10,
        most: 31,
        set: |limits, value| limits.zstd_window_log = u32::try_from(value).unwrap_or(u32::MAX),
    },
    Limit {
        name: "index_bytes",
        least: 1 << 16,
        most: 1 << 40,
        set: |limits, value| limits.index_bytes = narrow(value),
    },
];

impl Limit {
    fn set(&self, limits: &mut UnpackLimits, key: &str, value: &Value) -> Result<(), Unusable> {
        let number = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.parse::<ByteSize>().ok().map(ByteSize::bytes),
            Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_) => None,
        };
        let number = number.filter(|number| (self.least..=self.most).contains(number));
        let number = number.ok_or_else(|| Unusable {
            key: key.to_owned(),
            wanted: format!(
                "a number from {} to {}, or a size like \"1g\"",
                self.least, self.most
            ),
        })?;
        (self.set)(limits, number);
        Ok(())
    }
}

/// The known key that was perhaps meant: one with the same letters but two.
fn nearest(key: &str) -> Option<String> {
    let limits = LIMITS.iter().map(|limit| format!("limits.{}", limit.name));
    let known = ["insecure".to_owned(), "limits".to_owned()];
    let near = known.into_iter().chain(limits);
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
    fn every_limit_can_be_set_to_its_default() {
        let d = UnpackLimits::default();
        let text = format!(
            "[limits]\nentries = {}\npath_bytes = {}\ncomponent_bytes = {}\npax_bytes = {}\nxattr_bytes = {}\nunpacked_bytes = {}\nkeep_free_percent = {}\nratio = {}\nratio_grace_bytes = {}\nzstd_window_log = {}\nindex_bytes = {}",
            d.entries,
            d.path_bytes,
            d.component_bytes,
            d.pax_bytes,
            d.xattr_bytes,
            d.unpacked_bytes,
            d.keep_free_percent,
            d.ratio,
            d.ratio_grace_bytes,
            d.zstd_window_log,
            d.index_bytes
        );
        assert_eq!(understood(&text), Ok((Config::default(), Vec::new())));
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
