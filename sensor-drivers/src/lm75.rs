//! LM75 and its successors with a configuration of one byte: LM75, LM75B, TMP75, TMP105.
//!
//! Promises: a sample comes from a part that still held, after the value was read, the
//! configuration written to it; of the word only the bits that the part measures are used. These
//! parts have no identity, so the configuration is all that can be checked. Never: a value younger
//! than one conversion after a configuration, or outside the part's range.
//!
//! Register map, words big-endian:
//! ```text
//! 0x00 temperature   two's complement, left-aligned: 9, 11 or 12 bits
//! 0x01 configuration LM75, LM75B    |-:3|F:2|POL|INT|SD|     default 0x00
//!                    TMP75, TMP105  |OS|R:2|F:2|POL|TM|SD|   default 0x00
//! 0x02 0x03          limits
//! ```
//! A TMP117 may sit at the same addresses, so its identity register is asked first.

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::transfer::{Blocking, Registers, Transfer, finish};
use crate::word::left_aligned_deg_c_128;

const REG_TEMPERATURE: u8 = 0x00;
const REG_CONFIGURATION: u8 = 0x01;
const REG_TMP117_IDENTITY: u8 = 0x0f;
const TMP117_IDENTITY: u16 = 0x0117;
const TMP117_IDENTITY_MASK: u16 = 0x0fff;

/// The longest conversion of the family: TMP75 and TMP105 at 12 bits.
pub const CONVERSION_MS: u32 = 300;
/// -55 degC, the lower end of the family's range, in 1/128 degC.
pub const DEG_C_128_MIN: i32 = -55 * 128;
/// The upper end that a word of the family can say and a part still measures, 127.9375 degC.
pub const DEG_C_128_MAX: i32 = 128 * 128 - 8;

/// Which of the family it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lm75Part {
    /// Nine bits, 0.5 degC.
    Lm75,
    /// Eleven bits, 0.125 degC; LM75A of the same maker, too.
    Lm75b,
    /// Twelve bits, 0.0625 degC.
    Tmp75,
    /// Twelve bits, 0.0625 degC.
    Tmp105,
}

impl Lm75Part {
    /// Significant bits of the temperature word.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Lm75 => 9,
            Self::Lm75b => 11,
            Self::Tmp75 | Self::Tmp105 => 12,
        }
    }

    /// What is written, and the bits that hold it. The fault queue of two does nothing, because
    /// the alert pin is not used, but differs from the default, so that a brown-out shows.
    fn settings(self) -> (u8, u8) {
        match self {
            Self::Lm75 | Self::Lm75b => (0x08, 0x1f),
            Self::Tmp75 | Self::Tmp105 => (0x68, 0x7f),
        }
    }
}

/// One conversion result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lm75Sample {
    /// Temperature in 1/128 degC.
    pub deg_c_128: i32,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
}

/// Turns the temperature word of a part into 1/128 degC.
///
/// # Errors
/// The word itself when it is below -55 degC, or when a 12-bit part set a bit it always leaves
/// zero.
pub fn decode_temperature(part: Lm75Part, word: [u8; 2]) -> Result<i32, u16> {
    let word = u16::from_be_bytes(word);
    let deg_c_128 = left_aligned_deg_c_128(word, part.bits());
    // The older parts leave the bits below their resolution undefined.
    let clean = part.bits() < 12 || word & 0x000f == 0;
    if clean && (DEG_C_128_MIN..=DEG_C_128_MAX).contains(&deg_c_128) {
        Ok(deg_c_128)
    } else {
        Err(word)
    }
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    part: Lm75Part,
    due_ms: u64,
}

impl Logic {
    pub(crate) fn new(address: u8, part: Lm75Part) -> Self {
        let due_ms = 0;
        Self {
            address,
            part,
            due_ms,
        }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        let (settings, _) = self.part.settings();
        let mut part = self.registers(bus);
        let found = part.word(REG_TMP117_IDENTITY).await?;
        if found & TMP117_IDENTITY_MASK == TMP117_IDENTITY {
            return Err(SensorError::WrongDevice { found });
        }
        part.set_byte(REG_CONFIGURATION, settings).await?;
        self.due_ms = now_ms.saturating_add(u64::from(CONVERSION_MS));
        Ok(CONVERSION_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Lm75Sample, SensorError<B::Error>> {
        if now_ms < self.due_ms {
            return Err(SensorError::NotReady);
        }
        let (settings, mask) = self.part.settings();
        let mut part = self.registers(bus);
        let word = part.word(REG_TEMPERATURE).await?;
        // Read behind the value: a part that still holds its settings held them when it converted.
        let [found] = part.bytes(REG_CONFIGURATION).await?;
        if found & mask != settings {
            return Err(SensorError::ConfigurationLost {
                found: u16::from(found),
                expected: u16::from(settings),
            });
        }
        match decode_temperature(self.part, word.to_be_bytes()) {
            Ok(deg_c_128) => Ok(Lm75Sample {
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

/// The driver. Owns its handle of the bus until [`Lm75::release`].
#[derive(Debug)]
pub struct Lm75<I> {
    i2c: I,
    logic: Logic,
}

impl<I> Lm75<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the part at `address` (0x48 to 0x4f). Nothing is sent.
    pub fn new(i2c: I, address: u8, part: Lm75Part) -> Self {
        Self {
            i2c,
            logic: Logic::new(address, part),
        }
    }

    /// Configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result
    /// is due.
    ///
    /// # Errors
    /// A bus failure, or a TMP117 at this address.
    pub fn start(&mut self, now_ms: u64) -> Result<u32, SensorError<I::Error>> {
        finish(self.logic.start(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Takes the latest conversion result.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] before the first conversion, [`SensorError::ConfigurationLost`]
    /// after a brown-out or when another part answers, [`SensorError::Implausible`] for a word
    /// that the part cannot give, or a bus failure.
    pub fn fetch(&mut self, now_ms: u64) -> Result<Lm75Sample, SensorError<I::Error>> {
        finish(self.logic.fetch(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
