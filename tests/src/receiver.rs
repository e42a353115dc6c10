//! Receivers of notifications: an HTTP server and a mail server, as small as can be, in the clear or with TLS.
//!
//! Promises: everything that was taken is kept as it came, with the time; a receiver can refuse, and can hang, for
//! as long as a test wants. Never: a port that is fixed, a connection from elsewhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::wait;

/// What a receiver does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    /// It takes everything.
    Takes,
    /// It says that it cannot.
    Fails,
    /// It reads and never answers.
    Hangs,
}

/// One request or mail.
#[derive(Debug, Clone)]
pub struct Taken {
    /// When it was there as a whole.
    pub at: Instant,
    /// Whether it was taken, or only seen.
    pub is_taken: bool,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

#[derive(Debug)]
struct Shared {
    mood: AtomicU8,
    seen: Mutex<Vec<Taken>>,
    /// Without it everything is in the clear.
    tls: Option<Arc<ServerConfig>>,
}

impl Shared {
    fn mood(&self) -> Mood {
        match self.mood.load(Ordering::SeqCst) {
            0 => Mood::Takes,
            1 => Mood::Fails,
            _ => Mood::Hangs,
        }
    }

    fn see(&self, headers: BTreeMap<String, String>, body: String) -> Mood {
        let mood = self.mood();
        let taken = Taken {
            at: wait::now(),
            is_taken: mood == Mood::Takes,
            headers,
            body,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(taken);
        mood
    }
}

/// A receiver on a free port; its threads end with the process.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

impl Receiver {
    /// An HTTP server that takes POSTs.
    ///
    /// # Errors
    /// When there is no port.
    pub fn http() -> std::io::Result<Self> {
        Self::start(None, serve_http)
    }

    /// An HTTPS server that takes POSTs.
    ///
    /// # Errors
    /// When there is no port.
    pub fn https(tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        Self::start(Some(tls), |stream, shared| match &shared.tls {
            Some(tls) => serve_http(secured(stream, tls)?, shared),
            None => Ok(()),
        })
    }

    /// A mail server without TLS.
    ///
    /// # Errors
    /// When there is no port.
    pub fn smtp() -> std::io::Result<Self> {
        Self::start(None, serve_smtp)
    }

    /// A mail server that takes mail only after STARTTLS and a login, which it keeps as header `auth`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn smtp_starttls(tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        Self::start(Some(tls), serve_smtp)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        serve: fn(TcpStream, &Shared) -> std::io::Result<()>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            mood: AtomicU8::new(Mood::Takes as u8),
            seen: Mutex::default(),
            tls,
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                // A client that goes away in the middle is nobody's fault.
                thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        Ok(Self { port, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From here on it does this.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Everything that it saw so far, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Taken> {
        let seen = self.shared.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys of what it took, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let taken = self.seen().into_iter().filter(|taken| taken.is_taken);
        taken
            .filter_map(|taken| {
                let headers = taken.headers;
                let key = headers
                    .get("idempotency-key")
                    .or(headers.get("x-fleet-key"));
                key.cloned()
            })
            .collect()
    }
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_lowercase(), value.trim().to_owned()))
}

/// Never answers, until the other side is gone.
fn hang(stream: &mut impl Read) {
    let mut rest = [0; 64];
    while stream.read(&mut rest).is_ok_and(|len| len > 0) {}
}

fn secured(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
) -> std::io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(std::io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

fn serve_http(stream: impl Read + Write, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::from([(":path".to_owned(), line.trim().to_owned())]);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match header(&line) {
                Some((name, value)) => headers.insert(name, value),
                None => break,
            };
        }
        let len: usize = headers
            .get("content-length")
            .and_then(|len| len.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let answer: &[u8] = match shared.see(headers, body) {
            Mood::Takes => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Mood::Fails => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy",
            Mood::Hangs => {
                hang(&mut reader);
                return Ok(());
            }
        };
        reader.get_mut().write_all(answer)?;
        reader.get_mut().flush()?;
    }
}

/// How a conversation about mail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Gone,
    StartTls,
}

fn serve_smtp(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut plain = BufReader::new(stream);
    plain.get_mut().write_all(b"220 test\r\n")?;
    let Some(tls) = &shared.tls else {
        return converse(&mut plain, shared, "8BITMIME").map(drop);
    };
    if converse(&mut plain, shared, "STARTTLS")? == End::StartTls {
        let mut secure = BufReader::new(secured(plain.into_inner(), tls)?);
        converse(&mut secure, shared, "AUTH PLAIN")?;
    }
    Ok(())
}

/// Offers one extension: `STARTTLS` alone takes no mail, and `AUTH PLAIN` none without a login.
fn converse(
    reader: &mut BufReader<impl Read + Write>,
    shared: &Shared,
    offers: &str,
) -> std::io::Result<End> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(End::Gone);
        }
        let word = line.split([' ', ':', '\r']).next().unwrap_or("");
        let answer = match (word.to_uppercase().as_str(), offers) {
            ("EHLO" | "HELO", _) => format!("250-test\r\n250 {offers}\r\n"),
            ("QUIT", _) => "221 bye\r\n".to_owned(),
            ("STARTTLS", "STARTTLS") => "220 go on\r\n".to_owned(),
            (_, "STARTTLS") => "530 only after STARTTLS\r\n".to_owned(),
            ("AUTH", "AUTH PLAIN") => {
                headers.insert("auth".to_owned(), line.trim().to_owned());
                "235 welcome\r\n".to_owned()
            }
            ("MAIL", "AUTH PLAIN") if !headers.contains_key("auth") => {
                "530 only after a login\r\n".to_owned()
            }
            ("RCPT", _) => {
                headers.insert("rcpt".to_owned(), line.trim().to_owned());
                "250 ok\r\n".to_owned()
            }
            ("DATA", _) => {
                reader.get_mut().write_all(b"354 go on\r\n")?;
                reader.get_mut().flush()?;
                let body = mail(reader, &mut headers)?;
                match shared.see(std::mem::take(&mut headers), body) {
                    Mood::Takes => "250 taken\r\n".to_owned(),
                    Mood::Fails => "451 busy\r\n".to_owned(),
                    Mood::Hangs => {
                        hang(reader);
                        return Ok(End::Gone);
                    }
                }
            }
            _ => "250 ok\r\n".to_owned(),
        };
        reader.get_mut().write_all(answer.as_bytes())?;
        reader.get_mut().flush()?;
        match (word.to_uppercase().as_str(), offers) {
            ("QUIT", _) => return Ok(End::Gone),
            ("STARTTLS", "STARTTLS") => return Ok(End::StartTls),
            _ => {}
        }
    }
}

fn mail(
    reader: &mut impl BufRead,
    headers: &mut BTreeMap<String, String>,
) -> std::io::Result<String> {
    let mut body = String::new();
    let mut is_head = true;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == ".\r\n" {
            return Ok(body);
        }
        if is_head {
            match header(&line) {
                Some((name, value)) => drop(headers.insert(name, value)),
                None => is_head = false,
            }
        } else {
            body.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
    }
}
