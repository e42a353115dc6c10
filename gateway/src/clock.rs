//! The clocks. The only module that reads one.
//!
//! Promises: `real_ms` is CLOCK_BOOTTIME, monotonic and counted through suspend: it drives every timer.
//! `stamp_ms` is what readings carry: the same number on a vehicle, virtual time in a simulated world.
//! The wall clock is looked at for time anchors and for the validity of certificates alone. Never: an order taken from two different clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sensor_drivers::sim::SimClock;

/// One look at the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME, ms: for timers.
    pub real_ms: u64,
    /// The time that readings carry, ms.
    pub stamp_ms: u64,
}

/// When this was built, ms since 1970-01-01: it cannot be earlier than that.
pub const BUILD_UTC_MS: i64 = {
    // 2026-01-01, when the builder did not know.
    const LEAST_S: i64 = 1_767_225_600;
    match i64::from_str_radix(env!("FLEET_BUILD_UTC_S"), 10) {
        Ok(seconds) if seconds > LEAST_S => seconds * 1_000,
        _ => LEAST_S * 1_000,
    }
};

/// What the wall clock says, ms since 1970-01-01; it may say anything.
#[must_use]
pub fn system_utc_ms() -> i64 {
    wall_pair().utc_ms
}

/// What turns CLOCK_BOOTTIME into stamps.
#[derive(Debug, Clone)]
pub enum StampClock {
    /// Stamps are CLOCK_BOOTTIME.
    Boot,
    /// Stamps are the time of a simulated world.
    World(SimClock),
}

/// CLOCK_BOOTTIME in milliseconds.
#[must_use]
pub fn boottime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// CLOCK_BOOTTIME and the wall clock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallPair {
    /// CLOCK_BOOTTIME, ms.
    pub boottime_ms: u64,
    /// The wall clock, ms since 1970-01-01: nothing depends on it but time anchors.
    pub utc_ms: i64,
    /// Between the two looks passed at most so much, ms.
    pub apart_ms: u64,
}

/// Looks at the wall clock between two looks at CLOCK_BOOTTIME.
#[must_use]
pub fn wall_pair() -> WallPair {
    let boottime_ms = boottime_ms();
    let wall = clock_gettime(ClockId::Realtime);
    let apart_ms = self::boottime_ms().saturating_sub(boottime_ms);
    WallPair {
        boottime_ms,
        utc_ms: wall
            .tv_sec
            .saturating_mul(1000)
            .saturating_add(wall.tv_nsec / 1_000_000),
        apart_ms: apart_ms.saturating_add(1),
    }
}

impl StampClock {
    /// One look at the clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let real_ms = boottime_ms();
        Now {
            real_ms,
            stamp_ms: self.stamp_ms(real_ms),
        }
    }

    /// The stamp at a moment of CLOCK_BOOTTIME.
    #[must_use]
    pub fn stamp_ms(&self, real_ms: u64) -> u64 {
        match self {
            Self::Boot => real_ms,
            Self::World(clock) => clock.virtual_ms(real_ms),
        }
    }

    /// How long a time of stamps lasts.
    #[must_use]
    pub fn real_time_of(&self, stamps_ms: u64) -> Duration {
        let now = self.now();
        let end_ms = self.real_ms(now.stamp_ms.saturating_add(stamps_ms));
        Duration::from_millis(end_ms.saturating_sub(now.real_ms))
    }

    /// The moment of CLOCK_BOOTTIME at which a stamp is due.
    #[must_use]
    pub fn real_ms(&self, stamp_ms: u64) -> u64 {
        match self {
            Self::Boot => stamp_ms,
            Self::World(clock) => clock.real_ms(stamp_ms),
        }
    }
}
