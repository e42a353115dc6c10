//! A DS18B20 on the kernel's 1-Wire bus: how a probe reaches the load at the end of a long box.
//!
//! Promises: the probe with this ROM and no other; a value only when the kernel found the checksum right;
//! 85 degC (what the part holds after power-up) and -127 degC (what libraries say for "nothing there") are
//! refused, and so is a scratchpad of zeros, whose checksum is right. Never: another probe's value.

use std::path::{Path, PathBuf};

use firmware_shared::reading::{FaultKind, Value};
use sensor_drivers::Advice;

use super::super::source::{Failure, Heard, Source, fault};
use super::{failure, from_milli_deg_c, implausible};

const POWER_ON_MILLI_DEG_C: i64 = 85_000;
const NOTHING_MILLI_DEG_C: i64 = -127_000;
/// What the part can measure.
const MILLI_DEG_C: std::ops::RangeInclusive<i64> = -55_000..=125_000;

#[derive(Debug)]
pub(in super::super) struct OneWireProbe {
    file: PathBuf,
}

impl OneWireProbe {
    pub(super) fn new(rom: &str, sysfs: &Path) -> Self {
        let file = sysfs.join("bus/w1/devices").join(rom).join("w1_slave");
        Self { file }
    }
}

impl Source for OneWireProbe {
    fn start(&mut self, _now_ms: u64) -> Result<u64, Failure> {
        // Asking whether it is there costs no conversion.
        std::fs::metadata(&self.file).map_err(|error| failure(&error))?;
        Ok(0)
    }

    fn fetch(&mut self, _now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| failure(&error))?;
        let milli = parse(&text)?;
        heard.push(Heard::Value(Value::Temperature(from_milli_deg_c(milli))));
        Ok(())
    }

    fn silent_ms(&self, period_ms: u64) -> u64 {
        period_ms.saturating_mul(3)
    }
}

/// ```text
/// 72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
/// 72 01 4b 46 7f ff 0e 10 57 t=23125
/// ```
fn parse(text: &str) -> Result<i64, Failure> {
    let checksum = || Failure::Error(fault(FaultKind::CHECKSUM, 0), Advice::RetryLater);
    let (first, rest) = text.split_once('\n').ok_or_else(checksum)?;
    if !first.trim_end().ends_with("YES") {
        return Err(checksum());
    }
    let zeros = first.split(':').next().unwrap_or_default();
    let milli = rest
        .split_once("t=")
        .map_or("", |(_, number)| number.trim());
    let milli: i64 = milli.parse().map_err(|_| checksum())?;
    let is_blank = zeros.split_whitespace().all(|byte| byte == "00");
    let is_code = [POWER_ON_MILLI_DEG_C, NOTHING_MILLI_DEG_C].contains(&milli);
    if is_blank || is_code || !MILLI_DEG_C.contains(&milli) {
        return Err(implausible(milli));
    }
    Ok(milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(scratchpad: &str, verdict: &str, milli: &str) -> Result<i64, FaultKind> {
        let text = format!("{scratchpad} : crc=57 {verdict}\n{scratchpad} t={milli}\n");
        parse(&text).map_err(|failure| match failure {
            Failure::Error(fault, Advice::RetryLater) => fault.kind,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn codes_that_are_no_measurement_are_refused_and_measurements_are_not() {
        let pad = "72 01 4b 46 7f ff 0e 10 57";
        let table = [
            (pad, "YES", "23125", Ok(23_125)),
            (pad, "YES", "-18062", Ok(-18_062)),
            (pad, "YES", "0", Ok(0)),
            (pad, "YES", "84937", Ok(84_937)),
            (pad, "YES", "85000", Err(FaultKind::IMPLAUSIBLE)),
            (pad, "YES", "-127000", Err(FaultKind::IMPLAUSIBLE)),
            (pad, "YES", "127937", Err(FaultKind::IMPLAUSIBLE)),
            (
                "00 00 00 00 00 00 00 00 00",
                "YES",
                "0",
                Err(FaultKind::IMPLAUSIBLE),
            ),
            (pad, "NO", "23125", Err(FaultKind::CHECKSUM)),
            (pad, "YES", "warm", Err(FaultKind::CHECKSUM)),
            (pad, "YES", "", Err(FaultKind::CHECKSUM)),
        ];
        for (pad, verdict, milli, expected) in table {
            assert_eq!(said(pad, verdict, milli), expected, "{verdict} {milli}");
        }
        assert!(parse("").is_err() && parse("72 01 : crc=57 YES").is_err());
    }
}
