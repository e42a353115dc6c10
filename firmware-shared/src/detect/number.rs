//! Comparisons of numbers in one instruction each, without a branch.
//!
//! Promises: of a number and a NaN the one that was known stays. The comparisons of the standard library look for
//! a NaN in both places, which costs five times as much and helps nobody here. Never: panics.

/// The larger one.
pub(super) const fn larger(known: f32, new: f32) -> f32 {
    if new > known { new } else { known }
}

/// The smaller one.
pub(super) const fn smaller(known: f32, new: f32) -> f32 {
    if new < known { new } else { known }
}

/// The largest of numbers that are not negative; 0 of none.
pub(super) fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().copied().fold(0.0, larger)
}
