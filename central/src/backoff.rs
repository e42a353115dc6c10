//! Waiting longer after each failure, by a random part, so that many do not come back at once.
//!
//! Promises: full jitter between the minimum and a doubling cap. Never: a clock, a wait of its own.

/// The next wait after a failure.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures: u32,
    state: u64,
}

impl Backoff {
    /// `seed` may be any number; different seeds give different waits.
    pub(crate) fn new(min_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self {
            min_ms,
            max_ms,
            failures: 0,
            // The generator stands still at zero.
            state: seed | 1,
        }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let cap_ms = self
            .min_ms
            .saturating_mul(1 << self.failures.min(20))
            .clamp(self.min_ms, self.max_ms);
        self.failures = self.failures.saturating_add(1);
        let span_ms = cap_ms.saturating_sub(self.min_ms).saturating_add(1);
        self.min_ms + self.random() % span_ms
    }

    /// It worked for long enough.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn random(&mut self) -> u64 {
        // xorshift64: good enough to spread clients.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_in_bounds_grow_and_differ_by_seed() {
        let waits = |seed: u64| {
            let mut backoff = Backoff::new(100, 10_000, seed);
            (0..64).map(|_| backoff.next_ms()).collect::<Vec<_>>()
        };
        let (a, b) = (waits(7), waits(1234567));
        assert!(a.iter().all(|ms| (100..=10_000).contains(ms)));
        assert_eq!(a[0], 100);
        assert!(a.iter().skip(8).any(|ms| *ms > 5_000));
        assert_ne!(a, b);
        let mut backoff = Backoff::new(100, 10_000, 7);
        for _ in 0..20 {
            backoff.next_ms();
        }
        backoff.reset();
        assert_eq!(backoff.next_ms(), 100);
    }
}
