//! Context novelty: was this level, this change of level, this pair of changes ever seen?
//!
//! Promises: a table of fixed size per member, forgetting what has not come back for months, and a range
//! that is learned again when the stream has moved out of it. Several members with different levels,
//! lags and means are averaged: no single choice decides. Never: looks at a whole file, at absolute
//! values, at names.

use serde::{Deserialize, Serialize};

use super::number::{larger, smaller};
use super::ring::Ring;

/// Ticks from which a member takes its range.
const RANGE_TICKS: u16 = 150;
/// Symbols that are not levels: two below the range, two above.
const OUTSIDE: usize = 4;
const SYMBOLS_MAX: usize = 24;
/// The longest mean of a member that a profile has.
const MEAN_MAX: usize = 20;
/// The longest look back of a member is twice its lag.
const HISTORY: usize = 8;

/// A cell that was never visited, or not for a very long time.
const UNSEEN: u8 = 0;
/// What the first visit leaves; one or two ages later it is unseen again.
const ONCE: u8 = 3;
/// What the second visit leaves: some ages of memory.
const TWICE: u8 = 6;
/// What each further visit adds, and the most a cell can hold.
const MORE: u8 = 3;
const STRONGEST: u8 = 24;
/// All cells lose one in this many ticks (30 days of minutes).
const AGE_TICKS: u16 = 43_200;
/// The range is learned again when more than half of this many ticks were outside it.
const REFIT_TICKS: u16 = 20_160;

/// Short mean against long mean counts fully at this many deviations, and not more than four times that.
const Z_FULL: f32 = 5.0;
const Z_CAP: f32 = 4.0;
/// Ticks before a long mean may judge.
const Z_TICKS: f32 = 20.0;

/// What makes members differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    levels: u8,
    lag: u8,
    mean: u8,
    memory_ticks: f32,
    margin: f32,
    /// One over the memory, and over the length of the mean.
    follow: f32,
    one_of_mean: f32,
}

const fn shape(levels: u8, lag: u8, mean: u8, memory_ticks: f32, margin: f32) -> Shape {
    Shape {
        levels,
        lag,
        mean,
        memory_ticks,
        margin,
        follow: 1.0 / memory_ticks,
        one_of_mean: 1.0 / mean as f32,
    }
}

/// The members, in the order in which a profile takes them. The margins are odd on purpose: a level edge
/// on a round value would make the outcome depend on the last bit of a scaled copy.
pub(super) const SHAPES: [Shape; 4] = [
    shape(8, 1, 20, 4000.0, 0.3137),
    shape(11, 1, 10, 2000.0, 0.2137),
    shape(6, 2, 10, 2000.0, 0.4137),
    shape(13, 3, 15, 1500.0, 0.1637),
];

#[expect(
    clippy::indexing_slicing,
    reason = "the compiler counts, and would say so"
)]
const _: () = {
    let mut at = 0;
    while at < SHAPES.len() {
        assert!(SHAPES[at].mean as usize <= MEAN_MAX);
        at += 1;
    }
};

/// What one member says about one tick.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Novelty {
    /// Novelty of level and changes.
    pub(super) context: f32,
    /// Short mean against long mean.
    pub(super) short_mean: f32,
}

/// One configuration of the context model. `P` cells for changes, `T` for pairs of changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Member<const P: usize, const T: usize> {
    low: f32,
    high: f32,
    ranged: u16,
    levels: heapless::Vec<u8, SYMBOLS_MAX>,
    pairs: heapless::Vec<u8, P>,
    triples: heapless::Vec<u8, T>,
    /// Symbols of the newest ticks, a byte each, newest last; how many of them are known since a gap.
    history: u64,
    known: u8,
    /// The next cell that gets older, and what of the next one is due.
    sweeping: u16,
    due: u16,
    watched: u16,
    outside: u16,
    recent: Ring<MEAN_MAX>,
    /// Of the newest ticks, as many as the short mean has.
    sum: f32,
    mean: f32,
    power: f32,
    count: f32,
}

impl<const P: usize, const T: usize> Member<P, T> {
    const CELLS: u16 = (SYMBOLS_MAX + P + T) as u16;

    pub(super) fn new() -> Self {
        let mut new = Self {
            low: f32::MAX,
            high: f32::MIN,
            ranged: 0,
            levels: heapless::Vec::new(),
            pairs: heapless::Vec::new(),
            triples: heapless::Vec::new(),
            history: 0,
            known: 0,
            sweeping: 0,
            due: 0,
            watched: 0,
            outside: 0,
            recent: Ring::new(),
            sum: 0.0,
            mean: 0.0,
            power: 0.0,
            count: 0.0,
        };
        // All resize to their capacity, which cannot fail.
        let _fits = new
            .levels
            .resize(SYMBOLS_MAX, UNSEEN)
            .and(new.pairs.resize(P, UNSEEN))
            .and(new.triples.resize(T, UNSEEN));
        new
    }

    /// After a gap the order of levels says nothing.
    pub(super) fn forget_order(&mut self) {
        self.known = 0;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ranged >= RANGE_TICKS
    }

    /// The long mean, and four usual deviations of the short mean.
    pub(super) fn usual(&self) -> (f32, f32) {
        (self.mean, 4.0 * libm::sqrtf(self.power))
    }

    pub(super) fn step(&mut self, shape: Shape, value: f32) -> Novelty {
        let short_mean = self.short_mean(shape, value);
        if !self.is_ready() {
            self.low = smaller(self.low, value);
            self.high = larger(self.high, value);
            self.ranged += 1;
            return Novelty::default();
        }
        self.sweep();
        let symbol = self.symbol(shape, value);
        self.watch(shape, symbol);
        let context = self.visit(shape, symbol);
        Novelty {
            context,
            short_mean,
        }
    }

    fn short_mean(&mut self, shape: Shape, value: f32) -> f32 {
        let Some(recent) = self.recent_mean(shape, value) else {
            return 0.0;
        };
        let away = recent - self.mean;
        self.count += 1.0;
        let z = if self.count > Z_TICKS && self.power > 0.0 {
            libm::sqrtf(away * away / self.power)
        } else {
            0.0
        };
        let rate = if self.count >= shape.memory_ticks {
            self.count = shape.memory_ticks;
            shape.follow
        } else {
            1.0 / self.count
        };
        self.mean += rate * away;
        self.power = (1.0 - rate) * (self.power + rate * away * away);
        (z * (1.0 / Z_FULL)).min(Z_CAP)
    }

    /// The mean of the newest ticks, when there are enough.
    fn recent_mean(&mut self, shape: Shape, value: f32) -> Option<f32> {
        let len = usize::from(shape.mean);
        self.sum += value - self.recent.back(len - 1).unwrap_or(0.0);
        self.recent.push(value);
        if self.recent.is_at_start() {
            // Rounding must not add up, nor a huge value leave anything behind.
            self.sum = self.recent.sum(len);
        }
        (self.recent.len() >= len).then_some(self.sum * shape.one_of_mean)
    }

    /// 0 and 1 below the range, then the levels, then two above.
    fn symbol(&self, shape: Shape, value: f32) -> usize {
        let levels = f32::from(shape.levels);
        let range = (self.high - self.low).max(f32::MIN_POSITIVE);
        let at = (value - self.low + shape.margin * range) / (range * (1.0 + 2.0 * shape.margin));
        match at {
            at if (0.0..1.0).contains(&at) => {
                // A byte holds any level, and a byte is quicker made than a word.
                2 + usize::from((at * levels) as u8).min(usize::from(shape.levels) - 1)
            }
            at if at < -0.5137 => 0,
            at if at < 0.0 => 1,
            at if at < 1.5137 => usize::from(shape.levels) + 2,
            _ => usize::from(shape.levels) + 3,
        }
    }

    fn visit(&mut self, shape: Shape, symbol: usize) -> f32 {
        let size = usize::from(shape.levels) + OUTSIDE;
        let lag = usize::from(shape.lag);
        let past = |age: usize| {
            let byte = (self.history >> (8 * (age - 1))) & 0xff;
            (age <= usize::from(self.known)).then_some(byte as usize)
        };
        let (before, first) = (past(lag), past((2 * lag).min(HISTORY - 1)));
        // A level counts once only; the half of a second visit is for changes of level.
        let new_level = mark(&mut self.levels, symbol) >= 1.0;
        let mut novelty = f32::from(u8::from(new_level));
        if let Some(before) = before {
            let pair = before * size + symbol;
            novelty += 0.5 * mark(&mut self.pairs, pair);
            if let Some(first) = first {
                let triple = (first * size + before) * size + symbol;
                novelty += 0.25 * mark(&mut self.triples, spread(triple, T));
            }
        }
        self.history = self.history << 8 | symbol as u64;
        self.known = (self.known + 1).min(HISTORY as u8);
        novelty
    }

    /// One cell now and then gets older, so that no tick is slow: there are fewer cells than ticks in an age.
    fn sweep(&mut self) {
        const { assert!(Self::CELLS < AGE_TICKS && AGE_TICKS <= u16::MAX - Self::CELLS) };
        self.due += Self::CELLS;
        if self.due < AGE_TICKS {
            return;
        }
        self.due -= AGE_TICKS;
        let mut at = usize::from(self.sweeping);
        self.sweeping = if self.sweeping + 1 == Self::CELLS {
            0
        } else {
            self.sweeping + 1
        };
        for cells in [
            self.levels.as_mut_slice(),
            self.pairs.as_mut_slice(),
            self.triples.as_mut_slice(),
        ] {
            if let Some(cell) = cells.get_mut(at) {
                *cell = cell.saturating_sub(1);
                return;
            }
            at -= cells.len();
        }
    }

    /// Learns the range again when the stream lives outside it.
    fn watch(&mut self, shape: Shape, symbol: usize) {
        self.watched += 1;
        let inside = 2..usize::from(shape.levels) + 2;
        self.outside += u16::from(!inside.contains(&symbol));
        if self.watched < REFIT_TICKS {
            return;
        }
        let refit = self.outside > REFIT_TICKS / 2;
        (self.watched, self.outside) = (0, 0);
        if refit {
            (self.low, self.high, self.ranged) = (f32::MAX, f32::MIN, 0);
            self.known = 0;
            let tables = self
                .levels
                .iter_mut()
                .chain(&mut self.pairs)
                .chain(&mut self.triples);
            tables.for_each(|cell| *cell = UNSEEN);
        }
    }
}

/// Visits a cell: 1 when it was never seen, a half when once, else 0.
fn mark(cells: &mut [u8], at: usize) -> f32 {
    let Some(cell) = cells.get_mut(at) else {
        return 0.0;
    };
    let visit = VISITS.get(usize::from(*cell)).copied();
    let (novelty, after) = visit.unwrap_or((0.0, STRONGEST));
    *cell = after;
    novelty
}

/// What a visit tells, and what it leaves, for each state of a cell.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler counts, and would say so"
)]
const VISITS: [(f32, u8); STRONGEST as usize + 1] = {
    let mut visits = [(0.0, STRONGEST); STRONGEST as usize + 1];
    let mut cell = 0;
    while cell + MORE <= STRONGEST {
        visits[cell as usize] = match cell {
            UNSEEN => (1.0, ONCE),
            seen if seen <= ONCE => (0.5, TWICE),
            seen => (0.0, seen + MORE),
        };
        cell += 1;
    }
    visits
};

/// A place in a table for a number that may be larger than it (multiplicative hash by Knuth).
fn spread(number: usize, cells: usize) -> usize {
    if number < cells {
        number
    } else {
        ((number as u32).wrapping_mul(2_654_435_761) >> 7) as usize % cells
    }
}
