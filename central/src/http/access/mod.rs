//! Who asks, and what they may.
//!
//! Promises: without a users file only this machine is answered, and only under its own name; with one, every
//! request but the login says who asks; a role counts as it is in the file now; a request that changes something
//! comes from the page itself or from a program that names itself, never from another site. Never: a password in
//! a log, a session that outlives its user.

mod guard;
mod password;
mod rate;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use guard::{Admin, Operator, Viewer, guard};
pub(crate) use password::hash;
use rate::Rates;
use sessions::{Session, Sessions};
use users::Users;
pub(crate) use users::{check as check_users, is_user_name};

use super::problem::Problem;
use crate::clock;
use crate::config::{self, Proxy};

/// The cookie of a session.
pub(super) const COOKIE: &str = "fleet_session";
/// The header that a page sends with what changes something.
pub(super) const CSRF_HEADER: &str = "x-fleet-csrf";
/// A person mistypes a password a few times, a machine for ever.
const LOGINS_BURST: u32 = 5;
const LOGINS_PER_MINUTE: u32 = 5;

/// What somebody may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Look.
    Viewer,
    /// Acknowledge and write notes.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// How somebody was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    /// This machine, without a login.
    Local,
    /// A cookie, which a browser sends whoever asks it to.
    Cookie { csrf: String },
    /// A header that only a program sends.
    Bearer,
    /// A proxy's word.
    Proxy,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) role: Role,
    proof: Proof,
}

impl Identity {
    /// What the page must send along with what changes something.
    pub(crate) fn csrf(&self) -> Option<&str> {
        match &self.proof {
            Proof::Cookie { csrf } => Some(csrf),
            _ => None,
        }
    }

    pub(crate) fn can_log_out(&self) -> bool {
        matches!(self.proof, Proof::Cookie { .. } | Proof::Bearer)
    }
}

/// The rules of this server.
#[derive(Debug)]
pub(crate) struct Access {
    users: Option<Mutex<Users>>,
    proxy: Option<Proxy>,
    is_loopback: bool,
    pub(super) is_tls: bool,
    sessions: Mutex<Sessions>,
    requests: Mutex<Rates>,
    logins: Mutex<Rates>,
    /// Passwords that are computed at once: each takes 19 MiB and a core.
    hashing: Arc<tokio::sync::Semaphore>,
}

/// A poisoned lock holds what it held: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Access {
    pub(super) fn new(http: &config::Page) -> Result<Self, String> {
        let users = http.users_file.as_deref().map(Users::read).transpose()?;
        let limits = http.limits;
        Ok(Self {
            users: users.map(Mutex::new),
            proxy: http.proxy.clone(),
            is_loopback: http.listen.ip().is_loopback(),
            is_tls: http.tls.is_some(),
            sessions: Mutex::new(Sessions::default()),
            requests: Mutex::new(Rates::per_second(
                limits.requests_per_s,
                limits.requests_burst,
            )),
            logins: Mutex::new(Rates::per_minute(LOGINS_PER_MINUTE, LOGINS_BURST)),
            hashing: Arc::new(tokio::sync::Semaphore::new(2)),
        })
    }

    /// Whether people log in here, by name and password.
    pub(super) fn has_login(&self) -> bool {
        self.users.is_some()
    }

    /// Who asks; `None` for nobody that is known. A token that is not good is an error, not nobody.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<Option<Identity>, Problem> {
        let Some(users) = &self.users else {
            return self.local(headers, peer).map(Some);
        };
        let known = |name: String, proof: Proof| {
            let role = lock(users).role(&name)?;
            Some(Identity { name, role, proof })
        };
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value
                .to_str()
                .ok()
                .and_then(|text| text.strip_prefix("Bearer "));
            let session =
                token.and_then(|token| lock(&self.sessions).find(token, clock::monotonic_ms()));
            let identity = session.and_then(|session| known(session.user, Proof::Bearer));
            return identity.map(Some).ok_or_else(|| {
                let detail = "the token is unknown or too old";
                unauthorised(
                    "authorization",
                    "Bearer and a token of POST /api/v1/login",
                    detail,
                )
            });
        }
        if let Some(proxy) = self
            .proxy
            .as_ref()
            .filter(|proxy| proxy.from.contains(&peer))
            && let Some(name) = headers.get(proxy.user_header.as_str())
        {
            let name = name.to_str().unwrap_or_default().to_owned();
            return known(name, Proof::Proxy).map(Some).ok_or_else(|| {
                let limit = "a user of the users file";
                Problem::field(
                    StatusCode::FORBIDDEN,
                    &proxy.user_header,
                    limit,
                    "this user is not known here",
                )
            });
        }
        let Some(token) = cookie(headers) else {
            return Ok(None);
        };
        // The cookie of a session that is over is like none: the page shows its login.
        let session = lock(&self.sessions).find(token, clock::monotonic_ms());
        Ok(session.and_then(|Session { user, csrf, .. }| known(user, Proof::Cookie { csrf })))
    }

    /// This machine under its own name: a name of another site would be that site's script in somebody's browser.
    fn local(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Identity, Problem> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if !self.is_loopback || !peer.is_loopback() || !is_this_machine(host) {
            let limit = "localhost, 127.0.0.1 or [::1], while there is no http.users_file";
            let detail = "without a login only this machine is answered, under its own name";
            return Err(Problem::field(StatusCode::FORBIDDEN, "host", limit, detail));
        }
        Ok(Identity {
            name: "local".to_owned(),
            role: Role::Admin,
            proof: Proof::Local,
        })
    }

    /// Whether a request that changes something may come from where it comes from.
    fn check_origin(
        &self,
        identity: &Identity,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        if method.is_safe() || identity.proof == Proof::Bearer {
            return Ok(());
        }
        let text =
            |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let foreign = |field: &str| {
            let detail = "what changes something must come from this page or carry a bearer token";
            Problem::field(StatusCode::FORBIDDEN, field, "this server itself", detail)
        };
        if let Some(site) = headers.get("sec-fetch-site")
            && site != "same-origin"
            && site != "none"
        {
            return Err(foreign("sec-fetch-site"));
        }
        if let Some(origin) = text(header::ORIGIN) {
            let scheme = if self.is_tls { "https" } else { "http" };
            let behind_proxy = identity.proof == Proof::Proxy;
            let host = text(header::HOST).unwrap_or_default();
            let is_own = origin == format!("{scheme}://{host}")
                || (behind_proxy && origin.strip_prefix("https://") == Some(host));
            if !is_own {
                return Err(foreign("origin"));
            }
        }
        match identity.csrf() {
            Some(csrf) if headers.get(CSRF_HEADER).is_none_or(|sent| sent != csrf) => {
                Err(Problem::field(
                    StatusCode::FORBIDDEN,
                    CSRF_HEADER,
                    "the csrf of GET /api/v1/me",
                    "the request does not carry the token of this session",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Counts a request.
    fn admit(&self, key: &str) -> Result<(), Problem> {
        let left = lock(&self.requests).take(key, clock::monotonic_ms());
        left.map_err(|retry_s| {
            let limit = "http.requests_per_s and http.requests_burst of the configuration";
            let detail = "too many requests from here";
            Problem::field(StatusCode::TOO_MANY_REQUESTS, "rate", limit, detail).retry(retry_s)
        })
    }

    /// Checks name and password, and begins a session.
    ///
    /// # Errors
    /// 401 for a pair that is not known, 429 after too many of them.
    pub(super) async fn log_in(
        &self,
        name: String,
        password: String,
        peer: IpAddr,
    ) -> Result<LoggedIn, Problem> {
        let Some(users) = &self.users else {
            let limit = "nothing: there is no http.users_file, so nobody logs in";
            return Err(Problem::field(
                StatusCode::CONFLICT,
                "name",
                limit,
                "there is no login here",
            ));
        };
        // By address and by name: neither one address for many names nor many addresses for one name.
        let now_ms = clock::monotonic_ms();
        for key in [format!("address {peer}"), format!("name {name}")] {
            lock(&self.logins).take(&key, now_ms).map_err(|retry_s| {
                let limit = format!("{LOGINS_PER_MINUTE} a minute");
                let detail = "too many attempts to log in";
                Problem::field(StatusCode::TOO_MANY_REQUESTS, "name", limit, detail).retry(retry_s)
            })?;
        }
        let stored = lock(users).password_hash(&name);
        let Ok(_turn) = Arc::clone(&self.hashing).acquire_owned().await else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server stops",
            ));
        };
        let is_right =
            tokio::task::spawn_blocking(move || password::verify(stored.as_deref(), &password))
                .await
                .unwrap_or(false);
        let role = lock(users).role(&name).filter(|_| is_right);
        let Some(role) = role else {
            tracing::warn!(user = name.escape_debug().to_string(), %peer, "a login failed");
            return Err(unauthorised(
                "password",
                "the password of this user",
                "name or password are wrong",
            ));
        };
        let started = lock(&self.sessions).begin(&name, clock::monotonic_ms());
        let Ok((token, csrf)) = started else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no random numbers",
            ));
        };
        lock(&self.logins).forget(&format!("name {name}"));
        tracing::info!(user = name, role = role.name(), %peer, "logged in");
        Ok(LoggedIn { token, csrf, role })
    }

    /// Ends the session of a request.
    pub(super) fn log_out(&self, headers: &HeaderMap) {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|text| text.strip_prefix("Bearer "));
        if let Some(token) = bearer.or_else(|| cookie(headers)) {
            lock(&self.sessions).end(token);
        }
    }
}

/// A session that has begun.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) token: String,
    pub(super) csrf: String,
    pub(super) role: Role,
}

fn unauthorised(field: &str, limit: &str, detail: &str) -> Problem {
    Problem::field(StatusCode::UNAUTHORIZED, field, limit, detail)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lists = headers.get_all(header::COOKIE).iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// A `Host` header that names this machine.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
