use std::process::ExitCode;

use firmware_shared::alert::Severity;
use firmware_shared::id::Lane;
use firmware_shared::message::{Loss, LossReason};
use firmware_shared::topic::Leaf;

use super::{Report, table};
use crate::config::Place;
use crate::testing::*;

const T: Lane = Lane::Telemetry;

fn verify(db: &std::path::Path) -> anyhow::Result<Report> {
    super::verify(&Place::Sqlite(db.to_owned()))
}

fn lost(first_seq: u64, last_seq: Option<u64>, reason: LossReason) -> Loss {
    Loss {
        epoch: epoch(1),
        lane: T,
        first_seq,
        last_seq,
        at_most: last_seq.is_none().then_some(40),
        reason,
    }
}

/// Sixty readings, an opening, an alert; the device says that it issued them.
fn sound() -> Desk {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let open = [
        (s, Some(60)),
        (stream(1, Lane::Health), Some(1)),
        (stream(1, Lane::Alert), Some(1)),
    ];
    desk.give(Leaf::Status, &message(&birth(1, 1, 1, &open)));
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(1)));
    desk.give(Leaf::Telemetry, &frame(s, 0, 30));
    desk.give(Leaf::Telemetry, &frame(s, 30, 30));
    let alert = serde_json::to_vec(&alert(1, 0, Severity::Warning)).unwrap();
    desk.give(Leaf::Alert, &alert);
    desk
}

fn exit(desk: &Desk) -> ExitCode {
    let db = desk.db();
    crate::main([
        "fleet-central",
        "verify",
        "--json",
        "--db",
        db.to_str().unwrap(),
    ])
}

#[track_caller]
fn expect_exit(desk: &Desk, code: u8) {
    assert_eq!(
        format!("{:?}", exit(desk)),
        format!("{:?}", ExitCode::from(code))
    );
}

#[test]
fn a_sound_database_accounts_for_every_number_and_exits_with_0() {
    let desk = sound();
    let report = verify(&desk.db()).unwrap();
    assert_eq!(
        (report.issued, report.stored, report.duplicates),
        (62, 62, 0)
    );
    assert_eq!(
        (report.lost, report.unexplained_gaps, report.unlisted),
        (0, 0, 0)
    );
    assert_eq!(report.devices[0].lanes["telemetry"].stored, 60);
    assert!(table(&report).contains("sound"), "{}", table(&report));
    expect_exit(&desk, 0);
}

#[test]
fn a_row_deleted_by_hand_is_found_and_exits_with_1() {
    let desk = sound();
    desk.execute("DELETE FROM readings WHERE device = 'truck-001' AND seq = 17");
    let report = verify(&desk.db()).unwrap();
    assert_eq!((report.stored, report.unexplained_gaps), (61, 1));
    let gap = &report.devices[0].gaps[0];
    assert_eq!(
        (gap.first_seq, gap.last_seq, gap.lane),
        (17, 17, "telemetry")
    );
    assert!(table(&report).contains("17..=17"));
    expect_exit(&desk, 1);
}

#[test]
fn a_deleted_alert_and_a_deleted_opening_are_found() {
    for sql in ["DELETE FROM alerts", "DELETE FROM batches WHERE codec = 2"] {
        let desk = sound();
        desk.execute(sql);
        assert_eq!(verify(&desk.db()).unwrap().unexplained_gaps, 1, "{sql}");
        expect_exit(&desk, 1);
    }
}

#[test]
fn one_measurement_under_two_numbers_is_a_duplicate_and_exits_with_1() {
    let desk = sound();
    desk.execute(
        "INSERT INTO readings (device, epoch, lane, seq, sensor, kind, boottime_ms, value)
         SELECT device, epoch, lane, 60, sensor, kind, boottime_ms, value FROM readings WHERE seq = 5;
         UPDATE have_set SET last_seq = 60 WHERE lane = 'telemetry'; UPDATE issued SET next_seq = 61 WHERE lane = 'telemetry'",
    );
    let report = verify(&desk.db()).unwrap();
    assert_eq!(
        (report.duplicates, report.unexplained_gaps, report.unlisted),
        (1, 0, 0)
    );
    assert_eq!(report.devices[0].duplicate_stamps, 1);
    expect_exit(&desk, 1);
}

#[test]
fn one_measurement_in_two_epochs_of_a_boot_is_a_duplicate_and_in_two_boots_is_not() {
    let mut desk = sound();
    desk.give(Leaf::Telemetry, &frame(stream(2, T), 0, 10));
    assert_eq!(
        verify(&desk.db()).unwrap().duplicates,
        0,
        "boot of epoch 2 unknown"
    );
    desk.give(Leaf::Health, &opening(stream(2, Lane::Health), boot(1)));
    assert_eq!(verify(&desk.db()).unwrap().duplicates, 10);
}

#[test]
fn a_row_that_the_have_set_forgot_is_found() {
    let desk = sound();
    desk.execute("UPDATE have_set SET last_seq = 49 WHERE lane = 'telemetry'");
    let report = verify(&desk.db()).unwrap();
    assert_eq!((report.unlisted, report.unexplained_gaps), (10, 0));
    expect_exit(&desk, 1);
}

#[test]
fn losses_explain_what_is_not_stored_by_reason() {
    let mut desk = sound();
    let s = stream(1, T);
    desk.give(Leaf::Status, &message(&birth(1, 2, 2, &[(s, Some(100))])));
    assert_eq!(verify(&desk.db()).unwrap().unexplained_gaps, 40);
    expect_exit(&desk, 1);
    desk.give(
        Leaf::Health,
        &losses(&[
            lost(50, Some(79), LossReason::Evicted),
            lost(80, Some(99), LossReason::Corrupt),
        ]),
    );
    let report = verify(&desk.db()).unwrap();
    assert_eq!((report.issued, report.stored, report.lost), (102, 62, 40));
    assert_eq!(report.lost_by_reason["evicted"], 20);
    assert_eq!(report.lost_by_reason["corrupt"], 20);
    expect_exit(&desk, 0);
}

#[test]
fn an_open_tail_is_lost_as_far_as_the_device_told_and_unknown_otherwise() {
    let mut desk = sound();
    let crash = LossReason::NotAcceptedBeforeCrash;
    desk.give(Leaf::Health, &losses(&[lost(60, None, crash)]));
    let report = verify(&desk.db()).unwrap();
    assert_eq!((report.lost, report.unknown_tails), (0, 1));
    let tail = &report.devices[0].unknown_tails[0];
    assert_eq!((tail.first_seq, tail.at_most), (60, Some(40)));
    expect_exit(&desk, 0);

    let s = stream(1, T);
    desk.give(Leaf::Status, &message(&birth(1, 2, 2, &[(s, Some(73))])));
    let report = verify(&desk.db()).unwrap();
    assert_eq!(
        (report.issued, report.lost, report.unknown_tails),
        (75, 13, 0)
    );
    expect_exit(&desk, 0);
}

#[test]
fn what_retention_deleted_is_expired_and_never_a_gap() {
    let mut desk = sound();
    let later_ms = desk.now_ms + 1;
    while desk.committer.expire_step(later_ms).unwrap() {}
    let report = verify(&desk.db()).unwrap();
    assert_eq!(
        (report.stored, report.expired, report.unexplained_gaps),
        (2, 60, 0)
    );
    expect_exit(&desk, 0);
}

#[test]
fn a_raw_frame_counts_as_stored() {
    let mut desk = sound();
    let bytes = opaque(stream(3, T), 0, firmware_shared::batch::CodecId(9), b"?");
    desk.give(Leaf::Telemetry, &bytes);
    let report = verify(&desk.db()).unwrap();
    assert_eq!(
        (report.stored, report.unexplained_gaps, report.unlisted),
        (63, 0, 0)
    );
}

#[test]
fn quarantined_frames_and_clashes_are_counted_per_device() {
    let mut desk = sound();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, b"garbage");
    desk.give(Leaf::Telemetry, &frame(s, 10, 30));
    let report = verify(&desk.db()).unwrap();
    assert_eq!((report.quarantined, report.clashes), (2, 1));
    assert_eq!(report.devices[0].device, "truck-001");
    expect_exit(&desk, 0);
}

#[test]
fn a_file_that_is_no_fleet_database_is_a_failure_and_not_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sqlite");
    assert!(
        verify(&missing)
            .unwrap_err()
            .to_string()
            .contains("missing.sqlite")
    );
    assert!(!missing.exists());
    let text = folder.path().join("text");
    std::fs::write(
        &text,
        "not a database, by far not, and long enough to be sure of it",
    )
    .unwrap();
    assert!(verify(&text).is_err());
}
