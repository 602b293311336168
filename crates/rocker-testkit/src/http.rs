//! The few lines of HTTP/1.1 that tests speak themselves: one request per connection.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// What came of the body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether as many bytes came as `Content-Length` announced.
    pub fn is_whole(&self) -> bool {
        let announced = self
            .header("content-length")
            .and_then(|value| value.parse::<usize>().ok());
        announced.is_none_or(|length| length == self.body.len())
    }
}

/// Sends one request and reads until the server closes or `patience` passes without a byte.
///
/// # Errors
///
/// When there is no connection, or no head of an answer.
pub fn request(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    const PATIENCE: Duration = Duration::from_secs(10);
    exchange(
        host,
        &head(host, method, path, headers, body.len()),
        body,
        PATIENCE,
    )
}

/// As [`request`], for a `GET` whose answer may never end.
///
/// # Errors
///
/// When there is no connection, or no head of an answer.
pub fn get_with_patience(host: &str, path: &str, patience: Duration) -> io::Result<Response> {
    exchange(host, &head(host, "GET", path, &[], 0), &[], patience)
}

fn head(host: &str, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn exchange(host: &str, head: &str, body: &[u8], patience: Duration) -> io::Result<Response> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    // A stalled or cut body is an answer too: what came is kept.
    let end = stream.read_to_end(&mut bytes);
    parse(&bytes).ok_or_else(|| {
        end.err()
            .unwrap_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    })
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body: bytes[split + 4..].to_vec(),
    })
}
