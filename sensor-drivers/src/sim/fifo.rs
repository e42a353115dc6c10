//! The receiver's output buffer.
//!
//! Promises: at most 4096 bytes; the oldest message makes room, whole, or what is left of it
//! when a part was read already. Never: an epoch reported as handed out when a byte of it was
//! dropped.

use std::collections::VecDeque;

use crate::sim::truth::EpochTruth;
use crate::ublox::BUFFER_LEN;

/// A message, or a burst that belongs together.
#[derive(Debug)]
pub(super) struct Item {
    bytes: Vec<u8>,
    read_len: usize,
    /// The epoch that is complete with the last byte.
    pub(super) epoch: Option<EpochTruth>,
}

impl Item {
    pub(super) fn new(bytes: &[u8], epoch: Option<EpochTruth>) -> Self {
        Self {
            bytes: bytes.to_vec(),
            read_len: 0,
            epoch,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.read_len
    }
}

#[derive(Debug, Default)]
pub(super) struct Fifo {
    items: VecDeque<Item>,
    len: usize,
}

impl Fifo {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has_room(&self, len: usize) -> bool {
        // A burst above the whole buffer must not wait for ever.
        self.len == 0 || self.len + len <= BUFFER_LEN
    }

    pub(super) fn push(&mut self, item: Item) {
        if item.len() == 0 {
            return;
        }
        self.len += item.len();
        self.items.push_back(item);
        while self.len > BUFFER_LEN {
            let Some(oldest) = self.items.pop_front() else {
                break;
            };
            self.len -= oldest.len();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next byte, with the epoch that it completes.
    pub(super) fn pop(&mut self) -> Option<(u8, Option<EpochTruth>)> {
        let item = self.items.front_mut()?;
        let byte = item.bytes.get(item.read_len).copied()?;
        item.read_len += 1;
        self.len -= 1;
        if item.len() > 0 {
            return Some((byte, None));
        }
        let epoch = self.items.pop_front().and_then(|item| item.epoch);
        Some((byte, epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(n: u64) -> Option<EpochTruth> {
        Some(EpochTruth {
            n,
            label: None,
            position: None,
        })
    }

    #[test]
    fn the_oldest_message_makes_room_even_when_half_of_it_was_read() {
        let mut fifo = Fifo::default();
        for n in 0..4 {
            fifo.push(Item::new(&[n; 1024], epoch(u64::from(n))));
        }
        assert_eq!(
            (fifo.len(), fifo.pop().map(|(byte, _)| byte)),
            (4096, Some(0))
        );
        fifo.push(Item::new(&[4; 2], epoch(4)));
        assert_eq!(fifo.len(), 3 * 1024 + 2);
        let mut epochs = Vec::new();
        let mut bytes = Vec::new();
        while let Some((byte, epoch)) = fifo.pop() {
            bytes.push(byte);
            epochs.extend(epoch.map(|epoch| epoch.n));
        }
        assert_eq!(epochs, [1, 2, 3, 4]);
        assert_eq!((bytes.len(), bytes[0]), (3 * 1024 + 2, 1));
    }
}
