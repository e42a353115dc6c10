//! A part with its driver, and what it says in the words of the contract.
//!
//! Promises: what a driver hands out is translated without loss; every error becomes the fault of the
//! contract with its register and code. Never: a position without a valid fix.

use embedded_hal::i2c::I2c;
use firmware_shared::reading::{Fault, FaultKind, FixKind, Position, Scalar, Value};
use firmware_shared::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
    Unit,
};
use sensor_drivers::gnss::health::ReceiverHealth;
use sensor_drivers::gnss::{Fix, FixKind as DriverFix, GnssEvent, NoFixReason};
use sensor_drivers::lm75::Lm75;
use sensor_drivers::mcp960x::{Mcp960x, ThermocoupleFault};
use sensor_drivers::mcp9808::Mcp9808;
use sensor_drivers::mt3333::Mt3333;
use sensor_drivers::sht4x::{MEASUREMENT_MS, Sht4x};
use sensor_drivers::tmp102::Tmp102;
use sensor_drivers::tmp117::Tmp117;
use sensor_drivers::ublox::Ublox;
use sensor_drivers::ubx::status::{Antenna, Jamming, Spoofing};
use sensor_drivers::{BusClass, ClassifyBus, SensorError};

use super::source::{Failure, Heard, Source, fault};
use crate::config::Driver;

/// A part with its driver.
#[derive(Debug)]
pub(crate) enum Chip<I> {
    Tmp117 {
        driver: Tmp117<I>,
        /// Values in a row that the part did not call fresh.
        not_fresh: u8,
    },
    Mcp9808(Mcp9808<I>),
    Tmp102(Tmp102<I>),
    Lm75(Lm75<I>),
    Sht4x(Sht4x<I>),
    Mcp960x(Mcp960x<I>),
    /// Boxed: it holds an unfinished frame of up to 3 KiB.
    Ublox(Box<Ublox<I>>, ReceiverNotes),
    /// Boxed for the same reason.
    Mt3333(Box<Mt3333<I>>),
}

/// Values in a row that are not called fresh before they count as none: the first may be fresh, because
/// the part loses its mark when it is set while it is being read.
const NOT_FRESH_MAX: u8 = 1;
/// Pause after "no fresh value": half a conversion of the slowest setting in use.
const NOT_READY_MS: u64 = 250;
/// Codes of a thermocouple whose wires are at fault. Append only.
const WIRE_OPEN: i32 = 1;
const WIRE_SHORT: i32 = 2;

impl<I> Chip<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    pub(crate) fn new(driver: Driver, i2c: I, address: u8) -> Self {
        match driver {
            Driver::Tmp117 => Self::Tmp117 {
                driver: Tmp117::new(i2c, address),
                not_fresh: 0,
            },
            Driver::Mcp9808 => Self::Mcp9808(Mcp9808::new(i2c, address)),
            Driver::Tmp102 => Self::Tmp102(Tmp102::new(i2c, address)),
            Driver::Lm75(part) => Self::Lm75(Lm75::new(i2c, address, part)),
            Driver::Sht4x => Self::Sht4x(Sht4x::new(i2c, address)),
            Driver::Mcp960x(kind) => Self::Mcp960x(Mcp960x::new(i2c, address, kind)),
            Driver::Ublox => {
                Self::Ublox(Box::new(Ublox::new(i2c, address)), ReceiverNotes::default())
            }
            Driver::Mt3333 => Self::Mt3333(Box::new(Mt3333::new(i2c, address))),
        }
    }

    fn begin(&mut self, now_ms: u64) -> Result<u64, SensorError<I::Error>> {
        match self {
            Self::Tmp117 { driver, not_fresh } => {
                *not_fresh = 0;
                driver.start(now_ms).map(u64::from)
            }
            Self::Mcp9808(driver) => driver.start(now_ms).map(u64::from),
            Self::Tmp102(driver) => driver.start(now_ms).map(u64::from),
            Self::Lm75(driver) => driver.start(now_ms).map(u64::from),
            Self::Sht4x(driver) => driver.start(now_ms).map(u64::from),
            Self::Mcp960x(driver) => driver.start(now_ms).map(u64::from),
            Self::Ublox(driver, _) => driver.start(now_ms).map(|()| 0),
            Self::Mt3333(driver) => {
                driver.start(now_ms);
                Ok(0)
            }
        }
    }

    fn take(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), SensorError<I::Error>> {
        let said = match self {
            Self::Tmp117 { driver, not_fresh } => {
                let sample = driver.fetch(now_ms)?;
                *not_fresh = if sample.ready_seen {
                    0
                } else {
                    not_fresh.saturating_add(1)
                };
                if *not_fresh > NOT_FRESH_MAX {
                    Heard::Fault(fault(FaultKind::NOT_READY, 0))
                } else {
                    temperature(i32::from(sample.raw))
                }
            }
            Self::Mcp9808(driver) => temperature(driver.fetch(now_ms)?.deg_c_128),
            Self::Tmp102(driver) => temperature(driver.fetch(now_ms)?.deg_c_128),
            Self::Lm75(driver) => temperature(driver.fetch(now_ms)?.deg_c_128),
            Self::Sht4x(driver) => {
                let sample = driver.fetch(now_ms)?;
                heard.push(temperature(sample.deg_c_128));
                Heard::Companion(humidity(sample.humidity_milli_percent))
            }
            Self::Mcp960x(driver) => match driver.fetch(now_ms)?.hot_deg_c_128 {
                Ok(deg_c_128) => temperature(deg_c_128),
                Err(wire) => Heard::Fault(fault(FaultKind::WIRE, wire_code(wire))),
            },
            Self::Ublox(driver, notes) => {
                let polled = driver.poll(now_ms, &mut |event| hear(&event, heard));
                notes.look(&driver.health(), heard);
                return polled.map(drop);
            }
            Self::Mt3333(driver) => {
                return driver
                    .poll(now_ms, &mut |event| hear(&event, heard))
                    .map(drop);
            }
        };
        heard.push(said);
        Ok(())
    }

    fn not_ready_ms(&self) -> u64 {
        match self {
            // The first turn asks, the next one takes.
            Self::Sht4x(_) => u64::from(MEASUREMENT_MS),
            _ => NOT_READY_MS,
        }
    }

    fn failure(&self, error: &SensorError<I::Error>) -> Failure {
        match error {
            SensorError::NotReady => Failure::NotReady {
                wait_ms: self.not_ready_ms(),
            },
            SensorError::ConfigurationLost { .. } => Failure::ConfigurationLost(fault_of(error)),
            error => Failure::Error(fault_of(error), error.advice()),
        }
    }
}

impl<I> Source for Chip<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    fn start(&mut self, now_ms: u64) -> Result<u64, Failure> {
        self.begin(now_ms).map_err(|error| self.failure(&error))
    }

    fn fetch(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        self.take(now_ms, heard)
            .map_err(|error| self.failure(&error))
    }

    fn silent_ms(&self, period_ms: u64) -> u64 {
        match self {
            // Its own period is a second, whatever the period of the turns.
            Self::Ublox(..) | Self::Mt3333(_) => 5000,
            _ => period_ms.saturating_mul(3).max(3000),
        }
    }

    fn silence(&self) -> Fault {
        match self {
            Self::Ublox(..) | Self::Mt3333(_) => fault(FaultKind::SILENT, 0),
            _ => fault(FaultKind::NOT_READY, 0),
        }
    }
}

fn temperature(deg_c_128: i32) -> Heard {
    Heard::Value(Value::Temperature(Celsius128(deg_c_128)))
}

/// Relative humidity as readings carry it.
pub(super) fn humidity(milli_percent: i32) -> Value {
    Value::Scalar(Scalar {
        value: milli_percent,
        unit: Unit::PERCENT,
        scale: -3,
    })
}

fn wire_code(wire: ThermocoupleFault) -> i32 {
    match wire {
        ThermocoupleFault::Open => WIRE_OPEN,
        ThermocoupleFault::Short => WIRE_SHORT,
    }
}

/// What an event is in the words of the contract.
pub(super) fn hear(event: &GnssEvent, heard: &mut Vec<Heard>) {
    match event {
        GnssEvent::Fix(fix) => {
            heard.push(Heard::Value(Value::Position(position(fix))));
            if let Some(speed_mm_s) = fix.implied_speed_mm_s {
                let code = i32::try_from(speed_mm_s).unwrap_or(i32::MAX);
                heard.push(Heard::Note(fault(FaultKind::JUMP, code)));
            }
        }
        GnssEvent::NoFix(reason) => {
            let code = no_fix_code(*reason);
            heard.push(Heard::Fault(fault(FaultKind::NO_FIX, code)));
        }
        GnssEvent::Time(time) => heard.push(Heard::Time(*time)),
    }
}

/// What a receiver last said about itself: codes of antenna, jamming and spoofing, 0 for nothing wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReceiverNotes([i32; 3]);

impl ReceiverNotes {
    /// Tells what has changed.
    pub(super) fn look(&mut self, health: &ReceiverHealth, heard: &mut Vec<Heard>) {
        let said = [
            match health.antenna {
                Antenna::Unknown | Antenna::Ok => 0,
                Antenna::Open => 1,
                Antenna::Short => 2,
            },
            match health.jamming {
                Jamming::Unknown | Jamming::Ok => 0,
                Jamming::Warning => 1,
                Jamming::Critical => 2,
            },
            match health.spoofing {
                Spoofing::Unknown | Spoofing::None => 0,
                Spoofing::Indicated => 1,
                Spoofing::Affirmed => 2,
            },
        ];
        let kinds = [FaultKind::ANTENNA, FaultKind::JAMMED, FaultKind::SPOOFED];
        for ((kind, code), before) in kinds.into_iter().zip(said).zip(self.0) {
            if code != before {
                heard.push(Heard::Note(fault(kind, code)));
            }
        }
        self.0 = said;
    }
}

fn position(fix: &Fix) -> Position {
    Position {
        lat: Degrees1e7(fix.lat_1e7_deg),
        lon: Degrees1e7(fix.lon_1e7_deg),
        height: fix.height_mm.map(Millimetres),
        speed: fix.speed_mm_s.map(MillimetresPerSecond),
        course: fix.course_1e5_deg.map(Course1e5),
        h_acc: fix.h_acc_mm.map(AccuracyMm),
        dop: fix.pdop_x100.or(fix.hdop_x100).map(DopCenti),
        satellites: fix.satellites,
        fix: match fix.kind {
            DriverFix::DeadReckoning => FixKind::DEAD_RECKONING,
            DriverFix::TwoD => FixKind::FIX_2D,
            DriverFix::ThreeD | DriverFix::RtkFloat | DriverFix::RtkFixed => FixKind::FIX_3D,
            DriverFix::GnssDeadReckoning => FixKind::GNSS_DEAD_RECKONING,
        },
    }
}

/// The numbers are those of stored faults: append only.
fn no_fix_code(reason: NoFixReason) -> i32 {
    match reason {
        NoFixReason::Searching => 1,
        NoFixReason::NotTrusted => 2,
        NoFixReason::TimeOnly => 3,
        NoFixReason::DeadReckoning => 4,
        NoFixReason::NotMeasured => 5,
        NoFixReason::InvalidPosition => 6,
        NoFixReason::Incomplete => 7,
    }
}

/// The fault that an error is.
fn fault_of<E>(error: &SensorError<E>) -> Fault {
    let (kind, register, code) = match error {
        SensorError::Bus {
            class, register, ..
        } => {
            let (kind, code) = bus_fault(*class);
            (kind, *register, code)
        }
        SensorError::NotReady => (FaultKind::NOT_READY, 0, 0),
        SensorError::Crc {
            register, received, ..
        } => (FaultKind::CHECKSUM, *register, i32::from(*received)),
        SensorError::WrongDevice { found } => (FaultKind::WRONG_DEVICE, 0, i32::from(*found)),
        SensorError::ConfigurationLost { found, .. } => {
            (FaultKind::CONFIGURATION, 0, i32::from(*found))
        }
        SensorError::Implausible { raw } => (FaultKind::IMPLAUSIBLE, 0, *raw),
        SensorError::Config(_) => (FaultKind::CONFIGURATION, 0, 0),
    };
    Fault {
        kind,
        register,
        code,
    }
}

/// The fault that a failed transfer is.
pub(crate) fn fault_of_bus(class: BusClass) -> Fault {
    let (kind, code) = bus_fault(class);
    fault(kind, code)
}

fn bus_fault(class: BusClass) -> (FaultKind, i32) {
    match class {
        BusClass::NoAck => (FaultKind::NO_ACK, 0),
        BusClass::Arbitration => (FaultKind::ARBITRATION, 0),
        BusClass::Timeout => (FaultKind::BUS_TIMEOUT, 0),
        BusClass::StretchOrLength => (FaultKind::STRETCH_OR_LENGTH, 0),
        BusClass::ClaimedByKernel => (FaultKind::CLAIMED_BY_KERNEL, 0),
        BusClass::Unsupported => (FaultKind::UNSUPPORTED, 0),
        BusClass::Other(number) => (FaultKind::BUS_OTHER, number),
    }
}
