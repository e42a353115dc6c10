//! How long the bytes of a receiver may have waited, and when half a frame is noise.
//!
//! Promises: the bound holds for the oldest byte that is still in a frame: as long as half a frame
//! is held back, the receiver does not count as read dry. Never: a clock; a bound before the
//! receiver was dry once.

/// An unfinished frame that an empty receiver has not completed for so long is noise.
const UNFINISHED_MS_MAX: u64 = 1000;

/// What is known about the arrival of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// From the epoch to its first byte, as the receiver takes for the computation.
    latency_ms: u32,
    /// When it was read dry with nothing held back.
    dry_ms: Option<u64>,
    /// Length of the unfinished frame, and since when it has been as long as that.
    unfinished: Option<(usize, u64)>,
}

impl Arrival {
    pub(crate) fn new(latency_ms: u32) -> Self {
        Self {
            latency_ms,
            dry_ms: None,
            unfinished: None,
        }
    }

    /// Nothing is known any more: the stream was interrupted.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.latency_ms);
    }

    /// Bounds how long a byte that is read may have waited since its epoch.
    pub(crate) fn lag_ms(&self, now_ms: u64) -> Option<u32> {
        let waited_ms = now_ms.saturating_sub(self.dry_ms?);
        let waited_ms = u32::try_from(waited_ms).unwrap_or(u32::MAX);
        Some(waited_ms.saturating_add(self.latency_ms))
    }

    /// The receiver has nothing more. `unfinished_len` bytes are held back, and `moved` when bytes
    /// have come since it was dry the last time. Whether what is held back is noise.
    pub(crate) fn dry(&mut self, now_ms: u64, unfinished_len: usize, moved: bool) -> bool {
        match self.unfinished {
            _ if unfinished_len == 0 => {
                self.dry_ms = Some(now_ms);
                self.unfinished = None;
                false
            }
            // The same length after more bytes is another frame.
            Some((len, since_ms)) if len == unfinished_len && !moved => {
                let noise = now_ms.saturating_sub(since_ms) >= UNFINISHED_MS_MAX;
                if noise {
                    self.unfinished = None;
                }
                noise
            }
            _ => {
                self.unfinished = Some((unfinished_len, now_ms));
                false
            }
        }
    }

    /// It only seemed dry, so half a frame is no noise yet.
    pub(crate) fn doubtful(&mut self) {
        self.unfinished = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_begins_when_the_receiver_was_dry_with_nothing_held_back() {
        let mut arrival = Arrival::new(200);
        assert_eq!(arrival.lag_ms(1000), None);
        arrival.dry(1000, 0, true);
        assert_eq!(arrival.lag_ms(1300), Some(500));
        // Half a frame from before 2000 may be completed much later.
        arrival.dry(2000, 40, true);
        arrival.dry(3000, 80, true);
        assert_eq!(arrival.lag_ms(3500), Some(2700));
        arrival.dry(4000, 0, true);
        assert_eq!(arrival.lag_ms(4001), Some(201));
        arrival.forget();
        assert_eq!(arrival.lag_ms(4002), None);
    }

    #[test]
    fn half_a_frame_is_noise_after_a_second_without_a_byte() {
        let mut arrival = Arrival::new(0);
        for (now_ms, len, moved, noise) in [
            (0, 40, true, false),
            (999, 40, false, false),
            (1000, 40, false, true),
            (1001, 40, false, false),
            (2500, 41, true, false),
            (3000, 41, true, false),
            (3999, 41, false, false),
            (4000, 41, false, true),
        ] {
            assert_eq!(arrival.dry(now_ms, len, moved), noise, "at {now_ms}");
        }
        arrival.dry(5000, 40, true);
        arrival.doubtful();
        assert!(!arrival.dry(6000, 40, false));
    }
}
