//! The facts of a SQLite database.
//!
//! Promises: one consistent snapshot of a database that may be in use. Never: a write.

use std::path::Path;

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{Lane, SeqRange};
use rusqlite::{Connection, OpenFlags};

use super::facts::{Facts, StreamFacts};
use crate::ingest::{StreamKey, insert};
use crate::sqlite::{self, schema, stream_key, unsigned};

/// A reader may meet a checkpoint; it waits instead of failing.
const BUSY_MS: u64 = 5_000;

pub(super) fn facts(path: &Path) -> anyhow::Result<Facts> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    let found = schema::version(&connection)?;
    if found < schema::VERSION {
        return Err(schema::SchemaError::Earlier { found }.into());
    }
    if found > schema::VERSION {
        return Err(schema::SchemaError::Later { found }.into());
    }
    let snapshot = connection.transaction()?;
    let mut facts = Facts {
        duplicate_stamps: duplicate_stamps(&snapshot)?,
        counters: counters(&snapshot)?,
        ..Facts::default()
    };
    for key in streams(&snapshot)? {
        let stream = stream(&snapshot, &key)?;
        facts.streams.insert(key, stream);
    }
    Ok(facts)
}

fn stream(connection: &Connection, key: &StreamKey) -> rusqlite::Result<StreamFacts> {
    let mut duplicate_keys = 0;
    Ok(StreamFacts {
        stored: stored(connection, key, &mut duplicate_keys)?,
        duplicate_keys,
        have: sqlite::have_set(connection, key)?,
        expired: ranges(connection, "expired", key)?,
        ledger: sqlite::ledger(connection, key)?,
        reported_next_seq: reported_next_seq(connection, key)?,
    })
}

/// Every stream that any table names.
fn streams(connection: &Connection) -> rusqlite::Result<Vec<StreamKey>> {
    connection
        .prepare(
            "SELECT device, epoch, lane FROM streams
             UNION SELECT device, epoch, lane FROM have_set
             UNION SELECT device, epoch, lane FROM issued
             UNION SELECT device, epoch, lane FROM losses
             UNION SELECT device, epoch, lane FROM batches
             UNION SELECT DISTINCT device, epoch, 'alert' FROM alerts
             ORDER BY 1, 2, 3",
        )?
        .query_map([], |row| stream_key(row, 0))?
        .collect()
}

fn duplicate_stamps(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare(
            "SELECT device, sum(extra) FROM (
                 SELECT s.device AS device, count(*) - 1 AS extra
                 FROM reading AS r
                 JOIN streams AS s ON s.stream = r.stream
                 LEFT JOIN epochs AS e ON e.device = s.device AND e.epoch = s.epoch
                 GROUP BY s.device, coalesce(e.boot_id, s.epoch), s.lane, r.sensor, r.boottime_ms,
                     CASE r.kind WHEN 5 THEN r.detail END
                 HAVING count(*) > 1)
             GROUP BY device",
        )?
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect()
}

fn counters(connection: &Connection) -> rusqlite::Result<Vec<(String, String, u64)>> {
    connection
        .prepare("SELECT device, name, value FROM counters ORDER BY device, name")?
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, i64>(2)?.unsigned_abs(),
            ))
        })?
        .collect()
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
