//! The UTC of stored rows.
//!
//! Promises: only rows whose UTC or source differs are written; a bound that was told and still holds stays.
//! Never: a stamp changed.

use firmware_shared::id::{Lane, SeqRange};
use rusqlite::Connection;

use super::load::key_params;
use super::number;
use crate::ingest::{DateTask, Dated, StreamKey, Timeline};

/// A row's number, stamp, UTC and source.
type Row = (i64, u64, Option<i64>, u8);

pub(super) fn frame(
    connection: &Connection,
    stream: i64,
    key: &StreamKey,
    range: SeqRange,
    timeline: &Timeline,
) -> rusqlite::Result<()> {
    let (device, epoch, lane) = key_params(key);
    let (first, last) = (number(range.first_seq), number(range.last_seq));
    let is_alert = key.stream.lane == Lane::Alert;
    let rows = match is_alert {
        true => rows(
            connection,
            "SELECT seq, boottime_ms, utc_ms, utc_source FROM alerts
             WHERE device = ?1 AND epoch = ?2 AND seq BETWEEN ?3 AND ?4",
            (device, epoch, first, last),
        )?,
        false => rows(
            connection,
            "SELECT seq, boottime_ms, utc_ms, utc_source FROM reading
             WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3",
            (stream, first, last),
        )?,
    };
    for (seq, stamp_ms, utc_ms, source) in rows {
        let Some(dated) = timeline.date(stamp_ms) else {
            continue;
        };
        if utc_ms == Some(dated.utc_ms) && source == dated.source as u8 {
            continue;
        }
        match is_alert {
            true => alert(connection, device, epoch, seq, dated)?,
            false => reading(connection, stream, seq, dated)?,
        }
    }
    connection
        .prepare_cached(
            "UPDATE batches SET utc_source = ?5
             WHERE device = ?1 AND epoch = ?2 AND lane = ?3 AND first_seq = ?4 AND utc_source <> ?5",
        )?
        .execute((device, epoch, lane, first, timeline.source() as u8))
        .map(drop)
}

fn rows(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, |row| {
            Ok((
                row.get(0)?,
                super::unsigned(row, 1)?,
                row.get(2)?,
                row.get(3)?,
            ))
        })?
        .collect()
}

fn reading(connection: &Connection, stream: i64, seq: i64, dated: Dated) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE reading SET utc_ms = ?3, utc_error_ms = ?4, utc_source = ?5
             WHERE stream = ?1 AND seq = ?2",
        )?
        .execute((
            stream,
            seq,
            dated.utc_ms,
            dated.error_ms,
            dated.source as u8,
        ))
        .map(drop)
}

fn alert(
    connection: &Connection,
    device: &str,
    epoch: i64,
    seq: i64,
    dated: Dated,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE alerts SET utc_ms = ?4, utc_error_ms = ?5, utc_source = ?6
             WHERE device = ?1 AND epoch = ?2 AND seq = ?3",
        )?
        .execute((
            device,
            epoch,
            seq,
            dated.utc_ms,
            dated.error_ms,
            dated.source as u8,
        ))
        .map(drop)
}

pub(super) fn remember(connection: &Connection, task: &DateTask) -> rusqlite::Result<()> {
    task_statement(
        connection,
        "INSERT OR IGNORE INTO to_date (device, boot_id, from_ms, to_ms) VALUES (?1, ?2, ?3, ?4)",
        task,
    )
}

pub(super) fn forget(connection: &Connection, task: &DateTask) -> rusqlite::Result<()> {
    task_statement(
        connection,
        "DELETE FROM to_date
         WHERE device = ?1 AND boot_id = ?2 AND from_ms = ?3 AND to_ms = ?4",
        task,
    )
}

fn task_statement(connection: &Connection, sql: &str, task: &DateTask) -> rusqlite::Result<()> {
    connection
        .prepare_cached(sql)?
        .execute((
            task.device.as_str(),
            task.boot.to_string(),
            number(task.from_ms),
            number(task.to_ms),
        ))
        .map(drop)
}
