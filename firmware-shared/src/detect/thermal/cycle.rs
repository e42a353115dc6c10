//! The cycle of the compressor: a steady oscillation that is found, followed and taken off.
//!
//! Promises: what is taken off came back at the same pace for hours, so a fault cannot hide in it; a stream
//! without a steady cycle loses nothing; after a gap the cycle is placed anew before it is believed. Never:
//! follows a rise, whatever its height, because changes from tick to tick are clipped at what is usual;
//! follows a compressor whose pace wanders, for its strength then fades to nothing.
//!
//! A search correlates the changes with ten paces at a time and takes the strongest of forty. A phase-locked
//! loop follows it; strength is that of the part in phase, for the pace and for its third harmonic, which
//! makes a triangle out of a sine. Whether the compressor runs is told from how the newest changes go along
//! with the cycle: a defrost stops it, an open door does not.

use serde::{Deserialize, Serialize};

use super::sudden::ratio;
use crate::detect::number::larger;

/// Paces that are tried, radians per tick: periods of 10 to 63 ticks.
const FASTEST: f32 = 0.628;
const STEP: f32 = 0.955;
const TRIED: usize = 40;
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler counts, and would say so"
)]
const PACES: [f32; TRIED] = {
    let mut paces = [FASTEST; TRIED];
    let mut at = 1;
    while at < TRIED {
        paces[at] = paces[at - 1] * STEP;
        at += 1;
    }
    paces
};
/// Paces tried at a time, and for how many ticks.
const AT_A_TIME: usize = 10;
const TRY_TICKS: u16 = 300;
/// Changes beyond this many usual changes are clipped.
const CLIP: f32 = 3.0;
/// Memory of the usual change and of the strength, ticks.
const MEMORY_TICKS: f32 = 400.0;
/// How fast phase and pace are corrected, and how much faster while the cycle is being placed.
const PHASE_RATE: f32 = 0.01;
const PACE_RATE: f32 = 0.000_03;
const PLACING: f32 = 3.0;
const PACE_RANGE: (f32, f32) = (0.06, 0.7);
/// Ticks of placing, and ticks after which it is believed.
const PLACING_TICKS: u16 = 200;
const BELIEVED_TICKS: u16 = 400;
/// Strength over usual change below which there is no cycle; a cycle that stays weak is given up.
const STRENGTH_MIN: f32 = 0.25;
const WEAK_TICKS: u16 = 1440;
/// How what the value and the cycle did lately is followed, per tick, and the share of the cycle below which the
/// compressor seems to stand still.
const FOLLOW: f32 = 1.0 / 12.0;
const STANDSTILL: f32 = 0.9;
/// Weaker than this is not divided by, in usual changes.
const STRENGTH_FLOOR: f32 = 0.3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Search(Search),
    Follow { ticks: u16, weak: u16 },
}

/// Correlations with the paces that are being tried, and the strongest so far with its pace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Search {
    first: u8,
    ticks: u16,
    sums: [(f32, f32); AT_A_TIME],
    /// Where each pace is on its circle: turning on is ten times cheaper than a sine.
    points: [(f32, f32); AT_A_TIME],
    best: (f32, f32),
}

/// The cycle of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cycle {
    last: Option<f32>,
    usual: f32,
    pace: f32,
    /// Where in the cycle the newest tick is.
    cos: f32,
    sin: f32,
    strength: f32,
    third: f32,
    phase: Phase,
    part: f32,
    lately: Lately,
}

/// How the newest changes of the value go along with those of the cycle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Lately {
    value: f32,
    cycle: f32,
    together: f32,
    power: f32,
}

impl Cycle {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            usual: 0.0,
            pace: 0.0,
            cos: 1.0,
            sin: 0.0,
            strength: 0.0,
            third: 0.0,
            phase: Phase::Search(Search::new()),
            part: 0.0,
            lately: Lately {
                value: 0.0,
                cycle: 0.0,
                together: 0.0,
                power: 0.0,
            },
        }
    }

    /// Whether the compressor does not do what its cycle says.
    pub(super) fn stands_still(&self) -> bool {
        self.lately.power > 0.0 && self.lately.together < STANDSTILL * self.lately.power
    }

    /// What of the value was the cycle so many ticks ago.
    pub(super) fn ago(&self, ticks: f32) -> f32 {
        if self.part == 0.0 {
            return 0.0;
        }
        let angle = -self.pace * ticks;
        let (by_cos, by_sin) = (libm::cosf(angle), libm::sinf(angle));
        let cos = self.cos * by_cos - self.sin * by_sin;
        let sin = self.sin * by_cos + self.cos * by_sin;
        self.in_value((cos, sin))
    }

    /// How far the cycle moves the value; 0 while it is not believed.
    pub(super) fn reach(&self) -> f32 {
        if self.part == 0.0 {
            0.0
        } else {
            self.strength / self.pace
        }
    }

    /// After a gap nobody knows where in its cycle the compressor is.
    pub(super) fn forget_neighbours(&mut self) {
        self.last = None;
        self.part = 0.0;
        if let Phase::Follow { ticks, .. } = &mut self.phase {
            *ticks = 0;
        }
    }

    /// What of this value is the cycle.
    pub(super) fn step(&mut self, value: f32) -> f32 {
        let Some(last) = self.last.replace(value) else {
            return 0.0;
        };
        let change = value - last;
        if self.usual == 0.0 {
            self.usual = change.abs();
            return 0.0;
        }
        let limit = CLIP * self.usual;
        let clipped = change.clamp(-limit, limit);
        self.usual += (clipped.abs() - self.usual) * (1.0 / MEMORY_TICKS);
        match &mut self.phase {
            Phase::Search(search) => {
                if let Some(pace) = search.step(ratio(clipped, self.usual)) {
                    (self.pace, self.cos, self.sin) = (pace, 1.0, 0.0);
                    (self.strength, self.third) = (0.0, 0.0);
                    self.phase = Phase::Follow { ticks: 0, weak: 0 };
                }
                0.0
            }
            Phase::Follow { ticks, weak } => {
                let (ticks, weak) = (*ticks, *weak);
                self.follow(clipped, clipped == change, ticks < PLACING_TICKS);
                let strong = self.strength > STRENGTH_MIN * self.usual;
                let weak = if strong { 0 } else { weak + 1 };
                self.phase = if weak > WEAK_TICKS {
                    Phase::Search(Search::new())
                } else {
                    let ticks = ticks.saturating_add(1);
                    Phase::Follow { ticks, weak }
                };
                if strong && ticks >= BELIEVED_TICKS {
                    let before = self.part;
                    self.part = self.in_value((self.cos, self.sin));
                    self.lately.watch(clipped, self.part - before);
                } else {
                    self.part = 0.0;
                }
                self.part
            }
        }
    }

    fn follow(&mut self, change: f32, ordinary: bool, placing: bool) {
        let (cos, sin) = turned((self.cos, self.sin), self.pace);
        if ordinary {
            let third = cos * (4.0 * cos * cos - 3.0);
            self.strength += (2.0 * change * cos - self.strength) * (1.0 / MEMORY_TICKS);
            self.third += (2.0 * change * third - self.third) * (1.0 / MEMORY_TICKS);
        }
        let strength = larger(STRENGTH_FLOOR * self.usual, self.strength);
        let behind = ratio(-2.0 * change * sin, strength);
        let hurry = if placing { PLACING } else { 1.0 };
        (self.cos, self.sin) = turned((cos, sin), hurry * PHASE_RATE * behind);
        let (slowest, fastest) = PACE_RANGE;
        self.pace = (self.pace + hurry * PACE_RATE * behind).clamp(slowest, fastest);
    }

    /// The cycle in the value: the sum of the changes, half a tick on, as a change lies between two values.
    fn in_value(&self, (cos, sin): (f32, f32)) -> f32 {
        let third_cos = cos * (4.0 * cos * cos - 3.0);
        let third_sin = sin * (3.0 - 4.0 * sin * sin);
        let half = 0.5 * self.pace;
        let first = self.strength * (sin + half * cos);
        let third = self.third * (1.0 / 3.0) * (third_sin + 3.0 * half * third_cos);
        (first + third) / self.pace
    }
}

impl Lately {
    fn watch(&mut self, value: f32, cycle: f32) {
        let (value, cycle) = (value - self.value, cycle - self.cycle);
        self.value += value * FOLLOW;
        self.cycle += cycle * FOLLOW;
        self.together += (value * cycle - self.together) * FOLLOW;
        self.power += (cycle * cycle - self.power) * FOLLOW;
    }
}

impl Search {
    const fn new() -> Self {
        Self {
            first: 0,
            ticks: 0,
            sums: [(0.0, 0.0); AT_A_TIME],
            points: [(1.0, 0.0); AT_A_TIME],
            best: (0.0, 0.0),
        }
    }

    /// The strongest pace, when all were tried. Excursions are slow, so a slow pace has to be stronger.
    fn step(&mut self, change: f32) -> Option<f32> {
        let paces = PACES.iter().copied().skip(usize::from(self.first));
        let tried = paces
            .clone()
            .zip(self.sums.iter_mut().zip(&mut self.points));
        for (pace, ((real, imaginary), point)) in tried {
            let (cos, sin) = *point;
            *real += change * cos;
            *imaginary += change * sin;
            *point = turned(*point, pace);
        }
        self.ticks += 1;
        if self.ticks < TRY_TICKS {
            return None;
        }
        for (pace, (real, imaginary)) in paces.zip(&self.sums) {
            let power = pace * (real * real + imaginary * imaginary);
            if power > self.best.0 {
                self.best = (power, pace);
            }
        }
        (self.ticks, self.sums) = (0, [(0.0, 0.0); AT_A_TIME]);
        self.points = [(1.0, 0.0); AT_A_TIME];
        self.first += AT_A_TIME as u8;
        (usize::from(self.first) >= TRIED).then_some(self.best.1)
    }
}

/// A point of the circle, turned by less than a radian and kept on the circle.
fn turned((cos, sin): (f32, f32), by: f32) -> (f32, f32) {
    let square = by * by;
    let by_cos = 1.0 - square * (0.5 - square * (1.0 / 24.0 - square * (1.0 / 720.0)));
    let by_sin = 1.0 / 6.0 - square * (1.0 / 120.0 - square * (1.0 / 5040.0));
    let by_sin = by * (1.0 - square * by_sin);
    let (cos, sin) = (cos * by_cos - sin * by_sin, sin * by_cos + cos * by_sin);
    let back = 1.5 - 0.5 * (cos * cos + sin * sin);
    (cos * back, sin * back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triangle(tick: usize, period: f32, swing: f32) -> f32 {
        swing * (4.0 * ((tick as f32 / period).fract() - 0.5).abs() - 1.0)
    }

    #[test]
    fn a_steady_cycle_is_taken_off_whatever_its_pace() {
        for period in [12.5, 18.3, 31.0, 44.7] {
            let mut cycle = Cycle::new();
            let mut left = 0.0_f32;
            for tick in 0..4000 {
                let value = triangle(tick, period, 0.8);
                let part = cycle.step(value);
                if tick > 3000 {
                    left = left.max((value - part).abs());
                }
            }
            assert!(left < 0.2, "period {period}: {left} is left of 0.8");
        }
    }

    #[test]
    fn without_a_steady_cycle_nothing_is_taken_off() {
        let mut cycle = Cycle::new();
        let mut random = 1_u32;
        let mut most = 0.0_f32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            most = most.max(cycle.step((random >> 16) as f32 / 65_536.0).abs());
        }
        assert!(most < 0.15, "{most} of noise of 1.0");
    }

    #[test]
    fn a_rise_is_not_followed() {
        let mut cycle = Cycle::new();
        let before = (0..4000).map(|tick| cycle.step(triangle(tick, 30.0, 0.8)));
        let usual = before
            .skip(3000)
            .fold(0.0_f32, |most, part| most.max(part.abs()));
        let rising = |tick: usize| triangle(tick, 30.0, 0.8) + 0.2 * (tick - 4000) as f32;
        let during = (4000..4120).map(|tick| cycle.step(rising(tick)));
        let most = during.fold(0.0_f32, |most, part| most.max(part.abs()));
        assert!(most < 1.3 * usual, "{most} against {usual}");
    }

    #[test]
    fn a_stream_that_stops_moving_stays_a_number() {
        let mut cycle = Cycle::new();
        for tick in 0..30_000 {
            let value = if tick < 3000 {
                triangle(tick, 30.0, 1.0e-30)
            } else {
                0.0
            };
            assert!(cycle.step(value).is_finite(), "{tick}");
        }
        assert!(cycle.step(1.0).is_finite() && cycle.step(0.0).is_finite());
    }
}
