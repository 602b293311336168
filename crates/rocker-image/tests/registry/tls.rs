//! https: loopback is spoken to in plain HTTP, but a redirect can lead to a TLS server there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rocker_image::registry::PullRequest;
use rocker_testkit::image::{Blob, Image};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::{Missing, require};
use rocker_types::{Diagnose as _, ErrorKind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::ground::{Ground, chain, impatient_request, one_layer, read_head, request};

/// A certificate that signed itself, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn for_name(directory: &Path, name: &str) -> Result<Self, Missing> {
        Self::made(directory, name, "CA:FALSE")
    }

    /// The same, but it may sign others: what openssl makes if it is not told otherwise.
    fn authority(directory: &Path, name: &str) -> Result<Self, Missing> {
        Self::made(directory, name, "CA:TRUE")
    }

    fn made(directory: &Path, name: &str, constraints: &str) -> Result<Self, Missing> {
        let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        let constraints = format!("basicConstraints=critical,{constraints}");
        openssl.args(["-subj", "/CN=test", "-addext", &constraints]);
        openssl.args(["-addext", &format!("subjectAltName={name}")]);
        let made = openssl
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output();
        let made = made.map_err(|error| Missing(format!("openssl: {error}")))?;
        assert!(made.status.success(), "{made:?}");
        Ok(Self::read(&certificate, &key))
    }

    /// The same, but its last day was yesterday.
    fn expired(directory: &Path, name: &str) -> Result<Self, Missing> {
        Self::for_name(directory, name)?;
        let (key, certificate) = (directory.join("key.pem"), directory.join("expired.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-days", "-1", "-in"]);
        openssl.arg(directory.join("certificate.pem"));
        openssl.arg("-signkey").arg(&key);
        let made = openssl.arg("-out").arg(&certificate).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Ok(Self::read(&certificate, &key))
    }

    fn read(certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (
            fs_err::read(certificate).unwrap(),
            fs_err::read(key).unwrap(),
        );
        Self {
            certificate: CertificateDer::from_pem_slice(&certificate).unwrap(),
            key: PrivateKeyDer::from_pem_slice(&key).unwrap(),
        }
    }

    /// Serves `blob` to whoever speaks TLS on a port of 127.0.0.1, which is given back.
    fn serve(&self, blob: &Blob) -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let chain = vec![self.certificate.clone()];
        let config = Arc::new(
            config
                .with_no_client_auth()
                .with_single_cert(chain, self.key.clone_key())
                .unwrap(),
        );
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            blob.bytes.len()
        )
        .into_bytes();
        answer.extend_from_slice(&blob.bytes);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut tls = StreamOwned::new(connection, stream.unwrap());
                // a client that does not like the certificate hangs up here
                read_head(&mut tls);
                let _ = tls.write_all(&answer);
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        });
        port
    }
}

/// An image whose layer is at `target`.
fn redirected(ground: &Ground, image: &Image, target: &str) -> String {
    let reference = ground.registry.push("app:1", image);
    let layer = On::Path(image.layers[0].digest.clone());
    ground
        .registry
        .fault(layer, u32::MAX, Action::Redirect(target.to_owned()));
    reference
}

#[test]
fn an_authority_can_be_trusted_besides_the_systems() {
    let ground = Ground::new();
    let image = one_layer(300_000);
    let identity = require!(Identity::for_name(
        ground.directory.path(),
        "DNS:localhost,IP:127.0.0.1"
    ));
    let port = identity.serve(&image.layers[0]);
    for host in ["localhost", "127.0.0.1"] {
        let ground = Ground::new();
        let reference = redirected(&ground, &image, &format!("https://{host}:{port}/blob"));

        let error = ground.pull(&reference).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            chain(&error).contains(&format!("cannot connect to https://{host}:{port}")),
            "{}",
            chain(&error)
        );
        assert!(
            error.hint().is_some_and(|hint| hint.contains("authority")),
            "{host}: {:?}",
            error.hint()
        );
        ground.assert_store_is_empty();

        let mut trusting: PullRequest<'_> = request(&reference);
        trusting.registry.extra_roots = vec![identity.certificate.to_vec()];
        let outcome = ground.pull_with(&trusting);
        assert!(outcome.is_ok(), "{host}: {}", chain(&outcome.unwrap_err()));
    }
}

#[test]
fn an_authority_that_is_trusted_may_be_the_server_itself() {
    let ground = Ground::new();
    let image = one_layer(300_000);
    let directory = ground.directory.path();
    let identity = require!(Identity::authority(directory, "DNS:localhost"));
    let other = tempfile::tempdir().unwrap();
    let other = require!(Identity::authority(other.path(), "DNS:localhost"));
    let port = identity.serve(&image.layers[0]);
    for (host, trusted, works) in [
        ("localhost", &identity, true),
        ("127.0.0.1", &identity, false),
        ("localhost", &other, false),
    ] {
        let ground = Ground::new();
        let reference = redirected(&ground, &image, &format!("https://{host}:{port}/blob"));
        let mut trusting: PullRequest<'_> = request(&reference);
        trusting.registry.extra_roots = vec![trusted.certificate.to_vec()];

        let outcome = ground.pull_with(&trusting);

        let outcome = outcome.map_err(|error| chain(&error));
        assert_eq!(outcome.is_ok(), works, "{host}: {outcome:?}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    for make in [Identity::for_name, Identity::authority] {
        let ground = Ground::new();
        let identity = require!(make(ground.directory.path(), "DNS:other.example"));
        refuses_another_name(&ground, &identity);
    }
}

fn refuses_another_name(ground: &Ground, identity: &Identity) {
    let image = one_layer(1000);
    let port = identity.serve(&image.layers[0]);
    let reference = redirected(ground, &image, &format!("https://localhost:{port}/blob"));
    let mut trusting: PullRequest<'_> = request(&reference);
    trusting.registry.extra_roots = vec![identity.certificate.to_vec()];

    let error = ground.pull_with(&trusting).unwrap_err();

    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("another host")),
        "{:?} {}",
        error.hint(),
        chain(&error)
    );
    ground.assert_store_is_empty();
}

#[test]
fn a_certificate_of_yesterday_is_refused() {
    let ground = Ground::new();
    let image = one_layer(1000);
    let identity = require!(Identity::expired(ground.directory.path(), "IP:127.0.0.1"));
    let port = identity.serve(&image.layers[0]);
    let reference = redirected(&ground, &image, &format!("https://127.0.0.1:{port}/blob"));
    let mut trusting: PullRequest<'_> = request(&reference);
    trusting.registry.extra_roots = vec![identity.certificate.to_vec()];

    let error = ground.pull_with(&trusting).unwrap_err();

    assert!(
        error.hint().is_some_and(|hint| hint.contains("clock")),
        "{:?} {}",
        error.hint(),
        chain(&error)
    );
    ground.assert_store_is_empty();
}

#[test]
fn a_server_that_speaks_only_what_is_no_longer_spoken_is_left_at_once() {
    let ground = Ground::new();
    // The alert "protocol version" in a record of TLS 1.0; RFC 8446, 6.
    let host = raw_tls_server(&[0x15, 3, 1, 0, 2, 2, 70]);
    let reference = redirected(&ground, &one_layer(1000), &format!("https://{host}/blob"));

    let error = ground.pull(&reference).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
    assert!(
        chain(&error).contains(&format!("cannot connect to https://{host}")),
        "{}",
        chain(&error)
    );
    ground.assert_store_is_empty();
}

/// Answers whatever comes first with these bytes.
fn raw_tls_server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    host
}

#[test]
fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    let ground = Ground::new();
    // what a web server says to a TLS greeting
    let host = raw_tls_server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let reference = redirected(&ground, &one_layer(1000), &format!("https://{host}/blob"));

    let error = ground.pull(&reference).unwrap_err();

    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("does not speak TLS")),
        "{:?} {}",
        error.hint(),
        chain(&error)
    );
}

#[test]
fn a_server_that_never_finishes_its_handshake_is_given_up() {
    let ground = Ground::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    // The kernel takes the connection, and nobody ever answers.
    let reference = redirected(&ground, &one_layer(1000), &format!("https://{host}/blob"));

    let error = ground
        .pull_with(&impatient_request(&reference))
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
    assert!(
        chain(&error).contains(&host.to_string()),
        "{}",
        chain(&error)
    );
    ground.assert_store_is_empty();
    drop(listener);
}
