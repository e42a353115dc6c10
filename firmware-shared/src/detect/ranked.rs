//! A ring whose numbers are kept in order, too.
//!
//! Promises: any quantile at once; a number comes in without a search that the processor cannot foresee. Never:
//! allocates, panics.

use serde::{Deserialize, Serialize};

use super::ring::Ring;

/// The newest `N` numbers of a stream, and their places in the ring, that of the smallest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ranked<const N: usize> {
    ring: Ring<N>,
    order: heapless::Vec<u8, N, u8>,
}

impl<const N: usize> Ranked<N> {
    pub(super) const fn new() -> Self {
        Self {
            ring: Ring::new(),
            order: heapless::Vec::new(),
        }
    }

    /// The ring.
    pub(super) fn ring(&self) -> &Ring<N> {
        &self.ring
    }

    /// What is no finite number has no place in an order and is left out.
    pub(super) fn push(&mut self, value: f32) {
        if !value.is_finite() {
            return;
        }
        let mut rank = self.ring.smaller_than(value);
        let mut place = self.ring.len() as u8;
        if let Some((oldest, was)) = self.ring.oldest() {
            place = oldest;
            rank -= usize::from(was < value);
            if let Some(at) = self.order.iter().position(|known| *known == oldest) {
                self.order.remove(at);
            }
        }
        self.ring.push(value);
        // The oldest made room; a rank is at most the count of the others.
        let _fits = self.order.insert(rank.min(self.order.len()), place);
    }

    /// The number below which this share lies; 0 of none.
    pub(super) fn quantile(&self, share: f32) -> f32 {
        let len = self.order.len();
        let at = ((len as f32 * share) as usize).min(len.saturating_sub(1));
        let place = self.order.get(at);
        place.and_then(|place| self.ring.at(*place)).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_that_of_the_newest_in_order() {
        let mut ranked = Ranked::<72>::new();
        let (mut all, mut random) = (heapless::Vec::<f32, 300>::new(), 1_u32);
        for kinds in [3, 7, 1000] {
            for _ in 0..100 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = ((random >> 16) % kinds) as f32;
                ranked.push(value);
                all.push(value).expect("room for all");
                let from = all.len().saturating_sub(72);
                let newest = all.get(from..).unwrap_or(&[]);
                let mut sorted: heapless::Vec<f32, 72> = newest.iter().copied().collect();
                sorted.sort_unstable_by(f32::total_cmp);
                for share in [0.0, 0.1, 0.35, 0.5, 0.99, 1.0] {
                    let at = ((sorted.len() as f32 * share) as usize).min(sorted.len() - 1);
                    assert_eq!(Some(ranked.quantile(share)), sorted.get(at).copied());
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut ranked = Ranked::<5>::new();
        assert_eq!(ranked.quantile(0.5), 0.0);
        for value in [
            1.0,
            f32::NAN,
            2.0,
            f32::NAN,
            f32::INFINITY,
            0.0,
            3.0,
            f32::NAN,
        ] {
            ranked.push(value);
        }
        (0..5).for_each(|value| ranked.push(value as f32));
        assert_eq!(ranked.quantile(0.5), 2.0);
    }
}
