//! The way to a registry: certificates, IPv6, names with several addresses, headers, and the policy
//! that says whether an image may come in.

use std::time::{Duration, Instant};

use rocker_testkit::image::ImageBuilder;
use rocker_testkit::registry::{
    Action, Auth, Distribution, Entrance, On, Registry, RequestRecord, certificate,
};
use rocker_testkit::{Host, require};

use crate::host;

/// A configuration of rocker's own that lets it speak plain HTTP to this host's address.
pub(crate) fn insecure(host: &Host, registry: &str) -> String {
    let file = host.scratch().join("config.toml");
    fs_err::write(&file, format!("insecure = ['{registry}']\n")).expect("a file");
    file.to_string_lossy().into_owned()
}

pub(crate) fn away_from_loopback(auth: Auth) -> Registry {
    Registry::listening_on(&format!("{}:0", Host::ADDRESS), auth)
}

#[test]
fn an_import_from_the_web_trusts_whom_a_pull_trusts() {
    let host = require!(host());
    let tls = require!(certificate(&host.scratch()));
    let authority = fs_err::read_to_string(&tls.0).expect("a certificate");
    let entrance = Entrance {
        tls: Some(tls),
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    let image = ImageBuilder::busybox().build();
    let origin = Registry::start();
    let name = format!("{}/app:1", server.host());
    host.ok(["pull", "-q", &origin.push("app:1", &image)]);
    host.ok(["tag", &format!("{}/app:1", origin.host()), &name]);
    host.ok(["push", "-q", "--tls-verify=false", &name]);
    let id = host.ok(["images", "-q"]);
    host.ok(["rmi", "-f", &id]);
    let layer = &image.layers[0].digest;
    let url = format!("https://{}/v2/app/blobs/{layer}", server.host());
    let import = |home: &str| {
        let command = host.command(["import", &url, "web:1"]);
        command.env("HOME", home)
    };

    let refused = import("/").run();
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(refused.stderr.contains("certificate"), "{refused:?}");
    let authorities = format!(".config/containers/certs.d/{}/ca.crt", server.host());
    let trusting = home(&host, &[(&authorities, &authority)]);
    let rule = format!(
        "[[registry]]\nlocation = '{}'\ninsecure = true\n",
        server.host()
    );
    let conf = host.scratch().join("registries.conf");
    fs_err::write(&conf, rule).expect("a file");
    let conf = conf.to_string_lossy();
    let config = insecure(&host, server.host());
    for command in [
        import(&trusting),
        import("/").env("CONTAINERS_REGISTRIES_CONF", &conf),
        import("/").env("ROCKER_CONFIG", &config),
    ] {
        let imported = command.run();
        assert_eq!(imported.exit_code, 0, "{imported:?}");
        assert_eq!(host.ok(["run", "--rm", "web:1", "echo", "here"]), "here");
        host.ok(["rmi", "web:1"]);
    }
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn registries_have_ipv6_addresses_too() {
    let host = require!(host());
    let registry = Registry::listening_on("[::1]:0", Auth::Open);
    let reference = registry.push("team/app:1", &ImageBuilder::busybox().build());
    assert!(reference.starts_with("[::1]:"), "{reference}");

    let pulled = host.ok(["pull", "-q", &reference]);

    assert_eq!(pulled, reference);
    assert_eq!(host.ok(["run", "--rm", &reference, "echo", "here"]), "here");
    assert_eq!(host.ok(["images", "-q", &reference]).lines().count(), 1);
    let other = format!("{}/other/app:1", registry.host());
    host.ok(["tag", &reference, &other]);
    host.ok(["push", "-q", &other]);
    assert!(registry.manifest("other/app:1").is_some());
    host.ok(["rmi", &reference]);
    host.ok(["rmi", &other]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_address_that_nobody_answers_does_not_hide_one_that_somebody_does() {
    let host = require!(host());
    let registry = away_from_loopback(Auth::Open);
    let reference = registry.push("app:1", &ImageBuilder::busybox().build());
    let port = reference.split_once(':').expect("a port").1;
    let reference = format!("two.test:{port}");
    let script = "
        ip address add 2001:db8::2/64 dev uplink0 nodad
        ip -6 neighbour add 2001:db8::1 lladdr 02:00:00:00:00:01 dev uplink0 nud permanent
        printf '2001:db8::1 two.test\\n192.0.2.1 two.test\\n' > \"$0\"
        mount --bind \"$0\" /etc/hosts";
    let hosts = host.scratch().join("hosts");
    let made = host
        .program("sh")
        .args(["-ec", script, &hosts.to_string_lossy()]);
    let made = made.run();
    assert_eq!(made.exit_code, 0, "{made:?}");
    let config = insecure(&host, "two.test");
    let start = Instant::now();

    let pulled = host
        .command(["pull", "-q", &reference])
        .env("ROCKER_CONFIG", &config)
        .run();

    assert_eq!(pulled.exit_code, 0, "{pulled:?}");
    // to give up the other address takes ten
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    host.ok(["rmi", &reference]);
    let undone = host.program("sh").args([
        "-ec",
        "umount /etc/hosts; ip address del 2001:db8::2/64 dev uplink0",
    ]);
    assert_eq!(undone.run().exit_code, 0);
    host.assert_nothing_left_behind();
}

/// A home directory with these files below `.config/containers` or `.docker`.
fn home(host: &Host, files: &[(&str, &str)]) -> String {
    let home = host.scratch().join("home");
    for (name, text) in files {
        let path = home.join(name);
        fs_err::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs_err::write(path, text).expect("a file");
    }
    home.to_string_lossy().into_owned()
}

#[test]
fn headers_of_dockers_file_go_to_the_registry_and_nowhere_else() {
    let host = require!(host());
    let registry = Registry::start();
    let elsewhere = registry.beside(Auth::Open);
    let reference = registry.push("app:1", &ImageBuilder::busybox().build());
    let send = Action::SendTo(elsewhere.host());
    registry.fault(On::Blob, 1, send);
    let settings =
        r#"{"HttpHeaders": {"X-Meta-Key": "kept-secret", "X-Auth-Token": "for the daemon"}}"#;
    let home_of = |text: &str| home(&host, &[(".docker/config.json", text)]);

    let pull = |home: &str| {
        host.command(["pull", "-q", &reference])
            .env("HOME", home)
            .run()
    };
    let pulled = pull(&home_of(settings));

    assert_eq!(pulled.exit_code, 0, "{pulled:?}");
    let requests = registry.requests();
    let (ours, others): (Vec<_>, Vec<_>) = requests.iter().partition(|r| r.host == registry.host());
    let has_it = |r: &&RequestRecord| {
        r.headers
            .contains(&("x-meta-key".to_owned(), "kept-secret".to_owned()))
    };
    assert!(!ours.is_empty() && ours.iter().all(has_it), "{ours:?}");
    assert!(
        !others.is_empty() && !others.iter().any(has_it),
        "{others:?}"
    );
    let of_daemon = |r: &RequestRecord| r.headers.iter().any(|(name, _)| name == "x-auth-token");
    assert!(!requests.iter().any(of_daemon), "{requests:?}");
    host.ok(["rmi", &reference]);
    let refused = pull(&home_of(
        r#"{"HttpHeaders": {"X-Meta-A b": "kept-secret"}}"#,
    ));
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(refused.stderr.contains("\"X-Meta-A b\""), "{refused:?}");
    assert!(!refused.stderr.contains("kept-secret"), "{refused:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn a_policy_that_wants_more_than_we_check_is_a_refusal() {
    let host = require!(host());
    let registry = Registry::start();
    let reference = registry.push("app:1", &ImageBuilder::busybox().build());
    let archive = host.scratch().join("a.tar").to_string_lossy().into_owned();
    host.ok(["pull", "-q", &reference]);
    host.ok(["save", "-o", &archive, &reference]);
    host.ok(["rmi", &reference]);
    let before = registry.requests().len();
    let with = |policy: &str, words: &[&str]| {
        let home = home(&host, &[(".config/containers/policy.json", policy)]);
        host.command(words.iter().copied()).env("HOME", &home).run()
    };
    let reject = r#"{"default": [{"type": "reject"}]}"#;
    let signed = r#"{"default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {"": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]}}}"#;
    for (policy, words, says) in [
        (reject, &["pull", "-q", &reference][..], "reject"),
        (reject, &["run", "--rm", &reference, "true"], "policy.json"),
        (reject, &["load", "-i", &archive], "reject"),
        (signed, &["pull", "-q", &reference], "signedBy"),
        ("{", &["pull", "-q", &reference], "policy.json"),
    ] {
        let refused = with(policy, words);
        assert_ne!(refused.exit_code, 0, "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
        assert!(refused.stderr.contains("policy.json"), "{refused:?}");
    }
    assert_eq!(registry.requests().len(), before, "nothing is asked for");
    let loaded = with(signed, &["load", "-q", "-i", &archive]);
    assert_eq!(loaded.exit_code, 0, "{loaded:?}");
    host.ok(["rmi", &reference]);
    host.assert_nothing_left_behind();
}
