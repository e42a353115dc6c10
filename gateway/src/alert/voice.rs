//! Alerts as they are said: number, id, JSON, log line.
//!
//! Promises: numbers of the alert lane are consecutive from 0; all transitions of one alert carry the id of
//! its first; the JSON is at most [`ALERT_LEN_MAX`] bytes; every transition is also a log line, so that it
//! is told without any uplink. Never: a clock, a queue.

use firmware_shared::alert::{ALERT_LEN_MAX, Alert, AlertState, HeadShare, Severity};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::time::TimeAnchor;

use super::window::BlackBox;

/// The content of one transition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Saying {
    pub(super) value: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) expected: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    /// The reading that made the transition, for the black-box window.
    pub(super) seq: Option<u64>,
    pub(super) text: String,
    pub(super) score: Option<f64>,
    pub(super) duration_ms: Option<u64>,
    pub(super) heads: heapless::Vec<HeadShare, 2>,
    /// Another profile than the one in force.
    pub(super) profile_version: Option<u64>,
}

/// What is known of the trip.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trip {
    pub(super) load_id: Option<String>,
    pub(super) profile_version: Option<u64>,
}

/// What all transitions of one alert share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Title {
    pub(super) id: heapless::String<80>,
    pub(super) severity: Severity,
}

/// Gives alerts their numbers and collects them.
#[derive(Debug)]
pub(super) struct Voice {
    device: DeviceId,
    epoch: Epoch,
    next_seq: u64,
    pub(super) anchor: Option<TimeAnchor>,
    pub(super) black_box: BlackBox,
    pub(super) trip: Trip,
    said: Vec<Alert>,
}

impl Voice {
    pub(super) fn new(device: DeviceId, epoch: Epoch) -> Self {
        Self {
            device,
            epoch,
            next_seq: 0,
            anchor: None,
            black_box: BlackBox::default(),
            trip: Trip::default(),
            said: Vec::new(),
        }
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The id of an alert whose first transition is the next one said.
    pub(super) fn next_id(&self) -> heapless::String<80> {
        cut(&format!("{}-{}-{}", self.device, self.epoch, self.next_seq))
    }

    pub(super) fn say(
        &mut self,
        now_ms: u64,
        state: AlertState,
        title: &Title,
        [kind, sensor]: [&str; 2],
        saying: &Saying,
    ) -> Alert {
        let alert = Alert {
            id: title.id.clone(),
            device: self.device.clone(),
            epoch: self.epoch,
            seq: self.next_seq,
            state,
            severity: title.severity,
            kind: cut(kind),
            sensor: cut(sensor),
            value: saying.value,
            unit: cut(saying.unit),
            expected: saying.expected,
            low: saying.low,
            high: saying.high,
            boottime_ms: now_ms,
            utc: self
                .anchor
                .and_then(|anchor| utc_text(anchor.utc_ms_of(now_ms))),
            late: false,
            window: saying.seq.and_then(|seq| self.black_box.window(seq)),
            text: cut(&saying.text),
            score: saying.score,
            duration_ms: saying.duration_ms,
            heads: saying.heads.clone(),
            load_id: self.trip.load_id.as_deref().map(cut),
            profile_version: saying.profile_version.or(self.trip.profile_version),
        };
        self.next_seq += 1;
        log(&alert);
        self.said.push(alert.clone());
        alert
    }

    pub(super) fn take(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.said)
    }
}

fn log(alert: &Alert) {
    tracing::warn!(
        id = %alert.id,
        state = alert.state.name(),
        severity = alert.severity.name(),
        kind = %alert.kind,
        sensor = %alert.sensor,
        "{}", alert.text
    );
}

/// RFC 3339 in UTC with milliseconds; `None` outside the years that it can name.
#[must_use]
pub fn utc_text(utc_ms: i64) -> Option<heapless::String<32>> {
    let timestamp = jiff::Timestamp::from_millisecond(utc_ms).ok()?;
    Some(cut(&format!("{timestamp:.3}")))
}

/// As much of a text as fits, cut between characters.
pub(super) fn cut<const LEN: usize>(text: &str) -> heapless::String<LEN> {
    let mut short = heapless::String::new();
    for character in text.chars() {
        if short.push(character).is_err() {
            break;
        }
    }
    short
}

/// The bytes that travel; `None` when the alert is longer than an alert may be.
#[must_use]
pub fn to_json(alert: &Alert) -> Option<Vec<u8>> {
    serde_json::to_vec(alert)
        .ok()
        .filter(|bytes| bytes.len() <= ALERT_LEN_MAX)
}
