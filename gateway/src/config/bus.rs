//! `[[bus]]` and `[[bus.sensor]]`: what is connected, where, and what is allowed there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use firmware_shared::alert::Severity;
use firmware_shared::catalogue::{Name, SENSORS_MAX};
use firmware_shared::units::Celsius128;
use toml::Value;

use super::{ConfigError, Section};

/// The index under which the gateway speaks about itself.
pub const GATEWAY_SENSOR_INDEX: u8 = 255;
/// The name under which the gateway speaks about itself.
pub const GATEWAY_SENSOR_NAME: &str = "gateway";
/// One entry of the catalogue is the gateway itself.
const SENSOR_COUNT_MAX: usize = SENSORS_MAX - 1;

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

/// `[[bus.sensor]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorConfig {
    /// The index that its readings carry.
    pub index: u8,
    /// The name that people use.
    pub name: Name,
    /// The part.
    pub driver: Driver,
    /// Its address, seven bits.
    pub address: u8,
    /// What it measures for the vehicle.
    pub role: Name,
    /// Time between two turns, ms of stamps.
    pub period_ms: u64,
    /// Added to each value.
    pub calibration: Celsius128,
    /// What is allowed.
    pub limits: Limits,
}

/// The part at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// TMP117 thermometer.
    Tmp117,
    /// u-blox receiver.
    Ublox,
}

/// What is allowed for a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above this is too high.
    pub high: Option<Celsius128>,
    /// Below this is too low.
    pub low: Option<Celsius128>,
    /// How long it must last before it is an alert, ms of stamps; 0 = the first reading.
    pub duration_ms: u64,
    /// How far inside the limit a value must be again before the alert may clear.
    pub hysteresis: Celsius128,
    /// How bad it is.
    pub severity: Severity,
}

const DRIVERS: [(&str, Driver); 2] = [("tmp117", Driver::Tmp117), ("ublox", Driver::Ublox)];
const ROLES: [(&str, &str); 6] = [
    ("supply", "supply"),
    ("return", "return"),
    ("load", "load"),
    ("engine", "engine"),
    ("ambient", "ambient"),
    ("vehicle", "vehicle"),
];
const SEVERITIES: [(&str, Severity); 3] = [
    ("diagnostic", Severity::Diagnostic),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
];
/// The range of the TMP117.
const DEG_C_RANGE: std::ops::RangeInclusive<f64> = -55.0..=150.0;

/// What must be there once on a device.
#[derive(Default)]
struct Taken {
    bus_names: BTreeSet<String>,
    bus_paths: BTreeSet<PathBuf>,
    names: BTreeSet<Name>,
    indices: BTreeSet<u8>,
}

pub(super) fn read(root: &mut Section<'_>) -> Result<Vec<BusConfig>, ConfigError> {
    let mut taken = Taken::default();
    let (mut buses, mut tables) = (Vec::new(), Vec::new());
    for mut section in root.sections("bus")? {
        buses.push(read_bus(&mut section, &mut taken)?);
        tables.push(section.finish()?);
    }
    if buses.is_empty() {
        return Err(root.refuse("bus", "[]", "at least one section [[bus]] with a sensor"));
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
        let sensor = read_sensor(&mut inner, taken)?;
        if !addresses.insert(sensor.address) {
            let allowed = "an address that no other sensor of this bus has";
            return Err(inner.refuse("address", sensor.address, allowed));
        }
        sensors.push(sensor);
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

fn read_sensor(section: &mut Section<'_>, taken: &mut Taken) -> Result<SensorConfig, ConfigError> {
    let name = read_name(section, taken)?;
    let driver = section.choice("driver", None, &DRIVERS)?;
    let index = read_index(section, taken)?;
    let sensor = match driver {
        Driver::Tmp117 => {
            let address = section.integer("address", 0x48_u8, 0x48..=0x4b)?;
            let role = section.choice("role", Some("ambient"), &ROLES)?;
            // The part gives a fresh result every 500 ms.
            let period_ms = section.integer("period_ms", 1000_u32, 500..=3_600_000)?;
            let calibration = section.number("calibration_deg_c", 0.0, -10.0..=10.0)?;
            let limits = read_limits(section)?;
            let calibration = counts(calibration);
            SensorConfig {
                index,
                name,
                driver,
                address,
                role: short_name(role),
                period_ms: u64::from(period_ms),
                calibration,
                limits,
            }
        }
        Driver::Ublox => {
            let address = section.integer("address", 0x42_u8, 0x08..=0x77)?;
            let role = section.choice("role", Some("vehicle"), &ROLES)?;
            // How often its buffer is emptied, not how often it finds a position; a receiver stops its
            // stream when nobody asks for 1.5 s.
            let period_ms = section.integer("period_ms", 200_u32, 50..=1000)?;
            SensorConfig {
                index,
                name,
                driver,
                address,
                role: short_name(role),
                period_ms: u64::from(period_ms),
                calibration: Celsius128(0),
                limits: Limits::NONE,
            }
        }
    };
    Ok(sensor)
}

fn read_name(section: &mut Section<'_>, taken: &mut Taken) -> Result<Name, ConfigError> {
    let allowed = "a name of 1 to 32 bytes that no other sensor has, other than \"gateway\"";
    let text = section.text("name", allowed)?;
    let name = Name::try_from(text.as_str())
        .ok()
        .filter(|name| name != GATEWAY_SENSOR_NAME && taken.names.insert(name.clone()));
    name.ok_or_else(|| section.refuse("name", Value::String(text), allowed))
}

/// An explicit index, or the number of sensors before this one.
fn read_index(section: &mut Section<'_>, taken: &mut Taken) -> Result<u8, ConfigError> {
    let position = taken.indices.len();
    let default = u8::try_from(position)
        .ok()
        .filter(|_| position < SENSOR_COUNT_MAX);
    let Some(default) = default else {
        let allowed = format!("at most {SENSOR_COUNT_MAX} sensors on one device");
        return Err(section.refuse("name", format!("sensor number {}", position + 1), allowed));
    };
    let index = section.integer("index", default, 0..=GATEWAY_SENSOR_INDEX - 1)?;
    if taken.indices.insert(index) {
        Ok(index)
    } else {
        Err(section.refuse("index", index, "an index that no other sensor has"))
    }
}

fn read_limits(section: &mut Section<'_>) -> Result<Limits, ConfigError> {
    let high = section
        .number_if_any("limit_high_deg_c", DEG_C_RANGE)?
        .map(counts);
    let low = section
        .number_if_any("limit_low_deg_c", DEG_C_RANGE)?
        .map(counts);
    if let (Some(low), Some(high)) = (low, high)
        && low >= high
    {
        let allowed = format!("below limit_high_deg_c, which is {}", high.as_degrees_f64());
        return Err(section.refuse("limit_low_deg_c", low.as_degrees_f64(), allowed));
    }
    let duration_s = section.integer("limit_duration_s", 0_u32, 0..=86_400)?;
    // Wide enough for the noise and the ripple of a fridge at its set point.
    let hysteresis = section.number("limit_hysteresis_deg_c", 0.5, 0.0..=20.0)?;
    let severity = section.choice("severity", Some("critical"), &SEVERITIES)?;
    Ok(Limits {
        high,
        low,
        duration_ms: u64::from(duration_s) * 1000,
        hysteresis: counts(hysteresis),
        severity,
    })
}

impl Limits {
    /// Everything is allowed.
    pub const NONE: Self = Self {
        high: None,
        low: None,
        duration_ms: 0,
        hysteresis: Celsius128(0),
        severity: Severity::Warning,
    };
}

/// Degrees in counts of 1/128; the ranges above keep it far inside of i32.
fn counts(deg_c: f64) -> Celsius128 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 150 * 128")]
    Celsius128((deg_c * f64::from(Celsius128::PER_DEGREE)).round() as i32)
}

/// Roles are words of this file and shorter than a name may be.
fn short_name(role: &str) -> Name {
    Name::try_from(role).unwrap_or_default()
}
