//! A TMP117 at register level.
//!
//! Promises, as the part does it: a pointer register; identity 0x0117; a configuration with
//! data-ready that clears when the configuration or the temperature is read; conversion cycles by
//! CONV and AVG; continuous, shutdown and one-shot modes; the power-on code until the first
//! conversion; soft reset; brown-out back to defaults. Never: a line in the truth file for the
//! power-on code.

use super::bus::{SimBusError, SimChip};
use super::conversion::stalls;
use super::profile::Profile;
use super::truth::TruthFile;

const DEFAULT_CONFIGURATION: u16 = 0x0220;
const DEFAULT_HIGH_LIMIT: u16 = 0x6000;
const DEFAULT_LOW_LIMIT: u16 = 0x8000;
const READY: u16 = 1 << 13;
const WRITABLE: u16 = 0x0ffc;
const SOFT_RESET: u16 = 1 << 1;
const POWER_ON: i16 = i16::MIN;

/// Cycle in ms by CONV (row) and AVG (column), from the datasheet's table.
const CYCLES_MS: [[u64; 4]; 8] = [
    [16, 125, 500, 1000],
    [125, 125, 500, 1000],
    [250, 250, 500, 1000],
    [500, 500, 500, 1000],
    [1000, 1000, 1000, 1000],
    [4000, 4000, 4000, 4000],
    [8000, 8000, 8000, 8000],
    [16_000, 16_000, 16_000, 16_000],
];

/// The chip.
#[derive(Debug)]
pub struct SimTmp117 {
    address: u8,
    profile: Profile,
    /// Virtual time of the scenario's start: the profile's zero.
    t0_ms: u64,
    brown_outs_ms: Vec<u64>,
    seen_ms: u64,
    pointer: u8,
    configuration: u16,
    limits: [u16; 2],
    /// EEPROM 1, 2, 3 and the offset, which are plain storage here.
    storage: [u16; 4],
    ready: bool,
    temperature: i16,
    cycle_start_ms: u64,
    cycles_done: u64,
}

impl SimTmp117 {
    /// A part that is powered on at `now_ms`, in a world that began at `t0_ms`. At each of
    /// `brown_outs_ms` (virtual time) it goes back to its defaults.
    #[must_use]
    pub fn new(
        address: u8,
        profile: Profile,
        t0_ms: u64,
        now_ms: u64,
        mut brown_outs_ms: Vec<u64>,
    ) -> Self {
        brown_outs_ms.sort_unstable();
        let mut chip = Self {
            address,
            profile,
            t0_ms,
            brown_outs_ms,
            seen_ms: now_ms,
            pointer: 0,
            configuration: 0,
            limits: [0; 2],
            storage: [0; 4],
            ready: false,
            temperature: POWER_ON,
            cycle_start_ms: now_ms,
            cycles_done: 0,
        };
        chip.reset(now_ms);
        chip
    }

    fn reset(&mut self, now_ms: u64) {
        self.pointer = 0;
        self.limits = [DEFAULT_HIGH_LIMIT, DEFAULT_LOW_LIMIT];
        self.temperature = POWER_ON;
        self.ready = false;
        self.configure(DEFAULT_CONFIGURATION, now_ms);
    }

    fn configure(&mut self, settings: u16, now_ms: u64) {
        self.configuration = settings & WRITABLE;
        self.cycle_start_ms = now_ms;
        self.cycles_done = 0;
    }

    fn mode(&self) -> u16 {
        self.configuration >> 10 & 3
    }

    fn cycle_ms(&self) -> u64 {
        let conv = usize::from(self.configuration >> 7 & 7);
        let avg = usize::from(self.configuration >> 5 & 3);
        CYCLES_MS
            .get(conv)
            .and_then(|row| row.get(avg))
            .copied()
            .unwrap_or(1000)
    }

    /// Lets virtual time pass up to `now_ms`.
    fn run_to(&mut self, now_ms: u64) {
        while let Some(at_ms) = self
            .brown_outs_ms
            .iter()
            .copied()
            .find(|at| (self.seen_ms + 1..=now_ms).contains(at))
        {
            self.convert_to(at_ms);
            self.reset(at_ms);
            self.seen_ms = at_ms;
        }
        self.convert_to(now_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
    }

    fn convert_to(&mut self, now_ms: u64) {
        let one_shot = self.mode() == 3;
        if self.mode() == 1 {
            return;
        }
        let mut done = now_ms.saturating_sub(self.cycle_start_ms) / self.cycle_ms();
        if one_shot {
            done = done.min(1);
        }
        let end_ms = |done: u64| self.cycle_start_ms + done * self.cycle_ms();
        while done > self.cycles_done && stalls(&self.profile, self.t0_ms, end_ms(done)) {
            done -= 1;
        }
        if done <= self.cycles_done {
            return;
        }
        self.cycles_done = done;
        let ended_ms = self.cycle_start_ms + done * self.cycle_ms();
        self.temperature = self.profile.raw_at(ended_ms.saturating_sub(self.t0_ms));
        self.ready = true;
        if one_shot {
            self.configuration = self.configuration & !(3 << 10) | 1 << 10;
        }
    }

    fn register(&mut self) -> u16 {
        match self.pointer {
            0x00 => {
                self.ready = false;
                self.temperature.cast_unsigned()
            }
            0x01 => {
                let ready = if self.ready { READY } else { 0 };
                self.ready = false;
                self.configuration | ready
            }
            0x02 => self.limits[0],
            0x03 => self.limits[1],
            0x05 => self.storage[0],
            0x06 => self.storage[1],
            0x07 => self.storage[2],
            0x08 => self.storage[3],
            0x0f => 0x0117,
            _ => 0,
        }
    }

    fn set_register(&mut self, word: u16, now_ms: u64) {
        match self.pointer {
            0x01 if word & SOFT_RESET != 0 => self.reset(now_ms),
            0x01 => self.configure(word, now_ms),
            0x02 => self.limits[0] = word,
            0x03 => self.limits[1] = word,
            0x05 => self.storage[0] = word,
            0x06 => self.storage[1] = word,
            0x07 => self.storage[2] = word,
            0x08 => self.storage[3] = word,
            _ => {}
        }
    }
}

impl SimChip for SimTmp117 {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        if let [pointer, value @ ..] = bytes {
            self.pointer = *pointer;
            if let [high, low, ..] = value {
                self.set_register(u16::from_be_bytes([*high, *low]), now_ms);
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
        if self.pointer == 0x00 && into.len() >= 2 && self.temperature != POWER_ON {
            let raw = i32::from(self.temperature);
            truth.thermometer(now_ms, "tmp117", self.address, raw, &[])?;
        }
        let word = self.register().to_be_bytes();
        for (byte, value) in into.iter_mut().zip(word.iter().cycle()) {
            *byte = *value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
