//! The questions, over a database that the ingest itself wrote.

use firmware_shared::id::Lane;
use firmware_shared::reading::{Health, Metric, Position, Reading, Score, Value};
use firmware_shared::time::ClockSource;
use firmware_shared::topic::Leaf;
use firmware_shared::units::{Celsius128, Degrees1e7};

use super::*;
use crate::config::Place;
use crate::testing::*;

const UTC_MS: i64 = 1_800_000_000_000;

/// A desk that knows the time of boot 1: stamp 0 is [`UTC_MS`].
fn dated() -> Desk {
    let mut desk = Desk::new();
    let telemetry = stream(1, Lane::Telemetry);
    let open = [(telemetry, Some(0)), (stream(1, Lane::Health), Some(0))];
    desk.give(Leaf::Status, &message(&birth(1, 7, 1_000, &open)));
    let anchor = anchor(0, UTC_MS, ClockSource::Gnss);
    desk.give(Leaf::Health, &anchors(boot(1), &[anchor]));
    desk
}

fn rows(desk: &Desk) -> Box<dyn Rows> {
    readers::open(&Place::Sqlite(desk.db()))
}

/// One reading of sensor 1 per second from this second on, of so many degrees.
fn degrees(first_s: u64, values: &[f64]) -> Vec<Reading> {
    (first_s..)
        .zip(values)
        .map(|(second, degrees)| Reading {
            stamp_ms: second * 1_000,
            sensor: 1,
            score: Score(0),
            value: Value::Temperature(Celsius128((degrees * 128.0) as i32)),
        })
        .collect()
}

fn give(desk: &mut Desk, first_seq: u64, readings: &[Reading]) {
    let frame = seal(stream(1, Lane::Telemetry), first_seq, readings);
    desk.give(Leaf::Telemetry, &frame);
    while desk.committer.has_upkeep() {
        desk.committer.date_rows().unwrap();
    }
}

fn series_of(desk: &Desk, from_s: i64, to_s: i64, step_ms: i64) -> series::Series {
    let request = series::Request {
        device: "truck-001".to_owned(),
        sensor: "cargo".to_owned(),
        from_ms: UTC_MS + from_s * 1_000,
        to_ms: UTC_MS + to_s * 1_000,
        step_ms,
    };
    series::series(&mut *rows(desk), &request).unwrap().unwrap()
}

#[test]
fn no_peak_is_smoothed_away_whatever_the_step() {
    let mut desk = dated();
    let mut values = vec![4.0; 600];
    values[123] = 19.5;
    values[456] = -7.25;
    for (number, part) in values.chunks(100).enumerate() {
        let first = number as u64 * 100;
        give(&mut desk, first, &degrees(first, part));
    }
    for step_ms in [1_000, 7_000, 60_000, 600_000] {
        let series = series_of(&desk, 0, 600, step_ms);
        let high = series
            .max
            .iter()
            .flatten()
            .copied()
            .fold(f64::MIN, f64::max);
        let low = series
            .min
            .iter()
            .flatten()
            .copied()
            .fold(f64::MAX, f64::min);
        assert_eq!((low, high), (-7.25, 19.5), "step {step_ms} ms");
        assert_eq!(series.count.iter().sum::<i64>(), 600, "step {step_ms} ms");
        assert_eq!(series.gaps, []);
    }
}

#[test]
fn a_hole_in_the_data_is_a_gap_of_the_series() {
    let mut desk = dated();
    give(&mut desk, 0, &degrees(0, &[4.0; 60]));
    give(&mut desk, 60, &degrees(300, &[4.0; 60]));
    let series = series_of(&desk, 0, 360, 5_000);
    let gaps: Vec<(i64, i64)> = series
        .gaps
        .iter()
        .map(|gap| (gap.from_ms - UTC_MS, gap.to_ms - UTC_MS))
        .collect();
    assert_eq!(gaps, [(59_000, 300_000)]);
}

#[test]
fn a_time_in_the_middle_is_found_without_what_is_around_it() {
    let mut desk = dated();
    for number in 0..40 {
        give(
            &mut desk,
            number * 100,
            &degrees(number * 100, &[number as f64; 100]),
        );
    }
    let series = series_of(&desk, 1_950, 2_050, 50_000);
    assert_eq!(series.count, [50, 50]);
    assert_eq!(series.min, [Some(19.0), Some(20.0)]);
}

#[test]
fn what_came_an_hour_after_its_time_is_a_late_stretch() {
    let mut desk = dated();
    desk.now_ms = UTC_MS + 59_500;
    give(&mut desk, 0, &degrees(0, &[4.0; 60]));
    desk.now_ms = UTC_MS + 3_718_000;
    give(&mut desk, 60, &degrees(60, &[4.0; 60]));
    desk.now_ms = UTC_MS + 3_719_500;
    give(&mut desk, 120, &degrees(3_660, &[4.0; 60]));
    let series = series_of(&desk, 0, 3_720, 10_000);
    let late: Vec<(i64, i64)> = series
        .late
        .iter()
        .map(|late| (late.from_ms - UTC_MS, late.to_ms - UTC_MS))
        .collect();
    // Up to five minutes behind its begin the frame may reach.
    assert_eq!(late, [(60_000, 360_000)]);
}

#[test]
fn completeness_names_what_is_missing_and_up_to_when_nothing_is() {
    let mut desk = dated();
    give(&mut desk, 0, &degrees(0, &[4.0; 60]));
    give(&mut desk, 80, &degrees(80, &[4.0; 20]));
    let answer = completeness::completeness(&mut *rows(&desk), "truck-001").unwrap();
    assert!(!answer.is_complete);
    assert_eq!(answer.complete_up_to_utc_ms, Some(UTC_MS + 59_000));
    assert_eq!(answer.missing_count, 20);
    assert_eq!(
        (answer.missing[0].first_seq, answer.missing[0].last_seq),
        (60, 79)
    );
    give(&mut desk, 60, &degrees(60, &[4.0; 20]));
    let answer = completeness::completeness(&mut *rows(&desk), "truck-001").unwrap();
    assert!(answer.is_complete);
    assert_eq!(answer.complete_up_to_utc_ms, Some(UTC_MS + 99_000));
}

#[test]
fn an_export_gives_each_reading_once_in_order() {
    let mut desk = dated();
    for number in 0..50 {
        give(&mut desk, number * 100, &degrees(number * 100, &[4.0; 100]));
    }
    let request = export::Request {
        device: "truck-001".to_owned(),
        sensor: None,
        times: Some((UTC_MS + 1_000_000, UTC_MS + 4_000_000)),
    };
    let mut rows = rows(&desk);
    let mut seqs = Vec::new();
    let mut rest = export::begin(&mut *rows, request).unwrap();
    while let Some((page, next)) = rest.page(&mut *rows).unwrap() {
        seqs.extend(page.iter().map(|reading| reading.seq));
        rest = next;
    }
    assert_eq!(seqs, (1_000..4_000).collect::<Vec<u64>>());
}

#[test]
fn the_glance_shows_the_last_value_and_is_asked_for_again_only_after_a_change() {
    let mut desk = dated();
    give(&mut desk, 0, &degrees(0, &[4.0, 5.5]));
    let mut fleet = fleet::Fleet::default();
    let mut rows = rows(&desk);
    let now_ms = desk.now_ms;
    let changed = fleet.refresh(&mut *rows, now_ms).unwrap();
    assert_eq!(changed.len(), 1);
    let vehicle = &fleet.vehicles()["truck-001"];
    assert_eq!(vehicle.values[0].value, Some(5.5));
    assert_eq!(vehicle.values[0].sensor, "cargo");
    assert_eq!(vehicle.utc_ms, Some(UTC_MS + 1_000));
    assert_eq!(vehicle.link, "up");
    assert!(
        fleet
            .refresh(&mut *rows, now_ms + 60_000)
            .unwrap()
            .is_empty()
    );
    desk.now_ms = now_ms + 61_000;
    give(&mut desk, 2, &degrees(2, &[6.5]));
    assert_eq!(fleet.refresh(&mut *rows, now_ms + 62_000).unwrap().len(), 1);
    assert_eq!(fleet.vehicles()["truck-001"].values[0].value, Some(6.5));
}

#[test]
fn a_track_keeps_one_position_per_step_and_breaks_where_there_is_none() {
    let mut desk = dated();
    let place = |second: u64| Reading {
        stamp_ms: second * 1_000,
        sensor: 2,
        score: Score(0),
        value: Value::Position(Position {
            lat: Degrees1e7(520_000_000 + second as i32),
            lon: Degrees1e7(130_000_000),
            height: None,
            speed: None,
            course: None,
            h_acc: None,
            dop: None,
            satellites: None,
            fix: firmware_shared::reading::FixKind::FIX_3D,
        }),
    };
    let first: Vec<Reading> = (0..100).map(place).collect();
    let second: Vec<Reading> = (1_000..1_100).map(place).collect();
    give(&mut desk, 0, &first);
    give(&mut desk, 100, &second);
    let request = track::Request {
        device: "truck-001".to_owned(),
        from_ms: UTC_MS,
        to_ms: UTC_MS + 2_000_000,
        step_ms: 10_000,
    };
    let track = track::track(&mut *rows(&desk), &request).unwrap();
    assert_eq!(track.utc_ms.len(), 20);
    assert_eq!(track.breaks, [10]);
    assert_eq!(track.lat_deg[0], 52.0);
}

#[test]
fn the_gateways_own_figures_are_shown() {
    let mut desk = dated();
    give(&mut desk, 0, &degrees(0, &[4.0]));
    let figure = |metric, value| Reading {
        stamp_ms: 1_000,
        sensor: 0,
        score: Score(0),
        value: Value::Health(Health { metric, value }),
    };
    let frame = seal(
        stream(1, Lane::Health),
        0,
        &[
            figure(Metric::SPOOL_BYTES, 4_096),
            figure(Metric::OLDEST_UNSENT_MS, 2_500),
        ],
    );
    desk.give(Leaf::Health, &frame);
    let mut rows = rows(&desk);
    let device = vehicle::find(&mut *rows, "truck-001").unwrap().unwrap();
    let gateway = vehicle::snapshot(&mut *rows, &device).unwrap().gateway;
    assert_eq!(
        (gateway.spool_bytes, gateway.oldest_unsent_ms),
        (Some(4_096), Some(2_500))
    );
}

#[test]
fn a_question_that_takes_too_long_is_interrupted() {
    let desk = dated();
    let mut rows = sqlite::SqliteRows::open(&desk.db()).unwrap();
    rows.expire();
    let endless =
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n";
    let answer = rows.each(endless, &[], &mut |_| {});
    assert_eq!(answer, Err(QueryError::TooLong));
}
