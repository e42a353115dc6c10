//! The account of one stream: issued = stored + lost + expired + unexplained.

use std::collections::BTreeMap;

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{Lane, SeqRange};
use rusqlite::Connection;

use crate::ingest::{StreamKey, insert};
use crate::sqlite::{self, unsigned};

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
pub(super) fn account(connection: &Connection, key: &StreamKey) -> rusqlite::Result<Account> {
    let mut account = Account::default();
    let stored = stored(connection, key, &mut account.duplicate_keys)?;
    let have = sqlite::have_set(connection, key)?;
    let expired = ranges(connection, "expired", key)?;
    let ledger = sqlite::ledger(connection, key)?;
    let reported = reported_next_seq(connection, key)?;

    account.stored = stored.count();
    account.unlisted = missing(&have, &stored);
    let mut explained = stored.clone();
    account.expired = add(&mut explained, expired.ranges());
    for loss in ledger.closed() {
        let lost = add(&mut explained, &[loss.range]);
        *account.lost.entry(loss.reason.name()).or_default() += lost;
    }
    account.issued = reported.max(explained.next_seq()).max(have.next_seq());
    if let Some(tail) = ledger.tail() {
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
    Ok(account)
}

/// Numbers that have a row, an alert, a raw frame or, for frames without rows, their frame.
fn stored(
    connection: &Connection,
    key: &StreamKey,
    duplicates: &mut u64,
) -> rusqlite::Result<UnboundedHaveSet> {
    let mut set = ranges(
        connection,
        "(SELECT device, epoch, lane, first_seq, first_seq + count - 1 AS last_seq FROM raw_batches
          UNION ALL
          SELECT device, epoch, lane, first_seq, first_seq + count - 1 FROM batches WHERE codec = 2)",
        key,
    )?;
    let (device, epoch, lane) = sqlite::key_params(key);
    match key.stream.lane {
        Lane::Alert => {
            let mut statement = connection.prepare_cached(
                "SELECT seq FROM alerts WHERE device = ?1 AND epoch = ?2 ORDER BY seq",
            )?;
            collect(statement.query((device, epoch))?, &mut set, duplicates)?;
        }
        Lane::Telemetry | Lane::Health => {
            let mut statement = connection.prepare_cached(
                "SELECT r.seq FROM reading AS r JOIN streams AS s ON s.stream = r.stream
                 WHERE s.device = ?1 AND s.epoch = ?2 AND s.lane = ?3 ORDER BY r.seq",
            )?;
            collect(
                statement.query((device, epoch, lane))?,
                &mut set,
                duplicates,
            )?;
        }
    }
    Ok(set)
}

/// Adds rising numbers, run by run.
fn collect(
    mut rows: rusqlite::Rows<'_>,
    set: &mut UnboundedHaveSet,
    duplicates: &mut u64,
) -> rusqlite::Result<()> {
    let mut run: Option<SeqRange> = None;
    while let Some(row) = rows.next()? {
        let seq = unsigned(row, 0)?;
        run = match run {
            Some(mut range) if range.next_seq() == seq => {
                range.last_seq = seq;
                Some(range)
            }
            Some(range) if range.last_seq == seq => {
                *duplicates += 1;
                Some(range)
            }
            other => {
                *duplicates += other.map_or(0, |range| take(set, range));
                SeqRange::new(seq, seq)
            }
        };
    }
    *duplicates += run.map_or(0, |range| take(set, range));
    Ok(())
}

/// Adds a run; tells how many of its numbers were there already.
fn take(set: &mut UnboundedHaveSet, range: SeqRange) -> u64 {
    range.count() - insert(set, range)
}

fn ranges(
    connection: &Connection,
    source: &str,
    key: &StreamKey,
) -> rusqlite::Result<UnboundedHaveSet> {
    let sql = format!(
        "SELECT first_seq, last_seq FROM {source} WHERE device = ?1 AND epoch = ?2 AND lane = ?3"
    );
    sqlite::ranges(connection, &sql, key)
}

fn reported_next_seq(connection: &Connection, key: &StreamKey) -> rusqlite::Result<u64> {
    use rusqlite::OptionalExtension;
    let next_seq = connection
        .prepare_cached(
            "SELECT next_seq FROM issued WHERE device = ?1 AND epoch = ?2 AND lane = ?3",
        )?
        .query_row(sqlite::key_params(key), |row| unsigned(row, 0))
        .optional()?;
    Ok(next_seq.unwrap_or(0))
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
