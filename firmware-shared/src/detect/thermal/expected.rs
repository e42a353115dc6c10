//! The expected value of a finding: what the value would be without the fault, told from what was before it.
//!
//! Promises: only what was read until now counts; the cycle of the compressor goes on; units do not matter.
//! Never: costs anything while nothing is found.

use super::sudden::Origin;
use super::{Finding, Lasting, Thermal};

/// A value that stopped within its way home goes on: half of its height is gone after so many ticks times
/// ln 2. It was on its way when it fell by so many grains per tick; else it stays, or goes on rising for so
/// many ticks, while it is not high yet.
const HOME_TICKS: f32 = 20.0;
const STAY_TICKS: f32 = 60.0;
const FALLING_GRAINS: f32 = -0.7;
const RISING_GRAINS: f32 = 0.7;
const RISING_TICKS: f32 = 4.0;
const HIGH_GRAINS: f32 = 22.0;
/// Lower than so many grains above rest there was no excursion; one may have begun since, which adds this much.
const EXCURSION_GRAINS: f32 = 6.0;
const BEGUN_GRAINS: f32 = 2.5;
/// Ticks that tell where the value was going.
const TREND_TICKS: usize = 5;
/// A lone fault adds at most so many grains per tick, over a short and over a long time; these shares of what
/// is quicker are ordinary life that came on top. Some life is always there.
const SHORT: Pace = Pace {
    ticks: 9,
    fault_grains: 1.75,
    share: 0.85,
};
const LONG: Pace = Pace {
    ticks: 30,
    fault_grains: 2.05,
    share: 1.0,
};
const LIFE_GRAINS: f32 = 1.0;
/// A compressor that seems to stand still tells more of it; more than this share is never believed.
const STILL: f32 = 1.5;
const SHARE_MOST: f32 = 0.45;
/// The share of the heat of doors that a fault leaves as it was.
const DOORS: f32 = 0.6;

/// How quick a lone fault is.
struct Pace {
    ticks: usize,
    fault_grains: f32,
    share: f32,
}

/// What the expected value is told from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cause {
    /// The reading before the disturbance.
    Disturbed,
    /// The value and where it was going when it stopped.
    Stopped,
    /// The resting level and what of a rise is ordinary life.
    Rising,
    /// What a drift has added, taken off.
    Moved(f32),
}

impl<const B: usize> Thermal<B> {
    /// The expected value in the coordinate of the model; `offset` is the set-point, `reading_ticks` the time
    /// between readings.
    pub(in crate::detect) fn expected(
        &self,
        finding: &Finding,
        offset: f32,
        reading_ticks: f32,
    ) -> f32 {
        match finding.cause {
            Cause::Disturbed => {
                let Origin { value, readings } = self.readings.origin(finding.kind);
                value + self.cycle.ago(0.0) - self.cycle.ago(readings * reading_ticks)
            }
            Cause::Stopped => {
                let run = match finding.lasting {
                    Lasting::Readings(run) => run as f32,
                    Lasting::Ticks(_) => 0.0,
                };
                self.without_the_stop(run * reading_ticks, offset)
            }
            Cause::Rising => {
                self.resting(offset) + DOORS * self.explain.explained() + self.ordinary()
            }
            // Ordinary life lifts a value and never lowers it.
            Cause::Moved(expected) => expected.max(self.resting(offset)),
        }
    }

    /// Where the value would rest now.
    fn resting(&self, offset: f32) -> f32 {
        self.level.rest().unwrap_or(0.0) + offset + self.saw + self.explain.left()
    }

    /// Where a value that stopped so many ticks ago would be now.
    fn without_the_stop(&self, ticks: f32, offset: f32) -> f32 {
        let now = self.readings.newest().unwrap_or(0.0);
        let Some(rest) = self.level.rest() else {
            return now;
        };
        let resting = rest + offset + self.explain.left();
        let height = now - resting - self.cycle.ago(ticks) - self.heat;
        let then = ticks as usize;
        let trend = match (self.ramp.height(then), self.ramp.height(then + TREND_TICKS)) {
            (Some(last), Some(first)) => (last - first) / TREND_TICKS as f32,
            _ => 0.0,
        };
        let grains = |count: f32| count * self.grain;
        let left = if height < grains(EXCURSION_GRAINS) {
            height + grains(BEGUN_GRAINS)
        } else if trend < grains(FALLING_GRAINS) {
            height * libm::expf(-ticks / HOME_TICKS)
        } else if trend < grains(RISING_GRAINS) {
            height * libm::expf(-ticks / STAY_TICKS)
        } else if height < grains(HIGH_GRAINS) {
            height + trend * RISING_TICKS
        } else {
            height
        };
        resting + left + self.explain.explained() + self.cycle.ago(0.0)
    }

    /// What of the height of a rise is probably ordinary life.
    fn ordinary(&self) -> f32 {
        let height = self.ramp.height(0).unwrap_or(0.0);
        let quick = |pace: &Pace| {
            let rise = height - self.ramp.height(pace.ticks).unwrap_or(0.0);
            let lone = pace.fault_grains * self.grain * pace.ticks as f32;
            pace.share * (rise - lone).max(0.0)
        };
        let more = quick(&SHORT) + quick(&LONG);
        let still = if self.cycle.stands_still() {
            STILL
        } else {
            1.0
        };
        (LIFE_GRAINS * self.grain + still * more).min(SHARE_MOST * height)
    }
}
