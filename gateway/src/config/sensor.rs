//! What every sensor has, wherever it is connected: name, role, place, calibration, limits.
//!
//! Promises: every quantity that readings can carry has an entry of its own with an index of its own, a
//! second quantity of a part (its humidity) included. Never: two sensors with one name or index.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use firmware_shared::alert::Severity;
use firmware_shared::catalogue::{Name, SENSORS_MAX};
use firmware_shared::reading::Kind;
use firmware_shared::units::{Celsius128, Unit};
use jiff::civil::Date;
use toml::Value;

use super::detector::{DetectorSize, SIZES};
use super::host::HostSource;
use super::limit::{self, LimitRule, Limits, PlacedLimit};
use super::part::Driver;
use super::{ConfigError, Section};

/// The index under which the gateway speaks about itself.
pub const GATEWAY_SENSOR_INDEX: u8 = 255;
/// The name under which the gateway speaks about itself.
pub const GATEWAY_SENSOR_NAME: &str = "gateway";
/// One entry of the catalogue is the gateway itself.
const SENSOR_COUNT_MAX: usize = SENSORS_MAX - 1;

/// One sensor: one quantity at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorConfig {
    /// The index that its readings carry.
    pub index: u8,
    /// The name that people use.
    pub name: Name,
    /// Where its values come from.
    pub source: Source,
    /// What its values are.
    pub quantity: Quantity,
    /// What it measures for the vehicle.
    pub role: Name,
    /// Where in the vehicle it sits; empty when nobody said.
    pub compartment: Name,
    /// Time between two turns, ms of stamps.
    pub period_ms: u64,
    /// Added to each temperature.
    pub calibration: Celsius128,
    /// The last day on which the calibration counts.
    pub calibration_until: Option<Date>,
    /// How much its detector remembers.
    pub detector: DetectorSize,
    /// What is allowed: its own limits, then those of its role and compartment.
    pub limits: Vec<LimitRule>,
}

#[cfg(test)]
impl SensorConfig {
    /// A thermometer or receiver without limits.
    pub(crate) fn of_part(index: u8, name: &str, driver: Driver, address: u8) -> Self {
        let is_receiver = [Driver::Ublox, Driver::Mt3333].contains(&driver);
        let (quantity, role, period_ms) = match is_receiver {
            true => (Quantity::Position, "vehicle", 200),
            false => (Quantity::Temperature, "load", 1000),
        };
        Self {
            index,
            name: name.try_into().unwrap(),
            source: Source::Part { driver, address },
            quantity,
            role: role.try_into().unwrap(),
            compartment: Name::new(),
            period_ms,
            calibration: Celsius128(0),
            calibration_until: None,
            detector: DetectorSize::Small,
            limits: Vec::new(),
        }
    }
}

/// Where the values of a sensor come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A part on an I2C bus.
    Part {
        /// Which part.
        driver: Driver,
        /// Its address, seven bits.
        address: u8,
    },
    /// The same part as the sensor with this index.
    Companion {
        /// Whose part it is.
        of: u8,
    },
    /// A file or a character device of this machine.
    Host(HostSource),
}

/// What the values of a sensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Temperatures.
    Temperature,
    /// Relative humidity.
    Humidity,
    /// Positions.
    Position,
    /// 1 when a contact is active, else 0.
    Input,
}

impl Quantity {
    /// As the catalogue says it.
    #[must_use]
    pub fn kind_and_unit(self) -> (Kind, Unit) {
        match self {
            Self::Temperature => (Kind::Temperature, Unit::CELSIUS),
            Self::Humidity => (Kind::Scalar, Unit::PERCENT),
            Self::Position => (Kind::Position, Unit::DEGREE),
            Self::Input => (Kind::State, Unit::NONE),
        }
    }
}

pub(super) const ROLES: [(&str, &str); 10] = [
    ("supply", "supply"),
    ("return", "return"),
    ("load", "load"),
    ("engine", "engine"),
    ("ambient", "ambient"),
    ("vehicle", "vehicle"),
    ("door", "door"),
    ("ignition", "ignition"),
    ("power_good", "power_good"),
    ("defrost", "defrost"),
];
/// The role of the input whose loss means that the supply is about to end.
pub const POWER_GOOD_ROLE: &str = "power_good";
pub(super) const SEVERITIES: [(&str, Severity); 3] = [
    ("diagnostic", Severity::Diagnostic),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
];

/// What must be there once on a device.
pub(super) struct Taken {
    pub(super) bus_names: BTreeSet<String>,
    pub(super) bus_paths: BTreeSet<std::path::PathBuf>,
    pub(super) names: BTreeSet<Name>,
    pub(super) indices: BTreeSet<u8>,
    /// For sensors that do not say it themselves.
    pub(super) detector: DetectorSize,
}

impl Taken {
    /// Nothing is taken.
    pub(super) fn new(detector: DetectorSize) -> Self {
        Self {
            bus_names: BTreeSet::new(),
            bus_paths: BTreeSet::new(),
            names: BTreeSet::new(),
            indices: BTreeSet::new(),
            detector,
        }
    }
}

/// What is known about a sensor before the keys that every sensor has are read.
pub(super) struct Frame {
    pub(super) index: u8,
    pub(super) name: Name,
    pub(super) source: Source,
    pub(super) role: &'static str,
    /// Default and range.
    pub(super) period_ms: (u32, RangeInclusive<u32>),
    pub(super) quantity: Quantity,
    /// What it can measure.
    pub(super) deg_c: RangeInclusive<f64>,
}

pub(super) fn read(
    section: &mut Section<'_>,
    taken: &Taken,
    frame: Frame,
) -> Result<SensorConfig, ConfigError> {
    let role = section.choice("role", Some(frame.role), &ROLES)?;
    let compartment = limit::read_compartment(section, "compartment")?.unwrap_or_default();
    let (default_ms, range) = frame.period_ms;
    let period_ms = section.integer("period_ms", default_ms, range)?;
    let mut sensor = SensorConfig {
        index: frame.index,
        name: frame.name,
        source: frame.source,
        quantity: frame.quantity,
        role: short_name(role),
        compartment,
        period_ms: u64::from(period_ms),
        calibration: Celsius128(0),
        calibration_until: None,
        detector: DetectorSize::Off,
        limits: Vec::new(),
    };
    if frame.quantity != Quantity::Input {
        let default = taken.detector.name();
        sensor.detector = section.choice("detector", Some(default), &SIZES)?;
    }
    if frame.quantity == Quantity::Temperature {
        let calibration = section.number("calibration_deg_c", 0.0, -10.0..=10.0)?;
        sensor.calibration = counts(calibration);
        sensor.calibration_until = section.date_if_any("calibration_until")?;
        let own = read_limits(section, frame.deg_c)?;
        sensor
            .limits
            .extend((!own.is_none()).then(|| LimitRule::always(own)));
    }
    Ok(sensor)
}

pub(super) fn read_name(
    section: &mut Section<'_>,
    taken: &mut Taken,
    key: &'static str,
) -> Result<Name, ConfigError> {
    let text = section.text(key, NAME_ALLOWED)?;
    take_name(section, taken, key, text)
}

pub(super) const NAME_ALLOWED: &str =
    "a name of 1 to 32 bytes that no other sensor has, other than \"gateway\"";

pub(super) fn take_name(
    section: &Section<'_>,
    taken: &mut Taken,
    key: &str,
    text: String,
) -> Result<Name, ConfigError> {
    let name = Name::try_from(text.as_str())
        .ok()
        .filter(|name| name != GATEWAY_SENSOR_NAME && taken.names.insert(name.clone()));
    name.ok_or_else(|| section.refuse(key, Value::String(text), NAME_ALLOWED))
}

/// An explicit index, or the number of sensors before this one.
pub(super) fn read_index(section: &mut Section<'_>, taken: &mut Taken) -> Result<u8, ConfigError> {
    let default = next_index(section, taken)?;
    let index = section.integer("index", default, 0..=GATEWAY_SENSOR_INDEX - 1)?;
    take_index(section, taken, "index", index)
}

pub(super) fn next_index(section: &Section<'_>, taken: &Taken) -> Result<u8, ConfigError> {
    let position = taken.indices.len();
    let default = u8::try_from(position)
        .ok()
        .filter(|_| position < SENSOR_COUNT_MAX);
    default.ok_or_else(|| {
        let allowed = format!("at most {SENSOR_COUNT_MAX} sensors on one device");
        section.refuse("name", format!("sensor number {}", position + 1), allowed)
    })
}

pub(super) fn take_index(
    section: &Section<'_>,
    taken: &mut Taken,
    key: &str,
    index: u8,
) -> Result<u8, ConfigError> {
    if taken.indices.insert(index) {
        Ok(index)
    } else {
        Err(section.refuse(key, index, "an index that no other sensor has"))
    }
}

fn read_limits(
    section: &mut Section<'_>,
    range: RangeInclusive<f64>,
) -> Result<Limits, ConfigError> {
    let high = section
        .number_if_any("limit_high_deg_c", range.clone())?
        .map(counts);
    let low = section.number_if_any("limit_low_deg_c", range)?.map(counts);
    let keys = ["limit_low_deg_c", "limit_high_deg_c"];
    limit::check_order(section, low, high, keys)?;
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

/// Gives each sensor the limits of its role and compartment.
pub(super) fn place_limits(
    root: &Section<'_>,
    sensors: &mut [&mut SensorConfig],
    placed: &[PlacedLimit],
) -> Result<(), ConfigError> {
    for (at, limit) in placed.iter().enumerate() {
        let mut count = 0;
        for sensor in sensors.iter_mut().filter(|sensor| limit.is_for(sensor)) {
            count += 1;
            sensor.limits.push(limit.rule.clone());
            if sensor.limits.len() > limit::LIMITS_PER_SENSOR_MAX {
                let allowed = format!(
                    "at most {} limits for one sensor, its own included",
                    limit::LIMITS_PER_SENSOR_MAX
                );
                return Err(root.refuse(&format!("limit[{at}]"), &sensor.name, allowed));
            }
        }
        if count == 0 {
            let allowed = "a role and compartment that a thermometer of this device has";
            return Err(root.refuse(&format!("limit[{at}]"), "nobody's", allowed));
        }
    }
    Ok(())
}

/// Degrees in counts of 1/128; the ranges above keep it far inside of i32.
pub(super) fn counts(deg_c: f64) -> Celsius128 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 1800 * 128")]
    Celsius128((deg_c * f64::from(Celsius128::PER_DEGREE)).round() as i32)
}

/// Roles are words of this file and shorter than a name may be.
fn short_name(role: &str) -> Name {
    Name::try_from(role).unwrap_or_default()
}
