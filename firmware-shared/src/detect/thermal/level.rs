//! The usual level, from ten-minute means: where the value rests, how wide it swings, and whether its
//! lower envelope moves.
//!
//! Promises: doors, defrosts and loading lift the value for a while but not its lower envelope, so a
//! drift shows there; each envelope is compared with its own record, which learns an excursion when it is
//! over. Never: follows a fault at the speed of the fault.

use serde::{Deserialize, Serialize};

use super::sudden::ratio;
use crate::detect::number::{larger, largest, smaller};
use crate::detect::ranked::Ranked;

/// Ticks in a block.
const BLOCK_TICKS: u8 = 10;
/// Blocks that are kept: half a day.
const BLOCKS: usize = 72;
/// Blocks before a level is stated.
const BLOCKS_MIN: usize = 18;
const BLOCKS_A_DAY: f32 = 144.0;
/// Where the value rests: a low quantile, because normal life lifts it.
const REST: f32 = 0.35;
/// The level is looked at every third block; share of the way that it follows then.
const LEVEL_BLOCKS: u8 = 3;
const FOLLOW: f32 = 0.09;
/// Memory of the expected value, looks: three days.
const EXPECT_LOOKS: f32 = 144.0;
/// Records of the envelopes: growth at most, and swings beside it; fade per block.
const GROWTH: f32 = 1.3;
const GROWTH_SWINGS: f32 = 0.5;
const FADE: f32 = 0.9998;
/// An excursion is over below this share of its height, or after so many blocks: half a day.
const OVER: f32 = 0.3;
const OVER_BLOCKS: u8 = 72;
/// Blocks of the quick envelope that tells how far a drift has gone, and how much farther that may be than
/// the slow ones say.
const QUICK_BLOCKS: usize = 6;
const QUICK_MOST: f32 = 2.0;
/// Calm blocks that tell the level upwards, if half of them are there. A block is calm when so many changes in a
/// row, its own among them, are at most this share of a swing.
const CALM_BLOCKS: u32 = 9;
const CALM_CHANGES: u32 = 2;
const CALM_SWINGS: f32 = 0.8;
/// Swings added to the record.
const FLOOR_UP: f32 = 0.8;
const FLOOR_DOWN: f32 = 2.0;
/// Memory of an envelope's usual place, blocks.
const PLACE_BLOCKS: f32 = 4.0 * BLOCKS_A_DAY;
/// Parts of the day, each with its own place and record, and the share of the highest record that counts
/// everywhere.
const PARTS: usize = 6;
const ALL_DAY: f32 = 0.5;
const DAY_MS: u64 = 86_400_000;
/// Blocks of memory that are left after a set-point change: the place is learned again.
const RELEARN_BLOCKS: f32 = 4.0;

/// One envelope: a low rank in a window of blocks, watched in one direction.
#[derive(Debug, Clone, Copy)]
struct Shape {
    blocks: usize,
    rank: usize,
    up: bool,
    /// What brings it to the measure of all heads, times its score.
    unit: f32,
}

/// Two horizons in each direction. Upwards the windows are long, because normal life lifts the value for
/// hours, and the first one counts where there is no calm; downwards nothing in normal life does.
const SHAPES: [Shape; 4] = [
    Shape {
        blocks: 24,
        rank: 0,
        up: true,
        unit: 1.2,
    },
    Shape {
        blocks: 36,
        rank: 3,
        up: true,
        unit: 1.2,
    },
    Shape {
        blocks: 9,
        rank: 0,
        up: false,
        unit: 1.8,
    },
    Shape {
        blocks: 18,
        rank: 1,
        up: false,
        unit: 2.4,
    },
];

/// Fewer blocks than these are no yardstick.
const JUDGED_BLOCKS: usize = 24;
/// The ranks of the quick envelope and of those above, in windows from short to long.
const LOWS: [(usize, usize); 5] = {
    let [up_4h, up_6h, down_90min, down_3h] = SHAPES;
    [
        (QUICK_BLOCKS, 0),
        (down_90min.blocks, down_90min.rank),
        (down_3h.blocks, down_3h.rank),
        (up_4h.blocks, up_4h.rank),
        (up_6h.blocks, up_6h.rank),
    ]
};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Envelope {
    place: f32,
    count: f32,
    record: [f32; PARTS],
    /// Where it is now, from its place.
    away: f32,
    pending: Pending,
}

/// The farthest of an excursion that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pending {
    far: f32,
    part: u8,
    blocks: u8,
}

/// What the envelopes say when a block is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// Scores of the four envelopes.
    pub(super) scores: [f32; 4],
    /// How far the value has drifted, if it has: up (positive), and down (negative).
    pub(super) up: f32,
    pub(super) down: f32,
}

/// How young the model is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    /// Above 1 while the stream is young.
    pub(super) caution: f32,
    /// Records grow freely.
    pub(super) learning: bool,
    /// Too young to judge.
    pub(super) silent: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    blocks: Ranked<BLOCKS>,
    sum: f32,
    ticks: u8,
    skipped: u8,
    rest: Option<f32>,
    swing: f32,
    expected: f32,
    expected_count: f32,
    envelopes: [Envelope; 4],
    quick_place: f32,
}

impl Level {
    pub(super) const fn new() -> Self {
        Self {
            blocks: Ranked::new(),
            sum: 0.0,
            ticks: 0,
            skipped: 0,
            rest: None,
            swing: 0.0,
            expected: 0.0,
            expected_count: 0.0,
            envelopes: [Envelope {
                place: 0.0,
                count: 0.0,
                record: [0.0; PARTS],
                away: 0.0,
                pending: Pending {
                    far: 0.0,
                    part: 0,
                    blocks: 0,
                },
            }; 4],
            quick_place: 0.0,
        }
    }

    /// Where the value rests.
    pub(super) fn rest(&self) -> Option<f32> {
        self.rest
    }

    /// Distance from the lower envelope to the middle.
    pub(super) fn swing(&self) -> f32 {
        self.swing
    }

    /// The expected value; follows over days.
    pub(super) fn expected(&self) -> f32 {
        self.expected
    }

    /// The places of the envelopes after a set-point change are not quite the old ones.
    pub(super) fn relearn(&mut self) {
        for envelope in &mut self.envelopes {
            envelope.count = envelope.count.min(RELEARN_BLOCKS);
        }
    }

    /// What the envelopes say when this tick closes a block.
    /// `ripple` is how far it moves at least in ordinary life: a swing below it is no yardstick.
    pub(super) fn step(&mut self, now_ms: u64, value: f32, ripple: f32, age: Age) -> Option<Moved> {
        self.sum += value;
        self.ticks += 1;
        if self.ticks < BLOCK_TICKS {
            return None;
        }
        self.blocks.push(self.sum / f32::from(self.ticks));
        (self.sum, self.ticks) = (0.0, 0);
        let all = self.blocks.ring().len();
        if all < BLOCKS_MIN {
            return None;
        }
        if self.skipped == 0 {
            self.learn_level();
        }
        self.skipped = if self.skipped + 1 >= LEVEL_BLOCKS {
            0
        } else {
            self.skipped + 1
        };
        let swing = self.swing.max(ripple);
        let mut room = [0.0; BLOCKS];
        let newest = self.blocks.ring().in_order(&mut room);
        let [quick, down_90min, down_3h, up_4h, up_6h] = lows(newest);
        let up_4h = calm_low(newest, CALM_SWINGS * swing).or(up_4h);
        let lows = [up_4h, up_6h, down_90min, down_3h];
        let part = (now_ms % DAY_MS * PARTS as u64 / DAY_MS) as u8;
        let mut scores = [0.0; 4];
        let envelopes = self.envelopes.iter_mut().zip(SHAPES);
        for ((score, (envelope, shape)), low) in scores.iter_mut().zip(envelopes).zip(lows) {
            if all >= shape.blocks.max(JUDGED_BLOCKS) {
                *score = envelope.judge(part, low.unwrap_or(value), shape, swing, age);
            }
        }
        Some(self.moved(scores, quick))
    }

    /// The quick envelope is judged from a place of its own, which takes as long to move as the others'.
    fn moved(&mut self, scores: [f32; 4], quick: Option<f32>) -> Moved {
        let [up_4h, up_6h, down_90min, down_3h] = self.envelopes;
        let stronger = |first: bool, a: Envelope, b: Envelope| if first { a.away } else { b.away };
        let slow = stronger(scores[0] > scores[1], up_4h, up_6h).max(0.0);
        let low = quick.unwrap_or(self.quick_place);
        if up_4h.count <= 1.0 {
            self.quick_place = low;
        }
        let quick = low - self.quick_place;
        let swing = self.swing.max(0.0);
        self.quick_place += quick.clamp(-swing, swing) * up_4h.rate();
        Moved {
            scores,
            up: quick.max(slow).min(QUICK_MOST * slow),
            down: stronger(scores[2] > scores[3], down_90min, down_3h),
        }
    }

    fn learn_level(&mut self) {
        let [middle, rest, low] = [0.5, REST, 0.1].map(|share| self.blocks.quantile(share));
        self.swing = middle - low;
        self.rest = Some(self.rest.map_or(rest, |old| old + (rest - old) * FOLLOW));
        self.expected_count = (self.expected_count + 1.0).min(EXPECT_LOOKS);
        self.expected += (middle - self.expected) / self.expected_count;
    }
}

impl Envelope {
    fn judge(&mut self, part: u8, low: f32, shape: Shape, swing: f32, age: Age) -> f32 {
        let highest = largest(&self.record);
        let Some(record) = self.record.get_mut(usize::from(part)) else {
            return 0.0;
        };
        if self.count == 0.0 {
            self.place = low;
        }
        let away = low - self.place;
        self.away = away;
        let size = if shape.up { away } else { -away }.max(0.0);
        let floor = if shape.up { FLOOR_UP } else { FLOOR_DOWN };
        let known = record.max(if shape.up { ALL_DAY } else { 1.0 } * highest);
        // Where ordinary life goes far, as far as ever before is ordinary, whatever the unit.
        let floor = floor * swing;
        let weight = 1.0 + (shape.unit - 1.0) * ratio(known, known + floor);
        let score = shape.unit * ratio(size, weight * known * age.caution + floor);
        *record *= if age.silent { 1.0 } else { FADE };
        if !age.silent {
            let most = if age.learning {
                f32::MAX
            } else {
                highest * GROWTH + GROWTH_SWINGS * swing
            };
            self.learn(size, part, most, age.learning);
        }
        let most = if age.learning { f32::MAX } else { swing };
        self.count += 1.0;
        self.place += away.clamp(-most, most) * self.rate();
        self.count = self.count.min(PLACE_BLOCKS);
        if age.silent { 0.0 } else { score }
    }

    /// How fast the place follows.
    fn rate(&self) -> f32 {
        (1.0 / self.count.max(1.0)).max(1.0 / PLACE_BLOCKS)
    }

    /// What an excursion teaches is learned when it is over: while it lasts, a fault must not become its own
    /// yardstick.
    fn learn(&mut self, size: f32, part: u8, most: f32, learning: bool) {
        if size > self.pending.far {
            (self.pending.far, self.pending.part) = (size, part);
        }
        if self.pending.far == 0.0 {
            return;
        }
        self.pending.blocks = self.pending.blocks.saturating_add(1);
        let over = size < OVER * self.pending.far || self.pending.blocks > OVER_BLOCKS;
        if !over && !learning {
            return;
        }
        if let Some(record) = self.record.get_mut(usize::from(self.pending.part)) {
            *record = record.max(self.pending.far.min(most));
        }
        (self.pending.far, self.pending.blocks) = (0.0, 0);
    }
}

/// For each pair of a count and a rank in `LOWS`: the one of the newest that has `rank` smaller ones.
fn lows(newest: &[f32]) -> [Option<f32>; LOWS.len()] {
    let (mut older, mut walked) = (newest, 0);
    let mut least = [f32::MAX; 4];
    LOWS.map(|(count, rank)| {
        let (rest, window) = older.split_at(older.len().saturating_sub(count - walked));
        window
            .iter()
            .for_each(|block| keep_least(&mut least, *block));
        (older, walked) = (rest, count);
        least.get(rank).copied().filter(|_| newest.len() > rank)
    })
}

/// Takes a number in among the four least, least first. Without a branch, because nothing foretells it.
fn keep_least(least: &mut [f32; 4], number: f32) {
    let mut carried = number;
    for slot in least {
        (*slot, carried) = (smaller(*slot, carried), larger(carried, *slot));
    }
}

/// The least of the newest calm blocks, between which the value changes by at most `near`. A rising or falling
/// value is that of an excursion, so this passes by excursions: it needs no longer window than the calm of a
/// night, and no shorter one than a day of doors.
fn calm_low(newest: &[f32], near: f32) -> Option<f32> {
    let mut walk = newest.iter().rev().copied();
    let (mut first, mut second) = (walk.next()?, walk.next()?);
    let (mut least, mut calm) = (f32::MAX, 0);
    let mut run = u32::from((first - second).abs() <= near);
    // Without branches, because nothing foretells them.
    for third in walk {
        run = (run + 1) * u32::from((second - third).abs() <= near);
        let (starts, goes_on) = (run == CALM_CHANGES, run >= CALM_CHANGES);
        least = smaller(least, if starts { first } else { f32::MAX });
        least = smaller(least, if goes_on { second } else { f32::MAX });
        calm += u32::from(starts) + u32::from(goes_on);
        if calm >= CALM_BLOCKS {
            break;
        }
        (first, second) = (second, third);
    }
    (2 * calm >= CALM_BLOCKS).then_some(least)
}
