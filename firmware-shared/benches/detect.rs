//! The detector beside a Random Cut Forest, in one run, on the same series.
//!
//! Writes `target/bench/detect.json`. The series is a saw-tooth with noise and rare events, one value a
//! minute; the forest is crate krcf with 30 trees of 128, one dimension, shingles of 8.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops when its peer fails"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use firmware_shared::detect::{Detector, Input, Large, Small};
use krcf::{RandomCutForest, RandomCutForestOptions};

const READINGS: usize = 200_000;
const RCF_READINGS: usize = 20_000;
/// Readings before the clock runs: the forest's trees are full, the detector judges.
const WARM_UP: usize = 3_000;

fn series(count: usize) -> Vec<f64> {
    let mut random = 1_u64;
    let mut noise = move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    };
    let saw = |i: usize| 0.8 * (4.0 * ((i as f64 / 31.0).fract() - 0.5).abs() - 1.0);
    let event = |i: usize| {
        if i % 300 < 30 {
            4.0 * (i % 300) as f64 / 30.0
        } else {
            0.0
        }
    };
    (0..count)
        .map(|i| ((-18.0 + saw(i) + event(i) + 0.1 * noise()) * 16.0).round() / 16.0)
        .collect()
}

/// The time per reading of the quickest part: parts are short enough to run without an interruption.
fn quickest<T>(items: &[T], part_len: usize, mut step: impl FnMut(usize, &T)) -> f64 {
    let mut best = f64::MAX;
    for (part, items) in items.chunks_exact(part_len).enumerate() {
        let start = Instant::now();
        for (i, item) in items.iter().enumerate() {
            step(part * part_len + i, item);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / part_len as f64);
    }
    best
}

/// Parts of a day, so that each holds the hourly and ten-minute work as often as it comes.
fn step_ns<const M: usize, const P: usize, const T: usize, const B: usize>(values: &[f64]) -> f64 {
    let mut detector = Box::new(Detector::<M, P, T, B>::new());
    for (i, value) in values[..WARM_UP].iter().enumerate() {
        detector.step(60_000 * i as u64, &Input::value(*value));
    }
    quickest(&values[WARM_UP..], 1440, |i, value| {
        black_box(detector.step(60_000 * (WARM_UP + i) as u64, &Input::value(*value)));
    })
}

fn rcf_step_ns(values: &[f64]) -> f64 {
    let mut forest = RandomCutForest::new(rcf_options()).unwrap();
    for value in &values[..WARM_UP] {
        forest.update(&[*value as f32]).unwrap();
    }
    quickest(&values[WARM_UP..], 50, |_, value| {
        let point = [*value as f32];
        let score = forest.score(&point).unwrap();
        assert!(score > 0.0, "the forest scores {score}");
        assert!(forest.update(&point).is_ok(), "the forest refuses {value}");
    })
}

fn snapshot_len<const M: usize, const P: usize, const T: usize, const B: usize>(
    values: &[f64],
) -> usize
where
    Detector<M, P, T, B>: serde::Serialize + for<'de> serde::Deserialize<'de>,
{
    let mut detector = Box::new(Detector::<M, P, T, B>::new());
    for (i, value) in values.iter().enumerate() {
        detector.step(60_000 * i as u64, &Input::value(*value));
    }
    detector.save(&mut vec![0; 1 << 17]).unwrap()
}

fn target() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn rcf_options() -> RandomCutForestOptions {
    RandomCutForestOptions {
        dimensions: 1,
        shingle_size: 8,
        num_trees: Some(30),
        sample_size: Some(128),
        random_seed: Some(1),
        parallel_execution_enabled: Some(false),
        ..Default::default()
    }
}

fn main() {
    let values = series(READINGS);
    let small = step_ns::<2, 225, 192, 24>(&values);
    let large = step_ns::<4, 400, 4096, 48>(&values);
    let rcf = rcf_step_ns(&values[..RCF_READINGS]);
    let report = serde_json::json!({
        "step_ns": small,
        "large_step_ns": large,
        "rcf_step_ns": rcf,
        "speedup_vs_rcf": rcf / small,
        "large_speedup_vs_rcf": rcf / large,
        "state_bytes": size_of::<Small>(),
        "large_state_bytes": size_of::<Large>(),
        "snapshot_bytes": snapshot_len::<2, 225, 192, 24>(&values),
        "large_snapshot_bytes": snapshot_len::<4, 400, 4096, 48>(&values),
    });
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    let text = serde_json::to_string_pretty(&report).unwrap();
    std::fs::write(folder.join("detect.json"), &text).unwrap();
    println!("{text}");
}
