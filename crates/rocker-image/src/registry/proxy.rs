//! The proxies that the environment names.
//!
//! Which one is for what, and what needs none, is decided as curl does: `HTTPS_PROXY`,
//! `HTTP_PROXY` or `ALL_PROXY`, and `NO_PROXY`, in upper case before lower case. Here it is only
//! seen to that what is named can be used: a proxy that is passed over in silence would be
//! somebody's rule broken.

use reqwest::Url;

use super::RegistryError;

const VARIABLES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// Sees that every proxy of the environment is one that can be spoken to.
pub(super) fn check_environment() -> Result<(), RegistryError> {
    for names in VARIABLES {
        let mut set = names
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let Some((variable, value)) = set.next() else {
            continue;
        };
        if let Some(problem) = problem(&value.to_string_lossy()) {
            return Err(RegistryError::Proxy { variable, problem });
        }
    }
    Ok(())
}

/// Whether nothing at all is to go through a proxy: a `*` is about addresses too.
pub(super) fn is_unwanted() -> bool {
    let value = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(std::env::var_os)
        .unwrap_or_default();
    let value = value.to_string_lossy();
    value.split(',').any(|entry| entry.trim() == "*")
}

/// What is wrong with a proxy; an empty one is none.
fn problem(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return None;
    }
    let with_scheme = match value.contains("://") {
        true => value.to_owned(),
        false => format!("http://{value}"),
    };
    match Url::parse(&with_scheme) {
        Err(_) => Some("it is not a URL"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Some("only http and https proxies are spoken to")
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => Some("it has no host"),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_http_and_have_a_host() {
        for (value, is_good) in [
            ("", true),
            ("http://proxy:3128", true),
            ("https://user:pw@proxy/", true),
            ("proxy.lan:3128", true),
            ("socks5://proxy:1080", false),
            ("http://", false),
            ("http://[", false),
            ("a b", false),
        ] {
            assert_eq!(problem(value).is_none(), is_good, "{value:?}");
        }
    }
}
