//! An MCP9600 or MCP9601 at register level.
//!
//! Promises, as the part does it: hot junction, difference and cold junction that add up; an
//! update bit that is set by each conversion and cleared by writing the status; identity;
//! brown-out back to defaults; an MCP9601 tells an open and a shorted wire, an MCP9600 only that
//! its input is out of range. A conversion stands in the truth file once, when its hot junction
//! is first read. Never: a hot junction with a broken wire in the truth file.

use super::Window;
use super::bus::SimBusError;
use super::conversion::{Converter, code};
use super::profile::Profile;
use super::registers::RegisterPart;
use super::truth::TruthFile;
use crate::mcp960x::Mcp960xPart;

const CONVERSION_MS: u64 = 320;
const UPDATE: u8 = 1 << 6;
const SHORT: u8 = 1 << 5;
const OPEN: u8 = 1 << 4;
/// What an open input reads like.
const OPEN_CODE: i32 = i16::MAX as i32;

/// What happens to the wires, in spans of virtual time.
#[derive(Debug, Clone, Default)]
pub struct Wires {
    /// Not connected.
    pub open: Vec<Window>,
    /// Shorted.
    pub short: Vec<Window>,
}

/// The chip.
#[derive(Debug)]
pub struct SimMcp960x {
    address: u8,
    part: Mcp960xPart,
    converter: Converter,
    cold_deg_c: f64,
    wires: Wires,
    pointer: u8,
    /// Thermocouple and device settings.
    settings: [u8; 2],
    /// Conversions until then do not set the update bit.
    cleared_at: u64,
    told: Option<u64>,
}

impl SimMcp960x {
    /// A part whose own temperature is `cold_deg_c`, in a world that began at the first of two
    /// times; it is powered on at the second. At each of `brown_outs_ms` it goes back to its
    /// defaults.
    #[must_use]
    pub fn new(
        address: u8,
        part: Mcp960xPart,
        profile: Profile,
        cold_deg_c: f64,
        wires: Wires,
        [t0_ms, now_ms]: [u64; 2],
        brown_outs_ms: Vec<u64>,
    ) -> Self {
        Self {
            address,
            part,
            converter: Converter::new(profile, t0_ms, now_ms, brown_outs_ms),
            cold_deg_c,
            wires,
            pointer: 0,
            settings: [0; 2],
            cleared_at: 0,
            told: None,
        }
    }

    fn broken(&self, now_ms: u64) -> u8 {
        let on = |windows: &[Window]| windows.iter().any(|window| window.contains(now_ms));
        match self.part {
            _ if on(&self.wires.open) => OPEN,
            Mcp960xPart::Mcp9601 if on(&self.wires.short) => SHORT,
            _ => 0,
        }
    }

    fn status(&self, now_ms: u64) -> u8 {
        let ended = self.converter.ended(now_ms, CONVERSION_MS);
        let update = if ended > self.cleared_at { UPDATE } else { 0 };
        update | self.broken(now_ms)
    }

    fn cold(&self) -> i32 {
        code((self.cold_deg_c * 128.0).round() as i32, 4, 16)
    }

    fn hot(&self, now_ms: u64) -> i32 {
        if self.broken(now_ms) != 0 {
            return OPEN_CODE;
        }
        let value = self.converter.latest(now_ms, CONVERSION_MS);
        value.map_or(0, |value| code(value, 4, 16))
    }

    fn tell(&mut self, now_ms: u64, truth: &mut TruthFile) -> Result<(), SimBusError> {
        let ended = self.converter.ended(now_ms, CONVERSION_MS);
        if ended == 0 || self.told == Some(ended) || self.broken(now_ms) != 0 {
            return Ok(());
        }
        self.told = Some(ended);
        let name = match self.part {
            Mcp960xPart::Mcp9600 => "mcp9600",
            Mcp960xPart::Mcp9601 => "mcp9601",
        };
        let raw = self.hot(now_ms) * 8;
        let cold = ("cold_raw", i64::from(self.cold() * 8));
        truth.thermometer(now_ms, name, self.address, raw, &[cold])
    }
}

impl RegisterPart for SimMcp960x {
    const POINTER_MASK: u8 = 0xff;

    fn pointer(&mut self) -> &mut u8 {
        &mut self.pointer
    }

    fn converter(&mut self) -> &mut Converter {
        &mut self.converter
    }

    fn power_on(&mut self) {
        self.settings = [0; 2];
        self.cleared_at = 0;
        self.told = None;
    }

    fn set(&mut self, register: u8, value: &[u8], now_ms: u64) {
        match (register, value) {
            (0x04, [status, ..]) if status & UPDATE == 0 => {
                self.cleared_at = self.converter.ended(now_ms, CONVERSION_MS);
            }
            (0x05, [settings, ..]) => self.settings[0] = settings & 0x77,
            (0x06, [settings, ..]) => self.settings[1] = *settings,
            _ => {}
        }
    }

    fn get(
        &mut self,
        register: u8,
        _len: usize,
        now_ms: u64,
        truth: &mut TruthFile,
    ) -> Result<[u8; 2], SimBusError> {
        let word = |code: i32| {
            let [.., high, low] = code.to_be_bytes();
            [high, low]
        };
        let id = match self.part {
            Mcp960xPart::Mcp9600 => 0x40,
            Mcp960xPart::Mcp9601 => 0x41,
        };
        Ok(match register {
            0x00 => {
                self.tell(now_ms, truth)?;
                word(self.hot(now_ms))
            }
            0x01 => word(self.hot(now_ms) - self.cold()),
            0x02 => word(self.cold()),
            0x04 => [self.status(now_ms); 2],
            0x05 => [self.settings[0]; 2],
            0x06 => [self.settings[1]; 2],
            0x20 => [id, 0x12],
            _ => [0; 2],
        })
    }
}
