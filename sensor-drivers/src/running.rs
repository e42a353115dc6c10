//! What thermometers have in common that convert by themselves and cannot say when: TMP102, LM75
//! and MCP9808.
//!
//! Promises: no value before the first conversion after a configuration is over; the settings are
//! read behind the value, so that a part that still holds them held them when it converted. Never:
//! a look at what a word means; that is the part's.

use crate::error::SensorError;
use crate::transfer::{Registers, Transfer};

/// Only a TMP117 has a register here; the others see the low two bits of the number.
const REG_TMP117_IDENTITY: u8 = 0x0f;
const TMP117_IDENTITY: u16 = 0x0117;
const TMP117_IDENTITY_MASK: u16 = 0x0fff;

/// A conversion result of a part that says nothing but its temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningSample {
    /// Temperature in 1/128 degC.
    pub deg_c_128: i32,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
}

/// Parts without an identity share their addresses with the TMP117, which has one.
pub(crate) async fn refuse_tmp117<B: Transfer>(
    part: &mut Registers<'_, B>,
) -> Result<(), SensorError<B::Error>> {
    let found = part.word(REG_TMP117_IDENTITY).await?;
    if found & TMP117_IDENTITY_MASK == TMP117_IDENTITY {
        return Err(SensorError::WrongDevice { found });
    }
    Ok(())
}

/// Whether the bits of `mask` are still as written.
pub(crate) fn settings_held<E>(found: u16, mask: u16, expected: u16) -> Result<(), SensorError<E>> {
    if found & mask == expected {
        return Ok(());
    }
    Err(SensorError::ConfigurationLost { found, expected })
}

/// What is written to the configuration register, and the bits of it that hold what was written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Settings {
    Byte(u8, u8),
    Word(u16, u16),
}

/// A part of this kind.
pub(crate) trait RunningPart {
    type Sample;

    const TEMPERATURE: u8;
    const CONFIGURATION: u8;
    /// The longest conversion.
    const CONVERSION_MS: u32;

    fn settings(&self) -> Settings;

    /// Makes sure that it is the part, as far as it tells, and sets what is beside the settings.
    async fn prepare<B: Transfer>(
        &self,
        part: &mut Registers<'_, B>,
    ) -> Result<(), SensorError<B::Error>>;

    /// What a word says, or the word as a number when it cannot be a measurement.
    fn sample(&self, word: [u8; 2], stamp_ms: u64) -> Result<Self::Sample, i32>;
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic<P> {
    address: u8,
    part: P,
    due_ms: u64,
}

impl<P: RunningPart> Logic<P> {
    pub(crate) fn of(address: u8, part: P) -> Self {
        Self {
            address,
            part,
            due_ms: 0,
        }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        let address = self.address;
        let registers = &mut Registers { bus, address };
        self.part.prepare(registers).await?;
        match self.part.settings() {
            Settings::Byte(byte, _) => registers.set_byte(P::CONFIGURATION, byte).await?,
            Settings::Word(word, _) => registers.set_word(P::CONFIGURATION, word).await?,
        }
        self.due_ms = now_ms.saturating_add(u64::from(P::CONVERSION_MS));
        Ok(P::CONVERSION_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<P::Sample, SensorError<B::Error>> {
        if now_ms < self.due_ms {
            return Err(SensorError::NotReady);
        }
        let address = self.address;
        let registers = &mut Registers { bus, address };
        let word = registers.bytes(P::TEMPERATURE).await?;
        match self.part.settings() {
            Settings::Byte(byte, mask) => {
                let [found] = registers.bytes(P::CONFIGURATION).await?;
                settings_held(u16::from(found), u16::from(mask), u16::from(byte))?;
            }
            Settings::Word(word, mask) => {
                settings_held(registers.word(P::CONFIGURATION).await?, mask, word)?;
            }
        }
        let sample = self.part.sample(word, now_ms);
        sample.map_err(|raw| SensorError::Implausible { raw })
    }
}
