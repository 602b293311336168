//! Links, addresses, routes, firewall rules and sockets of this thread's network namespace.

use std::collections::HashSet;
use std::process::Command;

use serde_json::Value;

use super::Scope;

pub(super) fn facts(scope: &Scope) -> Vec<String> {
    let mut facts = links_and_addresses();
    facts.extend(routes());
    facts.extend(nft_ruleset());
    facts.extend(iptables());
    facts.extend(listening_sockets());
    facts.extend(unix_sockets(scope));
    facts
}

/// stdout of a program run in this thread's namespaces; empty if it fails or is not installed.
fn output(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&output(words)).unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `link <name> <master>` and `address <link> <address>/<length>`.
fn links_and_addresses() -> Vec<String> {
    let mut facts = Vec::new();
    for link in list(&json(&["ip", "-j", "address"])) {
        let name = link["ifname"].as_str().unwrap_or("?");
        facts.push(format!(
            "link {name} {}",
            link["master"].as_str().unwrap_or("-")
        ));
        for address in list(&link["addr_info"]) {
            facts.push(format!(
                "address {name} {}/{}",
                address["local"].as_str().unwrap_or("?"),
                address["prefixlen"]
            ));
        }
    }
    facts
}

/// `route <destination> dev <link> …`, without the state of the cable.
fn routes() -> Vec<String> {
    let v4 = output(&["ip", "-4", "route", "show", "table", "all"]);
    let v6 = output(&["ip", "-6", "route", "show", "table", "all"]);
    v4.lines()
        .chain(v6.lines())
        .map(|line| format!("route {}", line.replace(" linkdown", "").trim()))
        .collect()
}

/// One fact for each table, chain, set, map and rule, all families.
fn nft_ruleset() -> Vec<String> {
    let ruleset = json(&["nft", "-j", "list", "ruleset"]);
    list(&ruleset["nftables"])
        .filter(|object| object.get("metainfo").is_none())
        .map(|object| {
            let mut object = object.clone();
            strip_volatile(&mut object);
            format!("nft {object}")
        })
        .collect()
}

/// Removes what changes without anybody changing a rule.
fn strip_volatile(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["handle", "packets", "bytes", "expires"] {
                object.remove(key);
            }
            object.values_mut().for_each(strip_volatile);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_volatile),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `iptables <line>` of the legacy tables, which `nft` does not show. A machine without
/// iptables has none of them.
fn iptables() -> Vec<String> {
    let mut facts = Vec::new();
    for program in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        for line in output(&[program])
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            // `:INPUT ACCEPT [12:345]` counts packets.
            let rule = line.split(" [").next().unwrap_or(line);
            facts.push(format!("iptables {program} {rule}"));
        }
    }
    facts
}

/// `listen <protocol> <address in hex>` for sockets that are not this process's own.
fn listening_sockets() -> Vec<String> {
    let own = own_socket_inodes();
    let mut facts = Vec::new();
    for (protocol, listening_state) in
        [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")]
    {
        let text =
            fs_err::read_to_string(format!("/proc/thread-self/net/{protocol}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..]
                && state == listening_state
                && !own.contains(inode)
            {
                facts.push(format!("listen {protocol} {local}"));
            }
        }
    }
    facts
}

fn own_socket_inodes() -> HashSet<String> {
    let Ok(entries) = fs_err::read_dir("/proc/self/fd") else {
        return HashSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = fs_err::read_link(entry.path()).ok()?;
            Some(
                target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect()
}

/// `socket <path>` for unix sockets bound below the runroot.
fn unix_sockets(scope: &Scope) -> Vec<String> {
    let runroot = scope.runroot.to_string_lossy();
    let text = fs_err::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let mut paths: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|path| path.starts_with(&*runroot))
        .map(|path| format!("socket {path}"))
        .collect();
    paths.dedup();
    paths
}
