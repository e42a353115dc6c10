//! The black box: which readings around a transition tell what happened.
//!
//! Promises: at least [`BEFORE_COUNT_MIN`] readings before and [`AFTER_COUNT_MIN`] after it, five minutes and one
//! where the sensors are quicker than that; never more than [`COUNT_MAX`]. Never: a reading of its own, only
//! numbers.

use std::collections::VecDeque;

use firmware_shared::id::SeqRange;

/// Readings of all sensors before the transition.
const BEFORE_COUNT_MIN: u64 = 240;
/// Readings of all sensors after it.
const AFTER_COUNT_MIN: u64 = 60;
const BEFORE_MS: u64 = 300_000;
const AFTER_MS: u64 = 60_000;
/// In bytes about twelve thousand: three seconds of the slowest link in use.
const COUNT_MAX: u64 = 4096;
/// How often a place in the numbers is remembered.
const MARK_MS: u64 = 10_000;
const MARKS_MAX: usize = 1 + (BEFORE_MS / MARK_MS) as usize;

/// Which number was given when.
#[derive(Debug, Clone, Default)]
pub(super) struct BlackBox {
    marks: VecDeque<(u64, u64)>,
    stamp_ms: u64,
}

impl BlackBox {
    /// A reading got this number.
    pub(super) fn note(&mut self, stamp_ms: u64, seq: u64) {
        self.stamp_ms = self.stamp_ms.max(stamp_ms);
        let is_due = self
            .marks
            .back()
            .is_none_or(|(at_ms, _)| *at_ms + MARK_MS <= self.stamp_ms);
        if !is_due {
            return;
        }
        self.marks.push_back((self.stamp_ms, seq));
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// The window around a number.
    pub(super) fn window(&self, seq: u64) -> Option<SeqRange> {
        let from_ms = self.stamp_ms.saturating_sub(BEFORE_MS);
        let mut marks = self.marks.iter();
        let oldest = marks.find(|(at_ms, at_seq)| *at_ms >= from_ms && *at_seq < seq);
        let (before, after) = oldest.map_or((0, 0), |(at_ms, at_seq)| {
            let (count, span_ms) = (seq - at_seq, self.stamp_ms.saturating_sub(*at_ms));
            (count, count.saturating_mul(AFTER_MS) / span_ms.max(MARK_MS))
        });
        let after = after.clamp(AFTER_COUNT_MIN, COUNT_MAX / 4);
        let before = before.clamp(BEFORE_COUNT_MIN, COUNT_MAX - COUNT_MAX / 4 - 1);
        SeqRange::new(seq.saturating_sub(before), seq.saturating_add(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(readings_per_s: u64, seconds: u64) -> (u64, u64) {
        let mut black_box = BlackBox::default();
        let last = readings_per_s * seconds;
        for seq in 0..=last {
            black_box.note(seq * 1000 / readings_per_s, seq);
        }
        let window = black_box.window(last).unwrap();
        (last - window.first_seq, window.last_seq - last)
    }

    #[test]
    fn a_window_is_minutes_of_readings_and_bounded_at_both_ends() {
        // One sensor at 1 Hz; ten; a hundred: the bound; just started.
        assert_eq!(window(1, 1000), (300, 60));
        assert_eq!(window(10, 1000), (3000, 600));
        assert_eq!(window(100, 1000), (3071, 1024));
        assert_eq!(window(1, 100), (100, 60), "there are no more");
        let slow = BlackBox::default().window(10_000).unwrap();
        assert_eq!((slow.first_seq, slow.last_seq), (10_000 - 240, 10_060));
    }
}
