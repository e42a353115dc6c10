//! The clocks and the dice: the only place that reads them.
//!
//! Promises: monotonic time drives behaviour, UTC is only ever a stamp. Never: read anywhere else.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the process first asked; never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the monotonic clock"
)]
pub(crate) fn monotonic_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// UTC in milliseconds since 1970, as this machine believes.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub(crate) fn utc_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    })
}

/// 64 random bits from the operating system.
///
/// # Errors
/// When the operating system has none.
pub(crate) fn random_u64() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}
