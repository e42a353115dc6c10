//! Simulated worlds of a configuration: whether they can be used, and together.
//!
//! Promises: every scenario file is read before the start; all simulated buses run at one speed, and beside
//! a real bus only at real speed, so that stamps of one device are of one time. Never: writes a file.

use std::path::Path;

use sensor_drivers::sim::Scenario;

use super::{BusPath, Config, ConfigError, GpioChip, HostSource, Source};
use crate::sample::check_inputs;

/// Reads every scenario that a configuration names.
///
/// # Errors
/// [`ConfigError`] for a scenario that cannot be used.
pub fn check_scenarios(config: &Config) -> Result<(), ConfigError> {
    let mut speed: Option<f64> = None;
    let has_device = config
        .buses
        .iter()
        .any(|bus| matches!(bus.path, BusPath::Device(_)));
    for (at, bus) in config.buses.iter().enumerate() {
        let BusPath::Scenario(path) = &bus.path else {
            continue;
        };
        let refuse = |allowed: String| ConfigError::Value {
            file: config.file.clone(),
            key: format!("bus[{at}].path"),
            value: format!("\"sim:{}\"", path.display()),
            allowed,
        };
        let speed_x = read_speed(path)
            .map_err(|reason| refuse(format!("a scenario file that can be used ({reason})")))?;
        if has_device && speed_x != 1.0 {
            return Err(refuse(format!(
                "a scenario with speed_x = 1 beside a real bus, this one has {speed_x}"
            )));
        }
        match speed {
            Some(first) if first != speed_x => {
                return Err(refuse(format!(
                    "one speed_x for all scenarios, this one has {speed_x} and an earlier one {first}"
                )));
            }
            _ => speed = Some(speed_x),
        }
    }
    check_inputs_files(config)
}

/// Every file of simulated inputs must name the lines that are asked of it.
fn check_inputs_files(config: &Config) -> Result<(), ConfigError> {
    for (at, sensor) in config.host_sensors.iter().enumerate() {
        let Source::Host(HostSource::Gpio {
            chip: GpioChip::Scenario(path),
            line,
            ..
        }) = &sensor.source
        else {
            continue;
        };
        check_inputs(path, *line).map_err(|reason| ConfigError::Value {
            file: config.file.clone(),
            key: format!("sensor[{at}].chip"),
            value: format!("\"sim:{}\"", path.display()),
            allowed: format!("a file of inputs that can be used ({reason})"),
        })?;
    }
    Ok(())
}

fn read_speed(path: &Path) -> Result<f64, String> {
    let scenario = Scenario::read(path).map_err(|error| one_line(&error.to_string()))?;
    Ok(scenario.speed_x())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
