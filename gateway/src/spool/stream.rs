//! One lane of one epoch: which of its numbers are known, acknowledged, lost.
//!
//! Promises: an acknowledgement only adds, except for an answer that replaces what was known as far as it
//! reaches; what is acknowledged leaves the ledger. Never: forgets why a number is lost.

use firmware_shared::id::SeqRange;
use firmware_shared::message::{ACK_RANGES_MAX, AckEntry};
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::numbers::{self, Numbers};

/// The unknown tail of a crashed epoch's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// The first number of which nothing is known.
    pub(crate) first_seq: u64,
    /// How many may have been issued at most.
    pub(crate) at_most: u64,
    /// Whether the centre has written it down.
    pub(crate) acked: bool,
}

/// One lane of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stream {
    /// What the sequencer has issued, as far as it said; only grows while the epoch runs.
    pub(crate) issued_next_seq: u64,
    /// One more than the highest number that is durable or acknowledged.
    pub(crate) known_next_seq: u64,
    /// What the centre has.
    pub(crate) acked: Numbers,
    /// What will never come.
    pub(crate) losses: Ledger,
    /// The open end after a crash.
    pub(crate) tail: Option<Tail>,
    /// Refused by the centre because it has other bytes under the same numbers. Not persisted: the
    /// next process hears it again.
    pub(crate) clashed: Numbers,
}

impl Stream {
    /// Whether nothing of these numbers is left to be sent.
    pub(crate) fn is_done(&self, range: SeqRange) -> bool {
        self.acked.count_in(range) == range.count()
            || self.losses.covers(range)
            || (self.acked.count_in(range) > 0
                && self.acked.missing_in(range).all(|r| self.losses.covers(r)))
    }

    /// The numbers below `known_next_seq` that are neither acknowledged nor lost.
    pub(crate) fn open(&self) -> Vec<SeqRange> {
        let Some(all) = SeqRange::from_count(0, self.known_next_seq) else {
            return Vec::new();
        };
        let lost = self.losses.numbers();
        let unacked = self.acked.missing_in(all);
        unacked
            .flat_map(|r| lost.missing_in(r).collect::<Vec<_>>())
            .collect()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.acked.upto() >= self.known_next_seq
            && self.losses.entries().is_empty()
            && self.tail.is_none_or(|tail| tail.acked)
    }

    /// Acknowledges a range; how many numbers that adds.
    pub(crate) fn take(&mut self, range: SeqRange) -> u64 {
        let added = numbers::add(&mut self.acked, range);
        self.losses.settle(&self.acked);
        added
    }

    /// What is acknowledged and was issued here is known, too.
    pub(crate) fn note_acked(&mut self) {
        let acked_next_seq = self.acked.next_seq().min(self.issued_next_seq);
        self.known_next_seq = self.known_next_seq.max(acked_next_seq);
        if let Some(tail) = &mut self.tail {
            // What was acknowledged from RAM left no trace here: the tail begins behind it.
            tail.first_seq = tail.first_seq.max(self.acked.upto());
            self.known_next_seq = self.known_next_seq.max(tail.first_seq);
            self.issued_next_seq = self.issued_next_seq.max(tail.first_seq);
        }
    }

    /// The centre has other bytes under these numbers.
    pub(crate) fn clash(&mut self, range: SeqRange) {
        numbers::add(&mut self.clashed, range);
    }

    /// Takes what the centre said in addition to what is known; whether anything changed.
    pub(crate) fn advance(&mut self, entry: &AckEntry) -> bool {
        let mut changed = false;
        for range in entry.acknowledged() {
            changed |= numbers::add(&mut self.acked, range) > 0;
        }
        changed |= self.losses.settle(&self.acked);
        if let Some(tail) = &mut self.tail
            && entry.tail_from.is_some_and(|from| from <= tail.first_seq)
        {
            changed |= !tail.acked;
            tail.acked = true;
        }
        changed
    }

    /// Takes what the centre said as the whole truth, as far as it reaches; what it no longer has.
    pub(crate) fn rewind(&mut self, entry: &AckEntry) -> Vec<SeqRange> {
        let mut said = Numbers::default();
        for range in entry.acknowledged() {
            numbers::add(&mut said, range);
        }
        // A full list of ranges says nothing about what lies above it.
        let full = entry.ranges.len() >= ACK_RANGES_MAX;
        let said_below = if full { said.next_seq() } else { u64::MAX };
        let mut gone = Vec::new();
        for held in self.acked.ranges().to_vec() {
            let reach = said_below.min(self.known_next_seq).min(held.next_seq());
            let below = reach
                .checked_sub(1)
                .and_then(|last| SeqRange::new(held.first_seq, last));
            gone.extend(below.iter().flat_map(|r| said.missing_in(*r)));
            let above = SeqRange::new(held.first_seq.max(said_below), held.last_seq);
            if let Some(above) = above {
                numbers::add(&mut said, above);
            }
        }
        self.acked = said;
        self.losses.settle(&self.acked);
        if let Some(tail) = &mut self.tail {
            tail.acked = entry.tail_from.is_some_and(|from| from <= tail.first_seq);
        }
        gone
    }
}
