//! The paths about vehicles.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::access::Viewer;
use super::board::{VehicleList, judged};
use super::fields::{Fields, LENGTH_MS_MAX, device};
use super::problem::{Problem, Refusals};
use crate::desk::VehicleState;
use crate::query::completeness::{self, Completeness};
use crate::query::losses::{self, Loss};
use crate::query::series::{self, Series};
use crate::query::track::{self, Track};
use crate::query::vehicle::{self, Device, Epoch, Gateway, Latest, Position};
use crate::query::{QueryError, Rows};

/// Buckets of a series and positions of a track.
const STEPS_MAX: i64 = 5_000;
/// What a screen shows.
const STEPS_DEFAULT: i64 = 600;
/// The longest step: a week.
const STEP_MS_MAX: i64 = 7 * 86_400_000;

/// Puts a question about a vehicle that there is.
async fn about<T: Send + 'static>(
    shared: &Shared,
    name: &str,
    question: impl FnOnce(&mut dyn Rows, &Device) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Problem> {
    let asked = device(name)?;
    let answer = shared
        .readers
        .ask(move |rows| match vehicle::find(rows, &asked)? {
            Some(device) => question(rows, &device).map(Some),
            None => Ok(None),
        })
        .await?;
    answer.ok_or_else(|| Problem::no_vehicle(name))
}

fn nothing_more(RawQuery(query): &RawQuery) -> Result<(), Problem> {
    Fields::read(query.as_deref())?.end()
}

/// The fleet at a glance.
#[utoipa::path(get, path = "/api/v1/vehicles", tag = "vehicles", operation_id = "vehicles",
    responses((status = 200, body = VehicleList), Refusals))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    query: RawQuery,
) -> Result<Response, Problem> {
    nothing_more(&query)?;
    let view = shared.board.view();
    if view.looked_ms.is_none() {
        let detail = "the fleet is not known yet";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(1));
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, view.json.clone()).into_response())
}

/// A vehicle.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VehicleDetail {
    pub(super) device: String,
    /// `up`, `lost`, `closed`, `unknown`.
    pub(super) link: String,
    pub(super) seen_ms: i64,
    pub(super) received_ms: Option<i64>,
    /// Its latest process start; `null` before its first birth.
    pub(super) epoch: Option<Epoch>,
    pub(super) position: Option<Position>,
    pub(super) gateway: Gateway,
    pub(super) evicted_count: u64,
    /// Condition, open alerts, groups, and what the gateway said about itself; `null` while the desk does not know it.
    #[schema(value_type = Option<Object>)]
    pub(super) desk: Option<VehicleState>,
}

/// One vehicle: its link, its sensors, what its gateway says about itself.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}", tag = "vehicles", operation_id = "vehicle",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$")),
    responses((status = 200, body = VehicleDetail), Refusals))]
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    query: RawQuery,
) -> Result<Json<VehicleDetail>, Problem> {
    nothing_more(&query)?;
    let desk = judged(&shared, &name);
    about(&shared, &name, move |rows, device| {
        let epoch = vehicle::latest_epoch(rows, device)?;
        let snapshot = vehicle::snapshot(rows, device)?;
        Ok(Json(VehicleDetail {
            device: device.name.clone(),
            link: device.link.clone(),
            seen_ms: device.seen_ms,
            received_ms: snapshot.received_ms,
            epoch,
            position: snapshot.position,
            gateway: snapshot.gateway,
            evicted_count: snapshot.evicted_count,
            desk,
        }))
    })
    .await
}

/// The last reading of each sensor.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/latest", tag = "vehicles", operation_id = "latest",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$")),
    responses((status = 200, body = Vec<Latest>), Refusals))]
pub(super) async fn latest(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    query: RawQuery,
) -> Result<Json<Vec<Latest>>, Problem> {
    nothing_more(&query)?;
    about(&shared, &name, |rows, device| {
        Ok(Json(vehicle::snapshot(rows, device)?.latest))
    })
    .await
}

/// The times of a question, and a step that suits a screen unless one was said.
fn times_and_step(fields: &mut Fields) -> Result<(i64, i64, i64), Problem> {
    let step_ms = fields.number("step_ms", 1, STEP_MS_MAX)?;
    let Some((from_ms, to_ms)) = fields.times()? else {
        return Err(Problem::field(
            StatusCode::BAD_REQUEST,
            "from_ms",
            "UTC in milliseconds since 1970",
            "from_ms is missing",
        ));
    };
    let length_ms = to_ms - from_ms;
    if length_ms > LENGTH_MS_MAX {
        let limit = format!("at most from_ms + {LENGTH_MS_MAX}");
        return Err(Problem::contradiction(
            "to_ms",
            limit,
            "the time is longer than 400 days",
        ));
    }
    let shortest_ms = length_ms.div_euclid(STEPS_MAX) + 1;
    match step_ms {
        Some(step_ms) if step_ms < shortest_ms => {
            let limit = format!("at least {shortest_ms} for this time: {STEPS_MAX} steps");
            Err(Problem::contradiction(
                "step_ms",
                limit,
                "the step is too short for this time",
            ))
        }
        Some(step_ms) => Ok((from_ms, to_ms, step_ms)),
        None => Ok((
            from_ms,
            to_ms,
            (length_ms / STEPS_DEFAULT).max(shortest_ms).max(1_000),
        )),
    }
}

/// A sensor over time: the smallest and the largest value of each step, gaps, what came late, what is usual.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/series", tag = "vehicles", operation_id = "series",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$"),
        ("sensor" = String, Query, description = "Its name", min_length = 1, max_length = 64),
        ("from_ms" = i64, Query, description = "UTC in milliseconds since 1970", minimum = 0, maximum = 4102444800000i64),
        ("to_ms" = i64, Query, description = "later than from_ms, by at most 400 days", minimum = 0, maximum = 4102444800000i64),
        ("step_ms" = Option<i64>, Query, description = "at most 5000 steps; without it one that suits a screen", minimum = 1, maximum = 604800000)),
    responses((status = 200, body = Series), Refusals))]
pub(super) async fn series(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Series>, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let sensor = fields.short("sensor", 64)?;
    let (from_ms, to_ms, step_ms) = times_and_step(&mut fields)?;
    fields.end()?;
    let Some(sensor) = sensor else {
        return Err(Problem::field(
            StatusCode::BAD_REQUEST,
            "sensor",
            "the name of a sensor of the vehicle",
            "sensor is missing",
        ));
    };
    let shown = sensor.clone();
    let found = about(&shared, &name, move |rows, device| {
        let request = series::Request {
            device: device.name.clone(),
            sensor,
            from_ms,
            to_ms,
            step_ms,
        };
        series::series(rows, &request)
    })
    .await?;
    found.map(Json).ok_or_else(|| {
        let limit = "a name of GET /api/v1/vehicles/{device}";
        let detail = format!("{name} has no sensor {shown:?}");
        Problem::field(StatusCode::NOT_FOUND, "sensor", limit, detail)
    })
}

/// Where a vehicle was: one position per step.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/track", tag = "vehicles", operation_id = "track",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$"),
        ("from_ms" = i64, Query, description = "UTC in milliseconds since 1970", minimum = 0, maximum = 4102444800000i64),
        ("to_ms" = i64, Query, description = "later than from_ms, by at most 400 days", minimum = 0, maximum = 4102444800000i64),
        ("step_ms" = Option<i64>, Query, description = "at most 5000 steps; without it one that suits a screen", minimum = 1, maximum = 604800000)),
    responses((status = 200, body = Track), Refusals))]
pub(super) async fn track(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Track>, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let (from_ms, to_ms, step_ms) = times_and_step(&mut fields)?;
    fields.end()?;
    about(&shared, &name, move |rows, device| {
        let request = track::Request {
            device: device.name.clone(),
            from_ms,
            to_ms,
            step_ms,
        };
        track::track(rows, &request).map(Json)
    })
    .await
}

/// What will never come, and why.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/losses", tag = "vehicles", operation_id = "losses",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$")),
    responses((status = 200, body = Vec<Loss>), Refusals))]
pub(super) async fn losses(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    query: RawQuery,
) -> Result<Json<Vec<Loss>>, Problem> {
    nothing_more(&query)?;
    about(&shared, &name, |rows, device| {
        losses::losses(rows, &device.name).map(Json)
    })
    .await
}

/// Up to when the readings are complete, and what is missing.
#[utoipa::path(get, path = "/api/v1/vehicles/{device}/completeness", tag = "vehicles", operation_id = "completeness",
    params(("device" = String, Path, pattern = "^[a-z0-9_-]{1,32}$")),
    responses((status = 200, body = Completeness), Refusals))]
pub(super) async fn completeness(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(name): Path<String>,
    query: RawQuery,
) -> Result<Json<Completeness>, Problem> {
    nothing_more(&query)?;
    about(&shared, &name, |rows, device| {
        completeness::completeness(rows, &device.name).map(Json)
    })
    .await
}
