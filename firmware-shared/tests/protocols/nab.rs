//! The Numenta Anomaly Benchmark's rule: one threshold for all files, credit by how early a window is hit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use firmware_shared::detect::{Detector, Input};

/// Costs of a false alert; a missed window costs 1.
pub(crate) const STANDARD: f64 = 0.11;
pub(crate) const LOW_FALSE_ALERTS: f64 = 0.22;

/// One file with the scores that a detector gave its rows.
pub(crate) struct Scored {
    /// What an alert in a row is worth, before costs.
    worth: Vec<f64>,
    /// In which window a row is.
    window: Vec<Option<usize>>,
    windows: usize,
    /// Windows that are not wholly in the part that is not scored.
    live: usize,
    /// Rows that are scored and in which the detector spoke.
    loud: Vec<(usize, f32)>,
}

fn squash(y: f64) -> f64 {
    if y > 3.0 {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * y).exp()) - 1.0
    }
}

/// Where the files are, if they are there.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FLEET_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("nab");
    folder.is_dir().then_some(folder)
}

/// Judges every file that is there, one fresh detector each.
pub(crate) fn judge<const M: usize, const P: usize, const T: usize, const B: usize>(
    folder: &Path,
) -> Vec<Scored> {
    type Labels = BTreeMap<String, Vec<(String, String)>>;
    let labels = std::fs::read_to_string(folder.join("combined_windows.json")).unwrap();
    let labels: Labels = serde_json::from_str(&labels).unwrap();
    let files = labels.iter().filter_map(|(name, windows)| {
        let text = std::fs::read_to_string(folder.join("data").join(name)).ok()?;
        let rows: Vec<(i64, f64)> = text.lines().skip(1).map(row).collect();
        let mut detector = Box::new(Detector::<M, P, T, B>::new());
        let scores = rows
            .iter()
            .map(|(ms, value)| detector.step(*ms as u64, &Input::value(*value)).score)
            .collect();
        let at = |stamp: &str| {
            let ms = time_ms(stamp);
            rows.iter().position(|row| row.0 == ms).unwrap()
        };
        let spans: Vec<_> = windows.iter().map(|(a, b)| (at(a), at(b))).collect();
        Some(Scored::new(&spans, scores))
    });
    files.collect()
}

fn row(line: &str) -> (i64, f64) {
    let (stamp, value) = line.split_once(',').unwrap();
    (time_ms(stamp), value.parse().unwrap())
}

fn time_ms(text: &str) -> i64 {
    let civil: jiff::civil::DateTime = text.parse().unwrap();
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    zoned.timestamp().as_millisecond()
}

impl Scored {
    fn new(spans: &[(usize, usize)], scores: Vec<f32>) -> Self {
        let rows = scores.len();
        let start = (rows * 15 / 100).min(750);
        let (mut worth, mut window) = (vec![0.0; rows], vec![None; rows]);
        let mut last = None;
        for row in 0..rows {
            let inside = spans
                .iter()
                .position(|(low, high)| (*low..=*high).contains(&row));
            window[row] = inside;
            worth[row] = match (inside, last) {
                (Some(number), _) => {
                    let (low, high) = spans[number];
                    last = Some((low, high));
                    squash(-((high - row + 1) as f64) / (high - low + 1) as f64) / squash(-1.0)
                }
                (None, Some((low, high))) => squash((row - high) as f64 / (high - low) as f64),
                (None, None) => -1.0,
            };
        }
        let loud = scores.into_iter().enumerate().skip(start);
        Self {
            worth,
            window,
            windows: spans.len(),
            live: spans.iter().filter(|(_, high)| *high >= start).count(),
            loud: loud.filter(|(_, score)| *score > 0.0).collect(),
        }
    }

    /// Credit at a threshold.
    fn raw(&self, threshold: f32, false_cost: f64) -> f64 {
        let mut best = vec![f64::NEG_INFINITY; self.windows];
        let mut sum = -(self.live as f64);
        for (row, _) in self.loud.iter().filter(|(_, score)| *score >= threshold) {
            match self.window[*row] {
                None => sum += false_cost * self.worth[*row],
                Some(number) => {
                    // The first hit takes the cost of a missed window back.
                    let before = best[number].max(-1.0);
                    best[number] = before.max(self.worth[*row]);
                    sum += best[number] - before;
                }
            }
        }
        sum
    }
}

/// 0 is a detector that never speaks, 100 a perfect one.
pub(crate) fn normalised(files: &[&Scored], threshold: f32, false_cost: f64) -> f64 {
    let windows: usize = files.iter().map(|file| file.windows).sum();
    let raw: f64 = files
        .iter()
        .map(|file| file.raw(threshold, false_cost))
        .sum();
    100.0 * (raw + windows as f64) / (2.0 * windows as f64)
}

/// The threshold that is best for these files.
pub(crate) fn best_threshold(files: &[&Scored], false_cost: f64) -> f32 {
    let mut levels: Vec<f32> = files
        .iter()
        .flat_map(|file| &file.loud)
        .map(|loud| loud.1)
        .collect();
    levels.sort_by(f32::total_cmp);
    levels.dedup();
    let scored = levels
        .into_iter()
        .map(|level| (normalised(files, level, false_cost), level));
    scored
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(1.0, |best| best.1)
}
