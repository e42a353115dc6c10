//! The absolute limits of one sensor: its own, those of its role and compartment, those of the trip.
//!
//! Promises: the first reading beyond a limit without a duration is told; a limit whose limit has gone clears
//! like one whose value is back inside. Never: judged by a detector, or held back by one.

use firmware_shared::alert::Severity;
use firmware_shared::units::Celsius128;

use super::condition::{Level, Rule};
use super::entry::{Entry, Subject};
use super::voice::{Saying, Voice};
use crate::config::{LIMITS_PER_SENSOR_MAX, LimitRule, Limits};

/// Back inside for a minute is over; half an hour outside is worse than it was.
const OFF_DELAY_MS: u64 = 60_000;
const ESCALATE_AFTER_MS: u64 = 1_800_000;

/// Conditions of all limits of a sensor at most.
pub(super) const LIMIT_CONDITIONS_MAX: usize = 2 * LIMITS_PER_SENSOR_MAX;

/// Where a value stands to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Above the upper limit.
    High,
    /// Allowed, but not yet far enough below the upper limit to call the matter done.
    NearHigh,
    /// Inside.
    Inside,
    /// Allowed, but not yet far enough above the lower limit to call the matter done.
    NearLow,
    /// Below the lower limit.
    Low,
}

impl Standing {
    fn of(value: Celsius128, limits: &Limits) -> Self {
        let (value, margin) = (i64::from(value.0), i64::from(limits.hysteresis.0));
        let high = limits.high.map_or(i64::MAX, |limit| i64::from(limit.0));
        let low = limits.low.map_or(i64::MIN, |limit| i64::from(limit.0));
        if value > high {
            Self::High
        } else if value < low {
            Self::Low
        } else if value > high.saturating_sub(margin) {
            Self::NearHigh
        } else if value < low.saturating_add(margin) {
            Self::NearLow
        } else {
            Self::Inside
        }
    }

    /// Of the upper limit, and of the lower one.
    fn levels(self) -> [Level; 2] {
        match self {
            Self::High => [Level::On, Level::Off],
            Self::NearHigh => [Level::Hold, Level::Off],
            Self::NearLow => [Level::Off, Level::Hold],
            Self::Low => [Level::Off, Level::On],
            Self::Inside => [Level::Off, Level::Off],
        }
    }
}

/// One limit with its conditions; without a rule only what is left to be told.
#[derive(Debug, Default)]
struct Slot {
    rule: Option<LimitRule>,
    ends: [Entry; 2],
}

const KINDS: [&str; 2] = ["limit_high", "limit_low"];
const WORDS: [&str; 2] = ["warm", "cold"];

/// All limits of one sensor.
#[derive(Debug, Default)]
pub(super) struct LimitWatch {
    slots: Vec<Slot>,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) at_ms: u64,
    /// UTC of the reading, if it is known.
    pub(super) utc_ms: Option<u64>,
    pub(super) seq: u64,
    pub(super) value: Celsius128,
    pub(super) expected: Option<f64>,
}

impl LimitWatch {
    /// Takes other limits; what is open goes on under the limit in its place.
    pub(super) fn set(&mut self, rules: &[LimitRule]) {
        for (at, rule) in rules.iter().take(LIMITS_PER_SENSOR_MAX).enumerate() {
            if self.slots.len() <= at {
                self.slots.push(Slot::default());
            }
            if let Some(slot) = self.slots.get_mut(at) {
                slot.rule = Some(rule.clone());
            }
        }
        for slot in self.slots.iter_mut().skip(rules.len()) {
            slot.rule = None;
        }
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
        while self
            .slots
            .pop_if(|slot| slot.rule.is_none() && !slot.ends.iter().any(Entry::is_told))
            .is_some()
        {}
    }

    /// The worst that a limit of this sensor can be.
    pub(super) fn severity(&self) -> Option<Severity> {
        let rules = self.slots.iter().filter_map(|slot| slot.rule.as_ref());
        rules.map(|rule| rule.limits.severity).max()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flat_map(|slot| &slot.ends)
    }

    /// Each entry under a name that the next process gives it, too.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, &Entry)> {
        self.slots.iter().enumerate().flat_map(|(at, slot)| {
            let ends = KINDS.iter().zip(&slot.ends);
            ends.map(move |(kind, entry)| (format!("{kind}.{at}"), entry))
        })
    }

    pub(super) fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        let (kind, at) = name.split_once('.')?;
        let end = KINDS.iter().position(|known| *known == kind)?;
        let at: usize = at.parse().ok().filter(|at| *at < LIMITS_PER_SENSOR_MAX)?;
        while self.slots.len() <= at {
            self.slots.push(Slot::default());
        }
        self.slots.get_mut(at)?.ends.get_mut(end)
    }

    /// Nothing can be said: nothing begins and nothing ends.
    pub(super) fn hold(&mut self, at_ms: u64, name: &str, voice: &mut Voice) {
        for slot in &mut self.slots {
            let rule = slot.rule.as_ref().map_or(Limits::NONE, |rule| rule.limits);
            for (entry, kind) in slot.ends.iter_mut().zip(KINDS) {
                let subject = subject(kind, &rule, name);
                let words = |_| Saying::default();
                entry.step(at_ms, Level::Hold, &patience(&rule), subject, voice, words);
            }
        }
    }

    /// Judges a value.
    pub(super) fn judge(&mut self, measured: &Measured, name: &str, voice: &mut Voice) {
        let degrees = measured.value.as_degrees_f64();
        for slot in &mut self.slots {
            let rule = slot
                .rule
                .as_ref()
                .filter(|rule| rule.holds_at(measured.utc_ms));
            let limits = rule.map_or(Limits::NONE, |rule| rule.limits);
            let levels = Standing::of(measured.value, &limits).levels();
            let [low, high] =
                [limits.low, limits.high].map(|limit| limit.map(Celsius128::as_degrees_f64));
            let ends = slot
                .ends
                .iter_mut()
                .zip(levels)
                .zip(KINDS.iter().zip(WORDS));
            for (((entry, level), (kind, word)), limit) in ends.zip([high, low]) {
                let words = |on: bool| Saying {
                    value: Some(degrees),
                    unit: "degC",
                    expected: measured.expected,
                    low,
                    high,
                    seq: Some(measured.seq),
                    text: match (on, limit) {
                        (true, Some(limit)) => format!(
                            "{name} is too {word}: {degrees:.2} degC, the limit is {limit} degC"
                        ),
                        _ => format!("{name} is no longer too {word}: {degrees:.2} degC"),
                    },
                    ..Saying::default()
                };
                let subject = subject(kind, &limits, name);
                let patience = patience(&limits);
                entry.step(measured.at_ms, level, &patience, subject, voice, words);
            }
        }
        self.drop_finished();
    }
}

fn subject<'a>(kind: &'static str, limits: &Limits, sensor: &'a str) -> Subject<'a> {
    Subject {
        kind,
        severity: limits.severity,
        sensor,
    }
}

fn patience(limits: &Limits) -> Rule {
    Rule {
        on_delay_ms: limits.duration_ms,
        off_delay_ms: OFF_DELAY_MS,
        escalate_after_ms: Some(ESCALATE_AFTER_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_know_their_margins() {
        let limits = Limits {
            high: Some(Celsius128(8 * 128)),
            low: Some(Celsius128(2 * 128)),
            hysteresis: Celsius128(64),
            ..Limits::NONE
        };
        let table = [
            (8 * 128 + 1, Standing::High),
            (8 * 128, Standing::NearHigh),
            (8 * 128 - 63, Standing::NearHigh),
            (8 * 128 - 64, Standing::Inside),
            (2 * 128 + 64, Standing::Inside),
            (2 * 128 + 63, Standing::NearLow),
            (2 * 128, Standing::NearLow),
            (2 * 128 - 1, Standing::Low),
            (i32::MAX, Standing::High),
            (i32::MIN, Standing::Low),
        ];
        for (counts, expected) in table {
            assert_eq!(
                Standing::of(Celsius128(counts), &limits),
                expected,
                "{counts}"
            );
        }
        let unlimited = Standing::of(Celsius128(i32::MAX), &Limits::NONE);
        assert_eq!(unlimited, Standing::Inside);
    }
}
