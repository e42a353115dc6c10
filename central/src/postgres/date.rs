//! The UTC of stored rows.
//!
//! Promises: only rows whose UTC or source differs are written; a bound that was told and still holds stays.
//! Never: a stamp changed.

use firmware_shared::id::{Lane, SeqRange};

use super::session::Session;
use super::{fault, number, unsigned};
use crate::ingest::{DateTask, SinkError, StreamKey, Timeline};

pub(super) async fn frame(
    session: &mut Session,
    stream: i64,
    key: &StreamKey,
    range: SeqRange,
    timeline: &Timeline,
) -> Result<(), SinkError> {
    let (device, epoch) = (key.device.as_str(), number(key.stream.epoch.number()));
    let (first, last) = (number(range.first_seq), number(range.last_seq));
    let is_alert = key.stream.lane == Lane::Alert;
    let rows = match is_alert {
        true => {
            session
                .query(
                    "SELECT seq, boottime_ms, utc_ms, utc_source FROM alerts
                     WHERE device = $1 AND epoch = $2 AND seq BETWEEN $3 AND $4",
                    &[&device, &epoch, &first, &last],
                )
                .await?
        }
        false => {
            session
                .query(
                    "SELECT seq, boottime_ms, utc_ms, utc_source FROM reading
                     WHERE stream = $1 AND seq BETWEEN $2 AND $3",
                    &[&stream, &first, &last],
                )
                .await?
        }
    };
    let (mut seqs, mut utcs) = (Vec::<i64>::new(), Vec::<i64>::new());
    let (mut errors, mut sources) = (Vec::<Option<i64>>::new(), Vec::<i16>::new());
    for row in &rows {
        let Some(dated) = timeline.date(unsigned(row, 1)?) else {
            continue;
        };
        let source = i16::from(dated.source as u8);
        let (utc_ms, was): (Option<i64>, i16) = (
            row.try_get(2).map_err(fault)?,
            row.try_get(3).map_err(fault)?,
        );
        if utc_ms == Some(dated.utc_ms) && was == source {
            continue;
        }
        seqs.push(row.try_get(0).map_err(fault)?);
        utcs.push(dated.utc_ms);
        errors.push(dated.error_ms.map(i64::from));
        sources.push(source);
    }
    if !seqs.is_empty() && is_alert {
        session
            .execute(
                "UPDATE alerts AS a SET utc_ms = d.utc_ms, utc_error_ms = d.error_ms,
                     utc_source = d.source
                 FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[])
                     AS d (seq, utc_ms, error_ms, source)
                 WHERE a.device = $1 AND a.epoch = $2 AND a.seq = d.seq",
                &[&device, &epoch, &seqs, &utcs, &errors, &sources],
            )
            .await?;
    } else if !seqs.is_empty() {
        session
            .execute(
                "UPDATE reading AS r SET utc_ms = d.utc_ms, utc_error_ms = d.error_ms,
                     utc_source = d.source
                 FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[])
                     AS d (seq, utc_ms, error_ms, source)
                 WHERE r.stream = $1 AND r.seq = d.seq",
                &[&stream, &seqs, &utcs, &errors, &sources],
            )
            .await?;
    }
    session
        .execute(
            "UPDATE batches SET utc_source = $3
             WHERE stream = $1 AND first_seq = $2 AND utc_source <> $3",
            &[&stream, &first, &i16::from(timeline.source() as u8)],
        )
        .await
        .map(drop)
}

pub(super) async fn remember(session: &mut Session, task: &DateTask) -> Result<(), SinkError> {
    let sql = "INSERT INTO to_date (device, boot_id, from_ms, to_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING";
    statement(session, sql, task).await
}

pub(super) async fn forget(session: &mut Session, task: &DateTask) -> Result<(), SinkError> {
    let sql = "DELETE FROM to_date
         WHERE device = $1 AND boot_id = $2 AND from_ms = $3 AND to_ms = $4";
    statement(session, sql, task).await
}

async fn statement(
    session: &mut Session,
    sql: &'static str,
    task: &DateTask,
) -> Result<(), SinkError> {
    session
        .execute(
            sql,
            &[
                &task.device.as_str(),
                &task.boot.to_string(),
                &number(task.from_ms),
                &number(task.to_ms),
            ],
        )
        .await
        .map(drop)
}
