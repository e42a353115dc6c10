//! `[[route]]`: who is told of which alerts, and how.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::desk::{SeverityName, is_name};
use super::file::{Check, ConfigError};
use super::schedule::Schedule;
use super::{Group, Login};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) select: Select,
    pub(crate) target: Target,
    /// An attempt that takes longer has failed.
    pub(crate) timeout_ms: u32,
}

/// What a route wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Select {
    pub(crate) severity: SeverityName,
    /// Patterns; one of each list must match, an empty list takes all.
    pub(crate) kinds: Vec<String>,
    pub(crate) devices: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) transitions: Vec<String>,
    /// Only what was escalated, and the end of it.
    pub(crate) escalated_only: bool,
    pub(crate) schedule: Option<Schedule>,
}

/// Where a route goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `{prefix}/alerts/{group}/{severity}` at the broker.
    Mqtt,
    Webhook(Webhook),
    Alertmanager(Http),
    Smtp(Smtp),
}

/// An HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) url: String,
    /// Who may vouch for the server; PEM.
    pub(crate) ca_file: PathBuf,
    /// A file with a token for `Authorization: Bearer`; read at each attempt.
    pub(crate) token_file: Option<PathBuf>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) http: Http,
    /// A file with the key of the signature; read at each attempt.
    pub(crate) key_file: Option<PathBuf>,
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Smtp {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: SmtpTls,
    pub(crate) ca_file: PathBuf,
    pub(crate) login: Option<Login>,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmtpTls {
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS, or no mail.
    Starttls,
    /// In the clear: for a server of this machine.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Mqtt,
    Webhook,
    Alertmanager,
    Smtp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    name: String,
    kind: Kind,
    #[serde(default)]
    severity: SeverityName,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    transitions: Option<Vec<String>>,
    #[serde(default)]
    escalated_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    schedule: Vec<String>,
    timezone: Option<String>,
    timeout_ms: Option<u32>,
    url: Option<String>,
    key_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    host: Option<String>,
    port: Option<u16>,
    tls: Option<SmtpTls>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
}

/// What a route is told unless it says otherwise.
const TRANSITIONS: [&str; 4] = ["raised", "escalated", "cleared", "closed"];
const TRANSITIONS_ALL: [&str; 5] = ["raised", "escalated", "acknowledged", "cleared", "closed"];
const TIMEOUT_MS: u32 = 10_000;
/// Where Debian keeps those who vouch for the servers of the world.
const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
const ROUTES_MAX: usize = 64;

impl Check<'_> {
    pub(super) fn routes(
        &self,
        tables: Vec<RouteTable>,
        groups: &[Group],
    ) -> Result<Vec<Route>, ConfigError> {
        if tables.len() > ROUTES_MAX {
            return Err(self.value("route", tables.len(), "at most 64 routes"));
        }
        let mut routes: Vec<Route> = Vec::new();
        for table in tables {
            if !is_name(&table.name) || routes.iter().any(|route| route.name == table.name) {
                let allowed = "1 to 32 of a-z, 0-9, '_' and '-', each name once";
                return Err(self.value("route.name", table.name, allowed));
            }
            routes.push(self.route(table, groups)?);
        }
        Ok(routes)
    }

    fn route(&self, table: RouteTable, groups: &[Group]) -> Result<Route, ConfigError> {
        let timeout_ms = table.timeout_ms.unwrap_or(TIMEOUT_MS);
        if !(100..=60_000).contains(&timeout_ms) {
            return Err(self.value("route.timeout_ms", timeout_ms, "100 to 60000"));
        }
        let target = self.target(&table)?;
        Ok(Route {
            select: self.select(&table, groups)?,
            name: table.name,
            target,
            timeout_ms,
        })
    }

    fn select(&self, table: &RouteTable, groups: &[Group]) -> Result<Select, ConfigError> {
        for group in &table.groups {
            if !groups.iter().any(|known| known.name == *group) {
                let allowed = "names of [[group]] sections";
                return Err(self.value("route.groups", group, allowed));
            }
        }
        for (key, patterns) in [
            ("route.kinds", &table.kinds),
            ("route.devices", &table.devices),
            ("route.roles", &table.roles),
        ] {
            if patterns.iter().any(String::is_empty) {
                return Err(self.value(key, "", "patterns such as \"limit_*\""));
            }
        }
        let transitions = match &table.transitions {
            Some(list) => list.clone(),
            None => TRANSITIONS.map(str::to_owned).to_vec(),
        };
        let unknown = transitions
            .iter()
            .find(|name| !TRANSITIONS_ALL.contains(&name.as_str()));
        if let Some(name) = unknown {
            let allowed = "raised, escalated, acknowledged, cleared, closed";
            return Err(self.value("route.transitions", name, allowed));
        }
        let zone = table.timezone.as_deref().unwrap_or("UTC");
        let schedule = match table.schedule.is_empty() {
            true => {
                self.absent(
                    "route.timezone",
                    table.timezone.as_ref(),
                    "only with schedule",
                )?;
                None
            }
            false => Some(
                Schedule::parse(&table.schedule, zone)
                    .map_err(|bad| self.value(bad.key, bad.value, bad.allowed))?,
            ),
        };
        Ok(Select {
            severity: table.severity,
            kinds: table.kinds.clone(),
            devices: table.devices.clone(),
            groups: table.groups.clone(),
            roles: table.roles.clone(),
            transitions,
            escalated_only: table.escalated_only,
            schedule,
        })
    }

    fn target(&self, table: &RouteTable) -> Result<Target, ConfigError> {
        let http = matches!(table.kind, Kind::Webhook | Kind::Alertmanager);
        let smtp = table.kind == Kind::Smtp;
        let only_http = "only for a webhook or an alertmanager";
        let only_smtp = "only for smtp";
        if !http {
            self.absent("route.url", table.url.as_ref(), only_http)?;
            self.absent("route.token_file", table.token_file.as_ref(), only_http)?;
        }
        if table.kind != Kind::Webhook {
            self.absent(
                "route.key_file",
                table.key_file.as_ref(),
                "only for a webhook",
            )?;
        }
        if table.kind == Kind::Mqtt {
            let allowed = "nothing here; the broker is that of [broker]";
            self.absent("route.ca_file", table.ca_file.as_ref(), allowed)?;
        }
        if !smtp {
            self.absent("route.host", table.host.as_ref(), only_smtp)?;
            self.absent("route.port", table.port.as_ref(), only_smtp)?;
            self.absent("route.tls", table.tls.as_ref(), only_smtp)?;
            self.absent("route.username", table.username.as_ref(), only_smtp)?;
            self.absent(
                "route.password_file",
                table.password_file.as_ref(),
                only_smtp,
            )?;
            self.absent("route.from", table.from.as_ref(), only_smtp)?;
            self.absent("route.to", table.to.first(), only_smtp)?;
        }
        match table.kind {
            Kind::Mqtt => Ok(Target::Mqtt),
            Kind::Webhook => {
                let key_file = table.key_file.as_ref().map(|file| self.beside(file));
                if let Some(file) = &key_file {
                    self.secret("route.key_file", file)?;
                }
                let http = self.http(table)?;
                Ok(Target::Webhook(Webhook { http, key_file }))
            }
            Kind::Alertmanager => Ok(Target::Alertmanager(self.http(table)?)),
            Kind::Smtp => self.smtp(table),
        }
    }

    fn ca_file(&self, table: &RouteTable, is_used: bool) -> Result<PathBuf, ConfigError> {
        let file = table.ca_file.as_ref().map(|file| self.beside(file));
        let file = file.unwrap_or_else(|| PathBuf::from(CA_FILE));
        if is_used {
            self.readable("route.ca_file", &file)?;
        }
        Ok(file)
    }

    fn http(&self, table: &RouteTable) -> Result<Http, ConfigError> {
        let url = table.url.clone().unwrap_or_default();
        let allowed = "http://host:port/path or https://host:port/path, without a password";
        let parsed: hyper::Uri = url
            .parse()
            .map_err(|_| self.value("route.url", &url, allowed))?;
        let is_tls = parsed.scheme_str() == Some("https");
        let is_known = is_tls || parsed.scheme_str() == Some("http");
        let authority = parsed
            .authority()
            .map_or("", |authority| authority.as_str());
        if !is_known || authority.is_empty() || authority.contains('@') {
            // A password is not repeated in a log.
            let shown = if authority.contains('@') {
                "(with a user)"
            } else {
                &url
            };
            return Err(self.value("route.url", shown, allowed));
        }
        let token_file = table.token_file.as_ref().map(|file| self.beside(file));
        if let Some(file) = &token_file {
            self.secret("route.token_file", file)?;
        }
        Ok(Http {
            url,
            ca_file: self.ca_file(table, is_tls)?,
            token_file,
        })
    }

    fn smtp(&self, table: &RouteTable) -> Result<Target, ConfigError> {
        let host = table.host.clone().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| self.value("route.host", "", "the name of a mail server"))?;
        let tls = table.tls.unwrap_or(SmtpTls::Starttls);
        let port = table.port.unwrap_or(match tls {
            SmtpTls::Tls => 465,
            SmtpTls::Starttls => 587,
            SmtpTls::None => 25,
        });
        if port == 0 {
            return Err(self.value("route.port", port, "1 to 65535"));
        }
        let login = match (&table.username, &table.password_file) {
            (None, None) => None,
            (Some(username), Some(file)) => {
                let password_file = self.beside(file);
                self.secret("route.password_file", &password_file)?;
                Some(Login {
                    username: username.clone(),
                    password_file,
                })
            }
            (Some(username), None) => {
                return Err(self.value("route.username", username, "only with password_file"));
            }
            (None, Some(file)) => {
                let allowed = "only with username";
                return Err(self.value("route.password_file", file.display(), allowed));
            }
        };
        if login.is_some() && tls == SmtpTls::None {
            let allowed = "tls or starttls where there is a password";
            return Err(self.value("route.tls", "none", allowed));
        }
        let mailbox = |key, text: &str| match text.parse::<lettre::message::Mailbox>() {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(self.value(key, text, "an address such as \"Desk <desk@example.org>\"")),
        };
        let from = mailbox("route.from", table.from.as_deref().unwrap_or_default())?;
        if table.to.is_empty() {
            return Err(self.value("route.to", "", "at least one address"));
        }
        let to = table
            .to
            .iter()
            .map(|address| mailbox("route.to", address))
            .collect::<Result<_, _>>()?;
        Ok(Target::Smtp(Smtp {
            host,
            port,
            tls,
            ca_file: self.ca_file(table, tls != SmtpTls::None)?,
            login,
            from,
            to,
        }))
    }
}

/// The tables that would give these again.
pub(super) fn route_tables(routes: &[Route]) -> Vec<RouteTable> {
    routes.iter().map(route_table).collect()
}

fn route_table(route: &Route) -> RouteTable {
    let Select {
        severity,
        kinds,
        devices,
        groups,
        roles,
        transitions,
        escalated_only,
        schedule,
    } = route.select.clone();
    let mut table = RouteTable {
        name: route.name.clone(),
        kind: Kind::Mqtt,
        severity,
        kinds,
        devices,
        groups,
        roles,
        transitions: Some(transitions),
        escalated_only,
        schedule: schedule.as_ref().map(Schedule::texts).unwrap_or_default(),
        timezone: schedule.as_ref().map(Schedule::zone),
        timeout_ms: Some(route.timeout_ms),
        url: None,
        key_file: None,
        token_file: None,
        ca_file: None,
        host: None,
        port: None,
        tls: None,
        username: None,
        password_file: None,
        from: None,
        to: Vec::new(),
    };
    match &route.target {
        Target::Mqtt => {}
        Target::Webhook(webhook) => {
            table.kind = Kind::Webhook;
            table.http(&webhook.http);
            table.key_file = webhook.key_file.clone();
        }
        Target::Alertmanager(http) => {
            table.kind = Kind::Alertmanager;
            table.http(http);
        }
        Target::Smtp(smtp) => {
            table.kind = Kind::Smtp;
            table.host = Some(smtp.host.clone());
            table.port = Some(smtp.port);
            table.tls = Some(smtp.tls);
            table.ca_file = Some(smtp.ca_file.clone());
            table.username = smtp.login.as_ref().map(|login| login.username.clone());
            table.password_file = smtp.login.as_ref().map(|login| login.password_file.clone());
            table.from = Some(smtp.from.clone());
            table.to = smtp.to.clone();
        }
    }
    table
}

impl RouteTable {
    fn http(&mut self, http: &Http) {
        self.url = Some(http.url.clone());
        self.ca_file = Some(http.ca_file.clone());
        self.token_file = http.token_file.clone();
    }
}
