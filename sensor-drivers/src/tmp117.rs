//! TMP117 digital thermometer.
//!
//! Promises: a sample is a conversion result of a part that identified itself and still holds the
//! configuration written to it; the power-on code and codes outside the part's range are errors,
//! never temperatures; a part that has stopped converting is not ready, and its last result never
//! comes again as a fresh one. Never: a delay, a spin, or a result missed for good because its
//! data-ready bit was (one that sets while the configuration register is being read is lost by the
//! part): a register that has changed is fresh without it.
//!
//! Register map, all words big-endian:
//! ```text
//! 0x00 temperature   s16, 1/128 degC, 0x8000 until the first conversion
//! 0x01 configuration |HI|LO|READY|BUSY|MOD:2|CONV:3|AVG:2|T|POL|DR|RST|-|   reading clears READY
//! 0x0f identity      |revision:4|0x117:12|
//! ```
//!
//! ```no_run
//! # fn f<I: embedded_hal::i2c::I2c>(i2c: I) where I::Error: sensor_drivers::ClassifyBus {
//! use sensor_drivers::tmp117::Tmp117;
//! let mut sensor = Tmp117::new(i2c, 0x48);
//! let wait_ms = sensor.start(0);
//! // ... wait_ms later, and once a second from there on:
//! let sample = sensor.fetch(1000);
//! # }
//! ```

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::running::settings_held;
use crate::transfer::{Blocking, Registers, Transfer, finish};

const REG_TEMPERATURE: u8 = 0x00;
const REG_CONFIGURATION: u8 = 0x01;
const REG_IDENTITY: u8 = 0x0f;

const IDENTITY: u16 = 0x0117;
const IDENTITY_MASK: u16 = 0x0fff;

const READY: u16 = 1 << 13;
/// MOD, CONV, AVG, T/nA, POL and DR/Alert: the bits that hold what was written.
const SETTINGS_MASK: u16 = 0x0ffc;
/// Continuous, 500 ms cycle, 32 averages: two fresh results for each reading at 1 Hz, and a value
/// that differs from the part's default 0x0220, so that a brown-out shows.
const SETTINGS: u16 = (0b011 << 7) | (0b10 << 5);

/// One conversion cycle with the settings that `configure` writes.
pub const CYCLE_MS: u32 = 500;
/// After this many turns without a data-ready bit the register is read all the same.
pub const READY_POLLS_MAX: u8 = 3;

/// The code before the first conversion; it would read as -256 degC.
pub const POWER_ON_RAW: i16 = i16::MIN;
/// -55 degC, the lower end of the part's range.
pub const RAW_MIN: i16 = -55 * 128;
/// +150 degC, the upper end of the part's range.
pub const RAW_MAX: i16 = 150 * 128;

/// One conversion result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmp117Sample {
    /// Temperature in 1/128 degC.
    pub raw: i16,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
    /// Whether the part said that the result is fresh. Without it the ready bit had been lost for
    /// [`READY_POLLS_MAX`] turns, and the result differs from the one before.
    pub ready_seen: bool,
}

/// Which part answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmp117Identity {
    /// Silicon revision.
    pub revision: u8,
}

/// Turns the temperature word into a raw code.
///
/// # Errors
/// The code itself when it is the power-on code or outside -55 to +150 degC.
pub fn decode_temperature(word: [u8; 2]) -> Result<i16, i16> {
    let raw = i16::from_be_bytes(word);
    if (RAW_MIN..=RAW_MAX).contains(&raw) {
        Ok(raw)
    } else {
        Err(raw)
    }
}

/// A raw code in thousandths of a degree, rounded to nearest, halves away from zero.
#[must_use]
pub fn milli_deg_c(raw: i16) -> i32 {
    let scaled = i32::from(raw) * 1000;
    let half = if scaled < 0 { -64 } else { 64 };
    (scaled + half) / 128
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    not_ready_polls: u8,
    last_raw: Option<i16>,
}

impl Logic {
    pub(crate) fn new(address: u8) -> Self {
        Self {
            address,
            not_ready_polls: 0,
            last_raw: None,
        }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        _now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        self.identify(bus).await?;
        self.configure(bus).await?;
        Ok(CYCLE_MS)
    }

    async fn identify<B: Transfer>(
        &self,
        bus: &mut B,
    ) -> Result<Tmp117Identity, SensorError<B::Error>> {
        let found = self
            .registers(bus)
            .expect(REG_IDENTITY, IDENTITY_MASK, IDENTITY)
            .await?;
        let [high, _] = found.to_be_bytes();
        Ok(Tmp117Identity {
            revision: high >> 4,
        })
    }

    async fn configure<B: Transfer>(&mut self, bus: &mut B) -> Result<(), SensorError<B::Error>> {
        self.not_ready_polls = 0;
        self.last_raw = None;
        self.registers(bus)
            .set_word(REG_CONFIGURATION, SETTINGS)
            .await
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Tmp117Sample, SensorError<B::Error>> {
        let mut part = self.registers(bus);
        let status = part.word(REG_CONFIGURATION).await?;
        settings_held(status, SETTINGS_MASK, SETTINGS)?;
        let ready_seen = status & READY != 0;
        if !ready_seen {
            self.not_ready_polls = self.not_ready_polls.saturating_add(1);
            if self.not_ready_polls < READY_POLLS_MAX {
                return Err(SensorError::NotReady);
            }
        }
        self.not_ready_polls = 0;
        let word = part.word(REG_TEMPERATURE).await?.to_be_bytes();
        match decode_temperature(word) {
            Ok(raw) => {
                let before = self.last_raw.replace(raw);
                if !ready_seen && before.is_none_or(|before| before == raw) {
                    return Err(SensorError::NotReady);
                }
                Ok(Tmp117Sample {
                    raw,
                    stamp_ms: now_ms,
                    ready_seen,
                })
            }
            Err(raw) => Err(SensorError::Implausible {
                raw: i32::from(raw),
            }),
        }
    }

    fn registers<'a, B>(&self, bus: &'a mut B) -> Registers<'a, B> {
        let address = self.address;
        Registers { bus, address }
    }
}

crate::shell::thermometer!(
    Tmp117,
    Logic,
    Tmp117Sample,
    (),
    /// A driver for the part at `address` (0x48 to 0x4b). Nothing is sent.
    new,
    /// Identifies and configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result is due.
    ///
    /// # Errors
    /// A bus failure, or another part at this address.
    start,
    /// Takes the latest conversion result, if there is a fresh one.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] when there is none, [`SensorError::ConfigurationLost`] after a
    /// brown-out, [`SensorError::Implausible`] for a code that is not a temperature, or a bus failure.
    fetch
);

impl<I> Tmp117<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// Reads the identity register.
    ///
    /// # Errors
    /// [`SensorError::WrongDevice`] when it is not a TMP117.
    pub fn identify(&mut self) -> Result<Tmp117Identity, SensorError<I::Error>> {
        finish(self.logic.identify(&mut Blocking(&mut self.i2c)))
    }

    /// Writes the settings: continuous conversion, 500 ms cycle, 32 averages.
    ///
    /// # Errors
    /// A bus failure.
    pub fn configure(&mut self) -> Result<(), SensorError<I::Error>> {
        finish(self.logic.configure(&mut Blocking(&mut self.i2c)))
    }
}

#[cfg(test)]
mod tests;
