//! Streams that do the same again and again, exactly.

use std::f64::consts::TAU;

use firmware_shared::detect::{Detector, Input};

use crate::reefer::{DAY, MINUTE_MS, START_MS};

/// From this score on the gateway alerts unless it is told otherwise.
const ALERT: f32 = 0.5;
const DAYS: usize = 10;
const LEARNING_DAYS: usize = 4;

fn triangle(minute: f64, period: f64) -> f64 {
    4.0 * ((minute / period).fract() - 0.5).abs() - 1.0
}

fn sine(minute: f64, period: f64) -> f64 {
    (minute * TAU / period).sin()
}

/// A defrost of half an hour.
fn defrost(minute: f64, every: f64) -> f64 {
    let since = minute % every;
    if since < 30.0 {
        4.0 * (1.0 - (-since / 12.0).exp())
    } else {
        3.67 * (-(since - 30.0) / 15.0).exp()
    }
}

fn check<const M: usize, const P: usize, const T: usize, const B: usize>(
    name: &str,
    value: impl Fn(f64) -> f64,
) {
    let mut detector = Box::new(Detector::<M, P, T, B>::new());
    for minute in 0..DAYS * DAY {
        let at_ms = START_MS + MINUTE_MS * minute as u64;
        let said = detector.step(at_ms, &Input::value(value(minute as f64)));
        assert!(
            said.score < ALERT || minute < LEARNING_DAYS * DAY,
            "{name}: {said:?} in minute {minute}"
        );
    }
}

fn both(name: &str, value: impl Fn(f64) -> f64) {
    check::<2, 225, 192, 24>(name, &value);
    check::<4, 400, 4096, 48>(name, &value);
}

#[test]
fn a_regular_compressor_raises_no_alert() {
    let coarse = |value: f64| (value * 16.0).round() / 16.0;
    for period in [10.0, 18.0, 25.0, 31.0, 45.0, 60.0] {
        both("triangle", |minute| triangle(minute, period));
        both("sine", |minute| sine(minute, period));
        both("coarse", |minute| {
            coarse(0.8 * triangle(minute, period) - 18.0)
        });
    }
}

#[test]
fn a_regular_day_raises_no_alert() {
    for period in [480.0, 720.0, 1440.0] {
        both("day", |minute| sine(minute, period));
    }
}

#[test]
fn regular_defrosts_raise_no_alert() {
    for every in [240.0, 288.0, 337.0] {
        both("defrosts", |minute| {
            defrost(minute, every) + triangle(minute, 30.0)
        });
    }
}
