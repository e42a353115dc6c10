//! The status for people.
//!
//! Promises: it reads the answer of an older or newer gateway, too: what is not there is shown as `-`.
//! Never: a panic on any JSON.

use std::fmt::Write;

use serde_json::Value;

/// A page of text.
#[must_use]
pub fn render(report: &Value) -> String {
    let mut page = String::new();
    let text = |path: &str| word(report.pointer(path));
    let head = [
        ("device", text("/device")),
        ("epoch", text("/epoch")),
        ("version", text("/version")),
        ("uptime", duration(report.pointer("/uptime_ms"))),
        (
            "clock",
            format!("{} ({})", text("/clock/utc"), text("/clock/source")),
        ),
        (
            "memory",
            format!(
                "{} (at most {})",
                mib(report, "/rss_bytes"),
                mib(report, "/vm_hwm_bytes")
            ),
        ),
        (
            "queue",
            format!("{} waiting, {} lost", text("/queue_depth"), text("/lost")),
        ),
    ];
    for (name, value) in head {
        line(&mut page, format_args!("{name:<9}{value}"));
    }
    let link = |name: &str| match report.pointer(name).and_then(Value::as_bool) {
        Some(true) => "up",
        Some(false) => "down",
        None => "-",
    };
    let (main, alert) = (link("/link/main"), link("/link/alert"));
    line(
        &mut page,
        format_args!(
            "link     main {main}, alert {alert}, spool on {}",
            text("/mode")
        ),
    );
    lanes(&mut page, report);
    plan(&mut page, report);
    for sensor in list(report, "/sensors") {
        line(&mut page, format_args!("{}", sensor_line(sensor)));
    }
    let alerts = list(report, "/alerts_open");
    if alerts.is_empty() {
        line(&mut page, format_args!("alerts   none open"));
    }
    for alert in alerts {
        let [severity, text] = ["severity", "text"].map(|key| word(alert.get(key)));
        line(&mut page, format_args!("ALERT    {severity}: {text}"));
    }
    page
}

/// What is used of the data plan; an older gateway has none.
fn plan(page: &mut String, report: &Value) {
    let Some(plan) = report.pointer("/deliver/plan") else {
        return;
    };
    let network = match plan.get("is_roaming").and_then(Value::as_bool) {
        Some(true) => "roaming",
        _ => "home",
    };
    let used = mib(plan, &format!("/{network}_bytes"));
    let month = match plan.get("month_bytes").and_then(Value::as_u64) {
        Some(_) => format!(" of {}", mib(plan, "/month_bytes")),
        None => String::new(),
    };
    let end = match plan.get("is_used_up").and_then(Value::as_bool) {
        Some(true) => ", used up: only alerts go out",
        _ => "",
    };
    line(
        page,
        format_args!("plan     {network}: {used}{month} this month{end}"),
    );
}

fn lanes(page: &mut String, report: &Value) {
    let Some(Value::Object(lanes)) = report.pointer("/lanes") else {
        return;
    };
    for (name, lane) in lanes {
        let [next, unacked, bytes] =
            ["next_seq", "unacked", "held_bytes"].map(|key| word(lane.get(key)));
        let held = format_args!("next {next}, {unacked} not acknowledged, {bytes} bytes held");
        line(page, format_args!("lane     {name:<10} {held}"));
    }
}

fn sensor_line(sensor: &Value) -> String {
    let [name, state] = ["name", "state"].map(|key| word(sensor.get(key)));
    let number = |key: &str| {
        sensor
            .pointer(&format!("/last/{key}"))
            .and_then(Value::as_f64)
    };
    let value = match (number("deg_c"), number("lat"), number("lon")) {
        (Some(deg_c), _, _) => format!("{deg_c:.2} degC"),
        (_, Some(lat), Some(lon)) => format!("{lat:.6} {lon:.6}"),
        _ => match (number("value"), sensor.pointer("/last/active")) {
            (Some(value), _) => {
                let unit = word(sensor.pointer("/last/unit"));
                format!("{value:.1} {unit}")
            }
            (_, Some(Value::Bool(true))) => "active".to_owned(),
            (_, Some(Value::Bool(false))) => "not active".to_owned(),
            _ => "-".to_owned(),
        },
    };
    let age = duration(sensor.get("age_ms"));
    let fault = match sensor.get("fault") {
        Some(Value::String(fault)) => format!(", {fault}"),
        _ => String::new(),
    };
    format!("sensor   {name:<12} {state:<9} {value} ({age} ago{fault})")
}

fn list<'a>(report: &'a Value, path: &str) -> &'a [Value] {
    report
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn duration(value: Option<&Value>) -> String {
    match value.and_then(Value::as_u64) {
        None => "-".to_owned(),
        Some(ms @ 0..=9_999) => format!("{ms} ms"),
        Some(ms @ 10_000..=599_999) => format!("{} s", ms / 1000),
        Some(ms) => format!("{} min", ms / 60_000),
    }
}

fn mib(report: &Value, path: &str) -> String {
    match report.pointer(path).and_then(Value::as_f64) {
        Some(bytes) => format!("{:.1} MiB", bytes / 1_048_576.0),
        None => "-".to_owned(),
    }
}

fn line(page: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(page, "{content}").ok();
}
