//! An LM75 or one of its successors at register level.
//!
//! Promises, as the parts do it: a pointer of two bits; a left-aligned value that reads zero until
//! the first conversion; a configuration of one byte with the resolution in it where the part has
//! one; shutdown; brown-out back to defaults. The bits that an LM75 leaves undefined are set.
//! Never: a line in the truth file for the value before the first conversion.

use super::bus::SimBusError;
use super::conversion::{Converter, code};
use super::profile::Profile;
use super::registers::{RegisterPart, word};
use super::truth::TruthFile;
use crate::lm75::Lm75Part;

const SHUTDOWN: u8 = 1;
const DEFAULT_LIMITS: [u16; 2] = [0x4b00, 0x5000];

/// The chip.
#[derive(Debug)]
pub struct SimLm75 {
    address: u8,
    part: Lm75Part,
    converter: Converter,
    pointer: u8,
    configuration: u8,
    limits: [u16; 2],
    held: Option<Option<i32>>,
}

impl SimLm75 {
    /// A part that is powered on at `now_ms`, in a world that began at `t0_ms`. At each of
    /// `brown_outs_ms` (virtual time) it goes back to its defaults.
    #[must_use]
    pub fn new(
        address: u8,
        part: Lm75Part,
        profile: Profile,
        t0_ms: u64,
        now_ms: u64,
        brown_outs_ms: Vec<u64>,
    ) -> Self {
        Self {
            address,
            part,
            converter: Converter::new(profile, t0_ms, now_ms, brown_outs_ms),
            pointer: 0,
            configuration: 0,
            limits: DEFAULT_LIMITS,
            held: None,
        }
    }

    /// Significant bits, and how long a conversion takes.
    fn resolution(&self) -> (u32, u64) {
        match self.part {
            Lm75Part::Lm75 => (9, 100),
            Lm75Part::Lm75b => (11, 100),
            Lm75Part::Tmp75 | Lm75Part::Tmp105 => match self.configuration >> 5 & 3 {
                0 => (9, 28),
                1 => (10, 55),
                2 => (11, 110),
                _ => (12, 220),
            },
        }
    }

    fn result(&self, now_ms: u64) -> Option<i32> {
        let (_, conversion_ms) = self.resolution();
        self.held
            .unwrap_or_else(|| self.converter.latest(now_ms, conversion_ms))
    }

    fn configure(&mut self, byte: u8, now_ms: u64) {
        let sleeps = byte & SHUTDOWN != 0;
        match (sleeps, self.held) {
            (true, None) => self.held = Some(self.result(now_ms)),
            (false, Some(_)) => self.held = None,
            _ => {}
        }
        let changed = byte & 0x7f != self.configuration;
        self.configuration = match self.part {
            Lm75Part::Lm75 | Lm75Part::Lm75b => byte & 0x1f,
            Lm75Part::Tmp75 | Lm75Part::Tmp105 => byte & 0x7f,
        };
        if changed && !sleeps {
            self.converter.restart(now_ms);
        }
    }

    fn name(&self) -> &'static str {
        match self.part {
            Lm75Part::Lm75 => "lm75",
            Lm75Part::Lm75b => "lm75b",
            Lm75Part::Tmp75 => "tmp75",
            Lm75Part::Tmp105 => "tmp105",
        }
    }
}

impl RegisterPart for SimLm75 {
    const POINTER_MASK: u8 = 3;

    fn pointer(&mut self) -> &mut u8 {
        &mut self.pointer
    }

    fn converter(&mut self) -> &mut Converter {
        &mut self.converter
    }

    fn power_on(&mut self) {
        self.configuration = 0;
        self.limits = DEFAULT_LIMITS;
        self.held = None;
    }

    fn set(&mut self, register: u8, value: &[u8], now_ms: u64) {
        match (register, value, word(value)) {
            (1, [byte, ..], _) => self.configure(*byte, now_ms),
            (2, _, Some(limit)) => self.limits[0] = limit,
            (3, _, Some(limit)) => self.limits[1] = limit,
            _ => {}
        }
    }

    fn get(
        &mut self,
        register: u8,
        len: usize,
        now_ms: u64,
        truth: &mut TruthFile,
    ) -> Result<[u8; 2], SimBusError> {
        let word = match register {
            0 => match self.result(now_ms) {
                Some(value) => {
                    let (bits, _) = self.resolution();
                    let code = code(value, bits - 8, bits);
                    let raw = code << (15 - bits);
                    let undefined = match self.part {
                        Lm75Part::Lm75 | Lm75Part::Lm75b => (1u16 << (16 - bits)) - 1,
                        Lm75Part::Tmp75 | Lm75Part::Tmp105 => 0,
                    };
                    if len >= 2 {
                        truth.thermometer(now_ms, self.name(), self.address, raw, &[])?;
                    }
                    let [.., high, low] = (code << (16 - bits)).to_be_bytes();
                    u16::from_be_bytes([high, low]) | undefined
                }
                None => 0,
            },
            1 => u16::from_be_bytes([self.configuration; 2]),
            2 => self.limits[0],
            _ => self.limits[1],
        };
        Ok(word.to_be_bytes())
    }
}
