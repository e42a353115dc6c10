//! The frames of one lane that are not on the disk.
//!
//! Promises: the order of arrival; a frame stays until its commit is durable, it is acknowledged, or it is
//! written as history. Never: bounds itself (the spool does).

use std::collections::VecDeque;

use firmware_shared::id::{SeqRange, StreamId};

use super::Frame;
use super::lane::Place;

/// A frame in RAM.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) order: u64,
    pub(crate) frame: Frame,
    pub(crate) accepted_ms: u64,
    /// Acknowledged: it stays for a centre that is restored from a backup.
    pub(crate) is_done: bool,
    /// Where it was written; not durable yet.
    pub(crate) written: Option<Place>,
}

/// Frames in RAM, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    frames: VecDeque<Queued>,
    next_order: u64,
    bytes: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, frame: Frame, accepted_ms: u64) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.bytes += frame.bytes.len() as u64;
        self.frames.push_back(Queued {
            order,
            frame,
            accepted_ms,
            is_done: false,
            written: None,
        });
        order
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.frames.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Queued> {
        self.frames.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of all frames.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The order of the oldest frame; of the next one when there is none.
    pub(crate) fn first_order(&self) -> u64 {
        self.frames.front().map_or(self.next_order, |f| f.order)
    }

    pub(crate) fn get(&self, order: u64) -> Option<&Queued> {
        let index = self.frames.binary_search_by_key(&order, |f| f.order);
        self.frames.get(index.ok()?)
    }

    /// The first frame at or behind this order.
    pub(crate) fn from(&self, order: u64) -> Option<&Queued> {
        let index = self.frames.partition_point(|f| f.order < order);
        self.frames.get(index)
    }

    pub(crate) fn find(&self, id: StreamId, range: SeqRange) -> Option<u64> {
        let same = |f: &&Queued| f.frame.range == range && f.frame.stream == id;
        self.frames.iter().find(same).map(|f| f.order)
    }

    pub(crate) fn ranges_of(&self, id: StreamId) -> impl Iterator<Item = SeqRange> + '_ {
        let of_stream = move |f: &&Queued| f.frame.stream == id;
        self.frames.iter().filter(of_stream).map(|f| f.frame.range)
    }

    pub(crate) fn pop_front(&mut self) -> Option<Queued> {
        let gone = self.frames.pop_front()?;
        self.bytes -= gone.frame.bytes.len() as u64;
        Some(gone)
    }

    /// Lets go of the frames for which `goes` holds.
    pub(crate) fn remove_if(&mut self, mut goes: impl FnMut(&Queued) -> bool) {
        let bytes = &mut self.bytes;
        self.frames.retain(|f| {
            let gone = goes(f);
            if gone {
                *bytes -= f.frame.bytes.len() as u64;
            }
            !gone
        });
    }

    /// When the oldest frame that is not acknowledged came in.
    pub(crate) fn oldest_open_ms(&self) -> Option<u64> {
        let mut open = self.frames.iter().filter(|f| !f.is_done);
        open.next().map(|f| f.accepted_ms)
    }

    /// Bytes of the acknowledged frames before the first that is not.
    pub(crate) fn history_len(&self) -> u64 {
        let done = self.frames.iter().take_while(|f| f.is_done);
        done.map(|f| f.frame.bytes.len() as u64).sum()
    }
}
