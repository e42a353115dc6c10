//! The sensor catalogue: what the sensor indices of an epoch mean.
//!
//! Promises: a catalogue opens each epoch in the stream and rides in each birth, so that old batches keep
//! their meaning after a configuration change; what a later version adds about a sensor stands in
//! [`Details`] at the end of a message, so that older readers and writers understand each other. Never:
//! changes inside an epoch.

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

    /// The catalogue of these sensors with their details; its version covers both.
    #[must_use]
    pub fn described(
        sensors: impl IntoIterator<Item = SensorEntry>,
        details: &Details,
    ) -> Option<Self> {
        let mut catalogue = Self::new(sensors)?;
        if !details.0.is_empty() {
            let mut buffer = [0; 5 + SENSORS_MAX * 48];
            let both = (catalogue.version, details);
            let bytes = postcard::to_slice(&both, &mut buffer).ok()?;
            catalogue.version = crate::checksum::crc32c(bytes);
        }
        Some(catalogue)
    }

    /// The sensor with this index.
    #[must_use]
    pub fn sensor(&self, index: u8) -> Option<&SensorEntry> {
        self.sensors.iter().find(|sensor| sensor.index == index)
    }
}

/// More about one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorDetail {
    /// The index that readings carry.
    pub index: u8,
    /// Where in the vehicle it sits, in the fleet's own words; empty when nobody said.
    pub compartment: Name,
    /// The last day on which its calibration counts, days since 1970-01-01.
    pub calibration_until_day: Option<i32>,
}

/// The last field of a birth and of an opening. A writer leaves it out when it is empty, and a reader takes
/// a message that ends before it as one without details. Whoever appends a field behind it writes it always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Details(pub heapless::Vec<SensorDetail, SENSORS_MAX>);

impl Details {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said about the sensor with this index.
    #[must_use]
    pub fn sensor(&self, index: u8) -> Option<&SensorDetail> {
        self.0.iter().find(|detail| detail.index == index)
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The bytes are whole, a checksum has said so: what cannot be read is not there.
        Ok(Self(
            heapless::Vec::deserialize(deserializer).unwrap_or_default(),
        ))
    }
}
