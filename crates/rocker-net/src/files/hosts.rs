//! `/etc/hosts` and `/etc/hostname`.

use std::net::{IpAddr, Ipv4Addr};

use super::line::{Lines, UnsafeText, check_name};

/// Where a name of `--add-host` leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// To an address.
    Ip(IpAddr),
    /// To the host (`host-gateway`).
    Gateway,
}

/// One `--add-host NAME:ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Where it leads.
    pub address: HostAddress,
}

/// What `/etc/hosts` is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsSpec<'a> {
    /// The container's own names, host name first.
    pub names: &'a [&'a str],
    /// The container's address; none without a network of its own.
    pub address: Option<Ipv4Addr>,
    /// How the container reaches its host; none where it cannot.
    pub gateway: Option<Ipv4Addr>,
    /// `--add-host`, in order.
    pub extra: &'a [ExtraHost],
}

/// The names by which Docker's and Podman's containers call their host.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Writes `/etc/hosts`. Entries of `--add-host` come first, because the first match wins.
///
/// `host-gateway` without a gateway (`--network none`) leads to loopback, where nobody listens:
/// the name must not reach somebody else.
///
/// # Errors
///
/// [`UnsafeText`] names what could break out of its field.
pub fn hosts(spec: &HostsSpec<'_>) -> Result<String, UnsafeText> {
    let mut lines = Lines::default();
    for extra in spec.extra {
        let address = match extra.address {
            HostAddress::Ip(address) => address,
            HostAddress::Gateway => IpAddr::V4(spec.gateway.unwrap_or(Ipv4Addr::LOCALHOST)),
        };
        check_name("--add-host name", &extra.name)?;
        lines.push(&[
            ("address", &address.to_string()),
            ("--add-host name", &extra.name),
        ])?;
    }
    lines.push(&[("address", "127.0.0.1"), ("name", "localhost")])?;
    lines.push(&[
        ("address", "::1"),
        ("name", "localhost"),
        ("name", "ip6-localhost"),
        ("name", "ip6-loopback"),
    ])?;
    if let Some(gateway) = spec.gateway {
        let address = gateway.to_string();
        lines.push(&[
            ("address", &address),
            ("name", HOST_NAMES[0]),
            ("name", HOST_NAMES[1]),
        ])?;
    }
    if let Some(address) = spec.address.or(Some(Ipv4Addr::new(127, 0, 1, 1)))
        && !spec.names.is_empty()
    {
        let address = address.to_string();
        let mut words = vec![("address", address.as_str())];
        for name in spec.names {
            check_name("host name", name)?;
            words.push(("host name", name));
        }
        lines.push(&words)?;
    }
    Ok(lines.finish())
}

/// Writes `/etc/hostname`.
///
/// # Errors
///
/// [`UnsafeText`] if `name` could break out of its line.
pub fn hostname(name: &str) -> Result<String, UnsafeText> {
    check_name("host name", name)?;
    let mut lines = Lines::default();
    lines.push(&[("host name", name)])?;
    Ok(lines.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>(extra: &'a [ExtraHost], names: &'a [&'a str]) -> HostsSpec<'a> {
        HostsSpec {
            names,
            address: Some(Ipv4Addr::new(10, 120, 0, 2)),
            gateway: Some(Ipv4Addr::new(10, 120, 0, 1)),
            extra,
        }
    }

    /// As a resolver reads the file: the first line with the name.
    fn resolve(text: &str, name: &str) -> Option<String> {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?;
            words.any(|word| word == name).then(|| address.to_owned())
        })
    }

    #[test]
    fn a_container_knows_itself_its_host_and_what_the_user_added() {
        let extra = [
            ExtraHost {
                name: "db".to_owned(),
                address: HostAddress::Ip([192, 0, 2, 7].into()),
            },
            ExtraHost {
                name: "boss".to_owned(),
                address: HostAddress::Gateway,
            },
        ];
        let text = hosts(&spec(&extra, &["web"])).unwrap();

        let cases = [
            ("localhost", "127.0.0.1"),
            ("web", "10.120.0.2"),
            ("host.docker.internal", "10.120.0.1"),
            ("host.containers.internal", "10.120.0.1"),
            ("db", "192.0.2.7"),
            ("boss", "10.120.0.1"),
        ];
        for (name, address) in cases {
            assert_eq!(
                resolve(&text, name).as_deref(),
                Some(address),
                "{name}\n{text}"
            );
        }
    }

    #[test]
    fn what_the_user_added_wins() {
        let address = HostAddress::Ip([192, 0, 2, 7].into());
        let extra = [ExtraHost {
            name: "host.docker.internal".to_owned(),
            address,
        }];
        let text = hosts(&spec(&extra, &[])).unwrap();

        assert_eq!(
            resolve(&text, "host.docker.internal").as_deref(),
            Some("192.0.2.7")
        );
    }

    #[test]
    fn names_that_would_add_lines_are_refused_by_the_name_of_their_field() {
        for name in ["a\n10.0.0.1 bank.example", "a b", "a:b", "a\0"] {
            let extra = [ExtraHost {
                name: name.to_owned(),
                address: HostAddress::Gateway,
            }];
            let error = hosts(&spec(&extra, &[])).unwrap_err();
            assert!(error.to_string().contains("--add-host"), "{error}");
            assert!(hosts(&spec(&[], &[name])).is_err(), "{name:?}");
            assert!(hostname(name).is_err(), "{name:?}");
        }
    }
}
