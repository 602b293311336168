//! The keys of `config.toml`: what the reader takes and rocker-config(5) explains.

use rocker_engine::{DocumentLimits, UnpackLimits};
use rocker_types::ByteSize;
use toml::Value;

use super::config::{Config, Unusable};

/// A key, what it may be, and what it is about.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) meaning: &'static str,
}

/// What may stand behind a key.
pub(crate) enum Kind {
    /// A list of registries.
    Hosts { set: fn(&mut Config, Vec<String>) },
    /// A number, or a size.
    Limit(Limit),
}

/// A number within bounds.
pub(crate) struct Limit {
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) unit: Unit,
    pub(crate) get: fn(&UnpackLimits) -> u64,
    set: fn(&mut UnpackLimits, u64),
}

/// How a person writes a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Count,
}

macro_rules! limit {
    ($name:literal, $unit:ident, $least:expr => $most:expr, $($field:ident).+ as $type:ty, $meaning:literal) => {
        Key {
            name: concat!("limits.", $name),
            kind: Kind::Limit(Limit {
                least: $least,
                most: $most,
                unit: Unit::$unit,
                get: |limits| u64::try_from(limits.$($field).+).unwrap_or(u64::MAX),
                set: |limits, value| {
                    limits.$($field).+ = <$type>::try_from(value).unwrap_or(<$type>::MAX);
                },
            }),
            meaning: $meaning,
        }
    };
}

const LARGEST: DocumentLimits = DocumentLimits::LARGEST;

/// Every key, in the order of the manual.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "insecure",
        kind: Kind::Hosts {
            set: |config, hosts| config.insecure = hosts,
        },
        meaning: "Registries that are spoken to over plain HTTP, as HOST or HOST:PORT. Those on \
                  loopback always may be.",
    },
    limit!("unpacked_bytes", Bytes, 1 => 1 << 60, unpacked_bytes as u64,
        "What one layer may take unpacked, the holes of its files included."),
    limit!("keep_free_percent", Count, 0 => 99, keep_free_percent as u64,
        "How much of the free space stays free, in percent, whatever all layers of an image take."),
    limit!("entries", Count, 1 => 1 << 40, entries as u64,
        "Files, directories, links and nodes of one layer."),
    limit!("ratio", Count, 1 => 1 << 60, ratio as u64,
        "Unpacked bytes of a layer for each packed one, once there are more than ratio_grace_bytes."),
    limit!("ratio_grace_bytes", Bytes, 0 => 1 << 60, ratio_grace_bytes as u64,
        "Up to here no ratio is too much."),
    limit!("zstd_window_log", Count, 10 => 31, zstd_window_log as u32,
        "Memory of the zstd decoder, as a power of two, for each layer that is unpacked at a time. \
         Layers of zstd --ultra or --long want more than the default."),
    // the kernel takes no longer ones
    limit!("path_bytes", Bytes, 1 => 4096, path_bytes as usize,
        "Length of a path, or of what a link points to."),
    limit!("component_bytes", Bytes, 1 => 255, component_bytes as usize,
        "Length of one name in a path."),
    limit!("pax_bytes", Bytes, 512 => 1 << 30, pax_bytes as u64,
        "One extended header in a layer's tar."),
    limit!("xattr_bytes", Bytes, 0 => 64 << 20, xattr_bytes as usize,
        "Names and values of one file's extended attributes together."),
    limit!("index_bytes", Bytes, 1 << 16 => 1 << 40, index_bytes as usize,
        "Memory for what has to be remembered until a layer, or an archive, has ended: names, and \
         the configs of all its images."),
    limit!("layers", Count, 1 => LARGEST.layers as u64, documents.layers as usize,
        "Layers of one image. The kernel stacks no more than the default."),
    limit!("manifest_bytes", Bytes, 1 << 12 => LARGEST.manifest_bytes, documents.manifest_bytes as u64,
        "One manifest or index, or the list of images in an archive."),
    limit!("config_bytes", Bytes, 1 << 12 => LARGEST.config_bytes, documents.config_bytes as u64,
        "One image config."),
    limit!("json_depth", Count, 8 => LARGEST.json_depth as u64, documents.json_depth as usize,
        "How deep objects and lists are nested in a manifest, index or config."),
    limit!("index_entries", Count, 1 => LARGEST.index_entries as u64, documents.index_entries as usize,
        "Entries of one index."),
    limit!("index_depth", Count, 1 => LARGEST.index_depth as u64, documents.index_depth as usize,
        "How many indexes may point at one another before a manifest comes."),
    limit!("images", Count, 1 => LARGEST.images as u64, documents.images as usize,
        "Images in one archive that docker save wrote."),
];

impl Key {
    /// Puts what stands behind the key into the configuration.
    pub(super) fn take(&self, config: &mut Config, value: &Value) -> Result<(), Unusable> {
        let unusable = |wanted: String| Unusable {
            key: self.name.to_owned(),
            wanted,
        };
        match &self.kind {
            Kind::Hosts { set } => {
                let hosts = value.as_array().and_then(|hosts| {
                    let hosts = hosts.iter().map(|host| host.as_str().map(str::to_owned));
                    hosts.collect()
                });
                let wanted = || unusable("a list of \"HOST[:PORT]\"".to_owned());
                set(config, hosts.ok_or_else(wanted)?);
            }
            Kind::Limit(limit) => {
                let number = limit
                    .number(value)
                    .ok_or_else(|| unusable(limit.wanted()))?;
                (limit.set)(&mut config.limits, number);
            }
        }
        Ok(())
    }
}

impl Limit {
    fn number(&self, value: &Value) -> Option<u64> {
        let number = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.parse::<ByteSize>().ok().map(ByteSize::bytes),
            Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_) => None,
        };
        number.filter(|number| (self.least..=self.most).contains(number))
    }

    fn wanted(&self) -> String {
        let (least, most) = (self.text(self.least), self.text(self.most));
        match self.unit {
            Unit::Count => format!("a number from {least} to {most}"),
            Unit::Bytes => format!("a size from {least} to {most}, in bytes or like \"1g\""),
        }
    }

    /// As a person would write it.
    pub(crate) fn text(&self, value: u64) -> String {
        const SUFFIXES: [(u32, &str); 4] = [(40, "t"), (30, "g"), (20, "m"), (10, "k")];
        let suffix = SUFFIXES.iter().find(|(power, _)| {
            self.unit == Unit::Bytes && value != 0 && value.is_multiple_of(1 << power)
        });
        match suffix {
            Some((power, suffix)) => format!("{}{suffix}", value >> power),
            None => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> impl Iterator<Item = (&'static Key, &'static Limit)> {
        KEYS.iter().filter_map(|key| match &key.kind {
            Kind::Limit(limit) => Some((key, limit)),
            Kind::Hosts { .. } => None,
        })
    }

    #[test]
    fn every_limit_takes_its_bounds_and_its_default_and_nothing_beyond() {
        for (key, limit) in limits() {
            let default = (limit.get)(&UnpackLimits::default());
            for value in [limit.least, limit.most, default] {
                let mut config = Config::default();
                let toml = Value::Integer(i64::try_from(value).unwrap());
                key.take(&mut config, &toml).unwrap();
                assert_eq!((limit.get)(&config.limits), value, "{}", key.name);
                if value == default {
                    assert_eq!(config, Config::default(), "{}", key.name);
                }
            }
            let beyond = [i64::try_from(limit.most).unwrap() + 1, -1];
            let below = limit.least.checked_sub(1).map(|value| value.cast_signed());
            for value in beyond.into_iter().chain(below) {
                let refused = key.take(&mut Config::default(), &Value::Integer(value));
                assert_eq!(refused.unwrap_err().key, key.name, "{value}");
            }
        }
    }

    /// A field without a key could not be adjusted.
    #[test]
    fn every_limit_of_the_engine_has_a_key() {
        let fields = format!("{:?}", UnpackLimits::default());
        let fields = fields.matches(": ").count() - 1;
        assert_eq!(limits().count(), fields, "documents itself is no limit");
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let text = |name: &str, value| {
            let (_, limit) = limits().find(|(key, _)| key.name == name).unwrap();
            limit.text(value)
        };
        assert_eq!(text("limits.unpacked_bytes", 64 << 30), "64g");
        assert_eq!(text("limits.path_bytes", 255), "255");
        assert_eq!(text("limits.entries", 1 << 20), "1048576");
        assert_eq!(text("limits.xattr_bytes", 0), "0");
    }
}
