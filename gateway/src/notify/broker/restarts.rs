//! When a broker that died is started again.
//!
//! Promises: the first wait is short, each further one twice as long, and a life of a minute begins anew with the
//! short one: a client that ends every broker it finds costs a process a minute.

const WAIT_MS_MIN: u64 = 500;
const WAIT_MS_MAX: u64 = 60_000;
/// Who lived so long was well.
const STABLE_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Restarts {
    wait_ms: u64,
    started_at_ms: u64,
    due_ms: Option<u64>,
}

impl Restarts {
    pub(super) fn new() -> Self {
        Self {
            wait_ms: WAIT_MS_MIN,
            started_at_ms: 0,
            due_ms: None,
        }
    }

    /// An attempt begins.
    pub(super) fn started(&mut self, now_ms: u64) {
        self.started_at_ms = now_ms;
        self.due_ms = None;
    }

    /// It has failed, or lived and ended; how long to wait.
    pub(super) fn ended(&mut self, now_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.started_at_ms) >= STABLE_MS {
            self.wait_ms = WAIT_MS_MIN;
        }
        let wait_ms = self.wait_ms;
        self.wait_ms = (wait_ms * 2).min(WAIT_MS_MAX);
        self.due_ms = Some(now_ms.saturating_add(wait_ms));
        wait_ms
    }

    /// When the next attempt is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_a_long_life_makes_them_short_again() {
        let mut restarts = Restarts::new();
        let mut now_ms = 0;
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                restarts.started(now_ms);
                assert_eq!(restarts.due_ms(), None);
                let wait_ms = restarts.ended(now_ms + 10);
                now_ms = restarts.due_ms().unwrap();
                wait_ms
            })
            .collect();
        assert_eq!(
            waits,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        restarts.started(now_ms);
        assert_eq!(restarts.ended(now_ms + STABLE_MS), 500);
    }
}
