//! The paths about alerts: the list, acknowledging, notes, the audit log.
//!
//! Promises: an acknowledgement is committed, with who gave it, before it is answered. Never: an order in the name of
//! somebody else.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use firmware_shared::alert::Severity;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Shared;
use super::access::{Admin, Operator, Viewer};
use super::export::quoted;
use super::fields::Fields;
use super::problem::{Problem, Refusals};
use super::session::body;
use crate::desk::{AlertItem, Desk, Filter, OrderError, StoreError};

const PAGE_MAX: i64 = 1_000;
const PAGE_DEFAULT: i64 = 100;
/// Rows that are written to a CSV at once.
const CSV_PAGE: usize = 500;
/// Characters of a note.
const NOTE_CHARS_MAX: usize = 1_000;

/// Asks the desk on a thread that may wait.
async fn ask<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&Desk) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let desk = shared.desk.clone();
    match tokio::task::spawn_blocking(move || question(&desk)).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the question failed",
        )),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the desk cannot be read");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the desk cannot be read").retry(5)
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let detail = error.to_string();
        match error {
            OrderError::Unknown(_) => Self::field(
                StatusCode::NOT_FOUND,
                "id",
                "an id of GET /api/v1/alerts",
                detail,
            ),
            OrderError::Over(_) => Self::field(
                StatusCode::CONFLICT,
                "id",
                "an alert that is not over",
                detail,
            ),
            OrderError::Length { field, max, .. } => Self::field(
                StatusCode::BAD_REQUEST,
                field,
                format!("1 to {max} bytes"),
                detail,
            ),
            OrderError::Unavailable(_) => {
                tracing::warn!(detail, "the desk takes no orders");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the desk takes no orders now",
                )
                .retry(2)
            }
        }
    }
}

/// A page of alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertList {
    /// The latest first.
    #[schema(value_type = Vec<Object>)]
    alerts: Vec<AlertItem>,
    /// What `after` is for the next page; `null` behind the last one.
    next: Option<String>,
}

fn filter(fields: &mut Fields) -> Result<Filter, Problem> {
    let yes_or_no = [("true", true), ("false", false)];
    let severities = [
        ("diagnostic", Severity::Diagnostic),
        ("warning", Severity::Warning),
        ("critical", Severity::Critical),
    ];
    let after = fields.short("after", 200)?;
    let times = fields.times()?;
    Ok(Filter {
        open: fields.one_of("open", &yes_or_no)?,
        acknowledged: fields.one_of("acknowledged", &yes_or_no)?,
        severity: fields.one_of("severity", &severities)?,
        device: fields.short("device", 64)?,
        kind: fields.short("kind", 64)?,
        group: fields.short("group", 64)?,
        role: fields.short("role", 64)?,
        text: fields.short("text", 100)?,
        from_ms: times.map(|(from_ms, _)| from_ms),
        to_ms: times.map(|(_, to_ms)| to_ms),
        after: after.map(|after| place(&after)).transpose()?,
        limit: 0,
    })
}

/// Where a page ended, as its reader hands it back.
fn place(text: &str) -> Result<(i64, String), Problem> {
    let found = text
        .split_once('.')
        .and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
    found.ok_or_else(|| Problem::bad("after", "next of the page before", text))
}

fn next(items: &[AlertItem], limit: usize) -> Option<String> {
    let last = items.last().filter(|_| items.len() >= limit)?;
    Some(format!("{}.{}", last.received_ms, last.id))
}

/// Alerts, the latest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", operation_id = "alerts",
    params(("open" = Option<bool>, Query, description = "only open ones, or only ended ones"),
        ("acknowledged" = Option<bool>, Query, description = "only acknowledged ones, or only the others"),
        ("severity" = Option<String>, Query, description = "at least so bad", pattern = "^(diagnostic|warning|critical)$"),
        ("device" = Option<String>, Query, description = "a pattern: * is any text, ? one character", min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("kind" = Option<String>, Query, description = "a pattern", min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("group" = Option<String>, Query, description = "a pattern", min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("role" = Option<String>, Query, description = "a pattern", min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("text" = Option<String>, Query, description = "a piece of sentence, kind, device or sensor", min_length = 1, max_length = 100, pattern = "^[^\\x00]+$"),
        ("from_ms" = Option<i64>, Query, description = "received at or after this UTC; with to_ms", minimum = 0, maximum = 4102444800000i64),
        ("to_ms" = Option<i64>, Query, description = "received before this UTC; with from_ms", minimum = 0, maximum = 4102444800000i64),
        ("after" = Option<String>, Query, description = "next of the page before", min_length = 1, max_length = 200, pattern = "^[0-9]{1,15}\\.[a-z0-9_.:-]+$"),
        ("limit" = Option<i64>, Query, description = "100 without it", minimum = 1, maximum = 1000)),
    responses((status = 200, body = AlertList), Refusals))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    RawQuery(query): RawQuery,
) -> Result<Json<AlertList>, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let limit = fields.number("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let limit = usize::try_from(limit).unwrap_or_default();
    let filter = Filter {
        limit,
        ..filter(&mut fields)?
    };
    fields.end()?;
    let alerts = ask(&shared, move |desk| desk.alerts(&filter)).await?;
    let next = next(&alerts, limit);
    Ok(Json(AlertList { alerts, next }))
}

const HEAD: &str = "id,device,severity,kind,sensor,state,raised,cleared,received,value,unit,expected,low,high,late,\
                    acknowledged_by,acknowledged,members,score,heads,load_id,text\r\n";

/// Alerts as CSV, the latest first; the same filter as the list, without pages.
#[utoipa::path(get, path = "/api/v1/alerts/export", tag = "alerts", operation_id = "alerts_export",
    params(("open" = Option<bool>, Query), ("acknowledged" = Option<bool>, Query),
        ("severity" = Option<String>, Query, pattern = "^(diagnostic|warning|critical)$"),
        ("device" = Option<String>, Query, min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("kind" = Option<String>, Query, min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("group" = Option<String>, Query, min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("role" = Option<String>, Query, min_length = 1, max_length = 64, pattern = "^[^\\x00]+$"),
        ("text" = Option<String>, Query, min_length = 1, max_length = 100, pattern = "^[^\\x00]+$"),
        ("from_ms" = Option<i64>, Query, minimum = 0, maximum = 4102444800000i64),
        ("to_ms" = Option<i64>, Query, minimum = 0, maximum = 4102444800000i64)),
    responses((status = 200, body = String, content_type = "text/csv"), Refusals))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let filter = Filter {
        limit: CSV_PAGE,
        ..filter(&mut fields)?
    };
    fields.end()?;
    if filter.after.is_some() {
        return Err(Problem::bad(
            "after",
            "nothing here: an export has no pages",
            "",
        ));
    }
    let pages = stream::try_unfold(Some(filter), move |filter| {
        let shared = Arc::clone(&shared);
        async move {
            let Some(mut filter) = filter else {
                return Ok::<_, std::io::Error>(None);
            };
            let asked = filter.clone();
            let page = ask(&shared, move |desk| desk.alerts(&asked)).await;
            let page = page.map_err(|problem| std::io::Error::other(problem.detail))?;
            let is_last = page.len() < CSV_PAGE;
            filter.after = page.last().map(|item| (item.received_ms, item.id.clone()));
            Ok(Some((csv(&page), (!is_last).then_some(filter))))
        }
    });
    let first = stream::iter([Ok(Bytes::from_static(HEAD.as_bytes()))]);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"alerts.csv\"",
        ),
    ];
    let whole = futures_util::StreamExt::chain(first, pages);
    Ok((headers, Body::from_stream(whole)).into_response())
}

fn csv(items: &[AlertItem]) -> Bytes {
    let utc = |ms: Option<i64>| {
        let stamp = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        stamp.map(|stamp| format!("{stamp:.3}")).unwrap_or_default()
    };
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut out = String::new();
    for item in items {
        // A string takes everything.
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r",
            quoted(&item.id),
            quoted(&item.device),
            item.severity.name(),
            quoted(&item.kind),
            quoted(&item.sensor),
            item.state.name(),
            utc(item.raised_ms),
            utc(item.cleared_ms),
            utc(Some(item.received_ms)),
            number(item.value),
            quoted(&item.unit),
            number(item.expected),
            number(item.low),
            number(item.high),
            item.late,
            quoted(item.acknowledged_by.as_deref().unwrap_or_default()),
            utc(item.acknowledged_ms),
            item.members,
            number(item.finding.score),
            quoted(&heads(item)),
            quoted(item.finding.load_id.as_deref().unwrap_or_default()),
            quoted(&item.text),
        )
        .ok();
    }
    out.into()
}

/// The parts of the detector that contributed most, the first one most of all.
fn heads(item: &AlertItem) -> String {
    let heads = item.finding.heads.iter();
    heads
        .map(|one| one.head.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// One alert.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", operation_id = "alert",
    params(("id" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Object), Refusals))]
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlertItem>, Problem> {
    let asked = id.clone();
    let found = ask(&shared, move |desk| desk.alert(&asked)).await?;
    found
        .map(Json)
        .ok_or_else(|| OrderError::Unknown(id).into())
}

/// What was written about an alert, oldest first.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/notes", tag = "alerts", operation_id = "notes",
    params(("id" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Vec<Object>), Refusals))]
pub(super) async fn notes(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let notes = ask(&shared, move |desk| match desk.alert(&id) {
        Ok(Some(_)) => desk.notes(&id).map_err(Problem::from),
        Ok(None) => Err(Problem::from(OrderError::Unknown(id))),
        Err(error) => Err(error.into()),
    })
    .await?;
    Ok(Json(notes).into_response())
}

/// What somebody has to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNote {
    #[schema(min_length = 1, max_length = 1000)]
    text: String,
}

/// Nothing needs to be said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Somebody looks after it: the caller.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge", request_body = Nothing,
    params(("id" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Object), Refusals))]
pub(super) async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<AlertItem>, Problem> {
    let Nothing {} = body(&headers, sent).await?;
    ask(&shared, move |desk| desk.acknowledge(&id, &who.name))
        .await
        .map(Json)
}

/// Others should look now.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/escalate", tag = "alerts", operation_id = "escalate", request_body = Nothing,
    params(("id" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Object), Refusals))]
pub(super) async fn escalate(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<AlertItem>, Problem> {
    let Nothing {} = body(&headers, sent).await?;
    ask(&shared, move |desk| desk.escalate(&id, &who.name))
        .await
        .map(Json)
}

/// Something to say about it.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/notes", tag = "alerts", operation_id = "note", request_body = NewNote,
    params(("id" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Object), Refusals))]
pub(super) async fn note(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<AlertItem>, Problem> {
    let NewNote { text } = body(&headers, sent).await?;
    if text.is_empty() || text.chars().count() > NOTE_CHARS_MAX {
        let limit = format!("1 to {NOTE_CHARS_MAX} characters");
        let detail = "the note is empty or too long";
        return Err(Problem::field(
            StatusCode::BAD_REQUEST,
            "text",
            limit,
            detail,
        ));
    }
    ask(&shared, move |desk| desk.note(&id, &who.name, &text))
        .await
        .map(Json)
}

/// Who did what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "alerts", operation_id = "audit",
    params(("limit" = Option<i64>, Query, description = "100 without it", minimum = 1, maximum = 1000)),
    responses((status = 200, body = Vec<Object>), Refusals))]
pub(super) async fn audit(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let limit = fields.number("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    fields.end()?;
    let entries = ask(&shared, move |desk| {
        desk.audit_log(usize::try_from(limit).unwrap_or_default())
    })
    .await?;
    Ok(Json(serde_json::to_value(entries).unwrap_or_default()))
}
