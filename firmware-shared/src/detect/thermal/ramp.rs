//! The ramp head: the tallest straight rise that fits under the value, at four lengths.
//!
//! Promises: a short excursion gives a small ramp at a long length however high it was, a rise that goes
//! on gives a tall one; each length is compared with its record around this hour of the day. Never:
//! counts a falling value as a rise.

use serde::{Deserialize, Serialize};

use super::level::Age;
use super::sudden::ratio;
use crate::detect::number::{larger, smaller};
use crate::detect::ring::Ring;

/// Ways to measure a rise: one straight line, and two lengths of three pieces.
pub(super) const WAYS: usize = 3;
/// Ticks of the straight line.
const STRAIGHT: usize = 25;
/// Pieces, and their two lengths, ticks.
const PIECES: usize = 3;
const SUSTAINED: [usize; 2] = [8, 12];
/// Every fifth tick of the smoothed value is looked at.
const STRIDE: usize = 5;
/// The longest length, and room to look for the start of the rise.
const KEPT: usize = 56;
/// The record of the whole day counts by this share at every hour.
const ALL_DAY: f32 = 0.5;
/// An excursion teaches at most 1.3 times what is known, and a swing.
const GROWTH: f32 = 1.3;
/// Swings added to the record.
const FLOOR: f32 = 2.0;
/// Records fade when the part of the day changes.
const FADE_BIN: f32 = 0.999;
const FADE_DAY: f32 = 0.999_9;
/// Records of one and a half hours before and after count, too.
const AROUND_MS: u64 = 5_400_000;
const DAY_MS: u64 = 86_400_000;
/// A rise starts where the value was below this share of its height.
const START: f32 = 0.1;
/// A rise that was above this share of its height at half its age is bent like that of an open door.
const BENT: f32 = 0.6;

/// What the ramp head says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rise {
    /// Score per length.
    pub(super) scores: [f32; WAYS],
}

/// `B` bins of the day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ramp<const B: usize> {
    /// The two ticks before, as far as they are known since a gap.
    before: [f32; 2],
    known: u8,
    heights: Ring<KEPT>,
    records: [heapless::Vec<f32, B>; WAYS],
    day: [f32; WAYS],
    pending: [Pending; WAYS],
    bin: u16,
}

/// The tallest ramp of an excursion that is not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Pending {
    tall: f32,
    bin: u16,
}

impl<const B: usize> Ramp<B> {
    pub(super) fn new() -> Self {
        let mut new = Self {
            before: [0.0; 2],
            known: 0,
            heights: Ring::new(),
            records: [const { heapless::Vec::new() }; WAYS],
            day: [0.0; WAYS],
            pending: [Pending::default(); WAYS],
            bin: 0,
        };
        for records in &mut new.records {
            // Resizes to its capacity, which cannot fail.
            let _fits = records.resize(B, 0.0);
        }
        new
    }

    pub(super) fn forget_neighbours(&mut self) {
        self.known = 0;
        self.heights.clear();
    }

    /// The mean of the newest three ticks, as far as they are known.
    pub(super) fn smooth(&mut self, value: f32) -> f32 {
        let [last, older] = self.before;
        self.before = [value, last];
        self.known = (self.known + 1).min(3);
        match self.known {
            1 => value,
            2 => (value + last) * 0.5,
            _ => (value + last + older) * (1.0 / 3.0),
        }
    }

    /// Keeps the height without judging it.
    pub(super) fn keep(&mut self, height: f32) {
        self.heights.push(height);
    }

    pub(super) fn judge(&mut self, now_ms: u64, swing: f32, age: Age) -> Rise {
        let mut rise = Rise::default();
        let bin = (now_ms % DAY_MS * B as u64 / DAY_MS) as usize;
        let around = (AROUND_MS * B as u64 / DAY_MS) as usize;
        let turned = usize::from(self.bin) != bin;
        self.bin = bin as u16;
        let over = self.heights.back(0).is_none_or(|height| height < swing);
        let waits = self.pending.iter().any(|pending| pending.tall > 0.0);
        if over && !waits && !turned {
            return rise;
        }
        let [short, long] = SUSTAINED;
        let found = [
            straight(&self.heights),
            sustained(&self.heights, short),
            sustained(&self.heights, long),
        ];
        if !waits && !turned && found.iter().all(|tall| *tall <= 0.0) {
            return rise;
        }
        let lengths = found.into_iter().zip(&mut self.records).zip(&mut self.day);
        let lengths = lengths.zip(&mut self.pending);
        for ((((tall, records), day), pending), score) in lengths.zip(&mut rise.scores) {
            let mut record = ALL_DAY * *day;
            for step in 0..=2 * around {
                let near = bin + step + if bin + step < around { B } else { 0 } - around;
                let near = if near < B { near } else { near - B };
                record = larger(record, records.get(near).copied().unwrap_or(0.0));
            }
            *score = ratio(tall, record * age.caution + FLOOR * swing);
            if let Some(slot) = records.get_mut(bin)
                && turned
            {
                *slot *= FADE_BIN;
            }
            let known = larger(record, *day);
            if tall > pending.tall {
                *pending = Pending {
                    tall,
                    bin: bin as u16,
                };
            }
            // What an excursion teaches is learned when it is over: while it lasts, a fault must not
            // become its own yardstick.
            if pending.tall > 0.0 && (over || age.learning) {
                let most = if age.learning {
                    f32::MAX
                } else {
                    known * GROWTH + swing
                };
                let learned = pending.tall.min(most);
                if let Some(slot) = records.get_mut(usize::from(pending.bin)) {
                    *slot = slot.max(learned);
                }
                *day = day.max(learned);
                *pending = Pending::default();
            }
            if turned {
                *day *= FADE_DAY;
            }
        }
        rise
    }

    /// The height so many ticks ago.
    pub(super) fn height(&self, ticks: usize) -> Option<f32> {
        self.heights.back(ticks)
    }

    /// Ticks since the rise started, and whether it is bent like that of an open door.
    pub(super) fn story(&self) -> (u32, bool) {
        let height = self.heights.back(0).unwrap_or(0.0);
        let len = self.heights.len();
        let below = |age: &usize| {
            self.heights
                .back(*age)
                .is_none_or(|then| then < START * height)
        };
        let age = (1..len).find(below).unwrap_or(len);
        let half = self.heights.back(age / 2).unwrap_or(0.0);
        (age as u32, half > BENT * height)
    }
}

/// The tallest straight rise that ends here, fits under the heights and takes `STRAIGHT` ticks.
fn straight<const N: usize>(heights: &Ring<N>) -> f32 {
    let ramp = |place: usize| {
        let height = heights.back(place).unwrap_or(0.0);
        height * (STRAIGHT as f32 / (STRAIGHT - place) as f32)
    };
    (0..STRAIGHT)
        .step_by(STRIDE)
        .map(ramp)
        .fold(f32::MAX, smaller)
        .max(0.0)
}

/// Three times the least rise of three neighbouring pieces: a rise that does not slow down.
fn sustained<const N: usize>(heights: &Ring<N>, len: usize) -> f32 {
    let at = |piece: usize| heights.back(piece * len).unwrap_or(0.0);
    let least = (0..PIECES)
        .map(|piece| at(piece) - at(piece + 1))
        .fold(f32::MAX, smaller);
    (least * PIECES as f32).max(0.0)
}
