//! The writes of a group, inside the transaction of the caller: frames and their rows here, what is known
//! about devices in `facts`.
//!
//! Promises: each write is done as it says, in order. Never: a commit, a swallowed error.

use std::collections::HashMap;

use firmware_shared::alert::Alert;
use firmware_shared::id::SeqRange;
use firmware_shared::time::ClockSource;
use rusqlite::{Connection, params};

use super::load::key_params;
use super::{date, facts, number, quarantine, rows};
use crate::ingest::{BatchRecord, Dated, StreamKey, Timeline, Write};

type Streams = HashMap<StreamKey, i64>;

pub(super) fn writes(
    connection: &Connection,
    streams: &mut Streams,
    bounds: &mut quarantine::Bounds,
    writes: &[Write],
) -> rusqlite::Result<()> {
    for write in writes {
        one(connection, streams, bounds, write)?;
    }
    Ok(())
}

fn one(
    connection: &Connection,
    streams: &mut Streams,
    bounds: &mut quarantine::Bounds,
    write: &Write,
) -> rusqlite::Result<()> {
    match write {
        Write::Readings {
            key,
            batch,
            readings,
            timeline,
        } => {
            let stream = stream(connection, streams, key)?;
            let first_seq = batch.print.range.first_seq;
            rows::insert(connection, stream, first_seq, readings, timeline.as_deref())?;
            frame(connection, key, batch)
        }
        Write::Decoded {
            key,
            range,
            codec,
            readings,
            timeline,
        } => {
            let stream = stream(connection, streams, key)?;
            let timeline = timeline.as_deref();
            rows::insert(connection, stream, range.first_seq, readings, timeline)?;
            let source = timeline.map_or(ClockSource::None, Timeline::source);
            decoded(connection, key, *range, *codec, source)
        }
        Write::Alert {
            key,
            batch,
            alert,
            json,
            dated,
        } => {
            insert_alert(connection, alert, json, *dated, batch.received_ms)?;
            frame(connection, key, batch)
        }
        Write::Frame { key, batch } => frame(connection, key, batch),
        Write::Raw { key, batch, bytes } => {
            raw(connection, key, batch, bytes)?;
            frame(connection, key, batch)
        }
        Write::HaveSet {
            key,
            removed,
            present,
        } => facts::have_set(connection, key, removed, present),
        Write::Losses { key, ledger } => facts::losses(connection, key, ledger),
        Write::Issued { key, next_seq } => facts::issued(connection, key, *next_seq),
        Write::Epoch {
            device,
            epoch: id,
            record,
        } => facts::epoch(connection, device, *id, record),
        Write::Catalogue {
            device,
            epoch,
            catalogue: entries,
            details,
        } => facts::catalogue(connection, device, *epoch, entries, details),
        Write::Device { device: id, record } => facts::device(connection, id, record),
        Write::Status {
            device,
            status,
            received_ms,
        } => facts::status(connection, device, status, *received_ms),
        Write::Anchor {
            device,
            boot,
            anchor,
            received_ms,
        } => facts::anchor(connection, device, *boot, anchor, *received_ms),
        Write::Date {
            key,
            range,
            timeline,
        } => {
            let stream = stream(connection, streams, key)?;
            date::frame(connection, stream, key, *range, timeline)
        }
        Write::DateLater(task) => date::remember(connection, task),
        Write::DateDone(task) => date::forget(connection, task),
        Write::Quarantine(item) => quarantine::add(connection, bounds, item),
        Write::Alarm(item) => facts::alarm(connection, item),
        Write::Count { device, name, by } => facts::count(connection, device, name, *by),
        Write::Expire { key, range } => expire(connection, streams, key, *range),
    }
}

/// The short number of a stream.
fn stream(
    connection: &Connection,
    streams: &mut Streams,
    key: &StreamKey,
) -> rusqlite::Result<i64> {
    if let Some(stream) = streams.get(key) {
        return Ok(*stream);
    }
    connection
        .prepare_cached("INSERT OR IGNORE INTO streams (device, epoch, lane) VALUES (?1, ?2, ?3)")?
        .execute(key_params(key))?;
    let stream = connection
        .prepare_cached(
            "SELECT stream FROM streams WHERE device = ?1 AND epoch = ?2 AND lane = ?3",
        )?
        .query_row(key_params(key), |row| row.get(0))?;
    streams.insert(key.clone(), stream);
    Ok(stream)
}

fn frame(connection: &Connection, key: &StreamKey, batch: &BatchRecord) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    connection
        .prepare_cached(
            "INSERT INTO batches (device, epoch, lane, first_seq, count, codec, crc, len, base_ms,
                 received_ms, utc_source, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            device,
            epoch,
            lane,
            number(batch.print.range.first_seq),
            number(batch.print.range.count()),
            batch.codec,
            batch.print.crc,
            batch.print.len,
            number(batch.base_ms),
            batch.received_ms,
            batch.utc_source as u8,
            batch.sealed,
        ])
        .map(drop)
}

fn raw(
    connection: &Connection,
    key: &StreamKey,
    batch: &BatchRecord,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let range = batch.print.range;
    connection
        .prepare_cached(
            "INSERT INTO raw_batches (device, epoch, lane, first_seq, count, codec, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            device,
            epoch,
            lane,
            number(range.first_seq),
            number(range.count()),
            batch.codec,
            bytes,
        ])
        .map(drop)
}

fn decoded(
    connection: &Connection,
    key: &StreamKey,
    range: SeqRange,
    codec: u8,
    source: ClockSource,
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let first_seq = number(range.first_seq);
    connection
        .prepare_cached(
            "DELETE FROM raw_batches
             WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4",
        )?
        .execute((device, epoch, lane, first_seq))?;
    connection
        .prepare_cached(
            "UPDATE batches SET codec = ?5, utc_source = ?6
             WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4",
        )?
        .execute((device, epoch, lane, first_seq, codec, source as u8))
        .map(drop)
}

fn insert_alert(
    connection: &Connection,
    alert: &Alert,
    json: &str,
    dated: Option<Dated>,
    received_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO alerts (device, epoch, seq, id, state, severity, kind, sensor, value, unit,
                 expected, low, high, boottime_ms, utc_ms, text, json, received_ms, utc_error_ms,
                 utc_source)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                 ?19, ?20)",
        )?
        .execute(params![
            alert.device.as_str(),
            number(alert.epoch.number()),
            number(alert.seq),
            alert.id.as_str(),
            alert.state.name(),
            alert.severity.name(),
            alert.kind.as_str(),
            alert.sensor.as_str(),
            alert.value,
            alert.unit.as_str(),
            alert.expected,
            alert.low,
            alert.high,
            number(alert.boottime_ms),
            dated.map(|dated| dated.utc_ms),
            alert.text.as_str(),
            json,
            received_ms,
            dated.and_then(|dated| dated.error_ms),
            dated.map_or(0, |dated| dated.source as u8),
        ])?;
    connection
        .prepare_cached("INSERT INTO alert_feed (device, epoch, seq) VALUES (?1, ?2, ?3)")?
        .execute((
            alert.device.as_str(),
            number(alert.epoch.number()),
            number(alert.seq),
        ))
        .map(drop)
}

fn expire(
    connection: &Connection,
    streams: &mut Streams,
    key: &StreamKey,
    range: SeqRange,
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let stream = stream(connection, streams, key)?;
    let (mut first, mut last) = (number(range.first_seq), number(range.last_seq));
    connection
        .prepare_cached("DELETE FROM reading WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3")?
        .execute((stream, first, last))?;
    for table in ["batches", "raw_batches"] {
        connection
            .prepare_cached(&format!(
                "DELETE FROM {table}
                 WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4"
            ))?
            .execute((device, epoch, lane, first))?;
    }
    // Joined with its neighbours, so that years of retention stay a handful of ranges.
    let mut neighbours = connection.prepare_cached(
        "DELETE FROM expired WHERE device = ?1 AND epoch = ?2 AND lane = ?3
             AND first_seq <= ?5 + 1 AND last_seq >= ?4 - 1
         RETURNING first_seq, last_seq",
    )?;
    let mut rows = neighbours.query((device, epoch, lane, first, last))?;
    while let Some(row) = rows.next()? {
        first = first.min(row.get(0)?);
        last = last.max(row.get(1)?);
    }
    connection
        .prepare_cached(
            "INSERT INTO expired (device, epoch, lane, first_seq, last_seq)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((device, epoch, lane, first, last))
        .map(drop)
}
