//! Alerts: rare, read by people and by any MQTT client, hence JSON on the wire.
//!
//! Promises: the JSON carries its own epoch and seq; the bytes are sealed once and are the same on disk
//! and wire; the keys are the contract's. Never: an alert that only makes sense with another message.

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, Epoch, SeqRange};

/// The longest alert, bytes of JSON.
pub const ALERT_LEN_MAX: usize = 4096;

/// One transition of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same for all transitions of one alert: device, epoch and number of its first transition.
    pub id: heapless::String<80>,
    /// The device.
    pub device: DeviceId,
    /// The process start that issued `seq`.
    pub epoch: Epoch,
    /// The number in the alert lane.
    pub seq: u64,
    /// The transition.
    pub state: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `limit_high`, `runaway`, `stuck`, `sensor_fault`, `spool_degraded`, ...
    pub kind: heapless::String<32>,
    /// The sensor's name, or the part of the gateway.
    pub sensor: heapless::String<32>,
    /// What was measured.
    pub value: Option<f64>,
    /// The unit of the numbers.
    pub unit: heapless::String<8>,
    /// What was expected.
    pub expected: Option<f64>,
    /// Lower end of what is allowed or expected.
    pub low: Option<f64>,
    /// Upper end of what is allowed or expected.
    pub high: Option<f64>,
    /// CLOCK_BOOTTIME of the transition, ms.
    pub boottime_ms: u64,
    /// UTC of the transition, RFC 3339; `None` before the first time anchor.
    pub utc: Option<heapless::String<32>>,
    /// Whether it reaches its reader late; the device writes `false`, whoever passes it on late `true`.
    pub late: bool,
    /// Telemetry numbers around the transition, for the black-box window.
    pub window: Option<SeqRange>,
    /// A sentence that a driver understands.
    pub text: heapless::String<240>,
    /// How unusual the detector found it, 0 to 1; 0.5 is where an alert is reasonable. Left out where no
    /// detector judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// For how long the condition had lasted, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The parts of the detector that contributed most, the first one most of all.
    #[serde(default, skip_serializing_if = "heapless::Vec::is_empty")]
    pub heads: heapless::Vec<HeadShare, 2>,
    /// The load of the trip, as its profile names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_id: Option<heapless::String<64>>,
    /// The version of the trip profile that this is about, or that was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_version: Option<u64>,
}

/// A part of the detector and its share in the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadShare {
    /// Which part.
    pub head: heapless::String<16>,
    /// Its share, 0 to 1.
    pub share: f64,
}

/// The transitions of an alert, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It began, or is back within the hour in which it is not told again.
    Raised,
    /// It got worse or nobody acted.
    Escalated,
    /// The cause is gone; the same alert may be raised again until it is closed.
    Cleared,
    /// Done with: what comes later is another alert. An event without a duration has this state alone.
    Closed,
}

impl AlertState {
    /// The name in JSON and databases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Cleared => "cleared",
            Self::Closed => "closed",
        }
    }
}

/// How bad an alert is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For those who maintain the vehicle.
    Diagnostic,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// The name in JSON and databases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Diagnostic => "diagnostic",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Diagnostic, Self::Warning, Self::Critical]
            .into_iter()
            .find(|s| s.name() == name)
    }
}
