//! A token service for the distribution server: whoever has the password gets a signed token for
//! what is asked for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::authorize::{base64, basic, percent_decode};
use crate::host::{Missing, programs};

/// What the service and the server call each other.
pub(super) const SERVICE: &str = "test-registry";
pub(super) const ISSUER: &str = "test-issuer";

/// A running token service on 127.0.0.1. It ends with the test's process.
#[derive(Clone, Debug)]
pub struct TokenService {
    host: String,
    certificate: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Signer {
    key: PathBuf,
    /// The certificate in DER, as base64.
    chain: String,
    user: (String, String),
}

impl TokenService {
    /// Starts one that keeps its key below `directory` and knows one name and password.
    ///
    /// # Errors
    ///
    /// When openssl is not installed.
    pub fn start(directory: &Path, user: (&str, &str)) -> Result<Self, Missing> {
        programs(&["openssl"])?;
        let [key, certificate] = ["token.key", "token.pem"].map(|name| directory.join(name));
        let (key_text, certificate_text) = (key.to_string_lossy(), certificate.to_string_lossy());
        let words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens";
        let mut words: Vec<_> = words.split_whitespace().collect();
        words.extend(["-keyout", &key_text, "-out", &certificate_text]);
        crate::host::run_program(&words);
        let pem = fs_err::read_to_string(&certificate).expect("a certificate");
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let signer = Signer {
            key,
            chain: lines.collect(),
            user: (user.0.to_owned(), user.1.to_owned()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::default());
        let heard = Arc::clone(&asked);
        std::thread::Builder::new()
            .name("token-service".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    // a client that goes away is not missed
                    let _ = signer.answer(stream, &heard);
                }
            })
            .expect("a thread for the token service");
        Ok(Self {
            host,
            certificate,
            asked,
        })
    }

    /// What the distribution server has to be told about it.
    pub(super) fn settings(&self) -> String {
        format!(
            "auth: {{token: {{realm: 'http://{}/token', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: '{}'}}}}\n",
            self.host,
            self.certificate.display()
        )
    }

    /// Path and query of every request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the service panicked").clone()
    }
}

impl Signer {
    fn answer(&self, stream: TcpStream, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut authorization = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("authorization")
            {
                value.trim().clone_into(&mut authorization);
            }
        }
        asked
            .lock()
            .expect("the service panicked")
            .push(path.clone());
        let (status, body) = match authorization == basic(&self.user.0, &self.user.1) {
            true => ("200 OK", json!({ "token": self.token(&path) }).to_string()),
            false => ("401 Unauthorized", "{}".to_owned()),
        };
        write!(
            &stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// A JSON web token with the scopes that `path` asks for. Source: RFC 7519; distribution
    /// `docs/spec/auth/jwt.md`.
    fn token(&self, path: &str) -> String {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let scopes = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("scope="))
            .map(percent_decode);
        let access = scopes.filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<_> = actions.split(',').collect();
            Some(json!({ "type": kind, "name": name, "actions": actions }))
        });
        let access: Vec<_> = access.collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [self.chain] });
        let claims = json!({
            "iss": ISSUER, "sub": self.user.0, "aud": SERVICE, "exp": now + 300,
            "nbf": now - 60, "iat": now - 60, "jti": format!("{now}-{path}"), "access": access,
        });
        let text = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        );
        let signature = self.sign(text.as_bytes());
        format!("{text}.{}", base64url(&signature))
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        let mut input = openssl.stdin.take().expect("a piped stdin");
        input.write_all(text).expect("openssl reads");
        drop(input);
        openssl.wait_with_output().expect("openssl signs").stdout
    }
}

fn base64url(bytes: &[u8]) -> String {
    let text = base64(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}
