//! What is remembered of one number of one stream, and what it is expected to be next.
//!
//! Promises: integers only, the same on every machine; any number may follow any other. Never: more than
//! 16 bytes a field.
//!
//! A fit is a growing-memory least-squares fit that stops growing: of a level (order 0) or of a line
//! (order 1). Order 0 with memory 1 is "as before", order 1 with memory 2 is the second difference, longer
//! memories smooth noise.

use super::shape::{MAGNITUDE_BITS, half_octaves};

pub(super) const FRACTION_BITS: u32 = 8;
const GAIN_BITS: u32 = 16;
/// Magnitudes are counted in 1/256 up to this, which leaves six bits for the count.
const MAGNITUDE_MAX: u32 = (1 << 26) - 1;
/// More numbers than these are not counted.
pub(super) const SEEN_MAX: u32 = 63;
/// A leap counts as one number in so many.
const LEAP_RATE: u32 = 6;
/// Longest memory of any fit.
pub(super) const MEMORY_MAX: u32 = SEEN_MAX;

/// How the next number is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// 0 fits a level, 1 a line.
    pub(super) order: u8,
    /// Over how many numbers.
    pub(super) memory: u8,
}

impl Fit {
    /// Always zero, whatever was.
    pub(super) const ZERO: Self = Self {
        order: 0,
        memory: 0,
    };
    pub(super) const LAST: Self = Self {
        order: 0,
        memory: 1,
    };
    pub(super) const SECOND_DIFFERENCE: Self = Self {
        order: 1,
        memory: 2,
    };
    pub(super) const SHORT_LINE: Self = Self {
        order: 1,
        memory: 3,
    };
    pub(super) const LINE: Self = Self {
        order: 1,
        memory: 6,
    };
    pub(super) const LONG_LINE: Self = Self {
        order: 1,
        memory: 20,
    };
    pub(super) const WHOLE_LINE: Self = Self {
        order: 1,
        memory: MEMORY_MAX as u8,
    };
}

impl Fit {
    /// What a line of (level, slope), both with fraction bits, expects next.
    #[inline]
    pub(super) fn expected(self, line: (i64, i64)) -> i64 {
        let half = 1 << (FRACTION_BITS - 1);
        line.0.wrapping_add(line.1).wrapping_add(half) >> FRACTION_BITS
    }

    /// The line behind the number that is the `seen`-th.
    #[inline]
    pub(super) fn follow(self, line: (i64, i64), seen: u32, number: i64) -> (i64, i64) {
        let table = if self.order == 0 {
            &LEVEL_GAINS
        } else {
            &LINE_GAINS
        };
        let memory = seen.min(u32::from(self.memory)) & SEEN_MAX;
        let (level, slope) = table.get(memory as usize).copied().unwrap_or((0, 0));
        let expected = line.0.wrapping_add(line.1);
        let error = (number << FRACTION_BITS).wrapping_sub(expected);
        let level = expected.wrapping_add(error.wrapping_mul(i64::from(level)) >> GAIN_BITS);
        let turn = error.wrapping_mul(i64::from(slope)) >> GAIN_BITS;
        (level, line.1.wrapping_add(turn))
    }
}

/// Gains (level, slope) in 1/65536 after `n` numbers.
const fn gains(order: u8, n: u32) -> (i64, i64) {
    let one = 1_i64 << GAIN_BITS;
    let n = n as i64;
    match (order, n) {
        (_, 0) => (0, 0),
        (0, _) => (one / n, 0),
        (_, 1) => (one, 0),
        _ => (one * (4 * n - 2) / (n * (n + 1)), one * 6 / (n * (n + 1))),
    }
}

const fn gain_table(order: u8) -> [(i32, i32); MEMORY_MAX as usize + 1] {
    let mut table = [(0, 0); MEMORY_MAX as usize + 1];
    let mut n = 0;
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated at compile time; n is below the length"
    )]
    while n < table.len() {
        let (level, slope) = gains(order, n as u32);
        table[n] = (level as i32, slope as i32);
        n += 1;
    }
    table
}

static LEVEL_GAINS: [(i32, i32); MEMORY_MAX as usize + 1] = gain_table(0);
static LINE_GAINS: [(i32, i32); MEMORY_MAX as usize + 1] = gain_table(1);

/// The memory of one number of one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Field {
    level: i64,
    slope: i32,
    /// Mean magnitude of the residuals (26 bits) and how many numbers were seen (6 bits).
    magnitude_seen: u32,
}

impl Field {
    /// Nothing seen; the first residuals are expected to have this mean magnitude.
    pub(super) fn expecting(magnitude: u32) -> Self {
        Self {
            level: 0,
            slope: 0,
            magnitude_seen: magnitude.min(MAGNITUDE_MAX) << 6,
        }
    }

    /// How many numbers were seen, up to 63.
    #[inline]
    pub(super) fn seen(&self) -> u32 {
        self.magnitude_seen & SEEN_MAX
    }

    /// Mean magnitude of the residuals in 1/256.
    #[inline]
    pub(super) fn magnitude(&self) -> u32 {
        self.magnitude_seen >> 6
    }

    /// Half octaves of [`Self::magnitude`].
    #[inline]
    pub(super) fn level(&self) -> u32 {
        half_octaves(self.magnitude())
    }

    /// The last number, where the fit is [`Fit::LAST`].
    #[inline]
    pub(super) fn last(&self) -> i64 {
        self.level >> FRACTION_BITS
    }

    /// What the fit expects next.
    #[inline]
    pub(super) fn expected(&self) -> i64 {
        let half = 1 << (FRACTION_BITS - 1);
        self.level
            .wrapping_add(i64::from(self.slope))
            .wrapping_add(half)
            >> FRACTION_BITS
    }

    /// Takes the first number.
    pub(super) fn start(&mut self, number: i64) {
        self.level = number << FRACTION_BITS;
        self.magnitude_seen = self.magnitude_seen & !SEEN_MAX | 1;
    }

    /// Takes a number that breaks with all before: the slope is kept, the level relearnt, and more of its
    /// kind are expected than after an ordinary one.
    pub(super) fn leap(&mut self, number: i64, residual: i64) {
        let magnitude = adapted(self.magnitude(), residual, LEAP_RATE, LEAP_RATE);
        self.level = number << FRACTION_BITS;
        self.magnitude_seen = magnitude << 6 | self.seen().min(2);
    }

    /// Takes a number that was `residual` away from where it was expected (not always by the fit).
    #[inline(always)]
    pub(super) fn learn(&mut self, fit: Fit, rate: u32, number: i64, residual: i64) {
        let seen = (self.seen() + 1).min(SEEN_MAX);
        if fit == Fit::LAST {
            self.level = number << FRACTION_BITS;
        } else {
            let line = fit.follow((self.level, i64::from(self.slope)), seen, number);
            self.level = line.0;
            self.slope = clamp_i32(line.1);
        }
        self.magnitude_seen = adapted(self.magnitude(), residual, seen, rate) << 6 | seen;
    }
}

fn clamp_i32(value: i64) -> i32 {
    value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// The mean magnitude after one more residual: quick at first, then with `rate` numbers of memory. An
/// outlier counts as at most six times the mean, so that one jump does not blur the next ten numbers.
#[inline(always)]
fn adapted(mean: u32, residual: i64, seen: u32, rate: u32) -> u32 {
    let residual = residual
        .unsigned_abs()
        .min(u64::from(MAGNITUDE_MAX >> MAGNITUDE_BITS)) as u32;
    // A mean is below 2^26, so six of it and all differences fit 32 bits.
    let capped = (residual << MAGNITUDE_BITS).min(mean * 6 + 512);
    let weight = RECIPROCALS
        .get((seen + 2).min(rate) as usize & 31)
        .copied()
        .unwrap_or(0);
    let step = (i64::from(capped as i32 - mean as i32) * i64::from(weight)) >> GAIN_BITS;
    // A mean of two such numbers is below 2^26, too.
    (mean as i32 + step as i32).max(1) as u32
}

const fn reciprocals() -> [i32; 32] {
    let mut table = [1 << GAIN_BITS; 32];
    let mut n = 1;
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated at compile time; n is below the length"
    )]
    while n < table.len() {
        table[n] = (1 << GAIN_BITS) / n as i32;
        n += 1;
    }
    table
}

static RECIPROCALS: [i32; 32] = reciprocals();
