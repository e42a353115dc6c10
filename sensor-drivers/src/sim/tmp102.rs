//! A TMP102 or TMP112 at register level.
//!
//! Promises, as the part does it: a pointer of two bits; a 12-bit value that reads zero until the
//! first conversion; a configuration whose resolution bits read 11; shutdown and one-shot;
//! brown-out back to defaults. Never: a line in the truth file for the value before the first
//! conversion.

use super::bus::SimBusError;
use super::conversion::{Converter, code};
use super::profile::Profile;
use super::registers::{RegisterPart, word};
use super::truth::TruthFile;

const DEFAULT_CONFIGURATION: u16 = 0x60a0;
const WRITABLE: u16 = 0x1fd0;
const ONE_SHOT: u16 = 1 << 15;
const SHUTDOWN: u16 = 1 << 8;
const EXTENDED: u16 = 1 << 4;
const DEFAULT_LIMITS: [u16; 2] = [0x4b00, 0x5000];
const CONVERSION_MS: u64 = 26;
/// Between the starts of two conversions, by CR.
const CYCLES_MS: [u64; 4] = [4000, 1000, 250, 125];

/// The chip.
#[derive(Debug)]
pub struct SimTmp102 {
    address: u8,
    converter: Converter,
    pointer: u8,
    configuration: u16,
    limits: [u16; 2],
    held: Option<Option<i32>>,
    one_shot_ms: Option<u64>,
}

impl SimTmp102 {
    /// A part that is powered on at `now_ms`, in a world that began at `t0_ms`. At each of
    /// `brown_outs_ms` (virtual time) it goes back to its defaults.
    #[must_use]
    pub fn new(
        address: u8,
        profile: Profile,
        t0_ms: u64,
        now_ms: u64,
        brown_outs_ms: Vec<u64>,
    ) -> Self {
        Self {
            address,
            converter: Converter::new(profile, t0_ms, now_ms, brown_outs_ms),
            pointer: 0,
            configuration: DEFAULT_CONFIGURATION,
            limits: DEFAULT_LIMITS,
            held: None,
            one_shot_ms: None,
        }
    }

    fn result(&self, now_ms: u64) -> Option<i32> {
        let [slow, second, quarter, eighth] = CYCLES_MS;
        let cycle_ms = match self.configuration >> 6 & 3 {
            0 => slow,
            1 => second,
            2 => quarter,
            _ => eighth,
        };
        self.held
            .unwrap_or_else(|| self.converter.latest(now_ms, cycle_ms))
    }

    fn configure(&mut self, word: u16, now_ms: u64) {
        let sleeps = word & SHUTDOWN != 0;
        match (sleeps, self.held) {
            (true, None) => self.held = Some(self.result(now_ms)),
            (false, Some(_)) => {
                self.held = None;
                self.converter.restart(now_ms);
            }
            _ => {}
        }
        if sleeps && word & ONE_SHOT != 0 {
            self.one_shot_ms = Some(now_ms + CONVERSION_MS);
        }
        self.configuration = word & WRITABLE | DEFAULT_CONFIGURATION & !WRITABLE;
    }

    fn temperature(&self, deg_c_128: i32) -> (u16, i32) {
        if self.configuration & EXTENDED != 0 {
            let code = code(deg_c_128, 4, 13);
            let word = u16::try_from(code & 0x1fff).unwrap_or(0) << 3 | 1;
            return (word, code * 8);
        }
        let code = code(deg_c_128, 4, 12);
        let word = u16::try_from(code & 0x0fff).unwrap_or(0) << 4;
        (word, code * 8)
    }
}

impl RegisterPart for SimTmp102 {
    const POINTER_MASK: u8 = 3;

    fn pointer(&mut self) -> &mut u8 {
        &mut self.pointer
    }

    fn converter(&mut self) -> &mut Converter {
        &mut self.converter
    }

    fn power_on(&mut self) {
        self.configuration = DEFAULT_CONFIGURATION;
        self.limits = DEFAULT_LIMITS;
        self.held = None;
        self.one_shot_ms = None;
    }

    fn settle(&mut self, now_ms: u64) {
        if let Some(end_ms) = self.one_shot_ms.filter(|end_ms| *end_ms <= now_ms) {
            self.held = Some(Some(self.converter.at(end_ms)));
            self.one_shot_ms = None;
        }
    }

    fn set(&mut self, register: u8, value: &[u8], now_ms: u64) {
        match (register, word(value)) {
            (1, Some(word)) => self.configure(word, now_ms),
            (2, Some(limit)) => self.limits[0] = limit & 0xfff0,
            (3, Some(limit)) => self.limits[1] = limit & 0xfff0,
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
                    let (word, raw) = self.temperature(value);
                    if len >= 2 {
                        truth.thermometer(now_ms, "tmp102", self.address, raw, &[])?;
                    }
                    word
                }
                None => 0,
            },
            1 => {
                let idle = self.held.is_some() && self.one_shot_ms.is_none();
                self.configuration | if idle { ONE_SHOT } else { 0 }
            }
            2 => self.limits[0],
            _ => self.limits[1],
        };
        Ok(word.to_be_bytes())
    }
}
