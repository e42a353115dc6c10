//! `[broker]`: where frames go, and what counts as delivered.

use std::fmt;
use std::path::Path;

use firmware_shared::topic;
use rustix::fs::Mode;

use super::{ConfigError, Section};
use crate::deliver::AckLevel;

/// `[broker]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Topic prefix.
    pub prefix: String,
    /// MQTT keep-alive, seconds.
    pub keep_alive_s: u16,
    /// Shortest wait before the next connection, ms.
    pub backoff_ms_min: u64,
    /// Longest wait before the next connection, ms.
    pub backoff_ms_max: u64,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// What releases a frame.
    pub ack: AckLevel,
    /// Shortest time before a frame without an acknowledgement is sent again, ms.
    pub resend_ms_min: u64,
    /// Longest such time, ms.
    pub resend_ms_max: u64,
    /// Time without any acknowledgement after which the centre counts as silent, ms.
    pub centre_silent_ms: u64,
    /// Time between two status messages, ms.
    pub status_period_ms: u64,
}

/// User name and password; the password never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ...)", self.username)
    }
}

const ACK_LEVELS: [(&str, AckLevel); 2] =
    [("central", AckLevel::Central), ("puback", AckLevel::Puback)];

pub(super) fn read(root: &mut Section<'_>) -> Result<BrokerConfig, ConfigError> {
    let mut section = root.section("broker")?;
    let host = section.text("host", "a host name or address")?;
    let port = section.integer("port", 1883_u16, 1..=u16::MAX)?;
    let prefix = read_prefix(&mut section)?;
    // Below the usual idle time of carrier NAT, and cheap at 2 bytes.
    let keep_alive_s = section.integer("keep_alive_s", 30_u16, 1..=1200)?;
    let (backoff_ms_min, backoff_ms_max) = read_span(
        &mut section,
        ["backoff_ms_min", "backoff_ms_max"],
        [500, 60_000],
        10,
    )?;
    let credentials = read_credentials(&mut section)?;
    let ack = section.choice("ack", Some("central"), &ACK_LEVELS)?;
    // A centre commits within a second; half a minute leaves room for a slow uplink.
    let (resend_ms_min, resend_ms_max) = read_span(
        &mut section,
        ["resend_ms_min", "resend_ms_max"],
        [30_000, 600_000],
        100,
    )?;
    let centre_silent_ms = section.integer("centre_silent_ms", 60_000_u32, 1000..=86_400_000)?;
    let status_period_s = section.integer("status_period_s", 30_u32, 1..=86_400)?;
    root.adopt("broker", section)?;
    Ok(BrokerConfig {
        host,
        port,
        prefix,
        keep_alive_s,
        backoff_ms_min,
        backoff_ms_max,
        credentials,
        ack,
        resend_ms_min,
        resend_ms_max,
        centre_silent_ms: u64::from(centre_silent_ms),
        status_period_ms: u64::from(status_period_s) * 1000,
    })
}

fn read_prefix(section: &mut Section<'_>) -> Result<String, ConfigError> {
    let allowed =
        "1 to 48 characters out of a-z, A-Z, 0-9, _ and -, with at most 3 slashes between";
    let prefix = section.text_or("prefix", topic::PREFIX_DEFAULT, allowed)?;
    if topic::is_valid_prefix(&prefix) {
        Ok(prefix)
    } else {
        Err(section.refuse("prefix", toml::Value::String(prefix), allowed))
    }
}

/// Two times, the first of which must not be above the second, ms.
fn read_span(
    section: &mut Section<'_>,
    [min_name, max_name]: [&'static str; 2],
    [min_default, max_default]: [u32; 2],
    least: u32,
) -> Result<(u64, u64), ConfigError> {
    let range = least..=86_400_000;
    let min = section.integer(min_name, min_default, range.clone())?;
    let max = section.integer(max_name, max_default.max(min), range)?;
    if min > max {
        let allowed = format!("at least {min_name}, which is {min}");
        return Err(section.refuse(max_name, max, allowed));
    }
    Ok((u64::from(min), u64::from(max)))
}

fn read_credentials(section: &mut Section<'_>) -> Result<Option<Credentials>, ConfigError> {
    let username = section.text_if_any("username", "a user name")?;
    let file = section.path_if_any("password_file")?;
    match (username, file) {
        (None, None) => Ok(None),
        (Some(username), Some(file)) => {
            let password = read_password(section, &file)?;
            Ok(Some(Credentials { username, password }))
        }
        (Some(username), None) => {
            let value = toml::Value::String(username);
            Err(section.refuse("username", value, "a user name together with password_file"))
        }
        (None, Some(file)) => {
            let allowed = "a file together with username";
            Err(section.refuse("password_file", file.display(), allowed))
        }
    }
}

/// The first line of a file that only its owner can read.
fn read_password(section: &Section<'_>, file: &Path) -> Result<String, ConfigError> {
    let refuse = |allowed: &str| section.refuse("password_file", file.display(), allowed);
    let stat = rustix::fs::stat(file).map_err(|_| refuse("a file that can be read"))?;
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        return Err(refuse("a file that only its owner can read (chmod 600)"));
    }
    let text = std::fs::read_to_string(file).map_err(|_| refuse("a text file that can be read"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(refuse("a file whose first line is the password")),
    }
}
