//! Containers on bridges, against the real kernel in private network namespaces.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and may print and use std::fs"
)]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use rocker_net::{
    AttachError, PortError, PortForwarder, attach, depart, detach, loopback_up, restore, sweep,
    withdraw,
};
use rocker_types::Protocol::{Tcp, Udp};
use support::Outcome::{Refused, Seen, Silence};
use support::{
    HOST_ADDRESS, Host, INTERNET_ADDRESS, Known, Netns, drive, in_host, ip, leftovers, port, run,
    tcp, tcp_briefly, udp,
};

const ANY: [u8; 4] = [0, 0, 0, 0];
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn containers_on_a_bridge_reach_each_other_under_their_own_addresses() {
    in_host(|host| {
        let (a, b) = (host.container(&[]), host.container(&[]));
        let _echo = b.netns.tcp_echo(80);

        let outcome = a.netns.run(|| tcp(b.address(), 80));

        assert_eq!(outcome, Seen(a.address()));
        assert_eq!(
            host.netns().run(|| tcp(b.address(), 80)),
            Seen(b.attachment.bridge.gateway)
        );
        a.detach();
        b.detach();
    });
}

#[test]
fn containers_reach_the_outside_under_the_hosts_address() {
    in_host(|host| {
        let internet = host.internet();
        let _services = (internet.tcp_echo(80), internet.udp_echo(53));
        let container = host.container(&[]);

        let outcomes = container
            .netns
            .run(|| (tcp(INTERNET_ADDRESS, 80), udp(INTERNET_ADDRESS, 53)));

        assert_eq!(outcomes, (Seen(HOST_ADDRESS), Seen(HOST_ADDRESS)));
        container.detach();
        ip("link del up0");
    });
}

#[test]
fn published_ports_are_reached_from_everywhere_and_the_container_sees_who_calls() {
    in_host(|host| {
        let internet = host.internet();
        let ports = [port(ANY, 8080, 80, Tcp), port(ANY, 5353, 53, Udp)];
        let address = host.attachment(host.bridge(), &[]).address;
        let forwarder = PortForwarder::bind(&ports, next(address)).unwrap();
        let container = host.container(&ports);
        assert_eq!(container.address(), next(address));
        let _services = (container.netns.tcp_echo(80), container.netns.udp_echo(53));
        let driver = drive(host.netns(), forwarder);
        let neighbour = host.container(&[]);
        let gateway = container.attachment.bridge.gateway;

        let both = |address| (tcp(address, 8080), udp(address, 5353));
        let outside = internet.run(|| both(HOST_ADDRESS));
        let own_address = both(HOST_ADDRESS);
        let loopback = both(LOOPBACK);
        let from_neighbour = neighbour.netns.run(|| both(HOST_ADDRESS));
        let from_itself = container.netns.run(|| both(gateway));

        assert_eq!(outside, (Seen(INTERNET_ADDRESS), Seen(INTERNET_ADDRESS)));
        assert_eq!(own_address, (Seen(HOST_ADDRESS), Seen(HOST_ADDRESS)));
        assert_eq!(loopback, (Seen(gateway), Seen(gateway)));
        assert_eq!(from_neighbour, (Seen(gateway), Seen(gateway)));
        assert_eq!(from_itself, (Seen(gateway), Seen(gateway)));
        container.detach();
        drop(driver);
        neighbour.detach();
        ip("link del up0");
    });
}

fn next(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() + 1)
}

#[test]
fn a_port_published_on_one_address_is_on_no_other() {
    in_host(|host| {
        let internet = host.internet();
        ip("addr add 203.0.113.7/24 dev up0");
        let container = host.container(&[port([203, 0, 113, 7], 8080, 80, Tcp)]);
        let _echo = container.netns.tcp_echo(80);

        let on = internet.run(|| tcp(Ipv4Addr::new(203, 0, 113, 7), 8080));
        let off = internet.run(|| tcp(HOST_ADDRESS, 8080));

        assert_eq!((on, off), (Seen(INTERNET_ADDRESS), Refused));
        container.detach();
        ip("link del up0");
    });
}

#[test]
fn what_is_not_published_is_not_reached_from_outside_even_by_a_route() {
    in_host(|host| {
        let internet = host.internet();
        let ports = [port([127, 0, 0, 1], 8080, 80, Tcp)];
        let forwarder = PortForwarder::bind(&ports, Ipv4Addr::new(10, 120, 0, 2)).unwrap();
        let container = host.container(&ports);
        let _echo = container.netns.tcp_echo(80);
        let driver = drive(host.netns(), forwarder);

        let direct = internet.run(|| tcp_briefly(container.address(), 80));
        let by_host = internet.run(|| tcp(HOST_ADDRESS, 8080));
        let own_address = tcp(HOST_ADDRESS, 8080);
        let loopback = tcp(LOOPBACK, 8080);

        assert_eq!((direct, by_host, own_address), (Silence, Refused, Refused));
        assert_eq!(loopback, Seen(container.attachment.bridge.gateway));
        container.detach();
        drop(driver);
        ip("link del up0");
    });
}

#[test]
fn a_neighbour_does_not_reach_a_loopback_port_even_where_route_localnet_is_set() {
    in_host(|host| {
        let internet = host.internet();
        let ports = [port([127, 0, 0, 1], 8080, 80, Tcp)];
        let forwarder = PortForwarder::bind(&ports, Ipv4Addr::new(10, 120, 0, 2)).unwrap();
        let container = host.container(&ports);
        let _echo = container.netns.tcp_echo(80);
        let driver = drive(host.netns(), forwarder);
        run("sysctl", &["-qw", "net.ipv4.conf.all.route_localnet=1"]);

        let outcome = internet.run(|| {
            run("sysctl", &["-qw", "net.ipv4.conf.all.route_localnet=1"]);
            ip("addr del 127.0.0.1/8 dev lo");
            ip(&format!("route add 127.0.0.1 via {HOST_ADDRESS} dev eth0"));
            tcp_briefly(LOOPBACK, 8080)
        });

        assert_eq!(outcome, Silence);
        assert_eq!(
            tcp(LOOPBACK, 8080),
            Seen(container.attachment.bridge.gateway)
        );
        container.detach();
        drop(driver);
        ip("link del up0");
    });
}

#[test]
fn two_bridges_do_not_reach_each_other_but_by_published_ports() {
    in_host(|host| {
        let _internet = host.internet();
        let a = host.container(&[]);
        let other = host.bridge_called("rk12345678", "10.121.0.0/16");
        let b = host.container_on(other, &[port(ANY, 8080, 80, Tcp)]);
        let _echo = b.netns.tcp_echo(80);

        let direct = a.netns.run(|| tcp_briefly(b.address(), 80));
        let published = a.netns.run(|| tcp(HOST_ADDRESS, 8080));

        assert_eq!(direct, Silence);
        assert!(matches!(published, Seen(_)), "{published:?}");
        a.detach();
        b.detach();
        ip("link del up0");
    });
}

#[test]
fn a_container_cannot_send_under_an_address_outside_its_subnet() {
    in_host(|host| {
        let internet = host.internet();
        let seen = internet.udp_echo(53);
        let container = host.container(&[]);
        host.netns()
            .run(|| run("sysctl", &["-qw", "net.ipv4.conf.all.rp_filter=0"]));

        let outcome = container.netns.run(|| {
            ip("addr add 198.51.100.9/32 dev eth0");
            ip("route replace default via 10.120.0.1 src 198.51.100.9");
            udp(INTERNET_ADDRESS, 53)
        });

        assert_eq!(outcome, Silence);
        drop(seen);
        container.detach();
        ip("link del up0");
    });
}

/// Docker's and many administrators' firewall, by each of the programs that set it.
fn with_forward_policy_drop(set: &[(&str, &str)]) {
    in_host(|host| {
        let internet = host.internet();
        let _web = internet.tcp_echo(80);
        for (program, arguments) in set {
            run(program, &arguments.split_whitespace().collect::<Vec<_>>());
        }
        let before = run("nft", &["-s", "list", "ruleset"]);
        let (a, b) = (
            host.container(&[port(ANY, 8080, 80, Tcp)]),
            host.container(&[]),
        );
        let _echo = a.netns.tcp_echo(80);

        assert_eq!(b.netns.run(|| tcp(a.address(), 80)), Seen(b.address()));
        assert_eq!(
            b.netns.run(|| tcp(INTERNET_ADDRESS, 80)),
            Seen(HOST_ADDRESS)
        );
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        assert_eq!(internet.run(|| tcp_briefly(a.address(), 80)), Silence);
        b.detach();
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        a.detach();
        assert_eq!(run("nft", &["-s", "list", "ruleset"]), before);
        if set[0].0 == "iptables-legacy" {
            assert_eq!(
                run("iptables-legacy", &["-S", "FORWARD"]),
                "-P FORWARD DROP\n"
            );
            run("iptables-legacy", &["-P", "FORWARD", "ACCEPT"]);
        }
        run("nft", &["flush", "ruleset"]);
        ip("link del up0");
    });
}

#[test]
fn a_forward_policy_of_drop_set_by_nft_lets_containers_pass() {
    with_forward_policy_drop(&[
        ("nft", "add table ip filter"),
        (
            "nft",
            "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
        ),
    ]);
}

#[test]
fn a_forward_policy_of_drop_set_by_iptables_nft_lets_containers_pass() {
    with_forward_policy_drop(&[("iptables-nft", "-P FORWARD DROP")]);
}

#[test]
fn a_forward_policy_of_drop_set_by_iptables_legacy_lets_containers_pass() {
    with_forward_policy_drop(&[("iptables-legacy", "-P FORWARD DROP")]);
}

#[test]
fn beside_docker_the_exceptions_are_in_its_chain_for_others_and_iptables_can_read_them() {
    in_host(|host| {
        let before = leftovers();
        for rule in [
            "-N DOCKER-USER",
            "-A DOCKER-USER -j RETURN",
            "-P FORWARD DROP",
            "-A FORWARD -j DOCKER-USER",
        ] {
            run("iptables-nft", &rule.split_whitespace().collect::<Vec<_>>());
        }
        let container = host.container(&[]);

        let rules = run("iptables-nft", &["-S", "DOCKER-USER"]);
        let forward = run("iptables-nft", &["-S", "FORWARD"]);

        let rule =
            r#"-A DOCKER-USER -i rocker0 -m comment --comment "rocker: from rocker0" -j ACCEPT"#;
        assert!(rules.contains(rule), "{rules}");
        let rule =
            r#"-A DOCKER-USER -o rocker0 -m comment --comment "rocker: to rocker0" -j ACCEPT"#;
        assert!(rules.contains(rule), "{rules}");
        assert!(!forward.contains("rocker0"), "{forward}");
        let second = host.container(&[]);
        assert_eq!(
            run("iptables-nft", &["-S", "DOCKER-USER"]),
            rules,
            "added once"
        );
        second.detach();
        container.detach();
        assert!(!run("iptables-nft", &["-S"]).contains("rocker0"));
        run("nft", &["flush", "ruleset"]);
        assert_eq!(leftovers(), before);
    });
}

#[test]
fn a_table_of_ours_is_to_nft_what_the_same_rules_in_its_own_language_are() {
    in_host(|host| {
        let ports = [
            port(ANY, 8080, 80, Tcp),
            port([192, 0, 2, 1], 5353, 53, Udp),
            port([127, 0, 0, 1], 9000, 90, Tcp),
        ];
        let container = host.container(&ports);

        let ours = rules_of(&run("nft", &["-j", "list", "ruleset"]));
        let golden = Netns::new().run(|| {
            run(
                "nft",
                &[
                    "-f",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rocker0.nft"),
                ],
            );
            rules_of(&run("nft", &["-j", "list", "ruleset"]))
        });

        assert_eq!(ours, golden);
        container.detach();
    });
}

/// nft's JSON without the numbers that differ from one listing to the next.
fn rules_of(json: &str) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(object) => {
                object.remove("handle");
                object.values_mut().for_each(strip);
            }
            serde_json::Value::Array(array) => array.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    strip(&mut value);
    value
}

#[test]
fn detaching_is_idempotent_and_right_whether_or_not_the_namespace_still_exists() {
    in_host(|host| {
        let living = host.container(&[port(ANY, 8080, 80, Tcp)]);
        detach(&living.attachment).unwrap();
        detach(&living.attachment).unwrap();

        let dead = host.container(&[]);
        let attachment = dead.attachment.clone();
        drop(dead);
        detach(&attachment).unwrap();

        assert!(!ip("-o link").contains(attachment.host_interface().as_str()));
        detach(&host.attachment(host.bridge(), &[])).unwrap();
    });
}

#[test]
fn the_bridge_stays_while_one_container_is_on_it() {
    in_host(|host| {
        let (a, b) = (host.container(&[]), host.container(&[]));
        a.detach();
        let _echo = b.netns.tcp_echo(80);

        assert!(matches!(tcp(b.address(), 80), Seen(_)));
        b.detach();
    });
}

#[test]
fn fifty_containers_that_come_and_go_at_once_all_get_a_network_and_leave_nothing() {
    in_host(|host| {
        let attachments: Vec<_> = (0..50)
            .map(|_| host.attachment(host.bridge(), &[]))
            .collect();
        std::thread::scope(|scope| {
            for attachment in &attachments {
                scope.spawn(|| {
                    host.netns().run(|| {
                        for _ in 0..3 {
                            let netns = Netns::new();
                            attach(attachment, netns.fd()).unwrap();
                            let gateway = attachment.bridge.gateway;
                            assert_eq!(netns.run(|| tcp(gateway, 9)), Refused, "gateway answers");
                            detach(attachment).unwrap();
                        }
                    });
                });
            }
        });
    });
}

#[test]
fn of_many_that_leave_one_lingers_and_the_bridge_is_gone_when_all_are_done() {
    in_host(|host| {
        let linger = Duration::from_millis(20);
        let attachments: Vec<_> = (0..20)
            .map(|_| host.attachment(host.bridge(), &[]))
            .collect();
        std::thread::scope(|scope| {
            for attachment in &attachments {
                scope.spawn(|| {
                    host.netns().run(|| {
                        for _ in 0..3 {
                            let netns = Netns::new();
                            let attached = attach(attachment, netns.fd()).unwrap();
                            withdraw(attachment).unwrap();
                            let interface = Some(attached.interface);
                            let known = &mut Known::default();
                            depart(&attachment.bridge, interface, linger, known).unwrap();
                        }
                    });
                });
            }
        });
    });
}

#[test]
fn a_lingering_monitor_keeps_the_bridge_for_who_comes_meanwhile() {
    in_host(|host| {
        host.container(&[]).leave();
        let mut known = Known::default();
        let second = std::thread::scope(|scope| {
            let lingering = scope.spawn(|| linger(host, 200, &mut known));
            let index = ip("-o link show rocker0");
            let second = host.container(&[]);
            lingering.join().unwrap();
            assert_eq!(
                ip("-o link show rocker0").split(':').next(),
                index.split(':').next()
            );
            second
        });
        assert!(!known.bridge_is_gone);
        second.detach();
    });
}

/// What a monitor does last, and what it learns.
fn linger(host: &Host, milliseconds: u64, known: &mut Known) {
    let linger = Duration::from_millis(milliseconds);
    host.netns()
        .run(|| depart(&host.bridge(), None, linger, known).unwrap());
}

#[test]
fn a_lingering_monitor_takes_the_bridge_away_even_if_the_run_directory_is_deleted_meanwhile() {
    in_host(|host| {
        host.container(&[]).leave();
        std::thread::scope(|scope| {
            scope.spawn(|| linger(host, 100, &mut Known::default()));
            host.delete_locks_when_lingering();
        });
        assert!(!ip("-o link").contains("rocker0"));
    });
}

#[test]
fn a_lingering_monitor_of_a_deleted_run_directory_leaves_the_bridge_to_the_next_one() {
    in_host(|host| {
        host.container(&[]).leave();
        let mut known = Known {
            all_are_dead: true,
            ..Known::default()
        };
        let next = std::thread::scope(|scope| {
            scope.spawn(|| linger(host, 400, &mut known));
            host.delete_locks_when_lingering();
            host.make_directory_of_locks();
            host.container(&[])
        });
        assert!(!known.bridge_is_gone);
        let _echo = next.netns.tcp_echo(80);
        assert!(matches!(tcp(next.address(), 80), Seen(_)), "cut off");
        next.detach();
    });
}

#[test]
fn what_the_dead_left_on_the_bridge_goes_with_it() {
    in_host(|host| {
        // somebody else still holds its namespace
        let stray = host.container(&[]);
        let bridge = host.bridge();
        let look = |all_are_dead| {
            let mut known = Known {
                all_are_dead,
                ..Known::default()
            };
            sweep(&bridge, &mut known).unwrap();
            known.bridge_is_gone
        };

        assert!(!look(false), "it may live");

        ip("link add tap7 type veth peer name tap8");
        ip("link set tap7 master rocker0");
        assert!(!look(true), "tap7 is not rocker's");

        ip("link del tap7");
        assert!(look(true));
        drop(stray);
    });
}

#[test]
fn an_interface_removed_late_is_not_that_of_the_containers_next_life() {
    in_host(|host| {
        let internet = host.internet();
        let first = host.container(&[port(ANY, 8080, 80, Tcp)]);
        let _echo = first.netns.tcp_echo(80);
        let ask = || internet.run(|| tcp(HOST_ADDRESS, 8080));
        assert_eq!(ask(), Seen(INTERNET_ADDRESS));
        withdraw(&first.attachment).unwrap();
        assert_eq!(ask(), Refused);
        let name = first.attachment.host_interface();
        assert!(ip("-o link").contains(name.as_str()));

        let again = Netns::new();
        let interface = attach(&first.attachment, again.fd()).unwrap().interface;
        assert_ne!(interface, first.interface);
        first.interface.remove().unwrap();
        assert!(ip("-o link").contains(name.as_str()), "removed by its name");

        interface.remove().unwrap();
        assert!(!ip("-o link").contains(name.as_str()));
        interface.remove().unwrap();
        detach(&first.attachment).unwrap();
        ip("link del up0");
    });
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    in_host(|host| {
        let internet = host.internet();
        let container = host.container(&[port(ANY, 8080, 80, Tcp)]);
        let _echo = container.netns.tcp_echo(80);
        let before = run("nft", &["-s", "list", "ruleset"]);
        run("nft", &["flush", "ruleset"]);

        restore(&container.attachment).unwrap();

        assert_eq!(run("nft", &["-s", "list", "ruleset"]), before);
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        assert_eq!(
            internet.run(|| tcp_briefly(container.address(), 80)),
            Silence
        );
        container.detach();
        ip("link del up0");
    });
}

#[test]
fn a_port_left_behind_by_a_killed_monitor_does_not_hinder_the_next_container() {
    in_host(|host| {
        let internet = host.internet();
        let ports = [port(ANY, 8080, 80, Tcp)];
        let killed = host.container(&ports);
        let next = host.container(&ports);
        let _echo = next.netns.tcp_echo(80);

        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        // Recovery undoes the dead one late; the port is the other's by now.
        killed.detach();
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        next.detach();
        ip("link del up0");
    });
}

#[test]
fn a_udp_client_that_never_falls_silent_reaches_the_next_container_too() {
    in_host(|host| {
        let internet = host.internet();
        let ports = [port(ANY, 5353, 53, Udp)];
        let ask = |socket: &std::net::UdpSocket| {
            let mut buffer = [0; 64];
            socket.send(b"hello").unwrap();
            socket.recv(&mut buffer).is_ok()
        };
        let socket = internet.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect((HOST_ADDRESS, 5353)).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(2)))
            .unwrap();
        // Asked before anybody answers, so the host remembers "not redirected".
        assert!(!ask(&socket));

        for _ in 0..2 {
            let container = host.container(&ports);
            let _echo = container.netns.udp_echo(53);
            assert!(ask(&socket), "container {}", container.address());
            container.detach();
        }
        ip("link del up0");
    });
}

#[test]
fn a_taken_port_names_the_process_that_has_it() {
    in_host(|_| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();

        let error = PortForwarder::bind(&[port(ANY, number, 80, Tcp)], LOOPBACK).unwrap_err();

        let PortError::Taken {
            holder: Some(holder),
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(
            holder.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
    });
}

#[test]
fn port_zero_becomes_a_free_port() {
    in_host(|host| {
        let asked = [port(ANY, 0, 80, Tcp), port(ANY, 0, 81, Udp)];
        let forwarder = PortForwarder::bind(&asked, LOOPBACK).unwrap();

        assert!(forwarder.ports().iter().all(|port| port.host_port != 0));
        let unbound = host.attachment(host.bridge(), &asked);
        let error = attach(&unbound, host.netns().fd()).unwrap_err();
        assert!(
            matches!(error, AttachError::UnboundPort { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_container_without_network_has_a_loopback() {
    in_host(|_| {
        let netns = Netns::new();
        netns.run(|| ip("link set lo down"));

        loopback_up(netns.fd()).unwrap();

        assert_eq!(netns.run(|| tcp(LOOPBACK, 9)), Refused);
    });
}

#[test]
fn a_containers_interface_has_the_address_the_route_and_no_router_advertisements() {
    in_host(|host| {
        let container = host.container(&[]);

        let (address, route, link, advertisements) = container.netns.run(|| {
            let accept_ra = "/proc/sys/net/ipv6/conf/eth0/accept_ra";
            (
                ip("-o -4 addr show eth0"),
                ip("route"),
                ip("-o link show eth0"),
                run("cat", &[accept_ra]),
            )
        });

        assert!(
            address.contains("10.120.0.2/16 brd 10.120.255.255"),
            "{address}"
        );
        assert!(route.contains("default via 10.120.0.1 dev eth0"), "{route}");
        assert!(
            link.contains("02:42:0a:78:00:02") && link.contains("UP"),
            "{link}"
        );
        assert_eq!(advertisements, "0\n");
        container.detach();
    });
}

#[test]
fn an_address_that_is_not_the_bridges_to_give_is_refused() {
    in_host(|host: &Host| {
        for address in [
            [10, 120, 0, 1],
            [10, 120, 0, 0],
            [10, 120, 255, 255],
            [10, 121, 0, 2],
        ] {
            let mut attachment = host.attachment(host.bridge(), &[]);
            attachment.address = address.into();

            let error = attach(&attachment, Netns::new().fd()).unwrap_err();

            assert!(
                matches!(error, AttachError::ForeignAddress { .. }),
                "{address:?}: {error}"
            );
        }
    });
}

#[test]
fn a_host_where_all_this_works_is_told_so_and_left_as_it_was() {
    in_host(|_| {
        let lines = rocker_net::check::probe();

        assert!(!lines.is_empty());
        for line in lines {
            assert_eq!(line.status, rocker_net::check::ProbeStatus::Ok, "{line:?}");
        }
    });
}

#[test]
fn the_networks_that_the_host_is_in_are_known() {
    in_host(|host| {
        let _internet = host.internet();
        ip("route add 10.120.0.0/14 via 203.0.113.2");
        ip("route add default via 203.0.113.2");

        let occupied = rocker_net::host::occupied_networks().unwrap();
        let chosen = rocker_net::choose_subnet(&occupied).unwrap();

        assert!(
            occupied.contains(&"203.0.113.0/24".parse().unwrap()),
            "{occupied:?}"
        );
        assert_eq!(chosen.to_string(), "10.124.0.0/16");
        ip("link del up0");
    });
}

/// A container's question to a name server is no business of whoever publishes port 53.
#[test]
fn publishing_a_udp_port_leaves_flows_to_that_port_elsewhere_alone() {
    in_host(|host| {
        let internet = host.internet();
        let timeout = Some(std::time::Duration::from_secs(2));
        let server = internet.run(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap());
        let asking = host.container(&[]);
        let client = asking
            .netns
            .run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
        for socket in [&server, &client] {
            socket.set_read_timeout(timeout).unwrap();
        }
        client.send_to(b"question", (INTERNET_ADDRESS, 53)).unwrap();
        let mut buffer = [0; 64];
        let (_, from) = server.recv_from(&mut buffer).unwrap();

        let publishing = host.container(&[port(ANY, 53, 53, Udp)]);

        server.send_to(b"answer", from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 6);
        publishing.detach();
        server.send_to(b"more", from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
        asking.detach();
        ip("link del up0");
    });
}

#[test]
fn a_rule_that_an_administrator_adds_stays_and_costs_no_published_port() {
    in_host(|host| {
        let internet = host.internet();
        let container = host.container(&[port(ANY, 8080, 80, Tcp)]);
        let _echo = container.netns.tcp_echo(80);
        let table = container.attachment.bridge.table_name();
        run(
            "nft",
            &[
                "add", "rule", "inet", table, "forward", "tcp", "dport", "9", "drop",
            ],
        );

        let next = host.container(&[]);

        assert!(run("nft", &["list", "ruleset"]).contains("tcp dport 9 drop"));
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        next.detach();
        container.detach();
        ip("link del up0");
    });
}

#[test]
fn who_comes_after_rules_were_flushed_is_told_to_restore_the_others() {
    in_host(|host| {
        let internet = host.internet();
        let container = host.container(&[port(ANY, 8080, 80, Tcp)]);
        let _echo = container.netns.tcp_echo(80);
        run("nft", &["flush", "ruleset"]);

        let outcomes = [(); 2].map(|()| {
            let attachment = host.attachment(host.bridge(), &[]);
            let netns = Netns::new();
            let attached = attach(&attachment, netns.fd()).unwrap();
            detach(&attachment).unwrap();
            attached.rules_were_lost
        });
        restore(&container.attachment).unwrap();

        assert_eq!(outcomes, [true, false]);
        assert_eq!(
            internet.run(|| tcp(HOST_ADDRESS, 8080)),
            Seen(INTERNET_ADDRESS)
        );
        container.detach();
        ip("link del up0");
    });
}

#[test]
fn a_firewall_of_somebody_else_that_drops_is_named() {
    in_host(|_| {
        run("nft", &["add", "table", "inet", "filter"]);
        let hook = "{ type filter hook forward priority 0; policy drop; }";
        run("nft", &["add", "chain", "inet", "filter", "forward", hook]);
        let input = "{ type filter hook input priority 0; policy drop; }";
        run("nft", &["add", "chain", "inet", "filter", "input", input]);

        let lines = rocker_net::check::probe();

        let line = lines.iter().find(|line| line.what == "FORWARD policy");
        let line = line.unwrap();
        assert_eq!(line.status, rocker_net::check::ProbeStatus::Warn);
        assert!(
            line.detail.contains("DROP in inet filter forward,"),
            "{line:?}"
        );
        run("nft", &["flush", "ruleset"]);
    });
}
