//! What those who run the centre ask: alive, ready, figures.
//!
//! Promises: `/healthz` answers while the process lives; `/readyz` says 200 only when the database answers; the
//! names of `/metrics` are stable.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::access::Viewer;
use super::problem::{Problem, Refusals};
use crate::query;

/// What is counted of requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) events_open: AtomicU64,
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", operation_id = "healthz", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers, and the fleet is known.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    let answered = shared
        .readers
        .ask(|rows| query::first(rows, "SELECT 1", &[], |row| row.int(0)))
        .await?;
    match answered.is_some() && shared.board.view().looked_ms.is_some() {
        true => Ok("ready\n"),
        false => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the fleet is not known yet",
        )
        .retry(1)),
    }
}

/// Figures of the centre, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain"), Refusals))]
pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
) -> Result<Response, Problem> {
    let counters = shared
        .readers
        .ask(|rows| {
            let sql =
                "SELECT name, CAST(sum(value) AS BIGINT) FROM counters GROUP BY name ORDER BY name";
            query::list(rows, sql, &[], |row| Some((row.text(0)?, row.int(1)?)))
        })
        .await?;
    let desk = shared.desk.clone();
    let asked = tokio::task::spawn_blocking(move || desk.owed());
    let owed = asked.await.ok().and_then(Result::ok).unwrap_or_default();
    let mut text = Text::default();
    alerts(&mut text, &shared, &owed);
    fleet(&mut text, &shared);
    let files = shared.files.clone();
    // A network drive that is gone answers late.
    let disks = tokio::task::spawn_blocking(move || disks(&files)).await;
    text.0.push_str(&disks.unwrap_or_default());
    let name = "fleet_central_count_total";
    text.head(name, "counter", "What the ingest counts, by name.");
    for (counter, value) in counters {
        let counter: String = counter
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        text.line(&format!("{name}{{name=\"{counter}\"}}"), value);
    }
    requests(&mut text, &shared.counts);
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((kind, text.0).into_response())
}

fn alerts(text: &mut Text, shared: &Shared, owed: &[(String, u64)]) {
    let open: u32 = shared
        .desk
        .vehicles()
        .iter()
        .map(|vehicle| vehicle.open_alerts)
        .sum();
    let name = "fleet_central_open_alerts";
    text.head(name, "gauge", "Open alerts of vehicles.");
    text.line(name, open.into());
    let name = "fleet_central_notifications_owed";
    text.head(
        name,
        "gauge",
        "Notifications that a route has not delivered yet.",
    );
    for (route, count) in owed {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        text.line(&format!("{name}{{route=\"{route}\"}}"), count);
    }
}

fn fleet(text: &mut Text, shared: &Shared) {
    let view = shared.board.view();
    let name = "fleet_central_vehicles";
    text.head(name, "gauge", "Vehicles by the state of their link.");
    for link in ["up", "lost", "closed", "unknown"] {
        let count = view
            .vehicles
            .values()
            .filter(|vehicle| vehicle.link == link)
            .count();
        text.line(
            &format!("{name}{{link=\"{link}\"}}"),
            i64::try_from(count).unwrap_or(i64::MAX),
        );
    }
    let oldest = view
        .vehicles
        .values()
        .filter(|vehicle| vehicle.link == "up");
    let oldest_ms = oldest
        .filter_map(|vehicle| vehicle.gateway.oldest_unsent_ms)
        .max();
    let name = "fleet_central_oldest_unsent_seconds";
    text.head(
        name,
        "gauge",
        "The oldest reading that a connected vehicle has not got rid of.",
    );
    text.line(name, oldest_ms.unwrap_or_default() / 1_000);
    let evicted: u64 = view
        .vehicles
        .values()
        .map(|vehicle| vehicle.evicted_count)
        .sum();
    let name = "fleet_central_evicted_readings_total";
    text.head(
        name,
        "counter",
        "Readings that spools threw away to make room.",
    );
    text.line(name, i64::try_from(evicted).unwrap_or(i64::MAX));
}

/// Room on the disks of the centre's own files; what cannot be asked is left out.
fn disks(files: &[(&'static str, PathBuf)]) -> String {
    let asked: Vec<_> = files
        .iter()
        .filter_map(|(file, path)| {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let disk = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
            Some((file, disk))
        })
        .collect();
    let mut text = Text::default();
    for (name, help, blocks) in [
        (
            "fleet_central_disk_free_bytes",
            "Room on the disk of a file of the centre.",
            (|disk| disk.f_bavail) as fn(&rustix::fs::StatVfs) -> u64,
        ),
        (
            "fleet_central_disk_size_bytes",
            "Size of the disk of a file of the centre.",
            |disk| disk.f_blocks,
        ),
    ] {
        text.head(name, "gauge", help);
        for (file, disk) in &asked {
            let bytes = blocks(disk).saturating_mul(disk.f_frsize);
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            text.line(&format!("{name}{{file=\"{file}\"}}"), bytes);
        }
    }
    text.0
}

fn requests(text: &mut Text, counts: &Counts) {
    for (name, kind, help, value) in [
        (
            "fleet_central_http_requests_total",
            "counter",
            "Requests.",
            &counts.requests,
        ),
        (
            "fleet_central_http_refused_total",
            "counter",
            "Requests answered with 4xx.",
            &counts.refused,
        ),
        (
            "fleet_central_http_failed_total",
            "counter",
            "Requests answered with 5xx.",
            &counts.failed,
        ),
        (
            "fleet_central_http_event_streams",
            "gauge",
            "Open event streams.",
            &counts.events_open,
        ),
    ] {
        text.head(name, kind, help);
        text.line(
            name,
            i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX),
        );
    }
}

/// The text format.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn line(&mut self, name: &str, value: i64) {
        writeln!(self.0, "{name} {value}").ok();
    }
}
