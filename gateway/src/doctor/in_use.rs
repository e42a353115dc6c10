//! What a running gateway reads.
//!
//! Promises: by bus and address, as its configuration says. Never: a simulated bus, which has no second reader.

use std::path::{Path, PathBuf};

use crate::config::{BusPath, Config, Source};

/// Bus, address and the name of the sensor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InUse(Vec<(PathBuf, u8, String)>);

impl InUse {
    /// Of a gateway that runs with this configuration.
    pub(super) fn by(config: &Config) -> Self {
        let mut parts = Vec::new();
        for bus in &config.buses {
            let BusPath::Device(path) = &bus.path else {
                continue;
            };
            for sensor in &bus.sensors {
                if let Source::Part { address, .. } = sensor.source {
                    parts.push((path.clone(), address, sensor.name.to_string()));
                }
            }
        }
        Self(parts)
    }

    /// On this bus: the address, and the sensor's name.
    pub(super) fn of(&self, bus: &Path) -> impl Iterator<Item = (u8, &str)> {
        let mine = self.0.iter().filter(move |(path, ..)| path == bus);
        mine.map(|(_, address, sensor)| (*address, sensor.as_str()))
    }
}
