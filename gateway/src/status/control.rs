//! The unix socket on which the gateway takes orders.
//!
//! Promises: mode 0600 from its first moment, and only root and the user of the gateway are heard, whoever
//! hands them the socket; an order is at most [`ORDER_LEN_MAX`] bytes and comes within a second; what is not
//! an order is answered with a sentence. Never: an order from a network.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::client::AskError;
use super::socket::{SocketError, listen};

/// The longest order, bytes: a profile in JSON's clothes.
const ORDER_LEN_MAX: u64 = 64 * 1024;
/// Orders are given by people, one at a time.
const ORDERS_MAX: usize = 2;
/// Reads of what is too long to be an order.
const DRAIN_READS_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);
/// The pipeline may be behind a slow card.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const STACK_LEN: usize = 256 * 1024;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Another profile for the trip.
    ProfileSet {
        /// Its text, TOML or JSON.
        text: String,
    },
    /// The profile in force, and the next one.
    ProfileShow {},
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `accepted`, `known`, `refused` or `shown`.
    pub state: String,
    /// The version that it is about.
    pub version: Option<u64>,
    /// A sentence.
    pub text: String,
    /// The profile in force, as TOML.
    pub current: Option<String>,
    /// The profile that waits for its time, as TOML.
    pub next: Option<String>,
}

/// An order; what becomes of it goes back on its own channel.
#[derive(Debug)]
pub struct Ordered {
    /// What is wanted.
    pub order: Order,
    /// Takes one answer.
    pub answer: Sender<Outcome>,
}

/// Where the pipeline finds orders.
pub type Orders = Receiver<Ordered>;

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens and answers from a thread of its own.
    ///
    /// # Errors
    /// [`SocketError`]; the gateway can do without.
    pub fn open(path: &Path) -> Result<(Self, Orders), SocketError> {
        let listener = listen(path)?;
        let (sender, orders) = bounded(ORDERS_MAX);
        std::thread::Builder::new()
            .name("control".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || serve(&listener, &sender))
            .map_err(|source| SocketError::Bind {
                path: path.to_owned(),
                source,
            })?;
        Ok((
            Self {
                path: path.to_owned(),
            },
            orders,
        ))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already is as good.
        std::fs::remove_file(&self.path).ok();
    }
}

fn serve(listener: &UnixListener, sender: &Sender<Ordered>) {
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| hear(stream, sender)) {
            tracing::debug!(%error, "nobody waits for the answer to an order");
        }
    }
}

fn hear(mut stream: UnixStream, sender: &Sender<Ordered>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let outcome = match read(&mut stream) {
        Ok(order) => obey(order, sender)?,
        Err(reason) => {
            drain(&mut stream);
            refusal(reason)
        }
    };
    stream.write_all(&serde_json::to_vec(&outcome)?)
}

fn read(stream: &mut UnixStream) -> Result<Order, String> {
    let peer = rustix::net::sockopt::socket_peercred(&*stream)
        .map_err(|error| format!("nobody knows who you are: {error}"))?;
    let us = rustix::process::geteuid();
    if !peer.uid.is_root() && peer.uid != us {
        return Err(format!(
            "user {} is not heard; allowed are root and user {}",
            peer.uid.as_raw(),
            us.as_raw()
        ));
    }
    let mut text = String::new();
    let read = stream
        .take(ORDER_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("the order is not complete: {error}"))?;
    if read as u64 > ORDER_LEN_MAX {
        return Err(format!("allowed are orders of {ORDER_LEN_MAX} bytes"));
    }
    serde_json::from_str(&text).map_err(|error| format!("this is no order: {error}"))
}

/// What is left unread would take the answer with it.
fn drain(stream: &mut UnixStream) {
    let mut rest = [0; 16 * 1024];
    for _ in 0..DRAIN_READS_MAX {
        if matches!(stream.read(&mut rest), Ok(0) | Err(_)) {
            return;
        }
    }
}

fn obey(order: Order, sender: &Sender<Ordered>) -> io::Result<Outcome> {
    let (answer, answers) = bounded(1);
    sender
        .try_send(Ordered { order, answer })
        .map_err(|_| io::ErrorKind::WouldBlock)?;
    answers
        .recv_timeout(ANSWER_PATIENCE)
        .map_err(|_| io::ErrorKind::TimedOut.into())
}

fn refusal(text: String) -> Outcome {
    Outcome {
        state: "refused".to_owned(),
        version: None,
        text,
        current: None,
        next: None,
    }
}

/// Gives an order to the gateway at a socket.
///
/// # Errors
/// [`AskError`].
pub fn order(path: &Path, order: &Order) -> Result<Outcome, AskError> {
    let unreachable = |source| AskError::Unreachable {
        path: path.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    let patience = ANSWER_PATIENCE + 2 * PATIENCE;
    stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(unreachable)?;
    let refuse = |reason: String| AskError::Answer {
        path: path.to_owned(),
        reason,
    };
    let words = serde_json::to_vec(order).map_err(|error| refuse(error.to_string()))?;
    let said = stream
        .write_all(&words)
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    said.map_err(unreachable)?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A socket whose orders are answered with their own words.
    fn echo(path: &Path) -> ControlSocket {
        let (socket, orders) = ControlSocket::open(path).unwrap();
        std::thread::spawn(move || {
            for ordered in orders {
                let text = format!("{:?}", ordered.order);
                let outcome = Outcome {
                    state: "shown".to_owned(),
                    ..refusal(text)
                };
                ordered.answer.try_send(outcome).unwrap();
            }
        });
        socket
    }

    #[test]
    fn an_order_is_answered_and_nonsense_gets_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let socket = echo(&path);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            order(&path, &Order::ProfileShow {}).unwrap().text,
            "ProfileShow"
        );
        let long = Order::ProfileSet {
            text: "x".repeat(70_000),
        };
        let outcome = order(&path, &long).unwrap();
        assert_eq!(outcome.state, "refused");
        assert!(outcome.text.contains("65536"), "{}", outcome.text);
        for nonsense in [
            "",
            "{}",
            "{\"order\":\"fly\"}",
            "{\"order\":\"profile_show\",\"x\":1}",
        ] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(nonsense.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.contains("this is no order"), "{text}");
        }
        drop(socket);
        assert!(!path.exists());
        let gone = order(&path, &Order::ProfileShow {}).unwrap_err();
        assert!(gone.to_string().contains("no gateway answers"), "{gone}");
    }
}
