//! Ports and labels in docker's words.

use std::collections::BTreeMap;

use rocker_types::PublishedPort;

/// `a=1,b=2`.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// One or more ports in a row, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    /// `0.0.0.0` and its first port; `None` when not published.
    host: Option<(String, u16)>,
    first: u16,
    last: u16,
    protocol: String,
}

impl Range {
    /// Whether `next` goes on where this ends.
    fn goes_on_with(&self, next: &Self) -> bool {
        let length = self.last - self.first + 1;
        let same_host = match (&self.host, &next.host) {
            (None, None) => true,
            (Some((ip, port)), Some((next_ip, next_port))) => {
                ip == next_ip && port.checked_add(length) == Some(*next_port)
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_host && self.protocol == next.protocol && self.last.checked_add(1) == Some(next.first)
    }

    fn text(&self) -> String {
        let span = |first: u16| match self.last - self.first {
            0 => first.to_string(),
            more => format!("{first}-{}", first.saturating_add(more)),
        };
        let container = format!("{}/{}", span(self.first), self.protocol);
        match &self.host {
            Some((ip, port)) => format!("{ip}:{}->{container}", span(*port)),
            None => container,
        }
    }
}

/// `0.0.0.0:8080->80/tcp, 443/tcp`; ports in a row are one entry.
pub(crate) fn ports_text(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut ranges: Vec<Range> = published.iter().map(published_range).collect();
    ranges.sort_by(|a, b| (&a.host, a.first).cmp(&(&b.host, b.first)));
    let is_published = |range: &Range| {
        published.iter().any(|port| {
            port.container_port == range.first && port.protocol.as_str() == range.protocol
        })
    };
    let mut unpublished: Vec<Range> = exposed
        .iter()
        .filter_map(|text| exposed_range(text))
        .filter(|range| !is_published(range))
        .collect();
    unpublished.sort_by(|a, b| (&a.protocol, a.first).cmp(&(&b.protocol, b.first)));

    let mut folded: Vec<Range> = Vec::new();
    for range in ranges.into_iter().chain(unpublished) {
        match folded.last_mut() {
            Some(last) if last.goes_on_with(&range) => last.last = range.last,
            _ => folded.push(range),
        }
    }
    let texts: Vec<String> = folded.iter().map(Range::text).collect();
    texts.join(", ")
}

fn published_range(port: &PublishedPort) -> Range {
    Range {
        host: Some((port.host_ip.to_string(), port.host_port)),
        first: port.container_port,
        last: port.container_port,
        protocol: port.protocol.to_string(),
    }
}

fn exposed_range(text: &str) -> Option<Range> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let port = port.parse().ok()?;
    // an image may say anything there
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return None;
    }
    Some(Range {
        host: None,
        first: port,
        last: port,
        protocol: protocol.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rocker_types::PortSpec;

    use super::*;

    #[test]
    fn ports_look_as_in_docker() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&[], &[], ""),
            (&["8080:80"], &[], "0.0.0.0:8080->80/tcp"),
            (
                &["8080:80"],
                &["80/tcp", "443/tcp"],
                "0.0.0.0:8080->80/tcp, 443/tcp",
            ),
            (&["8000-8002:80-82"], &[], "0.0.0.0:8000-8002->80-82/tcp"),
            (
                &["8000:80", "8002:81"],
                &[],
                "0.0.0.0:8000->80/tcp, 0.0.0.0:8002->81/tcp",
            ),
            (
                &["127.0.0.1:53:53/udp", "53:53"],
                &[],
                "0.0.0.0:53->53/tcp, 127.0.0.1:53->53/udp",
            ),
            (
                &[],
                &["3300/tcp", "3301/tcp", "3302/tcp", "3301/udp"],
                "3300-3302/tcp, 3301/udp",
            ),
            (
                &[],
                &["80/\u{1b}]0;x\u{7}\nforged", "81/", "82", "83/sctp"],
                "83/sctp, 82/tcp",
            ),
        ];
        for (published, exposed, expected) in cases {
            let ports: Vec<PublishedPort> = published
                .iter()
                .flat_map(|text| text.parse::<PortSpec>().expect("a port").0)
                .collect();
            let exposed: Vec<String> = exposed.iter().map(|e| (*e).to_owned()).collect();
            assert_eq!(ports_text(&ports, &exposed), *expected);
        }
    }
}
