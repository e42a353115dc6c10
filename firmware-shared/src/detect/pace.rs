//! The pace of a stream: from readings at any rate to ticks that are at least a minute apart.
//!
//! Promises: a stream slower than a minute has one tick per reading, without delay; a faster one has the
//! mean of its minute. Knows how far apart readings usually are, and calls a long silence a gap.
//! Never: looks ahead, divides by zero, trusts that time moves forward.

use serde::{Deserialize, Serialize};

/// A tick closes when this much time has passed since the last one: a minute less the usual jitter.
const TICK_MS: u64 = 55_000;
/// A silence of this many usual intervals is a gap.
const GAP_INTERVALS: f32 = 10.0;
/// Streams at least this fast show the shape of an excursion, which the thermal heads need.
const FAST_MS: f32 = 150_000.0;
/// How much one interval may move the usual interval, as a share.
const ADAPT: f32 = 0.1;

/// What a reading does to the slow part of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beat {
    /// The value of the tick that this reading closes.
    pub(super) tick: Option<f32>,
    /// Whether there was a long silence before.
    pub(super) gap: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    reading_ms: Option<u64>,
    tick_ms: u64,
    usual_ms: f32,
    sum: f32,
    count: u32,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            reading_ms: None,
            tick_ms: 0,
            usual_ms: 0.0,
            sum: 0.0,
            count: 0,
        }
    }

    /// How far apart readings usually are.
    pub(super) fn usual_ms(&self) -> f32 {
        self.usual_ms
    }

    /// Whether ticks are close enough to show how an excursion rises.
    pub(super) fn is_fast(&self) -> bool {
        self.usual_ms > 0.0 && self.usual_ms <= FAST_MS
    }

    pub(super) fn beat(&mut self, now_ms: u64, value: f32) -> Beat {
        let Some(before_ms) = self.reading_ms.replace(now_ms) else {
            self.tick_ms = now_ms;
            return Beat {
                tick: Some(value),
                gap: false,
            };
        };
        self.sum += value;
        self.count += 1;
        let gap = self.adapt(before_ms, now_ms);
        // A clock that went back says nothing about the distance: the tick closes here.
        let due = now_ms < self.tick_ms || now_ms - self.tick_ms >= TICK_MS;
        if !due {
            return Beat { tick: None, gap };
        }
        let mean = if self.count == 1 {
            self.sum
        } else {
            self.sum / self.count as f32
        };
        (self.sum, self.count, self.tick_ms) = (0.0, 0, now_ms);
        Beat {
            tick: Some(mean),
            gap,
        }
    }

    fn adapt(&mut self, before_ms: u64, now_ms: u64) -> bool {
        let Some(apart_ms) = now_ms.checked_sub(before_ms).map(|ms| ms as f32) else {
            return true;
        };
        if self.usual_ms == 0.0 {
            self.usual_ms = apart_ms;
            return false;
        }
        let gap = apart_ms > GAP_INTERVALS * self.usual_ms;
        let limit = ADAPT * self.usual_ms;
        self.usual_ms += (ADAPT * (apart_ms - self.usual_ms)).clamp(-limit, limit);
        gap
    }
}
