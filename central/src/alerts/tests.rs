use firmware_shared::alert::Severity;
use firmware_shared::topic::Leaf;

use super::select::Selection;
use super::*;
use crate::testing::*;

fn selection(device: &str, severity: Severity) -> Selection {
    Selection {
        device: device.to_owned(),
        severity,
        kind: "*".to_owned(),
    }
}

#[test]
fn patterns_choose_devices() {
    for (pattern, device, expected) in [
        ("*", "truck-001", true),
        ("", "truck-001", false),
        ("truck-001", "truck-001", true),
        ("truck-00", "truck-001", false),
        ("truck-*", "truck-001", true),
        ("*-001", "truck-001", true),
        ("t*k-0?1", "truck-001", true),
        ("t*k-0?", "truck-001", false),
        ("**1**", "truck-001", true),
        ("?", "", false),
        ("*", "", true),
    ] {
        let taken =
            selection(pattern, Severity::Diagnostic).takes(device, "limit_high", Severity::Warning);
        assert_eq!(taken, expected, "{pattern} {device}");
    }
}

#[test]
fn milder_alerts_are_left_out() {
    let selection = selection("*", Severity::Warning);
    assert!(!selection.takes("a", "anomaly", Severity::Diagnostic));
    assert!(selection.takes("a", "anomaly", Severity::Warning));
    assert!(selection.takes("a", "anomaly", Severity::Critical));
}

#[test]
fn kinds_are_chosen_by_pattern() {
    let mut selection = selection("*", Severity::Diagnostic);
    selection.kind = "limit_*".to_owned();
    assert!(selection.takes("a", "limit_high", Severity::Warning));
    assert!(!selection.takes("a", "anomaly", Severity::Warning));
}

#[test]
fn a_text_cannot_steer_the_terminal() {
    let mut alert = alert(1, 0, Severity::Critical);
    alert.text = "warm\u{1b}[2J\nnext".try_into().unwrap();
    let line = show::line(&alert, false);
    assert_eq!(
        line,
        "(no time) truck-001 critical raised limit_high cargo 9.5 degC: warm [2J next"
    );
}

#[test]
fn stored_alerts_are_listed_with_those_received_late_marked() {
    let mut desk = Desk::new();
    for (seq, utc) in [(0, "2023-11-14T22:13:00Z"), (1, "2023-11-14T22:12:00Z")] {
        let mut alert = alert(1, seq, Severity::Critical);
        alert.utc = Some(utc.try_into().unwrap());
        desk.give(Leaf::Alert, &serde_json::to_vec(&alert).unwrap());
    }
    desk.give(
        Leaf::Alert,
        &serde_json::to_vec(&alert(1, 2, Severity::Diagnostic)).unwrap(),
    );
    let mut out = Vec::new();
    // Received at 22:13:20.
    list(
        &desk.db(),
        &selection("*", Severity::Warning),
        false,
        &mut out,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("2023-11-14T22:13:00Z truck-001"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("2023-11-14T22:12:00Z LATE truck-001"),
        "{text}"
    );
}
