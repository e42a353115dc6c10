//! How unusual a reading is, and whether it is inside its limits.
//!
//! Promises: one [`Verdict`] for each reading, from the readings before it alone; the same readings give
//! the same verdicts; a fault teaches nothing and is never scored; limits hold from the first reading.
//! Never: a clock, a float that decides, a heap in the per-reading path.
//!
//! The detector is a robust z-score: the distance from the median of the recent past, in units of the
//! median absolute deviation. A stage with the same `step` and a better detector can take its place.

mod baseline;
mod limit;

use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::units::Celsius128;

pub use baseline::{Baseline, Expected};
pub use limit::Standing;

use crate::config::{Limits, SensorConfig};

/// What is said about one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// How unusual it is.
    pub score: Score,
    /// What was expected; `None` before the detector has learned, and for what it does not score.
    pub expected: Option<Expected>,
    /// Where it stands to its limits; `None` for a reading without a number.
    pub standing: Option<Standing>,
}

/// One sensor's judge.
#[derive(Debug)]
struct Judge {
    index: u8,
    limits: Limits,
    baseline: Baseline,
}

/// The judges of all sensors.
#[derive(Debug)]
pub struct Scorer {
    judges: Vec<Judge>,
}

impl Scorer {
    /// A judge for each sensor.
    pub fn new<'a>(sensors: impl IntoIterator<Item = &'a SensorConfig>) -> Self {
        let judge = |sensor: &SensorConfig| Judge {
            index: sensor.index,
            limits: sensor.limits,
            baseline: Baseline::new(),
        };
        Self {
            judges: sensors.into_iter().map(judge).collect(),
        }
    }

    /// Judges a reading, and learns from it when it is a valid one. `now_ms` is its stamp.
    pub fn step(&mut self, now_ms: u64, reading: &Reading) -> Verdict {
        let judge = self
            .judges
            .iter_mut()
            .find(|judge| judge.index == reading.sensor);
        match (judge, reading.value) {
            (Some(judge), Value::Temperature(value)) => judge.step(now_ms, value),
            _ => Verdict::default(),
        }
    }
}

impl Judge {
    fn step(&mut self, now_ms: u64, value: Celsius128) -> Verdict {
        let (score, expected) = self.baseline.step(now_ms, value.0);
        let standing = Some(Standing::of(value, &self.limits));
        Verdict {
            score,
            expected,
            standing,
        }
    }
}

#[cfg(test)]
mod tests;
