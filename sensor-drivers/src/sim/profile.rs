//! The temperature around a simulated thermometer.
//!
//! Promises: a pure function of the time since the scenario's start, so a restarted process
//! continues the same world. Never: a code that a TMP117 could not deliver.

use super::{Window, random};

/// One change of temperature on top of the saw-tooth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Disturbance {
    /// Rises at a steady rate, then falls back at the same rate.
    Runaway {
        /// Start in seconds.
        at_s: f64,
        /// Rate of rise; negative falls.
        rate_deg_c_per_min: f64,
        /// End of the rise in seconds.
        until_s: f64,
    },
    /// A door: approaches `rise_deg_c` with a time constant of two minutes, and returns with one
    /// of five after it is closed.
    Door {
        /// Opening in seconds.
        at_s: f64,
        /// Open for so many seconds.
        for_s: f64,
        /// Where the temperature would settle, above the undisturbed one.
        rise_deg_c: f64,
    },
}

const DOOR_OPEN_TAU_S: f64 = 120.0;
const DOOR_CLOSED_TAU_S: f64 = 300.0;
/// The unit warms for this part of the saw-tooth's period and cools for the rest.
const WARMING_PART: f64 = 0.7;

impl Disturbance {
    fn deg_c(&self, t_s: f64) -> f64 {
        match *self {
            Self::Runaway {
                at_s,
                rate_deg_c_per_min,
                until_s,
            } => {
                let peak_s = (t_s.min(until_s) - at_s).max(0.0);
                let back_s = (t_s - until_s).max(0.0);
                (peak_s - back_s).max(0.0) * rate_deg_c_per_min / 60.0
            }
            Self::Door {
                at_s,
                for_s,
                rise_deg_c,
            } => {
                let open_s = (t_s - at_s).clamp(0.0, for_s);
                let closed_s = (t_s - at_s - for_s).max(0.0);
                rise_deg_c
                    * (1.0 - (-open_s / DOOR_OPEN_TAU_S).exp())
                    * (-closed_s / DOOR_CLOSED_TAU_S).exp()
            }
        }
    }
}

/// The whole profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Middle of the saw-tooth.
    pub base_deg_c: f64,
    /// From the middle to the top.
    pub amplitude_deg_c: f64,
    /// Length of one tooth.
    pub period_s: f64,
    /// Noise of one conversion in 1/128 degC.
    pub noise_lsb_rms: f64,
    /// Changes on top.
    pub disturbances: Vec<Disturbance>,
    /// While inside, the value of the beginning is repeated, down to the noise.
    pub frozen: Vec<Window>,
    /// While inside, the part does not convert: its register keeps what it has.
    pub stalled: Vec<Window>,
    /// Seed of the scenario.
    pub seed: u64,
    /// Tells chips with the same seed apart.
    pub stream: u64,
}

impl Profile {
    /// The code of a TMP117's conversion that ends `t_ms` after the scenario's start.
    #[must_use]
    pub fn raw_at(&self, t_ms: u64) -> i16 {
        // -256 degC is the power-on code, and never a conversion result.
        let lsb = self.deg_c_128_at(t_ms).clamp(-32_767, 32_767);
        i16::try_from(lsb).unwrap_or(i16::MAX)
    }

    /// The temperature `t_ms` after the scenario's start, in 1/128 degC.
    #[must_use]
    pub fn deg_c_128_at(&self, t_ms: u64) -> i32 {
        let t_ms = self
            .frozen
            .iter()
            .find(|window| window.contains(t_ms))
            .map_or(t_ms, |window| window.from_ms);
        let t_s = t_ms as f64 / 1000.0;
        let tooth = self.amplitude_deg_c * saw_tooth((t_s / self.period_s).fract());
        let change: f64 = self
            .disturbances
            .iter()
            .map(|change| change.deg_c(t_s))
            .sum();
        let noise = self.noise_lsb_rms * random::normal(self.seed, self.stream, t_ms);
        ((self.base_deg_c + tooth + change) * 128.0 + noise).round() as i32
    }
}

/// -1 to 1 and back over one period.
fn saw_tooth(phase: f64) -> f64 {
    if phase < WARMING_PART {
        2.0 * phase / WARMING_PART - 1.0
    } else {
        1.0 - 2.0 * (phase - WARMING_PART) / (1.0 - WARMING_PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Profile {
        Profile {
            base_deg_c: -18.0,
            amplitude_deg_c: 2.0,
            period_s: 1000.0,
            noise_lsb_rms: 0.0,
            disturbances: Vec::new(),
            frozen: Vec::new(),
            stalled: Vec::new(),
            seed: 1,
            stream: 0x48,
        }
    }

    #[test]
    fn the_saw_tooth_runs_between_base_minus_and_base_plus_amplitude() {
        let profile = quiet();
        for (t_ms, deg_c) in [(0, -20), (700_000, -16), (1_000_000, -20), (350_000, -18)] {
            assert_eq!(profile.raw_at(t_ms), deg_c * 128, "at {t_ms}");
        }
    }

    #[test]
    fn a_runaway_rises_at_its_rate_and_falls_back() {
        let disturbances = vec![Disturbance::Runaway {
            at_s: 60.0,
            rate_deg_c_per_min: 2.0,
            until_s: 360.0,
        }];
        let profile = Profile {
            amplitude_deg_c: 0.0,
            disturbances,
            ..quiet()
        };
        for (t_ms, deg_c) in [
            (60_000, -18),
            (120_000, -16),
            (360_000, -8),
            (660_000, -18),
            (900_000, -18),
        ] {
            assert_eq!(profile.raw_at(t_ms), deg_c * 128, "at {t_ms}");
        }
    }

    #[test]
    fn an_open_door_warms_and_a_closed_one_recovers() {
        let disturbances = vec![Disturbance::Door {
            at_s: 10.0,
            for_s: 600.0,
            rise_deg_c: 8.0,
        }];
        let profile = Profile {
            amplitude_deg_c: 0.0,
            disturbances,
            ..quiet()
        };
        let deg_c = |t_s: u64| f64::from(profile.raw_at(t_s * 1000)) / 128.0;
        assert_eq!(deg_c(10), -18.0);
        assert!((-10.2..-10.0).contains(&deg_c(610)), "{}", deg_c(610));
        assert!(deg_c(910) < -14.5 && deg_c(2500) < -17.9);
    }

    #[test]
    fn noise_repeats_with_the_seed_and_a_freeze_repeats_one_value() {
        let frozen = vec![Window {
            from_ms: 5000,
            to_ms: 9000,
        }];
        let noisy = Profile {
            noise_lsb_rms: 3.0,
            frozen,
            ..quiet()
        };
        let again = noisy.clone();
        let values: Vec<i16> = (0..20).map(|second| noisy.raw_at(second * 1000)).collect();
        assert_eq!(
            values,
            (0..20).map(|s| again.raw_at(s * 1000)).collect::<Vec<_>>()
        );
        assert!(values[5..9].iter().all(|value| *value == values[5]));
        assert!(values[10..].iter().any(|value| *value != values[10]));
        let other = Profile {
            seed: 2,
            ..noisy.clone()
        };
        assert!((0..20).any(|second| other.raw_at(second * 1000) != noisy.raw_at(second * 1000)));
    }
}
