//! Simulated worlds of a configuration: whether they can be used, and together.
//!
//! Promises: every scenario file is read before the start; all simulated buses run at one speed, and beside
//! a real bus only at real speed, so that stamps of one device are of one time. Never: writes a file.

use std::path::Path;

use sensor_drivers::sim::Scenario;

use super::{BusPath, Config, ConfigError};

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
    Ok(())
}

/// The scenario must be usable as a whole; its speed is then a number in its file, or 1.
fn read_speed(path: &Path) -> Result<f64, String> {
    Scenario::read(path).map_err(|error| one_line(&error.to_string()))?;
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let table: toml::Table = text.parse().map_err(|_| "not TOML".to_owned())?;
    Ok(match table.get("speed_x") {
        Some(toml::Value::Float(speed)) => *speed,
        Some(toml::Value::Integer(speed)) => i32::try_from(*speed).map_or(f64::NAN, f64::from),
        _ => 1.0,
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
