//! Noise as a function of its coordinates: the same seed and time give the same value in every
//! process. Never: a generator with a state that a restart would lose.

/// A well-mixed number from a seed and two coordinates.
pub(super) fn hash(seed: u64, stream: u64, index: u64) -> u64 {
    let mut mixed = seed;
    for part in [stream, index] {
        mixed = mix(mixed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    mixed
}

/// Uniform in [0, 1).
pub(super) fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    (hash(seed, stream, index) >> 11) as f64 / (1u64 << 53) as f64
}

/// Normal with mean 0 and deviation 1.
pub(super) fn normal(seed: u64, stream: u64, index: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(seed, stream, index)).ln()).sqrt();
    let turn = uniform(seed ^ 0x5bd1_e995, stream, index);
    radius * (core::f64::consts::TAU * turn).cos()
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let value = (value ^ (value >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_noise_has_mean_0_and_deviation_1_and_depends_on_the_seed() {
        let draws: Vec<f64> = (0..20_000).map(|index| normal(1, 7, index)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let square = draws.iter().map(|draw| draw * draw).sum::<f64>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (square - 1.0).abs() < 0.05,
            "{mean} {square}"
        );
        assert_ne!(hash(1, 7, 0), hash(2, 7, 0));
        assert_eq!(hash(1, 7, 0), hash(1, 7, 0));
    }
}
