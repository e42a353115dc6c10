//! A ring of the newest `N` numbers.
//!
//! Promises: constant size, oldest out first, `back(0)` is the newest. Never: allocates, panics.

use serde::{Deserialize, Serialize};

/// The newest `N` numbers of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ring<const N: usize> {
    items: heapless::Vec<f32, N, u8>,
    newest: u8,
}

impl<const N: usize> Ring<N> {
    pub(super) const fn new() -> Self {
        const { assert!(N <= u8::MAX as usize, "places are counted in a byte") };
        Self {
            items: heapless::Vec::new(),
            newest: 0,
        }
    }

    pub(super) fn push(&mut self, value: f32) {
        if let Some(oldest) = self.advance() {
            *oldest = value;
        } else {
            // There is room, or `advance` had found the oldest.
            let _fits = self.items.push(value);
        }
    }

    /// The place of the newest, when that of the oldest has to be taken for it.
    fn advance(&mut self) -> Option<&mut f32> {
        if self.items.is_full() {
            let next = usize::from(self.newest) + 1;
            self.newest = if next == N { 0 } else { next as u8 };
            return self.items.get_mut(usize::from(self.newest));
        }
        self.newest = self.items.len() as u8;
        None
    }

    /// The number `age` places before the newest.
    pub(super) fn back(&self, age: usize) -> Option<f32> {
        let len = self.items.len();
        if age >= len {
            return None;
        }
        let newest = usize::from(self.newest);
        let around = if newest >= age { 0 } else { len };
        self.items.get(newest + around - age).copied()
    }

    /// The number that the next one will be put in the place of, and its place.
    pub(super) fn oldest(&self) -> Option<(u8, f32)> {
        let next = usize::from(self.newest) + 1;
        let next = if next == N { 0 } else { next };
        let full = self.items.is_full();
        self.items
            .get(next)
            .filter(|_| full)
            .map(|oldest| (next as u8, *oldest))
    }

    /// The number at a place.
    pub(super) fn at(&self, place: u8) -> Option<f32> {
        self.items.get(usize::from(place)).copied()
    }

    /// How many are smaller than this one.
    pub(super) fn smaller_than(&self, value: f32) -> usize {
        self.items
            .iter()
            .map(|item| u32::from(*item < value))
            .sum::<u32>() as usize
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.newest = 0;
    }

    /// The newest `count`, in two pieces: the newest run, and what lies behind the wrap.
    fn newest(&self, count: usize) -> (&[f32], &[f32]) {
        let len = self.items.len();
        let count = count.min(len);
        let end = (usize::from(self.newest) + 1).min(len);
        let recent = count.min(end);
        let recent_run = self.items.get(end - recent..end).unwrap_or(&[]);
        let wrapped = self.items.get(len - (count - recent)..).unwrap_or(&[]);
        (recent_run, wrapped)
    }

    /// Whether the newest lies at the ring's first place: once in `N` numbers.
    pub(super) fn is_at_start(&self) -> bool {
        self.newest == 0
    }

    /// The sum of the newest `count`; of all when there are fewer.
    pub(super) fn sum(&self, count: usize) -> f32 {
        let (recent, wrapped) = self.newest(count);
        recent.iter().sum::<f32>() + wrapped.iter().sum::<f32>()
    }

    /// All numbers, the newest last, in one piece.
    pub(super) fn in_order<'a>(&self, room: &'a mut [f32; N]) -> &'a [f32] {
        let (recent, wrapped) = self.newest(N);
        if let Some(older) = room.get_mut(..wrapped.len()) {
            older.copy_from_slice(wrapped);
        }
        let len = wrapped.len() + recent.len();
        if let Some(newer) = room.get_mut(wrapped.len()..len) {
            newer.copy_from_slice(recent);
        }
        room.get(..len).unwrap_or(&[])
    }
}
