//! The loss ledger of one stream: which numbers will never come, and why.
//!
//! Promises: adjacent ranges with the same reason are one entry; a number stands in at most one entry (the
//! first reason holds); an entry stays until an acknowledgement covers it. Never: evicts an entry.

use firmware_shared::id::SeqRange;
use firmware_shared::message::LossReason;

use serde::{Deserialize, Serialize};

use super::numbers::{self, Numbers};

/// Closed ranges with a reason each, lowest first, disjoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    entries: Vec<(SeqRange, LossReason)>,
}

impl Ledger {
    /// The entries, lowest first.
    pub(crate) fn entries(&self) -> &[(SeqRange, LossReason)] {
        &self.entries
    }

    /// Writes down the numbers of the range that are in no entry yet; how many those were.
    pub(crate) fn add(&mut self, range: SeqRange, reason: LossReason) -> u64 {
        let fresh: Vec<SeqRange> = self.numbers().missing_in(range).collect();
        let count = fresh.iter().map(SeqRange::count).sum();
        if count > 0 {
            self.entries.extend(fresh.into_iter().map(|r| (r, reason)));
            self.entries.sort_by_key(|(r, _)| r.first_seq);
            self.entries.dedup_by(|next, held| merge(held, next));
        }
        count
    }

    /// Takes out what the acknowledgement covers; whether anything changed.
    pub(crate) fn settle(&mut self, acked: &Numbers) -> bool {
        let before = self.entries.len();
        let mut changed = false;
        let mut rest = Vec::with_capacity(before);
        for (range, reason) in &self.entries {
            changed |= acked.count_in(*range) > 0;
            rest.extend(acked.missing_in(*range).map(|open| (open, *reason)));
        }
        self.entries = rest;
        changed
    }

    /// Whether every number of the range is lost.
    pub(crate) fn covers(&self, range: SeqRange) -> bool {
        let start = self
            .entries
            .partition_point(|(held, _)| held.last_seq < range.first_seq);
        let touching = self.entries.iter().skip(start);
        let covered: u64 = touching
            .map_while(|(held, _)| held.intersection(&range))
            .map(|both| both.count())
            .sum();
        covered == range.count()
    }

    /// The numbers without their reasons.
    pub(crate) fn numbers(&self) -> Numbers {
        let mut set = Numbers::default();
        for (range, _) in &self.entries {
            numbers::add(&mut set, *range);
        }
        set
    }
}

/// Joins `next` to `held` when they touch and share their reason.
fn merge(held: &mut (SeqRange, LossReason), next: &mut (SeqRange, LossReason)) -> bool {
    let joins = held.1 == next.1 && held.0.next_seq() == next.0.first_seq;
    if joins {
        held.0.last_seq = next.0.last_seq;
    }
    joins
}
