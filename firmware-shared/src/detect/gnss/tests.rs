//! A drive over a plane, seen by a receiver that can be disturbed at will.

use super::*;
use crate::reading::FixKind;
use crate::units::{AccuracyMm, Course1e5, Degrees1e7, MillimetresPerSecond};

struct Drive {
    detector: GnssDetector,
    now_ms: u64,
    north_m: f64,
    east_m: f64,
    random: u64,
}

/// What is done to one fix.
#[derive(Clone, Copy, Default)]
struct Disturb {
    north_m: f64,
    east_m: f64,
    accuracy_m: Option<f64>,
}

impl Drive {
    fn new() -> Self {
        Self {
            detector: GnssDetector::new(1000),
            now_ms: 0,
            north_m: 0.0,
            east_m: 0.0,
            random: 1,
        }
    }

    fn noise(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
    }

    fn position(&mut self, speed: f64, course: f64, by: Disturb) -> Position {
        let (a, b) = (self.noise(), self.noise());
        let north = self.north_m + by.north_m + a;
        let east = self.east_m + by.east_m + b;
        let metres = f64::from(METRES_PER_DEGREE);
        let lat = 48.0 + north / metres;
        Position {
            lat: Degrees1e7((lat * 1e7) as i32),
            lon: Degrees1e7(((11.0 + east / metres / 48.0_f64.to_radians().cos()) * 1e7) as i32),
            height: None,
            speed: Some(MillimetresPerSecond((speed * 1e3) as i32)),
            course: Some(Course1e5(
                (course.to_degrees().rem_euclid(360.0) * 1e5) as i32,
            )),
            h_acc: Some(AccuracyMm((by.accuracy_m.unwrap_or(3.0) * 1e3) as u32)),
            dop: None,
            satellites: Some(9),
            fix: FixKind::FIX_3D,
        }
    }

    /// One second of driving.
    fn fix(&mut self, speed: f64, course: f64, by: Disturb) -> Option<GnssFault> {
        self.now_ms += 1000;
        self.north_m += speed * course.cos();
        self.east_m += speed * course.sin();
        let position = self.position(speed, course, by);
        let time_of_day_ms = Some((self.now_ms % 86_400_000) as u32);
        self.detector.step(
            self.now_ms,
            &Epoch::Fix {
                position,
                time_of_day_ms,
            },
        )
    }

    fn drive(&mut self, seconds: u32) -> Vec<GnssFault> {
        (0..seconds)
            .filter_map(|i| self.fix(20.0, f64::from(i) / 60.0, Disturb::default()))
            .collect()
    }

    fn epoch(&mut self, epoch: Epoch) -> Option<GnssFault> {
        self.now_ms += 1000;
        self.detector.step(self.now_ms, &epoch)
    }
}

#[test]
fn an_ordinary_drive_with_curves_raises_nothing() {
    assert_eq!(Drive::new().drive(7200), []);
}

#[test]
fn each_jump_of_more_than_200_m_is_found_at_its_first_fix() {
    for metres in [201.0, 250.0, 1000.0, 50_000.0] {
        let mut drive = Drive::new();
        assert_eq!(drive.drive(60), []);
        let by = Disturb {
            north_m: metres,
            ..Disturb::default()
        };
        assert_eq!(drive.fix(0.0, 0.0, by), Some(GnssFault::Jump), "{metres} m");
    }
}

#[test]
fn a_fix_that_was_kept_while_the_bus_hung_is_no_jump_and_no_drag_off() {
    for hung_ms in [2_100, 5_800, 30_000, 600_000] {
        let mut drive = Drive::new();
        assert_eq!(drive.drive(60), []);
        // The receiver could not be read; then comes what it found when the bus began to hang.
        let kept = drive.position(40.0, 0.0, Disturb::default());
        let mut said = Vec::new();
        let mut hear = |drive: &mut Drive, position, after_ms| {
            drive.now_ms += after_ms;
            let time_of_day_ms = None;
            said.extend(drive.detector.step(
                drive.now_ms,
                &Epoch::Fix {
                    position,
                    time_of_day_ms,
                },
            ));
        };
        hear(&mut drive, kept, hung_ms);
        drive.north_m += 40.0 * hung_ms as f64 / 1e3;
        let fresh = drive.position(40.0, 0.0, Disturb::default());
        hear(&mut drive, fresh, 200);
        said.extend((0..60).filter_map(|_| drive.fix(40.0, 0.0, Disturb::default())));
        assert_eq!(said, [], "{hung_ms} ms");
    }
}

#[test]
fn a_position_that_stands_while_moving_is_found_within_ten_seconds() {
    let mut drive = Drive::new();
    drive.drive(60);
    let position = drive.position(20.0, 0.0, Disturb::default());
    let found: Vec<u32> = (1..=30)
        .filter(|second| {
            let time_of_day_ms = Some(60_000 + second * 1000);
            drive.epoch(Epoch::Fix {
                position,
                time_of_day_ms,
            }) == Some(GnssFault::Freeze)
        })
        .collect();
    assert!(matches!(found[..], [1..=10]), "{found:?}");
}

#[test]
fn a_vehicle_that_stands_may_repeat_its_position_for_hours() {
    let mut drive = Drive::new();
    let position = drive.position(0.1, 0.0, Disturb::default());
    let said = (0..10_000).filter_map(|i| {
        drive.epoch(Epoch::Fix {
            position,
            time_of_day_ms: Some(i * 1000),
        })
    });
    assert_eq!(said.count(), 0);
}

#[test]
fn a_sentence_that_repeats_is_found_within_three_seconds_and_told_once() {
    let mut drive = Drive::new();
    drive.drive(60);
    let position = drive.position(20.0, 0.0, Disturb::default());
    let epoch = Epoch::Fix {
        position,
        time_of_day_ms: Some(60_000),
    };
    let said: Vec<_> = (0..20).map(|_| drive.epoch(epoch)).collect();
    assert!(
        said[..3].contains(&Some(GnssFault::FrozenSentence)),
        "{said:?}"
    );
    assert_eq!(said.iter().flatten().count(), 1);
}

#[test]
fn a_drag_off_of_2_to_20_m_per_s_is_found_within_a_minute() {
    for rate in [2.0, 3.0, 5.0, 10.0, 20.0] {
        for across in [false, true] {
            let mut drive = Drive::new();
            assert_eq!(drive.drive(120), []);
            let found = (1..=60).find(|second| {
                let away = rate * f64::from(*second);
                let by = match across {
                    true => Disturb {
                        east_m: away,
                        ..Disturb::default()
                    },
                    false => Disturb {
                        north_m: away,
                        ..Disturb::default()
                    },
                };
                drive.fix(20.0, 2.0, by) == Some(GnssFault::DragOff)
            });
            assert!(found.is_some(), "{rate} m/s, across {across}");
        }
    }
}

#[test]
fn silence_of_three_periods_is_a_loss_and_is_told_once() {
    let mut drive = Drive::new();
    drive.drive(60);
    let said: Vec<_> = (0..60).map(|_| drive.epoch(Epoch::Silent)).collect();
    assert_eq!(said[..3], [None, None, Some(GnssFault::Loss)]);
    assert_eq!(said.iter().flatten().count(), 1);
    assert_eq!(drive.drive(60), []);
    let again: Vec<_> = (0..3).filter_map(|_| drive.epoch(Epoch::Silent)).collect();
    assert_eq!(again, [GnssFault::Loss]);
}

#[test]
fn a_tunnel_raises_nothing_and_a_dead_antenna_does() {
    let mut drive = Drive::new();
    drive.drive(60);
    for _ in 0..600 {
        drive.north_m += 25.0;
        assert_eq!(drive.epoch(Epoch::NoFix), None);
    }
    assert_eq!(drive.drive(600), []);
    let said: Vec<_> = (0..1200)
        .filter_map(|_| drive.epoch(Epoch::NoFix))
        .collect();
    assert_eq!(said, [GnssFault::Loss]);
}

#[test]
fn a_cold_start_with_a_wandering_first_fix_raises_nothing() {
    let mut drive = Drive::new();
    for _ in 0..1200 {
        assert_eq!(drive.epoch(Epoch::NoFix), None);
    }
    for second in 0..15 {
        let away = 900.0 - 60.0 * f64::from(second);
        let by = Disturb {
            north_m: away,
            accuracy_m: Some(away / 3.0 + 5.0),
            east_m: 0.0,
        };
        assert_eq!(drive.fix(0.0, 0.0, by), None, "{second}");
    }
    assert_eq!(drive.drive(600), []);
}

#[test]
fn twenty_truck_days_of_urban_multipath_raise_at_most_one_alert() {
    let mut drive = Drive::new();
    let (mut said, mut wander) = (0, (0.0, 0.0));
    for second in 0..20 * 86_400_u32 {
        // Canyons of five minutes in every twenty: positions wander by 15 m (correlated over 30 s), with
        // echoes of up to 60 m for some seconds, and the receiver admits some of it.
        let canyon = second % 1200 < 300;
        let (a, b) = (drive.noise(), drive.noise());
        let strength = if canyon { 12.0 } else { 0.3 };
        wander = (
            wander.0 * 0.97 + strength * a,
            wander.1 * 0.97 + strength * b,
        );
        let echo = if canyon && second % 97 < 4 { 60.0 } else { 0.0 };
        let by = Disturb {
            north_m: wander.0 + echo,
            east_m: wander.1,
            accuracy_m: Some(if canyon { 12.0 } else { 3.0 }),
        };
        let speed = if second % 60 < 20 { 0.2 } else { 10.0 };
        said += usize::from(drive.fix(speed, f64::from(second / 60), by).is_some());
    }
    assert!(said <= 1, "{said} alerts in 20 truck-days");
}

#[test]
fn a_restored_detector_goes_on_where_it_stopped() {
    let mut drive = Drive::new();
    drive.drive(333);
    let mut room = [0; 256];
    let bytes = postcard::to_slice(&drive.detector, &mut room).unwrap();
    let restored: GnssDetector = postcard::from_bytes(bytes).unwrap();
    assert_eq!(restored, drive.detector);
}

#[test]
fn a_snapshot_goes_on_and_a_damaged_or_unknown_one_is_a_fresh_start() {
    use crate::checksum::crc32c;
    use crate::detect::SnapshotError;

    let mut drive = Drive::new();
    drive.drive(60);
    let mut bytes = [0; 256];
    let len = drive.detector.save(&mut bytes).unwrap();
    let bytes = &mut bytes[..len];
    assert_eq!(GnssDetector::load(bytes).unwrap(), drive.detector);
    for cut in 0..len {
        assert_eq!(
            GnssDetector::load(&bytes[..cut]),
            Err(SnapshotError::Damaged)
        );
    }
    for at in 0..len {
        bytes[at] ^= 0x10;
        assert_eq!(
            GnssDetector::load(bytes),
            Err(SnapshotError::Damaged),
            "{at}"
        );
        bytes[at] ^= 0x10;
    }
    // Whole, and of a version to come.
    bytes[0] = GNSS_SNAPSHOT_VERSION + 1;
    let crc = crc32c(&bytes[..len - 4]).to_le_bytes();
    bytes[len - 4..].copy_from_slice(&crc);
    assert_eq!(
        GnssDetector::load(bytes),
        Err(SnapshotError::OtherVersion {
            found: GNSS_SNAPSHOT_VERSION + 1,
            known: GNSS_SNAPSHOT_VERSION
        })
    );
    assert_eq!(
        drive.detector.save(&mut [0; 8]),
        Err(SnapshotError::NoRoom { given_len: 8 })
    );
}
