//! `[[bus.sensor]]`: a part on an I2C bus.
//!
//! Promises: only addresses that the part can have, only periods in which it can give a fresh value, only
//! limits that it can measure. Never: a part guessed from its address.

use sensor_drivers::lm75::Lm75Part;
use sensor_drivers::mcp960x::Thermocouple;

use super::sensor::{self, Quantity, SensorConfig, Source, Taken};
use super::{ConfigError, Section};
use firmware_shared::units::Celsius128;

/// The part at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// TMP117 thermometer.
    Tmp117,
    /// MCP9808 thermometer.
    Mcp9808,
    /// TMP102 or TMP112 thermometer.
    Tmp102,
    /// LM75, LM75B, TMP75 or TMP105 thermometer.
    Lm75(Lm75Part),
    /// SHT40, SHT41 or SHT45: temperature and humidity.
    Sht4x,
    /// MCP9600 or MCP9601 with a thermocouple.
    Mcp960x(Thermocouple),
    /// u-blox receiver.
    Ublox,
    /// Receiver of the MT3333 kind: NMEA in packets.
    Mt3333,
}

const DRIVERS: [(&str, Driver); 13] = [
    ("tmp117", Driver::Tmp117),
    ("mcp9808", Driver::Mcp9808),
    ("tmp102", Driver::Tmp102),
    ("tmp112", Driver::Tmp102),
    ("lm75", Driver::Lm75(Lm75Part::Lm75)),
    ("lm75b", Driver::Lm75(Lm75Part::Lm75b)),
    ("tmp75", Driver::Lm75(Lm75Part::Tmp75)),
    ("tmp105", Driver::Lm75(Lm75Part::Tmp105)),
    ("sht4x", Driver::Sht4x),
    ("mcp9600", Driver::Mcp960x(Thermocouple::K)),
    ("mcp9601", Driver::Mcp960x(Thermocouple::K)),
    ("ublox", Driver::Ublox),
    ("mt3333", Driver::Mt3333),
];
const THERMOCOUPLES: [(&str, Thermocouple); 8] = [
    ("K", Thermocouple::K),
    ("J", Thermocouple::J),
    ("T", Thermocouple::T),
    ("N", Thermocouple::N),
    ("S", Thermocouple::S),
    ("E", Thermocouple::E),
    ("B", Thermocouple::B),
    ("R", Thermocouple::R),
];

/// What the part allows.
struct Traits {
    address: (u8, std::ops::RangeInclusive<u8>),
    role: &'static str,
    /// Default and range: at least one conversion, or as often as its buffer must be emptied.
    period_ms: (u32, std::ops::RangeInclusive<u32>),
    deg_c: std::ops::RangeInclusive<f64>,
    quantity: Quantity,
}

impl Driver {
    fn traits(self) -> Traits {
        let thermometer = |first: u8, last: u8, fastest_ms: u32, deg_c| Traits {
            address: (first, first..=last),
            role: "ambient",
            period_ms: (1000, fastest_ms..=3_600_000),
            deg_c,
            quantity: Quantity::Temperature,
        };
        // How often the buffer is emptied, not how often a position is found; a u-blox receiver stops its
        // stream when nobody asks for 1.5 s, the other one gives 254 bytes at a time.
        let receiver = |address: u8, default_ms: u32| Traits {
            address: (address, 0x08..=0x77),
            role: "vehicle",
            period_ms: (default_ms, 50..=1000),
            deg_c: 0.0..=0.0,
            quantity: Quantity::Position,
        };
        match self {
            Self::Tmp117 => thermometer(0x48, 0x4b, 500, -55.0..=150.0),
            Self::Mcp9808 => thermometer(0x18, 0x1f, 250, -40.0..=125.0),
            Self::Tmp102 => thermometer(0x48, 0x4b, 285, -55.0..=150.0),
            Self::Lm75(_) => thermometer(0x48, 0x4f, 300, -55.0..=128.0),
            Self::Sht4x => thermometer(0x44, 0x46, 100, -40.0..=125.0),
            Self::Mcp960x(kind) => {
                let (low, high) = kind.range_deg_c();
                let deg_c = f64::from(low)..=f64::from(high);
                let mut traits = thermometer(0x60, 0x67, 600, deg_c);
                traits.address.0 = 0x67;
                traits.role = "engine";
                traits
            }
            Self::Ublox => receiver(0x42, 200),
            Self::Mt3333 => receiver(0x10, 100),
        }
    }
}

/// Reads one section; a part with two quantities gives two sensors, its own first.
pub(super) fn read(
    section: &mut Section<'_>,
    taken: &mut Taken,
) -> Result<Vec<SensorConfig>, ConfigError> {
    let name = sensor::read_name(section, taken, "name")?;
    let mut driver = section.choice("driver", None, &DRIVERS)?;
    let index = sensor::read_index(section, taken)?;
    if let Driver::Mcp960x(_) = driver {
        driver = Driver::Mcp960x(section.choice("thermocouple", Some("K"), &THERMOCOUPLES)?);
    }
    let traits = driver.traits();
    let (default, range) = traits.address;
    let address = section.integer("address", default, range)?;
    let frame = sensor::Frame {
        index,
        name,
        source: Source::Part { driver, address },
        role: traits.role,
        period_ms: traits.period_ms,
        quantity: traits.quantity,
        deg_c: traits.deg_c,
    };
    let sensor = sensor::read(section, taken, frame)?;
    let companion = match driver {
        Driver::Sht4x => read_humidity(section, taken, &sensor)?,
        _ => None,
    };
    Ok([sensor].into_iter().chain(companion).collect())
}

fn read_humidity(
    section: &mut Section<'_>,
    taken: &mut Taken,
    sensor: &SensorConfig,
) -> Result<Option<SensorConfig>, ConfigError> {
    let Some(text) = section.text_if_any("humidity_name", sensor::NAME_ALLOWED)? else {
        return Ok(None);
    };
    let name = sensor::take_name(section, taken, "humidity_name", text)?;
    let default = sensor::next_index(section, taken)?;
    let range = 0..=sensor::GATEWAY_SENSOR_INDEX - 1;
    let index = section.integer("humidity_index", default, range)?;
    let index = sensor::take_index(section, taken, "humidity_index", index)?;
    Ok(Some(SensorConfig {
        index,
        name,
        source: Source::Companion { of: sensor.index },
        quantity: Quantity::Humidity,
        calibration: Celsius128(0),
        calibration_until: None,
        limits: Vec::new(),
        ..sensor.clone()
    }))
}
