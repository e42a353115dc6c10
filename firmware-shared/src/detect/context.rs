//! Context novelty: was this level, this change of level, this pair of changes ever seen?
//!
//! Promises: a table of fixed size per member, forgetting what has not come back for months, and a range
//! that is learned again when the stream has moved out of it. Several members with different levels,
//! lags and means are averaged: no single choice decides. Never: looks at a whole file, at absolute
//! values, at names.

use serde::{Deserialize, Serialize};

use super::ring::Ring;

/// Ticks from which a member takes its range.
const RANGE_TICKS: u16 = 150;
/// Symbols that are not levels: two below the range, two above.
const OUTSIDE: usize = 4;
const SYMBOLS_MAX: usize = 24;
/// The longest mean of a member.
const MEAN_MAX: usize = 32;
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
const AGE_TICKS: u32 = 43_200;
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
}

const fn shape(levels: u8, lag: u8, mean: u8, memory_ticks: f32, margin: f32) -> Shape {
    Shape {
        levels,
        lag,
        mean,
        memory_ticks,
        margin,
    }
}

/// The members, in the order in which a profile takes them. The margins are odd on purpose: a level edge
/// on a round value would make the outcome depend on the last bit of a scaled copy.
pub(super) const SHAPES: [Shape; 6] = [
    shape(8, 1, 20, 4000.0, 0.3137),
    shape(11, 1, 10, 2000.0, 0.2137),
    shape(6, 2, 10, 2000.0, 0.4137),
    shape(13, 3, 15, 1500.0, 0.1637),
    shape(9, 2, 5, 1000.0, 0.2637),
    shape(16, 1, 30, 3000.0, 0.3637),
];

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
    swept: u32,
    watched: u16,
    outside: u16,
    recent: Ring<MEAN_MAX>,
    mean: f32,
    power: f32,
    count: f32,
}

impl<const P: usize, const T: usize> Member<P, T> {
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
            swept: 0,
            watched: 0,
            outside: 0,
            recent: Ring::new(),
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
            self.low = self.low.min(value);
            self.high = self.high.max(value);
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
        let len = usize::from(shape.mean);
        self.recent.push(value);
        if self.recent.len() < len {
            return 0.0;
        }
        let recent = self.recent.mean(len);
        let away = recent - self.mean;
        self.count += 1.0;
        let z = if self.count > Z_TICKS && self.power > 0.0 {
            libm::sqrtf(away * away / self.power)
        } else {
            0.0
        };
        self.count = self.count.min(shape.memory_ticks);
        let rate = 1.0 / self.count;
        self.mean += rate * away;
        self.power = (1.0 - rate) * (self.power + rate * away * away);
        (z / Z_FULL).min(Z_CAP)
    }

    /// 0 and 1 below the range, then the levels, then two above.
    fn symbol(&self, shape: Shape, value: f32) -> usize {
        let levels = usize::from(shape.levels);
        let range = (self.high - self.low).max(f32::MIN_POSITIVE);
        let at = (value - self.low + shape.margin * range) / (range * (1.0 + 2.0 * shape.margin));
        match at {
            at if at < -0.5137 => 0,
            at if at < 0.0 => 1,
            at if at >= 1.5137 => levels + 3,
            at if at >= 1.0 => levels + 2,
            at => 2 + ((at * levels as f32) as usize).min(levels - 1),
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

    /// A few cells get older at each tick, so that no tick is slow.
    fn sweep(&mut self) {
        let cells = (SYMBOLS_MAX + P + T) as u64;
        let from = (u64::from(self.swept) * cells / u64::from(AGE_TICKS)) as usize;
        self.swept += 1;
        let to = (u64::from(self.swept) * cells / u64::from(AGE_TICKS)) as usize;
        let all = self
            .levels
            .iter_mut()
            .chain(self.pairs.iter_mut())
            .chain(self.triples.iter_mut());
        if to > from {
            all.skip(from)
                .take(to - from)
                .for_each(|cell| *cell = cell.saturating_sub(1));
        }
        if self.swept >= AGE_TICKS {
            self.swept = 0;
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
    let (novelty, after) = match *cell {
        UNSEEN => (1.0, ONCE),
        seen if seen <= ONCE => (0.5, TWICE),
        seen => (0.0, seen.saturating_add(MORE).min(STRONGEST)),
    };
    *cell = after;
    novelty
}

/// A place in a table for a number that may be larger than it (multiplicative hash by Knuth).
fn spread(number: usize, cells: usize) -> usize {
    if number < cells {
        number
    } else {
        ((number as u32).wrapping_mul(2_654_435_761) >> 7) as usize % cells
    }
}
