//! From a time to the numbers of a stream.
//!
//! Promises: about twenty looks at the primary key instead of a walk; what is found begins a little before and ends
//! a little after the time that was asked for, so that readings a few minutes out of order are inside. Never: an
//! index over times, which every ingest would pay for.

use super::{Cell, QueryError, Rows, first, list};

/// Stamps of different sensors of a stream, and UTC on both sides of a repair, may be so far out of order.
const SLACK_MS: i64 = 600_000;

/// A telemetry stream of a device: one process start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) number: i64,
    pub(crate) epoch: u64,
}

/// Numbers of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) stream: Stream,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// Streams of a lane of a device, in the order in which the epochs were born.
pub(crate) fn streams(
    rows: &mut dyn Rows,
    device: &str,
    lane: &str,
) -> Result<Vec<Stream>, QueryError> {
    list(
        rows,
        "SELECT s.stream, s.epoch FROM streams AS s \
         LEFT JOIN epochs AS e ON e.device = s.device AND e.epoch = s.epoch \
         WHERE s.device = CAST($1 AS TEXT) AND s.lane = CAST($2 AS TEXT) \
         ORDER BY coalesce(e.born_order, 9223372036854775807), s.stream",
        &[Cell::text(device), Cell::text(lane)],
        |row| {
            Some(Stream {
                number: row.int(0)?,
                epoch: row.unsigned(1)?,
            })
        },
    )
}

/// The first dated reading with this number or a later one: number and UTC.
fn dated_from(
    rows: &mut dyn Rows,
    stream: i64,
    seq: u64,
) -> Result<Option<(u64, i64)>, QueryError> {
    first(
        rows,
        "SELECT seq, utc_ms FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq >= CAST($2 AS BIGINT) \
         AND utc_ms IS NOT NULL ORDER BY seq LIMIT 1",
        &[Cell::Int(stream), Cell::int(seq)],
        |row| Some((row.unsigned(0)?, row.int(1)?)),
    )
}

fn last_dated(rows: &mut dyn Rows, stream: i64) -> Result<Option<(u64, i64)>, QueryError> {
    first(
        rows,
        "SELECT seq, utc_ms FROM reading WHERE stream = CAST($1 AS BIGINT) AND utc_ms IS NOT NULL \
         ORDER BY seq DESC LIMIT 1",
        &[Cell::Int(stream)],
        |row| Some((row.unsigned(0)?, row.int(1)?)),
    )
}

/// The numbers of a stream that may hold readings from `from_ms` to `to_ms`; `None` when there are none.
pub(crate) fn span(
    rows: &mut dyn Rows,
    stream: Stream,
    from_ms: i64,
    to_ms: i64,
) -> Result<Option<Span>, QueryError> {
    let (from_ms, to_ms) = (
        from_ms.saturating_sub(SLACK_MS),
        to_ms.saturating_add(SLACK_MS),
    );
    let Some((low_seq, low_ms)) = dated_from(rows, stream.number, 0)? else {
        return Ok(None);
    };
    let Some((high_seq, high_ms)) = last_dated(rows, stream.number)? else {
        return Ok(None);
    };
    if low_ms > to_ms || high_ms < from_ms {
        return Ok(None);
    }
    let first_seq = match low_ms >= from_ms {
        true => low_seq,
        false => lowest(rows, stream.number, low_seq, high_seq, from_ms)?,
    };
    let last_seq = match high_ms <= to_ms {
        true => high_seq,
        false => lowest(rows, stream.number, first_seq, high_seq, to_ms)?,
    };
    Ok(Some(Span {
        stream,
        first_seq,
        last_seq,
    }))
}

/// The lowest number from which on readings are from `at_ms` or later; `high_seq` when there is none.
fn lowest(
    rows: &mut dyn Rows,
    stream: i64,
    low_seq: u64,
    high_seq: u64,
    at_ms: i64,
) -> Result<u64, QueryError> {
    let (mut low, mut high) = (low_seq, high_seq);
    while low < high {
        let middle = low + (high - low) / 2;
        match dated_from(rows, stream, middle)? {
            Some((_, utc_ms)) if utc_ms < at_ms => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(high)
}
