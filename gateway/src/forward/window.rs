//! How many bytes may be under way to the broker.
//!
//! Promises: the window holds what the link carries in the time that an empty link takes to answer, and
//! [`WindowLimits::queue_ms`] more; so a frame that must go first waits for little, whatever the link's
//! speed. It at most doubles in a round trip, and only when it was the reason to hold something back. Never:
//! reads a clock; counts bytes.
//!
//! A window of `w` bytes that fills a link is answered after `w / rate`. The one that is wanted is answered
//! after `base + queue`, so it is `w * (base + queue) / answered`; each round goes half of the way up, or all
//! of it down. One answer says little about a link that jitters: the shortest of the last four counts. `base`
//! is the shortest answer of the last minute; to see it again under load, the window shuts for a moment twice
//! a minute until what stands in the queue is through.

/// The bounds of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowLimits {
    /// It never shrinks below, bytes.
    pub(crate) bytes_min: u64,
    /// It begins here, bytes.
    pub(crate) bytes_start: u64,
    /// It never grows above, bytes.
    pub(crate) bytes_max: u64,
    /// How long a message may wait behind others on the way, ms.
    pub(crate) queue_ms: u64,
}

/// How long a shortest answer is believed, in two halves, ms.
const BASE_HALF_MS: u64 = 30_000;
/// Answers of which the shortest counts.
const RECENT: usize = 4;
/// The most that a shut window may cost, ms.
const SHUT_MS_MAX: u64 = 3_000;

/// A window that follows the link.
#[derive(Debug)]
pub(crate) struct Window {
    limits: WindowLimits,
    bytes: u64,
    base: Base,
    /// Messages published since then belong to this round.
    round_ms: Option<u64>,
    /// The last answers, the latest at the end.
    recent_ms: [u64; RECENT],
    was_full: bool,
    /// Since when it is shut to look at the empty link.
    shut_ms: Option<u64>,
}

/// The shortest answer of this half minute and of the one before.
#[derive(Debug, Default)]
struct Base {
    since_ms: Option<u64>,
    this_ms: Option<u64>,
    last_ms: Option<u64>,
}

impl Base {
    /// Notes an answer; whether a half minute has ended.
    fn note(&mut self, now_ms: u64, answered_ms: u64) -> bool {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let ends = since_ms.saturating_add(BASE_HALF_MS) <= now_ms;
        if ends {
            self.since_ms = Some(now_ms);
            self.last_ms = self.this_ms.take();
        }
        self.this_ms = Some(self.this_ms.map_or(answered_ms, |ms| ms.min(answered_ms)));
        ends
    }

    fn ms(&self) -> u64 {
        let halves = [self.this_ms, self.last_ms];
        halves.into_iter().flatten().min().unwrap_or(0)
    }
}

impl Window {
    pub(crate) fn new(limits: WindowLimits) -> Self {
        Self {
            bytes: limits
                .bytes_start
                .clamp(limits.bytes_min, limits.bytes_max.max(limits.bytes_min)),
            limits,
            base: Base::default(),
            round_ms: None,
            recent_ms: [u64::MAX; RECENT],
            was_full: false,
            shut_ms: None,
        }
    }

    /// How many bytes of the backlog may be under way.
    pub(crate) fn bytes(&self) -> u64 {
        match self.shut_ms {
            Some(_) => self.limits.bytes_min,
            None => self.bytes,
        }
    }

    /// Something had to wait because the window is full.
    pub(crate) fn note_full(&mut self) {
        self.was_full = true;
    }

    /// The broker answered a message.
    pub(crate) fn note_answer(&mut self, now_ms: u64, sent_ms: u64) {
        let answered_ms = now_ms.saturating_sub(sent_ms);
        if self.base.note(now_ms, answered_ms) {
            self.shut_ms = Some(now_ms);
        }
        if let Some(shut_ms) = self.shut_ms {
            self.look(now_ms, sent_ms, shut_ms);
            return;
        }
        self.recent_ms.rotate_left(1);
        if let Some(latest) = self.recent_ms.last_mut() {
            *latest = answered_ms;
        }
        let best_ms = self.recent_ms.iter().min().copied().unwrap_or(answered_ms);
        // A round that takes much longer than wanted is not waited for.
        let is_late = best_ms > self.wanted_ms().saturating_mul(2);
        let round_ms = *self.round_ms.get_or_insert(sent_ms);
        let is_cut_due = is_late && round_ms.saturating_add(self.wanted_ms()) <= now_ms;
        if sent_ms >= round_ms || is_cut_due {
            self.end_round(best_ms);
            self.begin_round(now_ms);
        }
    }

    fn begin_round(&mut self, now_ms: u64) {
        self.round_ms = Some(now_ms);
        self.was_full = false;
    }

    /// How long an answer takes when the queue is as it should be.
    fn wanted_ms(&self) -> u64 {
        self.base.ms().saturating_add(self.limits.queue_ms).max(1)
    }

    fn end_round(&mut self, best_ms: u64) {
        let bytes = u128::from(self.bytes);
        let wanted = bytes * u128::from(self.wanted_ms()) / u128::from(best_ms.max(1));
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let next = if wanted > self.bytes {
            if !self.was_full {
                return;
            }
            self.bytes
                .midpoint(wanted.min(self.bytes.saturating_mul(3)))
        } else {
            wanted.max(self.bytes / 2)
        };
        self.bytes = next.clamp(self.limits.bytes_min, self.limits.bytes_max);
    }

    /// While it is shut: what was sent after the queue has run empty shows the empty link.
    fn look(&mut self, now_ms: u64, sent_ms: u64, shut_ms: u64) {
        let empty_ms = shut_ms.saturating_add(self.limits.queue_ms);
        if sent_ms >= empty_ms || shut_ms.saturating_add(SHUT_MS_MAX) <= now_ms {
            self.shut_ms = None;
            self.begin_round(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WindowLimits = WindowLimits {
        bytes_min: 2_000,
        bytes_start: 8_000,
        bytes_max: 500_000,
        queue_ms: 250,
    };

    /// A link that answers a full window after `base_ms`, or after the time that its bytes take.
    fn run(window: &mut Window, bytes_per_s: u64, base_ms: u64, rounds: u32, now_ms: &mut u64) {
        for _ in 0..rounds {
            let sent_ms = *now_ms;
            window.note_full();
            *now_ms += base_ms.max(window.bytes() * 1_000 / bytes_per_s).max(1);
            window.note_answer(*now_ms, sent_ms);
        }
    }

    #[test]
    fn a_window_settles_where_the_link_queues_for_the_wanted_time() {
        for (bytes_per_s, base_ms) in [(32_000, 200), (8_000, 600), (200_000, 50), (500_000, 30)] {
            let (mut window, mut now_ms) = (Window::new(LIMITS), 0);
            run(&mut window, 1_000_000_000, base_ms, 1, &mut now_ms);
            run(&mut window, bytes_per_s, base_ms, 40, &mut now_ms);
            let wanted = bytes_per_s * (base_ms + LIMITS.queue_ms) / 1_000;
            assert!(
                window.bytes().abs_diff(wanted) <= wanted / 10,
                "{} of {wanted}",
                window.bytes()
            );
        }
    }

    #[test]
    fn a_window_follows_a_link_that_becomes_slow() {
        let (mut window, mut now_ms) = (Window::new(LIMITS), 0);
        run(&mut window, 100_000_000, 1, 30, &mut now_ms);
        assert_eq!(window.bytes(), LIMITS.bytes_max);
        run(&mut window, 32_000, 200, 12, &mut now_ms);
        assert!(window.bytes() <= 20_000, "{}", window.bytes());
    }

    #[test]
    fn a_window_that_holds_nothing_back_does_not_grow() {
        let mut window = Window::new(LIMITS);
        for now_ms in 0..1_000 {
            window.note_answer(now_ms + 1, now_ms);
        }
        assert_eq!(window.bytes(), LIMITS.bytes_start);
    }

    #[test]
    fn the_window_shuts_twice_a_minute_to_look_at_the_empty_link() {
        let (mut window, mut now_ms) = (Window::new(LIMITS), 0);
        let mut shut = 0;
        while now_ms < 300_000 {
            run(&mut window, 32_000, 200, 1, &mut now_ms);
            shut += u32::from(window.bytes() == LIMITS.bytes_min);
        }
        assert!((9..=40).contains(&shut), "{shut} rounds of some 700");
        // What stands in the queue is not taken for the empty link, even after minutes.
        assert!(window.bytes() <= 17_000, "{}", window.bytes());
    }
}
