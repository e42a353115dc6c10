//! An alert as a line.

use firmware_shared::alert::Alert;

/// An alert that reaches its reader so long after its time is late.
const LATE_MS: i64 = 60_000;

/// Marks an alert late that is. Without UTC nobody knows; then the device's word stands.
pub(super) fn marked(mut alert: Alert, now_ms: i64) -> Alert {
    let at = alert
        .utc
        .as_ref()
        .and_then(|utc| utc.parse::<jiff::Timestamp>().ok());
    if let Some(at) = at {
        alert.late |= now_ms.saturating_sub(at.as_millisecond()) > LATE_MS;
    }
    alert
}

/// The alert as JSON or as a line for people.
pub(super) fn line(alert: &Alert, as_json: bool) -> String {
    if as_json {
        return serde_json::to_string(alert)
            .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    }
    let utc = alert.utc.as_ref().map_or("(no time)", |utc| utc.as_str());
    let late = if alert.late { " LATE" } else { "" };
    let value = alert
        .value
        .map_or(String::new(), |value| format!(" {value} {}", alert.unit));
    format!(
        "{utc}{late} {} {} {} {} {}{value}: {}",
        alert.device,
        alert.severity.name(),
        alert.state.name(),
        alert.kind,
        alert.sensor,
        printable(&alert.text)
    )
}

/// Without control characters: a line stays a line, and a terminal is not steered by a text.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
