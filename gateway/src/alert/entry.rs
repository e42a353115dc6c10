//! One condition with the alert that it has open.
//!
//! Promises: all transitions of one alert, from its raise to its close, carry one id; a raise that comes back
//! before the close is the same alert. Never: words of its own, but for a close.

use firmware_shared::alert::{Alert, AlertState, Severity};
use serde::{Deserialize, Serialize};

use super::condition::{Change, Condition, Level, Rule};
use super::voice::{Saying, Title, Voice};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject<'a> {
    pub(super) kind: &'a str,
    pub(super) severity: Severity,
    pub(super) sensor: &'a str,
}

/// A condition and the last transition of its alert, until that is closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    condition: Condition,
    told: Option<Alert>,
}

/// An entry for the next process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptEntry {
    pub(super) slot: String,
    condition: Condition,
    pub(super) told: Option<Alert>,
}

impl Entry {
    /// The last transition of the open alert.
    pub(super) fn open(&self) -> Option<&Alert> {
        self.told.as_ref().filter(|_| self.condition.is_raised())
    }

    /// Whether its alert is open.
    pub(super) fn is_raised(&self) -> bool {
        self.condition.is_raised()
    }

    /// Whether it has an alert that is not closed.
    pub(super) fn is_told(&self) -> bool {
        self.condition.is_told()
    }

    pub(super) fn deadline_ms(&self, rule: &Rule) -> Option<u64> {
        self.condition.deadline_ms(rule)
    }

    /// What the next process needs; nothing while nothing is told.
    pub(super) fn keep(&self, slot: String) -> Option<KeptEntry> {
        let entry = KeptEntry {
            slot,
            condition: self.condition.clone(),
            told: self.told.clone(),
        };
        self.is_told().then_some(entry)
    }

    /// Goes on with what an earlier process kept; its stamps were earlier by `by_ms`.
    pub(super) fn restore(&mut self, kept: KeptEntry, by_ms: i64) {
        self.condition = kept.condition.moved(by_ms);
        self.told = kept.told;
    }

    /// Takes what is seen; `saying(on)` is asked for the words only when there is a transition.
    pub(super) fn step(
        &mut self,
        now_ms: u64,
        level: Level,
        rule: &Rule,
        subject: Subject<'_>,
        voice: &mut Voice,
        saying: impl FnOnce(bool) -> Saying,
    ) {
        let before = self.told.as_ref().map(|told| told.severity);
        let is_worse = level == Level::On && before.is_some_and(|told| subject.severity > told);
        let level = if is_worse { Level::Worse } else { level };
        let raised_for_ms = self.condition.raised_for_ms(now_ms);
        let Some(change) = self.condition.step(now_ms, level, rule) else {
            return;
        };
        let (state, severity) = match change {
            Change::Raised => (AlertState::Raised, Some(subject.severity)),
            Change::Escalated if is_worse => (AlertState::Escalated, Some(subject.severity)),
            Change::Escalated => (AlertState::Escalated, before.map(worse)),
            Change::Cleared => (AlertState::Cleared, before),
            Change::Closed => (AlertState::Closed, before),
        };
        let title = Title {
            id: match &self.told {
                Some(told) => told.id.clone(),
                None => voice.next_id(),
            },
            severity: severity.unwrap_or(subject.severity),
        };
        let kind = match (&self.told, change) {
            // What it is about may have changed while it lasts, but not when it is over.
            (Some(told), Change::Cleared | Change::Closed) => told.kind.to_string(),
            _ => subject.kind.to_owned(),
        };
        let mut saying = match change {
            Change::Closed => Saying {
                text: format!("{}: {kind} is over and has not come back", subject.sensor),
                ..Saying::default()
            },
            _ => saying(change != Change::Cleared),
        };
        if saying.duration_ms.is_none() && change != Change::Closed {
            saying.duration_ms = raised_for_ms;
        }
        let alert = voice.say(now_ms, state, &title, [&kind, subject.sensor], &saying);
        self.told = (change != Change::Closed).then_some(alert);
    }
}

fn worse(severity: Severity) -> Severity {
    match severity {
        Severity::Diagnostic => Severity::Warning,
        Severity::Warning | Severity::Critical => Severity::Critical,
    }
}
