//! Time anchors: the only bridge from CLOCK_BOOTTIME to UTC.
//!
//! Promises: an anchor holds for every epoch of its boot; a stamp is never rewritten, UTC is computed
//! beside it. Never: orders, names, expires or deduplicates anything by wall time.

use serde::{Deserialize, Serialize};

/// Names one boot of the machine (the kernel's random boot_id).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub [u8; 16]);

impl core::fmt::Display for BootId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for BootId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BootId({self})")
    }
}

/// Where a UTC value comes from, worst first. The numbers are the wire numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ClockSource {
    /// Nobody vouches for it.
    None = 0,
    /// A clock restored from a file at boot (fake-hwclock).
    Fake = 1,
    /// A battery-backed clock.
    Rtc = 2,
    /// Network time.
    Ntp = 3,
    /// A GNSS receiver with valid date, time and leap seconds.
    Gnss = 4,
}

impl ClockSource {
    /// The source with this wire number.
    #[must_use]
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::None, Self::Fake, Self::Rtc, Self::Ntp, Self::Gnss]
            .get(usize::from(number))
            .copied()
    }

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fake => "fake",
            Self::Rtc => "rtc",
            Self::Ntp => "ntp",
            Self::Gnss => "gnss",
        }
    }
}

/// At `boottime_ms` of its boot it was `utc_ms`, give or take `error_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeAnchor {
    /// CLOCK_BOOTTIME in milliseconds.
    pub boottime_ms: u64,
    /// UTC in milliseconds since 1970-01-01.
    pub utc_ms: i64,
    /// Bound of the error at `boottime_ms`, milliseconds.
    pub error_ms: u32,
    /// Who says so.
    pub source: ClockSource,
}

impl TimeAnchor {
    /// UTC in milliseconds of a stamp of the same boot; saturates at the ends of the range.
    #[must_use]
    pub fn utc_ms_of(&self, stamp_ms: u64) -> i64 {
        let stamp = i128::from(stamp_ms) - i128::from(self.boottime_ms) + i128::from(self.utc_ms);
        i64::try_from(stamp).unwrap_or(if stamp < 0 { i64::MIN } else { i64::MAX })
    }
}
