//! systemd-timesyncd touches a file whenever it has set the clock.
//!
//! Promises: a clock that was set within a day is kept, with the error that timesyncd lets a server have and
//! the drift since. Never: a file from another boot (its folder does not outlive one).

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::timekeeper::DRIFT_PPM;

/// The root distance that timesyncd accepts by default.
const SERVER_ERROR_MS: u64 = 5000;
/// It asks every 34 minutes at the latest; this many are missed.
const AGE_MS_MAX: u64 = 86_400_000;

pub(super) fn error_ms(file: &Path, utc_ms: i64) -> Option<u64> {
    let touched = std::fs::metadata(file).ok()?.modified().ok()?;
    let touched_ms = touched.duration_since(UNIX_EPOCH).ok()?.as_millis();
    let age_ms = u64::try_from(utc_ms.checked_sub(i64::try_from(touched_ms).ok()?)?).ok()?;
    (age_ms <= AGE_MS_MAX)
        .then(|| SERVER_ERROR_MS.saturating_add(age_ms.saturating_mul(DRIFT_PPM) / 1_000_000))
}
