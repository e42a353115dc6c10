//! Where the known parts can be, and how each is recognised and read.

use std::ops::RangeInclusive;

use embedded_hal::i2c::I2c;
use firmware_shared::reading::{Fault, FaultKind, Value};
use sensor_drivers::ClassifyBus;
use sensor_drivers::lm75::{self, Lm75Part};
use sensor_drivers::mcp960x::Thermocouple;

use super::{Pace, PartReport, words};
use crate::config::Driver;
use crate::sample::{BusHandle, Chip, Failure, Heard, Source, fault_of_bus};

/// Addresses and what can be there, in the order in which it is asked for.
pub(super) struct Place {
    pub(super) addresses: RangeInclusive<u8>,
    pub(super) kinds: &'static [Kind],
}

/// A kind of part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// One that says what it is, or shows it by what it sends.
    Known(Driver, &'static str),
    /// Something that can only be read: it has no identity, so nothing is written to it.
    ReadsLikeLm75,
}

/// What is at an address.
pub(super) enum Outcome {
    /// Nobody.
    Absent,
    /// Somebody, but not this kind.
    Another,
    /// This kind.
    Found(PartReport),
    /// The bus failed.
    Bus(Fault),
}

const TMP117: Kind = Kind::Known(Driver::Tmp117, "TMP117 thermometer (driver \"tmp117\")");
const TMP102: Kind = Kind::Known(
    Driver::Tmp102,
    "TMP102 or TMP112 thermometer (driver \"tmp102\")",
);
const MCP9808: Kind = Kind::Known(Driver::Mcp9808, "MCP9808 thermometer (driver \"mcp9808\")");
const SHT4X: Kind = Kind::Known(
    Driver::Sht4x,
    "SHT4x thermometer and hygrometer (driver \"sht4x\")",
);
const MCP960X: Kind = Kind::Known(
    Driver::Mcp960x(Thermocouple::K),
    "MCP9600 or MCP9601 thermocouple converter (driver \"mcp9600\")",
);
const UBLOX: Kind = Kind::Known(Driver::Ublox, "u-blox receiver (driver \"ublox\")");
const MT3333: Kind = Kind::Known(Driver::Mt3333, "MT3333-type receiver (driver \"mt3333\")");

pub(super) const PLACES: &[Place] = &[
    place(0x10..=0x10, &[MT3333]),
    place(0x18..=0x1f, &[MCP9808]),
    place(0x42..=0x42, &[UBLOX]),
    place(0x44..=0x46, &[SHT4X]),
    place(0x48..=0x4b, &[TMP117, TMP102, Kind::ReadsLikeLm75]),
    place(0x4c..=0x4f, &[Kind::ReadsLikeLm75]),
    place(0x60..=0x67, &[MCP960X]),
];

const fn place(addresses: RangeInclusive<u8>, kinds: &'static [Kind]) -> Place {
    Place { addresses, kinds }
}

/// A receiver says something every second.
const RECEIVER_MS: u64 = 3000;
/// What a u-blox receiver says about itself comes with every tenth epoch.
const RECEIVER_ITSELF_MS: u64 = 12_000;
const RECEIVER_TURN_MS: u64 = 100;
/// A thermometer that has no value after so many turns has none.
const TURNS_MAX: u32 = 12;

impl Kind {
    pub(super) fn look(self, i2c: BusHandle, address: u8, pace: &mut Pace) -> Outcome {
        match self {
            Self::Known(driver, name) => look_for(driver, name, i2c, address, pace),
            Self::ReadsLikeLm75 => read_like_lm75(i2c, address),
        }
    }
}

fn look_for(driver: Driver, name: &str, i2c: BusHandle, address: u8, pace: &mut Pace) -> Outcome {
    let is_receiver = [Driver::Ublox, Driver::Mt3333].contains(&driver);
    let mut chip = Chip::new(driver, i2c, address);
    match chip.start(pace.now_ms) {
        Ok(wait_ms) => pace.pause(wait_ms),
        Err(Failure::Error(fault, _)) => return outcome(fault, name, address),
        Err(Failure::ConfigurationLost(_) | Failure::NotReady { .. }) => return Outcome::Another,
    }
    let began_ms = pace.now_ms;
    let (mut heard, mut last) = (Vec::new(), None);
    let mut reading = None;
    for _ in 0..if is_receiver { u32::MAX } else { TURNS_MAX } {
        match chip.fetch(pace.now_ms, &mut heard) {
            Ok(()) | Err(Failure::ConfigurationLost(_)) => pace.pause(RECEIVER_TURN_MS),
            Err(Failure::NotReady { wait_ms }) => pace.pause(wait_ms),
            Err(Failure::Error(fault, _)) if is_receiver || !is_of_part(fault) => {
                return outcome(fault, name, address);
            }
            Err(Failure::Error(fault, _)) => {
                last = Some(fault);
                pace.pause(RECEIVER_TURN_MS);
            }
        }
        reading = reading.or_else(|| words::reading(&heard));
        if reading.is_some() && driver != Driver::Ublox {
            break;
        }
        let mut itself = None;
        for item in heard.drain(..) {
            match item {
                Heard::Fault(fault) => last = Some(fault),
                Heard::Note(fault) => itself = itself.or_else(|| words::receiver(&fault)),
                Heard::Value(_) | Heard::Companion(_) | Heard::Time(_) => {}
            }
        }
        if let Some(problem) = itself {
            return Outcome::Found(words::doubts(address, name, reading, problem));
        }
        let is_silent = reading.is_none() && last.is_none();
        let listened_ms = if driver == Driver::Ublox && !is_silent {
            RECEIVER_ITSELF_MS
        } else {
            RECEIVER_MS
        };
        if is_receiver && pace.now_ms >= began_ms + listened_ms {
            break;
        }
    }
    Outcome::Found(match reading {
        Some(reading) => words::works(address, name, reading),
        None => words::fails(address, name, is_receiver, last),
    })
}

/// Whether the part itself says so, over a bus that works.
fn is_of_part(fault: Fault) -> bool {
    [
        FaultKind::CHECKSUM,
        FaultKind::IMPLAUSIBLE,
        FaultKind::WIRE,
        FaultKind::CONFIGURATION,
        FaultKind::NOT_READY,
    ]
    .contains(&fault.kind)
}

fn outcome(fault: Fault, name: &str, address: u8) -> Outcome {
    match fault.kind {
        FaultKind::NO_ACK => Outcome::Absent,
        FaultKind::WRONG_DEVICE => Outcome::Another,
        FaultKind::CLAIMED_BY_KERNEL => Outcome::Found(words::owned(address, "")),
        _ if is_of_part(fault) => Outcome::Found(words::fails(address, name, false, Some(fault))),
        FaultKind::STRETCH_OR_LENGTH => {
            Outcome::Found(words::fails(address, name, false, Some(fault)))
        }
        _ => Outcome::Bus(fault),
    }
}

fn read_like_lm75(mut i2c: BusHandle, address: u8) -> Outcome {
    let mut word = [0; 2];
    if let Err(error) = i2c.write_read(address, &[0], &mut word) {
        return outcome(fault_of_bus(error.class()), "a part", address);
    }
    let value = lm75::decode_temperature(Lm75Part::Lm75b, word).ok();
    let value = value.map(|deg_c_128| {
        Heard::Value(Value::Temperature(firmware_shared::units::Celsius128(
            deg_c_128,
        )))
    });
    let reading = value.and_then(|value| words::reading(&[value]));
    Outcome::Found(words::without_identity(address, reading))
}
