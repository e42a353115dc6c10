//! Sets of numbers on a machine with a heap.

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::SeqRange;

/// A set that holds any number of ranges.
pub(crate) type Numbers = UnboundedHaveSet;

/// Adds a range; how many numbers were missing before. A set without an upper bound is never full.
pub(crate) fn add(set: &mut Numbers, range: SeqRange) -> u64 {
    set.insert(range).unwrap_or(0)
}
