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

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::transfer::{Blocking, Registers, Transfer, finish};
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
        for (register, mask, expected) in [
            (REG_MAKER, u16::MAX, MAKER),
            (REG_DEVICE, DEVICE_MASK, DEVICE),
        ] {
            let found = part.word(register).await?;
            if found & mask != expected {
                return Err(SensorError::WrongDevice { found });
            }
        }
        part.set_byte(REG_RESOLUTION, RESOLUTION).await?;
        part.set_word(REG_CONFIGURATION, SETTINGS).await?;
        self.due_ms = now_ms.saturating_add(u64::from(CONVERSION_MS));
        Ok(CONVERSION_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Mcp9808Sample, SensorError<B::Error>> {
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
            Ok(raw) => Ok(Mcp9808Sample {
                raw,
                deg_c_128: sixteenths_deg_c_128(raw),
                stamp_ms: now_ms,
            }),
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

/// The driver. Owns its handle of the bus until [`Mcp9808::release`].
#[derive(Debug)]
pub struct Mcp9808<I> {
    i2c: I,
    logic: Logic,
}

impl<I> Mcp9808<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the part at `address` (0x18 to 0x1f). Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        Self {
            i2c,
            logic: Logic::new(address),
        }
    }

    /// Identifies and configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result
    /// is due.
    ///
    /// # Errors
    /// A bus failure, or another part at this address.
    pub fn start(&mut self, now_ms: u64) -> Result<u32, SensorError<I::Error>> {
        finish(self.logic.start(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Takes the latest conversion result.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] before the first conversion, [`SensorError::ConfigurationLost`]
    /// after a brown-out, [`SensorError::Implausible`] for a code outside the part's range, or a
    /// bus failure.
    pub fn fetch(&mut self, now_ms: u64) -> Result<Mcp9808Sample, SensorError<I::Error>> {
        finish(self.logic.fetch(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
