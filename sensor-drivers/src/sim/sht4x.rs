//! An SHT4x at the level of its commands.
//!
//! Promises, as the part does it: a command starts a measurement of 9 ms; a read before its end,
//! or without a measurement to take, is not acknowledged; each word has its CRC-8; a brown-out or
//! a soft reset forgets the measurement. Never: a line in the truth file for anything but a
//! measurement that was taken whole.

use super::bus::{SimBusError, SimChip};
use super::conversion::Converter;
use super::profile::Profile;
use super::truth::TruthFile;

const MEASUREMENT_MS: u64 = 9;
const SERIAL_MS: u64 = 1;

#[derive(Debug, Clone, Copy)]
enum Asked {
    Serial { ready_ms: u64 },
    Measurement { ready_ms: u64 },
}

/// The chip.
#[derive(Debug)]
pub struct SimSht4x {
    address: u8,
    converter: Converter,
    humidity_percent: f64,
    asked: Option<Asked>,
}

impl SimSht4x {
    /// A part that is powered on at `now_ms`, in a world that began at `t0_ms`, in air of the
    /// given humidity. At each of `brown_outs_ms` (virtual time) it forgets what was asked.
    #[must_use]
    pub fn new(
        address: u8,
        profile: Profile,
        humidity_percent: f64,
        t0_ms: u64,
        now_ms: u64,
        brown_outs_ms: Vec<u64>,
    ) -> Self {
        Self {
            address,
            converter: Converter::new(profile, t0_ms, now_ms, brown_outs_ms),
            humidity_percent,
            asked: None,
        }
    }

    fn run_to(&mut self, now_ms: u64) {
        if self.converter.power_lost_by(now_ms) {
            self.asked = None;
        }
    }

    fn measure(
        &self,
        ready_ms: u64,
        now_ms: u64,
        truth: &mut TruthFile,
    ) -> Result<[u16; 2], SimBusError> {
        let deg_c = f64::from(self.converter.at(ready_ms)) / 128.0;
        let word = |value: f64| (value * 65_535.0).round().clamp(0.0, 65_535.0);
        let temperature = word((deg_c + 45.0) / 175.0);
        let humidity = word((self.humidity_percent + 6.0) / 125.0);
        // What the words say, by the formulas of the datasheet.
        let raw = ((temperature * 175.0 / 65_535.0 - 45.0) * 128.0).round() as i32;
        let milli_percent = ((humidity * 125.0 / 65_535.0 - 6.0) * 1000.0).round();
        let extra = (
            "humidity_milli_percent",
            milli_percent.clamp(0.0, 100_000.0) as i64,
        );
        truth.thermometer(now_ms, "sht4x", self.address, raw, &[extra])?;
        Ok([temperature as u16, humidity as u16])
    }
}

/// The polynomial as one long division over the bits of the word behind the start value.
fn with_crc(word: u16) -> [u8; 3] {
    let [high, low] = word.to_be_bytes();
    let mut rest = (u32::from(word) << 8) ^ 0xff_0000;
    for bit in (8..24).rev() {
        if rest >> bit & 1 == 1 {
            rest ^= 0x131 << (bit - 8);
        }
    }
    [high, low, (rest & 0xff) as u8]
}

impl SimChip for SimSht4x {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        self.asked = match bytes {
            [0xfd | 0xf6 | 0xe0] => Some(Asked::Measurement {
                ready_ms: now_ms + MEASUREMENT_MS,
            }),
            [0x89] => Some(Asked::Serial {
                ready_ms: now_ms + SERIAL_MS,
            }),
            [0x94] => None,
            _ => return Err(SimBusError::NoAck),
        };
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        let words = match self.asked {
            Some(Asked::Serial { ready_ms }) if ready_ms <= now_ms => {
                [0x5117, 0x4000 | u16::from(self.address)]
            }
            Some(Asked::Measurement { ready_ms })
                if ready_ms <= now_ms && !self.converter.stalls_at(ready_ms) =>
            {
                self.measure(ready_ms, now_ms, truth)?
            }
            _ => return Err(SimBusError::NoAck),
        };
        self.asked = None;
        let answer = words.map(with_crc);
        for (byte, value) in into.iter_mut().zip(answer.as_flattened()) {
            *byte = *value;
        }
        Ok(())
    }
}
