//! Readings as a file: CSV or one JSON object per line.
//!
//! Promises: streamed page by page, so that an export of a year needs no more memory than one of an hour; a
//! database that fails in between cuts the transfer, so that half an export never looks like a whole one.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{TryStreamExt, stream};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Shared;
use super::access::Viewer;
use super::fields::{Fields, device};
use super::problem::{Problem, Refusals};
use crate::query::export::{self, Export, Reading};
use crate::query::{hex, vehicle};

/// The forms of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// With a head, RFC 4180.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

const HEAD: &str = "device,epoch,seq,sensor,name,kind,boottime_ms,utc,utc_error_ms,utc_source,value,unit,lat_deg,\
                    lon_deg,height_m,speed_mps,course_deg,fault,score\r\n";

/// Readings of a vehicle as a file.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/export", tag = "vehicles", operation_id = "export",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$"),
        ("format" = inline(Option<Form>), Query, description = "csv without it"),
        ("sensor" = Option<String>, Query, description = "only of the sensor with this name", min_length = 1, max_length = 64),
        ("from_ms" = Option<i64>, Query, description = "UTC; without times undated readings come, too", minimum = 0, maximum = 4102444800000i64),
        ("to_ms" = Option<i64>, Query, description = "later than from_ms", minimum = 0, maximum = 4102444800000i64)),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))),
        Refusals))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let name = device(&name)?;
    let mut fields = Fields::read(query.as_deref())?;
    let forms = [("csv", Form::Csv), ("ndjson", Form::Ndjson)];
    let form = fields.one_of("format", &forms)?.unwrap_or(Form::Csv);
    let request = export::Request {
        device: name.clone(),
        sensor: fields.short("sensor", 64)?,
        times: fields.times()?,
    };
    fields.end()?;
    let asked = name.clone();
    let begun = shared
        .readers
        .ask(move |rows| match vehicle::find(rows, &asked)? {
            Some(_) => export::begin(rows, request).map(Some),
            None => Ok(None),
        })
        .await?
        .ok_or_else(|| Problem::no_vehicle(&name))?;
    Ok(file(shared, name, form, begun))
}

fn file(shared: Arc<Shared>, name: String, form: Form, begun: Export) -> Response {
    let (kind, ending, head) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "csv", HEAD),
        Form::Ndjson => ("application/x-ndjson", "ndjson", ""),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.{ending}\""),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let pages = stream::try_unfold(begun, move |rest| {
        let (shared, name) = (Arc::clone(&shared), name.clone());
        async move {
            // A queue that is full for a moment does not end an export that runs.
            let page = ask_again(&shared, rest).await?;
            Ok::<_, std::io::Error>(
                page.map(|(readings, rest)| (text(&name, form, &readings), rest)),
            )
        }
    });
    let first = stream::iter((!head.is_empty()).then(|| Ok(Bytes::from_static(head.as_bytes()))));
    let whole = futures_util::StreamExt::chain(first, pages)
        .try_filter(|bytes| std::future::ready(!bytes.is_empty()));
    (StatusCode::OK, headers, Body::from_stream(whole)).into_response()
}

async fn ask_again(
    shared: &Shared,
    rest: Export,
) -> Result<Option<(Vec<Reading>, Export)>, std::io::Error> {
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(200));
    for _ in 0..25 {
        pause.tick().await;
        let rest = rest.clone();
        match shared.readers.ask(move |rows| rest.page(rows)).await {
            Err(crate::query::QueryError::Busy) => {}
            other => return other.map_err(std::io::Error::other),
        }
    }
    Err(std::io::Error::other("the database has no time"))
}

fn text(device: &str, form: Form, readings: &[Reading]) -> Bytes {
    let mut out = Vec::with_capacity(readings.len() * 120);
    for reading in readings {
        let written = match form {
            Form::Csv => csv(&mut out, device, reading),
            Form::Ndjson => ndjson(&mut out, device, reading),
        };
        // A vector takes everything.
        written.ok();
    }
    out.into()
}

fn utc(reading: &Reading) -> Option<String> {
    let stamp = jiff::Timestamp::from_millisecond(reading.utc_ms?).ok()?;
    Some(format!("{stamp:.3}"))
}

fn csv(out: &mut Vec<u8>, device: &str, reading: &Reading) -> std::io::Result<()> {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let error = reading
        .utc_error_ms
        .map(|error| error.to_string())
        .unwrap_or_default();
    writeln!(
        out,
        "{device},{},{},{},{},{},{},{},{error},{},{},{},{},{},{},{},{},{},{}\r",
        hex(reading.epoch),
        reading.seq,
        reading.sensor,
        quoted(reading.name.as_deref().unwrap_or_default()),
        reading.kind,
        reading.boottime_ms,
        utc(reading).unwrap_or_default(),
        reading.utc_source,
        number(reading.value),
        quoted(reading.unit.as_deref().unwrap_or_default()),
        number(reading.lat_deg),
        number(reading.lon_deg),
        number(reading.height_m),
        number(reading.speed_mps),
        number(reading.course_deg),
        reading.fault.as_deref().unwrap_or_default(),
        reading.score,
    )
}

fn ndjson(out: &mut Vec<u8>, device: &str, reading: &Reading) -> std::io::Result<()> {
    let object = json!({
        "device": device,
        "epoch": hex(reading.epoch),
        "seq": reading.seq,
        "sensor": reading.sensor,
        "name": reading.name,
        "kind": reading.kind,
        "boottime_ms": reading.boottime_ms,
        "utc": utc(reading),
        "utc_error_ms": reading.utc_error_ms,
        "utc_source": reading.utc_source,
        "value": reading.value,
        "unit": reading.unit,
        "lat_deg": reading.lat_deg,
        "lon_deg": reading.lon_deg,
        "height_m": reading.height_m,
        "speed_mps": reading.speed_mps,
        "course_deg": reading.course_deg,
        "fault": reading.fault,
        "score": reading.score,
    });
    writeln!(out, "{object}")
}

/// A cell of CSV. What a spreadsheet would take for a formula is made text.
pub(super) fn quoted(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    match is_formula || text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_cell_cannot_leave_its_place_nor_be_a_formula() {
        assert_eq!(quoted("cargo"), "cargo");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("-x"), "\"'-x\"");
    }
}
