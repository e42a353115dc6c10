//! Alertmanager, API version 2.
//!
//! Promises: the labels of an alert are the same from its beginning to its end, so that its end finds it; what is
//! open is said again, because Alertmanager forgets what is not. Never: an alert that fires for ever when the centre
//! is gone.

use bytes::Bytes;
use firmware_shared::alert::Severity;
use serde_json::{Map, Value, json};

use super::http::Client;
use crate::clock;
use crate::config::Http;
use crate::desk::core::{Notification, Outcome};
use crate::desk::item::AlertItem;

/// An alert that is not said again for so long is taken as over by Alertmanager.
const HOLDS_MS: i64 = 3_600_000;
/// Alerts in one request.
const BATCH_MAX: usize = 256;

/// One Alertmanager.
#[derive(Debug, Clone)]
pub(super) struct Alertmanager {
    client: Client,
    url: String,
}

impl Alertmanager {
    pub(super) fn new(config: &Http) -> Self {
        Self {
            client: Client::new(config),
            url: format!("{}/api/v2/alerts", config.url.trim_end_matches('/')),
        }
    }

    pub(super) async fn tell(&self, notification: &Notification) -> Outcome {
        let now_ms = clock::utc_ms();
        let item = &notification.alert;
        let mut alerts = vec![alert(item, item.severity, now_ms)];
        if let Some(before) = notification
            .severity_before
            .filter(|before| *before != item.severity)
        {
            // Another severity is another alert to Alertmanager: the milder one ends.
            let mut milder = alert(item, before, now_ms);
            if let Some(fields) = milder.as_object_mut() {
                fields.insert("endsAt".to_owned(), utc(now_ms));
            }
            alerts.push(milder);
        }
        self.post(&alerts, Some(&notification.key)).await
    }

    /// Says again what is open.
    pub(super) async fn remind(&self, items: &[AlertItem]) -> Outcome {
        let now_ms = clock::utc_ms();
        for batch in items.chunks(BATCH_MAX) {
            let alerts: Vec<Value> = batch
                .iter()
                .map(|item| alert(item, item.severity, now_ms))
                .collect();
            match self.post(&alerts, None).await {
                Outcome::Delivered => {}
                failed => return failed,
            }
        }
        Outcome::Delivered
    }

    async fn post(&self, alerts: &[Value], key: Option<&str>) -> Outcome {
        let body = Bytes::from(Value::from(alerts).to_string());
        let headers: Vec<_> = key
            .map(|key| ("idempotency-key", key.to_owned()))
            .into_iter()
            .collect();
        self.client.post(&self.url, &headers, body).await
    }
}

fn utc(ms: i64) -> Value {
    jiff::Timestamp::from_millisecond(ms).map_or(Value::Null, |at| json!(at.to_string()))
}

/// An alert as Alertmanager wants it.
fn alert(item: &AlertItem, severity: Severity, now_ms: i64) -> Value {
    let mut labels = Map::new();
    for (name, value) in [
        ("alertname", item.kind.as_str()),
        ("alert_id", &item.id),
        ("device", &item.device),
        ("sensor", &item.sensor),
        ("role", &item.role),
        ("severity", severity.name()),
    ] {
        if !value.is_empty() {
            labels.insert(name.to_owned(), json!(value));
        }
    }
    if !item.groups.is_empty() {
        labels.insert("groups".to_owned(), json!(item.groups.join(",")));
    }
    let starts_ms = item.raised_ms.unwrap_or(item.received_ms).min(now_ms);
    let ends_ms = match item.is_open() {
        true => now_ms + HOLDS_MS,
        false => item.cleared_ms.unwrap_or(now_ms).clamp(starts_ms, now_ms),
    };
    let mut notes = Map::new();
    notes.insert("summary".to_owned(), json!(item.text));
    if let Some(value) = item.value {
        notes.insert("value".to_owned(), json!(format!("{value} {}", item.unit)));
    }
    if item.late {
        notes.insert("late".to_owned(), json!("true"));
    }
    if let Some(who) = &item.acknowledged_by {
        notes.insert("acknowledged_by".to_owned(), json!(who));
    }
    json!({
        "labels": labels,
        "annotations": notes,
        "startsAt": utc(starts_ms),
        "endsAt": utc(ends_ms),
    })
}
