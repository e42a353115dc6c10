//! How long to wait before the next attempt to connect.
//!
//! Promises: full jitter: a random time up to a bound that doubles with each failure up to its maximum; the
//! bound falls back only after a connection that was stable. When the broker ended the connection or refuses
//! one, it did so to the whole fleet at once: then the bound is the spread, over which 2,000 vehicles make 40
//! attempts a second, and after a refusal a quarter of it passes first. Never: waits itself.

use std::time::Duration;

use super::random::Random;

/// Who ended a connection or an attempt, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ender {
    /// The link, or nobody answers.
    Link,
    /// The broker: it closed, refused or said DISCONNECT.
    Broker,
}

/// The bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first, ms.
    pub(crate) min_ms: u64,
    /// The last, ms.
    pub(crate) max_ms: u64,
    /// The first after the broker ended it, ms.
    pub(crate) spread_ms: u64,
}

/// The bounds of the product: the last one lets everybody come back within a minute.
pub(crate) const MAIN_BOUNDS: Bounds = Bounds {
    min_ms: 500,
    max_ms: 57_000,
    spread_ms: 55_000,
};

impl Bounds {
    /// The bounds of the alert connection. After the broker ended it, it waits for the main one first and
    /// then takes four times its time: meanwhile alerts go over the main one.
    pub(crate) fn of_alerts(self) -> Self {
        Self {
            min_ms: self.min_ms,
            max_ms: self.max_ms.saturating_mul(4),
            spread_ms: self.spread_ms.saturating_mul(4),
        }
    }
}

/// The wait before each attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    bounds: Bounds,
    failures: u32,
    random: Random,
}

impl Backoff {
    pub(crate) fn new(bounds: Bounds, random: Random) -> Self {
        let min_ms = bounds.min_ms.max(1);
        let max_ms = bounds.max_ms.max(min_ms);
        Self {
            bounds: Bounds {
                min_ms,
                max_ms,
                spread_ms: bounds.spread_ms.clamp(min_ms, max_ms),
            },
            failures: 0,
            random,
        }
    }

    /// The wait after one more life that ended.
    pub(crate) fn next(&mut self, ender: Ender) -> Duration {
        let first_ms = match ender {
            Ender::Link => self.bounds.min_ms,
            Ender::Broker => self.bounds.spread_ms,
        };
        let bound_ms = first_ms.saturating_mul(1 << self.failures.min(20));
        let bound_ms = bound_ms.min(self.bounds.max_ms);
        let least_ms = match ender {
            // Who was refused a moment ago leaves the next moments to others.
            Ender::Broker if self.failures > 0 => bound_ms / 4,
            _ => 0,
        };
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(least_ms + self.random.below(bound_ms - least_ms + 1))
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
        let bounds = Bounds {
            min_ms: 100,
            max_ms: 1_000,
            spread_ms: 600,
        };
        for (ender, expected) in [
            (Ender::Link, [100, 200, 400, 800, 1_000, 1_000]),
            (Ender::Broker, [600, 1_000, 1_000, 1_000, 1_000, 1_000]),
        ] {
            let mut highest = [0; 6];
            let mut lowest = [u64::MAX; 6];
            for seed in 0..500 {
                let mut backoff = Backoff::new(bounds, Random::new(seed));
                for attempt in 0..6 {
                    let wait_ms = backoff.next(ender).as_millis() as u64;
                    highest[attempt] = highest[attempt].max(wait_ms);
                    lowest[attempt] = lowest[attempt].min(wait_ms);
                }
                backoff.reset();
                assert!(backoff.next(Ender::Link).as_millis() <= 100);
            }
            for (attempt, bound) in expected.into_iter().enumerate() {
                let top = bound * 9 / 10..=bound;
                assert!(top.contains(&highest[attempt]), "{highest:?}");
                let least = if ender == Ender::Broker && attempt > 0 {
                    bound / 4
                } else {
                    0
                };
                let bottom = least..=least + bound / 10;
                assert!(bottom.contains(&lowest[attempt]), "{lowest:?}");
            }
        }
    }

    /// The moments at which 2,000 gateways connect, both connections of each, after a broker was away for
    /// `down_ms`, and when the last gateway is back; attempts in that time are refused.
    fn restart(seed: u64, down_ms: u64) -> (Vec<u64>, u64) {
        let mut connects = Vec::new();
        let mut last_back_ms = 0;
        for gateway in 0..2_000_u64 {
            let backoff = |bounds, stream: u64| {
                Backoff::new(bounds, Random::new((seed << 32) ^ (gateway * 2 + stream)))
            };
            let (mut main, mut alert) =
                (backoff(MAIN_BOUNDS, 0), backoff(MAIN_BOUNDS.of_alerts(), 1));
            let mut now_ms = 0;
            loop {
                now_ms += main.next(Ender::Broker).as_millis() as u64;
                if now_ms >= down_ms {
                    break;
                }
            }
            last_back_ms = last_back_ms.max(now_ms - down_ms);
            connects.push(now_ms - down_ms);
            now_ms += alert.next(Ender::Broker).as_millis() as u64;
            connects.push(now_ms - down_ms);
        }
        connects.sort_unstable();
        (connects, last_back_ms)
    }

    #[test]
    fn two_thousand_gateways_are_back_within_a_minute_with_at_most_100_connects_in_any_second() {
        for seed in 1..=20 {
            for down_ms in [0, 1_000, 5_000, 20_000, 60_000, 600_000] {
                let (connects, last_back_ms) = restart(seed, down_ms);
                assert!(last_back_ms <= 60_000, "{last_back_ms}");
                let in_a_second = |(at, first): (usize, &u64)| {
                    connects[at..].partition_point(|ms| *ms < first + 1_000)
                };
                let most = connects.iter().enumerate().map(in_a_second).max().unwrap();
                assert!(most <= 100, "{most} after {down_ms} ms, seed {seed}");
            }
        }
    }
}
