//! What the position rules find, as alerts.
//!
//! Promises: a jump, a freeze while moving, a track that leaves what the speed says, and the loss of the fix
//! for longer than any tunnel are told; a silent receiver is a lost sensor and told there. Never: an alert
//! for a tunnel.

use firmware_shared::alert::Severity;
use firmware_shared::detect::gnss::GnssFault;

use super::condition::{Level, Rule};
use super::entry::{Entry, Subject};
use super::voice::{Saying, Voice};
use crate::score::PositionVerdict;

pub(super) const POSITION_CONDITIONS: usize = 4;

const RULE: Rule = Rule {
    on_delay_ms: 0,
    off_delay_ms: 600_000,
    escalate_after_ms: None,
};

/// Kind, how bad, what is said while it lasts.
const WORDS: [(&str, Severity, &str); POSITION_CONDITIONS] = [
    (
        "gnss_jump",
        Severity::Diagnostic,
        "its position jumped farther than a vehicle can go",
    ),
    (
        "gnss_freeze",
        Severity::Diagnostic,
        "its position stands while its speed says moving",
    ),
    (
        "gnss_drag_off",
        Severity::Warning,
        "its positions leave the track that its speed describes; somebody may send false signals",
    ),
    (
        "gnss_loss",
        Severity::Diagnostic,
        "it has had no fix for longer than a tunnel lasts",
    ),
];

/// The conditions of one receiver.
#[derive(Debug, Default)]
pub(super) struct PositionWatch {
    entries: [Entry; POSITION_CONDITIONS],
}

impl PositionWatch {
    /// Each entry with its kind.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        WORDS.iter().map(|(kind, ..)| *kind).zip(&self.entries)
    }

    pub(super) fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        let at = WORDS.iter().position(|(kind, ..)| *kind == name)?;
        self.entries.get_mut(at)
    }

    pub(super) fn judge(
        &mut self,
        at_ms: u64,
        seq: u64,
        verdict: &PositionVerdict,
        name: &str,
        voice: &mut Voice,
    ) {
        let jumped = verdict.begins == Some(GnssFault::Jump);
        let on = [jumped, verdict.freeze, verdict.drag_off, verdict.loss];
        for ((entry, on), (kind, severity, what)) in self.entries.iter_mut().zip(on).zip(WORDS) {
            let level = if on { Level::On } else { Level::Off };
            let subject = Subject {
                kind,
                severity,
                sensor: name,
            };
            entry.step(at_ms, level, &RULE, subject, voice, |on| Saying {
                seq: Some(seq),
                text: match on {
                    true => format!("receiver {name}: {what}"),
                    false => format!("receiver {name}: its positions are plausible again"),
                },
                ..Saying::default()
            });
        }
    }
}
