//! Alarms of delivery in the words of alerts: how bad they are, and whether they end.

use firmware_shared::alert::Severity;

use crate::alert::{Alarm, AlarmPhase};
use crate::deliver;
use crate::deliver::AlarmKind;

/// The alert that an alarm of delivery is.
pub(super) fn translate(alarm: deliver::Alarm) -> Alarm {
    let phase = if alarm.raised {
        AlarmPhase::Begins
    } else {
        AlarmPhase::Ends
    };
    Alarm {
        kind: alarm.kind.name(),
        phase,
        severity: severity(alarm.kind),
        text: alarm.text,
    }
}

fn severity(kind: AlarmKind) -> Severity {
    match kind {
        // Two devices with one identity, or data that is being lost.
        AlarmKind::IdentityClash | AlarmKind::Evicting | AlarmKind::BadPrefix => Severity::Critical,
        AlarmKind::SpoolDegraded
        | AlarmKind::SpoolCorrupt
        | AlarmKind::SpoolNewer
        | AlarmKind::FrameRefused
        | AlarmKind::PlanUsedUp
        | AlarmKind::BrokerRefuses => Severity::Warning,
        AlarmKind::ForeignCentral
        | AlarmKind::AckBeyondSent
        | AlarmKind::CentreSilent
        | AlarmKind::CentreRestored => Severity::Diagnostic,
    }
}
