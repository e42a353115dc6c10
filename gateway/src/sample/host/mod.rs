//! Sources of this machine that have no I2C driver of ours: files of the kernel, serial ports, contacts.
//!
//! Promises: each has a thread of its own, so that a slow one (a 1-Wire conversion takes most of a second)
//! holds up nobody; a file that is missing or cannot be read is a fault with the kernel's number. Never: a
//! value that the kernel did not give in this turn.

mod contact;
mod kernel;
mod onewire;
mod serial;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use firmware_shared::reading::{Fault, FaultKind};
use firmware_shared::units::Celsius128;
use sensor_drivers::Advice;

use super::source::{Failure, Heard, Source, fault};
use crate::config::{HostConfig, HostSource, SensorConfig};
use contact::Contact;
pub(crate) use contact::check_inputs;
use kernel::KernelChip;
use onewire::OneWireProbe;
use serial::SerialReceiver;

/// One of them.
#[derive(Debug)]
pub(super) enum AnySource {
    OneWire(OneWireProbe),
    Kernel(KernelChip),
    Serial(Box<SerialReceiver>),
    Contact(Contact),
}

/// A source that is not started; `now_ms` is when its world begins, for a simulated one.
pub(super) fn open(
    source: &HostSource,
    sensor: &SensorConfig,
    host: &HostConfig,
    now_ms: u64,
) -> AnySource {
    match source {
        HostSource::OneWire { rom } => AnySource::OneWire(OneWireProbe::new(rom, &host.sysfs)),
        HostSource::Kernel {
            interface,
            chip,
            device,
            input,
        } => AnySource::Kernel(KernelChip::new(
            *interface,
            chip,
            device.as_deref(),
            input,
            sensor.quantity,
            &host.sysfs,
        )),
        HostSource::Serial { path, baud } => {
            AnySource::Serial(Box::new(SerialReceiver::new(path, *baud, sensor.period_ms)))
        }
        HostSource::Gpio { .. } => AnySource::Contact(Contact::new(source, now_ms)),
    }
}

impl AnySource {
    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::OneWire(source) => source,
            Self::Kernel(source) => source,
            Self::Serial(source) => &mut **source,
            Self::Contact(source) => source,
        }
    }
}

impl Source for AnySource {
    fn start(&mut self, now_ms: u64) -> Result<u64, Failure> {
        self.as_source().start(now_ms)
    }

    fn fetch(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        self.as_source().fetch(now_ms, heard)
    }

    fn silent_ms(&self, period_ms: u64) -> u64 {
        match self {
            Self::Serial(_) => serial::SILENT_MS,
            Self::OneWire(_) | Self::Kernel(_) | Self::Contact(_) => {
                period_ms.saturating_mul(3).max(3000)
            }
        }
    }

    fn wait(&mut self, at_most: Duration) -> Option<bool> {
        self.as_source().wait(at_most)
    }

    fn next_ms(&self) -> Option<u64> {
        match self {
            Self::Contact(contact) => contact.next_ms(),
            Self::OneWire(_) | Self::Kernel(_) | Self::Serial(_) => None,
        }
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const ENODATA: i32 = 61;
const ETIMEDOUT: i32 = 110;
const EREMOTEIO: i32 = 121;
/// Pause after "not now".
const NOT_READY_MS: u64 = 250;

/// What a number of the kernel means for a file of it.
fn failure_of(number: i32) -> Failure {
    let error = |kind, advice| Failure::Error(fault(kind, number), advice);
    match number {
        EAGAIN | ENODATA => Failure::NotReady {
            wait_ms: NOT_READY_MS,
        },
        ENOENT | ENXIO | ENODEV | EREMOTEIO => error(FaultKind::NO_ACK, Advice::Reinitialise),
        ETIMEDOUT => error(FaultKind::BUS_TIMEOUT, Advice::RecoverBus),
        EBUSY => error(FaultKind::CLAIMED_BY_KERNEL, Advice::GiveUp),
        EPERM | EACCES => error(FaultKind::BUS_OTHER, Advice::GiveUp),
        _ => error(FaultKind::BUS_OTHER, Advice::RetryLater),
    }
}

fn failure(error: &io::Error) -> Failure {
    failure_of(error.raw_os_error().unwrap_or(EIO))
}

/// The source answers with something that is no measurement.
fn implausible(raw: i64) -> Failure {
    let code = i32::try_from(raw).unwrap_or(if raw < 0 { i32::MIN } else { i32::MAX });
    Failure::Error(fault(FaultKind::IMPLAUSIBLE, code), Advice::RetryLater)
}

/// The configuration names something that is not there once.
fn misconfigured(code: i32) -> Failure {
    let fault: Fault = fault(FaultKind::CONFIGURATION, code);
    Failure::Error(fault, Advice::GiveUp)
}

/// Thousandths of a degree in 1/128 degC, rounded to the nearest.
fn from_milli_deg_c(milli: i64) -> Celsius128 {
    let counts = milli.saturating_mul(i64::from(Celsius128::PER_DEGREE));
    let half = if counts < 0 { -500 } else { 500 };
    let rounded = counts.saturating_add(half) / 1000;
    Celsius128(i32::try_from(rounded).unwrap_or(if rounded < 0 { i32::MIN } else { i32::MAX }))
}
