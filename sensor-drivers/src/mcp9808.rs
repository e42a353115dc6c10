//! MCP9808 digital thermometer.
//!
//! Promises: a sample comes from a part that identified itself by maker and device, and that
//! still held, after the value was read, the configuration written to it. The alert flags beside
//! the value never reach it, and its sign is extended. Never: a value younger than one conversion
//! after a configuration (the register reads 0 degC until then), or outside -40 to +125 degC.
//!
//! Register map, words big-endian:
//! ```text
//! 0x01 configuration |-:5|HYST:2|SHDN|CLOCK|WLOCK|CLEAR|STAT|OUT|SEL|POL|MOD|   default 0
//! 0x05 temperature   |CRIT|UPPER|LOWER|s13, 1/16 degC|
//! 0x06 maker         0x0054
//! 0x07 device        |0x04|revision:8|
//! 0x08 resolution    |-:6|RES:2|, one byte, default 3: 1/16 degC in 250 ms
//! ```

use crate::error::SensorError;
use crate::running::{self, RunningPart, Settings};
use crate::transfer::{Registers, Transfer};
use crate::word::sixteenths_deg_c_128;

const REG_CONFIGURATION: u8 = 0x01;
const REG_TEMPERATURE: u8 = 0x05;
const REG_MAKER: u8 = 0x06;
const REG_DEVICE: u8 = 0x07;
const REG_RESOLUTION: u8 = 0x08;

const MAKER: u16 = 0x0054;
const DEVICE: u16 = 0x0400;
const DEVICE_MASK: u16 = 0xff00;
/// Continuous, with 1.5 degC of hysteresis: the alert pin stays off, so the hysteresis does
/// nothing but differ from the default, and a brown-out shows.
const SETTINGS: u16 = 0x0200;
/// Hysteresis, shutdown and the locks: the bits that hold what was written.
const SETTINGS_MASK: u16 = 0x07c0;
const RESOLUTION: u8 = 3;

/// One conversion at the finest resolution.
pub const CONVERSION_MS: u32 = 250;
/// -40 degC, the lower end of the part's range, in 1/16 degC.
pub const RAW_MIN: i16 = -40 * 16;
/// +125 degC, the upper end of the part's range, in 1/16 degC.
pub const RAW_MAX: i16 = 125 * 16;

/// One conversion result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mcp9808Sample {
    /// Temperature in 1/16 degC, as the part counts.
    pub raw: i16,
    /// Temperature in 1/128 degC.
    pub deg_c_128: i32,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
}

/// Turns the temperature word into a raw code in 1/16 degC.
///
/// # Errors
/// The code itself when it is outside -40 to +125 degC.
pub fn decode_temperature(word: [u8; 2]) -> Result<i16, i16> {
    // Without the three flags on top, bit 12 is the sign.
    let raw = (u16::from_be_bytes(word) << 3).cast_signed() >> 3;
    if (RAW_MIN..=RAW_MAX).contains(&raw) {
        Ok(raw)
    } else {
        Err(raw)
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
    type Sample = Mcp9808Sample;
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
        part.expect(REG_MAKER, u16::MAX, MAKER).await?;
        part.expect(REG_DEVICE, DEVICE_MASK, DEVICE).await?;
        part.set_byte(REG_RESOLUTION, RESOLUTION).await
    }

    fn sample(&self, word: [u8; 2], stamp_ms: u64) -> Result<Mcp9808Sample, i32> {
        let raw = decode_temperature(word).map_err(i32::from)?;
        Ok(Mcp9808Sample {
            raw,
            deg_c_128: sixteenths_deg_c_128(raw),
            stamp_ms,
        })
    }
}

crate::shell::thermometer!(
    Mcp9808,
    Logic,
    Mcp9808Sample,
    (),
    /// A driver for the part at `address` (0x18 to 0x1f). Nothing is sent.
    new,
    /// Identifies and configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result is due.
    ///
    /// # Errors
    /// A bus failure, or another part at this address.
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
