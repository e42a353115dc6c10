//! What the desk knows about one alert.
//!
//! Promises: one item per alert id, whatever is repeated; keys of its JSON are only added. Never: an item without
//! a device or a members' list that says what it is about.

use firmware_shared::alert::{Alert, AlertState, HeadShare, Severity};
use serde::{Deserialize, Serialize};

/// One alert, or many of one kind with a common cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlertItem {
    /// The alert's own id; of the centre's own alerts one that it made.
    pub(crate) id: String,
    /// The device; empty for an item about the centre or about many devices.
    pub(crate) device: String,
    pub(crate) groups: Vec<String>,
    pub(crate) kind: String,
    /// The sensor's name, or the part of gateway or centre.
    pub(crate) sensor: String,
    /// What the sensor measures for the vehicle; empty where nobody said.
    pub(crate) role: String,
    pub(crate) severity: Severity,
    pub(crate) state: AlertState,
    /// The sentence of the last transition.
    pub(crate) text: String,
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    pub(crate) expected: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// UTC at which it began, as far as anybody knows.
    pub(crate) raised_ms: Option<i64>,
    /// UTC at which it ended, as far as anybody knows.
    pub(crate) cleared_ms: Option<i64>,
    /// When the centre heard of it first.
    pub(crate) received_ms: i64,
    /// When the centre heard of its last transition, or somebody acted.
    pub(crate) changed_ms: i64,
    /// It reached the centre long after its time.
    pub(crate) late: bool,
    /// The same was told a short while ago: it is listed, and nobody is called.
    pub(crate) muted: bool,
    /// The item with the common cause that it is a part of.
    pub(crate) collapsed_into: Option<String>,
    /// How many alerts have this common cause; 0 for an ordinary item.
    pub(crate) members: u32,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) acknowledged_ms: Option<i64>,
    pub(crate) notes: u32,
    /// The epoch of the device, as hex digits, and the number of the last transition; none of the centre's own.
    pub(crate) epoch: Option<String>,
    pub(crate) seq: u64,
    /// The reading numbers around it.
    pub(crate) window: Option<(u64, u64)>,
    #[serde(flatten)]
    pub(crate) finding: Finding,
    /// It was told, neither muted nor as a part of another item.
    #[serde(default)]
    pub(crate) announced: bool,
    /// The routes that were told that it began, and are told of its end.
    #[serde(default)]
    pub(crate) told: Vec<String>,
    /// The severity at which it was told last.
    #[serde(default)]
    pub(crate) told_severity: Option<Severity>,
    /// How often it was escalated.
    #[serde(default)]
    pub(crate) escalations: u32,
}

/// What the vehicle adds to its last transition; nothing of it for the centre's own alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    /// How unusual the detector found it, 0 to 1; `null` where no detector judged.
    pub(crate) score: Option<f64>,
    /// For how long it had lasted, ms.
    pub(crate) duration_ms: Option<u64>,
    /// The parts of the detector that contributed most, and their shares.
    pub(crate) heads: Vec<HeadShare>,
    /// The load of the trip.
    pub(crate) load_id: Option<String>,
    /// The version of the trip's profile.
    pub(crate) profile_version: Option<u64>,
}

impl From<&Alert> for Finding {
    fn from(alert: &Alert) -> Self {
        Self {
            score: alert.score,
            duration_ms: alert.duration_ms,
            heads: alert.heads.iter().cloned().collect(),
            load_id: alert.load_id.as_ref().map(ToString::to_string),
            profile_version: alert.profile_version,
        }
    }
}

impl AlertItem {
    /// Whether its cause lasts.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, AlertState::Raised | AlertState::Escalated)
    }
}

/// What somebody wrote about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    pub(crate) alert_id: String,
    pub(crate) at_ms: i64,
    pub(crate) who: String,
    pub(crate) text: String,
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) id: i64,
    pub(crate) at_ms: i64,
    pub(crate) who: String,
    /// A word such as `acknowledge`, `note`, `escalate`, `login`.
    pub(crate) what: String,
    /// What it was done to: an alert's id, a name.
    pub(crate) subject: String,
    pub(crate) detail: String,
}

/// Which items somebody wants to see; the default is all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Open ones alone, or closed ones alone.
    pub(crate) open: Option<bool>,
    /// Acknowledged ones alone, or the others alone.
    pub(crate) acknowledged: Option<bool>,
    /// At least so bad.
    pub(crate) severity: Option<Severity>,
    /// Patterns; `*` is any text, `?` one character.
    pub(crate) device: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) role: Option<String>,
    /// A piece of the sentence, the kind, the device or the sensor, in any case.
    pub(crate) text: Option<String>,
    /// Received at or after, and before.
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    /// Only what was received before this item, in the order of the list: the last one of the page before.
    pub(crate) after: Option<(i64, String)>,
    /// At most so many; 0 is [`ITEMS_MAX`].
    pub(crate) limit: usize,
}

/// The most items that one question gets.
pub(crate) const ITEMS_MAX: usize = 10_000;

impl Filter {
    /// What the list of a database cannot look up by itself.
    pub(super) fn takes(&self, item: &AlertItem) -> bool {
        let glob = |pattern: &Option<String>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| crate::glob::matches(pattern, text))
        };
        let text = self.text.as_ref().is_none_or(|text| {
            let text = text.to_lowercase();
            [&item.text, &item.kind, &item.device, &item.sensor]
                .iter()
                .any(|field| field.to_lowercase().contains(&text))
        });
        text && glob(&self.device, &item.device)
            && glob(&self.kind, &item.kind)
            && glob(&self.role, &item.role)
            && self.group.as_ref().is_none_or(|pattern| {
                item.groups
                    .iter()
                    .any(|group| crate::glob::matches(pattern, group))
            })
            && self
                .acknowledged
                .is_none_or(|wanted| item.acknowledged_by.is_some() == wanted)
    }
}
