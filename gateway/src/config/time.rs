//! `[time]`: which clocks of this machine are asked for UTC.
//!
//! Promises: each can be switched off. Never: a clock that is set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{ConfigError, Section};

/// `[time]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeConfig {
    /// Where chrony answers.
    pub chrony: Option<SocketAddr>,
    /// The file that timesyncd touches.
    pub timesyncd: Option<PathBuf>,
    /// The file with the seconds of the RTC.
    pub rtc: Option<PathBuf>,
    /// How wrong the RTC may be, ms.
    pub rtc_error_ms: u64,
    /// How often they are asked, ms.
    pub period_ms: u64,
}

const OFF: &str = "off";

pub(super) fn read(root: &mut Section<'_>, sysfs: &Path) -> Result<TimeConfig, ConfigError> {
    let mut section = root.section("time")?;
    let allowed = "an address such as \"127.0.0.1:323\", or \"off\"";
    let text = section.text_or("chrony", "127.0.0.1:323", allowed)?;
    let chrony = match text.as_str() {
        OFF => None,
        text => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let value = Value::String(text.to_owned());
                return Err(section.refuse("chrony", value, allowed));
            }
        },
    };
    let file = |text: String| (text != OFF).then(|| PathBuf::from(text));
    let synchronised = "/run/systemd/timesync/synchronized";
    let timesyncd = file(section.text_or("timesyncd", synchronised, "a path, or \"off\"")?);
    let clock = sysfs.join("class/rtc/rtc0/since_epoch");
    let clock = clock.to_string_lossy();
    let rtc = file(section.text_or("rtc", &clock, "a path, or \"off\"")?);
    // A cheap clock after half a year without being set.
    let rtc_error_s = section.integer("rtc_error_s", 300_u32, 1..=4_000_000)?;
    let period_s = section.integer("period_s", 60_u32, 1..=86_400)?;
    root.adopt("time", section)?;
    Ok(TimeConfig {
        chrony,
        timesyncd,
        rtc,
        rtc_error_ms: u64::from(rtc_error_s) * 1000,
        period_ms: u64::from(period_s) * 1000,
    })
}
