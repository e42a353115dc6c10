//! Whether there is a position at the moment, and why not.
//!
//! Promises: ages count on the monotonic time that the caller passes, from the last epoch and not
//! from the last byte; the first reason that explains a missing position is the one that is told,
//! hardware before sky. Never: a position, so none can be used again when it is old.

use super::health::ReceiverHealth;
use super::{GnssEvent, NoFixReason};
use crate::ubx::status::{Antenna, Jamming};

/// A position older than this is none.
pub const STALE_MS: u64 = 5000;

/// The state of a receiver's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionState {
    /// There is one.
    Fix {
        /// Since the epoch was heard.
        age_ms: u64,
    },
    /// Epochs come without one.
    NoFix {
        /// Why.
        why: NoPosition,
        /// Since the last one with a position, or since the start.
        for_ms: u64,
    },
    /// No epoch comes: the receiver is absent, asleep, or its bus is broken.
    NoData {
        /// Since the last epoch, or since the start.
        for_ms: u64,
    },
}

/// Why epochs have no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPosition {
    /// The antenna is shorted.
    AntennaShort,
    /// The antenna is cut off.
    AntennaOpen,
    /// Somebody or something jams.
    Jammed,
    /// None of these; what the receiver says.
    Receiver(NoFixReason),
}

/// What was heard, and when.
#[derive(Debug, Clone, Copy)]
pub struct PositionWatch {
    epoch_ms: u64,
    fix_ms: u64,
    /// The last epoch, if there was one.
    last: Option<Result<(), NoFixReason>>,
}

impl PositionWatch {
    /// A watch that begins at `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            epoch_ms: now_ms,
            fix_ms: now_ms,
            last: None,
        }
    }

    /// Takes an event.
    pub fn hear(&mut self, event: &GnssEvent, now_ms: u64) {
        self.last = match event {
            GnssEvent::Time(_) => return,
            GnssEvent::Fix(_) => {
                self.fix_ms = now_ms;
                Some(Ok(()))
            }
            GnssEvent::NoFix(reason) => Some(Err(*reason)),
        };
        self.epoch_ms = now_ms;
    }

    /// The state at `now_ms`.
    #[must_use]
    pub fn state(&self, now_ms: u64, health: &ReceiverHealth) -> PositionState {
        let since = |at_ms: u64| now_ms.saturating_sub(at_ms);
        match self.last {
            Some(said) if since(self.epoch_ms) <= STALE_MS => match said {
                Ok(()) => PositionState::Fix {
                    age_ms: since(self.fix_ms),
                },
                Err(reason) => PositionState::NoFix {
                    why: why(reason, health),
                    for_ms: since(self.fix_ms),
                },
            },
            _ => PositionState::NoData {
                for_ms: since(self.epoch_ms),
            },
        }
    }
}

fn why(reason: NoFixReason, health: &ReceiverHealth) -> NoPosition {
    match (health.antenna, health.jamming) {
        (Antenna::Short, _) => NoPosition::AntennaShort,
        (Antenna::Open, _) => NoPosition::AntennaOpen,
        (_, Jamming::Critical) => NoPosition::Jammed,
        _ => NoPosition::Receiver(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnss::{EpochTime, Fix, FixKind};

    const FIX: GnssEvent = GnssEvent::Fix(Fix {
        epoch: EpochTime::TimeOfDay { tod_ms: 1 },
        lat_1e7_deg: 1,
        lon_1e7_deg: 1,
        height_mm: None,
        speed_mm_s: None,
        course_1e5_deg: None,
        h_acc_mm: None,
        satellites: None,
        pdop_x100: None,
        hdop_x100: None,
        kind: FixKind::TwoD,
        implied_speed_mm_s: None,
    });

    #[test]
    fn a_position_is_fresh_for_five_seconds_and_then_there_is_no_data() {
        let health = ReceiverHealth::default();
        let mut watch = PositionWatch::new(1000);
        let state = |watch: &PositionWatch, now_ms| watch.state(now_ms, &health);
        assert_eq!(state(&watch, 1500), PositionState::NoData { for_ms: 500 });
        watch.hear(&FIX, 2000);
        assert_eq!(state(&watch, 7000), PositionState::Fix { age_ms: 5000 });
        assert_eq!(state(&watch, 7001), PositionState::NoData { for_ms: 5001 });
        watch.hear(&GnssEvent::NoFix(NoFixReason::Searching), 8000);
        let expected = PositionState::NoFix {
            why: NoPosition::Receiver(NoFixReason::Searching),
            for_ms: 6500,
        };
        assert_eq!(state(&watch, 8500), expected);
    }

    #[test]
    fn the_antenna_and_a_jammer_explain_a_missing_position_before_the_sky_does() {
        let mut watch = PositionWatch::new(0);
        watch.hear(&GnssEvent::NoFix(NoFixReason::Searching), 0);
        for (antenna, jamming, expected) in [
            (Antenna::Short, Jamming::Critical, NoPosition::AntennaShort),
            (Antenna::Open, Jamming::Ok, NoPosition::AntennaOpen),
            (Antenna::Ok, Jamming::Critical, NoPosition::Jammed),
            (
                Antenna::Ok,
                Jamming::Warning,
                NoPosition::Receiver(NoFixReason::Searching),
            ),
        ] {
            let mut health = ReceiverHealth::default();
            health.antenna = antenna;
            health.jamming = jamming;
            let PositionState::NoFix { why, .. } = watch.state(0, &health) else {
                panic!("no data")
            };
            assert_eq!(why, expected);
        }
    }
}
