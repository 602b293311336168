//! Headers that the user wants registries to see: `HttpHeaders` of docker's `config.json`.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The most headers.
const MOST: usize = 32;

/// How the names begin of those that docker passes on to registries. The others are for the docker
/// daemon, and may be what lets somebody in there.
const FOR_REGISTRIES: &str = "x-meta-";

/// Headers for every request to the registry itself; where it sends us does not see them.
/// `Debug` hides the values, which may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraHeaders(HeaderMap);

impl ExtraHeaders {
    /// Takes those from a file that are for registries.
    ///
    /// # Errors
    ///
    /// The name of one that cannot be sent.
    pub(super) fn new(headers: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        let is_meant = |name: &str| name.to_ascii_lowercase().starts_with(FOR_REGISTRIES);
        for (name, value) in headers.iter().filter(|(name, _)| is_meant(name)) {
            let parsed = HeaderName::try_from(name).ok();
            let value = HeaderValue::try_from(value).ok();
            let (Some(parsed), Some(mut value)) = (parsed, value) else {
                return Err(name.clone());
            };
            if map.len() == MOST {
                return Err(name.clone());
            }
            value.set_sensitive(true);
            map.insert(parsed, value);
        }
        Ok(Self(map))
    }

    /// Puts them into a request, but where it says something else itself.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str, value: &str) -> Result<ExtraHeaders, String> {
        ExtraHeaders::new(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_is_for_the_daemon_stays_here() {
        for name in ["Authorization", "User-Agent", "X-Auth-Token", "a b", ""] {
            assert_eq!(headers(name, "x"), Ok(ExtraHeaders::default()), "{name}");
        }
        assert!(!headers("X-Meta-Team", "x").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (name, value) in [("X-Meta-Two", "a\nb"), ("X-Meta-a b", "x")] {
            assert_eq!(headers(name, value), Err(name.to_owned()), "{name}");
        }
    }

    #[test]
    fn values_are_not_shown_and_do_not_displace_others() {
        let extra = headers("X-Meta-Key", "hunter2").unwrap();
        assert!(!format!("{extra:?}").contains("hunter2"));
        let own = HeaderName::from_static("x-meta-key");
        let mut map = HeaderMap::from_iter([(own, HeaderValue::from_static("own"))]);
        extra.add_to(&mut map);
        assert_eq!(map.len(), 1);
        assert_eq!(map["x-meta-key"], "own");
    }
}
