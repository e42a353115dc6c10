//! Virtual time as a function of the real boot clock.
//!
//! Promises: one straight line per scenario, the same in every process that reads the scenario's
//! truth file. Never: a look at a clock; the caller passes real time in.

/// `virtual = t0_virtual + (real - t0_real) * speed_x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimClock {
    t0_virtual_ms: u64,
    t0_real_ms: u64,
    speed_x: f64,
}

impl SimClock {
    /// The line through the point (`t0_real_ms`, `t0_virtual_ms`) with `speed_x` virtual seconds
    /// per real second.
    #[must_use]
    pub fn new(t0_virtual_ms: u64, t0_real_ms: u64, speed_x: f64) -> Self {
        Self {
            t0_virtual_ms,
            t0_real_ms,
            speed_x,
        }
    }

    /// Virtual time at a real time; before the scenario's start it stands still.
    #[must_use]
    pub fn virtual_ms(&self, real_ms: u64) -> u64 {
        let passed_ms = real_ms.saturating_sub(self.t0_real_ms);
        self.t0_virtual_ms
            .saturating_add(scaled(passed_ms, self.speed_x).floor() as u64)
    }

    /// The first real time at which virtual time has reached `virtual_ms`, for waiting.
    #[must_use]
    pub fn real_ms(&self, virtual_ms: u64) -> u64 {
        let ahead_ms = virtual_ms.saturating_sub(self.t0_virtual_ms);
        let below = self.t0_real_ms + scaled(ahead_ms, self.speed_x.recip()).floor() as u64;
        // Rounding down here and in `virtual_ms` costs up to two milliseconds.
        (below..below + 2)
            .find(|real_ms| self.virtual_ms(*real_ms) >= virtual_ms)
            .unwrap_or(below + 2)
    }
}

/// Exact far beyond any uptime: a double holds whole milliseconds for 285,000 years.
fn scaled(ms: u64, factor: f64) -> f64 {
    ms as f64 * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_runs_at_the_given_speed_from_the_given_point() {
        let clock = SimClock::new(5000, 5000, 60.0);
        assert_eq!(clock.virtual_ms(5000), 5000);
        assert_eq!(clock.virtual_ms(6000), 65_000);
        assert_eq!(clock.virtual_ms(10), 5000);
    }

    #[test]
    fn waiting_ends_exactly_when_virtual_time_is_reached() {
        for speed_x in [0.1, 0.7, 1.0, 7.3, 60.0, 1000.0] {
            let clock = SimClock::new(123_456, 120_000, speed_x);
            for virtual_ms in (123_400..200_000).step_by(7) {
                let real_ms = clock.real_ms(virtual_ms);
                assert!(
                    clock.virtual_ms(real_ms) >= virtual_ms,
                    "{speed_x} {virtual_ms}"
                );
                let earlier = real_ms.saturating_sub(1);
                assert!(
                    earlier < 120_000 || clock.virtual_ms(earlier) < virtual_ms,
                    "{speed_x} {virtual_ms}"
                );
            }
        }
    }
}
