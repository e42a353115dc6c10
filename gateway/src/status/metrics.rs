//! The page that Prometheus reads: `GET /metrics` over HTTP/1.0, by hand.
//!
//! Promises: nothing listens unless the configuration says where; a request is at most [`REQUEST_LEN_MAX`] bytes
//! and comes in a few pieces within seconds; a client that is slow or rude costs its own connection and nobody a
//! reading. Never: an order; a second client at the same time; a figure that a vehicle measured.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use super::exposition::expose;
use super::question::{Asker, PATIENCE};

/// A scraper's request is a few hundred bytes.
const REQUEST_LEN_MAX: usize = 4096;
/// A request that comes in more pieces than this comes from somebody who plays.
const PIECES_MAX: usize = 4;
const STACK_LEN: usize = 256 * 1024;

/// Listens and answers from a thread of its own; tells where.
///
/// # Errors
/// What the system says when it cannot listen there; the gateway can do without.
pub fn serve_metrics(listen: SocketAddr, asker: Asker) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .stack_size(STACK_LEN)
        .spawn(move || {
            for stream in listener.incoming() {
                if let Err(error) = stream.and_then(|stream| answer(stream, &asker)) {
                    tracing::debug!(%error, "a reader of figures went away");
                }
            }
        })?;
    Ok(address)
}

fn answer(mut stream: TcpStream, asker: &Asker) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = head(&mut stream)?;
    let (status, body) = match asked(&request) {
        Ok(()) => match page(asker) {
            Some(page) => ("200 OK", page),
            None => (
                "503 Service Unavailable",
                "the gateway is busy: ask again\n".to_owned(),
            ),
        },
        Err((status, sentence)) => (status, sentence.to_owned()),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes())
}

/// What came until the end of the head or the bound.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; REQUEST_LEN_MAX];
    for _ in 0..PIECES_MAX {
        let count = stream.read(&mut piece)?;
        request.extend_from_slice(piece.get(..count).unwrap_or_default());
        let is_whole = request.windows(4).any(|four| four == b"\r\n\r\n");
        if is_whole || count == 0 || request.len() > REQUEST_LEN_MAX {
            break;
        }
    }
    Ok(request)
}

/// Whether that is a question that has an answer here; else the status and a sentence.
fn asked(request: &[u8]) -> Result<(), (&'static str, &'static str)> {
    let bad = (
        "400 Bad Request",
        "allowed is GET /metrics with a head of at most 4096 bytes\n",
    );
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| bad)?;
    let mut words = line.split(' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with("HTTP/1."));
    let is_whole = request.windows(4).any(|four| four == b"\r\n\r\n");
    if !is_http || !is_whole || request.len() > REQUEST_LEN_MAX || words.next().is_some() {
        return Err(bad);
    }
    if path.map(|path| path.split('?').next().unwrap_or_default()) != Some("/metrics") {
        return Err(("404 Not Found", "there is only /metrics here\n"));
    }
    match method {
        Some("GET") => Ok(()),
        _ => Err(("405 Method Not Allowed", "allowed is GET\n")),
    }
}

fn page(asker: &Asker) -> Option<String> {
    let status = asker.ask().ok()?;
    let report: Value = serde_json::from_slice(&status).ok()?;
    Some(expose(&report))
}
