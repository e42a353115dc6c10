//! A reading as a row of its month's partition.
//!
//! Promises: every number of a reading is in its row exactly. Never: a default for what the device did not say.

use firmware_shared::reading::Reading;

use super::copy::CopyRows;
use super::number;
use crate::columns::cells;
use crate::ingest::Timeline;

pub(super) const COPY: &str = "COPY reading (stream, seq, month, sensor, kind, score, boottime_ms, utc_ms, utc_error_ms, \
    utc_source, raw, detail, aux, scalar, lat, lon, height_mm, speed_mm_s, course_1e5_deg, h_acc_mm, dop_centi, satellites) \
    FROM STDIN (FORMAT binary)";
const FIELDS: i16 = 22;

/// Adds the rows of a frame; `first_seq` is the number of the first.
pub(super) fn add(
    rows: &mut CopyRows,
    stream: i64,
    month: i32,
    first_seq: u64,
    readings: &[Reading],
    timeline: Option<&Timeline>,
) {
    for (seq, reading) in (first_seq..).zip(readings) {
        let cells = cells(&reading.value);
        let dated = timeline.and_then(|timeline| timeline.date(reading.stamp_ms));
        let position = cells.position.as_ref();
        rows.row(FIELDS);
        rows.int8(Some(stream));
        rows.int8(Some(number(seq)));
        rows.int4(Some(month));
        rows.int2(i16::from(reading.sensor));
        rows.int2(i16::from(reading.value.kind() as u8));
        rows.int2(i16::try_from(reading.score.0).unwrap_or(i16::MAX));
        rows.int8(Some(number(reading.stamp_ms)));
        rows.int8(dated.map(|dated| dated.utc_ms));
        rows.int8(dated.and_then(|dated| dated.error_ms).map(Into::into));
        rows.int2(dated.map_or(0, |dated| i16::from(dated.source as u8)));
        rows.int8(cells.raw);
        rows.int8(cells.detail);
        rows.int8(cells.aux);
        rows.float8(cells.scalar);
        rows.int4(position.map(|p| p.lat.0));
        rows.int4(position.map(|p| p.lon.0));
        rows.int8(position.and_then(|p| p.height).map(|v| v.0.into()));
        rows.int8(position.and_then(|p| p.speed).map(|v| v.0.into()));
        rows.int8(position.and_then(|p| p.course).map(|v| v.0.into()));
        rows.int8(position.and_then(|p| p.h_acc).map(|v| v.0.into()));
        rows.int8(position.and_then(|p| p.dop).map(|v| v.0.into()));
        rows.int8(position.and_then(|p| p.satellites).map(Into::into));
    }
}
