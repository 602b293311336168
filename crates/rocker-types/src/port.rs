//! Published ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// IANA's protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(()),
        }
    }
}

/// One published port: traffic to `host_ip:host_port` reaches `container_port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address; `0.0.0.0` is all of them.
    pub host_ip: Ipv4Addr,
    /// The host's port; 0 means any free one, chosen when the port is bound.
    pub host_port: u16,
    /// The container's port, never 0.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}->{}/{}",
            self.host_ip, self.host_port, self.container_port, self.protocol
        )
    }
}

/// What one `-p` says: `[[HOSTIP:][HOSTPORT[-END]]:]CPORT[-END][/tcp|udp]`, ranges expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec(pub Vec<PublishedPort>);

/// The text does not publish a port.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid port {text:?}: {why}")]
pub struct InvalidPort {
    text: String,
    why: &'static str,
}

/// First and last port.
type PortRange = (u16, u16);

const SYNTAX: &str = "want [[HOSTIP:][HOSTPORT[-END]]:]PORT[-END][/tcp|udp], ports from 1 to 65535";

impl FromStr for PortSpec {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).map_err(|why| InvalidPort {
            text: text.chars().take(120).collect(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<Vec<PublishedPort>, &'static str> {
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, "sctp")) if !rest.is_empty() => {
            return Err("sctp ports cannot be published, only tcp and udp");
        }
        Some((rest, name)) => (
            rest,
            name.to_ascii_lowercase().parse().map_err(|()| SYNTAX)?,
        ),
        None => (text, Protocol::Tcp),
    };
    let (host, container) = match rest.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, rest),
    };
    let container = range(container)?;
    let (host_ip, host_range) = match host {
        None => (Ipv4Addr::UNSPECIFIED, None),
        Some(host) => host_side(host)?,
    };
    let Some(host_range) = host_range else {
        return Ok(expand(host_ip, container, |_| 0, protocol));
    };
    let length = |r: (u16, u16)| r.1 - r.0;
    if length(host_range) != length(container) {
        return Err("the host's range and the container's range differ in length");
    }
    Ok(expand(host_ip, container, |i| host_range.0 + i, protocol))
}

fn expand(
    host_ip: Ipv4Addr,
    container: (u16, u16),
    host_port: impl Fn(u16) -> u16,
    protocol: Protocol,
) -> Vec<PublishedPort> {
    (0..=container.1 - container.0)
        .map(|i| PublishedPort {
            host_ip,
            host_port: host_port(i),
            container_port: container.0 + i,
            protocol,
        })
        .collect()
}

/// `HOSTIP:HOSTPORT`, `HOSTIP:` or `HOSTPORT`.
fn host_side(text: &str) -> Result<(Ipv4Addr, Option<PortRange>), &'static str> {
    let (ip, port) = match text.rsplit_once(':') {
        Some((ip, port)) => (ip, port),
        None if text.parse::<IpAddr>().is_ok() => (text, ""),
        None => ("0.0.0.0", text),
    };
    let ip = match ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip)
        .parse::<IpAddr>()
    {
        Ok(IpAddr::V4(ip)) => ip,
        Ok(IpAddr::V6(_)) => return Err("ports cannot be published on IPv6 addresses"),
        Err(_) => return Err(SYNTAX),
    };
    if port.is_empty() {
        Ok((ip, None))
    } else {
        Ok((ip, Some(range(port)?)))
    }
}

fn range(text: &str) -> Result<PortRange, &'static str> {
    let one = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|port| digits && *port > 0)
            .ok_or(SYNTAX)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (one(first)?, one(last)?),
        None => (one(text)?, one(text)?),
    };
    if last < first {
        Err("the range ends before it starts")
    } else {
        Ok((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_parse_as_docker_reads_them() {
        let shown = |text: &str| {
            text.parse::<PortSpec>().map(|spec| {
                spec.0
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        let table = [
            ("80", "0.0.0.0:0->80/tcp"),
            ("8080:80", "0.0.0.0:8080->80/tcp"),
            ("8080:80/udp", "0.0.0.0:8080->80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0->80/tcp"),
            (
                "8000-8001:90-91",
                "0.0.0.0:8000->90/tcp 0.0.0.0:8001->91/tcp",
            ),
        ];
        for (text, want) in table {
            assert_eq!(shown(text).as_deref(), Ok(want), "{text}");
        }
        let bad = [
            "",
            ":",
            "0",
            "65536",
            "8080:0",
            "80:80:80",
            "::1:80:80",
            "[::1]:80:80",
            "8000-8001:90",
            "9-8:9-8",
            "80/sctp",
            "80/x",
            "-80",
            "+80",
            "80-",
            "1.2.3:80:80",
            "a:80",
            "1.2.3.4:80:80:80",
        ];
        for text in bad {
            assert!(shown(text).is_err(), "{text:?}");
        }
    }
}
