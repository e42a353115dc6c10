//! A part with its driver, and what it says in the words of the contract.
//!
//! Promises: what a driver hands out is translated without loss; every error becomes the fault of the
//! contract with its register and code. Never: a position without a valid fix.

use embedded_hal::i2c::I2c;
use firmware_shared::reading::{Fault, FaultKind, FixKind, Position, Value};
use firmware_shared::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
};
use sensor_drivers::gnss::{Fix, FixKind as DriverFix, GnssEvent, GnssTime, NoFixReason};
use sensor_drivers::tmp117::Tmp117;
use sensor_drivers::ublox::Ublox;
use sensor_drivers::{BusClass, ClassifyBus, SensorError};

use crate::config::Driver;

/// A part with its driver.
#[derive(Debug)]
pub(super) enum Chip<I> {
    Tmp117 {
        driver: Tmp117<I>,
        /// Values in a row that the part did not call fresh.
        not_fresh: u8,
    },
    /// Boxed: it holds an unfinished frame of up to 3 KiB.
    Ublox(Box<Ublox<I>>),
}

/// Something that a part said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Heard {
    /// A value, without calibration.
    Value(Value),
    /// It works, but has no value.
    Fault(Fault),
    /// It knows UTC.
    Time(GnssTime),
}

/// Values in a row that are not called fresh before they count as none: the first may be fresh, because
/// the part loses its mark when it is set while it is being read.
const NOT_FRESH_MAX: u8 = 1;
const NOT_READY: Fault = Fault {
    kind: FaultKind::NOT_READY,
    register: 0,
    code: 0,
};

impl<I> Chip<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    pub(super) fn new(driver: Driver, i2c: I, address: u8) -> Self {
        match driver {
            Driver::Tmp117 => Self::Tmp117 {
                driver: Tmp117::new(i2c, address),
                not_fresh: 0,
            },
            Driver::Ublox => Self::Ublox(Box::new(Ublox::new(i2c, address))),
        }
    }

    /// Identifies and configures the part; after how long its first value is due, ms.
    pub(super) fn start(&mut self, now_ms: u64) -> Result<u64, SensorError<I::Error>> {
        match self {
            Self::Tmp117 { driver, not_fresh } => {
                *not_fresh = 0;
                driver.start(now_ms).map(u64::from)
            }
            Self::Ublox(driver) => driver.start(now_ms).map(|()| 0),
        }
    }

    /// Takes what there is. What was heard before an error is good.
    pub(super) fn fetch(
        &mut self,
        now_ms: u64,
        heard: &mut Vec<Heard>,
    ) -> Result<(), SensorError<I::Error>> {
        match self {
            Self::Tmp117 { driver, not_fresh } => {
                let sample = driver.fetch(now_ms)?;
                *not_fresh = if sample.ready_seen {
                    0
                } else {
                    not_fresh.saturating_add(1)
                };
                heard.push(if *not_fresh > NOT_FRESH_MAX {
                    Heard::Fault(NOT_READY)
                } else {
                    Heard::Value(Value::Temperature(Celsius128(i32::from(sample.raw))))
                });
                Ok(())
            }
            Self::Ublox(driver) => driver
                .poll(now_ms, &mut |event| heard.push(translate(&event)))
                .map(drop),
        }
    }

    /// After how long without a value or a fault the part counts as silent, ms.
    pub(super) fn silent_ms(&self, period_ms: u64) -> u64 {
        match self {
            Self::Tmp117 { .. } => period_ms.saturating_mul(3).max(3000),
            // Its own period is a second, whatever the period of the turns.
            Self::Ublox(_) => 5000,
        }
    }

    /// What a silent part is said to be.
    pub(super) fn silence(&self) -> Fault {
        match self {
            Self::Tmp117 { .. } => NOT_READY,
            Self::Ublox(_) => Fault {
                kind: FaultKind::SILENT,
                ..NOT_READY
            },
        }
    }
}

fn translate(event: &GnssEvent) -> Heard {
    match event {
        GnssEvent::Fix(fix) => Heard::Value(Value::Position(position(fix))),
        GnssEvent::NoFix(reason) => {
            let code = no_fix_code(*reason);
            Heard::Fault(Fault {
                kind: FaultKind::NO_FIX,
                register: 0,
                code,
            })
        }
        GnssEvent::Time(time) => Heard::Time(*time),
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
pub(super) fn fault_of<E>(error: &SensorError<E>) -> Fault {
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
