use firmware_shared::alert::Severity;
use firmware_shared::reading::{Fault, FaultKind};
use proptest::prelude::*;

use super::baseline::LEARN_MS_MIN;
use super::*;
use crate::config::Driver;

fn sensor(index: u8) -> SensorConfig {
    SensorConfig {
        limits: Limits {
            high: Some(Celsius128(8 * 128)),
            low: Some(Celsius128(2 * 128)),
            duration_ms: 0,
            hysteresis: Celsius128(64),
            severity: Severity::Critical,
        },
        ..SensorConfig::of_part(index, "cargo", Driver::Tmp117, 0x48)
    }
}

fn reading(stamp_ms: u64, value: Value) -> Reading {
    Reading {
        stamp_ms,
        sensor: 0,
        score: Score::ORDINARY,
        value,
    }
}

/// A fridge: a saw-tooth of `amplitude` counts around 0 with a period of 30 minutes, and some noise.
fn fridge(second: u64, amplitude: i32) -> i32 {
    let phase = (second % 1800) as i32;
    let tooth = if phase < 900 {
        phase - 450
    } else {
        1350 - phase
    };
    let noise = (second.wrapping_mul(2_654_435_761) >> 7) as i32 % 3 - 1;
    tooth * amplitude / 450 + noise
}

fn scores(values: impl IntoIterator<Item = i32>) -> Vec<u16> {
    let mut baseline = Baseline::new();
    let step = |(second, value)| baseline.step(second as u64 * 1000, value).0.0;
    values.into_iter().enumerate().map(step).collect()
}

#[test]
fn ordinary_cycles_of_a_cooling_unit_are_never_unusual() {
    let day = scores((0..86_400).map(|second| fridge(second, 192)));
    assert_eq!(day.iter().filter(|score| **score > 0).count(), 0);
}

#[test]
fn a_runaway_is_unusual_once_it_leaves_the_past_and_certain_in_the_end() {
    // Two hours of cycles of +-1.5 degC, then half a degree a minute.
    let start = 7200;
    let value = |second: u64| fridge(second, 192) + (second.saturating_sub(start) * 64 / 60) as i32;
    let scores = scores((0..start + 3600).map(value));
    let first = scores.iter().position(|score| *score > 0).unwrap() as u64;
    assert!(
        (start + 300..start + 1800).contains(&first),
        "after {} s",
        first - start
    );
    assert_eq!(scores.iter().max(), Some(&1000));
}

#[test]
fn nothing_is_unusual_before_there_is_something_to_compare_with() {
    let mut baseline = Baseline::new();
    let last = LEARN_MS_MIN / 1000 - 1;
    for second in 0..=last {
        let wild = if second % 7 == 0 { 20_000 } else { 0 };
        assert_eq!(
            baseline.step(second * 1000, wild),
            (Score::ORDINARY, None),
            "{second}"
        );
    }
    assert!(baseline.step(LEARN_MS_MIN, 0).1.is_some());
}

#[test]
fn a_fault_teaches_nothing_and_is_not_scored() {
    let (mut clean, mut faulty) = (Scorer::new([&sensor(0)]), Scorer::new([&sensor(0)]));
    let fault = Fault {
        kind: FaultKind::IMPLAUSIBLE,
        register: 0,
        code: -32_768,
    };
    for second in 0..6000 {
        let at = second * 1000;
        // The sensor is at fault for a quarter of an hour in each half.
        if second % 1800 >= 900 {
            let said = faulty.step(at, &reading(at, Value::Fault(fault)));
            assert_eq!(said, Verdict::default());
            continue;
        }
        let value = Value::Temperature(Celsius128(fridge(second, 192)));
        let verdict = clean.step(at, &reading(at, value));
        assert_eq!(faulty.step(at, &reading(at, value)), verdict);
    }
}

#[test]
fn limits_hold_from_the_first_reading_and_know_their_margins() {
    let table = [
        (8 * 128 + 1, Standing::High),
        (8 * 128, Standing::NearHigh),
        (8 * 128 - 63, Standing::NearHigh),
        (8 * 128 - 64, Standing::Inside),
        (2 * 128 + 64, Standing::Inside),
        (2 * 128 + 63, Standing::NearLow),
        (2 * 128, Standing::NearLow),
        (2 * 128 - 1, Standing::Low),
        (i32::MAX, Standing::High),
        (i32::MIN, Standing::Low),
    ];
    for (counts, expected) in table {
        let mut scorer = Scorer::new([&sensor(0)]);
        let verdict = scorer.step(0, &reading(0, Value::Temperature(Celsius128(counts))));
        assert_eq!(verdict.standing, Some(expected), "{counts}");
    }
    let unlimited = Standing::of(Celsius128(i32::MAX), &Limits::NONE);
    assert_eq!(unlimited, Standing::Inside);
}

#[test]
fn a_sensor_without_a_judge_is_let_through() {
    let mut scorer = Scorer::new([&sensor(3)]);
    let value = Value::Temperature(Celsius128(99 * 128));
    assert_eq!(scorer.step(0, &reading(0, value)), Verdict::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn scores_do_not_depend_on_a_shift_of_all_values(
        shift in -1_000_000..1_000_000_i32, jump in 0..4000_i32, seed in 0_u64..1000,
    ) {
        let value = |second: u64| {
            fridge(second + seed, 192) + if second > 5000 { jump } else { 0 }
        };
        let plain = scores((0..5400).map(value));
        let shifted = scores((0..5400).map(|second| value(second) + shift));
        prop_assert_eq!(plain, shifted);
    }

    #[test]
    fn scores_do_not_depend_on_the_scale_of_all_values(
        scale in 2..50_i32, jump in 0..4000_i32, seed in 0_u64..1000,
    ) {
        let value = |second: u64| {
            fridge(second + seed, 192) + if second > 5000 { jump } else { 0 }
        };
        let plain = scores((0..5400).map(value));
        let scaled = scores((0..5400).map(|second| value(second) * scale));
        for (plain, scaled) in plain.iter().zip(&scaled) {
            // The spread is an integer: its rounding is worth a few thousandths.
            prop_assert!(plain.abs_diff(*scaled) <= 30 || plain.min(scaled) == &0 && plain.max(scaled) < &320,
                "{plain} {scaled}");
        }
    }

    #[test]
    fn no_value_and_no_stamp_breaks_the_baseline(
        steps in prop::collection::vec((any::<u64>(), any::<i32>()), 0..400),
    ) {
        let mut baseline = Baseline::new();
        for (now_ms, value) in steps {
            let (score, expected) = baseline.step(now_ms, value);
            prop_assert!(score <= Score::MAX);
            if let Some(expected) = expected {
                prop_assert!(expected.low <= expected.value && expected.value <= expected.high);
            }
        }
    }
}
