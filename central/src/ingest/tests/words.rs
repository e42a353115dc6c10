use firmware_shared::alert::Severity;
use firmware_shared::id::{DeviceId, Lane};
use firmware_shared::message::{
    ACK_ENTRIES_MAX, ACK_RANGES_MAX, Goodbye, LaneNext, NackReason, Status, Will,
};
use firmware_shared::topic::Leaf;

use crate::testing::*;

const T: Lane = Lane::Telemetry;

fn acks(heard: Vec<Heard>) -> Vec<firmware_shared::message::Ack> {
    heard
        .into_iter()
        .map(|heard| match heard {
            Heard::Ack(ack) => ack,
            Heard::Nack(nack) => panic!("a nack: {nack:?}"),
        })
        .collect()
}

#[test]
fn a_birth_is_answered_at_once_with_its_nonce_and_every_stream_known_or_not() {
    let mut desk = Desk::new();
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 0, 10));
    desk.entry();
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 20, 10));
    desk.entry();
    let open = [
        (stream(2, T), Some(0)),
        (stream(2, Lane::Alert), Some(0)),
        (stream(1, T), None),
    ];
    desk.give(Leaf::Status, &message(&birth(2, 4711, 100, &open)));
    let acks = acks(desk.hear_at_once());
    assert_eq!(acks.len(), 1);
    assert_eq!(acks[0].nonce, Some(4711));
    let entries: Vec<_> = acks[0]
        .entries
        .iter()
        .map(|e| (e.epoch.number(), e.lane, e.upto, e.ranges.to_vec()))
        .collect();
    assert_eq!(
        entries,
        [
            (1, T, 10, vec![range(20, 29)]),
            (2, Lane::Alert, 0, vec![]),
            (2, T, 0, vec![]),
        ]
    );
}

#[test]
fn a_birth_of_many_epochs_is_answered_in_several_acks_with_rising_numbers() {
    let mut desk = Desk::new();
    let open: Vec<_> = (1..=32)
        .flat_map(|number| Lane::ALL.map(|lane| (stream(number, lane), Some(0))))
        .collect();
    desk.give(Leaf::Status, &message(&birth(1, 5, 100, &open)));
    let acks = acks(desk.hear_at_once());
    assert_eq!(acks.len(), 96 / ACK_ENTRIES_MAX);
    assert!(acks.iter().all(|ack| ack.nonce == Some(5)));
    assert!(acks.windows(2).all(|pair| pair[0].n < pair[1].n));
    let listed: usize = acks.iter().map(|ack| ack.entries.len()).sum();
    assert_eq!(listed, 96);
}

#[test]
fn a_birth_without_streams_gets_its_nonce_back_all_the_same() {
    let mut desk = Desk::new();
    desk.give(Leaf::Status, &message(&birth(1, 6, 100, &[])));
    let acks = acks(desk.hear_at_once());
    assert_eq!(
        (acks.len(), acks[0].nonce, acks[0].entries.len()),
        (1, Some(6), 0)
    );
}

#[test]
fn an_ack_lists_the_lowest_ranges_and_the_rest_is_not_said() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let frames: Vec<_> = (1..=100).map(|n| frame(s, n * 10, 5)).collect();
    desk.give_all(Leaf::Telemetry, &frames);
    let entry = desk.entry();
    assert_eq!(entry.upto, 0);
    assert_eq!(entry.ranges.len(), ACK_RANGES_MAX);
    assert_eq!(entry.ranges[0], range(10, 14));
    assert_eq!(entry.ranges[63], range(640, 644));
    assert_eq!(desk.value("SELECT count(*) FROM have_set"), "100");
}

#[test]
fn progress_is_said_at_once_and_then_once_a_second() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    assert_eq!(acks(desk.hear_at_once()).len(), 1);
    let mut heard = 0;
    for n in 1..=30 {
        desk.give(Leaf::Telemetry, &frame(s, n * 10, 10));
        desk.mono_ms += 100;
        heard += acks(desk.hear_at_once()).len();
    }
    assert_eq!(heard, 3);
    assert_eq!(desk.committer.deadline(desk.mono_ms), None, "all is said");
    desk.give(Leaf::Telemetry, &frame(s, 400, 10));
    assert_eq!(
        desk.committer.deadline(desk.mono_ms),
        Some(desk.mono_ms + 1_000)
    );
}

#[test]
fn numbers_rise_within_a_run_and_a_restart_is_another_run_of_the_same_centre() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    let first = acks(desk.hear()).remove(0);
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    let second = acks(desk.hear()).remove(0);
    assert!(second.n > first.n);
    assert_eq!(second.run, first.run);
    desk = desk.restart();
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    let third = acks(desk.hear()).remove(0);
    assert_eq!(third.central_id, first.central_id);
    assert_ne!(third.run, first.run);
}

#[test]
fn a_centre_restored_from_an_older_copy_answers_a_birth_with_what_it_has() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    let copy = desk.folder.path().join("backup.sqlite");
    desk.execute(&format!("VACUUM INTO '{}'", copy.display()));
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    assert_eq!(desk.entry().upto, 20);

    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&copy, restored.path().join("fleet.sqlite")).unwrap();
    desk.committer = open(restored.path(), 99);
    let open = [(s, Some(20))];
    desk.give(Leaf::Status, &message(&birth(1, 8, 100, &open)));
    let ack = acks(desk.hear_at_once()).remove(0);
    assert_eq!((ack.nonce, ack.entries[0].upto), (Some(8), 10));
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    assert_eq!(desk.entry().upto, 20);
}

#[test]
fn a_birth_of_another_device_is_set_aside_and_not_answered() {
    let mut desk = Desk::new();
    let mut foreign = birth(1, 7, 100, &[(stream(1, T), Some(3))]);
    foreign.device = "truck-002".parse().unwrap();
    desk.give(Leaf::Status, &message(&foreign));
    assert!(desk.hear().is_empty());
    assert_eq!(desk.value("SELECT device FROM quarantine"), "truck-001");
    assert_eq!(desk.value("SELECT count(*) FROM issued"), "0");
}

#[test]
fn what_a_device_reports_as_issued_only_rises() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let next = |next_seq| [LaneNext { lane: T, next_seq }].into_iter().collect();
    let issued = "SELECT next_seq FROM issued WHERE lane = 'telemetry'";
    desk.give(Leaf::Status, &message(&birth(1, 1, 100, &[(s, Some(50))])));
    assert_eq!(desk.value(issued), "50");
    let status = |next_seq| Status {
        epoch: epoch(1),
        boottime_ms: 5,
        next: next(next_seq),
        spool_bytes: 0,
        oldest_unacked_ms: 0,
        ram_mode: false,
        more: None,
    };
    desk.give(Leaf::Status, &message(&status(40)));
    assert_eq!(desk.value(issued), "50");
    desk.give(Leaf::Status, &message(&status(60)));
    let goodbye = Goodbye {
        epoch: epoch(1),
        boottime_ms: 6,
        next: next(75),
    };
    desk.give(Leaf::Status, &message(&goodbye));
    assert_eq!(desk.value(issued), "75");
    assert_eq!(desk.value("SELECT clean FROM epochs"), "1");
    assert_eq!(desk.value("SELECT link FROM devices"), "closed");
}

#[test]
fn a_will_counts_only_for_the_incarnation_that_is_there() {
    let mut desk = Desk::new();
    desk.give(Leaf::Status, &message(&birth(1, 1, 100, &[])));
    desk.give(Leaf::Status, &message(&birth(2, 2, 200, &[])));
    desk.give(Leaf::Status, &message(&Will { epoch: epoch(1) }));
    assert_eq!(desk.value("SELECT link FROM devices"), "up");
    desk.give(Leaf::Status, &message(&Will { epoch: epoch(2) }));
    assert_eq!(desk.value("SELECT link FROM devices"), "lost");
}

#[test]
fn two_incarnations_that_speak_by_turns_are_an_identity_clash() {
    let mut desk = Desk::new();
    for (number, boottime_ms) in [(1, 100), (2, 200), (2, 250)] {
        desk.give(
            Leaf::Status,
            &message(&birth(number, boottime_ms, boottime_ms, &[])),
        );
    }
    assert_eq!(desk.value("SELECT count(*) FROM alarms"), "0");
    desk = desk.restart();
    desk.give(Leaf::Status, &message(&birth(1, 300, 300, &[])));
    assert_eq!(
        desk.value("SELECT kind || ' ' || epoch FROM alarms"),
        "identity_clash 1"
    );
    assert_eq!(desk.counter("clashes"), 1);
}

#[test]
fn an_old_birth_that_a_broker_repeats_is_not_a_clash() {
    let mut desk = Desk::new();
    let old = message(&birth(1, 1, 100, &[]));
    desk.give(Leaf::Status, &old);
    desk.give(Leaf::Status, &message(&birth(2, 2, 20, &[])));
    desk.give(Leaf::Status, &old);
    assert_eq!(desk.value("SELECT count(*) FROM alarms"), "0");
    assert_eq!(desk.value("SELECT epoch FROM devices"), "2");
}

#[test]
fn an_alert_is_stored_as_it_came_once() {
    let mut desk = Desk::new();
    let json = serde_json::to_vec(&alert(1, 0, Severity::Critical)).unwrap();
    desk.give(Leaf::Alert, &json);
    desk.give(Leaf::Alert, &json);
    assert_eq!(desk.value("SELECT json FROM alerts").as_bytes(), json);
    assert_eq!(
        desk.value("SELECT severity || ' ' || kind || ' ' || value FROM alerts"),
        "critical limit_high 9.5"
    );
    let entry = desk.entry();
    assert_eq!((entry.lane, entry.upto), (Lane::Alert, 1));
    assert_eq!(desk.counter("duplicate_frames"), 1);
}

#[test]
fn the_same_alert_number_with_other_bytes_is_a_clash() {
    let mut desk = Desk::new();
    let mut one = alert(1, 0, Severity::Critical);
    desk.give(Leaf::Alert, &serde_json::to_vec(&one).unwrap());
    desk.entry();
    one.value = Some(9.75);
    desk.give(Leaf::Alert, &serde_json::to_vec(&one).unwrap());
    let heard = desk.hear();
    let [Heard::Nack(nack)] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert_eq!(nack.reason, NackReason::Clash);
    assert_eq!(nack.frame, Some((stream(1, Lane::Alert), range(0, 0))));
    assert_eq!(desk.value("SELECT value FROM alerts"), "9.5");
    assert_eq!(desk.value("SELECT kind FROM alarms"), "identity_clash");
}

#[test]
fn an_alert_that_is_not_one_is_nacked_with_the_key_that_it_claims() {
    let mut desk = Desk::new();
    let mut foreign = alert(1, 3, Severity::Warning);
    foreign.device = "truck-002".parse().unwrap();
    desk.give(Leaf::Alert, &serde_json::to_vec(&foreign).unwrap());
    desk.give(Leaf::Alert, b"{\"epoch\":\"0000000000000001\",\"seq\":4}");
    desk.give(Leaf::Alert, b"not json");
    let frames: Vec<_> = desk
        .hear()
        .into_iter()
        .map(|heard| match heard {
            Heard::Nack(nack) => nack.frame.map(|(_, range)| range.first_seq),
            Heard::Ack(ack) => panic!("{ack:?}"),
        })
        .collect();
    assert_eq!(frames, [Some(3), Some(4), None]);
    assert_eq!(desk.value("SELECT count(*) FROM alerts"), "0");
}

#[test]
fn the_centres_own_topics_change_nothing() {
    let mut desk = Desk::new();
    desk.give(Leaf::Ack, b"anything");
    desk.give(Leaf::Cmd("profile"), b"anything");
    assert_eq!(desk.counter("foreign_topics"), 2);
    assert_eq!(desk.value("SELECT count(*) FROM quarantine"), "0");
}

#[test]
fn devices_do_not_share_numbers() {
    let mut desk = Desk::new();
    let other: DeviceId = "truck-002".parse().unwrap();
    let payload = frame(stream(1, T), 0, 10);
    desk.give(Leaf::Telemetry, &payload);
    let mut delivery = desk.delivery(Leaf::Telemetry, &payload);
    delivery.topic = topic_of(&other, Leaf::Telemetry);
    desk.committer.commit(1, &[delivery]).unwrap();
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "20");
    assert_eq!(desk.counter("clashes"), 0);
}

#[test]
fn an_epoch_in_two_boots_is_an_identity_clash() {
    let mut desk = Desk::new();
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(2)));
    assert_eq!(desk.value("SELECT count(*) FROM alarms"), "0");
    // Births of this kit name boot 1.
    let open = [(stream(1, Lane::Health), None)];
    desk.give(Leaf::Status, &message(&birth(1, 1, 1, &open)));
    assert_eq!(desk.value("SELECT kind FROM alarms"), "identity_clash");
    assert_eq!(desk.value("SELECT boot_id FROM epochs"), "02".repeat(16));
}

#[test]
fn a_gap_that_does_not_close_makes_the_device_say_its_birth_and_a_moving_one_does_not() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let runs = |heard: &[Heard]| -> Vec<u64> {
        let acks = heard.iter().filter_map(|heard| match heard {
            Heard::Ack(ack) => Some(ack.run),
            Heard::Nack(_) => None,
        });
        acks.collect()
    };
    desk.give(Leaf::Telemetry, &frame(s, 20, 10));
    desk.pass(0);
    let run = runs(&desk.hear())[0];
    desk.pass(GAP_MS - 2 * ACK_PERIOD_MS);
    assert!(desk.hear().is_empty(), "not before the limit");
    // The backlog comes in: its lowest gap moves, and the time begins anew.
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    desk.pass(ACK_PERIOD_MS);
    assert_eq!(runs(&desk.hear()), [run]);
    desk.pass(GAP_MS);
    let asked = desk.hear();
    let [Heard::Ack(ack)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_ne!(ack.run, run);
    assert!(ack.nonce.is_none() && ack.entries.is_empty(), "{ack:?}");
    // What is said from here on is of that run, the answer to the birth, too.
    let asked = ack.run;
    desk.give(Leaf::Status, &message(&birth(1, 7, 1, &[(s, Some(30))])));
    assert_eq!(runs(&desk.hear()), [asked]);
    // Not again at once; and never when there is no gap.
    desk.pass(GAP_MS / 2);
    assert!(desk.hear().is_empty());
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    desk.hear();
    desk.pass(10 * GAP_MS);
    desk.pass(10 * GAP_MS);
    assert!(desk.hear().is_empty());
    desk.give(Leaf::Telemetry, &frame(s, 30, 1));
    assert_eq!(desk.counter("gap_requests"), 1);
}

#[test]
fn a_device_that_fills_gaps_is_told_how_fast_it_may_and_no_other() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    desk.pass(1_000);
    desk.hear();
    assert!(desk.paced.is_empty(), "nothing is missing");
    desk.give(Leaf::Telemetry, &frame(s, 30, 10));
    desk.pass(1_000);
    desk.hear_at_once();
    let [told] = desk.paced.as_slice() else {
        panic!("{:?}", desk.paced);
    };
    assert_eq!(told.backlog_bytes_per_s, Some(BACKLOG_BYTES_PER_S));
    assert_eq!(told.central_id, desk.committer.sink().central_id());
    assert!(told.valid_s > 30);
    desk.pass(30_000);
    desk.hear_at_once();
    assert_eq!(desk.paced.len(), 2, "before the first word is over");
    desk.give(Leaf::Telemetry, &frame(s, 10, 20));
    desk.pass(120_000);
    desk.hear_at_once();
    assert_eq!(desk.paced.len(), 2, "the gap is filled");
}
