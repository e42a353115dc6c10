//! `[[bus]]`: where parts are connected.
//!
//! Promises: one section for each bus, one address for each part. Never: two buses at one path, whose
//! threads would be in each other's way.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml::Value;

use super::sensor::{SensorConfig, Source, Taken};
use super::{ConfigError, Section, part};

/// `[[bus]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusConfig {
    /// The name that people use.
    pub name: String,
    /// Where it is.
    pub path: BusPath,
    /// What is connected to it.
    pub sensors: Vec<SensorConfig>,
}

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusPath {
    /// A character device of the kernel.
    Device(PathBuf),
    /// A simulated world.
    Scenario(PathBuf),
}

pub(super) fn read(
    root: &mut Section<'_>,
    taken: &mut Taken,
) -> Result<Vec<BusConfig>, ConfigError> {
    let (mut buses, mut tables) = (Vec::new(), Vec::new());
    for mut section in root.sections("bus")? {
        buses.push(read_bus(&mut section, taken)?);
        tables.push(section.finish()?);
    }
    root.adopt_all("bus", tables);
    Ok(buses)
}

fn read_bus(section: &mut Section<'_>, taken: &mut Taken) -> Result<BusConfig, ConfigError> {
    let name = section.text("name", "a name")?;
    if !taken.bus_names.insert(name.clone()) {
        let allowed = "a name that no other bus has";
        return Err(section.refuse("name", Value::String(name), allowed));
    }
    let path = read_path(section, taken)?;
    let (mut sensors, mut tables) = (Vec::new(), Vec::new());
    let mut addresses = BTreeSet::new();
    for mut inner in section.sections("sensor")? {
        for sensor in part::read(&mut inner, taken)? {
            if let Source::Part { address, .. } = sensor.source
                && !addresses.insert(address)
            {
                let allowed = "an address that no other sensor of this bus has";
                return Err(inner.refuse("address", address, allowed));
            }
            sensors.push(sensor);
        }
        tables.push(inner.finish()?);
    }
    if sensors.is_empty() {
        return Err(section.refuse("sensor", "[]", "at least one section [[bus.sensor]]"));
    }
    section.adopt_all("sensor", tables);
    Ok(BusConfig {
        name,
        path,
        sensors,
    })
}

fn read_path(section: &mut Section<'_>, taken: &mut Taken) -> Result<BusPath, ConfigError> {
    let allowed = "\"/dev/i2c-N\" or \"sim:SCENARIO.toml\"";
    let text = section.text("path", allowed)?;
    let (path, bus_path) = match text.strip_prefix("sim:") {
        Some(file) if !file.is_empty() => {
            let path = section.resolve("path", "sim:", file);
            (path.clone(), BusPath::Scenario(path))
        }
        None if text.starts_with('/') => {
            (PathBuf::from(&text), BusPath::Device(PathBuf::from(&text)))
        }
        _ => return Err(section.refuse("path", Value::String(text), allowed)),
    };
    if !taken.bus_paths.insert(path) {
        let allowed = "a path that no other bus has";
        return Err(section.refuse("path", Value::String(text), allowed));
    }
    Ok(bus_path)
}
