use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::TokenService;
use crate::host::{Missing, Transcript, patience, programs};
use crate::http::{self, Response};
use crate::image::{Blob, Image};

/// The CNCF distribution server as Debian packages it, so that we do not only agree with ourselves.
#[derive(Debug)]
pub struct Distribution {
    server: Child,
    host: String,
}

/// Whom a [`Distribution`] lets in, and how it is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// The name and the password that every request has to show.
    pub user: Option<(String, String)>,
    /// The service whose tokens every request has to show.
    pub tokens: Option<TokenService>,
    /// The certificate and the key with which to speak TLS, as [`certificate`] makes them.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether callers have to show that same certificate.
    pub mutual: bool,
}

impl Entrance {
    /// What belongs below `http:` and beside it in the server's configuration.
    fn settings(&self, directory: &Path) -> (String, String) {
        let tls = self
            .tls
            .as_ref()
            .map_or_else(String::new, |(certificate, key)| {
                let (certificate, key) = (certificate.display(), key.display());
                let callers = match self.mutual {
                    true => format!(", clientcas: ['{certificate}']"),
                    false => String::new(),
                };
                format!(", tls: {{certificate: '{certificate}', key: '{key}'{callers}}}")
            });
        let auth = self
            .user
            .as_ref()
            .map_or_else(String::new, |(user, password)| {
                let line = crate::host::run_program(&["htpasswd", "-Bbn", user, password]);
                let users = directory.join("htpasswd");
                fs_err::write(&users, line).expect("a file of users");
                format!(
                    "auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n",
                    users.display()
                )
            });
        let auth = self.tokens.as_ref().map_or(auth, TokenService::settings);
        (tls, auth)
    }
}

/// A certificate for 127.0.0.1 and `registry.test` that signed itself, and its key, in files of
/// `directory`.
///
/// # Errors
///
/// When openssl is not installed.
pub fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf), Missing> {
    programs(&["openssl"])?;
    let files = (directory.join("server.pem"), directory.join("server.key"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (certificate, key) = (text(&files.0), text(&files.1));
    let words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=test -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1,DNS:registry.test";
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.extend(["-keyout", &key, "-out", &certificate]);
    crate::host::run_program(&words);
    Ok(files)
}

impl Distribution {
    /// Starts the server on `port` of 127.0.0.1 with its storage below `directory`. In a
    /// [`crate::Host`]'s network namespace every port is free.
    ///
    /// # Errors
    ///
    /// When the program is not installed.
    pub fn start(directory: &Path, port: u16) -> Result<Self, Missing> {
        Self::start_with(directory, port, &Entrance::default())
    }

    /// As [`Distribution::start`], with an entrance to be got through.
    ///
    /// # Errors
    ///
    /// When a program is not installed.
    pub fn start_with(directory: &Path, port: u16, entrance: &Entrance) -> Result<Self, Missing> {
        programs(&["docker-registry"])?;
        if entrance.user.is_some() {
            programs(&["htpasswd"])?;
        }
        let (tls, auth) = entrance.settings(directory);
        let host = format!("127.0.0.1:{port}");
        let config = directory.join("distribution.yml");
        let storage = directory.join("distribution");
        fs_err::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{host}'{tls}}}\n{auth}",
                storage.display()
            ),
        )
        .expect("a configuration file");
        let mut server = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let log = Transcript::read_from(server.stderr.take().expect("a piped stderr"));
        let deadline = Instant::now() + Duration::from_secs(20) * patience();
        let distribution = Self { server, host };
        assert!(
            log.await_text("listening on", deadline),
            "docker-registry: {}",
            log.text()
        );
        Ok(distribution)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Pushes `image` under `name` (`repository:tag`) as any client would and returns the whole
    /// reference.
    pub fn push(&self, name: &str, image: &Image) -> String {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        for blob in image.blobs() {
            self.push_blob(repository, blob);
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.send(
            "PUT",
            &path,
            &image.manifest.media_type,
            &image.manifest.bytes,
        );
        assert_eq!(
            answer.status,
            201,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        format!("{}/{name}", self.host)
    }

    fn push_blob(&self, repository: &str, blob: &Blob) {
        let begun = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            "application/octet-stream",
            &[],
        );
        assert_eq!(
            begun.status,
            202,
            "{}",
            String::from_utf8_lossy(&begun.body)
        );
        let location = begun.header("location").expect("an upload has a location");
        let path = location
            .strip_prefix(&format!("http://{}", self.host))
            .unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}digest={}", blob.digest);
        let done = self.send("PUT", &path, "application/octet-stream", &blob.bytes);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Response {
        http::request(
            &self.host,
            method,
            path,
            &[("Content-Type", content_type)],
            body,
        )
        .expect("docker-registry answers")
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
