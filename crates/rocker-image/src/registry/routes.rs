//! Where repositories really are: `registries.conf`, version 2, of the container tools.
//!
//! Source: containers-registries.conf(5).

use rocker_types::{Diagnose, ErrorKind, ImageRef};
use serde::Deserialize;

use super::short_names::{Meaning, ShortNames};
use crate::document::shorten;

/// What one or several files say about registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    rules: Vec<Rule>,
    names: ShortNames,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `HOST[:PORT][/PATH]`, or `*.DOMAIN`.
    prefix: String,
    /// What stands in its place; the prefix itself in most files.
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// Which references a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Serves {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// Where to ask for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// `HOST[:PORT]`.
    pub registry: String,
    /// The path there.
    pub repository: String,
    /// Whether any certificate, and plain HTTP, will do.
    pub insecure: bool,
}

/// The way to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where to ask first, one after the other. Mirrors are read only.
    pub mirrors: Vec<Stop>,
    /// The place itself.
    pub own: Stop,
}

/// Why the files lead nowhere.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Not the TOML of such a file.
    #[error("line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// The parser's words.
        message: String,
    },

    /// The file is of the first version.
    #[error("this is version 1 of the format, which is not read")]
    Version1,

    /// A location that is none.
    #[error("{location:?} is not HOST[:PORT][/PATH]")]
    Location {
        /// As the file has it.
        location: String,
    },

    /// Not the name of an image.
    #[error(transparent)]
    Name(rocker_types::InvalidReference),

    /// There is nowhere to look for a name without a registry.
    #[error("{name:?} names no registry, and registries.conf has no registry to search")]
    NoSearch {
        /// As the user wrote it.
        name: String,
    },

    /// Only the user can say which image is meant.
    #[error("{name:?} may be {}, and nobody can be asked which", candidates.join(" or "))]
    Ambiguous {
        /// As the user wrote it.
        name: String,
        /// The images.
        candidates: Vec<String>,
    },

    /// The user wants nothing from there.
    #[error("{prefix} is blocked in registries.conf")]
    Blocked {
        /// What the file blocks.
        prefix: String,
    },
}

impl Diagnose for RouteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. }
            | Self::Version1
            | Self::Location { .. }
            | Self::Name(_)
            | Self::NoSearch { .. }
            | Self::Ambiguous { .. } => ErrorKind::Invalid,
            Self::Blocked { .. } => ErrorKind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Version1 => {
                Some("write [[registry]] tables in place of [registries.…]".to_owned())
            }
            Self::NoSearch { .. } | Self::Ambiguous { .. } => {
                Some("write the registry in front of the name: REGISTRY/NAME".to_owned())
            }
            Self::Syntax { .. } | Self::Location { .. } | Self::Name(_) | Self::Blocked { .. } => {
                None
            }
        }
    }
}

/// The file as it stands; keys that are about other things are other tools' business.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<RawRule>,
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Serves>,
}

impl Routes {
    /// Reads one more file: what it says about a prefix counts instead of what those before
    /// it said.
    ///
    /// # Errors
    ///
    /// Those about the file.
    pub fn add(&mut self, text: &str) -> Result<(), RouteError> {
        let file: File = read(text)?;
        if file.registries.is_some() {
            return Err(RouteError::Version1);
        }
        for raw in file.registry {
            let rule = Rule::check(raw)?;
            self.rules.retain(|other| other.prefix != rule.prefix);
            self.rules.push(rule);
        }
        self.names.add(read(text)?)
    }

    /// Which images `text` may mean; `can_ask` says whether there is a user who could choose.
    ///
    /// # Errors
    ///
    /// [`RouteError::Name`], [`RouteError::NoSearch`], [`RouteError::Ambiguous`].
    pub fn meaning(&self, text: &str, can_ask: bool) -> Result<Meaning, RouteError> {
        self.names.meaning(text, can_ask)
    }

    /// Where what `reference` names is to be had.
    ///
    /// # Errors
    ///
    /// [`RouteError::Blocked`].
    pub fn way(&self, reference: &ImageRef) -> Result<Way, RouteError> {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let Some((rule, rest)) = self.best(&name) else {
            return Ok(Way {
                mirrors: Vec::new(),
                own: Stop::at(&name, false),
            });
        };
        if rule.blocked {
            return Err(RouteError::Blocked {
                prefix: rule.prefix.clone(),
            });
        }
        let mirrors = rule.mirrors.iter().filter(|mirror| match mirror.serves {
            Serves::All => true,
            Serves::DigestOnly => reference.digest().is_some(),
            Serves::TagOnly => reference.digest().is_none(),
        });
        let mirrors = mirrors
            .map(|mirror| Stop::at(&format!("{}{rest}", mirror.location), mirror.insecure))
            .collect();
        let own = match rule.location.as_str() {
            "" => name.clone(),
            location => format!("{location}{rest}"),
        };
        let own = Stop::at(&own, rule.insecure);
        Ok(Way { mirrors, own })
    }

    /// Whether any certificate, and plain HTTP, will do for a registry as a whole.
    #[must_use]
    pub fn is_insecure(&self, registry: &str) -> bool {
        self.best(registry).is_some_and(|(rule, _)| rule.insecure)
    }

    /// The rule with the longest prefix, and what of `name` follows it.
    fn best<'n>(&self, name: &'n str) -> Option<(&Rule, &'n str)> {
        let fitting = self
            .rules
            .iter()
            .filter_map(|rule| Some((rule, rule.covers(name)?)));
        fitting.max_by_key(|(rule, _)| rule.prefix.len())
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, RouteError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        RouteError::Syntax {
            line: 1 + before.unwrap_or_default().matches('\n').count(),
            message: error.message().to_owned(),
        }
    })
}

impl Rule {
    fn check(raw: RawRule) -> Result<Self, RouteError> {
        let wildcard = raw.prefix.strip_prefix("*.");
        let location = trimmed(&raw.location);
        let prefix = match trimmed(&raw.prefix) {
            "" => location,
            prefix => prefix,
        };
        // what a wildcard stands for stays as it is
        let location = match (location, wildcard) {
            ("", Some(_)) => "",
            ("", None) => prefix,
            (location, _) => location,
        };
        let domain = wildcard.map_or(prefix, trimmed);
        for place in [domain, location].iter().filter(|place| !place.is_empty()) {
            check_place(place)?;
        }
        if domain.is_empty() {
            let location = raw.location.clone();
            return Err(RouteError::Location { location });
        }
        let by_default = match raw.mirror_by_digest_only {
            true => Serves::DigestOnly,
            false => Serves::All,
        };
        let mirrors = raw.mirror.iter().map(|mirror| {
            let location = trimmed(&mirror.location).to_owned();
            check_place(&location)?;
            Ok(Mirror {
                location,
                insecure: mirror.insecure,
                serves: mirror.pull_from_mirror.unwrap_or(by_default),
            })
        });
        Ok(Self {
            prefix: prefix.to_owned(),
            location: location.to_owned(),
            insecure: raw.insecure,
            blocked: raw.blocked,
            mirrors: mirrors.collect::<Result<_, RouteError>>()?,
        })
    }

    /// What follows the prefix in `name`, which is a whole number of its parts.
    fn covers<'n>(&self, name: &'n str) -> Option<&'n str> {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            let host = name.split('/').next()?;
            // all of the host is the prefix's, so that a location can stand for it
            return host.ends_with(domain).then(|| name.get(host.len()..))?;
        }
        let rest = name.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl Stop {
    fn at(name: &str, insecure: bool) -> Self {
        let (registry, repository) = name.split_once('/').unwrap_or((name, ""));
        Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            insecure,
        }
    }
}

fn trimmed(place: &str) -> &str {
    place.trim_end_matches('/')
}

/// A place has a host, and no scheme, tag or digest.
pub(super) fn check_place(place: &str) -> Result<(), RouteError> {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let in_host = |c: u8| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c);
    let in_path = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-/".contains(&c);
    let has_host = !host.is_empty() && !host.ends_with(':') && host.bytes().all(in_host);
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let has_path = path.bytes().all(in_path) && path.split('/').all(is_part);
    if has_host && (path.is_empty() || has_path) {
        return Ok(());
    }
    Err(RouteError::Location {
        location: shorten(place),
    })
}

#[cfg(test)]
mod tests;
