//! An MCP9808 at register level.
//!
//! Promises, as the part does it: maker and device registers; a temperature that reads zero until
//! the first conversion, with the three flags of the limits above it (limits are zero by default,
//! so flags are set); resolution with its conversion time; shutdown; brown-out back to defaults.
//! Never: a line in the truth file for the value before the first conversion.

use super::bus::SimBusError;
use super::conversion::{Converter, code};
use super::profile::Profile;
use super::registers::{RegisterPart, word};
use super::truth::TruthFile;

const SHUTDOWN: u16 = 1 << 8;
const WRITABLE: u16 = 0x07ff;
const CONVERSIONS_MS: [u64; 4] = [30, 65, 130, 250];

/// The chip.
#[derive(Debug)]
pub struct SimMcp9808 {
    address: u8,
    converter: Converter,
    pointer: u8,
    configuration: u16,
    /// Upper, lower, critical.
    limits: [u16; 3],
    resolution: u8,
    /// What stands in the register while the part sleeps.
    held: Option<Option<i32>>,
}

impl SimMcp9808 {
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
            configuration: 0,
            limits: [0; 3],
            resolution: 3,
            held: None,
        }
    }

    fn result(&self, now_ms: u64) -> Option<i32> {
        let [coarse, half, quarter, fine] = CONVERSIONS_MS;
        let period_ms = match self.resolution & 3 {
            0 => coarse,
            1 => half,
            2 => quarter,
            _ => fine,
        };
        self.held
            .unwrap_or_else(|| self.converter.latest(now_ms, period_ms))
    }

    /// The 13-bit code, with the bits below the resolution cut.
    fn code(&self, deg_c_128: i32) -> i32 {
        let cut = 3 - i32::from(self.resolution & 3);
        code(deg_c_128, 4, 13) >> cut << cut
    }

    fn temperature(&self, now_ms: u64) -> u16 {
        let code = self.result(now_ms).map_or(0, |value| self.code(value));
        let [upper, lower, critical] = self
            .limits
            .map(|limit| i32::from((limit << 3).cast_signed() >> 3));
        let flags = u16::from(code >= critical) << 15
            | u16::from(code > upper) << 14
            | u16::from(code < lower) << 13;
        flags | u16::try_from(code & 0x1fff).unwrap_or(0)
    }

    fn set_configuration(&mut self, word: u16, now_ms: u64) {
        let sleeps = word & SHUTDOWN != 0;
        match (sleeps, self.held) {
            (true, None) => self.held = Some(self.result(now_ms)),
            (false, Some(_)) => {
                self.held = None;
                self.converter.restart(now_ms);
            }
            _ => {}
        }
        self.configuration = word & WRITABLE;
    }
}

impl RegisterPart for SimMcp9808 {
    const POINTER_MASK: u8 = 0x0f;

    fn pointer(&mut self) -> &mut u8 {
        &mut self.pointer
    }

    fn converter(&mut self) -> &mut Converter {
        &mut self.converter
    }

    fn power_on(&mut self) {
        self.configuration = 0;
        self.limits = [0; 3];
        self.resolution = 3;
        self.held = None;
    }

    fn set(&mut self, register: u8, value: &[u8], now_ms: u64) {
        match (register, value, word(value)) {
            (1, _, Some(word)) => self.set_configuration(word, now_ms),
            (2..=4, _, Some(limit)) => {
                if let Some(slot) = self.limits.get_mut(usize::from(register - 2)) {
                    *slot = limit & 0x1ffc;
                }
            }
            (8, [resolution, ..], _) => self.resolution = resolution & 3,
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
            1 => self.configuration,
            2 => self.limits[0],
            3 => self.limits[1],
            4 => self.limits[2],
            5 => {
                if let (Some(value), 2..) = (self.result(now_ms), len) {
                    let raw = self.code(value) * 8;
                    truth.thermometer(now_ms, "mcp9808", self.address, raw, &[])?;
                }
                self.temperature(now_ms)
            }
            6 => 0x0054,
            7 => 0x0400,
            8 => u16::from_be_bytes([self.resolution; 2]),
            _ => 0,
        };
        Ok(word.to_be_bytes())
    }
}
