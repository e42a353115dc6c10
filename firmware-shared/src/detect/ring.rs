//! A ring of the newest `N` numbers.
//!
//! Promises: constant size, oldest out first, `back(0)` is the newest. Never: allocates, panics.

use serde::{Deserialize, Serialize};

/// The newest `N` numbers of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ring<const N: usize> {
    items: heapless::Vec<f32, N>,
    next: u16,
}

impl<const N: usize> Ring<N> {
    pub(super) const fn new() -> Self {
        Self {
            items: heapless::Vec::new(),
            next: 0,
        }
    }

    pub(super) fn push(&mut self, value: f32) {
        if self.items.push(value).is_ok() {
            return;
        }
        let at = usize::from(self.next);
        if let Some(slot) = self.items.get_mut(at) {
            *slot = value;
        }
        self.next = if at + 1 >= N { 0 } else { self.next + 1 };
    }

    /// The number `age` places before the newest.
    pub(super) fn back(&self, age: usize) -> Option<f32> {
        let len = self.items.len();
        if age >= len {
            return None;
        }
        // While it fills, `next` is 0 and the newest is the last one.
        let newest = if self.next == 0 {
            len - 1
        } else {
            usize::from(self.next) - 1
        };
        let at = if newest >= age {
            newest - age
        } else {
            newest + len - age
        };
        self.items.get(at).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.next = 0;
    }

    /// The mean of the newest `count`; of all when there are fewer; 0 when there is none.
    pub(super) fn mean(&self, count: usize) -> f32 {
        let count = count.min(self.len());
        if count == 0 {
            return 0.0;
        }
        let mut sum = 0.0;
        if count == self.len() {
            sum = self.items.iter().sum();
        } else {
            for age in 0..count {
                sum += self.back(age).unwrap_or(0.0);
            }
        }
        sum / count as f32
    }

    /// The number below which `share` of the newest `count` lie.
    pub(super) fn quantile(&self, count: usize, share: f32) -> Option<f32> {
        let count = count.min(self.len());
        let mut sorted = heapless::Vec::<f32, N>::new();
        for age in 0..count {
            sorted.push(self.back(age)?).ok()?;
        }
        let at = ((count as f32 * share) as usize).min(count.checked_sub(1)?);
        let (_, found, _) = sorted.select_nth_unstable_by(at, f32::total_cmp);
        Some(*found)
    }
}
