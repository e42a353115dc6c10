//! The clock of the models: UTC where it is known, else a time that goes on over restarts.
//!
//! Promises: it is taken over from the last process, so that the hours of day and week keep their meaning; a
//! UTC that is known wins. Never: reads a clock; moves for less than a minute, which is no news to a model.

/// A correction below this is left out: it would only make distances between readings uneven.
const MOVE_MS_MIN: u64 = 60_000;

/// From stamps to the time of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calendar {
    offset_ms: i64,
    is_utc: bool,
}

impl Calendar {
    /// Goes on where the last process stopped, unless UTC is known.
    pub fn resume(&mut self, stamp_ms: u64, last_ms: u64) {
        if !self.is_utc && last_ms > self.at(stamp_ms) {
            self.move_to(stamp_ms, last_ms);
        }
    }

    /// UTC at a stamp is known.
    pub fn utc(&mut self, stamp_ms: u64, utc_ms: i64) {
        let Ok(utc_ms) = u64::try_from(utc_ms) else {
            return;
        };
        if !self.is_utc || self.at(stamp_ms).abs_diff(utc_ms) >= MOVE_MS_MIN {
            self.move_to(stamp_ms, utc_ms);
        }
        self.is_utc = true;
    }

    fn move_to(&mut self, stamp_ms: u64, time_ms: u64) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        self.offset_ms = signed(time_ms).saturating_sub(signed(stamp_ms));
    }

    /// The time of the models at a stamp.
    #[must_use]
    pub fn at(&self, stamp_ms: u64) -> u64 {
        stamp_ms.saturating_add_signed(self.offset_ms)
    }

    /// UTC at a stamp, ms since 1970-01-01, if it is known.
    #[must_use]
    pub fn utc_ms(&self, stamp_ms: u64) -> Option<u64> {
        self.is_utc.then(|| self.at(stamp_ms))
    }
}
