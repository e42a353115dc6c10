//! A line that makes noise while a bad alert is fresh.
//!
//! Promises: it sounds from the raise or escalation of an alert until that clears, and not longer than its time;
//! it is silent when the gateway stops. Never: an error that stops anything.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use firmware_shared::alert::{Alert, AlertState, Severity};
use gpiocdev::Request;
use gpiocdev::line::Value;

use crate::config::{BuzzerConfig, GpioChip};

const CONSUMER: &str = "fleet-gateway";

/// When it sounds.
#[derive(Debug)]
pub(super) struct Buzzer {
    severity: Severity,
    on_ms: u64,
    open: BTreeSet<String>,
    until_ms: u64,
    is_on: bool,
}

impl Buzzer {
    pub(super) fn new(config: &BuzzerConfig) -> Self {
        Self {
            severity: config.severity,
            on_ms: config.on_ms,
            open: BTreeSet::new(),
            until_ms: 0,
            is_on: false,
        }
    }

    pub(super) fn hear(&mut self, now_ms: u64, alert: &Alert) {
        let id = alert.id.to_string();
        match alert.state {
            AlertState::Raised | AlertState::Escalated if alert.severity >= self.severity => {
                self.open.insert(id);
                self.until_ms = now_ms.saturating_add(self.on_ms);
            }
            AlertState::Raised | AlertState::Escalated => {}
            AlertState::Cleared | AlertState::Closed => drop(self.open.remove(&id)),
        }
    }

    /// What the line is to be, when that changes.
    pub(super) fn turn(&mut self, now_ms: u64) -> Option<bool> {
        let on = !self.open.is_empty() && now_ms < self.until_ms;
        let changes = on != self.is_on;
        self.is_on = on;
        changes.then_some(on)
    }

    /// When it falls silent by itself.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.is_on.then_some(self.until_ms)
    }
}

/// The line of a chip, or a file in its place.
#[derive(Debug)]
pub(super) struct Line {
    chip: GpioChip,
    offset: u32,
    active_low: bool,
    request: Option<Request>,
}

impl Line {
    pub(super) fn new(config: &BuzzerConfig) -> Self {
        let mut line = Self {
            chip: config.chip.clone(),
            offset: config.line,
            active_low: config.active_low,
            request: None,
        };
        // Silent from the start, and a chip that is not there shows at once.
        line.set(0, false);
        line
    }

    /// Sets the line; a chip that comes back later is asked anew.
    pub(super) fn set(&mut self, now_ms: u64, on: bool) {
        let done = match self.chip.clone() {
            GpioChip::Device(path) => self.drive(&path, on),
            GpioChip::Scenario(path) => write_down(&path, self.offset, now_ms, on),
        };
        if let Err(error) = done {
            self.request = None;
            tracing::warn!(on, error, "the buzzer's line cannot be set");
        }
    }

    fn drive(&mut self, path: &Path, on: bool) -> Result<(), String> {
        let value = if on { Value::Active } else { Value::Inactive };
        let words = |error: gpiocdev::Error| error.to_string();
        if let Some(request) = &self.request {
            return request
                .set_value(self.offset, value)
                .map(drop)
                .map_err(words);
        }
        let mut builder = Request::builder();
        builder
            .on_chip(path)
            .with_consumer(CONSUMER)
            .with_line(self.offset)
            .as_output(value);
        if self.active_low {
            builder.as_active_low();
        }
        self.request = Some(builder.request().map_err(words)?);
        Ok(())
    }
}

/// The simulated line: one line of JSON for each change.
fn write_down(path: &PathBuf, offset: u32, now_ms: u64, on: bool) -> Result<(), String> {
    let text = format!("{{\"t_ms\":{now_ms},\"line\":{offset},\"active\":{on}}}\n");
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buzzer(file: PathBuf) -> BuzzerConfig {
        BuzzerConfig {
            chip: GpioChip::Scenario(file),
            line: 17,
            active_low: false,
            severity: Severity::Critical,
            on_ms: 30_000,
        }
    }

    fn alert(id: &str, state: AlertState, severity: Severity) -> Alert {
        let json = format!(
            r#"{{"id":"{id}","device":"a","epoch":"0000000000000001","seq":0,"state":"{}","severity":"{}",
               "kind":"runaway","sensor":"load","value":null,"unit":"","expected":null,"low":null,
               "high":null,"boottime_ms":0,"utc":null,"late":false,"window":null,"text":""}}"#,
            state.name(),
            severity.name()
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn it_sounds_while_a_critical_alert_is_fresh_and_open() {
        let mut core = Buzzer::new(&buzzer(PathBuf::new()));
        let hear = |core: &mut Buzzer, at, id, state, severity| {
            core.hear(at, &alert(id, state, severity));
            core.turn(at)
        };
        use AlertState::{Cleared, Closed, Escalated, Raised};
        assert_eq!(hear(&mut core, 0, "a", Raised, Severity::Warning), None);
        assert_eq!(
            hear(&mut core, 10, "b", Raised, Severity::Critical),
            Some(true)
        );
        assert_eq!(core.deadline_ms(), Some(30_010));
        assert_eq!(
            hear(&mut core, 20, "a", Escalated, Severity::Critical),
            None
        );
        assert_eq!(
            hear(&mut core, 30, "b", Cleared, Severity::Critical),
            None,
            "one is open"
        );
        assert_eq!((core.turn(30_019), core.turn(30_020)), (None, Some(false)));
        assert_eq!(core.deadline_ms(), None);
        assert_eq!(
            hear(&mut core, 40_000, "b", Raised, Severity::Critical),
            Some(true)
        );
        assert_eq!(
            hear(&mut core, 40_001, "a", Closed, Severity::Critical),
            None
        );
        assert_eq!(
            hear(&mut core, 40_002, "b", Cleared, Severity::Critical),
            Some(false)
        );
    }

    #[test]
    fn a_simulated_line_is_written_down_and_a_missing_chip_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("buzzer.jsonl");
        let mut line = Line::new(&buzzer(file.clone()));
        line.set(7, true);
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "{\"t_ms\":0,\"line\":17,\"active\":false}\n{\"t_ms\":7,\"line\":17,\"active\":true}\n"
        );
        let mut missing = Line::new(&BuzzerConfig {
            chip: GpioChip::Device("/dev/gpiochip250".into()),
            ..buzzer(PathBuf::new())
        });
        missing.set(1, true);
    }
}
