//! What else is known beside a temperature: set-point, doors, defrost, the air outside.
//!
//! Promises: a contact or thermometer counts for its own compartment, and for all when it has none; what has
//! not been told for three periods is not known any more. Never: a guess in place of a contact that fails.

use firmware_shared::catalogue::Name;
use firmware_shared::detect::Channels;
use firmware_shared::reading::{Reading, Value};

use crate::config::{Quantity, SensorConfig};

const PERIODS_MAX: u64 = 3;
/// However short its period is: the queue and a slow disk may hold a reading up.
const AGE_MS_MIN: u64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Door,
    Defrost,
    Ambient,
}

/// One source of such knowledge.
#[derive(Debug)]
struct Witness {
    index: u8,
    what: What,
    compartment: Name,
    age_ms_max: u64,
    last: Option<(u64, Value)>,
}

/// A set-point of the trip; an empty compartment means all.
#[derive(Debug, Clone, PartialEq)]
pub struct SetPoint {
    /// Where.
    pub compartment: Name,
    /// What the controller tries to hold.
    pub deg_c: f64,
}

/// Everything that explains normal life.
#[derive(Debug)]
pub(super) struct Around {
    witnesses: Vec<Witness>,
    set_points: Vec<SetPoint>,
}

impl Around {
    pub(super) fn new<'a>(sensors: impl IntoIterator<Item = &'a SensorConfig>) -> Self {
        Self {
            witnesses: sensors.into_iter().filter_map(Witness::new).collect(),
            set_points: Vec::new(),
        }
    }

    pub(super) fn set_points(&mut self, set_points: Vec<SetPoint>) {
        self.set_points = set_points;
    }

    /// Takes any reading; those of other sensors say nothing here.
    pub(super) fn hear(&mut self, reading: &Reading) {
        let mut witnesses = self.witnesses.iter_mut();
        if let Some(witness) = witnesses.find(|witness| witness.index == reading.sensor) {
            witness.last = match reading.value {
                Value::Fault(_) => None,
                value => Some((reading.stamp_ms, value)),
            };
        }
    }

    /// What is known about the place of a sensor.
    pub(super) fn of(&self, sensor: u8, compartment: &Name, now_ms: u64) -> Channels {
        let near = |what| {
            self.witnesses.iter().filter(move |witness| {
                let here = witness.compartment.is_empty() || witness.compartment == *compartment;
                witness.what == what && witness.index != sensor && here
            })
        };
        let contact = |what| {
            let known = near(what).filter_map(|witness| witness.state(now_ms));
            known.reduce(|one, other| one || other)
        };
        Channels {
            set_point: self.set_point(compartment),
            door: contact(What::Door),
            defrost: contact(What::Defrost),
            ambient: near(What::Ambient).find_map(|witness| witness.deg_c(now_ms)),
        }
    }

    fn set_point(&self, compartment: &Name) -> Option<f64> {
        let of = |name: &str| {
            let mut points = self.set_points.iter();
            points.find(|point| point.compartment == name)
        };
        let own = of(compartment.as_str()).or_else(|| of(""));
        own.map(|point| point.deg_c)
    }
}

impl Witness {
    fn new(sensor: &SensorConfig) -> Option<Self> {
        let what = match (sensor.quantity, sensor.role.as_str()) {
            (Quantity::Input, "door") => What::Door,
            (Quantity::Input, "defrost") => What::Defrost,
            (Quantity::Temperature, "ambient") => What::Ambient,
            _ => return None,
        };
        Some(Self {
            index: sensor.index,
            what,
            compartment: sensor.compartment.clone(),
            age_ms_max: sensor.period_ms.saturating_mul(PERIODS_MAX).max(AGE_MS_MIN),
            last: None,
        })
    }

    fn fresh(&self, now_ms: u64) -> Option<Value> {
        let (at_ms, value) = self.last?;
        (now_ms.saturating_sub(at_ms) <= self.age_ms_max).then_some(value)
    }

    fn state(&self, now_ms: u64) -> Option<bool> {
        match self.fresh(now_ms)? {
            Value::State(state) => Some(state != 0),
            _ => None,
        }
    }

    fn deg_c(&self, now_ms: u64) -> Option<f64> {
        match self.fresh(now_ms)? {
            Value::Temperature(value) => Some(value.as_degrees_f64()),
            _ => None,
        }
    }
}
