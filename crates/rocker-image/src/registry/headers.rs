//! Headers that the user wants registries to see: `HttpHeaders` of docker's `config.json`.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The most headers.
const MOST: usize = 32;

/// What a request says by itself, and what says who we are.
const OUR_OWN: [&str; 10] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
];

/// Headers for every request to the registry itself; where it sends us does not see them.
/// `Debug` hides the values, which may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraHeaders(HeaderMap);

impl ExtraHeaders {
    /// Takes headers from a file.
    ///
    /// # Errors
    ///
    /// The name of one that cannot be sent, or that is not for a user to choose.
    pub(super) fn new(headers: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let parsed = HeaderName::try_from(name).ok();
            let parsed = parsed.filter(|name| !OUR_OWN.contains(&name.as_str()));
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
    fn headers_that_a_request_has_of_its_own_are_not_taken() {
        for (name, value) in [
            ("Authorization", "x"),
            ("HOST", "x"),
            ("User-Agent", "x"),
            ("a b", "x"),
            ("X-Two", "a\nb"),
            ("", ""),
        ] {
            assert_eq!(headers(name, value), Err(name.to_owned()), "{name}");
        }
    }

    #[test]
    fn values_are_not_shown_and_do_not_displace_others() {
        let extra = headers("Accept", "hunter2").unwrap();
        assert!(!format!("{extra:?}").contains("hunter2"));
        let mut map = HeaderMap::from_iter([(
            reqwest::header::ACCEPT,
            HeaderValue::from_static("application/json"),
        )]);
        extra.add_to(&mut map);
        assert_eq!(map.len(), 1);
        assert_eq!(map["accept"], "application/json");
    }
}
