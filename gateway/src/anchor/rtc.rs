//! The battery-backed clock.
//!
//! Promises: what the file says, in the middle of its second. Never: trust; that is for the configuration to
//! say.

use std::path::Path;

pub(super) fn read(file: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(file).ok()?;
    let seconds: i64 = text.trim().parse().ok()?;
    seconds.checked_mul(1000)?.checked_add(500)
}
