//! The conditions of one sensor.
//!
//! Promises: limits are judged reading by reading, faults and silence also by time; while a sensor is at
//! fault its process alerts neither begin nor end. Never: an alert for a tunnel (no fix is not a defect).

use firmware_shared::alert::Severity;
use firmware_shared::catalogue::Name;
use firmware_shared::reading::{Fault, FaultKind, Reading, Value};
use firmware_shared::units::Celsius128;

use super::condition::{Level, Rule};
use super::entry::Entry;
use super::voice::{Saying, Voice};
use crate::clock::Now;
use crate::config::{Limits, SensorConfig};
use crate::score::{Standing, Verdict};

/// Scores from here on can become an alert: 7 sigma.
const ANOMALY_SCORE_MIN: u16 = 600;
/// How long an anomaly must last; shorter ones are in the data, with their score.
const ANOMALY: Rule = Rule {
    on_delay_ms: 10_000,
    off_delay_ms: 60_000,
    escalate_after_ms: None,
};
/// A fault that heals within seconds needs nobody.
pub(super) const FAULT: Rule = Rule {
    on_delay_ms: 10_000,
    off_delay_ms: 5_000,
    escalate_after_ms: None,
};
/// Back inside for a minute is over; half an hour outside is worse than it was.
const LIMIT_OFF_DELAY_MS: u64 = 60_000;
const LIMIT_ESCALATE_AFTER_MS: u64 = 1_800_000;
/// Silence is measured in real time, because it says something about this machine. A fault is repeated
/// once a minute, so that a sensor at fault may be silent for longer.
const SILENT_MS_MIN: u64 = 30_000;
const SILENT_PERIODS: u64 = 10;
const SILENT_FAULT_MS: u64 = 150_000;

/// Limits, anomaly, fault and loss, and what a receiver doubts.
pub(super) const CONDITIONS_PER_SENSOR: usize = 8;

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
    limits: Limits,
    fault: Option<Fault>,
    /// What is wrong with its whole bus.
    bus: Option<FaultKind>,
    heard_real_ms: u64,
    high: Entry,
    low: Entry,
    anomaly: Entry,
    faulty: Entry,
    lost: Entry,
    /// In the order of [`DOUBTS`]: whether it lasts, and its alert.
    doubts: [(bool, Entry); 3],
}

impl SensorWatch {
    pub(super) fn new(sensor: &SensorConfig, real_ms: u64) -> Self {
        Self {
            index: sensor.index,
            name: sensor.name.clone(),
            period_ms: sensor.period_ms,
            limits: sensor.limits,
            fault: None,
            bus: None,
            heard_real_ms: real_ms,
            high: Entry::new("limit_high", sensor.limits.severity),
            low: Entry::new("limit_low", sensor.limits.severity),
            anomaly: Entry::new("anomaly", Severity::Warning),
            faulty: Entry::new("sensor_fault", Severity::Warning),
            lost: Entry::new("sensor_lost", Severity::Warning),
            doubts: DOUBTS.map(|(_, kind, severity, _)| (false, Entry::new(kind, severity))),
        }
    }

    pub(super) fn index(&self) -> u8 {
        self.index
    }

    pub(super) fn entries(&self) -> [&Entry; CONDITIONS_PER_SENSOR] {
        let [(_, antenna), (_, jamming), (_, spoofing)] = &self.doubts;
        [
            &self.high,
            &self.low,
            &self.anomaly,
            &self.faulty,
            &self.lost,
            antenna,
            jamming,
            spoofing,
        ]
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
        let at_ms = reading.stamp_ms;
        match reading.value {
            // A flag beside a position.
            Value::Fault(fault) if fault.kind == FaultKind::JUMP => {}
            Value::Fault(fault) if self.doubt(&fault) => {}
            Value::Fault(fault) if fault.kind != FaultKind::NO_FIX => {
                self.fault = Some(fault);
                self.hold_process(at_ms, voice);
            }
            Value::Fault(_) => self.fault = None,
            Value::Temperature(value) => {
                self.fault = None;
                self.judge(at_ms, seq, value, verdict, voice);
            }
            _ => self.fault = None,
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
        for ((lasts, entry), (.., what)) in self.doubts.iter_mut().zip(DOUBTS) {
            let level = if *lasts { Level::On } else { Level::Off };
            entry.step(at_ms, level, &FAULT, name, voice, |on| Saying {
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
        if self.limits == Limits::NONE {
            SILENT_FAULT_MS
        } else {
            0
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
        let rule = self.limit_rule();
        for (entry, rule) in [
            (&mut self.high, &rule),
            (&mut self.low, &rule),
            (&mut self.anomaly, &ANOMALY),
        ] {
            entry.step(at_ms, Level::Hold, rule, &self.name, voice, |_| {
                Saying::default()
            });
        }
    }

    fn limit_rule(&self) -> Rule {
        Rule {
            on_delay_ms: self.limits.duration_ms,
            off_delay_ms: LIMIT_OFF_DELAY_MS,
            escalate_after_ms: Some(LIMIT_ESCALATE_AFTER_MS),
        }
    }

    fn judge(
        &mut self,
        at_ms: u64,
        seq: u64,
        value: Celsius128,
        verdict: &Verdict,
        voice: &mut Voice,
    ) {
        let rule = self.limit_rule();
        let name = &self.name;
        let degrees = value.as_degrees_f64();
        let numbers = Saying {
            value: Some(degrees),
            unit: "degC",
            expected: verdict
                .expected
                .map(|e| Celsius128(e.value).as_degrees_f64()),
            low: self.limits.low.map(Celsius128::as_degrees_f64),
            high: self.limits.high.map(Celsius128::as_degrees_f64),
            seq: Some(seq),
            text: String::new(),
        };
        let (high, low) = levels(verdict.standing);
        for (entry, level, word, limit) in [
            (&mut self.high, high, "warm", numbers.high),
            (&mut self.low, low, "cold", numbers.low),
        ] {
            let limit = limit.unwrap_or_default();
            entry.step(at_ms, level, &rule, name, voice, |on| Saying {
                text: if on {
                    format!("{name} is too {word}: {degrees:.2} degC, the limit is {limit} degC")
                } else {
                    format!("{name} is no longer too {word}: {degrees:.2} degC")
                },
                ..numbers.clone()
            });
        }
        let level = match verdict.score.0 {
            0 => Level::Off,
            ANOMALY_SCORE_MIN.. => Level::On,
            _ => Level::Hold,
        };
        let band = verdict
            .expected
            .map(|e| [e.low, e.high].map(|c| Celsius128(c).as_degrees_f64()));
        let [band_low, band_high] = band.unwrap_or_default();
        self.anomaly.step(at_ms, level, &ANOMALY, name, voice, |on| Saying {
            text: if on {
                format!(
                    "{name} is unusual: {degrees:.1} degC, expected {band_low:.1} to {band_high:.1} degC"
                )
            } else {
                format!("{name} is ordinary again: {degrees:.1} degC")
            },
            low: band.map(|[low, _]| low),
            high: band.map(|[_, high]| high),
            ..numbers.clone()
        });
    }

    /// Absent is lost, and so is silent; any other fault is a fault.
    fn judge_health(&mut self, at_ms: u64, silent: bool, voice: &mut Voice) {
        let name = &self.name;
        let absent = |kind: FaultKind| [FaultKind::NO_ACK, FaultKind::SILENT].contains(&kind);
        let is_lost = silent || self.fault.is_some_and(|fault| absent(fault.kind));
        let is_faulty = !is_lost && self.fault.is_some();
        let is_of_bus = self.bus.is_some() && self.fault.map(|fault| fault.kind) == self.bus;
        let level = |on: bool| match on {
            true if is_of_bus => Level::Hold,
            true => Level::On,
            false => Level::Off,
        };
        let why = self.fault.map_or("silent", |fault| fault.kind.name());
        self.lost
            .step(at_ms, level(is_lost), &FAULT, name, voice, |on| Saying {
                text: if on {
                    format!("sensor {name} does not answer ({why}); its value is not known")
                } else {
                    format!("sensor {name} answers again")
                },
                ..Saying::default()
            });
        self.faulty
            .step(at_ms, level(is_faulty), &FAULT, name, voice, |on| Saying {
                text: if on {
                    format!("sensor {name} gives no valid value ({why}); its value is not known")
                } else {
                    format!("sensor {name} no longer reports a fault")
                },
                ..Saying::default()
            });
    }
}

fn levels(standing: Option<Standing>) -> (Level, Level) {
    match standing {
        Some(Standing::High) => (Level::On, Level::Off),
        Some(Standing::NearHigh) => (Level::Hold, Level::Off),
        Some(Standing::NearLow) => (Level::Off, Level::Hold),
        Some(Standing::Low) => (Level::Off, Level::On),
        Some(Standing::Inside) | None => (Level::Off, Level::Off),
    }
}
