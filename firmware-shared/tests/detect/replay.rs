//! What a detector said does not depend on what comes later, on a restart, or on the unit.

use firmware_shared::checksum::crc32c;
use firmware_shared::detect::{
    Detector, Input, Large, SNAPSHOT_VERSION, Small, SnapshotError, Verdict,
};

use crate::reefer::{DAY, MINUTE_MS, Reefer, START_MS};
use crate::verdicts;

/// A week with a few disturbances, so that there are scores to compare.
fn disturbed() -> Vec<f64> {
    let mut values = Reefer::new(3).minutes(8 * DAY);
    values[4 * DAY + 77] += 12.0;
    values[5 * DAY..5 * DAY + 200]
        .iter_mut()
        .for_each(|value| *value += 4.0);
    values[6 * DAY..6 * DAY + 200].fill(-17.5);
    values
}

/// Slow series use the other family of heads.
fn slow<const M: usize, const P: usize, const T: usize, const B: usize>(
    detector: &mut Detector<M, P, T, B>,
    values: &[f64],
) -> Vec<Verdict> {
    let at = |i: usize| START_MS + 5 * MINUTE_MS * i as u64;
    values
        .iter()
        .enumerate()
        .map(|(i, x)| detector.step(at(i), &Input::value(*x)))
        .collect()
}

fn bits(verdicts: &[Verdict]) -> Vec<(u32, u64)> {
    verdicts
        .iter()
        .map(|v| (v.score.to_bits(), v.expected.to_bits()))
        .collect()
}

fn spoke(verdicts: &[Verdict]) -> usize {
    verdicts
        .iter()
        .filter(|verdict| verdict.score > 0.3)
        .count()
}

fn causal<const M: usize, const P: usize, const T: usize, const B: usize>() {
    let values = disturbed();
    let mut changed = values.clone();
    let cut = 6 * DAY + 50;
    changed[cut..]
        .iter_mut()
        .for_each(|value| *value = 1e6 - *value);
    for run in [
        verdicts_at_minutes::<M, P, T, B>,
        slow_from_start::<M, P, T, B>,
    ] {
        let whole = bits(&run(&values));
        assert!(spoke(&run(&values)) > 3, "nothing to compare");
        assert!(whole[..cut] == bits(&run(&values[..cut]))[..], "cut");
        assert!(whole[..cut] == bits(&run(&changed))[..cut], "changed");
    }
}

fn verdicts_at_minutes<const M: usize, const P: usize, const T: usize, const B: usize>(
    values: &[f64],
) -> Vec<Verdict> {
    verdicts(&mut Detector::<M, P, T, B>::new(), 0, values)
}

fn slow_from_start<const M: usize, const P: usize, const T: usize, const B: usize>(
    values: &[f64],
) -> Vec<Verdict> {
    slow(&mut Detector::<M, P, T, B>::new(), values)
}

#[test]
fn earlier_scores_are_the_same_bits_whatever_follows() {
    causal::<2, 225, 192, 24>();
    causal::<4, 400, 4096, 48>();
}

#[test]
fn a_detector_restored_in_mid_series_goes_on_bit_for_bit() {
    let values = disturbed();
    let mut whole = Large::new();
    let expected = bits(&verdicts(&mut whole, 0, &values));
    for cut in [
        0,
        1,
        149,
        151,
        1439,
        2881,
        4 * DAY + 78,
        5 * DAY + 20,
        6 * DAY + 5,
    ] {
        let mut first = Large::new();
        verdicts(&mut first, 0, &values[..cut]);
        let mut room = vec![0; 64 * 1024];
        let len = first.save(&mut room).unwrap();
        let mut second = Large::load(&room[..len]).unwrap();
        assert!(second == first, "restored at {cut}");
        let rest = bits(&verdicts(&mut second, cut, &values[cut..]));
        assert!(rest[..] == expected[cut..], "cut at {cut}");
    }
}

#[test]
fn a_snapshot_that_is_damaged_or_of_another_kind_is_refused() {
    let mut detector = Small::new();
    verdicts(&mut detector, 0, &Reefer::new(1).minutes(500));
    let mut room = vec![0; 8192];
    let len = detector.save(&mut room).unwrap();
    assert!(Small::load(&room[..len]).is_ok());
    for at in 0..len {
        let mut flipped = room[..len].to_vec();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(
            Small::load(&flipped).err(),
            Some(SnapshotError::Damaged),
            "byte {at}"
        );
        assert!(Small::load(&room[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(
        Large::load(&room[..len]).err(),
        Some(SnapshotError::OtherProfile)
    );
    let no_room = SnapshotError::NoRoom { given_len: 100 };
    assert_eq!(detector.save(&mut room[..100]).err(), Some(no_room));
}

#[test]
fn a_snapshot_of_another_version_is_refused_by_its_number() {
    let mut detector = Small::new();
    verdicts(&mut detector, 0, &Reefer::new(1).minutes(500));
    let mut room = vec![0; 8192];
    let len = detector.save(&mut room).unwrap();
    for found in (0..=u8::MAX).filter(|version| *version != SNAPSHOT_VERSION) {
        let mut other = room[..len].to_vec();
        other[0] = found;
        let crc = crc32c(&other[..len - 4]).to_le_bytes();
        other[len - 4..].copy_from_slice(&crc);
        let refused = SnapshotError::OtherVersion {
            found,
            known: SNAPSHOT_VERSION,
        };
        assert_eq!(Small::load(&other).err(), Some(refused));
    }
}

#[test]
fn scores_are_the_same_when_all_values_are_scaled_and_shifted() {
    let values = disturbed();
    for run in [
        verdicts_at_minutes::<2, 225, 192, 24>,
        slow_from_start::<4, 400, 4096, 48>,
    ] {
        let plain = run(&values);
        for (scale, shift) in [(1.8, 32.0), (0.05, -400.0), (15.3, 273.15), (1000.0, 0.0)] {
            let moved: Vec<f64> = values.iter().map(|value| scale * value + shift).collect();
            for (i, (a, b)) in plain.iter().zip(run(&moved)).enumerate() {
                let near = (a.score - b.score).abs() < 2e-3;
                assert!(
                    near,
                    "reading {i}: {} and {} at {scale} x + {shift}",
                    a.score, b.score
                );
            }
        }
    }
}

#[test]
fn the_state_of_each_profile_keeps_its_bound() {
    assert!(
        size_of::<Small>() <= 4096,
        "small is {}",
        size_of::<Small>()
    );
    assert!(
        size_of::<Large>() <= 48 * 1024,
        "large is {}",
        size_of::<Large>()
    );
    let mut detector = Small::new();
    verdicts(&mut detector, 0, &Reefer::new(1).minutes(4000));
    let len = detector.save(&mut vec![0; 8192]).unwrap();
    assert!(len <= 4096, "a small snapshot is {len}");
}
