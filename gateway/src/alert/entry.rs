//! One condition with the alert that it has open.

use firmware_shared::alert::{Alert, AlertState, Severity};

use super::condition::{Change, Condition, Level, Rule};
use super::voice::{Saying, Title, Voice};

/// A condition and its open alert.
#[derive(Debug)]
pub(super) struct Entry {
    kind: &'static str,
    severity: Severity,
    condition: Condition,
    open: Option<Alert>,
}

impl Entry {
    pub(super) fn new(kind: &'static str, severity: Severity) -> Self {
        Self {
            kind,
            severity,
            condition: Condition::default(),
            open: None,
        }
    }

    /// The last transition of the open alert.
    pub(super) fn open(&self) -> Option<&Alert> {
        self.open.as_ref()
    }

    pub(super) fn deadline_ms(&self, rule: &Rule) -> Option<u64> {
        self.condition.deadline_ms(rule)
    }

    /// Takes what is seen; `saying(on)` is asked for the words only when there is a transition.
    pub(super) fn step(
        &mut self,
        now_ms: u64,
        level: Level,
        rule: &Rule,
        sensor: &str,
        voice: &mut Voice,
        saying: impl FnOnce(bool) -> Saying,
    ) {
        let Some(change) = self.condition.step(now_ms, level, rule) else {
            return;
        };
        let (state, title) = match (change, &self.open) {
            (Change::Escalated, Some(open)) => {
                let severity = worse(open.severity);
                (
                    AlertState::Escalated,
                    Title {
                        id: open.id.clone(),
                        severity,
                    },
                )
            }
            (Change::Cleared, Some(open)) => (
                AlertState::Cleared,
                Title {
                    id: open.id.clone(),
                    severity: open.severity,
                },
            ),
            _ => (
                AlertState::Raised,
                Title {
                    id: voice.next_id(),
                    severity: self.severity,
                },
            ),
        };
        let on = change != Change::Cleared;
        let alert = voice.say(now_ms, state, &title, [self.kind, sensor], &saying(on));
        self.open = on.then_some(alert);
    }
}

fn worse(severity: Severity) -> Severity {
    match severity {
        Severity::Diagnostic => Severity::Warning,
        Severity::Warning | Severity::Critical => Severity::Critical,
    }
}
