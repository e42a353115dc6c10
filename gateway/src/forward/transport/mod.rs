//! The way to a broker: TCP, through an HTTP proxy, in TLS, in a websocket, or several of these.
//!
//! Promises: certificates, keys and passwords are asked for anew at every connection, so that renewed ones
//! count without a restart; an attempt either gives a connection or says in a sentence why not, and whether
//! the other side or the link is to blame. Never: logs a secret; reads a file (the caller's [`Access`] does).
//!
//! The MQTT library dials plain TCP itself. For everything else it dials a [`relay`], because its own ways
//! would bring crates that nobody maintains or whose licence we do not admit.

pub mod certificate;
mod proxy;
mod relay;
mod tls;
mod websocket;

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::backoff::Ender;
pub(crate) use relay::Relay;
pub use tls::{TimeFloor, TlsBytes};

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How to get there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Whether the broker speaks TLS.
    pub tls: bool,
    /// The path of the broker's websocket; `None` is MQTT without one.
    pub websocket: Option<String>,
    /// An HTTP proxy that knows CONNECT.
    pub proxy: Option<BrokerAddress>,
}

impl Route {
    /// Whether the MQTT library can dial by itself.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// User name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password; it never shows.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, ...)", self.username)
    }
}

/// What one connection needs from files.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// For the broker.
    pub login: Option<Login>,
    /// For the proxy.
    pub proxy_login: Option<Login>,
    /// Certificates.
    pub tls: TlsBytes,
}

/// Reads the keys; called at every connection.
#[derive(Clone)]
pub struct Access(Arc<dyn Fn() -> Result<Keys, String> + Send + Sync>);

impl Access {
    /// Access through a function that reads the files.
    pub fn new(read: impl Fn() -> Result<Keys, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// No keys at all.
    #[must_use]
    pub fn open() -> Self {
        Self::new(|| Ok(Keys::default()))
    }

    pub(crate) fn keys(&self) -> Result<Keys, String> {
        (self.0)()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// Why an attempt to connect failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Who is to blame, as far as one can tell.
    pub(crate) ender: Ender,
    /// A sentence.
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn link(why: impl Into<String>) -> Self {
        Self {
            ender: Ender::Link,
            why: why.into(),
        }
    }

    pub(crate) fn broker(why: impl Into<String>) -> Self {
        Self {
            ender: Ender::Broker,
            why: why.into(),
        }
    }

    /// An error of a socket: who is there and refuses or hangs up is the other side.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self {
            ender: ender_of(error.kind()),
            why: format!("{what}: {error}"),
        }
    }
}

/// Who ended it, by the words of a socket.
pub(crate) fn ender_of(kind: io::ErrorKind) -> Ender {
    match kind {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Ender::Broker,
        _ => Ender::Link,
    }
}

/// Both directions of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection to the broker below the websocket, if there is one.
async fn dial(
    address: &BrokerAddress,
    route: &Route,
    keys: &Keys,
    floor: &TimeFloor,
) -> Result<Box<dyn Duplex>, Failure> {
    let first = route.proxy.as_ref().unwrap_or(address);
    let mut tcp = TcpStream::connect((first.host.as_str(), first.port))
        .await
        .map_err(|error| Failure::io(&first.to_string(), &error))?;
    tcp.set_nodelay(true)
        .map_err(|error| Failure::io("TCP_NODELAY", &error))?;
    if route.proxy.is_some() {
        proxy::connect(&mut tcp, address, keys.proxy_login.as_ref()).await?;
    }
    if route.tls {
        let stream = tls::handshake(tcp, &address.host, &keys.tls, floor).await?;
        return Ok(Box::new(stream));
    }
    Ok(Box::new(tcp))
}

/// Whether somebody answers at a broker's address.
pub(crate) async fn is_reachable(address: &BrokerAddress, route: &Route) -> bool {
    let first = route.proxy.as_ref().unwrap_or(address);
    TcpStream::connect((first.host.as_str(), first.port))
        .await
        .is_ok()
}
