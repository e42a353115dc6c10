//! The losses of one stream, as the device told them.
//!
//! Promises: no number is in it twice; adjacent losses with the same reason are one; a number that is
//! stored is not in it; an open tail begins behind everything that is stored or explained, and remembers
//! the lowest start that the device named, because that is what the device wants to see acknowledged.
//! Never: widens what is acknowledged by an open tail.

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::SeqRange;
use firmware_shared::message::LossReason;

/// A loss with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedLoss {
    pub(crate) range: SeqRange,
    pub(crate) reason: LossReason,
}

/// Everything from `first_seq` on that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenTail {
    pub(crate) first_seq: u64,
    /// The lowest start that the device named.
    pub(crate) told_first_seq: u64,
    /// At most so many numbers had been issued from `first_seq` on.
    pub(crate) at_most: Option<u64>,
    pub(crate) reason: LossReason,
}

/// All losses of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LossLedger {
    closed: Vec<ClosedLoss>,
    tail: Option<OpenTail>,
}

impl LossLedger {
    /// The ledger as it was stored: closed losses in any order.
    pub(crate) fn restored(mut closed: Vec<ClosedLoss>, tail: Option<OpenTail>) -> Self {
        closed.sort_by_key(|loss| loss.range.first_seq);
        Self { closed, tail }
    }

    pub(crate) fn closed(&self) -> &[ClosedLoss] {
        &self.closed
    }

    pub(crate) fn tail(&self) -> Option<OpenTail> {
        self.tail
    }

    /// Adds a closed loss, except for what is stored or explained; tells whether anything changed.
    pub(crate) fn add(
        &mut self,
        range: SeqRange,
        reason: LossReason,
        have: &UnboundedHaveSet,
    ) -> bool {
        let before = self.clone();
        self.fill(range, reason, have);
        self.push_tail(have);
        *self != before
    }

    /// Adds an open tail; tells whether anything changed.
    pub(crate) fn add_tail(
        &mut self,
        first_seq: u64,
        at_most: Option<u64>,
        reason: LossReason,
        have: &UnboundedHaveSet,
    ) -> bool {
        let before = self.clone();
        let is_known = self
            .tail
            .is_some_and(|tail| tail.told_first_seq <= first_seq);
        if !is_known {
            // A lower start replaces a higher one: the tail begins there, and what is stored closes it.
            self.tail = Some(OpenTail {
                first_seq,
                told_first_seq: first_seq,
                at_most,
                reason,
            });
        }
        self.push_tail(have);
        *self != before
    }

    /// Takes out what has been stored; tells whether anything changed. `have` holds the range already.
    pub(crate) fn trim(&mut self, range: SeqRange, have: &UnboundedHaveSet) -> bool {
        let untouched = self.tail.is_none_or(|tail| range.last_seq < tail.first_seq)
            && !self
                .closed
                .iter()
                .any(|loss| loss.range.intersection(&range).is_some());
        if untouched {
            return false;
        }
        self.closed = self
            .closed
            .iter()
            .flat_map(|loss| split(loss, range))
            .collect();
        self.push_tail(have);
        true
    }

    /// The stored and the explained numbers together: what an acknowledgement covers.
    pub(crate) fn with_stored(&self, have: &UnboundedHaveSet) -> UnboundedHaveSet {
        let mut set = have.clone();
        for loss in &self.closed {
            insert(&mut set, loss.range);
        }
        set
    }

    fn fill(&mut self, range: SeqRange, reason: LossReason, have: &UnboundedHaveSet) {
        let explained = self.with_stored(have);
        let holes: Vec<SeqRange> = explained.missing_in(range).collect();
        for range in holes {
            self.closed.push(ClosedLoss { range, reason });
        }
        self.closed.sort_by_key(|loss| loss.range.first_seq);
        self.closed.dedup_by(|next, previous| {
            let joins =
                previous.reason == next.reason && previous.range.next_seq() == next.range.first_seq;
            if joins {
                previous.range.last_seq = next.range.last_seq;
            }
            joins
        });
    }

    /// Moves the open end behind everything that is stored or explained; what it leaves is lost for the
    /// tail's reason.
    fn push_tail(&mut self, have: &UnboundedHaveSet) {
        let Some(tail) = self.tail else {
            return;
        };
        let next_seq = have
            .next_seq()
            .max(self.closed.last().map_or(0, |loss| loss.range.next_seq()));
        if let Some(passed) = next_seq
            .checked_sub(1)
            .and_then(|last| SeqRange::new(tail.first_seq, last))
        {
            self.fill(passed, tail.reason, have);
            self.tail = Some(OpenTail {
                first_seq: next_seq,
                at_most: tail.at_most.map(|most| most.saturating_sub(passed.count())),
                ..tail
            });
        }
    }
}

/// What remains of a loss without the range.
fn split(loss: &ClosedLoss, range: SeqRange) -> impl Iterator<Item = ClosedLoss> {
    let (first, last) = (loss.range.first_seq, loss.range.last_seq);
    let below = range
        .first_seq
        .checked_sub(1)
        .and_then(|end| SeqRange::new(first, last.min(end)));
    let above = SeqRange::new(first.max(range.next_seq()), last);
    let reason = loss.reason;
    below
        .into_iter()
        .chain(above)
        .map(move |range| ClosedLoss { range, reason })
}

/// An unbounded set takes every range.
pub(crate) fn insert(set: &mut UnboundedHaveSet, range: SeqRange) -> u64 {
    set.insert(range).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: LossReason = LossReason::NotAcceptedBeforeCrash;

    fn range(first_seq: u64, last_seq: u64) -> SeqRange {
        SeqRange::new(first_seq, last_seq).unwrap()
    }

    fn have(ranges: &[(u64, u64)]) -> UnboundedHaveSet {
        let mut set = UnboundedHaveSet::default();
        for (first, last) in ranges {
            insert(&mut set, range(*first, *last));
        }
        set
    }

    fn closed(ledger: &LossLedger) -> Vec<(u64, u64)> {
        ledger
            .closed()
            .iter()
            .map(|loss| (loss.range.first_seq, loss.range.last_seq))
            .collect()
    }

    #[test]
    fn a_loss_leaves_out_what_is_stored_and_joins_its_neighbours() {
        let mut ledger = LossLedger::default();
        let stored = have(&[(3, 4)]);
        assert!(ledger.add(range(0, 6), LossReason::Evicted, &stored));
        assert_eq!(closed(&ledger), [(0, 2), (5, 6)]);
        assert!(ledger.add(range(5, 9), LossReason::Evicted, &stored));
        assert_eq!(closed(&ledger), [(0, 2), (5, 9)]);
        assert!(ledger.add(range(8, 11), LossReason::Corrupt, &stored));
        assert_eq!(closed(&ledger), [(0, 2), (5, 9), (10, 11)]);
        assert!(!ledger.add(range(0, 11), CRASH, &stored));
    }

    #[test]
    fn a_row_that_arrives_later_splits_the_loss() {
        let mut ledger = LossLedger::default();
        ledger.add(range(10, 20), LossReason::Evicted, &have(&[]));
        assert!(ledger.trim(range(14, 15), &have(&[(14, 15)])));
        assert_eq!(closed(&ledger), [(10, 13), (16, 20)]);
        assert!(ledger.trim(range(8, 30), &have(&[(8, 30)])));
        assert_eq!(closed(&ledger), []);
        assert!(!ledger.trim(range(8, 30), &have(&[(8, 30)])));
    }

    #[test]
    fn an_open_tail_explains_nothing_until_something_behind_it_is_stored() {
        let mut ledger = LossLedger::default();
        let stored = have(&[(0, 99)]);
        ledger.add_tail(100, Some(50), CRASH, &stored);
        assert_eq!(ledger.with_stored(&stored).upto(), 100);

        let stored = have(&[(0, 99), (105, 109)]);
        assert!(ledger.trim(range(105, 109), &stored));
        assert_eq!(closed(&ledger), [(100, 104)]);
        let tail = ledger.tail().unwrap();
        assert_eq!((tail.first_seq, tail.told_first_seq), (110, 100));
        assert_eq!(tail.at_most, Some(40));
        assert_eq!(ledger.with_stored(&stored).upto(), 110);
    }

    #[test]
    fn a_tail_told_after_its_rows_keeps_the_start_that_the_device_waits_for() {
        let mut ledger = LossLedger::default();
        let stored = have(&[(0, 109)]);
        ledger.add_tail(100, Some(50), CRASH, &stored);
        let tail = ledger.tail().unwrap();
        assert_eq!((tail.first_seq, tail.told_first_seq), (110, 100));
        assert_eq!(closed(&ledger), []);
        assert!(!ledger.add_tail(104, None, CRASH, &stored));
        assert!(ledger.add_tail(90, None, CRASH, &stored));
        assert_eq!(ledger.tail().unwrap().told_first_seq, 90);
    }
}
