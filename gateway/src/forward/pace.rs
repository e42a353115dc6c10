//! When a frame is sent again, and when the centre counts as silent.
//!
//! Promises: a frame waits max(30 s, 4 x smoothed ack latency), doubling to 10 min (the bounds are
//! configured), unless an acknowledgement shows earlier that it was passed by; a centre that acknowledges nothing for a minute while something waits is silent until its
//! next acknowledgement, and gets one probe at a time. Never: reads a clock.

/// How seldom the centre acknowledges, at most, and half as much again. A clean stop waits no longer before
/// it sends again: a frame that comes twice costs bytes, one that stays behind a gap until the next start.
pub(crate) const ACK_PERIOD_MS: u64 = 1500;

/// The times of sending again.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    resend_ms_min: u64,
    resend_ms_max: u64,
    ack_latency_ms: Option<u64>,
}

impl Pace {
    pub(crate) fn new(resend_ms_min: u64, resend_ms_max: u64) -> Self {
        Self {
            resend_ms_min,
            resend_ms_max: resend_ms_max.max(resend_ms_min),
            ack_latency_ms: None,
        }
    }

    /// A frame that was sent once was acknowledged after this time.
    pub(crate) fn note_latency(&mut self, sample_ms: u64) {
        self.ack_latency_ms = Some(match self.ack_latency_ms {
            None => sample_ms,
            Some(smooth_ms) => (smooth_ms.saturating_mul(7).saturating_add(sample_ms)) / 8,
        });
    }

    /// The smoothed time from publish to central acknowledgement.
    pub(crate) fn ack_latency_ms(&self) -> Option<u64> {
        self.ack_latency_ms
    }

    /// After this time an acknowledgement that covers later frames and not this one means that it did not
    /// arrive: the centre says what it has once a second.
    pub(crate) fn passed_ms(&self) -> u64 {
        let latency_ms = self.ack_latency_ms.unwrap_or(0);
        ACK_PERIOD_MS.saturating_add(latency_ms.saturating_mul(2))
    }

    /// How long to wait after so many resends.
    pub(crate) fn wait_ms(&self, resends: u32) -> u64 {
        let latency_ms = self.ack_latency_ms.unwrap_or(0).saturating_mul(4);
        let first_ms = self.resend_ms_min.max(latency_ms);
        let doubled_ms = first_ms.saturating_mul(1 << resends.min(20));
        doubled_ms.min(self.resend_ms_max)
    }
}

/// Whether the centre answers.
#[derive(Debug)]
pub(crate) struct Silence {
    limit_ms: u64,
    waiting_since_ms: Option<u64>,
    is_silent: bool,
    probes: u32,
    probe_ms: u64,
}

impl Silence {
    pub(crate) fn new(limit_ms: u64) -> Self {
        Self {
            limit_ms,
            waiting_since_ms: None,
            is_silent: false,
            probes: 0,
            probe_ms: 0,
        }
    }

    /// Something waits for the centre, or nothing does.
    pub(crate) fn note_waiting(&mut self, now_ms: u64, waits: bool) {
        if !waits {
            self.waiting_since_ms = None;
        } else if self.waiting_since_ms.is_none() {
            self.waiting_since_ms = Some(now_ms);
        }
    }

    /// Whether the centre has just become silent.
    pub(crate) fn falls_silent(&mut self, now_ms: u64) -> bool {
        let falls = !self.is_silent && self.silent_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if falls {
            self.is_silent = true;
            self.probes = 0;
            self.probe_ms = now_ms;
        }
        falls
    }

    /// The centre acknowledged something; whether that ends a silence.
    pub(crate) fn note_ack(&mut self, now_ms: u64) -> bool {
        if self.waiting_since_ms.is_some() {
            self.waiting_since_ms = Some(now_ms);
        }
        std::mem::take(&mut self.is_silent)
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// When it becomes silent if nothing comes.
    pub(crate) fn silent_ms(&self) -> Option<u64> {
        self.waiting_since_ms
            .filter(|_| !self.is_silent)
            .map(|since_ms| since_ms.saturating_add(self.limit_ms))
    }

    /// When the next probe may go out.
    pub(crate) fn probe_ms(&self) -> Option<u64> {
        self.is_silent.then_some(self.probe_ms)
    }

    /// A probe went out.
    pub(crate) fn note_probe(&mut self, now_ms: u64, pace: &Pace) {
        self.probe_ms = now_ms.saturating_add(pace.wait_ms(self.probes));
        self.probes = self.probes.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_thirty_seconds_or_four_latencies_and_twice_as_long_each_time() {
        let mut pace = Pace::new(30_000, 600_000);
        assert_eq!(
            [0, 1, 2, 4, 5, 60].map(|n| pace.wait_ms(n)),
            [30_000, 60_000, 120_000, 480_000, 600_000, 600_000]
        );
        pace.note_latency(10_000);
        assert_eq!(pace.wait_ms(0), 40_000);
        pace.note_latency(2_000);
        assert_eq!(pace.ack_latency_ms(), Some(9_000));
    }

    #[test]
    fn silence_begins_after_a_minute_of_waiting_and_ends_with_an_ack() {
        let (pace, mut silence) = (Pace::new(30_000, 600_000), Silence::new(60_000));
        silence.note_waiting(1_000, true);
        silence.note_waiting(50_000, true);
        assert!(!silence.falls_silent(60_999));
        assert!(silence.falls_silent(61_000));
        assert!(!silence.falls_silent(62_000));
        assert_eq!(silence.probe_ms(), Some(61_000));
        silence.note_probe(61_000, &pace);
        assert_eq!(silence.probe_ms(), Some(91_000));
        silence.note_probe(91_000, &pace);
        assert_eq!(silence.probe_ms(), Some(151_000));
        assert!(silence.note_ack(151_500));
        assert_eq!(silence.silent_ms(), Some(211_500));
        silence.note_waiting(152_000, false);
        assert!(!silence.falls_silent(999_000));
    }
}
