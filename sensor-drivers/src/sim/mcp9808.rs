//! An MCP9808 at register level.
//!
//! Promises, as the part does it: maker and device registers; a temperature that reads zero until
//! the first conversion, with the three flags of the limits above it (limits are zero by default,
//! so flags are set); resolution with its conversion time; shutdown; brown-out back to defaults.
//! Never: a line in the truth file for the value before the first conversion.

use super::bus::{SimBusError, SimChip};
use super::conversion::{Converter, code};
use super::profile::Profile;
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

    fn run_to(&mut self, now_ms: u64) {
        if self.converter.power_lost_by(now_ms) {
            self.pointer = 0;
            self.configuration = 0;
            self.limits = [0; 3];
            self.resolution = 3;
            self.held = None;
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

impl SimChip for SimMcp9808 {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        if let [pointer, value @ ..] = bytes {
            self.pointer = *pointer & 0x0f;
            match (self.pointer, value) {
                (1, [high, low, ..]) => {
                    self.set_configuration(u16::from_be_bytes([*high, *low]), now_ms);
                }
                (register @ 2..=4, [high, low, ..]) => {
                    let limit = u16::from_be_bytes([*high, *low]) & 0x1ffc;
                    if let Some(slot) = self.limits.get_mut(usize::from(register - 2)) {
                        *slot = limit;
                    }
                }
                (8, [resolution, ..]) => self.resolution = resolution & 3,
                _ => {}
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        let word = match self.pointer {
            1 => self.configuration,
            2 => self.limits[0],
            3 => self.limits[1],
            4 => self.limits[2],
            5 => {
                if let (Some(value), 2..) = (self.result(now_ms), into.len()) {
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
        fill(into, &word.to_be_bytes());
        Ok(())
    }
}

/// A register that is read on repeats.
pub(super) fn fill(into: &mut [u8], register: &[u8]) {
    for (byte, value) in into.iter_mut().zip(register.iter().cycle()) {
        *byte = *value;
    }
}
