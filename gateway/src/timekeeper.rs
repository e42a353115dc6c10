//! The best time anchor of this boot.
//!
//! Promises: a better source replaces a worse one at once, and a worse one a better one only when that has
//! drifted far beyond it; the same source replaces itself when it is
//! clearly better, when it contradicts what is held, or after a while; everything else is left out, so that
//! anchors stay rare. Never: a clock; a stamp that is changed.

use firmware_shared::time::{ClockSource, TimeAnchor};

/// What a crystal without temperature control drifts at most, parts per million.
pub const DRIFT_PPM: u64 = 100;
/// After so long a held anchor is refreshed, ms.
const REFRESH_MS: u64 = 600_000;

/// Keeps the best anchor.
#[derive(Debug, Clone, Default)]
pub struct Timekeeper {
    best: Option<TimeAnchor>,
}

impl Timekeeper {
    /// What is held.
    #[must_use]
    pub fn best(&self) -> Option<TimeAnchor> {
        self.best
    }

    /// Takes an anchor; gives it back when it is from here on the best.
    pub fn consider(&mut self, anchor: TimeAnchor) -> Option<TimeAnchor> {
        let wanted = self.best.is_none_or(|held| is_better(&anchor, &held));
        if wanted {
            self.best = Some(anchor);
        }
        wanted.then_some(anchor)
    }
}

/// The error bound of an anchor at a stamp, ms.
#[must_use]
pub fn error_ms_at(anchor: &TimeAnchor, stamp_ms: u64) -> u64 {
    let drift_ms = stamp_ms
        .abs_diff(anchor.boottime_ms)
        .saturating_mul(DRIFT_PPM)
        / 1_000_000;
    drift_ms.saturating_add(u64::from(anchor.error_ms))
}

fn is_better(fresh: &TimeAnchor, held: &TimeAnchor) -> bool {
    let held_error_ms = error_ms_at(held, fresh.boottime_ms);
    let fresh_error_ms = u64::from(fresh.error_ms);
    if fresh.source < held.source {
        // Days without a fix: the network knows better by now.
        return fresh.source >= ClockSource::Ntp
            && fresh.boottime_ms >= held.boottime_ms.saturating_add(REFRESH_MS)
            && fresh_error_ms.saturating_mul(2) < held_error_ms;
    }
    if fresh.source > held.source {
        return true;
    }
    let apart_ms = held.utc_ms_of(fresh.boottime_ms).abs_diff(fresh.utc_ms);
    fresh_error_ms.saturating_mul(2) < held_error_ms
        || apart_ms > held_error_ms.saturating_add(fresh_error_ms)
        || fresh.boottime_ms >= held.boottime_ms.saturating_add(REFRESH_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(boottime_ms: u64, offset_ms: i64, error_ms: u32, source: ClockSource) -> TimeAnchor {
        let utc_ms = 1_800_000_000_000 + boottime_ms as i64 + offset_ms;
        TimeAnchor {
            boottime_ms,
            utc_ms,
            error_ms,
            source,
        }
    }

    #[test]
    fn an_anchor_is_taken_when_it_says_something_that_was_not_known() {
        let held = anchor(1000, 0, 400, ClockSource::Gnss);
        let table = [
            (
                "the same again",
                anchor(2000, 0, 400, ClockSource::Gnss),
                false,
            ),
            (
                "a little better",
                anchor(2000, 0, 300, ClockSource::Gnss),
                false,
            ),
            ("much better", anchor(2000, 0, 150, ClockSource::Gnss), true),
            (
                "a contradiction",
                anchor(2000, 900, 400, ClockSource::Gnss),
                true,
            ),
            (
                "within both errors",
                anchor(2000, 700, 400, ClockSource::Gnss),
                false,
            ),
            (
                "a worse source",
                anchor(2000, 0, 1, ClockSource::Ntp),
                false,
            ),
            (
                "a worse source when the better one has drifted away",
                anchor(50_000_000, 0, 50, ClockSource::Ntp),
                true,
            ),
            (
                "a source that nobody vouches for",
                anchor(50_000_000, 0, 50, ClockSource::Rtc),
                false,
            ),
            (
                "ten minutes later",
                anchor(601_000, 0, 400, ClockSource::Gnss),
                true,
            ),
        ];
        for (name, fresh, taken) in table {
            let mut keeper = Timekeeper::default();
            assert_eq!(keeper.consider(held), Some(held));
            assert_eq!(keeper.consider(fresh), taken.then_some(fresh), "{name}");
            assert_eq!(
                keeper.best(),
                Some(if taken { fresh } else { held }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_better_source_wins_at_once() {
        let mut keeper = Timekeeper::default();
        assert!(
            keeper
                .consider(anchor(0, 0, 10, ClockSource::Rtc))
                .is_some()
        );
        assert!(
            keeper
                .consider(anchor(1, 0, 5000, ClockSource::Gnss))
                .is_some()
        );
    }

    #[test]
    fn the_error_grows_with_the_distance_in_both_directions() {
        let held = anchor(10_000_000, 0, 400, ClockSource::Gnss);
        assert_eq!(error_ms_at(&held, 10_000_000), 400);
        assert_eq!(error_ms_at(&held, 0), 1400);
        assert_eq!(error_ms_at(&held, 20_000_000), 1400);
    }
}
