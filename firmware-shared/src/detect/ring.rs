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

    /// The newest `count`, in two pieces: the newest run, and what lies behind the wrap.
    fn newest(&self, count: usize) -> (&[f32], &[f32]) {
        let len = self.items.len();
        let count = count.min(len);
        let end = if self.next == 0 {
            len
        } else {
            usize::from(self.next)
        };
        let recent = count.min(end);
        let recent_run = self.items.get(end - recent..end).unwrap_or(&[]);
        let wrapped = self.items.get(len - (count - recent)..).unwrap_or(&[]);
        (recent_run, wrapped)
    }

    /// The mean of the newest `count`; of all when there are fewer; 0 when there is none.
    pub(super) fn mean(&self, count: usize) -> f32 {
        let (recent, wrapped) = self.newest(count);
        let len = recent.len() + wrapped.len();
        if len == 0 {
            return 0.0;
        }
        (recent.iter().sum::<f32>() + wrapped.iter().sum::<f32>()) / len as f32
    }

    /// The one of the newest `count` that has `rank` smaller ones, for ranks up to 3.
    pub(super) fn low(&self, count: usize, rank: usize) -> Option<f32> {
        let (recent, wrapped) = self.newest(count);
        if rank == 0 {
            let all = recent.iter().chain(wrapped).copied();
            return all.reduce(f32::min);
        }
        let mut least = [f32::MAX; 4];
        for value in recent.iter().chain(wrapped) {
            let mut carried = *value;
            if carried >= least[3] {
                continue;
            }
            for slot in &mut least {
                if carried < *slot {
                    core::mem::swap(&mut carried, slot);
                }
            }
        }
        least
            .get(rank)
            .copied()
            .filter(|_| recent.len() + wrapped.len() > rank)
    }

    /// The numbers below which these shares, largest first, of the newest `count` lie.
    pub(super) fn quantiles<const Q: usize>(&self, count: usize, shares: [f32; Q]) -> [f32; Q] {
        let (recent, wrapped) = self.newest(count);
        let mut sorted = heapless::Vec::<f32, N>::new();
        // Both pieces together are at most as long as the ring.
        let _fits = sorted
            .extend_from_slice(recent)
            .and(sorted.extend_from_slice(wrapped));
        let len = sorted.len();
        // Descending shares: each search is in what the one before left below it.
        let mut end = len;
        shares.map(|share| {
            let at = ((len as f32 * share) as usize).min(len.saturating_sub(1));
            let below = sorted.get_mut(..end).filter(|below| at < below.len());
            let found = below.map(|below| *below.select_nth_unstable_by(at, f32::total_cmp).1);
            end = at + 1;
            found.unwrap_or(0.0)
        })
    }
}
