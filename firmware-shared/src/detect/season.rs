//! The hour of the week: what is usual at this hour, and how far a stretch of readings is from it.
//!
//! Promises: two weeks of learning at most before an hour speaks for itself, then a slow average that
//! follows change. Never: needs a calendar; the phase is that of the clock it is given.

use serde::{Deserialize, Serialize};

const HOURS: usize = 168;
const HOUR_MS: u64 = 3_600_000;
/// Ticks in an hour of the week before it counts fully; also the length of the smoothed residual.
const STEADY: f32 = 12.0;
/// An hour follows change at this rate at least.
const FOLLOW: f32 = 0.02;
/// Ticks before residuals are taken for the scale, and then before it is used.
const SETTLE: u32 = 300;
const SCALE_MIN: f32 = 200.0;
/// Ticks in the memory of the scale.
const SCALE_TICKS: f32 = 2000.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    week: heapless::Vec<f32, HOURS>,
    week_seen: heapless::Vec<u8, HOURS>,
    residual: f32,
    power: f32,
    power_count: f32,
    ticks: u32,
}

impl Season {
    pub(super) fn new() -> Self {
        let mut new = Self {
            week: heapless::Vec::new(),
            week_seen: heapless::Vec::new(),
            residual: 0.0,
            power: 0.0,
            power_count: 0.0,
            ticks: 0,
        };
        // All resize to their capacity, which cannot fail.
        let _fits = new
            .week
            .resize(HOURS, 0.0)
            .and(new.week_seen.resize(HOURS, 0));
        new
    }

    /// How many usual deviations the smoothed residual is away; learns the value.
    pub(super) fn step(&mut self, now_ms: u64, value: f32) -> f32 {
        let hour = ((now_ms / HOUR_MS) % HOURS as u64) as usize;
        let expected = self.expected(hour);
        self.residual += (value - expected - self.residual) * (1.0 / STEADY);
        let power = self.residual * self.residual;
        let away = if self.power_count > SCALE_MIN && self.power > 0.0 {
            libm::sqrtf(power / self.power)
        } else {
            0.0
        };
        if self.ticks > SETTLE {
            self.power_count += 1.0;
            let rate = if self.power_count < SCALE_TICKS {
                1.0 / self.power_count
            } else {
                1.0 / SCALE_TICKS
            };
            self.power += (power - self.power) * rate;
        }
        self.ticks = self.ticks.saturating_add(1);
        learn(&mut self.week, &mut self.week_seen, hour, value);
        away
    }

    /// The hour of the week as far as it is known, else that hour of all days.
    fn expected(&self, hour: usize) -> f32 {
        let seen = self.seen(hour);
        let week = self.week.get(hour).copied().unwrap_or(0.0);
        if seen >= STEADY {
            return week;
        }
        let trust = seen * (1.0 / STEADY);
        let (mut sum, mut count) = (0.0, 0.0);
        for same in (hour % 24..HOURS).step_by(24) {
            let seen = self.seen(same);
            sum += seen * self.week.get(same).copied().unwrap_or(0.0);
            count += seen;
        }
        let day = if count > 0.0 { sum / count } else { 0.0 };
        week * trust + day * (1.0 - trust)
    }

    fn seen(&self, hour: usize) -> f32 {
        f32::from(self.week_seen.get(hour).copied().unwrap_or(0))
    }
}

fn learn(means: &mut [f32], seen: &mut [u8], at: usize, value: f32) {
    if let (Some(mean), Some(count)) = (means.get_mut(at), seen.get_mut(at)) {
        *count = count.saturating_add(1);
        let count = f32::from(*count);
        let rate = if count * FOLLOW < 1.0 {
            1.0 / count
        } else {
            FOLLOW
        };
        *mean += (value - *mean) * rate;
    }
}
