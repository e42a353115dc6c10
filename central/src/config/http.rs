//! The `[http]` section: who may look at the page, from where, and how much at once.
//!
//! Promises: without the section nobody listens; what is not loopback needs TLS and a login, or the start stops
//! with a sentence. Never: a header that names a user believed from just anybody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file::{Check, ConfigError};

/// Where people look, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) listen: SocketAddr,
    /// Certificates and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Names, roles and passwords.
    pub(crate) users_file: Option<PathBuf>,
    /// Who is believed to say who asks, and in which header.
    pub(crate) proxy: Option<Proxy>,
    /// Where the map's tiles are, if there are any: a URL with {z}, {x} and {y}.
    pub(crate) tiles_url: Option<String>,
    pub(crate) limits: Limits,
}

/// A proxy that has asked who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) user_header: String,
    pub(crate) from: Vec<IpAddr>,
}

/// What one process answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open connections, event streams among them.
    pub(crate) connections_max: u32,
    /// Event streams.
    pub(crate) events_max: u32,
    /// Requests of one user or address, per second and at once.
    pub(crate) requests_per_s: u32,
    pub(crate) requests_burst: u32,
    /// How long a client may take to send a request's head, and to take a piece of an answer.
    pub(crate) client_s_max: u32,
    /// Threads that read the database.
    pub(crate) readers: u8,
}

/// The section as it stands in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpTable {
    listen: String,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    users_file: Option<PathBuf>,
    proxy_user_header: Option<String>,
    proxy_from: Option<Vec<IpAddr>>,
    tiles_url: Option<String>,
    connections_max: u32,
    events_max: u32,
    requests_per_s: u32,
    requests_burst: u32,
    client_s_max: u32,
    readers: u8,
}

impl Default for HttpTable {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8787".to_owned(),
            cert_file: None,
            key_file: None,
            users_file: None,
            proxy_user_header: None,
            proxy_from: None,
            tiles_url: None,
            // Half of them may be event streams, so that these never shut out a request.
            connections_max: 2_048,
            events_max: 1_024,
            // A page asks for twenty things when it opens; a desk of ten people behind one address opens at once.
            requests_per_s: 50,
            requests_burst: 400,
            // A phone at the edge of coverage needs some seconds, an attacker any number.
            client_s_max: 15,
            readers: 4,
        }
    }
}

impl HttpTable {
    pub(super) fn of(http: &Page) -> Self {
        let (cert_file, key_file) = http.tls.clone().unzip();
        let proxy = http.proxy.clone();
        let (proxy_user_header, proxy_from) =
            proxy.map(|proxy| (proxy.user_header, proxy.from)).unzip();
        Self {
            listen: http.listen.to_string(),
            cert_file,
            key_file,
            users_file: http.users_file.clone(),
            proxy_user_header,
            proxy_from,
            tiles_url: http.tiles_url.clone(),
            connections_max: http.limits.connections_max,
            events_max: http.limits.events_max,
            requests_per_s: http.limits.requests_per_s,
            requests_burst: http.limits.requests_burst,
            client_s_max: http.limits.client_s_max,
            readers: http.limits.readers,
        }
    }
}

impl Check<'_> {
    pub(super) fn page(&self, table: HttpTable) -> Result<Page, ConfigError> {
        let listen: SocketAddr = table.listen.parse().map_err(|_| {
            let allowed = "an address and port, as 127.0.0.1:8787";
            self.value("http.listen", &table.listen, allowed)
        })?;
        let limits = self.limits(&table)?;
        let tls = self.certificate(table.cert_file, table.key_file)?;
        let users_file = table.users_file.map(|file| self.beside(&file));
        if let Some(file) = &users_file {
            self.secret("http.users_file", file)?;
            crate::http::check_users(file).map_err(|why| {
                let allowed = "a file of [[user]] entries, each with name, role and password_hash";
                self.value(
                    "http.users_file",
                    format!("{} ({why})", file.display()),
                    allowed,
                )
            })?;
        }
        let proxy = self.proxy(table.proxy_user_header, table.proxy_from)?;
        if proxy.is_some() && users_file.is_none() {
            let allowed = "set, because it says which role each user of the proxy has";
            return Err(self.value("http.users_file", "", allowed));
        }
        if !listen.ip().is_loopback() && (tls.is_none() || users_file.is_none()) {
            let allowed =
                "a loopback address; another one needs cert_file, key_file and users_file";
            return Err(self.value("http.listen", listen, allowed));
        }
        if let Some(url) = &table.tiles_url {
            self.tiles(url)?;
        }
        Ok(Page {
            listen,
            tls,
            users_file,
            proxy,
            tiles_url: table.tiles_url,
            limits,
        })
    }

    fn limits(&self, table: &HttpTable) -> Result<Limits, ConfigError> {
        let within =
            |key, value: u32, low: u32, high: u32, allowed| match (low..=high).contains(&value) {
                true => Ok(value),
                false => Err(self.value(key, value, allowed)),
            };
        let limits = Limits {
            connections_max: within(
                "http.connections_max",
                table.connections_max,
                16,
                65_536,
                "16 to 65536",
            )?,
            events_max: within("http.events_max", table.events_max, 1, 32_768, "1 to 32768")?,
            requests_per_s: within(
                "http.requests_per_s",
                table.requests_per_s,
                1,
                100_000,
                "1 to 100000",
            )?,
            requests_burst: within(
                "http.requests_burst",
                table.requests_burst,
                20,
                100_000,
                "20 to 100000",
            )?,
            client_s_max: within("http.client_s_max", table.client_s_max, 1, 300, "1 to 300")?,
            readers: match table.readers {
                1..=64 => table.readers,
                other => return Err(self.value("http.readers", other, "1 to 64")),
            },
        };
        if limits.events_max > limits.connections_max / 2 {
            let allowed = "at most half of http.connections_max";
            return Err(self.value("http.events_max", limits.events_max, allowed));
        }
        Ok(limits)
    }

    fn certificate(
        &self,
        cert_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let beside = |file: Option<PathBuf>| file.map(|file| self.beside(&file));
        match (beside(cert_file), beside(key_file)) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                self.readable("http.cert_file", &cert)?;
                self.secret("http.key_file", &key)?;
                Ok(Some((cert, key)))
            }
            (Some(cert), None) => {
                Err(self.value("http.cert_file", cert.display(), "only with key_file"))
            }
            (None, Some(key)) => {
                Err(self.value("http.key_file", key.display(), "only with cert_file"))
            }
        }
    }

    fn proxy(
        &self,
        header: Option<String>,
        from: Option<Vec<IpAddr>>,
    ) -> Result<Option<Proxy>, ConfigError> {
        let Some(header) = header else {
            self.absent(
                "http.proxy_from",
                from.as_ref(),
                "only with proxy_user_header",
            )?;
            return Ok(None);
        };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if header.is_empty() || !header.chars().all(is_name) {
            let allowed = "the name of a header in small letters, as x-auth-request-user";
            return Err(self.value("http.proxy_user_header", header, allowed));
        }
        Ok(Some(Proxy {
            user_header: header,
            from: from.unwrap_or_else(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        }))
    }

    fn tiles(&self, url: &str) -> Result<(), ConfigError> {
        let has_places = ["{z}", "{x}", "{y}"]
            .iter()
            .all(|place| url.contains(place));
        let scheme = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        let host = scheme
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default();
        // It becomes part of the page's security policy.
        let is_host =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        match has_places && !host.is_empty() && host.chars().all(is_host) {
            true => Ok(()),
            false => {
                let allowed = "http:// or https://, a host, and a path with {z}, {x} and {y}";
                Err(self.value("http.tiles_url", url, allowed))
            }
        }
    }
}
