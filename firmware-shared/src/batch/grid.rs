//! The step that a column's numbers are multiples of: a receiver that thinks in tenths of a knot gives
//! few numbers of mm/s, and only their index needs to be written.
//!
//! Promises: from number to index and back is exact, or the grid does not fit and is not used. Never: a
//! float.

use super::range_coder::Pipe;

/// Numbers are `index * num / den`, rounded to the nearest or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    num: u32,
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
    pub(super) const FINE: Self = Self {
        num: 1,
        den: 1,
        round: 0,
    };

    /// Tenths of a knot, as NMEA tells speeds.
    pub(super) const KNOT_TENTHS: Self = Self {
        num: 463,
        den: 9,
        round: 4,
    };

    /// Multiples of `step`.
    pub(super) const fn step(step: u32) -> Self {
        Self {
            num: if step == 0 { 1 } else { step },
            den: 1,
            round: 0,
        }
    }

    fn speed(name: u32) -> Option<Self> {
        let (num, den) = SPEEDS.get(name as usize / 2).copied()?;
        Some(Self {
            num,
            den,
            round: if name.is_multiple_of(2) { den / 2 } else { 0 },
        })
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
        if step == 1 || number == 0 {
            return step;
        }
        // Most numbers are small, and short divisions are quick.
        if let (Ok(short), Ok(number)) = (u32::try_from(step), u32::try_from(number))
            && short > 0
            && number % short == 0
        {
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

    /// The index of a number that lies on the grid.
    #[inline]
    pub(super) fn index(self, number: i64) -> i64 {
        if self.is_fine() {
            return number;
        }
        let num = i64::from(self.num);
        if self.den == 1 {
            // Most numbers are small, and short divisions are quick.
            return match i32::try_from(number) {
                Ok(small) => i64::from(small / self.num.min(i32::MAX as u32) as i32),
                Err(_) => number / num,
            };
        }
        if let Ok(small @ 0..=SMALL_MAX) = u32::try_from(number) {
            let up = if self.round == 0 {
                self.num - 1
            } else {
                self.num / 2
            };
            return i64::from((small * u32::from(self.den) + up) / self.num);
        }
        // The nearest index of a rounded number, the next one up of a number rounded down.
        let scaled = number.wrapping_mul(i64::from(self.den));
        let up = if self.round == 0 { num - 1 } else { num / 2 };
        scaled.wrapping_add(up).div_euclid(num)
    }

    /// The number at an index.
    #[inline]
    pub(super) fn number(self, index: i64) -> i64 {
        if self.is_fine() {
            return index;
        }
        let scaled = index.wrapping_mul(i64::from(self.num));
        if self.den == 1 {
            return scaled;
        }
        if let Ok(small @ 0..=SMALL_MAX) = u32::try_from(index) {
            let scaled = small * self.num + u32::from(self.round);
            return i64::from(scaled / u32::from(self.den));
        }
        scaled
            .wrapping_add(i64::from(self.round))
            .div_euclid(i64::from(self.den))
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
