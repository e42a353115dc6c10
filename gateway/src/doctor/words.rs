//! What is found, in plain words.

use std::io;
use std::path::Path;

use firmware_shared::reading::{Fault, FaultKind, Value};
use sensor_drivers::adapter::Adapter;

use super::{PartReport, Problem};
use crate::sample::Heard;

const EACCES: i32 = 13;
const ENOENT: i32 = 2;
/// "Inappropriate ioctl for device".
const ENOTTY: i32 = 25;

pub(super) fn adapter_note(adapter: Adapter) -> Option<&'static str> {
    match adapter {
        Adapter::Bcm2835 => Some(
            "this controller cannot follow a part that stretches the clock (u-blox, MCP9600, BNO055): \
             prefer dtoverlay=i2c-gpio on other pins for those, or a lower clock",
        ),
        _ => None,
    }
}

fn problem(what: impl Into<String>, advice: impl Into<String>) -> Problem {
    Problem {
        what: what.into(),
        advice: advice.into(),
    }
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> Problem {
    let path = path.display();
    match error.raw_os_error() {
        Some(ENOENT) => problem(
            format!("there is no {path}"),
            "enable I2C: `sudo raspi-config`, Interface Options, I2C (dtparam=i2c_arm=on in config.txt), \
             or load the module i2c-dev; the bus may also have another number: `ls /dev/i2c-*`",
        ),
        Some(EACCES) => problem(
            format!("{path} must not be opened by this user"),
            "add the user to the group of the file: `sudo usermod -aG i2c USER`, then log in again",
        ),
        _ => problem(
            format!("{path} cannot be opened: {error}"),
            "see what the kernel says: `dmesg | tail`",
        ),
    }
}

pub(super) fn nothing() -> Problem {
    problem(
        "no address answers at which a known part can be",
        "check 3.3 V and ground, whether SDA (pin 3) and SCL (pin 5) are swapped, and the pull-up \
         resistors; some parts sleep until their enable pin is high",
    )
}

pub(super) fn bus(fault: &Fault) -> Problem {
    match fault.kind {
        FaultKind::BUS_TIMEOUT => problem(
            "the bus hangs: a part holds one of its lines",
            "unplug the parts one by one until the others answer; cut the power of the part that hung",
        ),
        FaultKind::ARBITRATION => problem(
            "something else drives the lines",
            "look for a second master, or for a wire that picks up noise; shorten the cable",
        ),
        FaultKind::UNSUPPORTED => problem(
            "the adapter cannot do a write followed by a read",
            "use another adapter",
        ),
        FaultKind::BUS_OTHER if fault.code == ENOTTY => problem(
            "this is no I2C bus",
            "name the file of a bus: `ls /dev/i2c-*`, or sim:scenario.toml",
        ),
        _ => problem(
            format!("transfers fail ({} {})", fault.kind.name(), fault.code),
            "see what the kernel says: `dmesg | tail`",
        ),
    }
}

/// How an address is written.
pub(super) fn address(address: u8) -> String {
    format!("{address:#04x}")
}

fn report(address: u8, part: impl Into<String>) -> PartReport {
    PartReport {
        address: self::address(address),
        part: part.into(),
        reading: None,
        problem: None,
    }
}

pub(super) fn owned(address: u8, chip: &str) -> PartReport {
    let name = if chip.is_empty() { "a part" } else { chip };
    PartReport {
        reading: Some("left to the kernel".to_owned()),
        problem: Some(problem(
            "a driver of the kernel owns this address",
            "read it through the kernel ([[sensor]] with driver = \"hwmon\" or \"iio\"), or remove the overlay \
             that claims it",
        )),
        ..report(address, name)
    }
}

/// A part that a running gateway reads: a second reader would take a receiver's sentences away from it.
pub(super) fn read(address: u8, sensor: &str) -> PartReport {
    PartReport {
        reading: Some("left to the gateway that runs; `fleet-gateway status` shows it".to_owned()),
        ..report(address, sensor)
    }
}

pub(super) fn works(address: u8, name: &str, reading: String) -> PartReport {
    PartReport {
        reading: Some(reading),
        ..report(address, name)
    }
}

/// What a receiver says about itself that a person should know.
pub(super) fn receiver(fault: &Fault) -> Option<Problem> {
    match (fault.kind, fault.code) {
        (FaultKind::ANTENNA, 1) => Some(problem(
            "the receiver says that its antenna is not connected",
            "check the antenna's plug and cable; a passive antenna without supply current looks like this, too",
        )),
        (FaultKind::ANTENNA, 2) => Some(problem(
            "the receiver says that its antenna is shorted",
            "unplug the antenna; look for a crushed cable or water in the plug",
        )),
        (FaultKind::JAMMED, 1 | 2) => Some(problem(
            "the receiver says that it is jammed",
            "move the antenna away from USB 3, cameras, LED lamps and chargers; drive on and ask again",
        )),
        (FaultKind::SPOOFED, 1 | 2) => Some(problem(
            "the receiver says that its signals may be forged",
            "do not trust its positions and times here; drive on, restart the receiver and ask again",
        )),
        _ => None,
    }
}

pub(super) fn doubts(
    address: u8,
    name: &str,
    reading: Option<String>,
    problem: Problem,
) -> PartReport {
    PartReport {
        reading,
        problem: Some(problem),
        ..report(address, name)
    }
}

pub(super) fn without_identity(address: u8, reading: Option<String>) -> PartReport {
    let reading = match reading {
        Some(value) => format!("reads like {value}; it has no identity, so look at its marking"),
        None => "answers, but not like a thermometer".to_owned(),
    };
    let name = "a part without identity (drivers \"lm75\", \"lm75b\", \"tmp75\", \"tmp105\"?)";
    works(address, name, reading)
}

pub(super) fn fails(
    address: u8,
    name: &str,
    is_receiver: bool,
    fault: Option<Fault>,
) -> PartReport {
    let problem = match fault.map(|fault| fault.kind) {
        Some(FaultKind::NO_FIX) => {
            return works(
                address,
                name,
                "works, but has no position: give it a view of the sky and some minutes".to_owned(),
            );
        }
        Some(FaultKind::STRETCH_OR_LENGTH) => problem(
            "it stretches the clock for longer than this adapter waits",
            "use dtoverlay=i2c-gpio on other pins for it, or lower the clock (dtparam=i2c_arm_baudrate=10000); \
             a receiver can also be read over its serial port (driver = \"gnss_serial\")",
        ),
        Some(FaultKind::CHECKSUM) => problem(
            "its answers arrive damaged",
            "shorten the cable, lower the clock, check the pull-up resistors",
        ),
        Some(FaultKind::WIRE) => problem(
            "the wires of its probe are open or shorted",
            "check the probe and its connector",
        ),
        Some(FaultKind::IMPLAUSIBLE) => problem(
            "it says what it cannot have measured",
            "check its supply; lower the clock; if it stays, replace it",
        ),
        Some(kind) => problem(
            format!("it gives no value ({})", kind.name()),
            "cut its power for a second and try again",
        ),
        None if is_receiver => problem(
            "it answers, but sends neither NMEA nor UBX",
            "check whether it is a receiver, and whether its I2C port is switched on",
        ),
        None => problem(
            "it never had a value ready",
            "cut its power for a second and try again",
        ),
    };
    PartReport {
        problem: Some(problem),
        ..report(address, name)
    }
}

/// The first values among what was heard.
pub(super) fn reading(heard: &[Heard]) -> Option<String> {
    let values = heard.iter().filter_map(|item| match item {
        Heard::Value(value) | Heard::Companion(value) => Some(value),
        Heard::Fault(_) | Heard::Note(_) | Heard::Time(_) => None,
    });
    let words: Vec<String> = values.take(2).map(words_of).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn words_of(value: &Value) -> String {
    match value {
        Value::Temperature(value) => format!("{:.2} degC", value.as_degrees_f64()),
        Value::Scalar(scalar) => {
            let value = f64::from(scalar.value) * 10f64.powi(scalar.scale.into());
            format!("{value:.1} {}", scalar.unit.symbol())
        }
        Value::Position(position) => format!(
            "position {:.5} {:.5}",
            position.lat.as_degrees_f64(),
            position.lon.as_degrees_f64()
        ),
        Value::State(state) => format!("state {state}"),
        Value::Fault(fault) => fault.kind.name().to_owned(),
        Value::Health(_) => "health".to_owned(),
    }
}
