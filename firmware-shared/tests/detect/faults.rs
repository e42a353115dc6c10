//! Each fault is found, named and explained; normal life is not a fault.

use firmware_shared::detect::{AnomalyKind, Channels, Head, Input, Large, Small, Verdict};

use crate::reefer::{DAY, MINUTE_MS, Reefer, START_MS};
use crate::verdicts;

/// Alerts at this score.
const ALERT: f32 = 0.5;
const AT: usize = 6 * DAY + 60;

/// The first alert in so many minutes after a fault in the night, on the seventh day.
fn first_alert(seed: u64, minutes: usize, fault: impl Fn(usize, f64) -> f64) -> Option<Verdict> {
    let mut values = Reefer::new(seed).minutes(AT + minutes);
    values[AT..]
        .iter_mut()
        .enumerate()
        .for_each(|(i, value)| *value = fault(i, *value));
    let said = verdicts(&mut Small::new(), 0, &values);
    said[AT..]
        .iter()
        .copied()
        .find(|verdict| verdict.score > ALERT)
}

fn check(kind: AnomalyKind, minutes: usize, fault: impl Fn(usize, f64) -> f64) {
    let found = (1..=8).filter_map(|seed| first_alert(seed, minutes, &fault));
    let named = found.filter(|verdict| verdict.kind == Some(kind)).count();
    assert!(named >= 7, "{kind:?}: {named} of 8 found and named");
}

#[test]
fn a_spike_is_found_at_the_reading_after_it() {
    check(AnomalyKind::Spike, 2, |i, value| {
        if i == 0 { value + 10.0 } else { value }
    });
}

#[test]
fn a_step_is_found_in_ten_minutes() {
    check(AnomalyKind::Step, 10, |_, value| value - 4.0);
}

#[test]
fn scattering_readings_are_found_in_a_quarter_of_an_hour() {
    let scatter = |i: usize| [1.7, -2.1, 0.4, -0.9, 2.4, -1.6, 0.8, -2.6, 1.9][i * i % 9];
    check(AnomalyKind::Noise, 15, |i, value| value + scatter(i));
}

#[test]
fn a_stuck_value_is_found_in_an_hour() {
    check(AnomalyKind::Stuck, 60, |_, _| -17.9375);
}

#[test]
fn a_runaway_in_the_night_is_found_in_an_hour() {
    check(AnomalyKind::Runaway, 60, |i, value| value + 0.22 * i as f64);
}

#[test]
fn a_drift_downwards_is_found_in_twelve_hours() {
    check(AnomalyKind::Drift, 720, |i, value| {
        value - 6.0 * i as f64 / DAY as f64
    });
}

#[test]
fn hours_of_scatter_do_not_hide_a_step_of_the_next_day() {
    let scatter = |i: usize| [1.7, -2.1, 0.4, -0.9, 2.4, -1.6, 0.8, -2.6, 1.9][i * i % 9];
    let found = (1..=8).filter(|seed| {
        let mut values = Reefer::new(*seed).minutes(AT + DAY + 10);
        for (i, value) in values[AT..AT + 240].iter_mut().enumerate() {
            *value += 2.0 * scatter(i);
        }
        values[AT + DAY..]
            .iter_mut()
            .for_each(|value| *value -= 3.5);
        let said = verdicts(&mut Small::new(), 0, &values);
        said[AT + DAY..].iter().any(|verdict| verdict.score > ALERT)
    });
    let found = found.count();
    assert!(found >= 7, "{found} of 8 found");
}

#[test]
fn a_drift_upwards_in_a_calm_night_is_found_before_the_morning() {
    // From ten in the evening to four: the least of four hours has hardly moved by then.
    let evening = AT - 180;
    let found = (1..=8).filter(|seed| {
        let mut values = Reefer::new(*seed).minutes(evening + 360);
        for (i, value) in values[evening..].iter_mut().enumerate() {
            *value += 8.0 * i as f64 / DAY as f64;
        }
        let said = verdicts(&mut Small::new(), 0, &values);
        let mut found = said[evening..]
            .iter()
            .filter(|verdict| verdict.score > ALERT);
        found.any(|verdict| verdict.kind == Some(AnomalyKind::Drift))
    });
    let found = found.count();
    assert!(found >= 6, "{found} of 8 found");
}

#[test]
fn a_verdict_explains_itself() {
    let said = first_alert(1, 60, |i, value| value + 0.22 * i as f64).unwrap();
    assert!((said.expected + 17.5).abs() < 1.0, "{said:?}");
    assert!(
        said.low < said.expected && said.expected < said.high,
        "{said:?}"
    );
    assert!(said.actual.unwrap() > said.high, "{said:?}");
    assert_eq!(said.heads[0].unwrap().head, Head::Ramp);
    assert!(
        (10 * MINUTE_MS..=70 * MINUTE_MS).contains(&said.lasting_ms),
        "{said:?}"
    );
    let words = said.sentence().to_string();
    assert!(
        words.contains("expected -17.") && words.contains("it keeps moving away"),
        "{words}"
    );
}

#[test]
fn normal_life_raises_at_most_one_alert_in_ten_days() {
    let mut alerts = 0;
    for seed in 1..=4 {
        let values = Reefer::new(seed).minutes(22 * DAY);
        let said = verdicts(&mut Large::new(), 0, &values);
        alerts += said[2 * DAY..]
            .iter()
            .filter(|verdict| verdict.score > ALERT)
            .count();
    }
    assert!(alerts <= 8, "{alerts} alerts in 80 days");
}

#[test]
fn one_episode_is_told_once_unless_it_grows() {
    let mut values = Reefer::new(2).minutes(AT + 90);
    values[AT..].iter_mut().for_each(|value| *value -= 4.0);
    let said = verdicts(&mut Small::new(), 0, &values);
    let strong: Vec<f32> = said[AT..]
        .iter()
        .map(|v| v.score)
        .filter(|score| *score > ALERT)
        .collect();
    assert!((1..=4).contains(&strong.len()), "{strong:?}");
    assert!(
        strong.is_sorted(),
        "an alert that is told again has grown: {strong:?}"
    );
}

#[test]
fn a_set_point_that_moves_is_no_alert_when_it_is_known() {
    let mut reefer = Reefer::new(6);
    let mut detector = Small::new();
    let (mut said, mut target) = (Vec::new(), -18.0);
    for i in 0..10 * DAY {
        if i == 5 * DAY {
            target = 4.0;
        }
        reefer.set_point += (target - reefer.set_point) / 60.0;
        let value = reefer.next();
        let channels = Channels {
            set_point: Some(target),
            ..Channels::default()
        };
        let now_ms = START_MS + MINUTE_MS * i as u64;
        said.push(detector.step(now_ms, &Input::with_channels(value, channels)));
    }
    let alerts = said[5 * DAY..]
        .iter()
        .filter(|verdict| verdict.score > ALERT)
        .count();
    assert_eq!(alerts, 0);
}

#[test]
fn a_runaway_five_hours_after_a_set_point_has_moved_is_found() {
    let found = (1..=8).filter(|seed| {
        let mut reefer = Reefer::new(*seed);
        let mut detector = Small::new();
        let (moved, from) = (6 * DAY, 6 * DAY + 300);
        let mut found = false;
        for i in 0..from + 60 {
            let target = if i < moved { -18.0 } else { 4.0 };
            reefer.set_point += (target - reefer.set_point) / 60.0;
            let fault = 0.25 * i.saturating_sub(from) as f64;
            let channels = Channels {
                set_point: Some(target),
                ..Channels::default()
            };
            let now_ms = START_MS + MINUTE_MS * i as u64;
            let input = Input::with_channels(reefer.next() + fault, channels);
            let said = detector.step(now_ms, &input);
            assert!(
                said.score < ALERT || !(moved..from).contains(&i),
                "minute {i}: {said:?}"
            );
            found |= i >= from && said.score > ALERT;
        }
        found
    });
    let found = found.count();
    assert!(found >= 6, "{found} of 8 found");
}

#[test]
fn heat_through_a_door_that_is_known_weighs_less() {
    let strongest = |known: bool| {
        let mut reefer = Reefer::new(8);
        let mut detector = Small::new();
        let mut most = 0.0_f32;
        for i in 0..9 * DAY {
            // From the eighth day on, doors at night: the hour says nothing about them.
            let night = i > 7 * DAY && i % 360 < 12;
            let value = reefer.next() + if night { 0.5 * (i % 360) as f64 } else { 0.0 };
            let door = known.then_some(reefer.door_open || night);
            let channels = Channels {
                door,
                ..Channels::default()
            };
            let now_ms = START_MS + MINUTE_MS * i as u64;
            let said = detector.step(now_ms, &Input::with_channels(value, channels));
            let ramp = said.heads[0].is_some_and(|share| share.head == Head::Ramp);
            if i > 7 * DAY && ramp {
                most = most.max(said.score);
            }
        }
        most
    };
    assert!(
        strongest(true) < strongest(false),
        "{} {}",
        strongest(true),
        strongest(false)
    );
}
