//! What each sensor said last, for whoever asks.

use firmware_shared::detect::Readiness;
use firmware_shared::reading::{FaultKind, Reading, Value};

use crate::config::SensorConfig;
use crate::sample::SensorState;
use crate::score::Verdict;
use crate::status::{LastValue, SensorReport};

/// The last words of one sensor.
#[derive(Debug, Clone)]
pub(super) struct SeenSensor {
    index: u8,
    name: String,
    role: String,
    last: Option<(u64, LastValue)>,
    detector: Option<&'static str>,
    fault: Option<FaultKind>,
    readings: u64,
    faults: u64,
}

impl SeenSensor {
    pub(super) fn new(sensor: &SensorConfig) -> Self {
        Self {
            index: sensor.index,
            name: sensor.name.to_string(),
            role: sensor.role.to_string(),
            last: None,
            detector: None,
            fault: None,
            readings: 0,
            faults: 0,
        }
    }

    pub(super) fn index(&self) -> u8 {
        self.index
    }

    pub(super) fn note(&mut self, reading: &Reading, verdict: &Verdict) {
        self.readings += 1;
        if let Some(number) = &verdict.number {
            self.detector = Some(match number.readiness {
                Readiness::Ready => "ready",
                Readiness::Cold | Readiness::NoValue => "cold",
            });
        }
        let value = match reading.value {
            Value::Fault(fault) => {
                self.faults += 1;
                self.fault = Some(fault.kind);
                return;
            }
            Value::Temperature(value) => LastValue::Temperature {
                deg_c: value.as_degrees_f64(),
            },
            Value::Position(position) => LastValue::Position {
                lat: position.lat.as_degrees_f64(),
                lon: position.lon.as_degrees_f64(),
            },
            Value::Scalar(scalar) => LastValue::Number {
                value: f64::from(scalar.value) * 10f64.powi(i32::from(scalar.scale)),
                unit: scalar.unit.symbol(),
            },
            Value::State(state) => LastValue::Input { active: state != 0 },
            Value::Health(_) => return,
        };
        self.fault = None;
        self.last = Some((reading.stamp_ms, value));
    }

    pub(super) fn report(&self, stamp_ms: u64, state: SensorState) -> SensorReport {
        SensorReport {
            index: self.index,
            name: self.name.clone(),
            role: self.role.clone(),
            state,
            last: self.last.map(|(_, value)| value),
            age_ms: self.last.map(|(at_ms, _)| stamp_ms.saturating_sub(at_ms)),
            detector: self.detector,
            fault: self.fault.map(FaultKind::name),
            readings: self.readings,
            faults: self.faults,
        }
    }
}
