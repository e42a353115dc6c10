//! The writes of a group, inside the transaction of the caller.
//!
//! Promises: each write is done as it says, in order. Never: a commit, a swallowed error.

use std::collections::HashMap;

use firmware_shared::alert::Alert;
use firmware_shared::catalogue::Catalogue;
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange};
use rusqlite::{Connection, params};

use super::load::key_params;
use super::{number, quarantine, rows};
use crate::ingest::{
    Alarm, BatchRecord, DeviceRecord, EpochRecord, LossLedger, StreamKey, UtcBasis, Write,
};

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
        } => {
            let stream = stream(connection, streams, key)?;
            let first_seq = batch.print.range.first_seq;
            rows::insert(connection, stream, first_seq, readings, batch.utc)?;
            frame(connection, key, batch)
        }
        Write::Decoded {
            key,
            range,
            codec,
            readings,
            utc,
        } => {
            let stream = stream(connection, streams, key)?;
            rows::insert(connection, stream, range.first_seq, readings, *utc)?;
            decoded(connection, key, *range, *codec, *utc)
        }
        Write::Alert {
            key,
            batch,
            alert,
            json,
            utc_ms,
        } => {
            insert_alert(connection, alert, json, *utc_ms, batch.received_ms)?;
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
        } => have_set(connection, key, removed, present),
        Write::Losses { key, ledger } => losses(connection, key, ledger),
        Write::Issued { key, next_seq } => issued(connection, key, *next_seq),
        Write::Epoch {
            device,
            epoch: id,
            record,
        } => epoch(connection, device, *id, record),
        Write::Catalogue {
            device,
            epoch,
            catalogue: entries,
        } => catalogue(connection, device, *epoch, entries),
        Write::Device { device: id, record } => device(connection, id, record),
        Write::Anchor {
            device,
            boot,
            anchor,
            received_ms,
        } => connection
            .prepare_cached(
                "INSERT INTO anchors
                     (device, boot_id, boottime_ms, utc_ms, source, received_ms, error_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                device.as_str(),
                boot.to_string(),
                number(anchor.boottime_ms),
                anchor.utc_ms,
                anchor.source.name(),
                received_ms,
                anchor.error_ms,
            ])
            .map(drop),
        Write::Utc { key, range, basis } => utc(connection, streams, key, *range, *basis),
        Write::Quarantine(item) => quarantine::add(connection, bounds, item),
        Write::Alarm(item) => alarm(connection, item),
        Write::Count { device, name, by } => connection
            .prepare_cached(
                "INSERT INTO counters (device, name, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (device, name) DO UPDATE SET value = value + excluded.value",
            )?
            .execute((device, name, number(*by)))
            .map(drop),
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
            source(batch.utc),
            batch.sealed,
        ])
        .map(drop)
}

fn source(utc: Option<UtcBasis>) -> u8 {
    utc.map_or(0, |basis| basis.source as u8)
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
    utc: Option<UtcBasis>,
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
        .execute((device, epoch, lane, first_seq, codec, source(utc)))
        .map(drop)
}

fn insert_alert(
    connection: &Connection,
    alert: &Alert,
    json: &str,
    utc_ms: Option<i64>,
    received_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO alerts (device, epoch, seq, id, state, severity, kind, sensor, value, unit,
                 expected, low, high, boottime_ms, utc_ms, text, json, received_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
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
            utc_ms,
            alert.text.as_str(),
            json,
            received_ms,
        ])
        .map(drop)
}

fn have_set(
    connection: &Connection,
    key: &StreamKey,
    removed: &[u64],
    present: &[SeqRange],
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let mut delete = connection.prepare_cached(
        "DELETE FROM have_set WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4",
    )?;
    for first_seq in removed {
        delete.execute((device, epoch, lane, number(*first_seq)))?;
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO have_set (device, epoch, lane, first_seq, last_seq)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (device, epoch, lane, first_seq) DO UPDATE SET last_seq = excluded.last_seq",
    )?;
    for range in present {
        upsert.execute((
            device,
            epoch,
            lane,
            number(range.first_seq),
            number(range.last_seq),
        ))?;
    }
    Ok(())
}

fn losses(connection: &Connection, key: &StreamKey, ledger: &LossLedger) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    connection
        .prepare_cached("DELETE FROM losses WHERE device = ?1 AND epoch = ?2 AND lane = ?3")?
        .execute((device, epoch, lane))?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO losses
             (device, epoch, lane, first_seq, last_seq, reason, at_most, told_first_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for loss in ledger.closed() {
        insert.execute(params![
            device,
            epoch,
            lane,
            number(loss.range.first_seq),
            number(loss.range.last_seq),
            loss.reason.name(),
            None::<i64>,
            None::<i64>,
        ])?;
    }
    if let Some(tail) = ledger.tail() {
        insert.execute(params![
            device,
            epoch,
            lane,
            number(tail.first_seq),
            None::<i64>,
            tail.reason.name(),
            tail.at_most.map(number),
            number(tail.told_first_seq),
        ])?;
    }
    Ok(())
}

fn issued(connection: &Connection, key: &StreamKey, next_seq: u64) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    connection
        .prepare_cached(
            "INSERT INTO issued (device, epoch, lane, next_seq) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device, epoch, lane)
             DO UPDATE SET next_seq = max(next_seq, excluded.next_seq)",
        )?
        .execute((device, epoch, lane, number(next_seq)))
        .map(drop)
}

fn epoch(
    connection: &Connection,
    device: &DeviceId,
    epoch: Epoch,
    record: &EpochRecord,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO epochs (device, epoch, boot_id, spool_id, incarnation,
                 born_order, birth_boottime_ms, clean, software)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            device.as_str(),
            number(epoch.number()),
            record.boot.map(|boot| boot.to_string()),
            record.spool_id.map(|id| format!("{id:016x}")),
            record.incarnation,
            record.born_order.map(number),
            record.birth_boottime_ms.map(number),
            record.clean,
            record.software,
        ])
        .map(drop)
}

fn catalogue(
    connection: &Connection,
    device: &DeviceId,
    epoch: Epoch,
    entries: &Catalogue,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO catalogues (device, epoch, sensor, name, kind, unit, role,
             calibration, period_ms, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for sensor in &entries.sensors {
        insert.execute(params![
            device.as_str(),
            number(epoch.number()),
            sensor.index,
            sensor.name.as_str(),
            sensor.kind.name(),
            sensor.unit.symbol(),
            sensor.role.as_str(),
            sensor.calibration,
            sensor.period_ms,
            entries.version,
        ])?;
    }
    Ok(())
}

fn device(
    connection: &Connection,
    device: &DeviceId,
    record: &DeviceRecord,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO devices (device, epoch, births, link, seen_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            device.as_str(),
            record.epoch.map(|epoch| number(epoch.number())),
            number(record.births),
            record.link.name(),
            record.seen_ms,
        ))
        .map(drop)
}

fn utc(
    connection: &Connection,
    streams: &mut Streams,
    key: &StreamKey,
    range: SeqRange,
    basis: UtcBasis,
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let (first, last) = (number(range.first_seq), number(range.last_seq));
    if key.stream.lane == Lane::Alert {
        connection
            .prepare_cached(
                "UPDATE alerts SET utc_ms = boottime_ms + ?5
                 WHERE device = ?1 AND epoch = ?2 AND seq BETWEEN ?3 AND ?4",
            )?
            .execute((device, epoch, first, last, basis.offset_ms))?;
    } else {
        let stream = stream(connection, streams, key)?;
        connection
            .prepare_cached(
                "UPDATE reading SET utc_ms = boottime_ms + ?4
                 WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3",
            )?
            .execute((stream, first, last, basis.offset_ms))?;
    }
    connection
        .prepare_cached(
            "UPDATE batches SET utc_source = ?5
             WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4",
        )?
        .execute((device, epoch, lane, first, basis.source as u8))
        .map(drop)
}

fn alarm(connection: &Connection, item: &Alarm) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(&item.key);
    connection
        .prepare_cached(
            "INSERT INTO alarms (device, kind, epoch, lane, first_seq, last_seq, text, first_ms,
                 last_ms, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1)
             ON CONFLICT (device, kind, epoch, lane) DO UPDATE SET
                 first_seq = excluded.first_seq, last_seq = excluded.last_seq,
                 text = excluded.text, last_ms = excluded.last_ms, count = count + 1",
        )?
        .execute(params![
            device,
            item.kind,
            epoch,
            lane,
            item.range.map(|range| number(range.first_seq)),
            item.range.map(|range| number(range.last_seq)),
            item.text,
            item.at_ms,
        ])
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
