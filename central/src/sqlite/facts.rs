//! What is known about streams, epochs and devices: one row per fact.
//!
//! Promises: the last word stays, a reported next number only rises. Never: a commit, a swallowed error.

use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::{DeviceId, Epoch, SeqRange};
use firmware_shared::message::Status;
use firmware_shared::time::{BootId, TimeAnchor};
use rusqlite::{Connection, params};

use super::load::key_params;
use super::number;
use crate::ingest::{Alarm, DeviceRecord, EpochRecord, LossLedger, StreamKey};

pub(super) fn have_set(
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

pub(super) fn losses(
    connection: &Connection,
    key: &StreamKey,
    ledger: &LossLedger,
) -> rusqlite::Result<()> {
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

pub(super) fn issued(
    connection: &Connection,
    key: &StreamKey,
    next_seq: u64,
) -> rusqlite::Result<()> {
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

pub(super) fn epoch(
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

pub(super) fn catalogue(
    connection: &Connection,
    device: &DeviceId,
    epoch: Epoch,
    entries: &Catalogue,
    details: &Details,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO catalogues (device, epoch, sensor, name, kind, unit, role,
             calibration, period_ms, version, compartment, calibration_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, date(?12 * 86400, 'unixepoch'))",
    )?;
    for sensor in &entries.sensors {
        let detail = details.sensor(sensor.index);
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
            detail.map_or("", |detail| detail.compartment.as_str()),
            detail.and_then(|detail| detail.calibration_until_day),
        ])?;
    }
    Ok(())
}

pub(super) fn device(
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

pub(super) fn status(
    connection: &Connection,
    device: &DeviceId,
    status: &Status,
    received_ms: i64,
) -> rusqlite::Result<()> {
    let json = serde_json::to_string(status)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO statuses (device, received_ms, json) VALUES (?1, ?2, ?3)",
        )?
        .execute((device.as_str(), received_ms, json))
        .map(drop)
}

pub(super) fn alarm(connection: &Connection, item: &Alarm) -> rusqlite::Result<()> {
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

pub(super) fn anchor(
    connection: &Connection,
    device: &DeviceId,
    boot: BootId,
    anchor: &TimeAnchor,
    received_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO anchors (device, boot_id, boottime_ms, utc_ms, source, received_ms, error_ms)
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
        .map(drop)
}

pub(super) fn count(
    connection: &Connection,
    device: &str,
    name: &str,
    by: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO counters (device, name, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (device, name) DO UPDATE SET value = value + excluded.value",
        )?
        .execute((device, name, number(by)))
        .map(drop)
}
