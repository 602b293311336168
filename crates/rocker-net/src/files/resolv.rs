//! `/etc/resolv.conf`.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::line::{Lines, UnsafeText, check};

/// Whether the container reaches what the host reaches at loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It shares the host's network.
    Host,
    /// It has a network of its own: a resolver at the host's loopback, or one that is
    /// reachable by IPv6 only, is none.
    OwnNetwork,
}

/// `--dns`, `--dns-search` and `--dns-option`: each, if given, replaces what the host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsOverrides {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; a single `.` means none.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// Used when the host has no name server that a container could reach. Google's, as Docker's
/// and Podman's fallback is; `--dns` avoids it.
pub const FALLBACK_NAMESERVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

const HOST_FILE: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the name servers behind its own 127.0.0.53.
const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";

/// Why there is no `/etc/resolv.conf` for a container.
#[derive(Debug, thiserror::Error)]
pub enum ResolvConfError {
    /// The host's file could not be read.
    #[error("cannot read the host's name servers")]
    Read {
        /// What the kernel said, with the file's name.
        source: io::Error,
    },
    /// Something on the command line must not be written.
    #[error("cannot write resolv.conf")]
    Unsafe {
        /// What.
        source: UnsafeText,
    },
}

impl rocker_types::Diagnose for ResolvConfError {
    fn kind(&self) -> rocker_types::ErrorKind {
        match self {
            Self::Read { .. } => rocker_types::ErrorKind::Internal,
            Self::Unsafe { .. } => rocker_types::ErrorKind::Invalid,
        }
    }
}

/// Writes a container's `/etc/resolv.conf` from this host's.
///
/// # Errors
///
/// [`ResolvConfError`]. A host without the file is a host without name servers, not an error.
pub fn host_resolv_conf(reach: Reach, overrides: &DnsOverrides) -> Result<String, ResolvConfError> {
    let host = read_if_there(HOST_FILE)?;
    let only_loopback = reach == Reach::OwnNetwork
        && Parsed::of(&host)
            .servers
            .iter()
            .all(|server| !usable(*server, reach));
    let upstream = if only_loopback {
        read_if_there(RESOLVED_FILE)?
    } else {
        String::new()
    };
    resolv_conf(&host, &upstream, reach, overrides)
        .map_err(|source| ResolvConfError::Unsafe { source })
}

fn read_if_there(path: &str) -> Result<String, ResolvConfError> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ResolvConfError::Read { source }),
    }
}

/// Writes `/etc/resolv.conf`: the overrides, else the host's usable name servers, else those
/// of `upstream` (systemd-resolved's own file), else [`FALLBACK_NAMESERVERS`].
///
/// # Errors
///
/// [`UnsafeText`] names what could break out of its field.
pub fn resolv_conf(
    host: &str,
    upstream: &str,
    reach: Reach,
    overrides: &DnsOverrides,
) -> Result<String, UnsafeText> {
    let parsed = Parsed::of(host);
    let mut lines = Lines::default();
    for server in servers(&parsed, upstream, reach, overrides) {
        lines.push(&[("keyword", "nameserver"), ("--dns", &server.to_string())])?;
    }
    let search = if overrides.search.is_empty() {
        &parsed.search
    } else {
        &overrides.search
    };
    if search.iter().any(|domain| domain != ".") {
        push_words(&mut lines, "search", "--dns-search", search)?;
    }
    let options = if overrides.options.is_empty() {
        &parsed.options
    } else {
        &overrides.options
    };
    if !options.is_empty() {
        push_words(&mut lines, "options", "--dns-option", options)?;
    }
    Ok(lines.finish())
}

fn push_words(
    lines: &mut Lines,
    keyword: &'static str,
    field: &'static str,
    words: &[String],
) -> Result<(), UnsafeText> {
    let mut line = vec![("keyword", keyword)];
    line.extend(
        words
            .iter()
            .filter(|word| *word != ".")
            .map(|word| (field, word.as_str())),
    );
    lines.push(&line)
}

fn servers(parsed: &Parsed, upstream: &str, reach: Reach, overrides: &DnsOverrides) -> Vec<IpAddr> {
    if !overrides.servers.is_empty() {
        return overrides.servers.clone();
    }
    let usable_of = |servers: &[IpAddr]| -> Vec<IpAddr> {
        servers
            .iter()
            .copied()
            .filter(|server| usable(*server, reach))
            .collect()
    };
    let own = usable_of(&parsed.servers);
    if !own.is_empty() || reach == Reach::Host {
        return own;
    }
    let behind = usable_of(&Parsed::of(upstream).servers);
    if behind.is_empty() {
        FALLBACK_NAMESERVERS.to_vec()
    } else {
        behind
    }
}

fn usable(server: IpAddr, reach: Reach) -> bool {
    match reach {
        Reach::Host => true,
        // Bridges have no IPv6 yet.
        Reach::OwnNetwork => server.is_ipv4() && !server.is_loopback() && !server.is_unspecified(),
    }
}

/// What resolv.conf(5) says of the lines that matter.
#[derive(Debug, Default)]
struct Parsed {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Parsed {
    fn of(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scoped address (fe80::1%eth0) names an interface of the host.
                    parsed
                        .servers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last one wins; "domain" is the older spelling.
                Some("search" | "domain") => parsed.search = safe(words).collect(),
                Some("options") => parsed.options.extend(safe(words)),
                _ => {}
            }
        }
        parsed
    }
}

/// The words up to a comment, without those that must not be written: an odd file of the host
/// is no reason to run no containers.
fn safe<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    words
        .take_while(|word| !word.starts_with(['#', ';']))
        .filter(|word| check("word", word).is_ok())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOLVED: &str = "# comment\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";

    fn write(host: &str, upstream: &str, reach: Reach) -> String {
        resolv_conf(host, upstream, reach, &DnsOverrides::default()).unwrap()
    }

    #[test]
    fn a_container_gets_only_name_servers_that_it_can_reach() {
        let own = Reach::OwnNetwork;
        let cases = [
            (
                "nameserver 192.0.2.1\nnameserver 127.0.0.1\n",
                "",
                own,
                "nameserver 192.0.2.1\n",
            ),
            (
                RESOLVED,
                "nameserver 192.0.2.9\n",
                own,
                "nameserver 192.0.2.9\nsearch lan\noptions edns0 trust-ad\n",
            ),
            (
                RESOLVED,
                "",
                Reach::Host,
                "nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n",
            ),
            (
                "nameserver ::1\nnameserver 2001:db8::1\n",
                "",
                own,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
            ),
            ("", "", own, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            ("", "", Reach::Host, ""),
            (
                "nameserver fe80::1%eth0\nnameserver 192.0.2.1 trailing\n",
                "",
                own,
                "nameserver 192.0.2.1\n",
            ),
            (
                "nameserver 192.0.2.1\nsearch lan # home\noptions a;b edns0 x\0 ; why\n",
                "",
                own,
                "nameserver 192.0.2.1\nsearch lan\noptions edns0\n",
            ),
            (
                "search # none\nnameserver 192.0.2.1",
                "",
                own,
                "nameserver 192.0.2.1\n",
            ),
        ];
        for (host, upstream, reach, expected) in cases {
            assert_eq!(write(host, upstream, reach), expected, "{host:?}");
        }
    }

    #[test]
    fn the_command_line_replaces_what_the_host_has() {
        let overrides = DnsOverrides {
            servers: vec![[192, 0, 2, 53].into(), "2001:db8::53".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        let text = resolv_conf(RESOLVED, "", Reach::OwnNetwork, &overrides).unwrap();

        assert_eq!(
            text,
            "nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:2\n"
        );
    }

    #[test]
    fn a_search_domain_or_option_cannot_add_a_line() {
        for word in ["a\nnameserver 10.0.0.66", "a b", "a\r", "a\0"] {
            let search = DnsOverrides {
                search: vec![word.to_owned()],
                ..DnsOverrides::default()
            };
            let option = DnsOverrides {
                options: vec![word.to_owned()],
                ..DnsOverrides::default()
            };
            for overrides in [search, option] {
                let error = resolv_conf("", "", Reach::OwnNetwork, &overrides).unwrap_err();
                assert!(error.to_string().starts_with("--dns-"), "{error}");
            }
        }
    }
}
