//! Bytes that were set aside, in bounded space.
//!
//! Promises: the same bytes under the same reason are one row that counts; the oldest rows make room.
//! Never: many more than [`ROWS_MAX`] rows or [`BYTES_MAX`] bytes; several ingests may each be one group above.

use firmware_shared::checksum::crc32c;

use super::session::Session;
use super::{fault, number, text};
use crate::ingest::{Quarantined, SinkError};

/// So many different frames are kept as evidence.
const ROWS_MAX: u64 = 4_096;
/// So many bytes of them.
const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Topics and details are kept up to so many characters.
const TEXT_CHARS_MAX: usize = 300;

/// How full the table is; unknown until it is looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bounds {
    fill: Option<(u64, u64)>,
}

/// Adds a frame, or counts its repetition.
pub(super) async fn add(session: &mut Session, item: &Quarantined) -> Result<(), SinkError> {
    let crc = i64::from(crc32c(&item.bytes));
    let device = text(&item.device);
    let repeated = session
        .execute(
            "UPDATE quarantine SET count = count + 1, received_ms = $4
             WHERE crc = $1 AND device = $2 AND reason = $3 AND bytes = $5",
            &[&crc, &device, &item.reason, &item.received_ms, &item.bytes],
        )
        .await?;
    if repeated > 0 {
        return Ok(());
    }
    let (topic, detail) = (shortened(&item.topic), shortened(&item.detail));
    session
        .execute(
            "INSERT INTO quarantine (received_ms, device, topic, reason, detail, bytes, crc)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &item.received_ms,
                &device,
                &topic,
                &item.reason,
                &detail,
                &item.bytes,
                &crc,
            ],
        )
        .await?;
    let (rows, bytes) = match session.quarantine.fill {
        Some((rows, bytes)) => (rows + 1, bytes + item.bytes.len() as u64),
        None => fill(session).await?,
    };
    session.quarantine.fill = Some((rows, bytes));
    if rows > ROWS_MAX || bytes > BYTES_MAX {
        session
            .execute(
                "DELETE FROM quarantine WHERE id IN (
                     SELECT id FROM (
                         SELECT id, row_number() OVER newest AS rows,
                             sum(length(bytes)) OVER newest AS bytes
                         FROM quarantine WINDOW newest AS (ORDER BY id DESC)) AS counted
                     WHERE rows > $1 OR bytes > $2)",
                &[&number(ROWS_MAX), &number(BYTES_MAX)],
            )
            .await?;
        session.quarantine.fill = Some(fill(session).await?);
    }
    Ok(())
}

async fn fill(session: &mut Session) -> Result<(u64, u64), SinkError> {
    let rows = session
        .query(
            "SELECT count(*), coalesce(sum(length(bytes)), 0)::bigint FROM quarantine",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok((0, 0));
    };
    let part = |index| row.try_get::<_, i64>(index).map_err(fault);
    Ok((part(0)?.unsigned_abs(), part(1)?.unsigned_abs()))
}

fn shortened(value: &str) -> String {
    text(value).chars().take(TEXT_CHARS_MAX).collect()
}
