//! SHT40, SHT41, SHT43 and SHT45 thermometer and hygrometer.
//!
//! Promises: both words of a sample passed their CRC-8; a measurement is asked for at one turn
//! and taken at a later one, so the value is at most a turn old. A part that does not acknowledge
//! while it measures is not ready; one that does not acknowledge afterwards has lost power or is
//! gone. Never: a delay, the heater, or a humidity outside 0 to 100 % (the formula reaches -6 to
//! 119 %, and the datasheet says to cut).
//!
//! The part has commands and no registers; errors name the command:
//! ```text
//! 0x89 serial number   -> word, CRC, word, CRC
//! 0xfd measure         -> temperature word, CRC, humidity word, CRC, 8.3 ms later
//! CRC-8: polynomial 0x31, first value 0xff
//! ```

use crate::error::{BusClass, SensorError};
use crate::transfer::Transfer;

const COMMAND_SERIAL: u8 = 0x89;
const COMMAND_MEASURE: u8 = 0xfd;

/// A measurement of high precision takes at most 8.3 ms; the clock of the caller counts whole ms.
pub const MEASUREMENT_MS: u32 = 10;
/// A measurement that nobody took for so long is asked for again.
const STALE_MS: u64 = 1000;
const DEG_C_128_MIN: i32 = -40 * 128;
const DEG_C_128_MAX: i32 = 125 * 128;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sht4xSample {
    /// Temperature in 1/128 degC, rounded.
    pub deg_c_128: i32,
    /// Relative humidity in thousandths of a percent, cut to 0 to 100 %.
    pub humidity_milli_percent: i32,
    /// The temperature word.
    pub raw_temperature: u16,
    /// The humidity word.
    pub raw_humidity: u16,
    /// The `now_ms` of the `fetch` that asked for the measurement.
    pub stamp_ms: u64,
}

/// CRC-8 of a word as the part computes it.
#[must_use]
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            let shifted = crc << 1;
            if crc & 0x80 == 0 {
                shifted
            } else {
                shifted ^ 0x31
            }
        })
    })
}

/// A temperature word in 1/128 degC: -45 + 175 raw / 65535, rounded to nearest.
#[must_use]
pub fn deg_c_128(raw: u16) -> i32 {
    // (raw * 175 - 45 * 65535) * 128 / 65535; the dividend's magnitude stays below 2^31.
    let dividend = (i64::from(raw) * 175 - 45 * 65_535) * 128;
    divide_rounded(dividend, 65_535)
}

/// A humidity word in thousandths of a percent: -6 + 125 raw / 65535, rounded, not cut.
#[must_use]
pub fn humidity_milli_percent(raw: u16) -> i32 {
    divide_rounded((i64::from(raw) * 125 - 6 * 65_535) * 1000, 65_535)
}

/// Halves cannot occur, because the divisor is odd.
fn divide_rounded(dividend: i64, divisor: i64) -> i32 {
    let rounded = (dividend + divisor / 2).div_euclid(divisor);
    i32::try_from(rounded).unwrap_or(if rounded < 0 { i32::MIN } else { i32::MAX })
}

/// A word whose checksum does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrcMismatch {
    /// The checksum of the word.
    pub computed: u8,
    /// The checksum that came behind it.
    pub received: u8,
}

/// Takes the two words out of an answer.
///
/// # Errors
/// The checksums of the first word that does not match its own.
pub fn decode_words(answer: [u8; 6]) -> Result<[u16; 2], CrcMismatch> {
    let [t_high, t_low, t_crc, h_high, h_low, h_crc] = answer;
    let checked = |word: [u8; 2], received: u8| {
        let computed = crc8(&word);
        if computed == received {
            Ok(u16::from_be_bytes(word))
        } else {
            Err(CrcMismatch { computed, received })
        }
    };
    Ok([
        checked([t_high, t_low], t_crc)?,
        checked([h_high, h_low], h_crc)?,
    ])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked for.
    Idle,
    /// The serial number was asked for.
    Serial,
    /// A measurement was asked for.
    Measuring { since_ms: u64 },
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    phase: Phase,
    pub(crate) serial: Option<u32>,
    pub(crate) crc_errors: u32,
}

impl Logic {
    pub(crate) fn new(address: u8) -> Self {
        Self {
            address,
            phase: Phase::Idle,
            serial: None,
            crc_errors: 0,
        }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        _now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        self.phase = Phase::Idle;
        self.serial = None;
        self.ask(bus, COMMAND_SERIAL).await?;
        self.phase = Phase::Serial;
        Ok(MEASUREMENT_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Sht4xSample, SensorError<B::Error>> {
        if self.phase == Phase::Serial {
            let [high, low] = self.answer(bus, COMMAND_SERIAL).await?;
            self.serial = Some(u32::from(high) << 16 | u32::from(low));
        }
        match self.phase {
            Phase::Measuring { since_ms } if now_ms.saturating_sub(since_ms) <= STALE_MS => {
                self.take(bus, since_ms, now_ms).await
            }
            _ => {
                self.phase = Phase::Idle;
                self.ask(bus, COMMAND_MEASURE).await?;
                self.phase = Phase::Measuring { since_ms: now_ms };
                Err(SensorError::NotReady)
            }
        }
    }

    async fn take<B: Transfer>(
        &mut self,
        bus: &mut B,
        since_ms: u64,
        now_ms: u64,
    ) -> Result<Sht4xSample, SensorError<B::Error>> {
        let measuring = Phase::Measuring { since_ms };
        match self.answer(bus, COMMAND_MEASURE).await {
            Ok(words) => sample(words, since_ms),
            Err(SensorError::Bus {
                class: BusClass::NoAck,
                ..
            }) if now_ms.saturating_sub(since_ms) < u64::from(MEASUREMENT_MS) => {
                self.phase = measuring;
                Err(SensorError::NotReady)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask<B: Transfer>(
        &self,
        bus: &mut B,
        command: u8,
    ) -> Result<(), SensorError<B::Error>> {
        bus.write(self.address, &[command])
            .await
            .map_err(|source| SensorError::bus(command, source))
    }

    /// Reads the answer to `command`; whatever comes of it, the next turn asks anew.
    async fn answer<B: Transfer>(
        &mut self,
        bus: &mut B,
        command: u8,
    ) -> Result<[u16; 2], SensorError<B::Error>> {
        self.phase = Phase::Idle;
        let mut answer = [0; 6];
        bus.read(self.address, &mut answer)
            .await
            .map_err(|source| SensorError::bus(command, source))?;
        decode_words(answer).map_err(|CrcMismatch { computed, received }| {
            self.crc_errors = self.crc_errors.saturating_add(1);
            SensorError::Crc {
                register: command,
                computed,
                received,
            }
        })
    }
}

fn sample<E>(words: [u16; 2], stamp_ms: u64) -> Result<Sht4xSample, SensorError<E>> {
    let [raw_temperature, raw_humidity] = words;
    let deg_c_128 = deg_c_128(raw_temperature);
    if !(DEG_C_128_MIN..=DEG_C_128_MAX).contains(&deg_c_128) {
        return Err(SensorError::Implausible {
            raw: i32::from(raw_temperature),
        });
    }
    Ok(Sht4xSample {
        deg_c_128,
        humidity_milli_percent: humidity_milli_percent(raw_humidity).clamp(0, 100_000),
        raw_temperature,
        raw_humidity,
        stamp_ms,
    })
}

crate::shell::thermometer!(
    Sht4x,
    Logic,
    Sht4xSample,
    (),
    /// A driver for the part at `address` (0x44 to 0x46). Nothing is sent.
    new,
    /// Asks for the serial number, which the first `fetch` checks. To be called first, and again after
    /// any bus error. Returns after how many milliseconds `fetch` may be called.
    ///
    /// # Errors
    /// A bus failure.
    start,
    /// Takes the measurement that was asked for, or asks for one.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] when a measurement was asked for just now or still runs,
    /// [`SensorError::Crc`] for a word with a wrong CRC ([`Sht4x::crc_errors`] counts them),
    /// [`SensorError::Implausible`] for a temperature outside -40 to +125 degC, or a bus failure.
    fetch
);

impl<I> Sht4x<I> {
    /// The serial number of the part that answered.
    pub fn serial(&self) -> Option<u32> {
        self.logic.serial
    }

    /// Words with a wrong CRC so far.
    pub fn crc_errors(&self) -> u32 {
        self.logic.crc_errors
    }
}

#[cfg(test)]
mod tests;
