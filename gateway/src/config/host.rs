//! `[host]` and `[[sensor]]`: what this machine offers without an I2C driver of ours.
//!
//! Promises: a 1-Wire probe is bound by the number in its ROM, so that two probes are never confused; a
//! chip of the kernel is bound by its name and, where there are several, by its device. Never: a sensor
//! bound by the order in which the kernel found it.

use std::path::PathBuf;

use toml::Value;

use super::sensor::{self, Quantity, SensorConfig, Source, Taken};
use super::{ConfigError, Section};

/// `[host]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Where sysfs is.
    pub sysfs: PathBuf,
}

/// Something of this machine that gives values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSource {
    /// A DS18B20 on the kernel's 1-Wire bus.
    OneWire {
        /// Its ROM as the kernel writes it: family, dash, serial number.
        rom: String,
    },
    /// A chip that a kernel driver reads.
    Kernel {
        /// Which interface of the kernel.
        interface: KernelInterface,
        /// What its file `name` says.
        chip: String,
        /// The last part of what its `device` points to, where several chips have one name.
        device: Option<String>,
        /// Which of its inputs.
        input: String,
    },
    /// A receiver on a serial port.
    Serial {
        /// The character device.
        path: PathBuf,
        /// Bits per second.
        baud: u32,
    },
    /// A contact at a line of a GPIO chip.
    Gpio {
        /// Which chip.
        chip: GpioChip,
        /// The line's offset on it.
        line: u32,
        /// A low level is the active one.
        active_low: bool,
        /// What holds the line when nobody drives it.
        bias: Bias,
        /// How long a level must last before it counts, ms.
        debounce_ms: u32,
    },
}

/// How the kernel shows a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelInterface {
    /// `/sys/class/hwmon`
    Hwmon,
    /// `/sys/bus/iio/devices`
    Iio,
}

/// Where a GPIO chip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpioChip {
    /// A character device of the kernel.
    Device(PathBuf),
    /// A file that says when which line changes.
    Scenario(PathBuf),
}

/// What holds a line when nobody drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// As it is.
    AsIs,
    /// Nothing.
    Disabled,
    /// A resistor to the supply.
    PullUp,
    /// A resistor to ground.
    PullDown,
}

/// What the word in `driver` means before its other keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OneWire,
    Kernel(KernelInterface),
    Serial,
    Gpio,
}

const KINDS: [(&str, Kind); 5] = [
    ("ds18b20", Kind::OneWire),
    ("hwmon", Kind::Kernel(KernelInterface::Hwmon)),
    ("iio", Kind::Kernel(KernelInterface::Iio)),
    ("gnss_serial", Kind::Serial),
    ("gpio", Kind::Gpio),
];
const BIASES: [(&str, Bias); 4] = [
    ("as_is", Bias::AsIs),
    ("disabled", Bias::Disabled),
    ("pull_up", Bias::PullUp),
    ("pull_down", Bias::PullDown),
];
/// The speeds that serial ports and receivers share.
pub const BAUDS: [u32; 9] = [
    4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600,
];
/// DS18B20; the kernel writes twelve digits behind the dash.
const ROM_FAMILY: &str = "28-";

pub(super) fn read_host(root: &mut Section<'_>) -> Result<HostConfig, ConfigError> {
    let mut section = root.section("host")?;
    let sysfs = section.path("sysfs", "/sys")?;
    root.adopt("host", section)?;
    Ok(HostConfig { sysfs })
}

pub(super) fn read(
    root: &mut Section<'_>,
    taken: &mut Taken,
) -> Result<Vec<SensorConfig>, ConfigError> {
    let (mut sensors, mut tables) = (Vec::<SensorConfig>::new(), Vec::new());
    for mut section in root.sections("sensor")? {
        let sensor = read_sensor(&mut section, taken)?;
        if sensors.iter().any(|other| other.source == sensor.source) {
            let allowed = "a source that no other sensor has";
            return Err(section.refuse("name", sensor.name.as_str(), allowed));
        }
        sensors.push(sensor);
        tables.push(section.finish()?);
    }
    root.adopt_all("sensor", tables);
    Ok(sensors)
}

fn read_sensor(section: &mut Section<'_>, taken: &mut Taken) -> Result<SensorConfig, ConfigError> {
    let name = sensor::read_name(section, taken, "name")?;
    let kind = section.choice("driver", None, &KINDS)?;
    let index = sensor::read_index(section, taken)?;
    let (source, quantity) = match kind {
        Kind::OneWire => (read_rom(section)?, Quantity::Temperature),
        Kind::Kernel(interface) => read_kernel(section, interface)?,
        Kind::Serial => (read_serial(section)?, Quantity::Position),
        Kind::Gpio => (read_gpio(section)?, Quantity::Input),
    };
    let (role, period_ms) = match kind {
        // A conversion takes 750 ms, and the probes of one wire take turns.
        Kind::OneWire => ("load", (5000, 1000..=3_600_000)),
        Kind::Kernel(_) => ("ambient", (1000, 100..=3_600_000)),
        Kind::Serial => ("vehicle", (100, 20..=1000)),
        // How often an unchanged input is told again; changes are told when they happen.
        Kind::Gpio => ("door", (60_000, 1000..=3_600_000)),
    };
    let frame = sensor::Frame {
        index,
        name,
        source: Source::Host(source),
        role,
        period_ms,
        quantity,
        deg_c: -270.0..=1800.0,
    };
    sensor::read(section, taken, frame)
}

fn read_rom(section: &mut Section<'_>) -> Result<HostSource, ConfigError> {
    let allowed = "the number of a DS18B20 as in /sys/bus/w1/devices, such as \"28-0316a2794bff\"";
    let rom = section.text("rom", allowed)?;
    let digits = rom.strip_prefix(ROM_FAMILY).unwrap_or_default();
    let is_rom = digits.len() == 12
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_rom {
        Ok(HostSource::OneWire { rom })
    } else {
        Err(section.refuse("rom", Value::String(rom), allowed))
    }
}

fn read_kernel(
    section: &mut Section<'_>,
    interface: KernelInterface,
) -> Result<(HostSource, Quantity), ConfigError> {
    let chip = section.text("chip", "what the chip's file `name` says")?;
    let device = section.text_if_any("device", "the chip's device, such as \"1-0048\"")?;
    let (input, quantity) = match interface {
        KernelInterface::Hwmon => {
            let allowed = "temp1 to temp99";
            let input = section.text_or("input", "temp1", allowed)?;
            let number = input.strip_prefix("temp").unwrap_or_default();
            if !matches!(number.parse::<u8>(), Ok(1..=99)) || number.starts_with(['0', '+']) {
                return Err(section.refuse("input", Value::String(input), allowed));
            }
            (input, Quantity::Temperature)
        }
        KernelInterface::Iio => {
            let inputs = [
                ("temp", Quantity::Temperature),
                ("humidityrelative", Quantity::Humidity),
            ];
            let quantity = section.choice("input", Some("temp"), &inputs)?;
            let word = inputs.iter().find(|(_, q)| *q == quantity);
            let word = word.map_or("temp", |(word, _)| *word);
            (word.to_owned(), quantity)
        }
    };
    let source = HostSource::Kernel {
        interface,
        chip,
        device,
        input,
    };
    Ok((source, quantity))
}

fn read_serial(section: &mut Section<'_>) -> Result<HostSource, ConfigError> {
    let allowed = "a character device, such as \"/dev/ttyAMA0\"";
    let text = section.text("path", allowed)?;
    if !text.starts_with('/') {
        return Err(section.refuse("path", Value::String(text), allowed));
    }
    let baud = section.integer("baud", 9600_u32, 1..=4_000_000)?;
    if !BAUDS.contains(&baud) {
        let allowed = BAUDS.map(|baud| baud.to_string()).join(", ");
        return Err(section.refuse("baud", baud, format!("one of {allowed}")));
    }
    let path = PathBuf::from(text);
    Ok(HostSource::Serial { path, baud })
}

fn read_gpio(section: &mut Section<'_>) -> Result<HostSource, ConfigError> {
    let allowed = "\"/dev/gpiochipN\" or \"sim:INPUTS.toml\"";
    let text = section.text("chip", allowed)?;
    let chip = match text.strip_prefix("sim:") {
        Some(file) if !file.is_empty() => GpioChip::Scenario(section.resolve("chip", "sim:", file)),
        None if text.starts_with('/') => GpioChip::Device(PathBuf::from(&text)),
        _ => return Err(section.refuse("chip", Value::String(text), allowed)),
    };
    let line = section.required_integer("line", 0_u32..=65_535)?;
    let active_low = section.boolean("active_low", false)?;
    let bias = section.choice("bias", Some("as_is"), &BIASES)?;
    // A contact bounces for milliseconds; a supply that fails leaves hardly more.
    let debounce_ms = section.integer("debounce_ms", 5_u32, 0..=1000)?;
    Ok(HostSource::Gpio {
        chip,
        line,
        active_low,
        bias,
        debounce_ms,
    })
}
