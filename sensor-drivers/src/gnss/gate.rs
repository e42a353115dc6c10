//! How fast a vehicle would have gone from one fix to the next.
//!
//! Promises: integers only, within 1 % on the ground; a speed is stated only when no vehicle goes
//! that fast even with both fixes off by their accuracy. Never: a fix dropped; that is for whoever
//! sees more than two fixes.

use super::utc::DAY_MS;
use super::{EpochTime, Fix};

/// 360 km/h.
pub const SPEED_MM_S_MAX: u64 = 100_000;
/// What a fix may be off where the receiver does not say.
const ACCURACY_CM: u64 = 5_000;
/// 1e-7 degree of a meridian is 11.132 mm.
const UM_PER_1E7_DEG: u64 = 11_132;
const WEEK_MS: i64 = 7 * DAY_MS;

/// Where and when a fix was.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    epoch: EpochTime,
    lat_1e7_deg: i32,
    lon_1e7_deg: i32,
    h_acc_mm: Option<u32>,
}

impl Place {
    /// That of a fix.
    #[must_use]
    #[inline]
    pub fn of(fix: &Fix) -> Self {
        Self {
            epoch: fix.epoch,
            lat_1e7_deg: fix.lat_1e7_deg,
            lon_1e7_deg: fix.lon_1e7_deg,
            h_acc_mm: fix.h_acc_mm,
        }
    }

    /// The speed from here to `next`, when it is above what a vehicle does.
    #[must_use]
    #[inline]
    pub fn speed_to_mm_s(&self, next: &Self) -> Option<u32> {
        implied_speed_mm_s(self, next)
    }

    fn off_cm(&self) -> u64 {
        self.h_acc_mm
            .map_or(ACCURACY_CM, |mm| u64::from(mm) / 10 + 1)
    }
}

#[inline]
fn implied_speed_mm_s(before: &Place, fix: &Place) -> Option<u32> {
    let elapsed_ms = elapsed_ms(before.epoch, fix.epoch)?;
    let (north_cm, east_cm) = sides_at_equator_cm(before, fix);
    let allowed_cm = (SPEED_MM_S_MAX * elapsed_ms / 10_000)
        .saturating_add(before.off_cm())
        .saturating_add(fix.off_cm());
    // The usual case, without a root: no distance is longer than these two together.
    if north_cm + east_cm <= allowed_cm {
        return None;
    }
    let apart_cm = apart_cm(before, fix);
    if apart_cm <= allowed_cm {
        return None;
    }
    let mm_s = apart_cm.saturating_mul(10_000) / elapsed_ms;
    Some(u32::try_from(mm_s).unwrap_or(u32::MAX))
}

/// `None` when the two cannot be compared, or time stood still or ran backwards.
fn elapsed_ms(before: EpochTime, after: EpochTime) -> Option<u64> {
    let elapsed_ms = match (before, after) {
        (EpochTime::Utc { utc_ms: before }, EpochTime::Utc { utc_ms: after }) => after - before,
        (EpochTime::TimeOfWeek { itow_ms: before }, EpochTime::TimeOfWeek { itow_ms: after }) => {
            (i64::from(after) - i64::from(before)).rem_euclid(WEEK_MS)
        }
        (EpochTime::TimeOfDay { tod_ms: before }, EpochTime::TimeOfDay { tod_ms: after }) => {
            (i64::from(after) - i64::from(before)).rem_euclid(DAY_MS)
        }
        _ => return None,
    };
    u64::try_from(elapsed_ms)
        .ok()
        .filter(|elapsed| *elapsed > 0)
}

/// Along the meridian, and along the equator where a degree is longest.
fn sides_at_equator_cm(before: &Place, fix: &Place) -> (u64, u64) {
    let north = u64::from(before.lat_1e7_deg.abs_diff(fix.lat_1e7_deg));
    let east = u64::from(before.lon_1e7_deg.abs_diff(fix.lon_1e7_deg));
    let east = east.min(3_600_000_000 - east.min(3_600_000_000));
    (
        north * UM_PER_1E7_DEG / 10_000,
        east * UM_PER_1E7_DEG / 10_000,
    )
}

fn apart_cm(before: &Place, fix: &Place) -> u64 {
    let (north_cm, east_cm) = sides_at_equator_cm(before, fix);
    let middle = before.lat_1e7_deg / 2 + fix.lat_1e7_deg / 2;
    let east_cm = east_cm * cosine_1e4(middle) / 10_000;
    (north_cm * north_cm + east_cm * east_cm).isqrt()
}

/// Bhaskara's approximation of the cosine of a latitude, in 1/10,000; at most 0.0017 off.
fn cosine_1e4(lat_1e7_deg: i32) -> u64 {
    let deg_x100 = u64::from(lat_1e7_deg.unsigned_abs()) / 100_000;
    let square = deg_x100 * deg_x100;
    (324_000_000u64.saturating_sub(4 * square)) * 10_000 / (324_000_000 + square)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(utc_ms: i64, lat_1e7_deg: i32, lon_1e7_deg: i32) -> Place {
        Place {
            epoch: EpochTime::Utc { utc_ms },
            lat_1e7_deg,
            lon_1e7_deg,
            h_acc_mm: Some(2000),
        }
    }

    #[test]
    fn the_distance_is_that_of_the_sphere_within_a_hundredth() {
        for lat in [-80, -60, -45, -33, 0, 10, 30, 52, 60, 70, 80] {
            for (north, east) in [(100_000i32, 0i32), (0, 100_000), (70_000, -70_000)] {
                let from = fix(0, lat * 10_000_000, 1_799_960_000);
                // Over the date line.
                let lon = i64::from(from.lon_1e7_deg) + i64::from(east);
                let lon = if lon > 1_800_000_000 {
                    lon - 3_600_000_000
                } else {
                    lon
                };
                let to = fix(1000, from.lat_1e7_deg + north, i32::try_from(lon).unwrap());
                let cosine = f64::from(lat).to_radians().cos();
                let exact = f64::hypot(f64::from(north), f64::from(east) * cosine) * 11.132;
                let found = 10.0 * apart_cm(&from, &to) as f64;
                // 1 %, and near the poles what the approximation leaves of a small cosine.
                let allowed = exact * 0.012 + f64::from(east.abs()) * 11.132 * 0.002 + 20.0;
                assert!((found - exact).abs() <= allowed, "{lat}: {found} {exact}");
            }
        }
    }

    #[test]
    fn only_a_speed_that_no_vehicle_reaches_is_stated() {
        let from = fix(0, 525_000_000, 134_000_000);
        let after = |ms: i64, north: i32| {
            implied_speed_mm_s(&from, &fix(ms, from.lat_1e7_deg + north, from.lon_1e7_deg))
        };
        // 9000e-7 degree are 100.19 m; both fixes may be 2 m off.
        assert_eq!(after(1000, 9000), None);
        assert_eq!(after(1000, 9400), Some(104_640));
        assert_eq!(after(10_000, 89_000), None);
        // From Berlin to the equator in a second, and in a day.
        assert_eq!(after(1000, -520_000_000), Some(u32::MAX));
        assert_eq!(after(86_400_000, -520_000_000), None);
    }

    #[test]
    fn epochs_that_cannot_be_compared_state_nothing() {
        let from = fix(5000, 0, 0);
        let far = fix(5000, 800_000_000, 0);
        assert_eq!(implied_speed_mm_s(&from, &far), None, "no time passed");
        let back = fix(4000, 800_000_000, 0);
        assert_eq!(implied_speed_mm_s(&from, &back), None);
        let other = Place {
            epoch: EpochTime::TimeOfDay { tod_ms: 6000 },
            ..far
        };
        assert_eq!(implied_speed_mm_s(&from, &other), None);
        let at = |fix: Place, tod_ms| Place {
            epoch: EpochTime::TimeOfDay { tod_ms },
            ..fix
        };
        let midnight = implied_speed_mm_s(&at(from, 86_399_000), &at(far, 1000));
        assert!(midnight.is_some_and(|mm_s| mm_s > 1_000_000_000));
    }
}
