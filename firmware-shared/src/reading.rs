//! One reading: what a sensor said, when, and how unusual that was.
//!
//! Promises: every kind of the contract has one variant; a reading without a valid position has no
//! position at all; a sensor that fails is a reading too. Never: a float, a wall time, a default value in
//! place of a missing one.

use serde::{Deserialize, Serialize};

use crate::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
    Unit,
};

/// One reading of one sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// CLOCK_BOOTTIME in milliseconds when the value was taken.
    pub stamp_ms: u64,
    /// Index of the sensor in the catalogue of its epoch.
    pub sensor: u8,
    /// How unusual the detector found it.
    pub score: Score,
    /// What was measured.
    pub value: Value,
}

/// Anomaly score in thousandths: 0 is ordinary, 1000 is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(pub u16);

impl Score {
    /// Nothing unusual.
    pub const ORDINARY: Self = Self(0);
    /// The largest score.
    pub const MAX: Self = Self(1000);
}

/// What a reading carries. The order is the wire order: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A temperature.
    Temperature(Celsius128),
    /// A valid position fix. There is no other kind of position.
    Position(Position),
    /// A measured number with unit and scale.
    Scalar(Scalar),
    /// A discrete state (door, ignition, defrost): the sensor's catalogue entry names the states.
    State(u16),
    /// The sensor could not give a value; why.
    Fault(Fault),
    /// A figure about the gateway itself.
    Health(Health),
}

/// The kind of a value, without the value. The numbers are the wire numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// See [`Value::Temperature`].
    Temperature = 0,
    /// See [`Value::Position`].
    Position = 1,
    /// See [`Value::Scalar`].
    Scalar = 2,
    /// See [`Value::State`].
    State = 3,
    /// See [`Value::Fault`].
    Fault = 4,
    /// See [`Value::Health`].
    Health = 5,
}

impl Kind {
    /// Every kind, in wire order.
    pub const ALL: [Self; 6] = [
        Self::Temperature,
        Self::Position,
        Self::Scalar,
        Self::State,
        Self::Fault,
        Self::Health,
    ];

    /// The kind with this wire number.
    #[must_use]
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Position => "position",
            Self::Scalar => "scalar",
            Self::State => "state",
            Self::Fault => "fault",
            Self::Health => "health",
        }
    }
}

impl Value {
    /// The kind of this value.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Temperature(_) => Kind::Temperature,
            Self::Position(_) => Kind::Position,
            Self::Scalar(_) => Kind::Scalar,
            Self::State(_) => Kind::State,
            Self::Fault(_) => Kind::Fault,
            Self::Health(_) => Kind::Health,
        }
    }
}

/// A valid fix. What the receiver did not say is `None`, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Latitude, north positive.
    pub lat: Degrees1e7,
    /// Longitude, east positive.
    pub lon: Degrees1e7,
    /// Height above mean sea level.
    pub height: Option<Millimetres>,
    /// Speed over ground.
    pub speed: Option<MillimetresPerSecond>,
    /// Course over ground.
    pub course: Option<Course1e5>,
    /// Horizontal accuracy estimate.
    pub h_acc: Option<AccuracyMm>,
    /// Dilution of precision.
    pub dop: Option<DopCenti>,
    /// Satellites used.
    pub satellites: Option<u8>,
    /// What kind of fix it is.
    pub fix: FixKind,
}

/// The kind of a valid fix; an open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FixKind(pub u8);

impl FixKind {
    /// Valid, dimension not told (NMEA RMC and GGA alone).
    pub const UNSPECIFIED: Self = Self(0);
    /// Dead reckoning only.
    pub const DEAD_RECKONING: Self = Self(1);
    /// Two dimensions.
    pub const FIX_2D: Self = Self(2);
    /// Three dimensions.
    pub const FIX_3D: Self = Self(3);
    /// GNSS with dead reckoning.
    pub const GNSS_DEAD_RECKONING: Self = Self(4);

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UNSPECIFIED => "fix",
            Self::DEAD_RECKONING => "dr",
            Self::FIX_2D => "2d",
            Self::FIX_3D => "3d",
            Self::GNSS_DEAD_RECKONING => "gnss_dr",
            _ => "unknown",
        }
    }
}

/// `value * 10^scale` of `unit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scalar {
    /// The integer that was measured.
    pub value: i32,
    /// Its unit.
    pub unit: Unit,
    /// Power of ten that the value is to be multiplied with.
    pub scale: i8,
}

/// Why a sensor gave no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// The register or message class that was being read, 0 where there is none.
    pub register: u8,
    /// The raw code: errno, the identity found, the implausible raw value; 0 where there is none.
    pub code: i32,
}

/// What went wrong with a sensor; an open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultKind(pub u8);

impl FaultKind {
    /// Nobody answers at the address.
    pub const NO_ACK: Self = Self(1);
    /// Lost arbitration.
    pub const ARBITRATION: Self = Self(2);
    /// The bus hangs.
    pub const BUS_TIMEOUT: Self = Self(3);
    /// Clock stretching ran out or the length did not match.
    pub const STRETCH_OR_LENGTH: Self = Self(4);
    /// A kernel driver owns the address.
    pub const CLAIMED_BY_KERNEL: Self = Self(5);
    /// The adapter does not support the transfer.
    pub const UNSUPPORTED: Self = Self(6);
    /// Another bus error; the code is the errno.
    pub const BUS_OTHER: Self = Self(7);
    /// The part had no value ready for longer than it may take.
    pub const NOT_READY: Self = Self(8);
    /// Another part answers at the address; the code is what it says it is.
    pub const WRONG_DEVICE: Self = Self(9);
    /// A value that the part cannot have measured; the code is the raw value.
    pub const IMPLAUSIBLE: Self = Self(10);
    /// A checksum did not match.
    pub const CHECKSUM: Self = Self(11);
    /// The receiver runs but has no valid fix.
    pub const NO_FIX: Self = Self(12);
    /// The receiver or sensor has been silent for too long.
    pub const SILENT: Self = Self(13);
    /// The part refused its configuration.
    pub const CONFIGURATION: Self = Self(14);
    /// The wires of a probe are open (code 1) or shorted (code 2).
    pub const WIRE: Self = Self(15);

    /// A receiver about its antenna: open (1), shorted (2), well again (0). Positions go on.
    pub const ANTENNA: Self = Self(16);
    /// A receiver about interference: with a fix all the same (1), without (2), over (0).
    pub const JAMMED: Self = Self(17);
    /// A receiver about false signals: indicated (1), affirmed (2), looked at by a person (0).
    pub const SPOOFED: Self = Self(18);
    /// The position before this is one that no vehicle can have reached; the code is the speed, mm/s.
    pub const JUMP: Self = Self(19);

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NO_ACK => "no_ack",
            Self::ARBITRATION => "arbitration",
            Self::BUS_TIMEOUT => "bus_timeout",
            Self::STRETCH_OR_LENGTH => "stretch_or_length",
            Self::CLAIMED_BY_KERNEL => "claimed_by_kernel",
            Self::UNSUPPORTED => "unsupported",
            Self::BUS_OTHER => "bus_other",
            Self::NOT_READY => "not_ready",
            Self::WRONG_DEVICE => "wrong_device",
            Self::IMPLAUSIBLE => "implausible",
            Self::CHECKSUM => "checksum",
            Self::NO_FIX => "no_fix",
            Self::SILENT => "silent",
            Self::CONFIGURATION => "configuration",
            Self::WIRE => "wire",
            Self::ANTENNA => "antenna",
            Self::JAMMED => "jammed",
            Self::SPOOFED => "spoofed",
            Self::JUMP => "jump",
            _ => "unknown",
        }
    }
}

/// A figure about the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Which figure.
    pub metric: Metric,
    /// Its value in the metric's unit.
    pub value: i64,
}

/// Which figure a health reading carries; an open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metric(pub u16);

impl Metric {
    /// Resident memory of the gateway, bytes.
    pub const RSS_BYTES: Self = Self(1);
    /// Bytes held in the spool.
    pub const SPOOL_BYTES: Self = Self(2);
    /// Age of the oldest unacknowledged reading, ms.
    pub const OLDEST_UNSENT_MS: Self = Self(3);
    /// Time from publish to central acknowledgement, ms.
    pub const ACK_LATENCY_MS: Self = Self(4);
    /// Connections made since the start.
    pub const CONNECTIONS: Self = Self(5);
    /// Readings lost since the start, for any reason.
    pub const READINGS_LOST: Self = Self(6);
    /// 0 = flash, 1 = RAM only.
    pub const SPOOL_MODE: Self = Self(7);

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RSS_BYTES => "rss_bytes",
            Self::SPOOL_BYTES => "spool_bytes",
            Self::OLDEST_UNSENT_MS => "oldest_unsent_ms",
            Self::ACK_LATENCY_MS => "ack_latency_ms",
            Self::CONNECTIONS => "connections",
            Self::READINGS_LOST => "readings_lost",
            Self::SPOOL_MODE => "spool_mode",
            _ => "unknown",
        }
    }
}
