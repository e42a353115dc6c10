//! The configuration: a TOML file becomes values that are known to be good.
//!
//! Promises: an unknown key, a wrong type or a value outside its range stops the start with one sentence
//! that names file, key, value and what is allowed. Never: a silent default for something that was said.

mod desk;
mod file;
mod http;
mod route;
mod schedule;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) use desk::SeverityName;
pub(crate) use desk::{Desk, Group};
pub(crate) use file::{ConfigError, effective, load};
pub(crate) use http::{Limits, Page, Proxy};
pub(crate) use route::{Http, Route, Select, Smtp, SmtpTls, Target, Webhook};
#[cfg(test)]
pub(crate) use schedule::Schedule;

/// Everything that `run` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    /// First levels of every topic.
    pub(crate) prefix: String,
    pub(crate) ingest: Ingest,
    /// What is done with alerts and silence.
    pub(crate) desk: Desk,
    pub(crate) groups: Vec<Group>,
    /// Who is told of what.
    pub(crate) routes: Vec<Route>,
    /// The page and the API, where they are wanted.
    pub(crate) http: Option<Page>,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) place: Place,
    /// Readings are deleted so long after their receipt; 0 keeps them for ever.
    pub(crate) retention_days: u32,
    /// Keep the sealed bytes of each batch beside its rows.
    pub(crate) keep_sealed_bytes: bool,
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file of this machine.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Postgres),
}

/// How to reach PostgreSQL. The password is read from its file at each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postgres {
    /// A URL or `key=value` list without a password.
    pub(crate) url: String,
    pub(crate) password_file: Option<PathBuf>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(reach) => f.write_str(&reach.url),
        }
    }
}

/// A range of buckets, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl Buckets {
    /// The whole fleet.
    pub(crate) const ALL: Self = Self {
        first: 0,
        last: firmware_shared::topic::BUCKETS - 1,
    };

    /// Reads `00-3f` or `07`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let bucket = |digits: &str| {
            let is_hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
        };
        let (first, last) = (bucket(first)?, bucket(last)?);
        (first <= last && last <= Self::ALL.last).then_some(Self { first, last })
    }
}

impl std::fmt::Display for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}-{:02x}", self.first, self.last)
    }
}

/// Where publishes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broker {
    /// A broker inside this process.
    Embedded {
        listen: SocketAddr,
        /// Listening beyond loopback was asked for in so many words.
        allow_remote: bool,
    },
    /// A broker elsewhere.
    External(External),
}

/// How to reach a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<Tls>,
}

/// How to know the broker, and how it knows us. The files are read at each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca_file: PathBuf,
    /// Our certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// Who we say that we are. The password is read from its file at each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password_file: PathBuf,
}

/// How publishes become commits and acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ingest {
    /// A publish waits at most so long for others to share its commit.
    pub(crate) commit_ms_max: u32,
    /// A device is told its progress at most once in so many milliseconds.
    pub(crate) ack_period_ms: u32,
    /// A gap that has not moved for so many seconds makes the centre ask the device; 0: never.
    pub(crate) gap_s: u32,
    /// What all vehicles of this process may send of their backlogs together; 0: no limit.
    pub(crate) backlog_bytes_per_s: u32,
    /// The buckets that this process serves; others serve the rest.
    pub(crate) buckets: Buckets,
}

impl Broker {
    /// Where a client of this machine connects.
    pub(crate) fn reach(&self) -> External {
        match self {
            Self::External(external) => external.clone(),
            Self::Embedded { listen, .. } => {
                let host = match listen.ip() {
                    ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".to_owned(),
                    ip if ip.is_unspecified() => "::1".to_owned(),
                    ip => ip.to_string(),
                };
                External {
                    host,
                    port: listen.port(),
                    login: None,
                    tls: None,
                }
            }
        }
    }
}

impl Login {
    /// The password, without the line end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn password(&self) -> std::io::Result<String> {
        read_secret(&self.password_file)
    }
}

pub(crate) fn read_secret(path: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(path)?
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}
