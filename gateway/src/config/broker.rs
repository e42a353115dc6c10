//! `[broker]`: where frames go, and what counts as delivered.

use firmware_shared::topic;

use super::keys::{self, KeyFiles};
use super::{ConfigError, Section};
use crate::deliver::AckLevel;
use crate::forward::mqtt::MqttVersion;
use crate::forward::transport::{BrokerAddress, Route};

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
    /// Longest wait before the next connection after the broker ended one, ms.
    pub reconnect_spread_ms: u64,
    /// Brokers that are tried when the first gives no connection, in their order.
    pub fallbacks: Vec<BrokerAddress>,
    /// How long, up to twice this, before a vehicle with a fallback looks for the first, ms.
    pub return_ms: u64,
    /// How to get there.
    pub route: Route,
    /// The version of the protocol.
    pub version: MqttVersion,
    /// Passwords and certificates.
    pub keys: KeyFiles,
    /// Whether commands of the centre are listened for.
    pub commands: bool,
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

const ACK_LEVELS: [(&str, AckLevel); 2] =
    [("central", AckLevel::Central), ("puback", AckLevel::Puback)];

/// Whether it is in TLS, in a websocket; the port that is usual.
type Carrier = (bool, bool, u16);

const TRANSPORTS: [(&str, Carrier); 4] = [
    ("tcp", (false, false, 1883)),
    ("tls", (true, false, 8883)),
    ("ws", (false, true, 80)),
    ("wss", (true, true, 443)),
];
const VERSIONS: [(&str, MqttVersion); 2] = [("3.1.1", MqttVersion::V3_1_1), ("5", MqttVersion::V5)];
const PROXY_PORT: u16 = 3128;

pub(super) fn read(root: &mut Section<'_>) -> Result<BrokerConfig, ConfigError> {
    let mut section = root.section("broker")?;
    let host = section.text("host", "a host name or address")?;
    let (tls, is_websocket, usual_port) = section.choice("transport", Some("tcp"), &TRANSPORTS)?;
    let port = section.integer("port", usual_port, 1..=u16::MAX)?;
    let version = section.choice("mqtt", Some("3.1.1"), &VERSIONS)?;
    let fallbacks = section.list("fallbacks", "\"host\" or \"host:port\"", |text| {
        address(text, usual_port)
    })?;
    let return_s = section.integer("return_s", 600_u32, 1..=86_400)?;
    let route = Route {
        tls,
        websocket: read_path(&mut section, is_websocket)?,
        proxy: read_proxy(&mut section)?,
    };
    let keys = read_keys(&mut section, &route)?;
    let prefix = read_prefix(&mut section)?;
    // Below the usual idle time of carrier NAT, and cheap at 2 bytes.
    let keep_alive_s_min = match version {
        MqttVersion::V3_1_1 => 1,
        MqttVersion::V5 => 5,
    };
    let keep_alive_s = section.integer("keep_alive_s", 30_u16, keep_alive_s_min..=1200)?;
    let (backoff_ms_min, backoff_ms_max) = read_span(
        &mut section,
        ["backoff_ms_min", "backoff_ms_max"],
        [500, 57_000],
        10,
    )?;
    // A broker that restarts gets 40 of 2,000 vehicles a second; a small fleet may come back sooner.
    let reconnect_spread_ms = section.integer("reconnect_spread_ms", 55_000_u32, 0..=86_400_000)?;
    let ack = section.choice("ack", Some("central"), &ACK_LEVELS)?;
    // A centre commits within a second; half a minute leaves room for a slow uplink.
    let (resend_ms_min, resend_ms_max) = read_span(
        &mut section,
        ["resend_ms_min", "resend_ms_max"],
        [30_000, 600_000],
        100,
    )?;
    // A broker may end the connection of whoever subscribes to what its rules do not allow.
    let commands = section.boolean("commands", true)?;
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
        reconnect_spread_ms: u64::from(reconnect_spread_ms),
        fallbacks,
        return_ms: u64::from(return_s) * 1000,
        route,
        version,
        keys,
        ack,
        resend_ms_min,
        resend_ms_max,
        commands,
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

/// `host`, `host:port`, or `[address]:port` where the address has colons.
fn address(text: &str, usual_port: u16) -> Option<BrokerAddress> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
            (host, port.parse().ok().filter(|port| *port > 0)?)
        }
        _ => (text, usual_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_word = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_word.then(|| BrokerAddress {
        host: host.to_owned(),
        port,
    })
}

fn read_path(section: &mut Section<'_>, is_websocket: bool) -> Result<Option<String>, ConfigError> {
    let allowed = "a path that begins with / together with transport = \"ws\" or \"wss\"";
    let path = section.text_if_any("path", allowed)?;
    match path {
        None => Ok(is_websocket.then(|| "/mqtt".to_owned())),
        Some(path) if is_websocket && path.starts_with('/') => Ok(Some(path)),
        Some(path) => Err(section.refuse("path", toml::Value::String(path), allowed)),
    }
}

fn read_proxy(section: &mut Section<'_>) -> Result<Option<BrokerAddress>, ConfigError> {
    let allowed = "\"host\" or \"host:port\" of an HTTP proxy";
    let Some(text) = section.text_if_any("proxy", allowed)? else {
        return Ok(None);
    };
    match address(&text, PROXY_PORT) {
        Some(proxy) => Ok(Some(proxy)),
        None => Err(section.refuse("proxy", toml::Value::String(text), allowed)),
    }
}

fn read_keys(section: &mut Section<'_>, route: &Route) -> Result<KeyFiles, ConfigError> {
    let login = keys::read_login(section, ["username", "password_file"])?;
    let proxy_keys = ["proxy_username", "proxy_password_file"];
    let proxy_login = keys::read_login(section, proxy_keys)?;
    if let Some(login) = proxy_login.as_ref().filter(|_| route.proxy.is_none()) {
        let value = toml::Value::String(login.username.clone());
        return Err(section.refuse("proxy_username", value, "a user name together with proxy"));
    }
    Ok(KeyFiles {
        login,
        proxy_login,
        tls: keys::read_tls(section, route.tls)?,
    })
}
