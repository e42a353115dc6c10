//! When a simulated thermometer converts, and what comes of it.
//!
//! Promises: conversions follow each other from power-on without a gap; a result is the world at
//! the end of its conversion; a brown-out forgets it; while the part is stalled none ends. Never: a
//! result before the first conversion has ended.

use super::Window;
use super::profile::Profile;

/// A converter that runs by itself.
#[derive(Debug)]
pub(super) struct Converter {
    profile: Profile,
    /// Virtual time of the scenario's start: the profile's zero.
    t0_ms: u64,
    since_ms: u64,
    brown_outs_ms: Vec<u64>,
    seen_ms: u64,
}

/// Whether a conversion that would end at `at_ms` of virtual time does not take place.
pub(super) fn stalls(profile: &Profile, t0_ms: u64, at_ms: u64) -> bool {
    let since_start_ms = at_ms.saturating_sub(t0_ms);
    let stalls = |window: &Window| window.contains(since_start_ms);
    profile.stalled.iter().any(stalls)
}

impl Converter {
    pub(super) fn new(
        profile: Profile,
        t0_ms: u64,
        now_ms: u64,
        mut brown_outs_ms: Vec<u64>,
    ) -> Self {
        brown_outs_ms.sort_unstable();
        Self {
            profile,
            t0_ms,
            since_ms: now_ms,
            brown_outs_ms,
            seen_ms: now_ms,
        }
    }

    /// Lets time pass; whether power was lost in it, so that registers go to their defaults.
    pub(super) fn power_lost_by(&mut self, now_ms: u64) -> bool {
        let passed = self.seen_ms + 1..=now_ms;
        let last = self.brown_outs_ms.iter().rfind(|at| passed.contains(at));
        let lost = last.copied();
        self.since_ms = lost.unwrap_or(self.since_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
        lost.is_some()
    }

    /// Begins a conversion.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
    }

    /// The ordinal of the last conversion of `period_ms` that took place since power-on or the last
    /// `restart`; 0 when none did.
    pub(super) fn ended(&self, now_ms: u64, period_ms: u64) -> u64 {
        let due = now_ms.saturating_sub(self.since_ms) / period_ms;
        let took_place = |n: &u64| !self.stalls_at(self.since_ms + n * period_ms);
        (1..=due).rev().find(took_place).unwrap_or(0)
    }

    /// Whether a conversion that would end at `at_ms` of virtual time does not take place.
    pub(super) fn stalls_at(&self, at_ms: u64) -> bool {
        stalls(&self.profile, self.t0_ms, at_ms)
    }

    /// The last result in 1/128 degC, if there is one.
    pub(super) fn latest(&self, now_ms: u64, period_ms: u64) -> Option<i32> {
        let ended = self.ended(now_ms, period_ms);
        let end_ms = self.since_ms + ended * period_ms;
        (ended > 0).then(|| self.at(end_ms))
    }

    /// The world at `at_ms` of virtual time, in 1/128 degC.
    pub(super) fn at(&self, at_ms: u64) -> i32 {
        self.profile.deg_c_128_at(at_ms.saturating_sub(self.t0_ms))
    }
}

/// The nearest multiple of `2^-fraction_bits` degC that a signed code of `bits` can hold, as that
/// code.
pub(super) fn code(deg_c_128: i32, fraction_bits: u32, bits: u32) -> i32 {
    let step = 128 >> fraction_bits;
    let limit = 1 << (bits - 1);
    (deg_c_128 + step / 2)
        .div_euclid(step)
        .clamp(-limit, limit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converter() -> Converter {
        let profile = Profile {
            base_deg_c: 0.0,
            amplitude_deg_c: 100.0,
            period_s: 1000.0,
            noise_lsb_rms: 0.0,
            disturbances: Vec::new(),
            frozen: Vec::new(),
            stalled: vec![Window {
                from_ms: 99_000,
                to_ms: 101_000,
            }],
            seed: 0,
            stream: 0,
        };
        Converter::new(profile, 1000, 5000, vec![9100, 7200])
    }

    #[test]
    fn a_result_is_the_world_at_the_end_of_its_conversion() {
        let converter = converter();
        assert_eq!(converter.latest(5249, 250), None);
        assert_eq!(converter.latest(5250, 250), Some(converter.at(5250)));
        assert_eq!(converter.latest(5499, 250), Some(converter.at(5250)));
        assert_eq!(converter.ended(6000, 250), 4);
        assert_eq!(converter.at(701_000), 12_800);
    }

    #[test]
    fn while_it_is_stalled_no_conversion_ends() {
        let converter = converter();
        let before = converter.ended(99_999, 250);
        assert_eq!(before, (99_999 - 5000) / 250);
        for now_ms in [100_000, 101_999] {
            assert_eq!(converter.ended(now_ms, 250), before);
            assert_eq!(converter.latest(now_ms, 250), Some(converter.at(99_750)));
        }
        assert_eq!(converter.latest(102_000, 250), Some(converter.at(102_000)));
    }

    #[test]
    fn a_brown_out_forgets_the_result_and_is_told_once() {
        let mut converter = converter();
        assert!(!converter.power_lost_by(7199));
        assert!(converter.power_lost_by(7200));
        assert!(!converter.power_lost_by(9099));
        assert_eq!(converter.latest(7449, 250), None);
        assert_eq!(converter.latest(7450, 250), Some(converter.at(7450)));
        assert!(converter.power_lost_by(20_000));
        assert!(!converter.power_lost_by(20_000));
    }

    #[test]
    fn codes_are_the_nearest_and_end_at_the_register() {
        assert_eq!(code(-18 * 128 - 3, 4, 13), -288);
        assert_eq!(code(-18 * 128 - 5, 4, 13), -289);
        assert_eq!(code(4, 4, 12), 1);
        assert_eq!(code(200 * 128, 4, 12), 2047);
        assert_eq!(code(-200 * 128, 4, 12), -2048);
    }
}
