//! UBX messages: decoding NAV-PVT and ACK, and writing the configuration messages ([`Message`]).
//!
//! Promises: pure, integers only; a payload that is too short is `None`. Never: a decision about
//! validity (that is `gnss::epoch`), nor a message that would fit only by truncation.
//!
//! ```text
//! B5 62 | class | id | payload length, little-endian | payload | CK_A CK_B over class..payload
//! ```

use crate::gnss::utc::{DAY_MS, Date};

mod message;
pub mod status;

pub use message::{MESSAGE_LEN_MAX, Message};

/// Class of NAV-PVT.
pub const CLASS_NAV: u8 = 0x01;
/// Identifier of NAV-PVT in [`CLASS_NAV`].
pub const ID_NAV_PVT: u8 = 0x07;
/// Class of ACK-ACK and ACK-NAK.
pub const CLASS_ACK: u8 = 0x05;
/// Class of the configuration messages.
pub const CLASS_CFG: u8 = 0x06;
/// CFG-PRT, generation 8 and older.
pub const ID_CFG_PRT: u8 = 0x00;
/// CFG-MSG, generation 8 and older.
pub const ID_CFG_MSG: u8 = 0x01;
/// CFG-RATE, generation 8 and older.
pub const ID_CFG_RATE: u8 = 0x08;
/// CFG-VALSET, generation 9 and younger.
pub const ID_CFG_VALSET: u8 = 0x8a;

/// CFG-I2COUTPROT-UBX: UBX goes out on I2C.
pub const KEY_I2COUTPROT_UBX: u32 = 0x1072_0001;
/// CFG-I2COUTPROT-NMEA: NMEA goes out on I2C.
pub const KEY_I2COUTPROT_NMEA: u32 = 0x1072_0002;
/// CFG-MSGOUT-UBX_NAV_PVT_I2C: one NAV-PVT every so many epochs.
pub const KEY_MSGOUT_NAV_PVT_I2C: u32 = 0x2091_0006;
/// CFG-RATE-MEAS: milliseconds between measurements.
pub const KEY_RATE_MEAS: u32 = 0x3021_0001;
/// CFG-RATE-NAV: measurements for each navigation solution.
pub const KEY_RATE_NAV: u32 = 0x3021_0002;

/// The Fletcher checksum over class, identifier, length and payload.
#[must_use]
#[inline]
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    // Eight bytes at once: each counts once for `a`, and for `b` as often as sums follow it.
    // Modulo 2^32 the last eight bits are those of the byte-wise sums.
    let (mut a, mut b) = (0u32, 0u32);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let (sum, weighted) = sums(u64::from_le_bytes(*word));
        b = b.wrapping_add(a.wrapping_mul(8)).wrapping_add(weighted);
        a = a.wrapping_add(sum);
    }
    for byte in rest {
        a = a.wrapping_add(u32::from(*byte));
        b = b.wrapping_add(a);
    }
    [a.to_le_bytes()[0], b.to_le_bytes()[0]]
}

/// The sum of the eight bytes, the first being the lowest, and the sum weighted with 8, 7, ... 1.
///
/// Even and odd bytes stand in lanes of sixteen bits. A product adds up the lanes in its highest
/// one, each times the mirrored lane of the other factor; none overflows, because 255 times the sum
/// of all weights is below 2^16.
fn sums(word: u64) -> (u32, u32) {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    let (even, odd) = (word & LANES, word >> 8 & LANES);
    let highest = |product: u64| u32::try_from(product >> 48).unwrap_or(0);
    let sum = highest((even + odd).wrapping_mul(0x0001_0001_0001_0001));
    let weighted = highest(even.wrapping_mul(0x0008_0006_0004_0002))
        + highest(odd.wrapping_mul(0x0007_0005_0003_0001));
    (sum, weighted)
}

/// The answer to a configuration message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Accepted (ACK-ACK) or refused (ACK-NAK).
    pub accepted: bool,
    /// Class of the message that is answered.
    pub class: u8,
    /// Identifier of the message that is answered.
    pub id: u8,
}

impl Ack {
    /// Decodes the frame (`class`, `id`, `payload`), if it is an answer.
    #[must_use]
    pub fn decode(class: u8, id: u8, payload: &[u8]) -> Option<Self> {
        match (class, id, payload) {
            (CLASS_ACK, 0 | 1, [class, acked]) => Some(Self {
                accepted: id == 1,
                class: *class,
                id: *acked,
            }),
            _ => None,
        }
    }
}

/// The fields of NAV-PVT that the gateway uses, as the receiver sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NavPvt {
    /// GPS time of week of the epoch.
    pub itow_ms: u32,
    /// UTC of the epoch rounded to a millisecond, when the receiver says that date and time of
    /// day are valid and they exist in the calendar.
    pub utc_ms: Option<i64>,
    /// There is no uncertainty of whole seconds left in the time of day.
    pub fully_resolved: bool,
    /// Accuracy of the time.
    pub t_acc_ns: u32,
    /// 0 none, 1 dead reckoning, 2 2D, 3 3D, 4 GNSS and dead reckoning, 5 time only.
    pub fix_type: u8,
    /// The fix is within the receiver's own limits.
    pub fix_ok: bool,
    /// 0 none, 1 floating, 2 fixed carrier-phase ambiguities.
    pub carrier_solution: u8,
    /// The coordinates must not be used.
    pub invalid_llh: bool,
    /// Satellites used.
    pub satellites: u8,
    /// Longitude in 1e-7 degree.
    pub lon_1e7_deg: i32,
    /// Latitude in 1e-7 degree.
    pub lat_1e7_deg: i32,
    /// Height above mean sea level.
    pub height_msl_mm: i32,
    /// Horizontal accuracy.
    pub h_acc_mm: u32,
    /// Ground speed.
    pub speed_mm_s: i32,
    /// Heading of motion in 1e-5 degree.
    pub course_1e5_deg: i32,
    /// Position dilution of precision in 1/100.
    pub pdop_x100: u16,
}

const VALID_DATE: u8 = 1;
const VALID_TIME: u8 = 2;
const FULLY_RESOLVED: u8 = 4;

impl NavPvt {
    /// The shortest payload, of generation 7; later ones append fields.
    pub const LEN_MIN: usize = 84;

    /// Decodes a payload; `None` when it is too short.
    #[must_use]
    #[inline]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN_MIN] = payload.first_chunk()?;
        let [valid, fix_type, flags, satellites] = [
            byte_at(bytes, 11)?,
            byte_at(bytes, 20)?,
            byte_at(bytes, 21)?,
            byte_at(bytes, 23)?,
        ];
        Some(Self {
            itow_ms: u32_at(bytes, 0)?,
            utc_ms: if valid & (VALID_DATE | VALID_TIME) == VALID_DATE | VALID_TIME {
                utc_ms(bytes)
            } else {
                None
            },
            fully_resolved: valid & FULLY_RESOLVED != 0,
            t_acc_ns: u32_at(bytes, 12)?,
            fix_type,
            fix_ok: flags & 1 != 0,
            carrier_solution: flags >> 6,
            invalid_llh: byte_at(bytes, 78)? & 1 != 0,
            satellites,
            lon_1e7_deg: i32_at(bytes, 24)?,
            lat_1e7_deg: i32_at(bytes, 28)?,
            height_msl_mm: i32_at(bytes, 36)?,
            h_acc_mm: u32_at(bytes, 40)?,
            speed_mm_s: i32_at(bytes, 60)?,
            course_1e5_deg: i32_at(bytes, 64)?,
            pdop_x100: u16_at(bytes, 76)?,
        })
    }
}

fn utc_ms(bytes: &[u8]) -> Option<i64> {
    let date = Date::new(u16_at(bytes, 4)?, byte_at(bytes, 6)?, byte_at(bytes, 7)?)?;
    let (hour, minute, second) = (byte_at(bytes, 8)?, byte_at(bytes, 9)?, byte_at(bytes, 10)?);
    // Second 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let tod_s = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    // The nanoseconds are signed: an epoch just before the second is the second minus a little.
    let nano = i64::from(i32_at(bytes, 16)?);
    Some(date.days() * DAY_MS + tod_s * 1000 + (nano + 500_000).div_euclid(1_000_000))
}

fn byte_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    Some(i32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
