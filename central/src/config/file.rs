//! The file format, and the one way from it to good values.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use firmware_shared::topic::{PREFIX_DEFAULT, is_valid_prefix};
use serde::{Deserialize, Serialize};

use super::desk::{DeskTable, GroupTable, desk_table, group_tables};
use super::http::HttpTable;
use super::route::{RouteTable, route_tables};
use super::{Broker, Buckets, Config, Database, External, Ingest, Login, Place, Postgres, Tls};

/// Why a configuration cannot be used; each is one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key or a wrong type.
    #[error("{}: line {line}, `{text}`: {message}", file.display())]
    Form {
        file: PathBuf,
        line: usize,
        text: String,
        message: String,
    },
    /// A value that is not allowed.
    #[error("{}: {key} = {value} is not possible; allowed: {allowed}", file.display())]
    Value {
        file: PathBuf,
        key: &'static str,
        value: String,
        allowed: &'static str,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database: DatabaseTable,
    #[serde(default)]
    broker: BrokerTable,
    #[serde(default)]
    ingest: IngestTable,
    #[serde(default)]
    desk: DeskTable,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    group: Vec<GroupTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    route: Vec<RouteTable>,
    http: Option<HttpTable>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseTable {
    path: Option<PathBuf>,
    url: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    retention_days: u32,
    #[serde(default)]
    keep_sealed_bytes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Embedded,
    External,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerTable {
    #[serde(default)]
    mode: Mode,
    listen: Option<String>,
    allow_remote: Option<bool>,
    host: Option<String>,
    port: Option<u16>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    prefix: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IngestTable {
    commit_ms_max: u32,
    ack_period_ms: u32,
    gap_s: u32,
    backlog_bytes_per_s: u32,
    buckets: String,
}

impl Default for IngestTable {
    fn default() -> Self {
        Self {
            // Shorter than a person notices, long enough to share an fsync.
            commit_ms_max: 20,
            // An ack a second frees a spool soon enough and costs little on a radio link.
            ack_period_ms: 1_000,
            // Longer than a device takes to send again by itself, resend timers included.
            gap_s: 600,
            // The broker's own back-pressure does for most.
            backlog_bytes_per_s: 0,
            buckets: Buckets::ALL.to_string(),
        }
    }
}

const LISTEN_DEFAULT: &str = "127.0.0.1:1883";
const PORT_DEFAULT: u16 = 1883;
const PORT_TLS_DEFAULT: u16 = 8883;
const RETENTION_DAYS_MAX: u32 = 36_500;

/// Reads and checks a configuration file.
///
/// # Errors
/// [`ConfigError`], one sentence for a person.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        file: path.to_owned(),
        source,
    })?;
    let file: File = toml::from_str(&text).map_err(|error| form(path, &text, &error))?;
    Check { file: path }.config(file)
}

/// The configuration with every default filled in, as TOML.
///
/// # Errors
/// When a value cannot be written as TOML.
pub(crate) fn effective(config: &Config) -> Result<String, toml::ser::Error> {
    let mut broker = BrokerTable {
        prefix: Some(config.prefix.clone()),
        ..BrokerTable::default()
    };
    match &config.broker {
        Broker::Embedded {
            listen,
            allow_remote,
        } => {
            broker.listen = Some(listen.to_string());
            broker.allow_remote = Some(*allow_remote);
        }
        Broker::External(external) => {
            broker.mode = Mode::External;
            broker.host = Some(external.host.clone());
            broker.port = Some(external.port);
            broker.username = external.login.as_ref().map(|login| login.username.clone());
            broker.password_file = external
                .login
                .as_ref()
                .map(|login| login.password_file.clone());
            broker.ca_file = external.tls.as_ref().map(|tls| tls.ca_file.clone());
            let client = external.tls.as_ref().and_then(|tls| tls.client.clone());
            (broker.cert_file, broker.key_file) = client.unzip();
        }
    }
    let (path, url, password_file) = match &config.database.place {
        Place::Sqlite(path) => (Some(path.clone()), None, None),
        Place::Postgres(reach) => (None, Some(reach.url.clone()), reach.password_file.clone()),
    };
    toml::to_string(&File {
        database: DatabaseTable {
            path,
            url,
            password_file,
            retention_days: config.database.retention_days,
            keep_sealed_bytes: config.database.keep_sealed_bytes,
        },
        broker,
        ingest: IngestTable {
            commit_ms_max: config.ingest.commit_ms_max,
            ack_period_ms: config.ingest.ack_period_ms,
            gap_s: config.ingest.gap_s,
            backlog_bytes_per_s: config.ingest.backlog_bytes_per_s,
            buckets: config.ingest.buckets.to_string(),
        },
        desk: desk_table(&config.desk),
        group: group_tables(&config.groups),
        route: route_tables(&config.routes),
        http: config.http.as_ref().map(HttpTable::of),
    })
}

fn form(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    ConfigError::Form {
        file: path.to_owned(),
        line,
        text: text
            .lines()
            .nth(line - 1)
            .unwrap_or_default()
            .trim()
            .to_owned(),
        message: error.message().lines().collect::<Vec<_>>().join("; "),
    }
}

/// Checks values, and remembers the file for the sentence.
pub(super) struct Check<'a> {
    file: &'a Path,
}

impl Check<'_> {
    fn config(&self, file: File) -> Result<Config, ConfigError> {
        let prefix = file
            .broker
            .prefix
            .clone()
            .unwrap_or_else(|| PREFIX_DEFAULT.to_owned());
        if !is_valid_prefix(&prefix) {
            return Err(self.value(
                "broker.prefix",
                &prefix,
                "1 to 4 levels of a-z, A-Z, 0-9, '_' and '-', together at most 48 bytes",
            ));
        }
        let database = self.database(file.database)?;
        let groups = self.groups(file.group)?;
        Ok(Config {
            desk: self.desk(file.desk, &database)?,
            routes: self.routes(file.route, &groups)?,
            groups,
            database,
            broker: self.broker(file.broker)?,
            prefix,
            ingest: self.ingest(&file.ingest)?,
            http: file.http.map(|table| self.page(table)).transpose()?,
        })
    }

    fn database(&self, table: DatabaseTable) -> Result<Database, ConfigError> {
        if table.retention_days > RETENTION_DAYS_MAX {
            return Err(self.value(
                "database.retention_days",
                table.retention_days,
                "0 (for ever) to 36500",
            ));
        }
        Ok(Database {
            place: self.place(&table)?,
            retention_days: table.retention_days,
            keep_sealed_bytes: table.keep_sealed_bytes,
        })
    }

    fn place(&self, table: &DatabaseTable) -> Result<Place, ConfigError> {
        match (&table.path, &table.url) {
            (Some(path), None) if !path.as_os_str().is_empty() => {
                let only = "nothing here; it belongs to url";
                self.absent("database.password_file", table.password_file.as_ref(), only)?;
                Ok(Place::Sqlite(self.beside(path)))
            }
            (None, Some(url)) => {
                if let Err(why) = crate::postgres::server(url) {
                    let allowed = "postgresql://user@host:port/database without a password, which belongs \
                         into password_file";
                    // A password is not repeated in a log.
                    return Err(self.value("database.url", why, allowed));
                }
                let password_file = table.password_file.as_ref().map(|file| self.beside(file));
                if let Some(file) = &password_file {
                    self.secret("database.password_file", file)?;
                }
                Ok(Place::Postgres(Postgres {
                    url: url.clone(),
                    password_file,
                }))
            }
            _ => Err(self.value(
                "database.path",
                table.path.clone().unwrap_or_default().display(),
                "the path of a SQLite file, or instead of it database.url of a PostgreSQL server",
            )),
        }
    }

    /// A relative path counts from the folder of the configuration file, wherever the process runs.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.file
            .parent()
            .map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    fn broker(&self, table: BrokerTable) -> Result<Broker, ConfigError> {
        match table.mode {
            Mode::Embedded => self.embedded(&table),
            Mode::External => self.external(table),
        }
    }

    fn embedded(&self, table: &BrokerTable) -> Result<Broker, ConfigError> {
        let only = "nothing here; it belongs to mode = \"external\"";
        self.absent("broker.host", table.host.as_ref(), only)?;
        self.absent("broker.port", table.port.as_ref(), only)?;
        self.absent("broker.username", table.username.as_ref(), only)?;
        self.absent("broker.password_file", table.password_file.as_ref(), only)?;
        self.absent("broker.ca_file", table.ca_file.as_ref(), only)?;
        self.absent("broker.cert_file", table.cert_file.as_ref(), only)?;
        self.absent("broker.key_file", table.key_file.as_ref(), only)?;
        let text = table.listen.as_deref().unwrap_or(LISTEN_DEFAULT);
        let listen: SocketAddr = text.parse().map_err(|_| {
            self.value(
                "broker.listen",
                text,
                "an address and port, as 127.0.0.1:1883",
            )
        })?;
        let allow_remote = table.allow_remote.unwrap_or(false);
        if !listen.ip().is_loopback() && !allow_remote {
            return Err(self.value(
                "broker.listen",
                text,
                "a loopback address; another one needs allow_remote = true, because this broker has \
                 neither TLS nor access control",
            ));
        }
        Ok(Broker::Embedded {
            listen,
            allow_remote,
        })
    }

    fn external(&self, table: BrokerTable) -> Result<Broker, ConfigError> {
        let only = "nothing here; it belongs to mode = \"embedded\"";
        self.absent("broker.listen", table.listen.as_ref(), only)?;
        self.absent("broker.allow_remote", table.allow_remote.as_ref(), only)?;
        let host = table
            .host
            .filter(|host| !host.is_empty())
            .ok_or_else(|| self.value("broker.host", "", "a host name or address"))?;
        let tls = self.tls(table.ca_file, table.cert_file, table.key_file)?;
        let port = table.port.unwrap_or(match tls {
            Some(_) => PORT_TLS_DEFAULT,
            None => PORT_DEFAULT,
        });
        if port == 0 {
            return Err(self.value("broker.port", port, "1 to 65535"));
        }
        let login = match (table.username, table.password_file) {
            (None, None) => None,
            (Some(username), Some(password_file)) => {
                let password_file = self.beside(&password_file);
                self.secret("broker.password_file", &password_file)?;
                Some(Login {
                    username,
                    password_file,
                })
            }
            (Some(username), None) => {
                return Err(self.value("broker.username", username, "only with password_file"));
            }
            (None, Some(file)) => {
                let allowed = "only with username";
                return Err(self.value("broker.password_file", file.display(), allowed));
            }
        };
        Ok(Broker::External(External {
            host,
            port,
            login,
            tls,
        }))
    }

    fn tls(
        &self,
        ca_file: Option<PathBuf>,
        cert_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
    ) -> Result<Option<Tls>, ConfigError> {
        let beside = |file: Option<PathBuf>| file.map(|file| self.beside(&file));
        let Some(ca_file) = beside(ca_file) else {
            self.absent("broker.cert_file", cert_file.as_ref(), "only with ca_file")?;
            self.absent("broker.key_file", key_file.as_ref(), "only with ca_file")?;
            return Ok(None);
        };
        let client = match (beside(cert_file), beside(key_file)) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                self.secret("broker.key_file", &key)?;
                self.readable("broker.cert_file", &cert)?;
                Some((cert, key))
            }
            (Some(cert), None) => {
                return Err(self.value("broker.cert_file", cert.display(), "only with key_file"));
            }
            (None, Some(key)) => {
                return Err(self.value("broker.key_file", key.display(), "only with cert_file"));
            }
        };
        self.readable("broker.ca_file", &ca_file)?;
        Ok(Some(Tls { ca_file, client }))
    }

    pub(super) fn readable(&self, key: &'static str, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display();
        std::fs::read(path)
            .map(drop)
            .map_err(|error| self.value(key, format!("{shown} ({error})"), "a readable file"))
    }

    /// A password that others can read is nobody's secret.
    pub(super) fn secret(&self, key: &'static str, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display();
        let mode = std::fs::metadata(path)
            .map_err(|error| self.value(key, format!("{shown} ({error})"), "a readable file"))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let value = format!("{shown} (mode {:03o})", mode & 0o777);
            return Err(self.value(key, value, "a file that only its owner can read, mode 600"));
        }
        super::read_secret(path)
            .map(drop)
            .map_err(|error| self.value(key, format!("{shown} ({error})"), "a file with text"))
    }

    fn ingest(&self, table: &IngestTable) -> Result<Ingest, ConfigError> {
        if !(1..=1_000).contains(&table.commit_ms_max) {
            let allowed = "1 to 1000";
            return Err(self.value("ingest.commit_ms_max", table.commit_ms_max, allowed));
        }
        // The device calls the centre silent after 60 s.
        if !(100..=30_000).contains(&table.ack_period_ms) {
            let allowed = "100 to 30000";
            return Err(self.value("ingest.ack_period_ms", table.ack_period_ms, allowed));
        }
        if table.gap_s > 86_400 {
            return Err(self.value("ingest.gap_s", table.gap_s, "0 (never) to 86400"));
        }
        let buckets = Buckets::parse(&table.buckets).ok_or_else(|| {
            let allowed = "a bucket or a range of them in two hex digits each, within 00-3f";
            self.value("ingest.buckets", &table.buckets, allowed)
        })?;
        Ok(Ingest {
            commit_ms_max: table.commit_ms_max,
            ack_period_ms: table.ack_period_ms,
            gap_s: table.gap_s,
            backlog_bytes_per_s: table.backlog_bytes_per_s,
            buckets,
        })
    }

    pub(super) fn absent<T: Debug>(
        &self,
        key: &'static str,
        value: Option<&T>,
        allowed: &'static str,
    ) -> Result<(), ConfigError> {
        match value {
            None => Ok(()),
            Some(value) => Err(ConfigError::Value {
                file: self.file.to_owned(),
                key,
                value: format!("{value:?}"),
                allowed,
            }),
        }
    }

    pub(super) fn value(
        &self,
        key: &'static str,
        value: impl Display,
        allowed: &'static str,
    ) -> ConfigError {
        ConfigError::Value {
            file: self.file.to_owned(),
            key,
            value: format!("\"{value}\""),
            allowed,
        }
    }
}
