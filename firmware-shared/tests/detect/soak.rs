//! Years of readings: neither deaf nor noisier.

use firmware_shared::detect::{Detector, Input, Small, Verdict};

use crate::reefer::{DAY, MINUTE_MS, Reefer, START_MS};

/// Alerts in the second and the last tenth, at a score that ordinary life reaches now and then.
fn rates<const M: usize, const P: usize, const T: usize, const B: usize>(
    count: usize,
) -> (usize, usize) {
    const LEVEL: f32 = 0.35;
    let mut reefer = Reefer::new(11);
    let mut detector = Box::new(Detector::<M, P, T, B>::new());
    let (mut second, mut last) = (0, 0);
    for i in 0..count {
        let score = detector.step(at(i), &Input::value(reefer.next())).score;
        match i * 10 / count {
            1 => second += usize::from(score > LEVEL),
            9 => last += usize::from(score > LEVEL),
            _ => {}
        }
    }
    (second, last)
}

fn at(i: usize) -> u64 {
    START_MS + MINUTE_MS * i as u64
}

fn check<const M: usize, const P: usize, const T: usize, const B: usize>(count: usize) {
    let (second, last) = rates::<M, P, T, B>(count);
    println!("{count} readings: {second} alerts in the second tenth, {last} in the last");
    assert!(second > 20, "{second} alerts are too few to compare");
    assert!(
        last <= 2 * second && second <= 2 * last,
        "second {second}, last {last}"
    );
}

#[test]
fn the_alert_rate_after_a_million_readings_is_that_of_the_beginning() {
    check::<2, 225, 192, 24>(1_000_000);
}

/// `cargo test --release -p firmware-shared --test detect -- --ignored ten_million`
#[test]
#[ignore = "ten million readings: run with --release -- --ignored"]
fn the_alert_rate_after_ten_million_readings_is_that_of_the_beginning() {
    check::<2, 225, 192, 24>(10_000_000);
    check::<4, 400, 4096, 48>(10_000_000);
}

#[test]
fn after_three_months_it_still_finds_what_it_found_in_the_first_week() {
    let (mut reefer, mut detector) = (Reefer::new(12), Small::new());
    let mut found = |from: usize, days: usize| {
        for i in from..from + days * DAY {
            detector.step(at(i), &Input::value(reefer.next()));
        }
        let mut alerts: Vec<Verdict> = Vec::new();
        for i in 0..60 {
            let value = reefer.next() + 0.25 * i as f64;
            alerts.push(detector.step(at(from + days * DAY + i), &Input::value(value)));
        }
        alerts.iter().any(|verdict| verdict.score > 0.5)
    };
    assert!(found(0, 7));
    assert!(found(7 * DAY + 60, 90));
}
