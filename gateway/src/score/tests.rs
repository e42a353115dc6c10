use firmware_shared::reading::{Fault, FaultKind, FixKind, Position};
use firmware_shared::units::{Celsius128, Course1e5, Degrees1e7, MillimetresPerSecond};

use super::*;
use crate::config::{DetectorSize, Driver, Quantity};

fn thermometer(index: u8) -> SensorConfig {
    SensorConfig::of_part(index, &format!("t{index}"), Driver::Tmp117, 0x48)
}

fn reading(stamp_ms: u64, sensor: u8, value: Value) -> Reading {
    Reading {
        stamp_ms,
        sensor,
        score: Score::ORDINARY,
        value,
    }
}

fn temperature(stamp_ms: u64, deg_c: f64) -> Reading {
    let value = Value::Temperature(Celsius128((deg_c * 128.0) as i32));
    reading(stamp_ms, 0, value)
}

const MINUTE: u64 = 60_000;

/// A fridge: a saw-tooth of 1.5 degC with a period of half an hour, the sun, and some noise.
fn fridge(minute: u64) -> f64 {
    let phase = (minute % 30) as f64;
    let tooth = if phase < 15.0 {
        phase - 7.5
    } else {
        22.5 - phase
    };
    let sun = (minute as f64 * std::f64::consts::TAU / 1440.0).sin() * 0.4;
    let dice = minute.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let noise = ((dice ^ (dice >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64;
    4.0 + tooth / 5.0 + sun + (noise / f64::from(1 << 24) - 0.5) * 0.3
}

#[test]
fn a_runaway_is_found_without_any_limit_and_explains_itself() {
    for size in [DetectorSize::Small, DetectorSize::Large] {
        let sensor = SensorConfig {
            detector: size,
            ..thermometer(0)
        };
        let mut scorer = Scorer::new([&sensor]);
        let start = 4 * 1440_u64;
        let mut found = None;
        for minute in 0..start + 180 {
            let over = minute.saturating_sub(start) as f64;
            let verdict = scorer.step(&temperature(minute * MINUTE, fridge(minute) + over * 0.15));
            let number = verdict.number.unwrap();
            let is_runaway = number.kind == Some(detect::AnomalyKind::Runaway);
            if number.score < 0.5 || !is_runaway {
                continue;
            }
            assert!(minute >= start, "{size:?} minute {minute} {number:?}");
            found = found.or(Some((minute - start, number, verdict.score)));
        }
        let (after, number, score) = found.unwrap();
        assert!(after < 150, "{size:?} after {after} minutes");
        assert!(
            score >= Score(500) && number.heads[0].is_some(),
            "{number:?}"
        );
        assert!((number.expected - 4.0).abs() < 2.5, "{number:?}");
    }
}

#[test]
fn a_fault_teaches_nothing_and_is_not_scored() {
    let sensor = thermometer(0);
    let (mut clean, mut faulty) = (Scorer::new([&sensor]), Scorer::new([&sensor]));
    let fault = Fault {
        kind: FaultKind::IMPLAUSIBLE,
        register: 0,
        code: -32_768,
    };
    for minute in 0..3000 {
        let at = minute * MINUTE;
        // The sensor is at fault now and then for a reading.
        if minute % 7 == 3 {
            let said = faulty.step(&reading(at, 0, Value::Fault(fault)));
            assert_eq!(said, Verdict::default());
            continue;
        }
        let value = temperature(at, fridge(minute));
        assert_eq!(faulty.step(&value), clean.step(&value));
    }
}

#[test]
fn a_sensor_without_a_judge_is_let_through() {
    let off = SensorConfig {
        detector: DetectorSize::Off,
        ..thermometer(0)
    };
    let contact = SensorConfig {
        quantity: Quantity::Input,
        ..thermometer(1)
    };
    let mut scorer = Scorer::new([&off, &contact]);
    assert_eq!(scorer.step(&temperature(0, 99.0)), Verdict::default());
    assert_eq!(
        scorer.step(&reading(0, 1, Value::State(1))),
        Verdict::default()
    );
    assert_eq!(
        scorer.step(&reading(0, 9, Value::State(1))),
        Verdict::default()
    );
    assert_eq!(scorer.kept_names().count(), 0);
}

#[test]
fn doors_defrost_and_the_air_outside_are_known_for_their_compartment_and_for_a_while() {
    let named = |index, quantity, role: &str, compartment: &str| SensorConfig {
        quantity,
        role: role.try_into().unwrap(),
        compartment: compartment.try_into().unwrap(),
        period_ms: 60_000,
        ..thermometer(index)
    };
    let sensors = [
        named(0, Quantity::Temperature, "load", "front"),
        named(1, Quantity::Input, "door", "front"),
        named(2, Quantity::Input, "door", "rear"),
        named(3, Quantity::Input, "door", ""),
        named(4, Quantity::Input, "defrost", ""),
        named(5, Quantity::Temperature, "ambient", ""),
    ];
    let mut scorer = Scorer::new(&sensors);
    let front = sensors[0].compartment.clone();
    let around = |scorer: &Scorer, at_ms| scorer.around.of(0, &front, at_ms);
    assert_eq!(around(&scorer, 0), detect::Channels::default());
    let state = |state| Value::State(state);
    scorer.step(&reading(0, 2, state(1)));
    assert_eq!(
        around(&scorer, 0).door,
        None,
        "that is the other compartment"
    );
    scorer.step(&reading(0, 1, state(0)));
    assert_eq!(around(&scorer, 0).door, Some(false));
    scorer.step(&reading(0, 3, state(1)));
    assert_eq!(around(&scorer, 0).door, Some(true), "one of two is open");
    scorer.step(&reading(0, 4, state(1)));
    scorer.step(&reading(0, 5, Value::Temperature(Celsius128(30 * 128))));
    scorer.set_points(vec![
        SetPoint {
            compartment: Name::new(),
            deg_c: 4.0,
        },
        SetPoint {
            compartment: "front".try_into().unwrap(),
            deg_c: -18.0,
        },
    ]);
    let all = detect::Channels {
        set_point: Some(-18.0),
        door: Some(true),
        defrost: Some(true),
        ambient: Some(30.0),
    };
    assert_eq!(around(&scorer, 180_000), all);
    let rear = "rear".try_into().unwrap();
    assert_eq!(scorer.around.of(9, &rear, 0).set_point, Some(4.0));
    let only_set_point = detect::Channels {
        set_point: Some(-18.0),
        ..detect::Channels::default()
    };
    assert_eq!(
        around(&scorer, 180_001),
        only_set_point,
        "three periods are over"
    );
    // An ambient thermometer does not explain itself.
    assert_eq!(scorer.around.of(5, &Name::new(), 0).ambient, None);
    let fault = Fault {
        kind: FaultKind::NO_ACK,
        register: 0,
        code: 0,
    };
    scorer.step(&reading(180_000, 1, Value::Fault(fault)));
    scorer.step(&reading(180_000, 3, Value::Fault(fault)));
    assert_eq!(
        around(&scorer, 180_000).door,
        None,
        "a contact that fails says nothing"
    );
}

#[test]
fn a_position_that_stands_while_the_speed_says_moving_is_found() {
    let receiver = SensorConfig::of_part(0, "gnss", Driver::Ublox, 0x42);
    let mut scorer = Scorer::new([&receiver]);
    let fix = |second: u64| {
        let moved = second.min(60) as i32;
        Value::Position(Position {
            lat: Degrees1e7(525_000_000 + moved * 1350),
            lon: Degrees1e7(134_000_000),
            height: None,
            speed: Some(MillimetresPerSecond(15_000)),
            course: Some(Course1e5(0)),
            h_acc: None,
            dop: None,
            satellites: Some(9),
            fix: FixKind::FIX_3D,
        })
    };
    let on: Vec<u64> = (0..90)
        .filter(|second| {
            let verdict = scorer.step(&reading(second * 1000, 0, fix(*second)));
            verdict.position.unwrap().freeze
        })
        .collect();
    assert_eq!((on.first(), on.last()), (Some(&65), Some(&89)), "{on:?}");
}

#[test]
fn the_calendar_goes_on_over_a_restart_and_follows_utc() {
    let mut calendar = Calendar::default();
    assert_eq!((calendar.at(5000), calendar.utc_ms(5000)), (5000, None));
    calendar.resume(5000, 1_000_000);
    assert_eq!(calendar.at(6000), 1_001_000);
    calendar.resume(6000, 7000);
    assert_eq!(calendar.at(6000), 1_001_000, "a model of longer ago");
    calendar.utc(6000, 1_800_000_000_000);
    assert_eq!(calendar.utc_ms(7000), Some(1_800_000_001_000));
    calendar.utc(8000, 1_800_000_002_500);
    assert_eq!(
        calendar.at(8000),
        1_800_000_002_000,
        "half a second is no news"
    );
    calendar.resume(8000, u64::MAX);
    calendar.utc(9000, -5);
    assert_eq!(calendar.at(8000), 1_800_000_002_000);
    calendar.utc(9000, 1_800_000_100_000);
    assert_eq!(calendar.at(9000), 1_800_000_100_000);
}
