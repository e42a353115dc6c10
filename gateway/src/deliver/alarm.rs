//! What the run loop should make alerts of.
//!
//! Promises: an alarm is raised once until it is cleared; one that nobody clears stands until the process
//! ends. Never: loses an alarm because another of its kind stands.

use std::collections::BTreeSet;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The disk cannot be used; frames are in RAM.
    SpoolDegraded,
    /// Stored frames were damaged.
    SpoolCorrupt,
    /// A later version of the program has left its spool.
    SpoolNewer,
    /// The oldest frames made room for later ones.
    Evicting,
    /// Another centre than ours acknowledges.
    ForeignCentral,
    /// An acknowledgement names numbers that were never issued.
    AckBeyondSent,
    /// The centre acknowledges nothing.
    CentreSilent,
    /// The centre has other bytes under the same numbers.
    IdentityClash,
    /// The centre asks for numbers that it had acknowledged: it was restored from a backup.
    CentreRestored,
    /// A frame was not taken.
    FrameRefused,
    /// The topic prefix cannot be used.
    BadPrefix,
    /// The month's data plan is used up.
    PlanUsedUp,
    /// The broker refuses what we publish.
    BrokerRefuses,
}

impl AlarmKind {
    /// The name in alerts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SpoolDegraded => "spool_degraded",
            Self::SpoolCorrupt => "spool_corrupt",
            Self::SpoolNewer => "spool_newer",
            Self::Evicting => "evicting",
            Self::ForeignCentral => "foreign_central",
            Self::AckBeyondSent => "ack_beyond_sent",
            Self::CentreSilent => "centre_silent",
            Self::IdentityClash => "identity_clash",
            Self::CentreRestored => "centre_restored",
            Self::FrameRefused => "frame_refused",
            Self::BadPrefix => "bad_prefix",
            Self::PlanUsedUp => "plan_used_up",
            Self::BrokerRefuses => "broker_refuses",
        }
    }
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// Raised or cleared.
    pub raised: bool,
    /// A sentence for people.
    pub text: String,
}

/// The alarms that stand and those that nobody has heard of yet.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    standing: BTreeSet<AlarmKind>,
    queued: Vec<Alarm>,
}

impl Alarms {
    pub(crate) fn raise(&mut self, kind: AlarmKind, text: impl Into<String>) {
        if self.standing.insert(kind) {
            let text = text.into();
            tracing::warn!(kind = kind.name(), %text, "alarm");
            self.queued.push(Alarm {
                kind,
                raised: true,
                text,
            });
        }
    }

    pub(crate) fn clear(&mut self, kind: AlarmKind, text: impl Into<String>) {
        if self.standing.remove(&kind) {
            self.queued.push(Alarm {
                kind,
                raised: false,
                text: text.into(),
            });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.queued)
    }

    pub(crate) fn standing(&self) -> Vec<AlarmKind> {
        self.standing.iter().copied().collect()
    }
}
