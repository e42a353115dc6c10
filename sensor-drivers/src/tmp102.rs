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

use crate::error::SensorError;
use crate::running::{self, RunningPart, RunningSample, Settings, refuse_tmp117};
use crate::transfer::{Registers, Transfer};
use crate::word::left_aligned_deg_c_128;

const REG_TEMPERATURE: u8 = 0x00;
const REG_CONFIGURATION: u8 = 0x01;

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
pub type Tmp102Sample = RunningSample;

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

/// The part as [`running`](crate::running) sees it.
#[derive(Debug)]
pub(crate) struct Part;

pub(crate) type Logic = running::Logic<Part>;

impl Logic {
    pub(crate) fn new(address: u8) -> Self {
        Self::of(address, Part)
    }
}

impl RunningPart for Part {
    type Sample = Tmp102Sample;
    const TEMPERATURE: u8 = REG_TEMPERATURE;
    const CONFIGURATION: u8 = REG_CONFIGURATION;
    const CONVERSION_MS: u32 = CONVERSION_MS;

    fn settings(&self) -> Settings {
        Settings::Word(SETTINGS, SETTINGS_MASK)
    }

    async fn prepare<B: Transfer>(
        &self,
        part: &mut Registers<'_, B>,
    ) -> Result<(), SensorError<B::Error>> {
        refuse_tmp117(part).await?;
        part.expect(REG_CONFIGURATION, SIGNATURE_MASK, SIGNATURE)
            .await
            .map(drop)
    }

    fn sample(&self, word: [u8; 2], stamp_ms: u64) -> Result<Tmp102Sample, i32> {
        let deg_c_128 = decode_temperature(word).map_err(i32::from)?;
        Ok(Tmp102Sample {
            deg_c_128,
            stamp_ms,
        })
    }
}

crate::shell::thermometer!(
    Tmp102,
    Logic,
    Tmp102Sample,
    (),
    /// A driver for the TMP102 or TMP112 at `address` (0x48 to 0x4b). Nothing is sent.
    new,
    /// Looks at the part and configures it. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result is due.
    ///
    /// # Errors
    /// A bus failure, or a part that cannot be one of these.
    start,
    /// Takes the latest conversion result.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] before the first conversion, [`SensorError::ConfigurationLost`] after a
    /// brown-out, [`SensorError::Implausible`] for a word that the part cannot give, or a bus failure.
    fetch
);

#[cfg(test)]
mod tests;
