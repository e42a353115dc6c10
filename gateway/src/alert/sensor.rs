//! The conditions of one sensor.
//!
//! Promises: limits are judged reading by reading, faults and silence also by time; while a sensor is at
//! fault its process alerts neither begin nor end. Never: an alert for a tunnel (no fix is not a defect).

use firmware_shared::alert::Severity;
use firmware_shared::catalogue::Name;
use firmware_shared::detect::{self, Readiness};
use firmware_shared::reading::{Fault, FaultKind, Reading, Value};

use super::anomaly::{AnomalyWatch, Judged};
use super::condition::{Level, Rule};
use super::entry::{Entry, KeptEntry, Subject};
use super::limit::{LIMIT_CONDITIONS_MAX, LimitWatch, Measured};
use super::position::{POSITION_CONDITIONS, PositionWatch};
use super::voice::{Saying, Voice};
use crate::clock::Now;
use crate::config::{LimitRule, SensorConfig};
use crate::score::Verdict;

/// A fault that heals within seconds needs nobody.
pub(super) const FAULT: Rule = Rule {
    on_delay_ms: 10_000,
    off_delay_ms: 5_000,
    escalate_after_ms: None,
};
/// Silence is measured in real time, because it says something about this machine. A fault is repeated
/// once a minute, so that a sensor at fault may be silent for longer.
const SILENT_MS_MIN: u64 = 30_000;
const SILENT_PERIODS: u64 = 10;
const SILENT_FAULT_MS: u64 = 150_000;

/// Limits, both families of the detector, fault and loss, what a receiver doubts, its positions.
pub(super) const CONDITIONS_PER_SENSOR: usize =
    LIMIT_CONDITIONS_MAX + 2 + 2 + 3 + POSITION_CONDITIONS;

/// What a receiver says about itself while its positions go on, and how bad that is.
const DOUBTS: [(FaultKind, &str, Severity, &str); 3] = [
    (
        FaultKind::ANTENNA,
        "gnss_antenna",
        Severity::Warning,
        "its antenna is cut off or shorted",
    ),
    (
        FaultKind::JAMMED,
        "gnss_jamming",
        Severity::Warning,
        "something jams its signals",
    ),
    (
        FaultKind::SPOOFED,
        "gnss_spoofing",
        Severity::Critical,
        "somebody sends false signals",
    ),
];

/// One sensor's conditions.
#[derive(Debug)]
pub(super) struct SensorWatch {
    index: u8,
    name: Name,
    period_ms: u64,
    /// Its limits by the configuration; those of a trip take their place.
    own_limits: Vec<LimitRule>,
    limits: LimitWatch,
    anomaly: AnomalyWatch,
    position: PositionWatch,
    fault: Option<Fault>,
    /// What is wrong with its whole bus.
    bus: Option<FaultKind>,
    heard_real_ms: u64,
    /// It has said something to this process.
    is_heard: bool,
    faulty: Entry,
    lost: Entry,
    /// In the order of [`DOUBTS`]: whether it lasts, and its alert.
    doubts: [(bool, Entry); 3],
}

impl SensorWatch {
    pub(super) fn new(sensor: &SensorConfig, score_min: f64, real_ms: u64) -> Self {
        let mut limits = LimitWatch::default();
        limits.set(&sensor.limits);
        Self {
            index: sensor.index,
            name: sensor.name.clone(),
            period_ms: sensor.period_ms,
            own_limits: sensor.limits.clone(),
            limits,
            anomaly: AnomalyWatch::new(sensor, score_min),
            position: PositionWatch::default(),
            fault: None,
            bus: None,
            heard_real_ms: real_ms,
            is_heard: false,
            faulty: Entry::default(),
            lost: Entry::default(),
            doubts: Default::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The limits of the trip; without any, those of the configuration.
    pub(super) fn trip_limits(&mut self, rules: &[LimitRule]) {
        let own = self.own_limits.as_slice();
        self.limits.set(if rules.is_empty() { own } else { rules });
    }

    pub(super) fn index(&self) -> u8 {
        self.index
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let doubts = self.doubts.iter().map(|(_, entry)| entry);
        let anomalies = [&self.anomaly.process.entry, &self.anomaly.instrument.entry];
        let positions = self.position.named().map(|(_, entry)| entry);
        let limits = self.limits.entries().chain(anomalies);
        let health = [&self.faulty, &self.lost].into_iter();
        limits.chain(health).chain(doubts).chain(positions)
    }

    /// What the next process needs to go on with what is told.
    pub(super) fn keep(&self) -> Vec<KeptEntry> {
        let named = [
            ("process", &self.anomaly.process.entry),
            ("instrument", &self.anomaly.instrument.entry),
            ("faulty", &self.faulty),
            ("lost", &self.lost),
        ];
        let doubts = self.doubts.iter().zip(DOUBTS);
        let doubts = doubts.map(|((_, entry), (_, kind, ..))| (kind, entry));
        let named = named.into_iter().chain(doubts).chain(self.position.named());
        let kept = named.filter_map(|(name, entry)| entry.keep(name.to_owned()));
        let limits = self.limits.named();
        kept.chain(limits.filter_map(|(name, entry)| entry.keep(name)))
            .collect()
    }

    /// Goes on with it; gives it back when there is no such condition.
    pub(super) fn restore(&mut self, kept: KeptEntry, by_ms: i64) -> Option<KeptEntry> {
        let doubt = DOUBTS.iter().position(|(_, kind, ..)| *kind == kept.slot);
        let entry = match kept.slot.as_str() {
            "process" => Some(&mut self.anomaly.process.entry),
            "instrument" => Some(&mut self.anomaly.instrument.entry),
            "faulty" => Some(&mut self.faulty),
            "lost" => Some(&mut self.lost),
            _ => match doubt {
                Some(at) => self.doubts.get_mut(at).map(|(_, entry)| entry),
                None => self
                    .position
                    .entry_mut(&kept.slot)
                    .or_else(|| self.limits.entry_mut(&kept.slot)),
            },
        };
        match entry {
            Some(entry) => {
                entry.restore(kept, by_ms);
                None
            }
            None => Some(kept),
        }
    }

    /// What is wrong with its whole bus is said about the bus.
    pub(super) fn bus_is(&mut self, at_ms: u64, problem: Option<FaultKind>, voice: &mut Voice) {
        self.bus = problem;
        self.judge_health(at_ms, false, voice);
    }

    /// Takes a reading of this sensor.
    pub(super) fn reading(
        &mut self,
        now: Now,
        seq: u64,
        reading: &Reading,
        verdict: &Verdict,
        voice: &mut Voice,
    ) {
        self.heard_real_ms = now.real_ms;
        self.is_heard = true;
        let at_ms = reading.stamp_ms;
        match reading.value {
            // A flag beside a position.
            Value::Fault(fault) if fault.kind == FaultKind::JUMP => {}
            Value::Fault(fault) if self.doubt(&fault) => {}
            Value::Fault(fault) if fault.kind != FaultKind::NO_FIX => {
                self.fault = Some(fault);
                self.hold_process(at_ms, voice);
            }
            _ => {
                self.fault = None;
                self.judge(seq, reading, verdict, voice);
            }
        }
        self.judge_health(at_ms, false, voice);
        self.judge_doubts(at_ms, voice);
    }

    /// Takes what a receiver says about itself; whether the fault was that.
    fn doubt(&mut self, fault: &Fault) -> bool {
        let place = DOUBTS.iter().position(|(kind, ..)| *kind == fault.kind);
        let doubt = place.and_then(|place| self.doubts.get_mut(place));
        if let Some((lasts, _)) = doubt {
            *lasts = fault.code != 0;
            return true;
        }
        false
    }

    fn judge_doubts(&mut self, at_ms: u64, voice: &mut Voice) {
        let name = &self.name;
        for ((lasts, entry), (_, kind, severity, what)) in self.doubts.iter_mut().zip(DOUBTS) {
            let level = if *lasts { Level::On } else { Level::Off };
            let subject = Subject {
                kind,
                severity,
                sensor: name,
            };
            entry.step(at_ms, level, &FAULT, subject, voice, |on| Saying {
                text: match on {
                    true => format!("receiver {name}: {what}; its positions are to be doubted"),
                    false => format!("receiver {name}: it no longer says that {what}"),
                },
                ..Saying::default()
            });
        }
    }

    /// Lets time pass without a reading.
    pub(super) fn tick(&mut self, now: Now, voice: &mut Voice) {
        let silent = now.real_ms >= self.silent_from_real_ms();
        if silent {
            self.hold_process(now.stamp_ms, voice);
        }
        self.judge_health(now.stamp_ms, silent, voice);
        self.judge_doubts(now.stamp_ms, voice);
    }

    fn silent_from_real_ms(&self) -> u64 {
        let patience_ms = match self.fault {
            Some(_) => SILENT_FAULT_MS,
            None => SILENT_MS_MIN.max(self.period_ms.saturating_mul(SILENT_PERIODS)),
        };
        // A receiver in a tunnel repeats that it has no fix once a minute, too; it has no limits and no
        // expected period, so that the longer patience costs nothing.
        self.heard_real_ms
            .saturating_add(patience_ms.max(self.repeat_ms()))
    }

    fn repeat_ms(&self) -> u64 {
        match self.limits.severity() {
            None => SILENT_FAULT_MS,
            Some(_) => 0,
        }
    }

    /// When `tick` will have something to say: a stamp, and a moment of real time.
    pub(super) fn deadlines(&self) -> (Option<u64>, u64) {
        let doubts = self.doubts.iter().map(|(_, entry)| entry);
        let entries = [&self.faulty, &self.lost].into_iter().chain(doubts);
        let at = entries.filter_map(|entry| entry.deadline_ms(&FAULT)).min();
        (at, self.silent_from_real_ms())
    }

    fn hold_process(&mut self, at_ms: u64, voice: &mut Voice) {
        self.limits.hold(at_ms, &self.name, voice);
        self.anomaly.hold(at_ms, &self.name, voice);
    }

    fn judge(&mut self, seq: u64, reading: &Reading, verdict: &Verdict, voice: &mut Voice) {
        let (at_ms, name) = (reading.stamp_ms, &self.name);
        let number = verdict.number.as_ref();
        if let Value::Temperature(value) = reading.value {
            let utc_ms = voice.anchor.map(|anchor| anchor.utc_ms_of(at_ms));
            let measured = Measured {
                at_ms,
                utc_ms: utc_ms.and_then(|utc_ms| u64::try_from(utc_ms).ok()),
                seq,
                value,
                expected: number.and_then(expected),
            };
            self.limits.judge(&measured, name, voice);
        }
        if let Some(verdict) = number {
            let unit = match reading.value {
                Value::Scalar(scalar) => scalar.unit.symbol(),
                _ => "degC",
            };
            let judged = Judged {
                at_ms,
                seq,
                unit,
                verdict,
            };
            self.anomaly.judge(&judged, name, voice);
        }
        if let Some(verdict) = &verdict.position {
            self.position.judge(at_ms, seq, verdict, name, voice);
        }
    }

    /// A probe at the load that says nothing is a risk; any other is for those who maintain the vehicle.
    fn blindness(&self) -> Severity {
        let is_critical = self.limits.severity() == Some(Severity::Critical);
        match is_critical || self.anomaly.is_cargo() {
            true => Severity::Warning,
            false => Severity::Diagnostic,
        }
    }

    /// Absent is lost, and so is silent; any other fault is a fault.
    fn judge_health(&mut self, at_ms: u64, silent: bool, voice: &mut Voice) {
        let name = &self.name;
        let absent = |kind: FaultKind| [FaultKind::NO_ACK, FaultKind::SILENT].contains(&kind);
        let is_lost = silent || self.fault.is_some_and(|fault| absent(fault.kind));
        let is_faulty = !is_lost && self.fault.is_some();
        let is_of_bus = self.bus.is_some() && self.fault.map(|fault| fault.kind) == self.bus;
        let is_unknown = !self.is_heard && !silent;
        let level = |on: bool| match on {
            // After a restart nothing is over before the sensor has said so.
            _ if is_unknown => Level::Hold,
            true if is_of_bus => Level::Hold,
            true => Level::On,
            false => Level::Off,
        };
        let why = self.fault.map_or("silent", |fault| fault.kind.name());
        let severity = self.blindness();
        let subject = |kind| Subject {
            kind,
            severity,
            sensor: name,
        };
        let lost = subject("sensor_lost");
        self.lost
            .step(at_ms, level(is_lost), &FAULT, lost, voice, |on| Saying {
                text: if on {
                    format!("sensor {name} does not answer ({why}); its value is not known")
                } else {
                    format!("sensor {name} answers again")
                },
                ..Saying::default()
            });
        let faulty = subject("sensor_fault");
        self.faulty
            .step(at_ms, level(is_faulty), &FAULT, faulty, voice, |on| {
                Saying {
                    text: if on {
                        format!(
                            "sensor {name} gives no valid value ({why}); its value is not known"
                        )
                    } else {
                        format!("sensor {name} no longer reports a fault")
                    },
                    ..Saying::default()
                }
            });
    }
}

/// What a model expects that is old enough to.
fn expected(verdict: &detect::Verdict) -> Option<f64> {
    let is_known = verdict.readiness == Readiness::Ready && verdict.expected.is_finite();
    is_known.then(|| (verdict.expected * 1000.0).round() / 1000.0)
}
