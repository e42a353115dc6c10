use firmware_shared::batch::CodecId;
use firmware_shared::id::Lane;
use firmware_shared::message::{LossReason, NackReason};
use firmware_shared::time::ClockSource;
use firmware_shared::topic::Leaf;

use crate::testing::*;

const T: Lane = Lane::Telemetry;

fn loss(first_seq: u64, last_seq: Option<u64>) -> firmware_shared::message::Loss {
    firmware_shared::message::Loss {
        epoch: epoch(1),
        lane: T,
        first_seq,
        last_seq,
        at_most: last_seq.is_none().then_some(500),
        reason: LossReason::NotAcceptedBeforeCrash,
    }
}

fn nack_reason(desk: &mut Desk) -> Option<NackReason> {
    match desk.hear().as_slice() {
        [Heard::Nack(nack)] => Some(nack.reason),
        [] => None,
        other => panic!("expected a nack: {other:?}"),
    }
}

#[test]
fn a_frame_is_stored_once_whatever_the_order_the_repetitions_and_the_restarts() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    for first in [20, 0, 20, 10, 0] {
        desk.give(Leaf::Telemetry, &frame(s, first, 10));
    }
    desk = desk.restart();
    for first in [10, 30, 20] {
        desk.give(Leaf::Telemetry, &frame(s, first, 10));
    }
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "40");
    assert_eq!(desk.value("SELECT count(DISTINCT seq) FROM readings"), "40");
    assert_eq!(desk.column("SELECT last_seq FROM have_set"), ["39"]);
    assert_eq!(desk.counter("duplicate_frames"), 4);
    assert_eq!(desk.counter("duplicate_readings"), 40);
    assert_eq!(desk.entry().upto, 40);
}

#[test]
fn a_repetition_inside_one_group_is_a_duplicate_too() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let f = frame(s, 0, 10);
    desk.give_all(Leaf::Telemetry, &[f.clone(), f.clone(), frame(s, 5, 10), f]);
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
    assert_eq!(desk.counter("duplicate_frames"), 2);
    assert_eq!(desk.counter("clashes"), 1);
}

#[test]
fn rows_carry_exactly_what_the_reading_said() {
    let mut desk = Desk::new();
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 0, 3));
    assert_eq!(
        desk.column(
            "SELECT device || ' ' || epoch || ' ' || lane || ' ' || seq || ' ' || sensor || ' ' || kind
             || ' ' || boottime_ms || ' ' || raw || ' ' || value || ' ' || unit || ' ' || score
             FROM readings WHERE seq = 2"
        ),
        ["truck-001 1 telemetry 2 1 temperature 12000 514 4.015625 degC 0"]
    );
}

#[test]
fn the_same_numbers_with_other_bytes_or_boundaries_are_quarantined_alarmed_and_nacked() {
    let s = stream(1, T);
    let mut other = readings(10, 10);
    other[3].stamp_ms += 1;
    for (name, clashing) in [
        ("other bytes", seal(s, 10, &other)),
        ("overlap below", frame(s, 5, 10)),
        ("overlap above", frame(s, 15, 10)),
        ("inside", frame(s, 12, 2)),
        ("around", frame(s, 5, 20)),
        ("same start, shorter", frame(s, 10, 5)),
    ] {
        let mut desk = Desk::new();
        desk.give(Leaf::Telemetry, &frame(s, 10, 10));
        desk.entry();
        desk.give(Leaf::Telemetry, &clashing);
        let (heard, alarms) = desk.hear_with_alarms();
        let [Heard::Nack(nack)] = heard.as_slice() else {
            panic!("{name}: {heard:?}");
        };
        let told: Vec<_> = alarms
            .iter()
            .map(|alarm| (alarm.kind.as_str(), alarm.device.clone(), alarm.epoch))
            .collect();
        assert_eq!(told, [("identity_clash", device(), s.epoch)], "{name}");
        assert_eq!(nack.reason, NackReason::Clash, "{name}");
        let claimed = firmware_shared::batch::claimed_header(&clashing).unwrap();
        assert_eq!(nack.frame, Some((s, claimed.range())), "{name}");
        assert_eq!(desk.value("SELECT count(*) FROM readings"), "10", "{name}");
        assert_eq!(
            desk.column("SELECT reason || length(bytes) FROM quarantine"),
            [format!("clash{}", clashing.len())]
        );
        assert_eq!(
            desk.column("SELECT kind || ' ' || lane FROM alarms"),
            ["identity_clash telemetry"]
        );
    }
}

#[test]
fn a_corrupt_frame_is_counted_quarantined_with_its_bytes_and_nacked_with_what_it_claims() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    let good = frame(s, 7, 5);
    let mut bad = good.clone();
    let at = bad.len() - 6;
    bad[at] ^= 0x10;
    desk.give(Leaf::Telemetry, &bad);
    let heard = desk.hear();
    let [Heard::Nack(nack)] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert_eq!(nack.reason, NackReason::Corrupt);
    assert_eq!(nack.frame, Some((s, range(7, 11))));
    assert_eq!(desk.counter("corrupt"), 1);
    let quarantined = desk.value("SELECT hex(bytes) FROM quarantine");
    let hex: String = bad.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(quarantined, hex);

    desk.give(Leaf::Telemetry, b"");
    desk.give(Leaf::Telemetry, b"garbage");
    let frames: Vec<_> = desk
        .hear()
        .into_iter()
        .map(|heard| match heard {
            Heard::Nack(nack) => nack.frame,
            Heard::Ack(_) => panic!("an ack"),
        })
        .collect();
    assert_eq!(frames, [None, None]);

    desk.give(Leaf::Telemetry, &good);
    assert_eq!(desk.entry().ranges.as_slice(), [range(7, 11)]);
}

#[test]
fn a_frame_with_a_right_checksum_and_wrong_columns_is_undecodable() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(
        Leaf::Telemetry,
        &opaque(s, 0, CodecId::COLUMNS_V1, &[0xFF; 40]),
    );
    assert_eq!(nack_reason(&mut desk), Some(NackReason::Undecodable));
    desk.give(
        Leaf::Health,
        &opaque(stream(1, Lane::Health), 0, CodecId::OPENING, &[0xFF; 9]),
    );
    assert_eq!(nack_reason(&mut desk), Some(NackReason::Undecodable));
    desk.give(Leaf::Telemetry, &opening(s, boot(1)));
    assert_eq!(nack_reason(&mut desk), Some(NackReason::Undecodable));
    assert_eq!(desk.value("SELECT count(*) FROM have_set"), "0");
    assert_eq!(desk.value("SELECT count(*) FROM quarantine"), "3");
}

#[test]
fn a_frame_on_the_topic_of_another_lane_is_not_stored() {
    let mut desk = Desk::new();
    desk.give(Leaf::Health, &frame(stream(1, T), 0, 5));
    assert_eq!(nack_reason(&mut desk), Some(NackReason::Undecodable));
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "0");
}

#[test]
fn a_frame_of_an_unknown_codec_is_kept_raw_and_acknowledged() {
    let mut desk = Desk::new();
    let bytes = opaque(stream(1, T), 0, CodecId(77), b"from the future");
    desk.give(Leaf::Telemetry, &bytes);
    assert_eq!(desk.entry().upto, 1);
    assert_eq!(
        desk.value("SELECT codec || ' ' || count || ' ' || length(bytes) FROM raw_batches"),
        format!("77 1 {}", bytes.len())
    );
    desk.give(Leaf::Telemetry, &bytes);
    assert_eq!(desk.counter("duplicate_frames"), 1);
}

#[test]
fn a_raw_frame_is_read_at_the_start_of_a_version_that_knows_its_codec() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    // As an earlier version would have left it: the frame raw, its numbers had, no rows.
    let later = frame(s, 10, 20);
    let hex: String = later.iter().map(|byte| format!("{byte:02x}")).collect();
    let crc = firmware_shared::batch::Batch::open(&later).unwrap().crc();
    desk.execute(&format!(
        "INSERT INTO raw_batches VALUES ('truck-001', 1, 'telemetry', 10, 20, 1, x'{hex}');
         INSERT INTO batches VALUES ('truck-001', 1, 'telemetry', 10, 20, 1, {crc}, {}, 20000, 5, 0, NULL);
         UPDATE have_set SET last_seq = 29;",
        later.len()
    ));
    desk = desk.restart();
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "30");
    assert_eq!(desk.value("SELECT count(*) FROM raw_batches"), "0");
    desk.give(Leaf::Telemetry, &later);
    assert_eq!(desk.counter("duplicate_frames"), 1);
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "30");
}

#[test]
fn an_opening_tells_the_boot_and_names_the_sensors() {
    let mut desk = Desk::new();
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 0, 1));
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(9)));
    assert_eq!(desk.value("SELECT boot_id FROM epochs"), "09".repeat(16));
    assert_eq!(desk.value("SELECT name FROM readings_named"), "cargo");
    let upto: Vec<u64> = match desk.hear().as_slice() {
        [Heard::Ack(ack)] => ack.entries.iter().map(|entry| entry.upto).collect(),
        other => panic!("{other:?}"),
    };
    assert_eq!(upto, [1, 1]);
}

#[test]
fn a_row_that_arrives_after_its_loss_takes_it_back() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    desk.give(Leaf::Health, &losses(&[loss(5, Some(29))]));
    assert_eq!(
        desk.column("SELECT first_seq || '-' || last_seq || ' ' || reason FROM losses"),
        ["10-29 not_accepted_before_crash"]
    );
    assert_eq!(desk.entry().upto, 30);
    desk.give(Leaf::Telemetry, &frame(s, 15, 5));
    assert_eq!(
        desk.column("SELECT first_seq || '-' || last_seq FROM losses ORDER BY first_seq"),
        ["10-14", "20-29"]
    );
    assert_eq!(desk.entry().upto, 30);
    desk = desk.restart();
    desk.give(Leaf::Telemetry, &frame(s, 20, 10));
    assert_eq!(desk.column("SELECT first_seq FROM losses"), ["10"]);
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "25");
}

#[test]
fn losses_with_the_same_reason_side_by_side_are_one() {
    let mut desk = Desk::new();
    desk.give(
        Leaf::Health,
        &losses(&[loss(0, Some(4)), loss(10, Some(14)), loss(5, Some(9))]),
    );
    assert_eq!(
        desk.column("SELECT first_seq || '-' || last_seq FROM losses"),
        ["0-14"]
    );
}

#[test]
fn an_impossible_loss_is_set_aside() {
    let mut desk = Desk::new();
    desk.give(Leaf::Health, &losses(&[loss(9, Some(4))]));
    desk.give(Leaf::Health, &losses(&[loss(0, Some(u64::MAX))]));
    assert_eq!(desk.value("SELECT count(*) FROM losses"), "0");
    assert_eq!(desk.value("SELECT count(*) FROM quarantine"), "2");
    assert!(desk.hear().is_empty());
}

#[test]
fn an_open_tail_is_acknowledged_by_its_start_and_never_widens_upto() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    desk.give(Leaf::Health, &losses(&[loss(10, None)]));
    let entry = desk.entry();
    assert_eq!((entry.upto, entry.tail_from), (10, Some(10)));
    assert_eq!(
        desk.value(
            "SELECT first_seq || ' ' || coalesce(last_seq, 'open') || ' ' || at_most FROM losses"
        ),
        "10 open 500"
    );
    // A frame that the broker still held arrives after all.
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    let entry = desk.entry();
    assert_eq!((entry.upto, entry.tail_from), (20, Some(10)));
    desk = desk.restart();
    desk.give(Leaf::Health, &losses(&[loss(10, None)]));
    let entry = desk.entry();
    assert_eq!((entry.upto, entry.tail_from), (20, Some(10)));
    assert_eq!(
        desk.value("SELECT first_seq || ' ' || at_most FROM losses"),
        "20 490"
    );
}

#[test]
fn rows_are_dated_by_the_anchor_of_their_frame_or_of_their_boot_and_stamps_stay() {
    let mut desk = Desk::new();
    let (s, h) = (stream(1, T), stream(1, Lane::Health));
    let undated = "SELECT count(*) FROM readings WHERE utc_ms IS NULL";
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    let rtc = Some(anchor(0, 1_000_000, ClockSource::Rtc));
    desk.give(
        Leaf::Telemetry,
        &seal_anchored(s, 10, &readings(10, 10), rtc),
    );
    assert_eq!(desk.value(undated), "10");
    assert_eq!(
        desk.value("SELECT utc_ms - boottime_ms FROM readings WHERE seq = 10"),
        "1000000"
    );
    desk.give(Leaf::Health, &opening(h, boot(1)));
    desk.give(
        Leaf::Health,
        &anchors(boot(1), &[anchor(10_000, 5_010_000, ClockSource::Ntp)]),
    );
    while desk.committer.has_upkeep() {
        desk.committer.date_rows().unwrap();
    }
    assert_eq!(desk.value(undated), "0");
    assert_eq!(
        desk.value("SELECT DISTINCT utc_ms - boottime_ms FROM readings WHERE seq < 10"),
        "5000000"
    );
    assert_eq!(
        desk.value("SELECT (utc_ms - boottime_ms) || utc_source FROM readings WHERE seq = 19"),
        "5000000ntp",
        "nobody vouched for the date that it had"
    );
    assert_eq!(
        desk.value("SELECT boottime_ms FROM readings WHERE seq = 3"),
        "13000"
    );
    // The better source serves what comes later.
    desk.give(Leaf::Telemetry, &frame(s, 20, 1));
    assert_eq!(
        desk.value("SELECT utc_ms - boottime_ms FROM readings WHERE seq = 20"),
        "5000000"
    );
    assert_eq!(
        desk.value("SELECT error_ms FROM anchors WHERE source = 'ntp'"),
        "20"
    );
}

#[test]
fn the_anchor_of_a_frame_serves_the_whole_boot() {
    let mut desk = Desk::new();
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(1)));
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 0, 5));
    let gnss = Some(anchor(0, 1_000_000, ClockSource::Gnss));
    for first in [5, 10] {
        let list = readings(first, 5);
        desk.give(
            Leaf::Telemetry,
            &seal_anchored(stream(1, T), first, &list, gnss),
        );
    }
    while desk.committer.has_upkeep() {
        desk.committer.date_rows().unwrap();
    }
    assert_eq!(desk.column("SELECT source FROM anchors"), ["gnss"]);
    assert_eq!(
        desk.column("SELECT DISTINCT utc_ms - boottime_ms FROM readings"),
        ["1000000"]
    );
}

#[test]
fn rows_that_a_killed_process_left_undated_are_dated_by_the_next() {
    let mut desk = Desk::new();
    for number in 0..450 {
        desk.give(Leaf::Telemetry, &frame(stream(1, T), number, 1));
    }
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(1)));
    desk.give(
        Leaf::Health,
        &anchors(boot(1), &[anchor(0, 9_000, ClockSource::Gnss)]),
    );
    desk = desk.restart();
    let mut steps = 0;
    while desk.committer.has_upkeep() {
        desk.committer.date_rows().unwrap();
        steps += 1;
    }
    assert!(steps >= 3, "each step is bounded: {steps}");
    assert_eq!(
        desk.value("SELECT count(*) FROM readings WHERE utc_ms IS NULL"),
        "0"
    );
}

#[test]
fn retention_deletes_rows_by_receipt_and_keeps_their_numbers() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    desk.give(Leaf::Telemetry, &frame(s, 10, 10));
    desk.now_ms += 1_000;
    desk.give(Leaf::Telemetry, &frame(s, 20, 10));
    while desk.committer.expire_step(desk.now_ms).unwrap() {}
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
    assert_eq!(
        desk.column("SELECT first_seq || '-' || last_seq FROM expired"),
        ["0-19"]
    );
    assert_eq!(desk.column("SELECT last_seq FROM have_set"), ["29"]);
    desk = desk.restart();
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
    assert_eq!(desk.counter("duplicate_frames"), 1);
    assert_eq!(desk.counter("clashes"), 0);
}

#[test]
fn the_quarantine_counts_repetitions_and_stays_bounded() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.give(Leaf::Telemetry, b"the same garbage");
    }
    assert_eq!(desk.column("SELECT count FROM quarantine"), ["3"]);
    let large = vec![7; 128 * 1024];
    for round in 0..300_u32 {
        let mut bytes = large.clone();
        bytes[..4].copy_from_slice(&round.to_le_bytes());
        desk.give(Leaf::Telemetry, &bytes);
    }
    let kept: u64 = desk
        .value("SELECT sum(length(bytes)) FROM quarantine")
        .parse()
        .unwrap();
    assert!(kept <= 32 * 1024 * 1024, "{kept}");
    assert!(kept >= 31 * 1024 * 1024, "{kept}");
    assert_eq!(desk.counter("quarantined"), 303);
}

#[test]
fn sealed_bytes_are_kept_where_the_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let sink = crate::sqlite::Sqlite::open(&folder.path().join("x"), 1, 2).unwrap();
    let config = crate::ingest::CoreConfig {
        prefix: PREFIX.to_owned(),
        central_id: 1,
        run: 1,
        ack_period_ms: 1,
        keep_sealed_bytes: true,
        gap_ms: GAP_MS,
        backlog_bytes_per_s: 0,
    };
    let mut committer = crate::committer::Committer::new(config, sink);
    let payload = frame(stream(1, T), 0, 4);
    let delivery = crate::committer::Delivery {
        place: Default::default(),
        topic: topic_of(&device(), Leaf::Telemetry),
        payload: payload.clone(),
    };
    committer.commit(1, &[delivery]).unwrap();
    let kept: Vec<u8> = committer
        .sink()
        .connection()
        .query_row("SELECT sealed FROM batches", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, payload);
}
