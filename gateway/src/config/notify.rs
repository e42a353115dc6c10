//! `[local_broker]`, `[hook]` and `[buzzer]`: how people on the vehicle are told without any uplink.
//!
//! Promises: all of it is off by default; a broker that others than this machine can reach asks for a
//! password. Never: a secret in the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use firmware_shared::alert::Severity;
use toml::Value;

use super::host::GpioChip;
use super::keys::{self, LoginFile};
use super::sensor::SEVERITIES;
use super::{ConfigError, Section};

/// What tells people on the vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyConfig {
    /// A broker for displays.
    pub broker: Option<LocalBrokerConfig>,
    /// A command.
    pub hook: Option<HookConfig>,
    /// A line that makes noise.
    pub buzzer: Option<BuzzerConfig>,
}

/// `[local_broker]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBrokerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may connect; everybody, without it.
    pub login: Option<LoginFile>,
    /// The program that does it; the one that is installed beside ours, without it.
    pub program: Option<PathBuf>,
}

/// `[hook]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Only alerts that are at least so bad.
    pub severity: Severity,
    /// How long it may run, ms.
    pub timeout_ms: u64,
    /// How many alerts may wait for it.
    pub queue_count: usize,
}

/// `[buzzer]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuzzerConfig {
    /// The chip of the line; a simulated one is a file that is written to.
    pub chip: GpioChip,
    /// The line's offset on it.
    pub line: u32,
    /// A low level is the active one.
    pub active_low: bool,
    /// Only alerts that are at least so bad.
    pub severity: Severity,
    /// How long it sounds, unless the alert clears before, ms.
    pub on_ms: u64,
}

pub(super) fn read(root: &mut Section<'_>) -> Result<NotifyConfig, ConfigError> {
    Ok(NotifyConfig {
        broker: read_broker(root)?,
        hook: read_hook(root)?,
        buzzer: read_buzzer(root)?,
    })
}

fn read_broker(root: &mut Section<'_>) -> Result<Option<LocalBrokerConfig>, ConfigError> {
    let mut section = root.section("local_broker")?;
    let allowed = "an address with a port such as \"127.0.0.1:1884\"";
    let Some(text) = section.text_if_any("listen", allowed)? else {
        root.adopt("local_broker", section)?;
        return Ok(None);
    };
    let listen: SocketAddr = text
        .parse()
        .map_err(|_| section.refuse("listen", Value::String(text), allowed))?;
    let login = keys::read_login(&mut section, ["username", "password_file"])?;
    if login.is_none() && !listen.ip().is_loopback() {
        let allowed = "a user name with password_file, or a loopback address to listen on";
        return Err(section.missing("username", allowed));
    }
    let program = section.path_if_any("program")?;
    root.adopt("local_broker", section)?;
    Ok(Some(LocalBrokerConfig {
        listen,
        login,
        program,
    }))
}

fn read_hook(root: &mut Section<'_>) -> Result<Option<HookConfig>, ConfigError> {
    let mut section = root.section("hook")?;
    let allowed = "a program with its path and its arguments, each a text";
    let command = section.list("command", allowed, |text| Some(text.to_owned()))?;
    let Some(program) = command.first() else {
        root.adopt("hook", section)?;
        return Ok(None);
    };
    if !PathBuf::from(program).is_absolute() {
        return Err(section.refuse("command", format!("{program:?}"), allowed));
    }
    let severity = section.choice("severity", Some("warning"), &SEVERITIES)?;
    let timeout_s = section.integer("timeout_s", 10_u32, 1..=300)?;
    let queue_count = section.integer("queue_count", 16_u16, 1..=256)?;
    root.adopt("hook", section)?;
    Ok(Some(HookConfig {
        command,
        severity,
        timeout_ms: u64::from(timeout_s) * 1000,
        queue_count: usize::from(queue_count),
    }))
}

fn read_buzzer(root: &mut Section<'_>) -> Result<Option<BuzzerConfig>, ConfigError> {
    let mut section = root.section("buzzer")?;
    let allowed = "a path such as \"/dev/gpiochip0\", or \"sim:FILE\"";
    let Some(text) = section.text_if_any("chip", allowed)? else {
        root.adopt("buzzer", section)?;
        return Ok(None);
    };
    let chip = match text.strip_prefix("sim:") {
        Some(file) => GpioChip::Scenario(section.resolve("chip", "sim:", file)),
        None => GpioChip::Device(section.resolve("chip", "", &text)),
    };
    let line = section.required_integer("line", 0_u32..=1_023)?;
    let active_low = section.boolean("active_low", false)?;
    let severity = section.choice("severity", Some("critical"), &SEVERITIES)?;
    let on_s = section.integer("on_s", 30_u32, 1..=3_600)?;
    root.adopt("buzzer", section)?;
    Ok(Some(BuzzerConfig {
        chip,
        line,
        active_low,
        severity,
        on_ms: u64::from(on_s) * 1000,
    }))
}
