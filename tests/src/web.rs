//! Requests over HTTP to a server of this machine, byte by byte, and a stream of events.
//!
//! Promises: what is sent is what stands here. Never: a retry.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, 0 when there was none.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, without the frames of a chunked one.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// A connection to a port of this machine.
///
/// # Errors
/// When nobody listens.
pub fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends these bytes and hears everything until the server closes or has said as much as it announced.
///
/// # Errors
/// When nobody listens.
pub fn exchange(port: u16, bytes: &[u8]) -> anyhow::Result<Answer> {
    let mut stream = connect(port)?;
    // A server that has heard enough closes before it has read everything.
    stream.write_all(bytes).ok();
    let heard = hear(&mut stream);
    let text = String::from_utf8_lossy(&heard);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Ok(Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: if is_chunked {
            unchunked(body)
        } else {
            body.to_owned()
        },
    })
}

/// Some servers keep a connection open although they were asked to close it.
fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while !is_whole(&heard) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => heard.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    heard
}

/// Whether everything is there that the head announces.
fn is_whole(heard: &[u8]) -> bool {
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = heard.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length:"));
    let length = lengths.find_map(|length| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn unchunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some(piece) = behind.get(..length).filter(|piece| !piece.is_empty()) else {
            break;
        };
        whole.push_str(piece);
        rest = behind.get(length + 2..).unwrap_or_default();
    }
    whole
}

/// A request with these headers (each with its line end) and this body.
///
/// # Errors
/// When nobody listens.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n{headers}\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    exchange(port, text.as_bytes())
}

/// `GET` of a path that must be answered with 200: its JSON.
///
/// # Errors
/// When it is not.
pub fn get(port: u16, path: &str) -> anyhow::Result<Value> {
    let answer = request(port, "GET", path, "", None)?;
    anyhow::ensure!(answer.status == 200, "{path}: {answer:?}");
    answer.json()
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, where it has one.
    pub id: Option<i64>,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub data: String,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens the stream of a path.
    ///
    /// # Errors
    /// When it is not answered with a stream.
    pub fn open(port: u16, path: &str, headers: &str) -> anyhow::Result<Self> {
        let mut stream = connect(port)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n"
        )?;
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        anyhow::ensure!(status.starts_with("HTTP/1.1 200"), "{path}: {status}");
        Ok(Self(reader))
    }

    /// The next event; waits for it.
    ///
    /// # Errors
    /// When the stream ends or nothing comes.
    pub fn next_event(&mut self) -> anyhow::Result<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.0.read_line(&mut line)? > 0, "the stream has ended");
            // Headers, lengths of chunks and comments have none of these names.
            match line.trim_end().split_once(':') {
                Some(("id", value)) => id = value.trim().parse().ok(),
                Some(("event", value)) => value.trim().clone_into(&mut name),
                Some(("data", value)) => data.push_str(value.trim_start()),
                _ if line.trim().is_empty() && !name.is_empty() => {
                    return Ok(Event { id, name, data });
                }
                _ => {}
            }
        }
    }
}
