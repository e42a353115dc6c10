//! What a GNSS receiver says, freed from how it says it.
//!
//! Promises: one [`GnssEvent::Fix`] or one [`GnssEvent::NoFix`] for each navigation epoch,
//! whether the receiver speaks UBX, NMEA or both; a fix only when the receiver's own validity
//! flags agree. Never: the position (0, 0), an earlier position again, or a position beside a
//! "not valid" flag.
//!
//! The way of a byte: [`stream::StreamSplitter`] finds frames whose checksum holds,
//! [`epoch::EpochTracker`] turns frames into events. [`feed::GnssFeed`] is both together for any
//! source of bytes, such as a serial port, and [`decode::GnssDecoder`] for whole recordings.

use core::fmt;

mod arrival;
pub mod decode;
pub mod epoch;
pub mod feed;
pub mod gate;
pub mod health;
pub mod stream;
pub mod utc;
pub mod watch;

pub(crate) use arrival::Arrival;

/// Which navigation epoch: the identity of a fix, as the receiver states it. Not a time stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochTime {
    /// Date and time of day are known.
    Utc {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        utc_ms: i64,
    },
    /// UBX before the date is known.
    TimeOfWeek {
        /// Milliseconds since the start of the GPS week.
        itow_ms: u32,
    },
    /// NMEA without a usable date.
    TimeOfDay {
        /// Milliseconds since midnight UTC.
        tod_ms: u32,
    },
}

impl fmt::Display for EpochTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utc { utc_ms } => utc::Iso(*utc_ms).fmt(f),
            Self::TimeOfWeek { itow_ms } => write!(f, "itow:{itow_ms}"),
            Self::TimeOfDay { tod_ms } => write!(f, "tod:{tod_ms}"),
        }
    }
}

/// How a position was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FixKind {
    /// Dead reckoning alone; only reported when the driver was told to accept it.
    DeadReckoning,
    /// Satellites, without a height. From NMEA: GSA says so, or neither it nor a height was given.
    TwoD,
    /// Satellites, with a height, which RMC alone does not give.
    ThreeD,
    /// Satellites and dead reckoning together.
    GnssDeadReckoning,
    /// Carrier phase with floating ambiguities.
    RtkFloat,
    /// Carrier phase with fixed ambiguities.
    RtkFixed,
}

impl FixKind {
    /// A word for it, which stays the same.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadReckoning => "dead_reckoning",
            Self::TwoD => "2d",
            Self::ThreeD => "3d",
            Self::GnssDeadReckoning => "gnss_dead_reckoning",
            Self::RtkFloat => "rtk_float",
            Self::RtkFixed => "rtk_fixed",
        }
    }
}

/// A valid position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fix {
    /// Which epoch it belongs to.
    pub epoch: EpochTime,
    /// Latitude in 1e-7 degree, north positive.
    pub lat_1e7_deg: i32,
    /// Longitude in 1e-7 degree, east positive.
    pub lon_1e7_deg: i32,
    /// Height above mean sea level in mm.
    pub height_mm: Option<i32>,
    /// Speed over ground in mm/s.
    pub speed_mm_s: Option<i32>,
    /// Course over ground in 1e-5 degree.
    pub course_1e5_deg: Option<i32>,
    /// Horizontal accuracy estimate in mm (UBX only).
    pub h_acc_mm: Option<u32>,
    /// Satellites used.
    pub satellites: Option<u8>,
    /// Position dilution of precision in 1/100 (UBX only).
    pub pdop_x100: Option<u16>,
    /// Horizontal dilution of precision in 1/100 (NMEA only).
    pub hdop_x100: Option<u16>,
    /// How it was found.
    pub kind: FixKind,
    /// The speed from the fix before, when no vehicle goes that fast: one of the two is to be
    /// doubted.
    pub implied_speed_mm_s: Option<u32>,
}

/// Why an epoch has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoFixReason {
    /// The receiver has no solution.
    Searching,
    /// The receiver has a solution and says itself that it must not be trusted.
    NotTrusted,
    /// Time only.
    TimeOnly,
    /// Dead reckoning alone, and the driver was not told to accept it.
    DeadReckoning,
    /// Typed in by hand or simulated inside the receiver.
    NotMeasured,
    /// Flags say valid, but the coordinates are missing, impossible, or exactly (0, 0).
    InvalidPosition,
    /// Half of the evidence is missing: a GGA whose RMC did not arrive.
    Incomplete,
}

impl NoFixReason {
    /// A word for it, which stays the same.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::NotTrusted => "not_trusted",
            Self::TimeOnly => "time_only",
            Self::DeadReckoning => "dead_reckoning",
            Self::NotMeasured => "not_measured",
            Self::InvalidPosition => "invalid_position",
            Self::Incomplete => "incomplete",
        }
    }
}

/// All that the receiver said of one navigation epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochReport {
    /// Which one, where the receiver states a time.
    pub epoch: Option<EpochTime>,
    /// Satellites used, as far as it says, with a fix or without.
    pub satellites: Option<u8>,
    /// The position, or why there is none.
    pub outcome: Result<Fix, NoFixReason>,
}

impl EpochReport {
    /// Milliseconds since 1970-01-01T00:00:00Z of the epoch, when date and time of day are known.
    #[must_use]
    pub fn utc_ms(&self) -> Option<i64> {
        match self.epoch {
            Some(EpochTime::Utc { utc_ms }) => Some(utc_ms),
            _ => None,
        }
    }

    /// The position, if there is one.
    #[must_use]
    pub fn fix(&self) -> Option<&Fix> {
        self.outcome.as_ref().ok()
    }
}

/// UTC as the receiver knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GnssTime {
    /// Milliseconds since 1970-01-01T00:00:00Z of the epoch.
    pub utc_ms: i64,
    /// Bound of the error of the pair (`utc_ms`, the `now_ms` of the poll that delivered it): the
    /// receiver's own error plus how long the message may have waited to be read.
    pub accuracy_ms: u32,
    /// Who said so.
    pub source: GnssTimeSource,
}

/// The message a [`GnssTime`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GnssTimeSource {
    /// NAV-PVT with date and time valid and fully resolved.
    NavPvt,
    /// An active RMC with a date; whole seconds may be off until leap seconds are known.
    Rmc,
}

/// One event; at most one `Fix` or `NoFix` for each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GnssEvent {
    /// A valid position.
    Fix(Fix),
    /// An epoch without one.
    NoFix(NoFixReason),
    /// UTC is known.
    Time(GnssTime),
}

/// The same with all that is known of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// An epoch with or without a position.
    Epoch(EpochReport),
    /// UTC is known.
    Time(GnssTime),
}

impl From<Said> for GnssEvent {
    fn from(said: Said) -> Self {
        match said {
            Said::Epoch(report) => report.outcome.map_or_else(Self::NoFix, Self::Fix),
            Said::Time(time) => Self::Time(time),
        }
    }
}
