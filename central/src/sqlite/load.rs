//! What the core asks for.
//!
//! Promises: what is read back equals what was written. Never: a write.

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{DeviceId, Epoch, SeqRange};
use firmware_shared::message::LossReason;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{number, parsed, range, stream_key, unsigned};
use crate::columns::boot_from_hex;
use crate::ingest::{
    ClosedLoss, DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, Link, LossLedger,
    OpenTail, RawBatch, StreamKey, StreamRecord, insert,
};

/// Device, epoch and lane as parameters.
pub(crate) fn key_params(key: &StreamKey) -> (&str, i64, &'static str) {
    (
        key.device.as_str(),
        number(key.stream.epoch.number()),
        key.stream.lane.name(),
    )
}

/// The have-set of a stream.
pub(crate) fn have_set(
    connection: &Connection,
    key: &StreamKey,
) -> rusqlite::Result<UnboundedHaveSet> {
    ranges(
        connection,
        "SELECT first_seq, last_seq FROM have_set
         WHERE device = ?1 AND epoch = ?2 AND lane = ?3 ORDER BY first_seq",
        key,
    )
}

/// The union of the ranges that a query over a stream gives.
pub(crate) fn ranges(
    connection: &Connection,
    sql: &str,
    key: &StreamKey,
) -> rusqlite::Result<UnboundedHaveSet> {
    let mut set = UnboundedHaveSet::default();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(key_params(key))?;
    while let Some(row) = rows.next()? {
        insert(&mut set, range(row, 0)?);
    }
    Ok(set)
}

pub(crate) fn ledger(connection: &Connection, key: &StreamKey) -> rusqlite::Result<LossLedger> {
    let mut closed = Vec::new();
    let mut tail = None;
    let mut statement = connection.prepare_cached(
        "SELECT first_seq, last_seq, reason, at_most, told_first_seq FROM losses
         WHERE device = ?1 AND epoch = ?2 AND lane = ?3",
    )?;
    let mut rows = statement.query(key_params(key))?;
    while let Some(row) = rows.next()? {
        let reason = parsed(row, 2, LossReason::from_name)?;
        let last_seq: Option<i64> = row.get(1)?;
        if last_seq.is_some() {
            let range = range(row, 0)?;
            closed.push(ClosedLoss { range, reason });
        } else {
            let first_seq = unsigned(row, 0)?;
            let told: Option<i64> = row.get(4)?;
            tail = Some(OpenTail {
                first_seq,
                told_first_seq: told.map_or(first_seq, i64::unsigned_abs),
                at_most: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                reason,
            });
        }
    }
    Ok(LossLedger::restored(closed, tail))
}

pub(super) fn stream(connection: &Connection, key: &StreamKey) -> rusqlite::Result<StreamRecord> {
    Ok(StreamRecord {
        have: have_set(connection, key)?,
        ledger: ledger(connection, key)?,
    })
}

pub(super) fn frame_at(
    connection: &Connection,
    key: &StreamKey,
    first_seq: u64,
) -> rusqlite::Result<Option<FramePrint>> {
    let (device, epoch, lane) = key_params(key);
    connection
        .prepare_cached(
            "SELECT count, crc, len FROM batches
             WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4",
        )?
        .query_row((device, epoch, lane, number(first_seq)), |row| {
            let count = unsigned(row, 0)?;
            let out_of_range = rusqlite::Error::IntegralValueOutOfRange(0, number(count));
            Ok(FramePrint {
                range: SeqRange::from_count(first_seq, count).ok_or(out_of_range)?,
                crc: row.get(1)?,
                len: row.get(2)?,
            })
        })
        .optional()
}

pub(super) fn expired_in(
    connection: &Connection,
    key: &StreamKey,
    wanted: SeqRange,
) -> rusqlite::Result<u64> {
    let expired = ranges(
        connection,
        "SELECT first_seq, last_seq FROM expired WHERE device = ?1 AND epoch = ?2 AND lane = ?3",
        key,
    )?;
    Ok(expired.count_in(wanted))
}

pub(super) fn device(connection: &Connection, device: &DeviceId) -> rusqlite::Result<DeviceRecord> {
    let record = connection
        .prepare_cached("SELECT epoch, births, link, seen_ms FROM devices WHERE device = ?1")?
        .query_row([device.as_str()], |row| {
            Ok(DeviceRecord {
                epoch: optional(row, 0)?.and_then(Epoch::from_number),
                births: unsigned(row, 1)?,
                link: Link::from_name(row.get_ref(2)?.as_str()?),
                seen_ms: row.get(3)?,
            })
        })
        .optional()?;
    Ok(record.unwrap_or_default())
}

fn optional(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(i64::unsigned_abs))
}

pub(super) fn epoch(
    connection: &Connection,
    device: &DeviceId,
    epoch: Epoch,
) -> rusqlite::Result<EpochRecord> {
    let record = connection
        .prepare_cached(
            "SELECT boot_id, spool_id, incarnation, born_order, birth_boottime_ms, clean, software
             FROM epochs WHERE device = ?1 AND epoch = ?2",
        )?
        .query_row((device.as_str(), number(epoch.number())), |row| {
            let boot: Option<String> = row.get(0)?;
            let spool_id: Option<String> = row.get(1)?;
            Ok(EpochRecord {
                boot: boot.as_deref().and_then(boot_from_hex),
                spool_id: spool_id.and_then(|hex| u64::from_str_radix(&hex, 16).ok()),
                incarnation: row.get(2)?,
                born_order: optional(row, 3)?,
                birth_boottime_ms: optional(row, 4)?,
                clean: row.get(5)?,
                software: row.get(6)?,
            })
        })
        .optional()?;
    Ok(record.unwrap_or_default())
}

fn source_from_name(name: &str) -> Option<ClockSource> {
    (0..=4)
        .filter_map(ClockSource::from_wire)
        .find(|source| source.name() == name)
}

pub(super) fn anchors(
    connection: &Connection,
    device: &DeviceId,
    boot: BootId,
) -> rusqlite::Result<Vec<TimeAnchor>> {
    connection
        .prepare_cached(
            "SELECT boottime_ms, utc_ms, source, error_ms FROM anchors
             WHERE device = ?1 AND boot_id = ?2 ORDER BY boottime_ms",
        )?
        .query_map((device.as_str(), boot.to_string()), |row| {
            Ok(TimeAnchor {
                boottime_ms: unsigned(row, 0)?,
                utc_ms: row.get(1)?,
                error_ms: row.get(3)?,
                source: parsed(row, 2, source_from_name)?,
            })
        })?
        .collect()
}

/// A frame names its first stamp; its last one is at most so much later.
const FRAME_SPAN_MS: u64 = 3_600_000;

pub(super) fn frames_to_date(
    connection: &Connection,
    task: &DateTask,
    behind: Option<&FramePlace>,
    limit: usize,
) -> rusqlite::Result<Vec<FramePlace>> {
    let (epoch, lane, first_seq) = behind.map_or((-1, "", 0), |(key, range)| {
        let (_, epoch, lane) = key_params(key);
        (epoch, lane, number(range.first_seq))
    });
    connection
        .prepare_cached(
            "SELECT b.device, b.epoch, b.lane, b.first_seq, b.first_seq + b.count - 1
             FROM epochs AS e JOIN batches AS b ON b.device = e.device AND b.epoch = e.epoch
             WHERE e.device = ?1 AND e.boot_id = ?2 AND b.base_ms BETWEEN ?3 AND ?4
                 AND (b.epoch, b.lane, b.first_seq) > (?5, ?6, ?7)
             ORDER BY b.epoch, b.lane, b.first_seq LIMIT ?8",
        )?
        .query_map(
            params![
                task.device.as_str(),
                task.boot.to_string(),
                number(task.from_ms.saturating_sub(FRAME_SPAN_MS)),
                number(task.to_ms),
                epoch,
                lane,
                first_seq,
                number(limit as u64),
            ],
            |row| Ok((stream_key(row, 0)?, range(row, 3)?)),
        )?
        .collect()
}

pub(super) fn to_date(connection: &Connection) -> rusqlite::Result<Vec<DateTask>> {
    connection
        .prepare_cached("SELECT device, boot_id, from_ms, to_ms FROM to_date")?
        .query_map([], |row| {
            Ok(DateTask {
                device: parsed(row, 0, |text| text.parse().ok())?,
                boot: parsed(row, 1, boot_from_hex)?,
                from_ms: unsigned(row, 2)?,
                to_ms: unsigned(row, 3)?,
            })
        })?
        .collect()
}

pub(super) fn raw_batches(
    connection: &Connection,
    codecs: &[u8],
    limit: usize,
) -> rusqlite::Result<Vec<RawBatch>> {
    let wanted: Vec<String> = codecs.iter().map(u8::to_string).collect();
    let sql = format!(
        "SELECT device, epoch, lane, first_seq, first_seq + count - 1, bytes
         FROM raw_batches WHERE codec IN ({}) LIMIT ?1",
        wanted.join(", ")
    );
    connection
        .prepare(&sql)?
        .query_map([number(limit as u64)], |row| {
            Ok(RawBatch {
                key: stream_key(row, 0)?,
                range: range(row, 3)?,
                bytes: row.get(5)?,
            })
        })?
        .collect()
}

pub(super) fn frames_before(
    connection: &Connection,
    before_ms: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(StreamKey, SeqRange)>> {
    connection
        .prepare_cached(
            "SELECT device, epoch, lane, first_seq, first_seq + count - 1 FROM batches
             WHERE received_ms < ?1 AND codec NOT IN (0, 2) ORDER BY received_ms LIMIT ?2",
        )?
        .query_map((before_ms, number(limit as u64)), |row| {
            Ok((stream_key(row, 0)?, range(row, 3)?))
        })?
        .collect()
}
