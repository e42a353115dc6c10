//! Alerts: which conditions are open, and what is said about them.
//!
//! Promises: a limit with a duration of 0 is told with the first reading beyond it; each transition has its
//! own number in the alert lane and a sentence that a driver understands; a sensor at fault is told as such
//! and not as a process alert; a flapping condition is told at most once an hour unless it is worse; what is
//! told goes on under its id in the next process. Never: a clock, a queue, an alert that waits for telemetry.

mod anomaly;
mod bus;
mod condition;
mod entry;
mod limit;
mod memory;
mod position;
mod sensor;
mod voice;
mod window;

use std::collections::BTreeMap;

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::reading::Reading;
use firmware_shared::time::TimeAnchor;

use bus::BusWatch;
pub use condition::{CLOSE_AFTER_MS, Change, Condition, Level, RERAISE_MS_MIN, Rule};
pub use entry::KeptEntry;
use entry::{Entry, Subject};
pub use memory::DeskMemory;
use sensor::{CONDITIONS_PER_SENSOR, SensorWatch};
use voice::{Saying, Trip, Voice};
pub use voice::{to_json, utc_text};

use crate::clock::Now;
use crate::config::{BusConfig, GATEWAY_SENSOR_NAME, LimitRule, SensorConfig};
use crate::sample::BusReport;
use crate::score::Verdict;

/// An event of the gateway itself that nobody calls off is over after so long without another one, ms.
const EVENT_QUIET_MS: u64 = 600_000;
/// Whoever calls an alarm has waited already.
const ALARM: Rule = Rule {
    on_delay_ms: 0,
    off_delay_ms: 0,
    escalate_after_ms: None,
};

/// Where the detector says that an alert is reasonable.
const ALERT_SCORE: f64 = 0.5;
/// What an earlier process told of the gateway is over when this one does not tell it within a minute, ms.
const GRACE_MS: u64 = 60_000;

/// Kinds of alarms that the gateway has about itself, with room for more.
const GATEWAY_CONDITION_COUNT_MAX: usize = 16;

/// Something about the gateway itself that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about, as alerts name it.
    pub kind: &'static str,
    /// Begins, ends, or just happened.
    pub phase: AlarmPhase,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence.
    pub text: String,
}

/// Something that happened, without a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence.
    pub text: String,
    /// The profile that it is about.
    pub profile_version: Option<u64>,
}

/// Where in its life an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmPhase {
    /// Holds until it is called off.
    Begins,
    /// Called off.
    Ends,
    /// Happened; over when it does not happen again for ten minutes.
    Event,
}

/// An alarm of the gateway.
#[derive(Debug)]
struct Standing {
    entry: Entry,
    severity: Severity,
    level: Level,
    quiet_from_real_ms: Option<u64>,
}

/// All conditions of one device.
#[derive(Debug)]
pub struct AlertDesk {
    voice: Voice,
    sensors: Vec<SensorWatch>,
    buses: Vec<BusWatch>,
    gateway: BTreeMap<String, Standing>,
}

impl AlertDesk {
    /// A desk at which nothing is open.
    pub fn new<'a>(
        device: DeviceId,
        epoch: Epoch,
        sensors: impl IntoIterator<Item = &'a SensorConfig>,
        now: Now,
    ) -> Self {
        Self::with_score(device, epoch, sensors, ALERT_SCORE, now)
    }

    /// The same with another score from which a finding of the detector is an alert.
    pub fn with_score<'a>(
        device: DeviceId,
        epoch: Epoch,
        sensors: impl IntoIterator<Item = &'a SensorConfig>,
        score_min: f64,
        now: Now,
    ) -> Self {
        let watch = |sensor| SensorWatch::new(sensor, score_min, now.real_ms);
        Self {
            voice: Voice::new(device, epoch),
            sensors: sensors.into_iter().map(watch).collect(),
            buses: Vec::new(),
            gateway: BTreeMap::new(),
        }
    }

    /// The same with the buses on which the sensors are.
    #[must_use]
    pub fn with_buses(mut self, buses: &[BusConfig]) -> Self {
        self.buses = buses.iter().map(BusWatch::new).collect();
        self
    }

    /// Takes what a bus thread says about its bus: its sensors are not told one by one.
    pub fn bus(&mut self, now: Now, report: BusReport) {
        let Some(bus) = self.buses.get_mut(usize::from(report.bus)) else {
            return;
        };
        bus.hear(now.stamp_ms, report.problem, &mut self.voice);
        for watch in &mut self.sensors {
            if bus.has(watch.index()) {
                watch.bus_is(now.stamp_ms, report.problem, &mut self.voice);
            }
        }
    }

    /// The most conditions that this many sensors, their buses and the gateway itself can have.
    #[must_use]
    pub fn condition_count_max(sensor_count: usize) -> usize {
        sensor_count * (CONDITIONS_PER_SENSOR + 1) + GATEWAY_CONDITION_COUNT_MAX
    }

    /// What is known about UTC from here on.
    pub fn anchor(&mut self, anchor: TimeAnchor) {
        self.voice.anchor = Some(anchor);
    }

    /// What the trip allows from here on, and how it is called. A sensor without limits of the trip keeps
    /// those of the configuration.
    pub fn trip<'a>(
        &mut self,
        load_id: Option<&str>,
        profile_version: Option<u64>,
        limits_of: impl Fn(u8) -> Vec<&'a LimitRule>,
    ) {
        self.voice.trip = Trip {
            load_id: load_id.map(str::to_owned),
            profile_version,
        };
        for watch in &mut self.sensors {
            let rules: Vec<_> = limits_of(watch.index()).into_iter().cloned().collect();
            watch.trip_limits(&rules);
        }
    }

    /// Tells something that has no duration: one transition, done with from the start.
    pub fn event(&mut self, now: Now, event: Event) {
        let title = voice::Title {
            id: self.voice.next_id(),
            severity: event.severity,
        };
        let saying = Saying {
            text: event.text,
            profile_version: event.profile_version,
            ..Saying::default()
        };
        let about = [event.kind, GATEWAY_SENSOR_NAME];
        self.voice
            .say(now.stamp_ms, AlertState::Closed, &title, about, &saying);
    }

    /// Takes a reading with its verdict.
    pub fn reading(&mut self, now: Now, seq: u64, reading: &Reading, verdict: &Verdict) {
        self.voice.black_box.note(reading.stamp_ms, seq);
        if let Some(watch) = self
            .sensors
            .iter_mut()
            .find(|w| w.index() == reading.sensor)
        {
            watch.reading(now, seq, reading, verdict, &mut self.voice);
        }
    }

    /// Takes an alarm of the gateway itself.
    pub fn alarm(&mut self, now: Now, alarm: Alarm) {
        let Alarm {
            kind,
            phase,
            severity,
            text,
        } = alarm;
        let standing = self
            .gateway
            .entry(kind.to_owned())
            .or_insert_with(|| Standing::new(severity));
        standing.severity = severity;
        standing.level = if phase == AlarmPhase::Ends {
            Level::Off
        } else {
            Level::On
        };
        let quiet_ms = now.real_ms.saturating_add(EVENT_QUIET_MS);
        standing.quiet_from_real_ms = (phase == AlarmPhase::Event).then_some(quiet_ms);
        standing.step(now.stamp_ms, kind, &mut self.voice, |_| text);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Now) {
        for watch in &mut self.sensors {
            watch.tick(now, &mut self.voice);
        }
        for bus in &mut self.buses {
            bus.tick(now.stamp_ms, &mut self.voice);
        }
        for (kind, standing) in &mut self.gateway {
            let quiet_ms = standing.quiet_from_real_ms;
            if quiet_ms.is_some_and(|quiet_ms| quiet_ms <= now.real_ms) {
                standing.quiet_from_real_ms = None;
                standing.level = Level::Off;
            }
            let words = |on| match on {
                true => format!("{kind} lasts"),
                false => format!("{kind} has not come back"),
            };
            standing.step(now.stamp_ms, kind, &mut self.voice, words);
        }
    }

    /// When `tick` will have something to say: the earliest stamp and the earliest moment of real time.
    #[must_use]
    pub fn deadlines(&self) -> (Option<u64>, Option<u64>) {
        let sensors = || self.sensors.iter().map(SensorWatch::deadlines);
        let buses = self.buses.iter().filter_map(BusWatch::deadline_ms);
        let stamp = sensors()
            .filter_map(|(stamp_ms, _)| stamp_ms)
            .chain(buses)
            .min();
        let alarms = self.gateway.values();
        let alarms = alarms.filter_map(|standing| standing.entry.deadline_ms(&ALARM));
        let stamp = [stamp, alarms.min()].into_iter().flatten().min();
        let quiet = self
            .gateway
            .values()
            .filter_map(|standing| standing.quiet_from_real_ms);
        (
            stamp,
            sensors().map(|(_, real_ms)| real_ms).chain(quiet).min(),
        )
    }

    /// What was said since the last call, in the order of its numbers.
    pub fn take(&mut self) -> Vec<Alert> {
        self.voice.take()
    }

    /// The number that the next transition gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.voice.next_seq()
    }

    /// The last transition of each open alert.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        let sensors = self.sensors.iter().flat_map(SensorWatch::entries);
        let gateway = self.gateway.values().map(|standing| &standing.entry);
        let buses = self.buses.iter().map(BusWatch::entry);
        sensors.chain(buses).chain(gateway).filter_map(Entry::open)
    }
}

impl Standing {
    fn new(severity: Severity) -> Self {
        Self {
            entry: Entry::default(),
            severity,
            level: Level::Hold,
            quiet_from_real_ms: None,
        }
    }

    fn step(
        &mut self,
        at_ms: u64,
        kind: &str,
        voice: &mut Voice,
        words: impl FnOnce(bool) -> String,
    ) {
        let subject = Subject {
            kind,
            severity: self.severity,
            sensor: GATEWAY_SENSOR_NAME,
        };
        self.entry
            .step(at_ms, self.level, &ALARM, subject, voice, |on| Saying {
                text: words(on),
                ..Saying::default()
            });
    }
}

#[cfg(test)]
mod tests;
