//! What is lost, with the reason, and about when.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Cell, QueryError, Rows, first, hex, list};

/// More are counted, not listed.
const LOSSES_MAX: i64 = 1_000;

/// Numbers that will never come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Loss {
    /// 16 hex digits.
    pub(crate) epoch: String,
    pub(crate) lane: String,
    pub(crate) first_seq: u64,
    /// `null`: the unknown tail of a process that died.
    pub(crate) last_seq: Option<u64>,
    /// `evicted`, `corrupt`, `not_accepted_before_crash`, `released_before_restore`, ...
    pub(crate) reason: String,
    /// Of a tail: how many readings it was at most.
    pub(crate) at_most: Option<u64>,
    /// UTC of the last reading before it and of the first behind it, where there are such.
    pub(crate) after_utc_ms: Option<i64>,
    pub(crate) before_utc_ms: Option<i64>,
}

/// The losses of a vehicle, the latest process start first.
pub(crate) fn losses(rows: &mut dyn Rows, device: &str) -> Result<Vec<Loss>, QueryError> {
    let found = list(
        rows,
        "SELECT l.epoch, l.lane, l.first_seq, l.last_seq, l.reason, l.at_most, s.stream FROM losses AS l \
         LEFT JOIN epochs AS e ON e.device = l.device AND e.epoch = l.epoch \
         LEFT JOIN streams AS s ON s.device = l.device AND s.epoch = l.epoch AND s.lane = l.lane \
         WHERE l.device = CAST($1 AS TEXT) \
         ORDER BY coalesce(e.born_order, 9223372036854775807) DESC, l.lane, l.first_seq LIMIT CAST($2 AS BIGINT)",
        &[Cell::text(device), Cell::Int(LOSSES_MAX)],
        |row| {
            let loss = Loss {
                epoch: hex(row.unsigned(0)?),
                lane: row.text(1)?,
                first_seq: row.unsigned(2)?,
                last_seq: row.unsigned(3),
                reason: row.text(4)?,
                at_most: row.unsigned(5),
                after_utc_ms: None,
                before_utc_ms: None,
            };
            Some((loss, row.int(6)))
        },
    )?;
    found
        .into_iter()
        .map(|(mut loss, stream)| {
            if let Some(stream) = stream {
                (loss.after_utc_ms, loss.before_utc_ms) = around(rows, stream, &loss)?;
            }
            Ok(loss)
        })
        .collect()
}

fn around(
    rows: &mut dyn Rows,
    stream: i64,
    loss: &Loss,
) -> Result<(Option<i64>, Option<i64>), QueryError> {
    let before = first(
        rows,
        "SELECT utc_ms FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq < CAST($2 AS BIGINT) \
         AND utc_ms IS NOT NULL ORDER BY seq DESC LIMIT 1",
        &[Cell::Int(stream), Cell::int(loss.first_seq)],
        |row| row.int(0),
    )?;
    let Some(last_seq) = loss.last_seq else {
        return Ok((before, None));
    };
    let behind = first(
        rows,
        "SELECT utc_ms FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq > CAST($2 AS BIGINT) \
         AND utc_ms IS NOT NULL ORDER BY seq LIMIT 1",
        &[Cell::Int(stream), Cell::int(last_seq)],
        |row| row.int(0),
    )?;
    Ok((before, behind))
}
