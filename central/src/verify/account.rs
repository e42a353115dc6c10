//! The account of one stream: issued = stored + lost + expired + unexplained.
//!
//! Promises: a function of what was read, and of nothing else. Never: a database.

use std::collections::BTreeMap;

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::SeqRange;

use super::facts::StreamFacts;
use crate::ingest::insert;

/// What became of the numbers of a stream.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) issued: u64,
    pub(super) stored: u64,
    /// Rows beyond the first under one number.
    pub(super) duplicate_keys: u64,
    pub(super) lost: BTreeMap<&'static str, u64>,
    pub(super) expired: u64,
    pub(super) gaps: Vec<SeqRange>,
    /// Stored numbers that the have-set does not know: a resend would be stored twice.
    pub(super) unlisted: u64,
    /// First number of a tail whose length nobody knows, and its bound.
    pub(super) unknown_tail: Option<(u64, Option<u64>)>,
}

/// Draws up the account of a stream.
pub(super) fn account(facts: &StreamFacts) -> Account {
    let stored = &facts.stored;
    let mut account = Account {
        stored: stored.count(),
        duplicate_keys: facts.duplicate_keys,
        unlisted: missing(&facts.have, stored),
        ..Account::default()
    };
    let mut explained = stored.clone();
    account.expired = add(&mut explained, facts.expired.ranges());
    for loss in facts.ledger.closed() {
        let lost = add(&mut explained, &[loss.range]);
        *account.lost.entry(loss.reason.name()).or_default() += lost;
    }
    let reported = facts.reported_next_seq;
    account.issued = reported
        .max(explained.next_seq())
        .max(facts.have.next_seq());
    if let Some(tail) = facts.ledger.tail() {
        let told = reported
            .checked_sub(1)
            .and_then(|last| SeqRange::new(tail.first_seq, last));
        match told {
            Some(range) => {
                let lost = add(&mut explained, &[range]);
                *account.lost.entry(tail.reason.name()).or_default() += lost;
            }
            None => account.unknown_tail = Some((tail.first_seq, tail.at_most)),
        }
    }
    if let Some(all) = SeqRange::from_count(0, account.issued) {
        account.gaps = explained.missing_in(all).collect();
    }
    account
}

/// Adds ranges; tells how many numbers were not there before.
fn add(set: &mut UnboundedHaveSet, ranges: &[SeqRange]) -> u64 {
    ranges.iter().map(|range| insert(set, *range)).sum()
}

/// How many numbers of `wanted` the set lacks.
fn missing(set: &UnboundedHaveSet, wanted: &UnboundedHaveSet) -> u64 {
    wanted
        .ranges()
        .iter()
        .map(|range| range.count() - set.count_in(*range))
        .sum()
}
