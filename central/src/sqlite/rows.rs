//! A reading as a row.
//!
//! Promises: every number of a reading is in its row exactly; floats stand beside the integers, for people.
//! Never: a default for what the device did not say.

use firmware_shared::reading::Reading;
use rusqlite::{Connection, params};

use crate::columns::cells;
use crate::ingest::Timeline;

const INSERT: &str = "INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, utc_ms, score, raw, detail, \
    aux, scalar, lat, lon, height_mm, speed_mm_s, course_1e5_deg, h_acc_mm, dop_centi, satellites, \
    utc_error_ms, utc_source) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

/// Inserts the rows of a frame; `first_seq` is the number of the first.
pub(super) fn insert(
    connection: &Connection,
    stream: i64,
    first_seq: u64,
    readings: &[Reading],
    timeline: Option<&Timeline>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(INSERT)?;
    for (seq, reading) in (first_seq..).zip(readings) {
        let cells = cells(&reading.value);
        let dated = timeline.and_then(|timeline| timeline.date(reading.stamp_ms));
        let position = cells.position.as_ref();
        statement.execute(params![
            stream,
            super::number(seq),
            reading.sensor,
            reading.value.kind() as u8,
            super::number(reading.stamp_ms),
            dated.map(|dated| dated.utc_ms),
            reading.score.0,
            cells.raw,
            cells.detail,
            cells.aux,
            cells.scalar,
            position.map(|p| p.lat.0),
            position.map(|p| p.lon.0),
            position.and_then(|p| p.height).map(|v| v.0),
            position.and_then(|p| p.speed).map(|v| v.0),
            position.and_then(|p| p.course).map(|v| v.0),
            position.and_then(|p| p.h_acc).map(|v| v.0),
            position.and_then(|p| p.dop).map(|v| v.0),
            position.and_then(|p| p.satellites),
            dated.and_then(|dated| dated.error_ms),
            dated.map_or(0, |dated| dated.source as u8),
        ])?;
    }
    Ok(())
}
