//! Names of images that are none: known as such before anything is sent.

use std::io::ErrorKind;
use std::net::TcpListener;

use rocker_testkit::require;

use super::Ground;
use crate::host;

/// References and words of their refusal.
fn none_of_these() -> Vec<(String, &'static str)> {
    let hex = "0123456789abcdef".repeat(4);
    let fixed = [
        ("", "empty"),
        (":", "tag"),
        ("@", "digest"),
        ("/", "components"),
        ("UPPER", "lower case"),
        ("team/App:1", "lower case"),
        ("a//b", "components"),
        ("a/../b", "components"),
        ("../x", "host"),
        ("./x", "host"),
        ("~/x", "components"),
        ("/a", "components"),
        ("a/", "components"),
        ("a:", "tag"),
        ("a:b:c", "components"),
        ("a:b c", "tag"),
        ("a:b\nc", "tag"),
        ("a:-b", "tag"),
        ("a b", "components"),
        ("a..b", "components"),
        ("a___b", "components"),
        ("-x", "components"),
        ("http://x/y", "scheme"),
        ("host:99999/x", "host"),
        ("host:0/x", "host"),
        ("host:/x", "host"),
        ("-host.example/x", "host"),
        ("h\u{f6}st.example/x", "host"),
        ("al\u{440}ine", "components"),
        ("[::1/x", "host"),
        ("[::1]5000/x", "host"),
        ("[localhost]:5000/x", "host"),
        ("a@sha256:short", "digest"),
        ("a@md5:d41d8cd98f00b204e9800998ecf8427e", "digest"),
        ("a@sha256:../../../../etc/passwd", "digest"),
        ("x:$(true)", "tag"),
    ];
    let made = [
        ("a".repeat(256), "255"),
        (format!("a:{}", "t".repeat(129)), "tag"),
        (format!("a@sha256:{}", &hex[1..]), "digest"),
        (format!("a@sha256:{hex}0"), "digest"),
        (format!("a@sha256:{}", hex.to_uppercase()), "digest"),
        (format!("a@sha256:{}", "\u{663}".repeat(64)), "digest"),
        (format!("a@sha512:{hex}"), "digest"),
        (format!("a@sha256:{hex}@sha256:{hex}"), "digest"),
        (format!("{}.example/x", "h".repeat(64)), "host"),
        ("x".repeat(100_000), "255"),
    ];
    let fixed = fixed
        .into_iter()
        .map(|(text, words)| (text.to_owned(), words));
    fixed.chain(made).collect()
}

#[test]
fn what_is_no_reference_is_refused_before_anything_is_sent() {
    let ground = Ground::new(require!(host()));
    let before = ground.host.snapshot();
    // Whatever names no registry would be asked for here.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .set_nonblocking(true)
        .expect("a listener that does not wait");
    let address = listener.local_addr().expect("an address").to_string();
    let conf = ground.host.scratch().join("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\ninsecure = true\n"
    );
    fs_err::write(&conf, text).expect("a file");
    let conf = conf.to_string_lossy().into_owned();

    for (reference, words) in none_of_these() {
        for (command, code) in [
            (&["pull", "-q"][..], 1),
            (&["run", "--rm", "--pull", "always"], 125),
        ] {
            let words_of_it = [command, &["--", &reference]].concat();
            let command = ground.host.command(words_of_it);
            let output = command.env("CONTAINERS_REGISTRIES_CONF", &conf).run();
            crate::bad_input::assert_one_error(&output, code);
            assert!(output.stderr.contains(words), "want {words:?}: {output:?}");
            assert!(
                output.stderr.len() < 1000,
                "{reference:.80}: {} bytes",
                output.stderr.len()
            );
            ground.assert_bounded("a reference", &output);
        }
    }
    let asked = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(ErrorKind::WouldBlock), "somebody was asked");

    // That the listener would have heard of it: a name that is one reaches it.
    let asking = ground.host.command(["pull", "-q", "latest"]);
    let asking = asking
        .env("CONTAINERS_REGISTRIES_CONF", &conf)
        .quiet()
        .spawn();
    listener
        .set_nonblocking(false)
        .expect("a listener that waits");
    drop(listener.accept().expect("a connection"));
    drop(listener);
    assert_eq!(asking.finish().exit_code, 1);
    ground.victim.assert_untouched("references");
    ground.host.assert_unchanged_since(&before);
}

#[test]
fn what_is_no_reference_is_no_path_either() {
    let ground = Ground::new(require!(host()));
    let before = ground.host.snapshot();
    let secret = format!("../../../../../../../..{}/secret", ground.victim.path());
    let long = "x/".repeat(2048);
    for name in [
        "../x",
        "..",
        "/",
        "a/..",
        "a\u{202e}b",
        "-rf",
        "sha256:../../x",
        &secret,
        &long,
    ] {
        for command in [
            &["rmi"][..],
            &["inspect"],
            &["history"],
            &["push"],
            &["save", "-o", "/dev/null"],
            &["rm"],
            &["start"],
            &["logs"],
        ] {
            let output = ground.host.rocker([command, &["--", name]].concat());
            assert_eq!(output.exit_code, 1, "{output:?}");
            let lines = output
                .stderr
                .lines()
                .filter(|line| line.starts_with("Error: "));
            assert_eq!(lines.count(), 1, "{output:?}");
            assert!(
                !output.stderr.contains(['\u{202e}', '\u{1b}']),
                "{output:?}"
            );
        }
    }
    ground.victim.assert_untouched("paths");
    ground.host.assert_unchanged_since(&before);
}
