//! The distributions that residuals are coded with: 31 values around zero, and an escape.
//!
//! Promises: every symbol has a share of 2^14, so every residual can be written; the shares are numbers of
//! the wire and never computed. Never: adapts; who adapts chooses another row.
//!
//! Row `j` belongs to residuals whose mean magnitude is `2^(j/2 - 6)` times 1.22 (even `j`) or 1.22 (odd
//! `j`, from `1.5 * 2^...`): 1/53 to 3.5. Below 0.5 a row is two-sided geometric with a part of wider
//! tail. From there on [`NOISE`] is 0.6 of a normal and 0.4 of a logistic distribution (thermal noise under
//! an uncertain scale), [`MOTION`] is 0.7 of a narrow and 0.3 of a wide logistic one (manoeuvres).

use super::range_coder::{LOW_BITS_MAX, Pipe};

/// Shares are parts of two to this power.
pub(super) const SHAPE_BITS: u32 = 14;
/// Symbols 0 to 30 are the quotients -15 to 15.
pub(super) const REACH: i64 = 15;
pub(super) const ESCAPE: usize = 31;
/// Quotients this far out of reach have a short form.
const NEAR: u64 = 16;
/// Rows for mean magnitudes below four; larger residuals give their low bits away first.
const ROWS: usize = 14;
/// Fraction bits of a mean magnitude.
pub(super) const MAGNITUDE_BITS: u32 = 8;

/// One distribution: where each symbol starts in 0..2^14, and the end.
#[derive(Debug)]
pub(super) struct Shape([u16; 33]);

impl Shape {
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated at compile time; the index is below both lengths"
    )]
    const fn starting_at(starts: [u16; 32]) -> Self {
        let mut places = [1 << SHAPE_BITS; 33];
        let mut symbol = 0;
        while symbol < starts.len() {
            places[symbol] = starts[symbol];
            symbol += 1;
        }
        Self(places)
    }

    /// Where the symbol starts and how much it takes.
    #[inline(always)]
    pub(super) fn span(&self, symbol: usize) -> (u32, u32) {
        let place = |symbol: usize| self.0.get(symbol).copied().map_or(0, u32::from);
        let from = place(symbol & 31);
        (from, place((symbol & 31) + 1) - from)
    }

    /// The symbol at this place.
    #[inline]
    pub(super) fn find(&self, place: u32) -> usize {
        let mut symbol = 0;
        for step in [16, 8, 4, 2, 1] {
            let next = symbol + step;
            if self
                .0
                .get(next & 31)
                .is_some_and(|from| u32::from(*from) <= place)
            {
                symbol = next;
            }
        }
        symbol
    }
}

/// Half octaves of a mean magnitude in 1/256: two steps double it. Below 2 all are alike.
#[inline(always)]
pub(super) fn half_octaves(magnitude: u32) -> u32 {
    let magnitude = magnitude | 2;
    let zeros = magnitude.leading_zeros();
    // The two highest bits are 2 or 3.
    2 * (u32::BITS - 2 - zeros) + (magnitude << zeros >> (u32::BITS - 2))
}

/// Half octaves of the least magnitude that has a row of its own, 1/64.
const FIRST_ROW: u32 = 2 * (MAGNITUDE_BITS - 6);

/// Codes one residual whose magnitude is about `level` half octaves; tells whether it escaped.
#[inline(never)]
pub(super) fn residual<P: Pipe>(
    pipe: &mut P,
    shapes: &[Shape],
    level: u32,
    given: i64,
) -> (i64, bool) {
    let row = level.saturating_sub(FIRST_ROW);
    let shift = row.saturating_sub(ROWS as u32 - 2) / 2;
    let Some(shape) = shapes.get((row - 2 * shift) as usize) else {
        return (0, true);
    };
    let half = 1_i64 << shift >> 1;
    let biased = given.wrapping_add(half);
    let found = if shift <= LOW_BITS_MAX {
        pipe.near(shape, shift, biased)
    } else {
        far(pipe, shape, shift - LOW_BITS_MAX, biased)
    };
    match found {
        Some(found) => (found.wrapping_sub(half), false),
        None => (escape(pipe, shift, biased).wrapping_sub(half), true),
    }
}

/// Codes a number with many low bits: the upper ones go with the quotient, the lowest `apart` by themselves.
#[cold]
#[inline(never)]
fn far<P: Pipe>(pipe: &mut P, shape: &Shape, apart: u32, given: i64) -> Option<i64> {
    let upper = pipe.near(shape, LOW_BITS_MAX, given >> apart)?;
    let lowest = pipe.bits((given & ((1 << apart) - 1)) as u64, apart);
    Some(upper << apart | lowest as i64)
}

/// Codes all of a number that is out of reach.
#[cold]
#[inline(never)]
fn escape<P: Pipe>(pipe: &mut P, shift: u32, given: i64) -> i64 {
    let quotient = beyond(pipe, given >> shift);
    let low = pipe.bits((given & ((1 << shift) - 1)) as u64, shift);
    (quotient << shift).wrapping_add(low as i64)
}

/// Codes a quotient out of reach: mostly it is just behind.
fn beyond<P: Pipe>(pipe: &mut P, given: i64) -> i64 {
    let magnitude = given.unsigned_abs();
    let excess = magnitude.wrapping_sub(REACH as u64 + 1);
    if pipe.even(u32::from(excess >= NEAR), 2) == 1 {
        return whole(pipe, given);
    }
    let negative = pipe.bits(u64::from(given < 0), 1) == 1;
    let magnitude = pipe.bits(excess & (NEAR - 1), NEAR.ilog2()) as i64 + REACH + 1;
    if negative { -magnitude } else { magnitude }
}

/// Codes a number from 0 to below 2^`len_max`: how many bits, then the bits below the highest.
pub(super) fn natural<P: Pipe>(pipe: &mut P, len_max: u32, given: u64) -> u64 {
    let len = pipe.even(u64::BITS - given.leading_zeros(), len_max + 1);
    if len == 0 {
        return 0;
    }
    let top = 1_u64 << (len - 1);
    top | pipe.bits(given & (top - 1), len - 1)
}

/// Codes any number: its magnitude, then its sign.
pub(super) fn whole<P: Pipe>(pipe: &mut P, given: i64) -> i64 {
    let magnitude = natural(pipe, u64::BITS, given.unsigned_abs());
    let negative = magnitude > 0 && pipe.bits(u64::from(given < 0), 1) == 1;
    if negative {
        (magnitude as i64).wrapping_neg()
    } else {
        magnitude as i64
    }
}

/// For measured values with thermal noise.
#[rustfmt::skip]
pub(super) static NOISE: [Shape; ROWS] = [
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 37, 42, 50, 196,
        16185, 16331, 16339, 16344, 16348, 16351, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 34, 38, 44, 54, 258,
        16123, 16327, 16337, 16343, 16347, 16351, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 31, 35, 40, 47, 62, 346,
        16035, 16319, 16334, 16341, 16346, 16350, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 31, 36, 42, 51, 74, 469,
        15912, 16307, 16330, 16339, 16345, 16350, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 28, 33, 39, 47, 59, 96, 641,
        15740, 16285, 16322, 16334, 16342, 16348, 16353, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 25, 29, 34, 41, 51, 68, 129, 874,
        15507, 16252, 16313, 16330, 16340, 16347, 16352, 16356, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 25, 30, 37, 46, 59, 84, 187, 1191,
        15190, 16194, 16297, 16322, 16335, 16344, 16351, 16356, 16360, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 22, 27, 33, 41, 53, 71, 111, 286, 1614,
        14767, 16095, 16270, 16310, 16328, 16340, 16348, 16354, 16359, 16363, 16366, 16369, 16372, 16375, 16378, 16381,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 19, 23, 28, 35, 45, 60, 87, 157, 453, 2159,
        14221, 15927, 16223, 16293, 16320, 16335, 16345, 16352, 16357, 16361, 16365, 16368, 16371, 16374, 16377, 16380,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 19, 24, 30, 39, 52, 74, 120, 249, 731, 2834,
        13546, 15649, 16131, 16260, 16306, 16328, 16341, 16350, 16356, 16361, 16365, 16368, 16371, 16374, 16377, 16380,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 34, 42, 89, 641, 4376,
        12002, 15737, 16289, 16336, 16344, 16348, 16351, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 31, 40, 77, 303, 1511, 5301,
        11077, 14867, 16075, 16301, 16338, 16347, 16351, 16354, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 25, 32, 48, 98, 289, 949, 2712, 6064,
        10314, 13666, 15429, 16089, 16280, 16330, 16346, 16353, 16357, 16360, 16363, 16366, 16369, 16372, 16375, 16378,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 16, 21, 29, 44, 80, 171, 404, 948, 2055, 3959, 6651,
        9727, 12419, 14323, 15430, 15974, 16207, 16298, 16334, 16349, 16357, 16362, 16366, 16369, 16372, 16375, 16378,
    ]),
];
/// For positions, speeds and everything that moves or jumps.
#[rustfmt::skip]
pub(super) static MOTION: [Shape; ROWS] = [
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 31, 36, 42, 51, 64, 197,
        16183, 16316, 16329, 16338, 16344, 16349, 16353, 16356, 16359, 16362, 16365, 16368, 16371, 16374, 16377, 16380,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 24, 28, 33, 39, 47, 58, 77, 263,
        16117, 16303, 16322, 16333, 16341, 16347, 16352, 16356, 16359, 16362, 16365, 16368, 16371, 16374, 16377, 16380,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 21, 25, 29, 34, 41, 51, 66, 92, 351,
        16028, 16287, 16313, 16328, 16338, 16345, 16350, 16354, 16358, 16361, 16364, 16367, 16370, 16373, 16376, 16379,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 18, 22, 26, 31, 38, 47, 60, 80, 118, 478,
        15900, 16260, 16298, 16318, 16331, 16340, 16347, 16352, 16356, 16360, 16363, 16366, 16369, 16372, 16375, 16378,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 19, 23, 28, 34, 42, 54, 71, 98, 155, 651,
        15726, 16222, 16279, 16306, 16323, 16335, 16343, 16349, 16354, 16358, 16362, 16365, 16368, 16371, 16374, 16377,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 15, 19, 24, 30, 38, 49, 64, 87, 124, 211, 889,
        15486, 16164, 16251, 16288, 16311, 16326, 16337, 16345, 16351, 16356, 16360, 16363, 16366, 16369, 16372, 16375,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 12, 16, 20, 25, 32, 42, 56, 76, 107, 159, 295, 1209,
        15164, 16078, 16214, 16266, 16297, 16317, 16331, 16341, 16348, 16353, 16357, 16361, 16364, 16367, 16370, 16373,
    ]),
    Shape::starting_at([
        0, 3, 6, 9, 13, 17, 22, 29, 38, 50, 68, 95, 137, 213, 427, 1636,
        14734, 15943, 16157, 16233, 16275, 16302, 16320, 16332, 16341, 16348, 16353, 16357, 16361, 16364, 16367, 16370,
    ]),
    Shape::starting_at([
        0, 3, 6, 10, 14, 19, 25, 33, 44, 59, 82, 117, 175, 290, 625, 2179,
        14187, 15741, 16076, 16191, 16249, 16284, 16307, 16322, 16333, 16341, 16347, 16352, 16356, 16360, 16363, 16366,
    ]),
    Shape::starting_at([
        0, 3, 7, 11, 16, 22, 29, 39, 52, 72, 102, 150, 234, 415, 930, 2850,
        13511, 15431, 15946, 16127, 16211, 16259, 16289, 16309, 16322, 16332, 16339, 16345, 16350, 16354, 16358, 16361,
    ]),
    Shape::starting_at([
        0, 4, 9, 14, 19, 25, 31, 38, 46, 57, 73, 104, 178, 382, 997, 3741,
        12583, 15327, 15942, 16146, 16220, 16251, 16267, 16278, 16286, 16293, 16299, 16305, 16310, 16315, 16320, 16324,
    ]),
    Shape::starting_at([
        0, 4, 9, 14, 19, 25, 32, 41, 53, 72, 107, 177, 329, 670, 1526, 4592,
        11732, 14798, 15654, 15995, 16147, 16217, 16252, 16271, 16283, 16292, 16299, 16305, 16310, 16315, 16320, 16324,
    ]),
    Shape::starting_at([
        0, 5, 10, 16, 23, 32, 44, 61, 89, 136, 218, 363, 626, 1130, 2283, 5395,
        10929, 14041, 15194, 15698, 15961, 16106, 16188, 16235, 16263, 16280, 16292, 16301, 16308, 16314, 16319, 16324,
    ]),
    Shape::starting_at([
        0, 7, 15, 26, 41, 62, 92, 137, 204, 306, 461, 702, 1093, 1794, 3222, 6055,
        10261, 13094, 14522, 15223, 15614, 15855, 16010, 16112, 16179, 16224, 16254, 16275, 16290, 16301, 16309, 16316,
    ]),
];
