//! How unusual a reading is.
//!
//! Promises: one [`Verdict`] for each reading, from the readings before it alone; the same readings give
//! the same verdicts; faults, gaps and invalid values teach nothing and are never scored; what is known of
//! doors, defrost, the air outside and the set-point of the trip is taken into account. Never: a clock, a
//! heap in the per-reading path, a file (the shell keeps the models).
//!
//! The detector itself is in `firmware_shared::detect`; here it meets the sensors of a vehicle.

mod around;
mod calendar;
mod model;

use firmware_shared::catalogue::Name;
use firmware_shared::detect::{self, SnapshotError};
use firmware_shared::reading::{Reading, Score, Value};

use around::Around;
pub use around::SetPoint;
pub use calendar::Calendar;
use model::Model;
pub use model::PositionVerdict;

use crate::config::SensorConfig;

/// From here on a reading carries its score: below is ordinary life, which costs nothing on the wire.
const SCORE_MIN: f32 = 0.35;

/// What is said about one reading.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Verdict {
    /// How unusual it is.
    pub score: Score,
    /// What the detector says about a number.
    pub number: Option<detect::Verdict>,
    /// What the rules say about a position.
    pub position: Option<PositionVerdict>,
}

/// One sensor's judge.
#[derive(Debug)]
struct Judge {
    index: u8,
    name: Name,
    compartment: Name,
    model: Model,
    /// Readings that were judged since the model was last kept.
    unkept: u64,
}

/// The judges of all sensors.
#[derive(Debug)]
pub struct Scorer {
    judges: Vec<Judge>,
    around: Around,
    calendar: Calendar,
}

impl Scorer {
    /// A judge for each sensor that has a detector.
    pub fn new<'a>(sensors: impl IntoIterator<Item = &'a SensorConfig>) -> Self {
        let sensors: Vec<_> = sensors.into_iter().collect();
        let judge = |sensor: &SensorConfig| {
            Some(Judge {
                index: sensor.index,
                name: sensor.name.clone(),
                compartment: sensor.compartment.clone(),
                model: Model::of(sensor)?,
                unkept: 0,
            })
        };
        Self {
            judges: sensors.iter().copied().filter_map(judge).collect(),
            around: Around::new(sensors),
            calendar: Calendar::default(),
        }
    }

    /// What is known about UTC from here on.
    pub fn utc(&mut self, stamp_ms: u64, utc_ms: i64) {
        self.calendar.utc(stamp_ms, utc_ms);
    }

    /// The clock of the models.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        self.calendar
    }

    /// The set-points of the trip from here on.
    pub fn set_points(&mut self, set_points: Vec<SetPoint>) {
        self.around.set_points(set_points);
    }

    /// Judges a reading, and learns from it when it is a valid one.
    pub fn step(&mut self, reading: &Reading) -> Verdict {
        self.step_around(reading, &detect::Channels::default())
    }

    /// The same with something that is known better than the sensors tell it.
    pub fn step_around(&mut self, reading: &Reading, known: &detect::Channels) -> Verdict {
        self.around.hear(reading);
        let mut judges = self.judges.iter_mut();
        let Some(judge) = judges.find(|judge| judge.index == reading.sensor) else {
            return Verdict::default();
        };
        let at_ms = self.calendar.at(reading.stamp_ms);
        let Some(number) = number(&reading.value) else {
            // Rules about seconds; a calendar that moves would only disturb them.
            let position = judge.model.position(reading.stamp_ms, &reading.value);
            let begins = position.is_some_and(|position| position.begins.is_some());
            return Verdict {
                score: if begins { Score::MAX } else { Score::ORDINARY },
                number: None,
                position,
            };
        };
        let (sensor, place) = (judge.index, &judge.compartment);
        let heard = self.around.of(sensor, place, reading.stamp_ms);
        let around = detect::Channels {
            set_point: known.set_point.or(heard.set_point),
            door: known.door.or(heard.door),
            defrost: known.defrost.or(heard.defrost),
            ambient: known.ambient.or(heard.ambient),
        };
        let verdict = judge.model.number(at_ms, number, around);
        judge.unkept += 1;
        Verdict {
            score: verdict.as_ref().map_or(Score::ORDINARY, score),
            number: verdict,
            position: None,
        }
    }

    /// The names of the sensors whose models can be kept, in an order that stays.
    pub fn kept_names(&self) -> impl Iterator<Item = &Name> {
        let kept = self.judges.iter().filter(|judge| judge.model.is_kept());
        kept.map(|judge| &judge.name)
    }

    /// A sensor's model as bytes, if it has learned since it was last kept.
    pub fn keep(&mut self, name: &str) -> Option<Vec<u8>> {
        let mut judges = self.judges.iter_mut();
        let judge = judges.find(|judge| judge.name == name && judge.unkept > 0)?;
        let bytes = judge.model.save()?;
        judge.unkept = 0;
        Some(bytes)
    }

    /// Goes on with a model that an earlier process kept at `last_ms` of its calendar.
    ///
    /// # Errors
    /// [`SnapshotError`]: the model begins anew.
    pub fn restore(
        &mut self,
        name: &str,
        stamp_ms: u64,
        last_ms: u64,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        let mut judges = self.judges.iter_mut();
        if let Some(judge) = judges.find(|judge| judge.name == name) {
            judge.model.restore(bytes)?;
            self.calendar.resume(stamp_ms, last_ms);
        }
        Ok(())
    }
}

/// The number that a detector judges.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Temperature(value) => Some(value.as_degrees_f64()),
        Value::Scalar(scalar) => {
            Some(f64::from(scalar.value) * 10f64.powi(i32::from(scalar.scale)))
        }
        Value::Position(_) | Value::State(_) | Value::Fault(_) | Value::Health(_) => None,
    }
}

fn score(verdict: &detect::Verdict) -> Score {
    if verdict.readiness != detect::Readiness::Ready {
        return Score::ORDINARY;
    }
    let score = verdict.level.max(verdict.score);
    if score < SCORE_MIN {
        return Score::ORDINARY;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a score is between 0 and 1"
    )]
    Score((score.clamp(0.0, 1.0) * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests;
