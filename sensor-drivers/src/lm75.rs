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

use crate::error::SensorError;
use crate::running::{self, RunningPart, RunningSample, Settings, refuse_tmp117};
use crate::transfer::{Registers, Transfer};
use crate::word::left_aligned_deg_c_128;

const REG_TEMPERATURE: u8 = 0x00;
const REG_CONFIGURATION: u8 = 0x01;

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
    fn written(self) -> (u8, u8) {
        match self {
            Self::Lm75 | Self::Lm75b => (0x08, 0x1f),
            Self::Tmp75 | Self::Tmp105 => (0x68, 0x7f),
        }
    }
}

/// One conversion result.
pub type Lm75Sample = RunningSample;

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

pub(crate) type Logic = running::Logic<Lm75Part>;

impl Logic {
    pub(crate) fn new(address: u8, part: Lm75Part) -> Self {
        Self::of(address, part)
    }
}

impl RunningPart for Lm75Part {
    type Sample = Lm75Sample;
    const TEMPERATURE: u8 = REG_TEMPERATURE;
    const CONFIGURATION: u8 = REG_CONFIGURATION;
    const CONVERSION_MS: u32 = CONVERSION_MS;

    fn settings(&self) -> Settings {
        let (settings, mask) = self.written();
        Settings::Byte(settings, mask)
    }

    async fn prepare<B: Transfer>(
        &self,
        part: &mut Registers<'_, B>,
    ) -> Result<(), SensorError<B::Error>> {
        refuse_tmp117(part).await
    }

    fn sample(&self, word: [u8; 2], stamp_ms: u64) -> Result<Lm75Sample, i32> {
        let deg_c_128 = decode_temperature(*self, word).map_err(i32::from)?;
        Ok(Lm75Sample {
            deg_c_128,
            stamp_ms,
        })
    }
}

crate::shell::thermometer!(
    Lm75,
    Logic,
    Lm75Sample,
    (part: Lm75Part),
    /// A driver for the part at `address` (0x48 to 0x4f). Nothing is sent.
    new,
    /// Configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result is due.
    ///
    /// # Errors
    /// A bus failure, or a TMP117 at this address.
    start,
    /// Takes the latest conversion result.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] before the first conversion, [`SensorError::ConfigurationLost`] after a
    /// brown-out or when another part answers, [`SensorError::Implausible`] for a word that the part cannot give, or a bus failure.
    fetch
);

#[cfg(test)]
mod tests;
