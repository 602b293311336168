//! Networks that are in the way. What a registry itself can do wrong is tried in
//! `rocker-image/tests/registry`, where patience can be made short.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rocker_testkit::require;

use super::Ground;
use crate::bad_input::assert_one_error;
use crate::host;

/// Answers every connection with these bytes; its `HOST:PORT`.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _request = stream.read(&mut [0; 4096]);
            // The client may be gone.
            let _sent = stream.write_all(bytes);
        }
    });
    address
}

#[test]
fn a_proxy_that_refuses_and_a_name_that_nobody_knows_are_named() {
    let ground = Ground::new(require!(host()));
    let before = ground.host.snapshot();
    let refusing = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let silent = answering(b"");
    let nobody = "127.0.0.1:1".to_owned();
    let proxies = [Some(refusing), Some(silent), Some(nobody), None];
    for proxy in proxies {
        let command = ground
            .host
            .command(["pull", "-q", "registry.invalid/team/app:1"]);
        let command = match &proxy {
            Some(proxy) => command.env("HTTPS_PROXY", &format!("http://{proxy}")),
            None => command,
        };
        let output = command.run();
        assert_one_error(&output, 1);
        assert!(
            output.stderr.contains("registry.invalid"),
            "{proxy:?}: {output:?}"
        );
        ground.assert_bounded("a proxy", &output);
    }
    ground.victim.assert_untouched("a proxy");
    ground.host.assert_unchanged_since(&before);
}
