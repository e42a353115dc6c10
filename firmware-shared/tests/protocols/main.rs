//! The two protocols by which the detector is measured: faults in made-up fleets, and NAB's recorded series.
//!
//! Promises: thresholds for a fleet come from its clean twins alone; every figure has one beside it that was
//! taken with a threshold from other data. A test run plays one fleet; `FLEET_DETECTOR=all` prints every
//! row for both profiles and takes minutes (with `--release`). `FLEET_DETECTOR_SEEDS=1,2,3` names fleets.
//! NAB is found through FLEET_TEST_DATA or beside the repository; without it its test is shown as ignored,
//! and fails where CI=true.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests, though without the standard harness"
)]

mod fleet;
mod nab;
mod score;

use std::path::Path;
use std::process::ExitCode;

use firmware_shared::detect::AnomalyKind;
use libtest_mimic::{Arguments, Failed, Trial};

use score::{Figures, Judged};

/// Trucks of a whole fleet, and of the part that a test run plays.
const TRUCKS: usize = 30;
const STRICT: f64 = 0.05;
const PLAIN: f64 = 0.2;
const DELAYS: [AnomalyKind; 3] = [
    AnomalyKind::Runaway,
    AnomalyKind::DoorLeftOpen,
    AnomalyKind::Drift,
];

fn main() -> ExitCode {
    if std::env::var("FLEET_DETECTOR").is_ok_and(|wish| wish == "all") {
        table::<2, 225, 192, 24>("small");
        table::<4, 400, 4096, 48>("large");
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test("a_small_detector_finds_what_the_floor_asks_for", || {
            finds_enough::<2, 225, 192, 24>(false)
        }),
        Trial::test(
            "a_large_detector_with_channels_finds_what_the_floor_asks_for",
            || finds_enough::<4, 400, 4096, 48>(true),
        ),
        on_nab("nab_gives_a_small_detector_more_than_the_floor", |folder| {
            at_least(
                "NAB standard",
                nab_score::<2, 225, 192, 24>(folder, nab::STANDARD),
                55.0,
            )?;
            let low = nab_score::<2, 225, 192, 24>(folder, nab::LOW_FALSE_ALERTS);
            at_least("NAB low-FP", low, 42.0)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn on_nab(name: &str, promise: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static) -> Trial {
    match nab::folder() {
        Some(folder) => Trial::test(name, move || promise(&folder)),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            Trial::test(name, || Err("no recorded data, and CI=true".into()))
        }
        None => Trial::test(name, || Err("skipped: no recorded data".into()))
            .with_kind("skipped: no recorded data")
            .with_ignored_flag(true),
    }
}

fn at_least(what: &str, found: f64, floor: f64) -> Result<(), Failed> {
    println!("{what}: {found:.1}, at least {floor}");
    if found >= floor {
        Ok(())
    } else {
        Err(format!("{what}: {found:.1} is below {floor}").into())
    }
}

/// The floors of the whole protocol, as shares, on one fleet of its size: of ten trucks one fault more or less is
/// a point and a half.
fn finds_enough<const M: usize, const P: usize, const T: usize, const B: usize>(
    channels: bool,
) -> Result<(), Failed> {
    let trucks = fleet::fleet(9, TRUCKS, channels);
    let judged = Judged::new::<M, P, T, B>(&trucks, channels);
    let figures = judged.at(judged.threshold(PLAIN));
    let percent = |part| 100.0 * Figures::share(part, figures.found);
    at_least(
        "found, percent",
        100.0 * Figures::share(figures.found, figures.faults),
        70.0,
    )?;
    at_least("kind right, percent", percent(figures.kind_right), 85.0)?;
    at_least(
        "expected near, percent",
        percent(figures.expected_near),
        85.0,
    )
}

fn nab_score<const M: usize, const P: usize, const T: usize, const B: usize>(
    folder: &Path,
    false_cost: f64,
) -> f64 {
    let files = nab::judge::<M, P, T, B>(folder);
    let all: Vec<&nab::Scored> = files.iter().collect();
    nab::normalised(&all, nab::best_threshold(&all, false_cost), false_cost)
}

/// Every row of the protocols for one profile.
fn table<const M: usize, const P: usize, const T: usize, const B: usize>(profile: &str) {
    println!("== {profile}");
    match nab::folder() {
        Some(folder) => nab_rows::<M, P, T, B>(&folder),
        None => println!("NAB: skipped, no recorded data"),
    }
    let seeds = std::env::var("FLEET_DETECTOR_SEEDS").unwrap_or_else(|_| "1,2,3".to_owned());
    for channels in [false, true] {
        let mut before: Option<(u64, [f32; 2])> = None;
        for seed in seeds.split(',').map(|seed| seed.parse::<u64>().unwrap()) {
            let trucks = fleet::fleet(seed, TRUCKS, channels);
            let judged = Judged::new::<M, P, T, B>(&trucks, channels);
            let thresholds = [STRICT, PLAIN].map(|budget| judged.threshold(budget));
            for (budget, threshold) in [STRICT, PLAIN].into_iter().zip(thresholds) {
                let name = if channels { "channels" } else { "values" };
                println!(
                    "{name} seed {seed} at {budget}: {}",
                    row(&judged.at(threshold))
                );
            }
            if let Some((other, [strict, _])) = before {
                println!(
                    "  with the threshold of seed {other}: {}",
                    row(&judged.at(strict))
                );
            }
            before = Some((seed, thresholds));
        }
    }
}

fn row(figures: &Figures) -> String {
    let percent = |part| 100.0 * Figures::share(part, figures.found);
    let delays = DELAYS.map(|kind| format!("{} {}", kind.name(), figures.median_delay(kind)));
    format!(
        "found {}/{}, median delay min: {}, kind right {:.1} %, expected near {:.1} %",
        figures.found,
        figures.faults,
        delays.join(", "),
        percent(figures.kind_right),
        percent(figures.expected_near),
    )
}

/// Halves of the files for the figures with a threshold of other data.
const SPLITS: usize = 20;

fn nab_rows<const M: usize, const P: usize, const T: usize, const B: usize>(folder: &Path) {
    let files = nab::judge::<M, P, T, B>(folder);
    let all: Vec<&nab::Scored> = files.iter().collect();
    for (name, cost) in [
        ("standard", nab::STANDARD),
        ("low-FP", nab::LOW_FALSE_ALERTS),
    ] {
        let own = nab::normalised(&all, nab::best_threshold(&all, cost), cost);
        let mut random = 1_u64;
        let mut sum = 0.0;
        for _ in 0..SPLITS {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for file in &all {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let half = if random >> 63 == 0 {
                    &mut one
                } else {
                    &mut other
                };
                half.push(*file);
            }
            sum += nab::normalised(&other, nab::best_threshold(&one, cost), cost);
        }
        println!(
            "NAB {name}: {own:.1}, with a threshold of other files {:.1}",
            sum / SPLITS as f64
        );
    }
}
