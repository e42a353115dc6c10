//! The sensor catalogue: what the sensor indices of an epoch mean.
//!
//! Promises: a catalogue opens each epoch in the stream and rides in each birth, so that old batches keep
//! their meaning after a configuration change. Never: changes inside an epoch.

use serde::{Deserialize, Serialize};

use crate::reading::Kind;
use crate::units::Unit;

/// The most sensors that one device can have.
pub const SENSORS_MAX: usize = 64;

/// A short name in the catalogue.
pub type Name = heapless::String<32>;

/// One sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorEntry {
    /// The index that readings carry.
    pub index: u8,
    /// The name that people use.
    pub name: Name,
    /// The kind of its values.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// What it measures for the vehicle: supply, return, load, engine, ambient, vehicle, gateway.
    pub role: Name,
    /// Offset that was added to each value, in the value's own counts.
    pub calibration: i32,
    /// Expected time between two readings, ms; 0 when there is none.
    pub period_ms: u32,
}

/// The sensors of one device, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalogue {
    /// CRC-32C of the postcard form of the entries: equal versions mean equal catalogues.
    pub version: u32,
    /// The sensors, by index.
    pub sensors: heapless::Vec<SensorEntry, SENSORS_MAX>,
}

impl Catalogue {
    /// The catalogue of these sensors; `None` when there are more than [`SENSORS_MAX`].
    #[must_use]
    pub fn new(sensors: impl IntoIterator<Item = SensorEntry>) -> Option<Self> {
        let mut list = heapless::Vec::new();
        for sensor in sensors {
            list.push(sensor).ok()?;
        }
        let mut buffer = [0; SENSORS_MAX * 96];
        let bytes = postcard::to_slice(&list, &mut buffer).ok()?;
        Some(Self {
            version: crate::checksum::crc32c(bytes),
            sensors: list,
        })
    }

    /// The sensor with this index.
    #[must_use]
    pub fn sensor(&self, index: u8) -> Option<&SensorEntry> {
        self.sensors.iter().find(|sensor| sensor.index == index)
    }
}
