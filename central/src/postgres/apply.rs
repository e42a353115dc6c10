//! The writes of a group, in one transaction.
//!
//! ```text
//!  partitions of the months ─► BEGIN ─► lock the streams, compare versions ─► facts, in order
//!     ─► COPY reading ─► COPY batches ─► have-sets, version + 1 ─► counters ─► COMMIT
//! ```
//! Promises: rows go only into streams whose have-set is as the core read it; an error rolls everything back and
//! forgets what was remembered of the streams. Never: a swallowed error.

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::id::SeqRange;
use firmware_shared::time::ClockSource;
use firmware_shared::topic::bucket;

use super::copy::CopyRows;
use super::session::{LOCK_CLASS, LOCK_TABLES, Session};
use super::{Known, date, facts, fault, foreign, month, number, optional, quarantine, rows, text};
use crate::ingest::{BatchRecord, Dated, SinkError, StreamKey, Timeline, Write};

const COPY_BATCHES: &str = "COPY batches (stream, first_seq, count, codec, crc, len, base_ms, received_ms, \
    utc_source, sealed) FROM STDIN (FORMAT binary)";
const BATCH_FIELDS: i16 = 10;

/// What is gathered before it goes out at once.
struct Group {
    readings: CopyRows,
    batches: CopyRows,
    have: Vec<(i64, String)>,
    counts: Vec<(String, &'static str, u64)>,
}

pub(super) async fn transaction(session: &mut Session, writes: &[Write]) -> Result<(), SinkError> {
    for month in months(writes) {
        partition(session, month).await?;
    }
    session.batch("BEGIN").await?;
    let result = match group(session, writes).await {
        Ok(changed) => match session.batch("COMMIT").await {
            Ok(()) => {
                for key in &changed {
                    if let Some(known) = session.streams.get_mut(key) {
                        known.version += 1;
                    }
                }
                return Ok(());
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    session.streams.clear();
    session.quarantine = quarantine::Bounds::default();
    // A session that cannot even do this is not used again.
    if session.batch("ROLLBACK").await.is_err() {
        tracing::debug!("the rollback was not answered; the server does it by itself");
    }
    result
}

/// Months in which the rows of the group were received.
fn months(writes: &[Write]) -> BTreeSet<i32> {
    let received = writes.iter().filter_map(|write| match write {
        Write::Readings { batch, .. } => Some(batch.received_ms),
        _ => None,
    });
    received.map(month).collect()
}

/// Makes the partition of a month unless it is there. It is attached, not created in place: that needs no
/// lock that readers of other months would wait for.
async fn partition(session: &mut Session, month: i32) -> Result<(), SinkError> {
    if session.months.contains(&month) {
        return Ok(());
    }
    let sql = format!(
        "BEGIN;
         SELECT pg_advisory_xact_lock({LOCK_CLASS}, {LOCK_TABLES});
         DO $$ BEGIN
             IF to_regclass(quote_ident(current_schema()) || '.reading_{month}') IS NULL THEN
                 CREATE TABLE reading_{month} (LIKE reading INCLUDING ALL);
                 ALTER TABLE reading ATTACH PARTITION reading_{month} FOR VALUES IN ({month});
             END IF;
         END $$;
         COMMIT;"
    );
    if let Err(error) = session.batch(&sql).await {
        // The server aborts a failed batch and stays in its transaction.
        drop(session.batch("ROLLBACK").await);
        return Err(error);
    }
    session.months.insert(month);
    Ok(())
}

async fn group(session: &mut Session, writes: &[Write]) -> Result<Vec<StreamKey>, SinkError> {
    let numbers = lock(session, writes).await?;
    let number_of = |key: &StreamKey| {
        numbers
            .get(key)
            .copied()
            .ok_or_else(|| foreign(key.device.as_str()))
    };
    let mut group = Group {
        readings: CopyRows::new(),
        batches: CopyRows::new(),
        have: Vec::new(),
        counts: Vec::new(),
    };
    let mut changed = Vec::new();
    for write in writes {
        match write {
            Write::Readings {
                key,
                batch,
                readings,
                timeline,
            } => {
                let (stream, first_seq) = (number_of(key)?, batch.print.range.first_seq);
                let month = month(batch.received_ms);
                rows::add(
                    &mut group.readings,
                    stream,
                    month,
                    first_seq,
                    readings,
                    timeline.as_deref(),
                );
                add_batch(&mut group.batches, stream, batch);
            }
            Write::Frame { key, batch } => add_batch(&mut group.batches, number_of(key)?, batch),
            Write::HaveSet { key, present, .. } => {
                group.have.push((number_of(key)?, multirange(present)));
                changed.push(key.clone());
            }
            Write::Count { device, name, by } => {
                group.counts.push((device.clone(), name, *by));
            }
            other => one(session, &mut group, other, &number_of).await?,
        }
    }
    flush(session, group).await?;
    Ok(changed)
}

/// Sends what was gathered.
async fn flush(session: &mut Session, group: Group) -> Result<(), SinkError> {
    let Group {
        readings,
        batches,
        have,
        counts,
    } = group;
    for (sql, copy) in [(rows::COPY, readings), (COPY_BATCHES, batches)] {
        if !copy.is_empty() {
            let expected = copy.rows();
            let copied = session.copy(sql, copy.finish()).await?;
            if copied != expected {
                let text = format!("{copied} of {expected} rows were copied");
                return Err(SinkError::Unavailable(text));
            }
        }
    }
    if !have.is_empty() {
        let (streams, added): (Vec<i64>, Vec<String>) = have.into_iter().unzip();
        session
            .execute(
                "UPDATE streams AS s SET have = s.have + u.added::int8multirange,
                     version = s.version + 1
                 FROM unnest($1::bigint[], $2::text[]) AS u (stream, added)
                 WHERE s.stream = u.stream",
                &[&streams, &added],
            )
            .await?;
    }
    if !counts.is_empty() {
        facts::counts(session, &counts).await?;
    }
    Ok(())
}

/// The stream that a write needs a row for.
fn stream_of(write: &Write) -> Option<&StreamKey> {
    match write {
        Write::Readings { key, .. }
        | Write::Decoded { key, .. }
        | Write::Alert { key, .. }
        | Write::Frame { key, .. }
        | Write::Raw { key, .. }
        | Write::HaveSet { key, .. }
        | Write::Date { key, .. }
        | Write::Expire { key, .. } => Some(key),
        _ => None,
    }
}

/// Locks the row of every stream of the group, in the order of their numbers, and tells the numbers. A row whose
/// version is not the one that was read was written by somebody else.
async fn lock(
    session: &mut Session,
    writes: &[Write],
) -> Result<BTreeMap<StreamKey, i64>, SinkError> {
    let keys: BTreeSet<&StreamKey> = writes.iter().filter_map(stream_of).collect();
    for key in &keys {
        let has_row = session
            .streams
            .get(*key)
            .is_some_and(|known| known.stream.is_some());
        if !has_row {
            create(session, key).await?;
        }
    }
    let known: Vec<(StreamKey, Known)> = keys
        .iter()
        .filter_map(|key| Some(((*key).clone(), *session.streams.get(*key)?)))
        .collect();
    let wanted: Vec<i64> = known.iter().filter_map(|(_, known)| known.stream).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = session
        .query(
            "SELECT stream, version FROM streams WHERE stream = ANY ($1) ORDER BY stream FOR UPDATE",
            &[&wanted],
        )
        .await?;
    let mut versions = BTreeMap::new();
    for row in &found {
        let version: i64 = row.try_get(1).map_err(fault)?;
        versions.insert(row.try_get::<_, i64>(0).map_err(fault)?, version);
    }
    let mut numbers = BTreeMap::new();
    for (key, known) in known {
        let Some(stream) = known.stream else { continue };
        if versions.get(&stream) != Some(&known.version) {
            return Err(SinkError::Unavailable(format!(
                "another ingest has written the have-set of {} of {}",
                key.stream.lane, key.device
            )));
        }
        numbers.insert(key, stream);
    }
    Ok(numbers)
}

/// Makes the row of a stream. One that is there already is another ingest's, unless the stream was never
/// looked at.
async fn create(session: &mut Session, key: &StreamKey) -> Result<(), SinkError> {
    let made = session
        .query(
            "INSERT INTO streams (device, epoch, lane) VALUES ($1, $2, $3)
             ON CONFLICT (device, epoch, lane) DO UPDATE SET lane = excluded.lane
             RETURNING stream, version",
            &[
                &key.device.as_str(),
                &number(key.stream.epoch.number()),
                &key.stream.lane.name(),
            ],
        )
        .await?;
    let row = made.first().ok_or_else(|| foreign("no stream"))?;
    let stored = Known {
        stream: Some(row.try_get(0).map_err(fault)?),
        version: row.try_get(1).map_err(fault)?,
    };
    let read = session.streams.get(key).map(|known| known.version);
    let known = Known {
        version: read.unwrap_or(stored.version),
        ..stored
    };
    session.streams.insert(key.clone(), known);
    Ok(())
}

fn multirange(ranges: &[SeqRange]) -> String {
    let parts: Vec<String> = ranges
        .iter()
        .map(|range| format!("[{},{}]", range.first_seq, range.last_seq))
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn add_batch(rows: &mut CopyRows, stream: i64, batch: &BatchRecord) {
    rows.row(BATCH_FIELDS);
    rows.int8(Some(stream));
    rows.int8(Some(number(batch.print.range.first_seq)));
    rows.int8(Some(number(batch.print.range.count())));
    rows.int2(i16::from(batch.codec));
    rows.int8(Some(batch.print.crc.into()));
    rows.int8(Some(batch.print.len.into()));
    rows.int8(Some(number(batch.base_ms)));
    rows.int8(Some(batch.received_ms));
    rows.int2(i16::from(batch.utc_source as u8));
    rows.bytea(batch.sealed.as_deref());
}

/// A write that goes out by itself.
async fn one(
    session: &mut Session,
    group: &mut Group,
    write: &Write,
    number_of: &impl Fn(&StreamKey) -> Result<i64, SinkError>,
) -> Result<(), SinkError> {
    match write {
        Write::Decoded {
            key,
            range,
            codec,
            readings,
            timeline,
        } => {
            let (stream, timeline) = (number_of(key)?, timeline.as_deref());
            let source = timeline.map_or(ClockSource::None, Timeline::source);
            let received_ms = decoded(session, stream, *range, *codec, source).await?;
            let month = month(received_ms);
            let rows = &mut group.readings;
            rows::add(rows, stream, month, range.first_seq, readings, timeline);
            Ok(())
        }
        Write::Alert {
            key,
            batch,
            alert,
            json,
            dated,
        } => {
            add_batch(&mut group.batches, number_of(key)?, batch);
            insert_alert(session, alert, json, *dated, batch.received_ms).await
        }
        Write::Raw { key, batch, bytes } => {
            let stream = number_of(key)?;
            add_batch(&mut group.batches, stream, batch);
            let range = batch.print.range;
            session
                .execute(
                    "INSERT INTO raw_batches (stream, first_seq, count, codec, bytes)
                     VALUES ($1, $2, $3, $4, $5)",
                    &[
                        &stream,
                        &number(range.first_seq),
                        &number(range.count()),
                        &i16::from(batch.codec),
                        bytes,
                    ],
                )
                .await
                .map(drop)
        }
        Write::Losses { key, ledger } => facts::losses(session, key, ledger).await,
        Write::Issued { key, next_seq } => facts::issued(session, key, *next_seq).await,
        Write::Epoch {
            device,
            epoch,
            record,
        } => facts::epoch(session, device, *epoch, record).await,
        Write::Catalogue {
            device,
            epoch,
            catalogue,
            details,
        } => facts::catalogue(session, device, *epoch, catalogue, details).await,
        Write::Device { device, record } => facts::device(session, device, record).await,
        Write::Status {
            device,
            status,
            received_ms,
        } => facts::status(session, device, status, *received_ms).await,
        Write::Anchor {
            device,
            boot,
            anchor,
            received_ms,
        } => facts::anchor(session, device, *boot, anchor, *received_ms).await,
        Write::Date {
            key,
            range,
            timeline,
        } => date::frame(session, number_of(key)?, key, *range, timeline).await,
        Write::DateLater(task) => date::remember(session, task).await,
        Write::DateDone(task) => date::forget(session, task).await,
        Write::Quarantine(item) => quarantine::add(session, item).await,
        Write::Alarm(item) => facts::alarm(session, item).await,
        Write::Expire { key, range } => expire(session, number_of(key)?, *range).await,
        Write::Readings { .. }
        | Write::Frame { .. }
        | Write::HaveSet { .. }
        | Write::Count { .. } => Ok(()),
    }
}

/// Marks a raw frame as decoded; tells when it was received. Its rows go into that month's partition, which
/// may not be there yet.
async fn decoded(
    session: &mut Session,
    stream: i64,
    range: SeqRange,
    codec: u8,
    source: ClockSource,
) -> Result<i64, SinkError> {
    let first_seq = number(range.first_seq);
    session
        .execute(
            "DELETE FROM raw_batches WHERE stream = $1 AND first_seq = $2",
            &[&stream, &first_seq],
        )
        .await?;
    let rows = session
        .query(
            "UPDATE batches SET codec = $3, utc_source = $4 WHERE stream = $1 AND first_seq = $2
             RETURNING received_ms",
            &[
                &stream,
                &first_seq,
                &i16::from(codec),
                &i16::from(source as u8),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| foreign("a raw frame without its batch"))?;
    let received_ms = row.try_get(0).map_err(fault)?;
    let month = month(received_ms);
    if !session.months.contains(&month) {
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS reading_{month} PARTITION OF reading FOR VALUES IN ({month})"
        );
        session.batch(&sql).await?;
    }
    Ok(received_ms)
}

async fn insert_alert(
    session: &mut Session,
    alert: &firmware_shared::alert::Alert,
    json: &str,
    dated: Option<Dated>,
    received_ms: i64,
) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO alerts (device, epoch, seq, id, state, severity, kind, sensor, value, unit,
                 expected, low, high, boottime_ms, utc_ms, text, json, received_ms, utc_error_ms,
                 utc_source)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                 $19, $20)",
            &[
                &alert.device.as_str(),
                &number(alert.epoch.number()),
                &number(alert.seq),
                &text(&alert.id),
                &alert.state.name(),
                &alert.severity.name(),
                &text(&alert.kind),
                &text(&alert.sensor),
                &alert.value,
                &text(&alert.unit),
                &alert.expected,
                &alert.low,
                &alert.high,
                &number(alert.boottime_ms),
                &dated.map(|dated| dated.utc_ms),
                &text(&alert.text),
                &text(json),
                &received_ms,
                &dated.and_then(|dated| dated.error_ms).map(i64::from),
                &dated.map_or(0, |dated| i16::from(dated.source as u8)),
            ],
        )
        .await?;
    session
        .execute(
            "INSERT INTO alert_feed (bucket, device, epoch, seq) VALUES ($1, $2, $3, $4)",
            &[
                &i16::from(bucket(&alert.device)),
                &alert.device.as_str(),
                &number(alert.epoch.number()),
                &number(alert.seq),
            ],
        )
        .await
        .map(drop)
}

async fn expire(session: &mut Session, stream: i64, range: SeqRange) -> Result<(), SinkError> {
    let (mut first, mut last) = (number(range.first_seq), number(range.last_seq));
    session
        .execute(
            "DELETE FROM reading WHERE stream = $1 AND seq BETWEEN $2 AND $3",
            &[&stream, &first, &last],
        )
        .await?;
    session
        .execute(
            "DELETE FROM batches WHERE stream = $1 AND first_seq = $2",
            &[&stream, &first],
        )
        .await?;
    session
        .execute(
            "DELETE FROM raw_batches WHERE stream = $1 AND first_seq = $2",
            &[&stream, &first],
        )
        .await?;
    // Joined with its neighbours, so that years of retention stay a handful of ranges.
    let neighbours = session
        .query(
            "DELETE FROM expired WHERE stream = $1 AND first_seq <= $3 + 1 AND last_seq >= $2 - 1
             RETURNING first_seq, last_seq",
            &[&stream, &first, &last],
        )
        .await?;
    for row in &neighbours {
        first = optional(row, 0)?.map_or(first, |seq| first.min(number(seq)));
        last = optional(row, 1)?.map_or(last, |seq| last.max(number(seq)));
    }
    session
        .execute(
            "INSERT INTO expired (stream, first_seq, last_seq) VALUES ($1, $2, $3)",
            &[&stream, &first, &last],
        )
        .await
        .map(drop)
}
