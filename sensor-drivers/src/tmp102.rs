//! TMP102 and TMP112 digital thermometers.
//!
//! Promises: a sample comes from a part that looks like one of these (they have no identity
//! register) and that still held, after the value was read, the configuration written to it.
//! Never: a value younger than one conversion after a configuration (the register reads 0 degC
//! until then), one in the 13-bit format, or a word with bits set that the part leaves zero.
//!
//! Register map, words big-endian:
//! ```text
//! 0x00 temperature   s12 left-aligned, 1/16 degC, low digit 0 (bit 0 set: 13-bit format)
//! 0x01 configuration |OS|R:2, reads 11|F:2|POL|TM|SD|CR:2|AL|EM|-:4|   default 0x60a0
//! 0x02 0x03          limits
//! ```
//! A TMP117 may sit at the same addresses, so its identity register is asked first.

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::transfer::{Blocking, Registers, Transfer, finish};
use crate::word::left_aligned_deg_c_128;

const REG_TEMPERATURE: u8 = 0x00;
const REG_CONFIGURATION: u8 = 0x01;
/// Only a TMP117 has a register here; these parts see the low two bits of the number.
const REG_TMP117_IDENTITY: u8 = 0x0f;
const TMP117_IDENTITY: u16 = 0x0117;
const TMP117_IDENTITY_MASK: u16 = 0x0fff;

/// R reads 11, and the low four bits read zero.
const SIGNATURE: u16 = 0x6000;
const SIGNATURE_MASK: u16 = 0x600f;
/// Continuous, 4 conversions a second, 12 bits, two faults before an alert: the alert pin is not
/// used, so the fault queue does nothing but differ from the default, and a brown-out shows.
const SETTINGS: u16 = 0x0880;
/// F, POL, TM, SD, CR and EM: the bits that hold what was written.
const SETTINGS_MASK: u16 = 0x1fd0;

/// The pause between two conversions, and a conversion.
pub const CONVERSION_MS: u32 = 285;
/// -55 degC, the lower end of the part's range, in 1/128 degC.
pub const DEG_C_128_MIN: i32 = -55 * 128;

/// One conversion result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmp102Sample {
    /// Temperature in 1/128 degC.
    pub deg_c_128: i32,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
}

/// Turns the temperature word into 1/128 degC.
///
/// # Errors
/// The word itself when it is below -55 degC, or one of its low four bits is set.
pub fn decode_temperature(word: [u8; 2]) -> Result<i32, u16> {
    let word = u16::from_be_bytes(word);
    let deg_c_128 = left_aligned_deg_c_128(word, 12);
    if word & 0x000f == 0 && deg_c_128 >= DEG_C_128_MIN {
        Ok(deg_c_128)
    } else {
        Err(word)
    }
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    due_ms: u64,
}

impl Logic {
    pub(crate) fn new(address: u8) -> Self {
        Self { address, due_ms: 0 }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        let mut part = self.registers(bus);
        let found = part.word(REG_TMP117_IDENTITY).await?;
        if found & TMP117_IDENTITY_MASK == TMP117_IDENTITY {
            return Err(SensorError::WrongDevice { found });
        }
        let found = part.word(REG_CONFIGURATION).await?;
        if found & SIGNATURE_MASK != SIGNATURE {
            return Err(SensorError::WrongDevice { found });
        }
        part.set_word(REG_CONFIGURATION, SETTINGS).await?;
        self.due_ms = now_ms.saturating_add(u64::from(CONVERSION_MS));
        Ok(CONVERSION_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Tmp102Sample, SensorError<B::Error>> {
        if now_ms < self.due_ms {
            return Err(SensorError::NotReady);
        }
        let mut part = self.registers(bus);
        let word = part.word(REG_TEMPERATURE).await?;
        // Read behind the value: a part that still holds its settings held them when it converted.
        let found = part.word(REG_CONFIGURATION).await?;
        if found & SETTINGS_MASK != SETTINGS {
            return Err(SensorError::ConfigurationLost {
                found,
                expected: SETTINGS,
            });
        }
        match decode_temperature(word.to_be_bytes()) {
            Ok(deg_c_128) => Ok(Tmp102Sample {
                deg_c_128,
                stamp_ms: now_ms,
            }),
            Err(word) => Err(SensorError::Implausible {
                raw: i32::from(word),
            }),
        }
    }

    fn registers<'a, B>(&self, bus: &'a mut B) -> Registers<'a, B> {
        let address = self.address;
        Registers { bus, address }
    }
}

/// The driver. Owns its handle of the bus until [`Tmp102::release`].
#[derive(Debug)]
pub struct Tmp102<I> {
    i2c: I,
    logic: Logic,
}

impl<I> Tmp102<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the TMP102 or TMP112 at `address` (0x48 to 0x4b). Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        Self {
            i2c,
            logic: Logic::new(address),
        }
    }

    /// Looks at the part and configures it. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result
    /// is due.
    ///
    /// # Errors
    /// A bus failure, or a part that cannot be one of these.
    pub fn start(&mut self, now_ms: u64) -> Result<u32, SensorError<I::Error>> {
        finish(self.logic.start(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Takes the latest conversion result.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] before the first conversion, [`SensorError::ConfigurationLost`]
    /// after a brown-out, [`SensorError::Implausible`] for a word that the part cannot give, or a
    /// bus failure.
    pub fn fetch(&mut self, now_ms: u64) -> Result<Tmp102Sample, SensorError<I::Error>> {
        finish(self.logic.fetch(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
