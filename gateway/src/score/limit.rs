//! Absolute limits.

use firmware_shared::units::Celsius128;

use crate::config::Limits;

/// Where a value stands to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Above the upper limit.
    High,
    /// Allowed, but not yet far enough below the upper limit to call the matter done.
    NearHigh,
    /// Inside.
    Inside,
    /// Allowed, but not yet far enough above the lower limit to call the matter done.
    NearLow,
    /// Below the lower limit.
    Low,
}

impl Standing {
    /// Where a value stands.
    #[must_use]
    pub fn of(value: Celsius128, limits: &Limits) -> Self {
        let (value, margin) = (i64::from(value.0), i64::from(limits.hysteresis.0));
        let high = limits.high.map_or(i64::MAX, |limit| i64::from(limit.0));
        let low = limits.low.map_or(i64::MIN, |limit| i64::from(limit.0));
        if value > high {
            Self::High
        } else if value < low {
            Self::Low
        } else if value > high.saturating_sub(margin) {
            Self::NearHigh
        } else if value < low.saturating_add(margin) {
            Self::NearLow
        } else {
            Self::Inside
        }
    }
}
