//! Which numbers of one stream somebody has.
//!
//! Promises: whatever the order, the repetitions and the restarts, the set equals the union of what was
//! inserted; ranges stay sorted, disjoint and merged when adjacent; an insert that does not fit changes
//! nothing and says so. Never: forgets a number, counts one twice, loops longer than the ranges it holds.
//!
//! [`HaveSet`] works over any [`RangeList`]: [`BoundedHaveSet`] for machines without a heap,
//! [`UnboundedHaveSet`] (feature `alloc`) for the centre.

use crate::id::SeqRange;

/// Sorted storage for ranges.
pub trait RangeList: Default {
    /// The ranges, lowest first.
    fn as_slice(&self) -> &[SeqRange];
    /// Replaces the ranges from `start` up to, not including, `end` by `range`. Fails, and changes
    /// nothing, when one more range does not fit.
    ///
    /// # Errors
    /// [`Full`] when the list holds as many ranges as it can.
    fn splice(&mut self, start: usize, end: usize, range: SeqRange) -> Result<(), Full>;
}

/// The list holds as many ranges as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the have-set holds as many ranges as it can")
    }
}

impl core::error::Error for Full {}

impl<const N: usize> RangeList for heapless::Vec<SeqRange, N> {
    fn as_slice(&self) -> &[SeqRange] {
        self
    }

    fn splice(&mut self, start: usize, end: usize, range: SeqRange) -> Result<(), Full> {
        if start == end {
            return self.insert(start, range).map_err(|_| Full);
        }
        if let Some(slot) = self.get_mut(start) {
            *slot = range;
        }
        for _ in start + 1..end {
            self.remove(start + 1);
        }
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl RangeList for alloc::vec::Vec<SeqRange> {
    fn as_slice(&self) -> &[SeqRange] {
        self
    }

    fn splice(&mut self, start: usize, end: usize, range: SeqRange) -> Result<(), Full> {
        drop(self.splice(start..end, core::iter::once(range)));
        Ok(())
    }
}

/// A set of numbers of one stream, as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaveSet<L> {
    list: L,
}

/// A have-set of at most `N` ranges, without a heap.
pub type BoundedHaveSet<const N: usize> = HaveSet<heapless::Vec<SeqRange, N>>;

/// A have-set without an upper bound.
#[cfg(feature = "alloc")]
pub type UnboundedHaveSet = HaveSet<alloc::vec::Vec<SeqRange>>;

impl<L: RangeList> HaveSet<L> {
    /// Adds the range and tells how many numbers were missing before.
    ///
    /// # Errors
    /// [`Full`] when the set would need one range more than it can hold; it is unchanged.
    pub fn insert(&mut self, range: SeqRange) -> Result<u64, Full> {
        let ranges = self.list.as_slice();
        // The first range that touches or follows ours, and the first that lies clear behind it.
        let start = ranges.partition_point(|r| r.next_seq() < range.first_seq);
        let end = ranges.partition_point(|r| r.first_seq <= range.next_seq());
        let touched = ranges.get(start..end).unwrap_or_default();
        let held: u64 = touched
            .iter()
            .filter_map(|r| r.intersection(&range))
            .map(|r| r.count())
            .sum();
        let merged = SeqRange {
            first_seq: touched
                .first()
                .map_or(range.first_seq, |r| r.first_seq.min(range.first_seq)),
            last_seq: touched
                .last()
                .map_or(range.last_seq, |r| r.last_seq.max(range.last_seq)),
        };
        self.list.splice(start, end, merged)?;
        Ok(range.count() - held)
    }

    /// Adds every number below `next_seq`.
    ///
    /// # Errors
    /// As [`HaveSet::insert`].
    pub fn insert_below(&mut self, next_seq: u64) -> Result<u64, Full> {
        SeqRange::from_count(0, next_seq).map_or(Ok(0), |range| self.insert(range))
    }

    /// The ranges, lowest first, disjoint and not adjacent.
    #[must_use]
    pub fn ranges(&self) -> &[SeqRange] {
        self.list.as_slice()
    }

    /// The lowest number that is missing: everything below is held.
    #[must_use]
    pub fn upto(&self) -> u64 {
        match self.ranges().first() {
            Some(range) if range.first_seq == 0 => range.next_seq(),
            _ => 0,
        }
    }

    /// The ranges above the first hole.
    #[must_use]
    pub fn ranges_above_upto(&self) -> &[SeqRange] {
        match self.ranges() {
            [first, rest @ ..] if first.first_seq == 0 => rest,
            all => all,
        }
    }

    /// One more than the highest number held; 0 when there is none.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.ranges().last().map_or(0, SeqRange::next_seq)
    }

    /// How many numbers are held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges().iter().map(SeqRange::count).sum()
    }

    /// Whether the number is held.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        let ranges = self.ranges();
        let at = ranges.partition_point(|r| r.last_seq < seq);
        ranges.get(at).is_some_and(|r| r.contains(seq))
    }

    /// How many numbers of the range are held.
    #[must_use]
    pub fn count_in(&self, range: SeqRange) -> u64 {
        self.overlapping(range)
            .filter_map(|r| r.intersection(&range))
            .map(|r| r.count())
            .sum()
    }

    /// The holes inside the range, lowest first.
    pub fn missing_in(&self, range: SeqRange) -> impl Iterator<Item = SeqRange> + '_ {
        let mut from_seq = Some(range.first_seq);
        let mut held = self.overlapping(range);
        core::iter::from_fn(move || {
            loop {
                let first_seq = from_seq?;
                let Some(next) = held.next() else {
                    from_seq = None;
                    return SeqRange::new(first_seq, range.last_seq);
                };
                from_seq = Some(next.next_seq()).filter(|seq| *seq <= range.last_seq);
                if let Some(before) = next.first_seq.checked_sub(1)
                    && let Some(hole) = SeqRange::new(first_seq, before)
                {
                    return Some(hole);
                }
            }
        })
    }

    fn overlapping(&self, range: SeqRange) -> impl Iterator<Item = &SeqRange> + '_ {
        let ranges = self.ranges();
        let start = ranges.partition_point(|r| r.last_seq < range.first_seq);
        ranges
            .iter()
            .skip(start)
            .take_while(move |r| r.first_seq <= range.last_seq)
    }
}

#[cfg(test)]
mod tests;
