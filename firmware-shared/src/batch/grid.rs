//! The step that a column's numbers are multiples of: a receiver that thinks in tenths of a knot gives
//! few numbers of mm/s, and only their index needs to be written.
//!
//! Promises: from number to index and back is exact, or the grid does not fit and is not used. Never: a
//! float.

use super::range_coder::Pipe;

/// Numbers are `index * num / den`, rounded to the nearest or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// What multiples of the odd part of `num` are multiplied with to be divided by it.
    inverse: i64,
    num: u32,
    /// The power of two in `num`.
    twos: u8,
    den: u8,
    /// Added before the division: half of `den` rounds to the nearest, 0 rounds down.
    round: u8,
}

/// Speeds and their indices up to this are converted in 32 bits, where divisions are quick.
const SMALL_MAX: u32 = 1 << 22;
/// Steps that have a short name on the wire; what is not here is spelt out.
const STEPS: [u32; 14] = [
    1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 5, 50, 500, 2, 20, 64, 8,
];
/// Tenths and hundredths of a knot and of a km/h, in mm/s.
const SPEEDS: [(u32, u8); 4] = [(463, 9), (463, 90), (250, 9), (25, 9)];
const NAMES: u32 = STEP_FIRST + STEPS.len() as u32 + 2 * SPEEDS.len() as u32;
const STEP_FIRST: u32 = 1;
const SPEED_FIRST: u32 = STEP_FIRST + STEPS.len() as u32;
/// The step follows, 32 bits.
const SPELT: u32 = 0;

impl Grid {
    /// Every integer.
    pub(super) const FINE: Self = Self::of(1, 1, 0);

    /// Tenths of a knot, as NMEA tells speeds.
    pub(super) const KNOT_TENTHS: Self = Self::of(463, 9, 4);

    const fn of(num: u32, den: u8, round: u8) -> Self {
        let twos = num.trailing_zeros();
        Self {
            inverse: inverse((num >> twos) as i64),
            num,
            twos: twos as u8,
            den,
            round,
        }
    }

    /// Multiples of `step`.
    pub(super) const fn step(step: u32) -> Self {
        Self::of(if step == 0 { 1 } else { step }, 1, 0)
    }

    fn speed(name: u32) -> Option<Self> {
        let (num, den) = SPEEDS.get(name as usize / 2).copied()?;
        let round = if name.is_multiple_of(2) { den / 2 } else { 0 };
        Some(Self::of(num, den, round))
    }

    /// The grid of a speed that a receiver made of knots or km/h, if all of these numbers lie on one.
    pub(super) fn of_speeds<I: Iterator<Item = i64>>(numbers: impl Fn() -> I) -> Option<Self> {
        (0..2 * SPEEDS.len() as u32)
            .filter_map(Self::speed)
            .find(|grid| numbers().all(|n| grid.number(grid.index(n)) == n))
    }

    /// The largest step that all numbers are multiples of.
    pub(super) fn of_multiples(numbers: impl Iterator<Item = i64>) -> Self {
        let mut step = 0_u64;
        for number in numbers {
            step = Self::common_step(step, number.unsigned_abs());
            if step == 1 {
                break;
            }
        }
        Self::step(u32::try_from(step).unwrap_or(1))
    }

    /// The largest step of numbers that are multiples of `step` and of one more.
    #[inline]
    pub(super) fn common_step(step: u64, number: u64) -> u64 {
        if step == 1 || (step != 0 && number.is_multiple_of(step)) {
            return step;
        }
        let (mut a, mut b) = (number, step);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// Whether the index is the number.
    #[inline]
    pub(super) fn is_fine(self) -> bool {
        // No speed is told in steps of one of anything.
        self.num == 1
    }

    /// How many steps make `turn`, if it is a whole number of them.
    pub(super) fn steps_in(self, turn: u32) -> Option<u32> {
        (self.den == 1 && turn.is_multiple_of(self.num)).then_some(turn / self.num)
    }

    /// The index of a number that lies on the grid; any index of one that does not.
    #[inline(always)]
    pub(super) fn index(&self, number: i64) -> i64 {
        if self.den == 1 {
            return (number >> self.twos).wrapping_mul(self.inverse);
        }
        self.index_of_speed(number)
    }

    #[inline(never)]
    fn index_of_speed(&self, number: i64) -> i64 {
        // The nearest index of a rounded number, the next one up of a number rounded down.
        let up = if self.round == 0 {
            self.num - 1
        } else {
            self.num / 2
        };
        if let Ok(small @ 0..=SMALL_MAX) = u32::try_from(number) {
            return i64::from((small * u32::from(self.den) + up) / self.num);
        }
        let scaled = number.wrapping_mul(i64::from(self.den));
        scaled
            .wrapping_add(i64::from(up))
            .div_euclid(i64::from(self.num))
    }

    /// The number at an index.
    #[inline(always)]
    pub(super) fn number(&self, index: i64) -> i64 {
        let scaled = index.wrapping_mul(i64::from(self.num));
        if self.den == 1 {
            return scaled;
        }
        let scaled = scaled.wrapping_add(i64::from(self.round));
        let den = self.den;
        match u32::try_from(scaled) {
            // Most numbers are small, and short divisions are quick.
            Ok(small) => i64::from(small / u32::from(den)),
            Err(_) => scaled.div_euclid(i64::from(den)),
        }
    }

    /// Codes which grid it is, where this one is usual.
    pub(super) fn code<P: Pipe>(self, pipe: &mut P, usual: Self) -> Self {
        if pipe.likely(4, self == usual) {
            return usual;
        }
        let name = pipe.even(self.name(), NAMES);
        if name == SPELT {
            return Self::step(pipe.bits(u64::from(self.num), 32) as u32);
        }
        let step = STEPS
            .get(name.wrapping_sub(STEP_FIRST) as usize)
            .copied()
            .map(Self::step);
        step.or_else(|| Self::speed(name.wrapping_sub(SPEED_FIRST)))
            .unwrap_or(Self::FINE)
    }

    fn name(self) -> u32 {
        if self.den == 1 {
            let step = STEPS.iter().position(|step| *step == self.num);
            return step.map_or(SPELT, |place| STEP_FIRST + place as u32);
        }
        (0..2 * SPEEDS.len() as u32)
            .find(|name| Self::speed(*name) == Some(self))
            .map_or(SPELT, |name| SPEED_FIRST + name)
    }
}

/// The inverse of an odd number modulo 2^64: each step doubles the bits that are right, from three.
const fn inverse(odd: i64) -> i64 {
    let mut inverse = odd;
    let mut right = 3;
    while right < i64::BITS {
        inverse = inverse.wrapping_mul(2_i64.wrapping_sub(odd.wrapping_mul(inverse)));
        right *= 2;
    }
    inverse
}
