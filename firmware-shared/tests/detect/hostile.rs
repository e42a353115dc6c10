//! What is no reading teaches nothing, and no input is a panic.

use firmware_shared::detect::{Channels, Input, Invalid, Readiness, Small};
use proptest::prelude::*;

use crate::reefer::{DAY, MINUTE_MS, Reefer, START_MS};

#[test]
fn dropouts_bus_errors_and_nan_leave_the_model_as_it_was() {
    let values = Reefer::new(9).minutes(4 * DAY);
    let (mut clean, mut disturbed) = (Small::new(), Small::new());
    for (i, value) in values.iter().enumerate() {
        let now_ms = START_MS + MINUTE_MS * i as u64;
        let expected = clean.step(now_ms, &Input::value(*value));
        assert_eq!(disturbed.step(now_ms, &Input::value(*value)), expected);
        let bad = [
            Input::value(f64::NAN),
            Input::value(f64::INFINITY),
            Input::invalid(Invalid::NoReading),
            Input::invalid(Invalid::OutOfRange),
            Input {
                value: Ok(f64::NAN),
                channels: Channels::default(),
            },
        ][i % 5];
        let verdict = disturbed.step(now_ms + 20_000, &bad);
        assert_eq!(
            (verdict.score, verdict.readiness),
            (0.0, Readiness::NoValue)
        );
    }
    assert!(clean == disturbed);
}

#[test]
fn a_young_detector_says_that_it_is_cold() {
    let mut detector = Small::new();
    for (i, value) in Reefer::new(2).minutes(149).iter().enumerate() {
        let verdict = detector.step(
            START_MS + MINUTE_MS * i as u64,
            &Input::value(value * 100.0),
        );
        assert_eq!(
            (verdict.score, verdict.readiness),
            (0.0, Readiness::Cold),
            "{i}"
        );
    }
}

#[test]
fn a_gap_does_not_look_like_a_jump() {
    let mut reefer = Reefer::new(4);
    let mut detector = Small::new();
    crate::verdicts(&mut detector, 0, &reefer.minutes(3 * DAY));
    reefer.minutes(DAY);
    reefer.set_point = -15.0;
    let after = crate::verdicts(&mut detector, 4 * DAY, &reefer.minutes(2));
    assert!(after.iter().all(|verdict| verdict.score < 0.5), "{after:?}");
}

proptest! {
    #[test]
    fn any_times_and_values_give_a_score_between_0_and_1(
        steps in prop::collection::vec((any::<u64>(), any::<f64>(), any::<Option<f64>>(), any::<Option<bool>>()), 1..600)
    ) {
        let mut detector = Small::new();
        for (now_ms, value, set_point, door) in steps {
            let channels = Channels { set_point, door, ..Channels::default() };
            let verdict = detector.step(now_ms, &Input::with_channels(value, channels));
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        }
    }

    #[test]
    fn any_order_of_near_times_gives_a_score_between_0_and_1(
        steps in prop::collection::vec((0_u64..100_000, -1e3..1e3), 400..600)
    ) {
        let mut detector = Small::new();
        let mut now_ms = 0;
        for (step_ms, value) in steps {
            now_ms = (now_ms + step_ms).saturating_sub(20_000);
            let verdict = detector.step(now_ms, &Input::value(value));
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        }
    }
}
