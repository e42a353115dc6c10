//! Bytes that were set aside, in bounded space.
//!
//! Promises: the same bytes under the same reason are one row that counts; the oldest rows make room.
//! Never: more than [`ROWS_MAX`] rows or [`BYTES_MAX`] bytes.

use firmware_shared::checksum::crc32c;
use rusqlite::Connection;

use crate::ingest::Quarantined;

/// So many different frames are kept as evidence.
pub(super) const ROWS_MAX: u64 = 4_096;
/// So many bytes of them.
pub(super) const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Topics and details are kept up to so many characters.
const TEXT_CHARS_MAX: usize = 300;

/// How full the table is; unknown until it is looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bounds {
    fill: Option<(u64, u64)>,
}

/// Adds a frame, or counts its repetition.
pub(super) fn add(
    connection: &Connection,
    bounds: &mut Bounds,
    item: &Quarantined,
) -> rusqlite::Result<()> {
    let crc = i64::from(crc32c(&item.bytes));
    let repeated = connection
        .prepare_cached(
            "UPDATE quarantine SET count = count + 1, received_ms = ?4
             WHERE crc = ?1 AND device = ?2 AND reason = ?3 AND bytes = ?5",
        )?
        .execute((
            crc,
            &item.device,
            item.reason,
            item.received_ms,
            &item.bytes,
        ))?;
    if repeated > 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO quarantine (received_ms, device, topic, reason, detail, bytes, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            item.received_ms,
            &item.device,
            shortened(&item.topic),
            item.reason,
            shortened(&item.detail),
            &item.bytes,
            crc,
        ))?;
    let (mut rows, mut bytes) = match bounds.fill {
        Some((rows, bytes)) => (rows + 1, bytes + item.bytes.len() as u64),
        None => fill(connection)?,
    };
    while rows > ROWS_MAX || bytes > BYTES_MAX {
        let len: i64 = connection
            .prepare_cached(
                "DELETE FROM quarantine WHERE id = (SELECT min(id) FROM quarantine)
                 RETURNING length(bytes)",
            )?
            .query_row([], |row| row.get(0))?;
        rows = rows.saturating_sub(1);
        bytes = bytes.saturating_sub(len.unsigned_abs());
    }
    bounds.fill = Some((rows, bytes));
    Ok(())
}

fn fill(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.query_row(
        "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM quarantine",
        [],
        |row| Ok((super::unsigned(row, 0)?, super::unsigned(row, 1)?)),
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
