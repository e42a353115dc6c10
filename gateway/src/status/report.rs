//! The answer to "how are you": plain data, one object of JSON.
//!
//! Promises: keys are only added. Never: a secret.

use std::collections::BTreeMap;

use firmware_shared::alert::Alert;
use serde::Serialize;

use crate::deliver::DeliverStats;
use crate::sample::SensorState;

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// The name of the device.
    pub device: String,
    /// Of this process.
    pub epoch: String,
    /// Of this boot.
    pub boot_id: String,
    /// The software.
    pub version: String,
    /// Since the start of the process, ms.
    pub uptime_ms: u64,
    /// What a reading taken at this moment would carry, ms.
    pub stamp_ms: u64,
    /// How stamps relate to UTC.
    pub clock: ClockReport,
    /// `disk`, or `ram` while the disk cannot be used.
    pub mode: &'static str,
    /// Which connections live.
    pub link: LinkReport,
    /// The streams of this epoch, by lane.
    pub lanes: BTreeMap<&'static str, LaneReport>,
    /// Spool and link in detail.
    pub deliver: DeliverStats,
    /// What is measured.
    pub sensors: Vec<SensorReport>,
    /// What is wrong.
    pub alerts_open: Vec<OpenAlert>,
    /// Readings between samplers and pipeline.
    pub queue_depth: usize,
    /// Readings of this process that were lost between samplers and spool.
    pub lost: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Largest resident memory since the start, bytes.
    pub vm_hwm_bytes: u64,
}

/// How stamps relate to UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockReport {
    /// Who says so.
    pub source: &'static str,
    /// Bound of the error at this moment, ms.
    pub error_ms: Option<u64>,
    /// UTC at this moment, RFC 3339.
    pub utc: Option<String>,
}

/// Which connections live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// Telemetry, health and acknowledgements.
    pub main: bool,
    /// Alerts.
    pub alert: bool,
}

/// One stream of this epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LaneReport {
    /// The number that the next record gets.
    pub next_seq: u64,
    /// Bytes held in the spool, of all epochs.
    pub held_bytes: u64,
    /// Numbers held and not acknowledged, of all epochs.
    pub unacked: u64,
    /// Numbers acknowledged since the start.
    pub acked: u64,
    /// Numbers lost to make room since the start.
    pub evicted: u64,
    /// Numbers lost to damage since the start.
    pub corrupt: u64,
}

/// One sensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SensorReport {
    /// Its index.
    pub index: u8,
    /// Its name.
    pub name: String,
    /// What it measures for the vehicle.
    pub role: String,
    /// How it is.
    pub state: SensorState,
    /// The last valid value.
    pub last: Option<LastValue>,
    /// Age of the last valid value, ms.
    pub age_ms: Option<u64>,
    /// Whether its detector judges (`ready`), is too young to (`cold`), or there is none.
    pub detector: Option<&'static str>,
    /// The last fault, while there is no valid value after it.
    pub fault: Option<&'static str>,
    /// Readings so far.
    pub readings: u64,
    /// Faults among them.
    pub faults: u64,
}

/// A value for people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LastValue {
    /// A temperature.
    Temperature {
        /// Degrees Celsius.
        deg_c: f64,
    },
    /// Relative humidity or another number.
    Number {
        /// The number.
        value: f64,
        /// Its unit.
        unit: &'static str,
    },
    /// A contact.
    Input {
        /// Whether it is active.
        active: bool,
    },
    /// A position.
    Position {
        /// Degrees, north positive.
        lat: f64,
        /// Degrees, east positive.
        lon: f64,
    },
}

/// One open alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenAlert {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub kind: String,
    /// The sensor, or the gateway.
    pub sensor: String,
    /// How bad it is.
    pub severity: &'static str,
    /// Its last transition.
    pub state: &'static str,
    /// When that was, ms of stamps.
    pub boottime_ms: u64,
    /// A sentence.
    pub text: String,
}

impl From<&Alert> for OpenAlert {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id.to_string(),
            kind: alert.kind.to_string(),
            sensor: alert.sensor.to_string(),
            severity: alert.severity.name(),
            state: alert.state.name(),
            boottime_ms: alert.boottime_ms,
            text: alert.text.to_string(),
        }
    }
}
