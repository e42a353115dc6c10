//! Heads that judge reading by reading: jump, scatter, flat run. Each compares with its own record.
//!
//! Promises: what is normal for this stream is what it did before; a record fades over weeks, and a
//! record that is broken grows only a little, so that a fault does not become the yardstick at once.
//! Never: a threshold in degrees.

use serde::{Deserialize, Serialize};

use crate::detect::number::{larger, smaller};
use crate::detect::ring::Ring;
use crate::detect::verdict::AnomalyKind;

/// Readings before anything is judged.
const YOUNG_READINGS: u32 = 300;
/// A broken record grows by this factor at most.
const GROWTH: f32 = 1.1;
/// Records fade by this at each reading: half in 24 days of minutes.
const FADE: f32 = 0.999_98;
/// Memory of the noise scale, readings; one change counts as this many usual changes at most.
const NOISE_READINGS: f32 = 500.0;
const NOISE_CLIP: f32 = 6.0;
/// Usual changes added to the record of each head.
const JUMP_FLOOR: f32 = 16.0;
const SCATTER_FLOOR: f32 = 2.0;
/// Readings in the window of the scatter head.
const WINDOW: usize = 8;
/// A disturbance began with a change of so many usual changes, and of this share of the largest.
const BEGUN: f32 = 5.0;
const BEGUN_SHARE: f32 = 0.2;
/// A jump, and the reading that tells what became of it.
const JUMP_READINGS: usize = 2;
/// What one scattering reading tells of the value behind it, when the last quiet one tells 1.
const SCATTERED_TELLS: f32 = 0.15;
/// A jump of this many usual changes is compared with the changes before it; alike is this share of it.
const NOISY_BEFORE: f32 = 4.0;
const ALIKE: f32 = 0.35;
/// What is left of a spike, and what may be missing from a step, as a share of the change.
const SPIKE_LEFT: f32 = 0.2;
const STEP_KEPT: core::ops::Range<f32> = 0.7..1.4;

/// What the sudden heads say, in units of their own records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sudden {
    pub(super) jump: f32,
    /// What the reading after the jump makes of it.
    pub(super) jumped: AnomalyKind,
    pub(super) scatter: f32,
    pub(super) flat: f32,
    /// Length of the flat run, readings.
    pub(super) run: u32,
}

/// Where the value was before it was disturbed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) value: f32,
    pub(super) readings: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Readings {
    newest: Ring<WINDOW>,
    bends: [f32; WINDOW],
    bent: u8,
    noise: f32,
    seeded: bool,
    jump: f32,
    scatter: f32,
    run: u32,
    longest: u32,
    count: u32,
}

impl Readings {
    pub(super) const fn new() -> Self {
        Self {
            newest: Ring::new(),
            bends: [0.0; WINDOW],
            bent: 0,
            noise: 0.0,
            seeded: false,
            jump: 0.0,
            scatter: 0.0,
            run: 0,
            longest: 0,
            count: 0,
        }
    }

    /// After a gap neighbours are none.
    pub(super) fn forget_neighbours(&mut self) {
        self.newest.clear();
        self.bent = 0;
        self.run = 0;
    }

    /// `caution` is above 1 while the stream is young; `learning` lets records grow freely.
    pub(super) fn step(&mut self, value: f32, caution: f32, learning: bool) -> Sudden {
        let (a, b) = (self.newest.back(0), self.newest.back(1));
        self.newest.push(value);
        self.count = self.count.saturating_add(1);
        let mut said = Sudden {
            jump: 0.0,
            jumped: AnomalyKind::Step,
            scatter: 0.0,
            flat: 0.0,
            run: 0,
        };
        if let Some(a) = a {
            self.learn_noise((value - a).abs());
            said.run = self.flat_run(value == a);
            said.flat = self.judge_run(said.run);
        }
        if let (Some(a), Some(b)) = (a, b) {
            self.judge_jump(&mut said, (value, a, b), caution, learning);
            said.scatter = self.judge_scatter((value - 2.0 * a + b).abs(), caution, learning);
        }
        if self.count <= YOUNG_READINGS {
            (said.jump, said.scatter, said.flat) = (0.0, 0.0, 0.0);
        }
        said
    }

    fn learn_noise(&mut self, change: f32) {
        if !self.seeded {
            self.noise = change;
            self.seeded = change > 0.0;
            return;
        }
        let change = smaller(NOISE_CLIP * self.noise, change);
        self.noise += (change - self.noise) * (1.0 / NOISE_READINGS);
    }

    /// The last two quiet readings before the first large change among the newest; scattering readings
    /// around the value tell a little, too.
    pub(super) fn origin(&self, kind: AnomalyKind) -> Origin {
        let at = |age: usize| self.newest.back(age).unwrap_or(0.0);
        let change = |age: usize| (at(age) - at(age + 1)).abs();
        let changes = 0..self.newest.len().saturating_sub(1);
        let largest = changes.clone().map(change).fold(0.0, f32::max);
        let least = (BEGUN * self.noise).max(BEGUN_SHARE * largest);
        let begun = changes.rev().find(|age| change(*age) > least);
        let disturbed = begun.map_or(0, |age| age + 1);
        // One quiet reading is enough beside one jump.
        let before = self.newest.back(disturbed + 1);
        let before = before.filter(|_| disturbed > JUMP_READINGS);
        let quiet = before.map_or(at(disturbed), |before| (at(disturbed) + before) / 2.0);
        let told = if kind == AnomalyKind::Noise {
            SCATTERED_TELLS * disturbed as f32
        } else {
            0.0
        };
        Origin {
            value: (quiet + told * middle((0..disturbed).map(at))) / (1.0 + told),
            readings: disturbed as f32 + if before.is_some() { 0.5 } else { 0.0 },
        }
    }

    /// The newest reading.
    pub(super) fn newest(&self) -> Option<f32> {
        self.newest.back(0)
    }

    /// Whether the newest reading differs from the one before.
    pub(super) fn moves(&self) -> bool {
        self.run == 0
    }

    fn flat_run(&mut self, equal: bool) -> u32 {
        if equal {
            self.run = self.run.saturating_add(1);
            return self.run;
        }
        // Learned when it is over: while it lasts, a fault must not become its own yardstick.
        self.longest = self
            .run
            .clamp(self.longest, self.longest + 1 + self.longest / 8);
        self.run = 0;
        0
    }

    fn judge_run(&self, run: u32) -> f32 {
        run as f32 / (self.longest as f32 * 1.3 + 4.0)
    }

    /// Judges the change before the newest reading, which tells whether it stays.
    fn judge_jump(&mut self, said: &mut Sudden, at: (f32, f32, f32), caution: f32, learning: bool) {
        let (value, after, before) = at;
        let (change, kept) = (after - before, value - before);
        let stays = if change * kept > 0.0 {
            smaller(kept.abs(), change.abs())
        } else {
            0.0
        };
        let back = change.abs() - stays;
        let size = larger(back, stays);
        said.jumped = shape(change, kept);
        let scatters = size > NOISY_BEFORE * self.noise && self.scattered(size);
        if scatters {
            said.jumped = AnomalyKind::Noise;
        }
        said.jump = ratio(size, self.jump * caution + JUMP_FLOOR * self.noise);
        // Some hours of scatter must not become the yardstick of a step in the weeks after it. A sensor that
        // goes on to scatter is known by its noise.
        if learning || !scatters {
            raise(&mut self.jump, size, self.noise, learning);
        }
    }

    /// Whether changes before the jump were of its size: then it is one of many.
    fn scattered(&self, size: f32) -> bool {
        let at = |age: usize| self.newest.back(age).unwrap_or(0.0);
        let known = self.newest.len().saturating_sub(1);
        (2..known).any(|age| (at(age) - at(age + 1)).abs() > ALIKE * size)
    }

    /// The middle of the second differences, twice, so that one jump is not scatter.
    fn judge_scatter(&mut self, bend: f32, caution: f32, learning: bool) -> f32 {
        let at = usize::from(self.bent) % WINDOW;
        if let Some(slot) = self.bends.get_mut(at) {
            *slot = bend;
        }
        // Counts on to twice the window, then stays in its second half.
        self.bent = if usize::from(self.bent) + 1 == 2 * WINDOW {
            WINDOW as u8
        } else {
            self.bent + 1
        };
        if usize::from(self.bent) < WINDOW {
            return 0.0;
        }
        // Sorting is for the rare reading whose middle bends are beyond what is known.
        let beyond = self
            .bends
            .iter()
            .map(|bend| u32::from(*bend > self.scatter / 2.0));
        let mut size = 0.0;
        if beyond.sum::<u32>() as usize >= WINDOW / 2 {
            let mut sorted = self.bends;
            sorted.sort_unstable_by(f32::total_cmp);
            size = sorted.iter().skip(WINDOW / 2 - 1).take(2).sum();
        }
        let score = ratio(size, self.scatter * caution + SCATTER_FLOOR * self.noise);
        raise(&mut self.scatter, size, 0.5 * self.noise, learning);
        score
    }
}

/// `size` in units of `scale`; nothing while there is no scale.
pub(super) fn ratio(size: f32, scale: f32) -> f32 {
    if scale > 0.0 { size / scale } else { 0.0 }
}

/// The middle of some readings; 0 of none.
fn middle(readings: impl Iterator<Item = f32>) -> f32 {
    let mut sorted: heapless::Vec<f32, WINDOW> = readings.take(WINDOW).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
    (at(sorted.len().saturating_sub(1) / 2) + at(sorted.len() / 2)) / 2.0
}

/// A spike is gone at the next reading, a step stays whole; anything else scatters.
fn shape(change: f32, kept: f32) -> AnomalyKind {
    let left = ratio(kept * change.signum(), change.abs());
    if left.abs() < SPIKE_LEFT {
        AnomalyKind::Spike
    } else if STEP_KEPT.contains(&left) {
        AnomalyKind::Step
    } else {
        AnomalyKind::Noise
    }
}

fn raise(record: &mut f32, size: f32, step: f32, learning: bool) {
    if size > *record {
        *record = if learning {
            size
        } else {
            smaller(*record * GROWTH + step, size)
        };
    } else {
        *record *= FADE;
    }
}
