//! How long to wait before the next attempt to connect.
//!
//! Promises: full jitter: a random time up to a bound that doubles with each failure up to its maximum, so
//! that a fleet does not come back in one second; the bound falls back only after a connection that was
//! stable. Never: waits itself.

use std::time::Duration;

use super::random::Random;

/// The wait before each attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures: u32,
    random: Random,
}

impl Backoff {
    pub(crate) fn new(min_ms: u64, max_ms: u64, random: Random) -> Self {
        Self {
            min_ms: min_ms.max(1),
            max_ms: max_ms.max(min_ms).max(1),
            failures: 0,
            random,
        }
    }

    /// The wait after one more life that ended.
    pub(crate) fn next(&mut self) -> Duration {
        let bound_ms = self.min_ms.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(self.random.below(bound_ms.min(self.max_ms) + 1))
    }

    /// The last life was stable.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_spread_below_a_bound_that_doubles_up_to_its_maximum() {
        let mut highest = [0; 8];
        let mut lowest = [u64::MAX; 8];
        for seed in 0..500 {
            let mut backoff = Backoff::new(100, 1_000, Random::new(seed));
            for attempt in 0..8 {
                let wait_ms = backoff.next().as_millis() as u64;
                highest[attempt] = highest[attempt].max(wait_ms);
                lowest[attempt] = lowest[attempt].min(wait_ms);
            }
            backoff.reset();
            assert!(backoff.next().as_millis() <= 100);
        }
        let bounds = [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000];
        for (attempt, bound) in bounds.into_iter().enumerate() {
            assert!(
                (bound * 9 / 10..=bound).contains(&highest[attempt]),
                "{highest:?}"
            );
            assert!(lowest[attempt] <= bound / 10, "{lowest:?}");
        }
    }
}
