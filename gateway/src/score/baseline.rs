//! What is usual for one sensor: median and spread of its recent past.
//!
//! Promises: integers only; at most [`KEPT_COUNT`] values whatever the rate; a shift of all values leaves
//! every score as it is, and so does a scale as long as the spread stays above its floor. Never: a score
//! before [`LEARN_MS_MIN`] of data.

use firmware_shared::reading::Score;

/// Values kept: enough for a steady median, few enough to sort in microseconds.
pub(super) const KEPT_COUNT: usize = 128;
/// What the kept values span once they are complete: several cycles of a cooling unit (18 to 45 minutes).
pub(super) const SPAN_MS: u64 = 3 * 3_600_000;
/// Before so much has been seen nothing is called unusual.
pub(super) const LEARN_MS_MIN: u64 = 10 * 60_000;
/// Kept values below which a median says little.
const LEARN_COUNT_MIN: usize = 32;
/// Smallest spread, in counts: 1/8 degC, so that a sensor in a steady bath is not "unusual" at its noise.
const SPREAD_FLOOR: i64 = 16;
/// A normal distribution's standard deviation over its median absolute deviation, in thousandths.
const SIGMA_PER_MAD_MILLI: i64 = 1483;
/// Deviations in thousandths of a sigma: below the first a reading is ordinary, from the second on it is
/// certain. A saw-tooth never leaves 1.35 sigma of itself.
const Z_MILLI_ORDINARY: i64 = 5000;
const Z_MILLI_CERTAIN: i64 = 10_000;
/// The score just above ordinary: clearly unusual, or nothing.
const SCORE_MIN: i64 = 300;

/// What was expected, in the value's own counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The middle.
    pub value: i32,
    /// Lower end of the ordinary band.
    pub low: i32,
    /// Upper end of the ordinary band.
    pub high: i32,
}

/// The recent past of one sensor.
#[derive(Debug, Clone)]
pub struct Baseline {
    kept: [i32; KEPT_COUNT],
    len: usize,
    oldest: usize,
    /// Time between two kept values; it doubles until [`KEPT_COUNT`] of them span [`SPAN_MS`].
    stride_ms: u64,
    first_ms: Option<u64>,
    kept_ms: u64,
    median: i32,
    sigma: i64,
}

impl Default for Baseline {
    fn default() -> Self {
        Self::new()
    }
}

impl Baseline {
    /// Nothing learned.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kept: [0; KEPT_COUNT],
            len: 0,
            oldest: 0,
            stride_ms: 1,
            first_ms: None,
            kept_ms: 0,
            median: 0,
            sigma: SPREAD_FLOOR,
        }
    }

    /// Judges a value by those before it, then learns it.
    pub fn step(&mut self, now_ms: u64, value: i32) -> (Score, Option<Expected>) {
        let expected = self.expected(now_ms);
        let score = expected.map_or(Score::ORDINARY, |_| self.score(value));
        self.learn(now_ms, value);
        (score, expected)
    }

    fn expected(&self, now_ms: u64) -> Option<Expected> {
        let seen_ms = now_ms.saturating_sub(self.first_ms?);
        if seen_ms < LEARN_MS_MIN || self.len < LEARN_COUNT_MIN {
            return None;
        }
        let reach = self.sigma * Z_MILLI_ORDINARY / 1000;
        let end =
            |sum: i64| i32::try_from(sum).unwrap_or(if sum < 0 { i32::MIN } else { i32::MAX });
        let middle = i64::from(self.median);
        Some(Expected {
            value: self.median,
            low: end(middle - reach),
            high: end(middle + reach),
        })
    }

    fn score(&self, value: i32) -> Score {
        let distance = (i64::from(value) - i64::from(self.median)).abs();
        let z_milli = distance * 1000 / self.sigma;
        if z_milli <= Z_MILLI_ORDINARY {
            return Score::ORDINARY;
        }
        let over = z_milli.min(Z_MILLI_CERTAIN) - Z_MILLI_ORDINARY;
        let room = i64::from(Score::MAX.0) - SCORE_MIN;
        let score = SCORE_MIN + over * room / (Z_MILLI_CERTAIN - Z_MILLI_ORDINARY);
        u16::try_from(score).map_or(Score::MAX, Score)
    }

    fn learn(&mut self, now_ms: u64, value: i32) {
        if self.first_ms.is_some() && now_ms < self.kept_ms.saturating_add(self.stride_ms) {
            return;
        }
        self.first_ms.get_or_insert(now_ms);
        self.kept_ms = now_ms;
        if self.len == KEPT_COUNT && self.stride_ms.saturating_mul(KEPT_COUNT as u64) < SPAN_MS {
            self.thin_out();
        }
        self.keep(value);
        self.measure();
    }

    /// Drops every other value, so that as many again find room. The ring begins at 0 until its stride is
    /// final, hence in the order of time.
    fn thin_out(&mut self) {
        let half = KEPT_COUNT / 2;
        let mut thinned = [0; KEPT_COUNT];
        for (slot, value) in thinned.iter_mut().zip(self.kept.iter().step_by(2)) {
            *slot = *value;
        }
        (self.kept, self.len) = (thinned, half);
        // Doubling from 1 ms would thin out again and again at the start; the real rate shows by itself.
        let spanned_ms = self
            .kept_ms
            .saturating_sub(self.first_ms.unwrap_or_default());
        self.stride_ms = self
            .stride_ms
            .saturating_mul(2)
            .max(spanned_ms / half as u64);
    }

    fn keep(&mut self, value: i32) {
        if self.len < KEPT_COUNT {
            if let Some(slot) = self.kept.get_mut(self.len) {
                *slot = value;
            }
            self.len += 1;
        } else {
            if let Some(slot) = self.kept.get_mut(self.oldest) {
                *slot = value;
            }
            self.oldest = (self.oldest + 1) % KEPT_COUNT;
        }
    }

    fn measure(&mut self) {
        let mut sorted = self.kept;
        let values = sorted.get_mut(..self.len).unwrap_or_default();
        let middle = values.len() / 2;
        if values.is_empty() {
            return;
        }
        let median = *values.select_nth_unstable(middle).1;
        for value in values.iter_mut() {
            // At most 2^32 - 1 apart; halved at the very ends of the range, where no sensor measures.
            let distance = (i64::from(*value) - i64::from(median)).abs();
            *value = i32::try_from(distance).unwrap_or(i32::MAX);
        }
        let mad = i64::from(*values.select_nth_unstable(middle).1);
        self.median = median;
        self.sigma = (mad * SIGMA_PER_MAD_MILLI / 1000).max(SPREAD_FLOOR);
    }
}
