//! Who issued a reading, and under which number.
//!
//! Promises: the key of a reading is (device, epoch, lane, seq) and nothing else; a device name is fit for
//! a topic, a file name and a certificate; an epoch fits a signed SQL integer. Never: a key from a packet
//! id, a DUP flag or a clock.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a device: `[a-z0-9_-]{1,32}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "heapless::String<32>", into = "heapless::String<32>")]
pub struct DeviceId(heapless::String<32>);

impl DeviceId {
    /// The longest name, bytes.
    pub const LEN_MAX: usize = 32;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a device name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceIdError {
    /// Empty or longer than 32 bytes; how long it is.
    Length(usize),
    /// A character outside `[a-z0-9_-]`.
    Character(char),
}

impl fmt::Display for DeviceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a device id of {len} bytes; allowed are 1 to 32"),
            Self::Character(c) => {
                write!(
                    f,
                    "a device id with the character {c:?}; allowed are a-z, 0-9, '_' and '-'"
                )
            }
        }
    }
}

impl core::error::Error for DeviceIdError {}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(DeviceIdError::Character(c));
        }
        if text.is_empty() {
            return Err(DeviceIdError::Length(0));
        }
        heapless::String::try_from(text)
            .map(Self)
            .map_err(|_| DeviceIdError::Length(text.len()))
    }
}

impl TryFrom<heapless::String<32>> for DeviceId {
    type Error = DeviceIdError;

    fn try_from(text: heapless::String<32>) -> Result<Self, DeviceIdError> {
        text.as_str().parse()
    }
}

impl From<DeviceId> for heapless::String<32> {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.0)
    }
}

/// 63 random bits drawn at every process start: a cloned, rolled-back or torn card never reuses a key.
/// Binary formats carry the integer; JSON and people see 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of these random bits; the top bit is dropped so that it fits a signed SQL integer.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & (u64::MAX >> 1))
    }

    /// The epoch with this number, if it is one.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number >> 63 == 0 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number, below 2^63.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// A text that is not 16 hex digits below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochError;

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an epoch; allowed are 16 hex digits, the first below 8")
    }
}

impl core::error::Error for EpochError {}

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(EpochError);
        }
        u64::from_str_radix(text, 16)
            .ok()
            .and_then(Self::from_number)
            .ok_or(EpochError)
    }
}

impl Serialize for Epoch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let text = heapless::String::<16>::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        } else {
            let number = u64::deserialize(deserializer)?;
            Self::from_number(number).ok_or_else(|| D::Error::custom(EpochError))
        }
    }
}

/// The streams of a device, each with its own numbers. The numbers are the wire numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Lane {
    /// Alerts: first, durable at once, never evicted for telemetry.
    Alert = 0,
    /// Readings.
    Telemetry = 1,
    /// The gateway about itself, losses and time anchors.
    Health = 2,
}

impl Lane {
    /// Every lane, in wire order.
    pub const ALL: [Self; 3] = [Self::Alert, Self::Telemetry, Self::Health];
    /// Reserved for cold-chain evidence; no reader accepts it yet.
    pub const RECORD_RESERVED: u8 = 3;

    /// The lane with this wire number.
    #[must_use]
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name in topics, databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Telemetry => "telemetry",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One stream of numbers: seq counts from 0 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId {
    /// The process start that issued the numbers.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
}

/// Consecutive numbers, both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeqRange {
    /// The lowest number.
    pub first_seq: u64,
    /// The highest number, not below the lowest.
    pub last_seq: u64,
}

impl SeqRange {
    /// The range from `first_seq` to `last_seq`; `None` when it would be empty or cannot be counted.
    #[must_use]
    pub const fn new(first_seq: u64, last_seq: u64) -> Option<Self> {
        if first_seq <= last_seq && last_seq < u64::MAX {
            Some(Self {
                first_seq,
                last_seq,
            })
        } else {
            None
        }
    }

    /// `count` numbers from `first_seq`; `None` when there are none or they run over the end.
    #[must_use]
    pub const fn from_count(first_seq: u64, count: u64) -> Option<Self> {
        match (count, first_seq.checked_add(count)) {
            (1.., Some(next_seq)) => Self::new(first_seq, next_seq - 1),
            _ => None,
        }
    }

    /// How many numbers it holds.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.last_seq
            .saturating_sub(self.first_seq)
            .saturating_add(1)
    }

    /// The number after the last.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.last_seq.saturating_add(1)
    }

    /// Whether the number is in it.
    #[must_use]
    pub const fn contains(&self, seq: u64) -> bool {
        self.first_seq <= seq && seq <= self.last_seq
    }

    /// What both ranges hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(
            self.first_seq.max(other.first_seq),
            self.last_seq.min(other.last_seq),
        )
    }
}

impl fmt::Debug for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first_seq, self.last_seq)
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first_seq, self.last_seq)
    }
}
