//! A chip that a driver of the kernel reads, through hwmon or IIO.
//!
//! Promises: found by its name, and by its device where several have the name, at every start, because the
//! kernel numbers its chips as it finds them; its fault file is heard. Never: a choice between two chips
//! that fit.

use std::path::{Path, PathBuf};

use firmware_shared::reading::{FaultKind, Value};
use sensor_drivers::Advice;

use super::super::chip::humidity;
use super::super::source::{Failure, Heard, Source, fault};
use super::{ENOENT, failure, failure_of, from_milli_deg_c, implausible, misconfigured};
use crate::config::{KernelInterface, Quantity};

/// Beyond what any probe measures.
const MILLI_DEG_C: std::ops::RangeInclusive<i64> = -270_000..=1_800_000;
/// Sensors of humidity may be a little off at both ends.
const MILLI_PERCENT: std::ops::RangeInclusive<i64> = -5_000..=105_000;
/// As for the wires of a thermocouple.
const WIRE_OPEN: i32 = 1;

#[derive(Debug)]
pub(in super::super) struct KernelChip {
    interface: KernelInterface,
    chip: String,
    device: Option<String>,
    input: String,
    quantity: Quantity,
    sysfs: PathBuf,
    found: Option<PathBuf>,
}

impl KernelChip {
    pub(super) fn new(
        interface: KernelInterface,
        chip: &str,
        device: Option<&str>,
        input: &str,
        quantity: Quantity,
        sysfs: &Path,
    ) -> Self {
        Self {
            interface,
            chip: chip.to_owned(),
            device: device.map(str::to_owned),
            input: input.to_owned(),
            quantity,
            sysfs: sysfs.to_owned(),
            found: None,
        }
    }

    /// The folder of the one chip that fits.
    fn find(&self) -> Result<PathBuf, Failure> {
        let folder = match self.interface {
            KernelInterface::Hwmon => "class/hwmon",
            KernelInterface::Iio => "bus/iio/devices",
        };
        let entries = std::fs::read_dir(self.sysfs.join(folder)).map_err(|e| failure(&e))?;
        let mut fitting = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|chip| self.fits(chip));
        let found = fitting.next().ok_or_else(|| failure_of(ENOENT))?;
        let others = fitting.count();
        match i32::try_from(others) {
            Ok(0) => Ok(found),
            Ok(others) => Err(misconfigured(others)),
            Err(_) => Err(misconfigured(i32::MAX)),
        }
    }

    fn fits(&self, chip: &Path) -> bool {
        let name = std::fs::read_to_string(chip.join("name")).unwrap_or_default();
        if name.trim() != self.chip {
            return false;
        }
        let Some(wanted) = &self.device else {
            return true;
        };
        let device = match self.interface {
            KernelInterface::Hwmon => chip.join("device").canonicalize().ok(),
            // The chip's own folder lies inside that of its device.
            KernelInterface::Iio => chip
                .canonicalize()
                .ok()
                .and_then(|path| path.parent().map(Path::to_owned)),
        };
        device
            .as_deref()
            .and_then(Path::file_name)
            .is_some_and(|name| name == wanted.as_str())
    }

    fn read(&self, chip: &Path) -> Result<i64, Failure> {
        let file = |name: String| chip.join(name);
        match self.interface {
            KernelInterface::Hwmon => {
                let fault_file = file(format!("{}_fault", self.input));
                if std::fs::read_to_string(fault_file).is_ok_and(|text| text.trim() == "1") {
                    let open = fault(FaultKind::WIRE, WIRE_OPEN);
                    return Err(Failure::Error(open, Advice::RetryLater));
                }
                let value = decimal(&file(format!("{}_input", self.input)))?;
                Ok(thousandths(value, 1.0))
            }
            KernelInterface::Iio => {
                let part = |what| file(format!("in_{}_{what}", self.input));
                match decimal(&part("input")) {
                    Ok(value) => Ok(thousandths(value, 1.0)),
                    Err(_) => {
                        let raw = decimal(&part("raw"))?;
                        let scale = decimal(&part("scale"))?;
                        let offset = decimal(&part("offset")).unwrap_or(0.0);
                        Ok(thousandths(raw + offset, scale))
                    }
                }
            }
        }
    }
}

impl Source for KernelChip {
    fn start(&mut self, _now_ms: u64) -> Result<u64, Failure> {
        self.found = Some(self.find()?);
        Ok(0)
    }

    fn fetch(&mut self, _now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        let chip = self.found.as_deref().ok_or_else(|| failure_of(ENOENT))?;
        let milli = self.read(chip)?;
        let (value, range) = match self.quantity {
            Quantity::Humidity => {
                let percent = i32::try_from(milli.clamp(0, 100_000)).unwrap_or_default();
                (humidity(percent), MILLI_PERCENT)
            }
            _ => (Value::Temperature(from_milli_deg_c(milli)), MILLI_DEG_C),
        };
        if !range.contains(&milli) {
            return Err(implausible(milli));
        }
        heard.push(Heard::Value(value));
        Ok(())
    }

    fn silent_ms(&self, period_ms: u64) -> u64 {
        period_ms.saturating_mul(3)
    }
}

/// A number of sysfs: hwmon writes integers, IIO writes decimals.
fn decimal(file: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| failure(&error))?;
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .ok_or_else(|| implausible(0))
}

/// The product, which both interfaces count in thousandths, rounded.
fn thousandths(value: f64, scale: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped; checked against a range"
    )]
    let rounded = (value * scale).round().clamp(-1e12, 1e12) as i64;
    rounded
}
