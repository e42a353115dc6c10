//! The status as figures, in Prometheus' text format 0.0.4.
//!
//! Promises: names and units are stable, and only added to; a figure that is not known is left out, so that no
//! rule judges a made-up one. Never: a position, or another value that was measured.

use std::fmt::Write;

use serde_json::Value;

const STATES: [&str; 4] = ["absent", "probing", "online", "degraded"];
const SOURCES: [&str; 5] = ["gnss", "ntp", "rtc", "fake", "none"];

/// Figures without a label: name, kind, help, where in the status, and what one of its units is.
const PLAIN: [(&str, &str, &str, &str, f64); 10] = [
    (
        "uptime_seconds",
        "gauge",
        "Since the start of the process.",
        "/uptime_ms",
        1e-3,
    ),
    (
        "oldest_unsent_seconds",
        "gauge",
        "Age of the oldest record that the centre has not acknowledged.",
        "/deliver/oldest_unacked_ms",
        1e-3,
    ),
    (
        "ack_latency_seconds",
        "gauge",
        "From a publish to the centre's acknowledgement, smoothed.",
        "/deliver/ack_latency_ms",
        1e-3,
    ),
    (
        "connections_total",
        "counter",
        "Lives of the main connection.",
        "/deliver/connections",
        1.0,
    ),
    (
        "published_bytes_total",
        "counter",
        "Payload bytes published.",
        "/deliver/published_bytes",
        1.0,
    ),
    (
        "card_life_used_ratio",
        "gauge",
        "Share of the card's life that this spool has used.",
        "/deliver/card_life_used_percent",
        1e-2,
    ),
    (
        "clock_error_seconds",
        "gauge",
        "UTC is at most so far away.",
        "/clock/error_ms",
        1e-3,
    ),
    (
        "queue_readings",
        "gauge",
        "Readings between samplers and pipeline.",
        "/queue_depth",
        1.0,
    ),
    (
        "lost_readings_total",
        "counter",
        "Readings lost between samplers and spool.",
        "/lost",
        1.0,
    ),
    (
        "resident_memory_bytes",
        "gauge",
        "Resident memory.",
        "/rss_bytes",
        1.0,
    ),
];

/// Figures of a lane.
const LANES: [(&str, &str, &str, &str); 4] = [
    (
        "spool_bytes",
        "gauge",
        "Bytes held in the spool.",
        "held_bytes",
    ),
    (
        "spool_unacknowledged",
        "gauge",
        "Records held and not acknowledged.",
        "unacked",
    ),
    (
        "evicted_total",
        "counter",
        "Records thrown away to make room.",
        "evicted",
    ),
    (
        "corrupt_total",
        "counter",
        "Records lost to damage.",
        "corrupt",
    ),
];

/// Figures of a sensor.
const SENSORS: [(&str, &str, &str, &str, f64); 3] = [
    (
        "sensor_age_seconds",
        "gauge",
        "Age of the last valid value.",
        "age_ms",
        1e-3,
    ),
    (
        "sensor_readings_total",
        "counter",
        "Readings, faults among them.",
        "readings",
        1.0,
    ),
    (
        "sensor_faults_total",
        "counter",
        "Readings without a valid value.",
        "faults",
        1.0,
    ),
];

/// The whole page.
#[must_use]
pub fn expose(report: &Value) -> String {
    let mut page = Page(String::new());
    page.head("info", "gauge", "Who this is.");
    let of = |path: &str| {
        report
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    page.line(
        "info",
        &[("device", of("/device")), ("version", of("/version"))],
        1.0,
    );
    for (name, kind, help, path, unit) in PLAIN {
        if let Some(value) = report.pointer(path).and_then(Value::as_f64) {
            page.head(name, kind, help);
            page.line(name, &[], value * unit);
        }
    }
    page.head("spool_on_disk", "gauge", "1 on flash, 0 in memory alone.");
    page.line("spool_on_disk", &[], truth(of("/mode") == "disk"));
    page.head("link_up", "gauge", "1 while a connection lives.");
    for connection in ["main", "alert"] {
        let is_up = report.pointer(&format!("/link/{connection}")) == Some(&Value::Bool(true));
        page.line("link_up", &[("connection", connection)], truth(is_up));
    }
    page.head("clock_source", "gauge", "1 for who vouches for UTC.");
    for source in SOURCES {
        page.line(
            "clock_source",
            &[("source", source)],
            truth(of("/clock/source") == source),
        );
    }
    lanes(&mut page, report);
    sensors(&mut page, report);
    alerts(&mut page, report);
    page.0
}

fn lanes(page: &mut Page, report: &Value) {
    let lanes = report.pointer("/lanes").and_then(Value::as_object);
    for (name, kind, help, key) in LANES {
        page.head(name, kind, help);
        for (lane, held) in lanes.into_iter().flatten() {
            if let Some(value) = held.get(key).and_then(Value::as_f64) {
                page.line(name, &[("lane", lane)], value);
            }
        }
    }
}

fn sensors(page: &mut Page, report: &Value) {
    let all = report.pointer("/sensors").and_then(Value::as_array);
    let name_of = |sensor: &Value| text(sensor, "name");
    for (name, kind, help, key, unit) in SENSORS {
        page.head(name, kind, help);
        for sensor in all.into_iter().flatten() {
            if let Some(value) = sensor.get(key).and_then(Value::as_f64) {
                page.line(name, &[("sensor", &name_of(sensor))], value * unit);
            }
        }
    }
    page.head(
        "sensor_state",
        "gauge",
        "1 for the state that a sensor is in.",
    );
    for sensor in all.into_iter().flatten() {
        for state in STATES {
            let labels = [("sensor", &*name_of(sensor)), ("state", state)];
            page.line(
                "sensor_state",
                &labels,
                truth(text(sensor, "state") == state),
            );
        }
    }
}

fn alerts(page: &mut Page, report: &Value) {
    let open = report.pointer("/alerts_open").and_then(Value::as_array);
    page.head("open_alerts", "gauge", "Alerts that are not closed.");
    for severity in ["diagnostic", "warning", "critical"] {
        let mine = open.into_iter().flatten();
        let count = mine
            .filter(|alert| text(alert, "severity") == severity)
            .count();
        // Alerts are far fewer than what a float counts exactly.
        page.line("open_alerts", &[("severity", severity)], count as f64);
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        writeln!(
            self.0,
            "# HELP fleet_gateway_{name} {help}\n# TYPE fleet_gateway_{name} {kind}"
        )
        .ok();
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        write!(self.0, "fleet_gateway_{name}").ok();
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let before = if at == 0 { '{' } else { ',' };
            write!(self.0, "{before}{label}=\"{text}\"").ok();
        }
        let end = if labels.is_empty() { "" } else { "}" };
        writeln!(self.0, "{end} {value}").ok();
    }
}
