//! The detector's hard properties: causal, restorable, without a heap, the same at any scale, awake after
//! millions of readings, not taught by what is no reading.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod reefer;

mod faults;
mod heap;
mod hostile;
mod regular;
mod replay;
mod soak;

use firmware_shared::detect::{Detector, Input, Verdict};

use reefer::{MINUTE_MS, START_MS};

/// All verdicts on one value a minute.
pub(crate) fn verdicts<const M: usize, const P: usize, const T: usize, const B: usize>(
    detector: &mut Detector<M, P, T, B>,
    from: usize,
    values: &[f64],
) -> Vec<Verdict> {
    let at = |i: usize| START_MS + MINUTE_MS * (from + i) as u64;
    values
        .iter()
        .enumerate()
        .map(|(i, x)| detector.step(at(i), &Input::value(*x)))
        .collect()
}
