//! Rows as they are, page by page.
//!
//! Promises: every reading that was stored when the export began and lies in the time asked for comes once, in the
//! order of process starts and numbers; between two pages nothing of the database is held. Never: more than one
//! page in memory.

use super::seek::{self, Span};
use super::{Cell, QueryError, Row, Rows, list};

/// Rows of a page: some hundred kilobytes of text.
const PAGE_ROWS: i64 = 2_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) device: String,
    /// Only of this sensor.
    pub(crate) sensor: Option<String>,
    /// Without times, readings that nobody can date come, too.
    pub(crate) times: Option<(i64, i64)>,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) sensor: i64,
    pub(crate) name: Option<String>,
    pub(crate) kind: String,
    pub(crate) boottime_ms: i64,
    pub(crate) utc_ms: Option<i64>,
    pub(crate) utc_error_ms: Option<i64>,
    pub(crate) utc_source: String,
    pub(crate) value: Option<f64>,
    pub(crate) unit: Option<String>,
    pub(crate) lat_deg: Option<f64>,
    pub(crate) lon_deg: Option<f64>,
    pub(crate) height_m: Option<f64>,
    pub(crate) speed_mps: Option<f64>,
    pub(crate) course_deg: Option<f64>,
    pub(crate) fault: Option<String>,
    pub(crate) score: i64,
}

impl Reading {
    fn read(row: Row<'_>, epoch: u64) -> Option<Self> {
        Some(Self {
            epoch,
            seq: row.unsigned(0)?,
            sensor: row.int(1)?,
            name: row.text(2),
            kind: row.text(3)?,
            boottime_ms: row.int(4)?,
            utc_ms: row.int(5),
            utc_error_ms: row.int(6),
            utc_source: row.text(7).unwrap_or_default(),
            value: row.real(8),
            unit: row.text(9),
            lat_deg: row.real(10).map(|degrees| degrees / 1e7),
            lon_deg: row.real(11).map(|degrees| degrees / 1e7),
            height_m: row.real(12).map(|height| height / 1e3),
            speed_mps: row.real(13).map(|speed| speed / 1e3),
            course_deg: row.real(14).map(|course| course / 1e5),
            fault: row.text(15),
            score: row.int(16).unwrap_or_default(),
        })
    }
}

/// Where an export has come to: the spans that are left, the first one from its next number on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    request: Request,
    left: Vec<Span>,
}

/// Finds out what there is to export.
pub(crate) fn begin(rows: &mut dyn Rows, request: Request) -> Result<Export, QueryError> {
    let mut left = Vec::new();
    for stream in seek::streams(rows, &request.device, "telemetry")? {
        match request.times {
            Some((from_ms, to_ms)) => left.extend(seek::span(rows, stream, from_ms, to_ms)?),
            None => left.extend(whole(rows, stream)?),
        }
    }
    left.reverse();
    Ok(Export { request, left })
}

fn whole(rows: &mut dyn Rows, stream: seek::Stream) -> Result<Option<Span>, QueryError> {
    let sql = "SELECT min(seq), max(seq) FROM reading WHERE stream = CAST($1 AS BIGINT)";
    let found = super::first(rows, sql, &[Cell::Int(stream.number)], |row| {
        Some((row.unsigned(0)?, row.unsigned(1)?))
    })?;
    Ok(found.map(|(first_seq, last_seq)| Span {
        stream,
        first_seq,
        last_seq,
    }))
}

impl Export {
    /// The next page and the rest of the export; `None` behind the last page. A page may be empty.
    pub(crate) fn page(
        mut self,
        rows: &mut dyn Rows,
    ) -> Result<Option<(Vec<Reading>, Self)>, QueryError> {
        let Some(span) = self.left.last_mut() else {
            return Ok(None);
        };
        let (from_ms, to_ms) = self.request.times.unwrap_or((i64::MIN, i64::MAX));
        let takes_undated = self.request.times.is_none();
        let sensor = self.request.sensor.clone();
        let page = list(
            rows,
            "SELECT seq, sensor, name, kind, boottime_ms, utc_ms, utc_error_ms, utc_source, value, unit, lat, lon, \
             height_mm, speed_mm_s, course_1e5_deg, fault, score FROM readings_named \
             WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT) AND lane = 'telemetry' \
             AND seq >= CAST($3 AS BIGINT) AND seq <= CAST($4 AS BIGINT) \
             ORDER BY seq LIMIT CAST($5 AS BIGINT)",
            &[
                Cell::text(&self.request.device),
                Cell::int(span.stream.epoch),
                Cell::int(span.first_seq),
                Cell::int(span.last_seq),
                Cell::Int(PAGE_ROWS),
            ],
            |row| Reading::read(row, span.stream.epoch),
        )?;
        match page.last() {
            Some(last) if last.seq < span.last_seq => span.first_seq = last.seq + 1,
            _ => drop(self.left.pop()),
        }
        let wanted = |reading: &Reading| {
            let in_time = match reading.utc_ms {
                Some(utc_ms) => (from_ms..to_ms).contains(&utc_ms),
                None => takes_undated,
            };
            in_time && (sensor.is_none() || reading.name == sensor)
        };
        let page = page.into_iter().filter(wanted).collect();
        Ok(Some((page, self)))
    }
}
