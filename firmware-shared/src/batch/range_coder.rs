//! An entropy coder over bytes: a range coder with 64 bits of range, most significant byte first.
//!
//! Promises: the bytes end as early as the numbers allow (the reader takes zeros for the rest), and one
//! sequence of numbers has exactly one ending; a reader given arbitrary bytes hands out numbers inside
//! their totals and marks itself `corrupt`. Never: panics, allocates, divides where a shift will do on the
//! writing side.
//!
//! Writer and reader implement one trait, [`Pipe`]: each step is given the number to write and returns the
//! number that stands on the wire. The model above it is written once and cannot drift apart from itself.

use super::shape::{ESCAPE, REACH, SHAPE_BITS, Shape};

/// Below this, four bytes move on.
const RANGE_MIN: u64 = 1 << 32;
const CHANCE_BITS: u32 = 12;
/// How much likelier any place of a window is than none.
const WINDOW_SHARE: u32 = 64;
/// How fast a chance follows what it sees: one sixteenth a step.
const CHANCE_RATE: u32 = 4;

/// The chance of a yes, learnt on the way; starts even.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u16);

impl Chance {
    pub(super) const EVEN: Self = Self(1 << (CHANCE_BITS - 1));

    /// A yes this likely, in eighths; for a single answer.
    pub(super) const fn eighths(parts: u16) -> Self {
        Self(parts << (CHANCE_BITS - 3))
    }

    /// Parts of 2^12 that a yes takes, never none and never all.
    fn yes(self) -> u32 {
        u32::from(self.0)
    }

    fn learn(&mut self, yes: bool) {
        // It settles between 15 and 4081, so neither answer becomes impossible.
        if yes {
            self.0 += ((1 << CHANCE_BITS) - self.0) >> CHANCE_RATE;
        } else {
            self.0 -= self.0 >> CHANCE_RATE;
        }
    }
}

/// More low bits than this are coded apart, so that a unit stays large.
pub(super) const LOW_BITS_MAX: u32 = 10;

/// One direction of the wire. See the module.
pub(super) trait Pipe {
    /// Whether numbers come out of this direction; else they are those that were given.
    const READS: bool = false;
    /// `value` below `total`, all equally likely; `total` from 1 to 2^16.
    fn even(&mut self, value: u32, total: u32) -> u32;
    /// The low `count` bits of `value`.
    fn bits(&mut self, value: u64, count: u32) -> u64;
    /// A yes or no of this chance.
    fn chance(&mut self, chance: &mut Chance, yes: bool) -> bool;
    /// A number whose upper bits are a quotient of this shape and whose `low_bits`, at most
    /// [`LOW_BITS_MAX`], are all equally likely; `None`, an escape, where the quotient is out of reach.
    fn near(&mut self, shape: &Shape, low_bits: u32, given: i64) -> Option<i64>;
    /// A yes or no that is asked once.
    fn likely(&mut self, eighths: u16, yes: bool) -> bool {
        self.chance(&mut Chance::eighths(eighths), yes)
    }
    /// A place below `count` (at most 2^9), all equally likely, or rarely none.
    fn window(&mut self, place: Option<u32>, count: u32) -> Option<u32>;
    /// Told of every residual, for measurements.
    fn note(&mut self, _column: super::Column, _residual: i64) {}
    /// Told of every number that was given and what a reader will find in its place.
    fn found(&mut self, _given: i64, _found: i64) {}
    /// Whether the numbers handed out cannot have been written, or a reader will not find what was given.
    fn corrupt(&self) -> bool {
        false
    }
}

/// Writes numbers behind the first `len` bytes of a buffer.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    start: usize,
    len: usize,
    low: u64,
    range: u64,
    full: bool,
    /// Not zero once a reader will not find what was given.
    astray: i64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8], start: usize) -> Self {
        Self {
            out,
            start,
            len: start,
            low: 0,
            range: u64::MAX,
            full: false,
            astray: 0,
        }
    }

    #[inline]
    fn put(&mut self, from: u32, size: u32, unit: u64) {
        let (low, carry) = self.low.overflowing_add(unit.wrapping_mul(u64::from(from)));
        self.low = low;
        self.range = unit.wrapping_mul(u64::from(size));
        // Apart, so that the many symbols without either keep no registers for them.
        if carry | (self.range < RANGE_MIN) {
            self.settle(carry);
        }
    }

    /// Carries into what is written, and moves four bytes on where the range has become small.
    #[inline(never)]
    fn settle(&mut self, carry: bool) {
        if carry {
            self.carry();
        }
        if self.range < RANGE_MIN {
            self.push((self.low >> 32) as u32);
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    fn push(&mut self, word: u32) {
        match self.out.get_mut(self.len..self.len + 4) {
            Some(place) => {
                place.copy_from_slice(&word.to_be_bytes());
                self.len += 4;
            }
            None => word
                .to_be_bytes()
                .into_iter()
                .for_each(|byte| self.push_byte(byte)),
        }
    }

    fn push_byte(&mut self, byte: u8) {
        match self.out.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.full = true,
        }
    }

    #[cold]
    fn carry(&mut self) {
        let written = self.out.get_mut(self.start..self.len).unwrap_or_default();
        for byte in written.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return;
            }
        }
    }

    /// Ends the bytes and returns where; `None` when there was no room.
    pub(super) fn finish(mut self) -> Option<usize> {
        let (last, carry) = ending(self.low, self.range);
        if carry {
            self.carry();
        }
        let bytes = last.to_be_bytes();
        let needed = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |place| place + 1);
        bytes
            .into_iter()
            .take(needed)
            .for_each(|byte| self.push_byte(byte));
        if self.full {
            return None;
        }
        let written = self.out.get(self.start..self.len)?;
        let zeros = written.iter().rev().take_while(|byte| **byte == 0).count();
        Some(self.len - zeros)
    }
}

/// The number in `low .. low + range` with the most zero bits at its end, and whether it carries.
fn ending(low: u64, range: u64) -> (u64, bool) {
    let (first, last) = (
        u128::from(low),
        u128::from(low) + u128::from(range.max(1)) - 1,
    );
    let rounded = |bit: u32| {
        let mask = (1_u128 << bit) - 1;
        Some((first + mask) & !mask).filter(|number| *number <= last)
    };
    let mut bit = range.max(1).ilog2();
    let mut number = rounded(bit).unwrap_or(first);
    while let Some(rounder) = rounded(bit + 1).filter(|_| bit < u64::BITS) {
        number = rounder;
        bit += 1;
    }
    (number as u64, number >> 64 != 0)
}

impl Pipe for Writer<'_> {
    #[inline(always)]
    fn found(&mut self, given: i64, found: i64) {
        self.astray |= given ^ found;
    }

    #[inline(always)]
    fn corrupt(&self) -> bool {
        self.astray != 0
    }

    #[inline]
    fn even(&mut self, value: u32, total: u32) -> u32 {
        self.put(value, 1, self.range / u64::from(total.max(1)));
        value
    }

    fn bits(&mut self, value: u64, count: u32) -> u64 {
        let mut left = count;
        while left > 0 {
            let step = left.min(16);
            left -= step;
            let chunk = (value >> left) as u32 & ((1 << step) - 1);
            self.put(chunk, 1, self.range >> step);
        }
        value
    }

    fn chance(&mut self, chance: &mut Chance, yes: bool) -> bool {
        let (split, all) = (chance.yes(), 1 << CHANCE_BITS);
        let (from, size) = if yes {
            (0, split)
        } else {
            (split, all - split)
        };
        self.put(from, size, self.range >> CHANCE_BITS);
        chance.learn(yes);
        yes
    }

    #[inline]
    fn window(&mut self, place: Option<u32>, count: u32) -> Option<u32> {
        let unit = self.range / u64::from(count * WINDOW_SHARE + 1);
        match place {
            Some(place) => self.put(place * WINDOW_SHARE, WINDOW_SHARE, unit),
            None => self.put(count * WINDOW_SHARE, 1, unit),
        }
        place
    }

    #[inline(always)]
    fn near(&mut self, shape: &Shape, low_bits: u32, given: i64) -> Option<i64> {
        let unit = self.range >> (SHAPE_BITS + low_bits);
        match within_reach(given >> low_bits) {
            Some(place) => {
                let (from, size) = shape.span(place);
                let low = given as u32 & ((1 << low_bits) - 1);
                self.put((from << low_bits) + size * low, size, unit);
                Some(given)
            }
            None => {
                let (from, size) = shape.span(ESCAPE);
                self.put(from << low_bits, size << low_bits, unit);
                None
            }
        }
    }
}

/// The place of a quotient in its shape; `None` where it is out of reach.
#[inline(always)]
fn within_reach(quotient: i64) -> Option<usize> {
    let place = quotient.wrapping_add(REACH) as u64;
    (place < ESCAPE as u64).then_some(place as usize)
}

/// Writes nothing and counts the windows that were missed.
#[derive(Debug, Default)]
pub(super) struct Nothing {
    pub(super) windows_missed: u32,
}

impl Pipe for Nothing {
    fn even(&mut self, value: u32, _total: u32) -> u32 {
        value
    }

    fn bits(&mut self, value: u64, _count: u32) -> u64 {
        value
    }

    fn chance(&mut self, _chance: &mut Chance, yes: bool) -> bool {
        yes
    }

    fn window(&mut self, place: Option<u32>, _count: u32) -> Option<u32> {
        self.windows_missed += u32::from(place.is_none());
        place
    }

    fn near(&mut self, _shape: &Shape, low_bits: u32, given: i64) -> Option<i64> {
        within_reach(given >> low_bits).map(|_| given)
    }
}

/// Writes nothing and passes every residual on.
pub(super) struct Observed<'a>(pub(super) &'a mut dyn FnMut(super::Column, i64));

impl Pipe for Observed<'_> {
    fn even(&mut self, value: u32, _total: u32) -> u32 {
        value
    }

    fn bits(&mut self, value: u64, _count: u32) -> u64 {
        value
    }

    fn chance(&mut self, _chance: &mut Chance, yes: bool) -> bool {
        yes
    }

    fn window(&mut self, place: Option<u32>, _count: u32) -> Option<u32> {
        place
    }

    fn near(&mut self, _shape: &Shape, low_bits: u32, given: i64) -> Option<i64> {
        within_reach(given >> low_bits).map(|_| given)
    }

    fn note(&mut self, column: super::Column, residual: i64) {
        (self.0)(column, residual);
    }
}

/// Reads numbers from bytes; behind their end it reads zeros.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Bytes taken so far, counting the zeros behind the end.
    at: usize,
    /// The last eight bytes taken.
    window: u64,
    /// The distance of the wire's number from the writer's `low`.
    code: u64,
    range: u64,
    corrupt: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self {
            bytes,
            at: 0,
            window: 0,
            code: 0,
            range: u64::MAX,
            corrupt: false,
        };
        reader.shift();
        reader.shift();
        reader
    }

    #[inline]
    fn shift(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let word = match rest.first_chunk::<4>() {
            Some(word) => u32::from_be_bytes(*word),
            None => rest
                .iter()
                .chain([0; 4].iter())
                .take(4)
                .fold(0, |w, byte| w << 8 | u32::from(*byte)),
        };
        self.at += 4;
        self.window = self.window << 32 | u64::from(word);
        self.code = self.code << 32 | u64::from(word);
    }

    /// Which of `total` units the code lies in.
    #[inline]
    fn place(&mut self, unit: u64, total: u32) -> u32 {
        let place = self.code / unit.max(1);
        if place >= u64::from(total) {
            self.corrupt = true;
            return total - 1;
        }
        place as u32
    }

    #[inline]
    fn take(&mut self, from: u32, size: u32, unit: u64) {
        self.code = self.code.wrapping_sub(unit.wrapping_mul(u64::from(from)));
        self.range = unit.wrapping_mul(u64::from(size));
        if self.range < RANGE_MIN {
            self.shift();
            // An empty range cannot come from a writer; any other takes its place.
            self.range = (self.range << 32).max(RANGE_MIN);
        }
    }

    /// Whether the bytes end exactly as the writer of these numbers ends them.
    pub(super) fn ended(&self) -> bool {
        let low = self.window.wrapping_sub(self.code);
        let stripped = self.bytes.last().is_none_or(|byte| *byte != 0);
        stripped && self.bytes.len() <= self.at && ending(low, self.range).0 == self.window
    }
}

impl Pipe for Reader<'_> {
    const READS: bool = true;

    fn even(&mut self, _value: u32, total: u32) -> u32 {
        let unit = self.range / u64::from(total.max(1));
        let value = self.place(unit, total.max(1));
        self.take(value, 1, unit);
        value
    }

    fn bits(&mut self, _value: u64, count: u32) -> u64 {
        let mut value = 0;
        let mut left = count;
        while left > 0 {
            let step = left.min(16);
            left -= step;
            let unit = self.range >> step;
            let chunk = self.place(unit, 1 << step);
            self.take(chunk, 1, unit);
            value = value << step | u64::from(chunk);
        }
        value
    }

    fn chance(&mut self, chance: &mut Chance, _yes: bool) -> bool {
        let unit = self.range >> CHANCE_BITS;
        let (split, all) = (chance.yes(), 1 << CHANCE_BITS);
        let yes = self.place(unit, all) < split;
        let (from, size) = if yes {
            (0, split)
        } else {
            (split, all - split)
        };
        self.take(from, size, unit);
        chance.learn(yes);
        yes
    }

    fn window(&mut self, _place: Option<u32>, count: u32) -> Option<u32> {
        let total = count * WINDOW_SHARE + 1;
        let unit = self.range / u64::from(total);
        let place = self.place(unit, total) / WINDOW_SHARE;
        if place < count {
            self.take(place * WINDOW_SHARE, WINDOW_SHARE, unit);
            return Some(place);
        }
        self.take(count * WINDOW_SHARE, 1, unit);
        None
    }

    #[inline(always)]
    fn near(&mut self, shape: &Shape, low_bits: u32, _given: i64) -> Option<i64> {
        let unit = self.range >> (SHAPE_BITS + low_bits);
        let at = self.place(unit, 1 << (SHAPE_BITS + low_bits));
        let place = shape.find(at >> low_bits);
        let (from, size) = shape.span(place);
        if place == ESCAPE {
            self.take(from << low_bits, size << low_bits, unit);
            return None;
        }
        let low = at.wrapping_sub(from << low_bits) / size.max(1);
        self.take((from << low_bits) + size * low, size, unit);
        Some(((place as i64 - REACH) << low_bits) | i64::from(low))
    }

    fn corrupt(&self) -> bool {
        self.corrupt
    }
}
