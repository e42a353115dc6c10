//! Where a vehicle was.
//!
//! Promises: at most one position per step, the first one of it; a stretch without a position breaks the line.

use serde::Serialize;
use utoipa::ToSchema;

use super::seek;
use super::{Cell, QueryError, Rows};

/// Positions further apart are not joined by a line.
const BREAK_MS_MIN: i64 = 120_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) device: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
}

/// The answer: columns of equal length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Track {
    pub(crate) device: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) utc_ms: Vec<i64>,
    pub(crate) lat_deg: Vec<f64>,
    pub(crate) lon_deg: Vec<f64>,
    pub(crate) speed_mps: Vec<Option<f64>>,
    /// Positions before which the line is broken, by their place in the columns.
    pub(crate) breaks: Vec<usize>,
}

/// The track.
pub(crate) fn track(rows: &mut dyn Rows, request: &Request) -> Result<Track, QueryError> {
    let mut track = Track {
        device: request.device.clone(),
        from_ms: request.from_ms,
        to_ms: request.to_ms,
        step_ms: request.step_ms,
        ..Track::default()
    };
    for stream in seek::streams(rows, &request.device, "telemetry")? {
        let Some(span) = seek::span(rows, stream, request.from_ms, request.to_ms)? else {
            continue;
        };
        rows.each(
            "SELECT utc_ms, lat, lon, speed_mm_s FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq IN (\
             SELECT min(seq) FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq >= CAST($2 AS BIGINT) \
             AND seq <= CAST($3 AS BIGINT) AND kind = 1 AND utc_ms >= CAST($4 AS BIGINT) \
             AND utc_ms < CAST($5 AS BIGINT) GROUP BY (utc_ms - CAST($4 AS BIGINT)) / CAST($6 AS BIGINT)) \
             ORDER BY seq",
            &[
                Cell::Int(span.stream.number),
                Cell::int(span.first_seq),
                Cell::int(span.last_seq),
                Cell::Int(request.from_ms),
                Cell::Int(request.to_ms),
                Cell::Int(request.step_ms),
            ],
            &mut |row| {
                let (Some(utc_ms), Some(lat), Some(lon)) = (row.int(0), row.real(1), row.real(2))
                else {
                    return;
                };
                track.push(utc_ms, lat / 1e7, lon / 1e7, row.real(3).map(|mm_s| mm_s / 1e3));
            },
        )?;
    }
    Ok(track)
}

impl Track {
    fn push(&mut self, utc_ms: i64, lat_deg: f64, lon_deg: f64, speed_mps: Option<f64>) {
        let break_ms = self.step_ms.saturating_mul(3).max(BREAK_MS_MIN);
        let is_break = self
            .utc_ms
            .last()
            .is_some_and(|before| (utc_ms - before).abs() > break_ms);
        if is_break {
            self.breaks.push(self.utc_ms.len());
        }
        self.utc_ms.push(utc_ms);
        self.lat_deg.push(lat_deg);
        self.lon_deg.push(lon_deg);
        self.speed_mps.push(speed_mps);
    }
}
