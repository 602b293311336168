//! Which redirects are followed.

use reqwest::Url;

use super::RegistryError;
use super::origin::{InsecureHosts, Origin, Reach, shown};
use super::words::shorten;

/// The most hops of one request.
const MAX_HOPS: usize = 10;

/// The way of one request through redirects.
#[derive(Debug)]
pub(super) struct Trail<'a> {
    /// Who was asked first: what it may send us to depends on what it is.
    start: &'a Origin,
    insecure: &'a InsecureHosts,
    visited: Vec<Url>,
}

impl<'a> Trail<'a> {
    pub(super) const fn new(start: &'a Origin, insecure: &'a InsecureHosts) -> Self {
        Self {
            start,
            insecure,
            visited: Vec::new(),
        }
    }

    /// Where to go from `from`, whose answer had this `location`.
    ///
    /// A redirect may not lead from https to http, nor to plain HTTP where the user did not
    /// agree to it, nor to an address of this machine or of
    /// special meaning, nor from a public registry into a private network, unless the user
    /// named the target insecure (that is, trusts it). The answers to these requests are
    /// verified by digest, so what is at stake is the request itself: it may trigger
    /// something at a service that trusts our network position (CVE-2020-15157 is the
    /// same with credentials, which the caller withholds from other origins).
    pub(super) fn next(&mut self, from: &Url, location: &str) -> Result<Url, RegistryError> {
        let target = permitted(self.start, self.insecure, from, location)?;
        let refuse = |problem| refused(from, shown(&target), problem);
        self.visited.push(from.clone());
        if self.visited.contains(&target) {
            return Err(refuse("that is a loop"));
        }
        if self.visited.len() > MAX_HOPS {
            return Err(one_too_many(from, &target));
        }
        Ok(target)
    }
}

/// Where `location` leads from `from`, if we may go there: see [`Trail::next`].
pub(super) fn permitted(
    start: &Origin,
    insecure: &InsecureHosts,
    from: &Url,
    location: &str,
) -> Result<Url, RegistryError> {
    let target = from
        .join(location)
        .map_err(|_| refused(from, shorten(location), "that is not a URL"))?;
    let problem = match Origin::of(&target) {
        None => Some("only http and https are followed"),
        Some(origin) => problem((start, insecure), from, &target, &origin),
    };
    match problem {
        Some(problem) => Err(refused(from, shown(&target), problem)),
        None => Ok(target),
    }
}

/// What a way says that has no end.
pub(super) fn one_too_many(from: &Url, target: &Url) -> RegistryError {
    refused(from, shown(target), "that is one redirect too many")
}

fn refused(from: &Url, target: String, problem: &'static str) -> RegistryError {
    RegistryError::Redirect {
        url: shown(from),
        target,
        problem,
    }
}

fn problem(
    (start, insecure): (&Origin, &InsecureHosts),
    from: &Url,
    target: &Url,
    origin: &Origin,
) -> Option<&'static str> {
    if !target.username().is_empty() || target.password().is_some() {
        return Some("a redirect must not bring credentials along");
    }
    if from.scheme() == "https" && !origin.secure {
        return Some("a redirect must not lead from https to http");
    }
    // the start is either on https or a host that the user agreed to; its other ports are as
    // good
    let may_be_plain = Reach::of(&origin.host) == Reach::Loopback
        || (!start.secure && origin.host == start.host)
        || insecure.names(&origin.host, origin.port);
    let problem = "plain HTTP is spoken only to loopback and to hosts named insecure";
    let is_plain = !origin.secure && !may_be_plain;
    forbidden_reach(start, origin, insecure).or(is_plain.then_some(problem))
}

/// Why a server at `start` may not send us to `target`, judged by where both are.
pub(super) fn forbidden_reach(
    start: &Origin,
    target: &Origin,
    insecure: &InsecureHosts,
) -> Option<&'static str> {
    if target.host == start.host || insecure.names(&target.host, target.port) {
        return None;
    }
    match (Reach::of(&start.host), Reach::of(&target.host)) {
        (_, Reach::Special) => Some("that is no address of a server"),
        (Reach::Loopback, _) | (_, Reach::Public) => None,
        (_, Reach::Loopback) => Some("that is this machine"),
        (Reach::Public, Reach::Private) if !insecure.names(&start.host, start.port) => {
            Some("that is a private address")
        }
        (Reach::Public | Reach::Private | Reach::Special, Reach::Private) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, location: &str, insecure: &[&str]) -> Result<String, String> {
        let from = Url::parse(from).unwrap();
        let start = Origin::of(&from).unwrap();
        let insecure = InsecureHosts::new(
            &insecure
                .iter()
                .map(|&host| host.to_owned())
                .collect::<Vec<_>>(),
        );
        let next = Trail::new(&start, &insecure).next(&from, location);
        next.map(|url| url.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn honest_redirects_are_followed() {
        let cases = [
            (
                "https://a.io/v2/x",
                "https://cdn.net/y?sig=1",
                "https://cdn.net/y?sig=1",
            ),
            ("https://a.io/v2/x", "/y", "https://a.io/y"),
            ("https://a.io/v2/x", "y", "https://a.io/v2/y"),
            ("https://a.io/v2/x", "//b.io/y", "https://b.io/y"),
            (
                "http://127.0.0.1:1/x",
                "http://127.0.0.1:2/y",
                "http://127.0.0.1:2/y",
            ),
            (
                "http://127.0.0.1:1/x",
                "https://cdn.net/y",
                "https://cdn.net/y",
            ),
            (
                "https://10.0.0.1/x",
                "https://10.0.0.2/y",
                "https://10.0.0.2/y",
            ),
            (
                "https://registry/x",
                "https://10.0.0.2/y",
                "https://10.0.0.2/y",
            ),
        ];
        for (from, location, target) in cases {
            assert_eq!(
                follow(from, location, &[]).as_deref(),
                Ok(target),
                "{from} {location}"
            );
        }
    }

    #[test]
    fn dangerous_redirects_are_not_followed() {
        let cases = [
            ("https://a.io/x", "http://a.io/x", "from https to http"),
            ("https://a.io/x", "http://cdn.net/x", "from https to http"),
            ("https://a.io/x", "file:///etc/passwd", "only http"),
            ("https://a.io/x", "ftp://a.io/x", "only http"),
            (
                "https://a.io/x",
                "https://169.254.169.254/latest",
                "no address of a server",
            ),
            (
                "http://127.0.0.1:1/x",
                "http://169.254.169.254/latest",
                "no address of a server",
            ),
            (
                "http://127.0.0.1:1/x",
                "http://[::ffff:169.254.169.254]/latest",
                "no address of a server",
            ),
            (
                "https://a.io/x",
                "https://2852039166/latest",
                "no address of a server",
            ),
            ("http://127.0.0.1:1/x", "http://cdn.net/x", "named insecure"),
            (
                "http://127.0.0.1:1/x",
                "http://10.0.0.1/x",
                "named insecure",
            ),
            ("https://a.io/x", "https://127.0.0.1/x", "this machine"),
            ("https://10.0.0.1/x", "https://localhost/x", "this machine"),
            ("https://a.io/x", "https://10.0.0.1/x", "private"),
            ("https://a.io/x", "https://u:p@b.io/x", "credentials"),
            ("https://a.io/x", "https://[", "not a URL"),
            ("https://a.io/x", "https://a.io/x", "loop"),
        ];
        for (from, location, problem) in cases {
            let error = follow(from, location, &[]).unwrap_err();
            assert!(error.contains(problem), "{from} {location}: {error}");
        }
    }

    #[test]
    fn the_user_may_allow_a_private_target() {
        assert!(follow("https://a.io/x", "https://10.0.0.1/x", &["10.0.0.1"]).is_ok());
        assert!(
            follow("https://a.io/x", "http://10.0.0.1/x", &["10.0.0.1"]).is_err(),
            "still not from https to http"
        );
    }

    #[test]
    fn plain_http_leads_only_where_the_user_agreed_to_it() {
        let insecure = ["10.0.0.1:5000", "store.lan"];
        for (location, allowed) in [
            ("http://10.0.0.1:9000/y", true),
            ("http://store.lan/y", true),
            ("https://cdn.net/y", true),
            ("http://cdn.net/y", false),
            ("http://10.0.0.2/y", false),
        ] {
            let outcome = follow("http://10.0.0.1:5000/x", location, &insecure);
            assert_eq!(outcome.is_ok(), allowed, "{location}: {outcome:?}");
        }
    }

    #[test]
    fn a_trail_has_ten_hops_and_no_loops() {
        let at = |n: usize| Url::parse(&format!("https://a.io/{n}")).unwrap();
        let start = Origin::of(&at(0)).unwrap();
        let insecure = InsecureHosts::default();
        let mut trail = Trail::new(&start, &insecure);
        for hop in 0..10 {
            assert!(
                trail.next(&at(hop), &format!("/{}", hop + 1)).is_ok(),
                "hop {hop}"
            );
        }
        assert!(
            trail
                .next(&at(10), "/11")
                .unwrap_err()
                .to_string()
                .contains("too many")
        );

        let mut trail = Trail::new(&start, &insecure);
        assert!(trail.next(&at(0), "/1").is_ok());
        assert!(
            trail
                .next(&at(1), "/0")
                .unwrap_err()
                .to_string()
                .contains("loop")
        );
    }
}
