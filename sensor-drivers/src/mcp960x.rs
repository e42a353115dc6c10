//! MCP9600 and MCP9601 thermocouple converters (engine, exhaust).
//!
//! Promises: each register of a sample was read until two readings agreed, because these parts
//! stretch the clock and a Raspberry Pi then reads 0x01 bytes or worse, and there is no checksum;
//! the hot junction lies within the thermocouple's range and near the sum of cold junction and
//! difference, and the code 0x0101, which is what garbage looks like, counts only when every
//! reading says so and it is that sum. An open or
//! shorted thermocouple is a fault beside a good cold junction, never a temperature. Never: the
//! same conversion twice as fresh, or an unbounded re-read.
//!
//! Register map, words big-endian, temperatures in 1/16 degC:
//! ```text
//! 0x00 hot junction   s16     0x01 difference  s16     0x02 cold junction  s16
//! 0x04 status         |BURST|UPDATE|SHORT|OPEN|alerts:4|   UPDATE is cleared by writing 0
//! 0x05 thermocouple   |-|TYPE:3|-|FILTER:3|                default 0: type K, no filter
//! 0x06 device         |COLD|ADC:2|SAMPLES:3|MODE:2|        default 0: 18 bits, continuous
//! 0x20 identity       |0x40 MCP9600, 0x41 MCP9601|revision:8|
//! ```

use crate::error::SensorError;
use crate::running::settings_held;
use crate::transfer::{Registers, Transfer};
use crate::word::sixteenths_deg_c_128;

const REG_HOT: u8 = 0x00;
const REG_DIFFERENCE: u8 = 0x01;
const REG_COLD: u8 = 0x02;
const REG_STATUS: u8 = 0x04;
const REG_THERMOCOUPLE: u8 = 0x05;
const REG_DEVICE: u8 = 0x06;
const REG_IDENTITY: u8 = 0x20;

const STATUS_UPDATE: u8 = 1 << 6;
const STATUS_SHORT: u8 = 1 << 5;
const STATUS_OPEN: u8 = 1 << 4;
/// Weak filter: it also differs from the default, so that a brown-out shows, and from garbage.
const FILTER: u8 = 2;
const DEVICE_SETTINGS: u8 = 0;
/// What a Raspberry Pi reads when the part stretches the clock.
const STRETCH_BYTE: u8 = 0x01;
const STRETCH_GARBAGE: i16 = 0x0101;
/// How far hot may be from cold + difference: the filter smooths one and not the other, and an
/// exhaust heats by a hundred degrees in a conversion.
const SUM_TOLERANCE: i32 = 128 * 16;
/// The same for the code that garbage looks like.
const GARBAGE_TOLERANCE: i32 = 2 * 16;
/// How often a register is read until two readings agree.
pub const READS_MAX: usize = 3;
/// Cold junction: the part's own range, in 1/16 degC.
const COLD_MIN: i16 = -40 * 16;
const COLD_MAX: i16 = 125 * 16;

/// One conversion of 18 bits of the hot junction, and one of the cold junction.
pub const CONVERSION_MS: u32 = 600;
/// After this many turns without the update bit the part is asked for its settings.
pub const READY_POLLS_MAX: u8 = 3;

/// The metals of the thermocouple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thermocouple {
    /// -270 to 1372 degC.
    K,
    /// -210 to 1200 degC.
    J,
    /// -270 to 400 degC.
    T,
    /// -270 to 1300 degC.
    N,
    /// -50 to 1768 degC.
    S,
    /// -270 to 1000 degC.
    E,
    /// 0 to 1820 degC.
    B,
    /// -50 to 1768 degC.
    R,
}

impl Thermocouple {
    fn code(self) -> u8 {
        match self {
            Self::K => 0,
            Self::J => 1,
            Self::T => 2,
            Self::N => 3,
            Self::S => 4,
            Self::E => 5,
            Self::B => 6,
            Self::R => 7,
        }
    }

    /// The range of the standard tables (IEC 60584) in degC.
    #[must_use]
    pub fn range_deg_c(self) -> (i16, i16) {
        match self {
            Self::K => (-270, 1372),
            Self::J => (-210, 1200),
            Self::T => (-270, 400),
            Self::N => (-270, 1300),
            Self::S | Self::R => (-50, 1768),
            Self::E => (-270, 1000),
            Self::B => (0, 1820),
        }
    }
}

/// Why the hot junction has no temperature, although the part works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThermocoupleFault {
    /// Not connected; on an MCP9600, which cannot tell: outside its input range.
    Open,
    /// Shorted to ground or supply (MCP9601 only).
    Short,
}

/// Which part answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mcp960xPart {
    /// Without wire fault detection.
    Mcp9600,
    /// With it.
    Mcp9601,
}

/// One conversion result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mcp960xSample {
    /// The thermocouple in 1/128 degC.
    pub hot_deg_c_128: Result<i32, ThermocoupleFault>,
    /// The part itself in 1/128 degC.
    pub cold_deg_c_128: i32,
    /// The `now_ms` that `fetch` was given.
    pub stamp_ms: u64,
}

/// Turns the hot junction word into 1/16 degC.
///
/// # Errors
/// The code itself when it is outside the thermocouple's range.
pub fn decode_hot(thermocouple: Thermocouple, word: [u8; 2]) -> Result<i16, i16> {
    let raw = i16::from_be_bytes(word);
    let (min_deg_c, max_deg_c) = thermocouple.range_deg_c();
    if (min_deg_c * 16..=max_deg_c * 16).contains(&raw) {
        Ok(raw)
    } else {
        Err(raw)
    }
}

/// Turns the cold junction word into 1/16 degC.
///
/// # Errors
/// The code itself when it is outside -40 to +125 degC.
pub fn decode_cold(word: [u8; 2]) -> Result<i16, i16> {
    let raw = i16::from_be_bytes(word);
    if (COLD_MIN..=COLD_MAX).contains(&raw) {
        Ok(raw)
    } else {
        Err(raw)
    }
}

/// What the driver knows about its part; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    thermocouple: Thermocouple,
    pub(crate) part: Option<Mcp960xPart>,
    polls_without_update: u8,
    pub(crate) disagreements: u32,
}

impl Logic {
    pub(crate) fn new(address: u8, thermocouple: Thermocouple) -> Self {
        Self {
            address,
            thermocouple,
            part: None,
            polls_without_update: 0,
            disagreements: 0,
        }
    }

    fn sensor_settings(&self) -> u8 {
        self.thermocouple.code() << 4 | FILTER
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        _now_ms: u64,
    ) -> Result<u32, SensorError<B::Error>> {
        self.polls_without_update = 0;
        let settings = self.sensor_settings();
        let found = u16::from_be_bytes(self.agreed(bus, REG_IDENTITY).await?);
        self.part = match found >> 8 {
            0x40 => Some(Mcp960xPart::Mcp9600),
            0x41 => Some(Mcp960xPart::Mcp9601),
            _ => return Err(SensorError::WrongDevice { found }),
        };
        let mut part = self.registers(bus);
        part.set_byte(REG_THERMOCOUPLE, settings).await?;
        part.set_byte(REG_DEVICE, DEVICE_SETTINGS).await?;
        part.set_byte(REG_STATUS, 0).await?;
        Ok(CONVERSION_MS)
    }

    pub(crate) async fn fetch<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<Mcp960xSample, SensorError<B::Error>> {
        let [status] = self.agreed(bus, REG_STATUS).await?;
        if status & STATUS_UPDATE == 0 {
            self.polls_without_update = self.polls_without_update.saturating_add(1);
            if self.polls_without_update >= READY_POLLS_MAX {
                self.check_settings(bus).await?;
            }
            return Err(SensorError::NotReady);
        }
        self.polls_without_update = 0;
        // Cleared before the value is read: a conversion that ends in between counts as the next
        // one, and none is taken twice.
        self.registers(bus).set_byte(REG_STATUS, 0).await?;
        let cold = decode_cold(self.agreed(bus, REG_COLD).await?).map_err(implausible)?;
        let hot = self.hot(bus, status, cold).await?;
        // Read behind the values: a part that still holds its settings held them before.
        self.check_settings(bus).await?;
        Ok(Mcp960xSample {
            hot_deg_c_128: hot.map(sixteenths_deg_c_128),
            cold_deg_c_128: sixteenths_deg_c_128(cold),
            stamp_ms: now_ms,
        })
    }

    async fn hot<B: Transfer>(
        &mut self,
        bus: &mut B,
        status: u8,
        cold: i16,
    ) -> Result<Result<i16, ThermocoupleFault>, SensorError<B::Error>> {
        if status & STATUS_SHORT != 0 && self.part == Some(Mcp960xPart::Mcp9601) {
            return Ok(Err(ThermocoupleFault::Short));
        }
        if status & STATUS_OPEN != 0 {
            return Ok(Err(ThermocoupleFault::Open));
        }
        let word = self.agreed(bus, REG_HOT).await?;
        let hot = decode_hot(self.thermocouple, word).map_err(implausible)?;
        let difference = i16::from_be_bytes(self.agreed(bus, REG_DIFFERENCE).await?);
        let tolerance = if hot == STRETCH_GARBAGE {
            GARBAGE_TOLERANCE
        } else {
            SUM_TOLERANCE
        };
        let sum = i32::from(difference) + i32::from(cold);
        if (sum - i32::from(hot)).abs() > tolerance {
            return Err(implausible(hot));
        }
        Ok(Ok(hot))
    }

    async fn check_settings<B: Transfer>(
        &mut self,
        bus: &mut B,
    ) -> Result<(), SensorError<B::Error>> {
        let expected = self.sensor_settings();
        let [found] = self.agreed(bus, REG_THERMOCOUPLE).await?;
        settings_held(u16::from(found), 0xff, u16::from(expected))
    }

    /// Reads a register until two readings agree. What looks like garbage counts only when every
    /// reading says so, because garbage agrees with itself.
    async fn agreed<const N: usize, B: Transfer>(
        &mut self,
        bus: &mut B,
        register: u8,
    ) -> Result<[u8; N], SensorError<B::Error>> {
        let mut seen: [Option<[u8; N]>; READS_MAX] = [None; READS_MAX];
        let mut last = [0; N];
        for slot in 0..READS_MAX {
            last = self.registers(bus).bytes(register).await?;
            if last != [STRETCH_BYTE; N] && seen.contains(&Some(last)) {
                return Ok(last);
            }
            if seen.iter().flatten().any(|before| *before != last) {
                self.disagreements = self.disagreements.saturating_add(1);
            }
            if let Some(free) = seen.get_mut(slot) {
                *free = Some(last);
            }
        }
        if seen == [Some([STRETCH_BYTE; N]); READS_MAX] {
            return Ok(last);
        }
        let raw = last.iter().fold(0, |sum, byte| sum << 8 | i32::from(*byte));
        Err(SensorError::Implausible { raw })
    }

    fn registers<'a, B>(&self, bus: &'a mut B) -> Registers<'a, B> {
        let address = self.address;
        Registers { bus, address }
    }
}

fn implausible<E>(raw: i16) -> SensorError<E> {
    let raw = i32::from(raw);
    SensorError::Implausible { raw }
}

crate::shell::thermometer!(
    Mcp960x,
    Logic,
    Mcp960xSample,
    (thermocouple: Thermocouple),
    /// A driver for the part at `address` (0x60 to 0x67). Nothing is sent.
    new,
    /// Identifies and configures the part. To be called first, and again after any bus error or
    /// [`SensorError::ConfigurationLost`]. Returns after how many milliseconds the first result is due.
    ///
    /// # Errors
    /// A bus failure, another part at this address, or readings that never agree.
    start,
    /// Takes the latest conversion result, if there is a fresh one.
    ///
    /// # Errors
    /// [`SensorError::NotReady`] when there is none, [`SensorError::ConfigurationLost`] after a
    /// brown-out, [`SensorError::Implausible`] for a value that cannot be one or readings that never
    /// agree, or a bus failure.
    fetch
);

impl<I> Mcp960x<I> {
    /// Which part answered the last `start`.
    pub fn part(&self) -> Option<Mcp960xPart> {
        self.logic.part
    }

    /// How often two readings of one register differed. A few an hour are conversions that ended
    /// in between; many are a bus on which this part stretches the clock for too long.
    pub fn disagreements(&self) -> u32 {
        self.logic.disagreements
    }
}

#[cfg(test)]
mod tests;
