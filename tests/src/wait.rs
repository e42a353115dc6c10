//! Waiting for a condition, with a deadline: the only place of the kit that reads a clock.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// The time on the monotonic clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the kit measures how long real processes take"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Looks again and again until the condition gives a value.
///
/// # Errors
/// When the deadline passes, or the condition itself fails.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            bail!("waited {} s in vain: {what}", deadline.as_secs());
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// As [`until`], for a plain yes or no.
///
/// # Errors
/// When the deadline passes, or the condition itself fails.
pub fn until_true(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    until(what, deadline, || Ok(condition()?.then_some(())))
}

/// Looks at the condition until the time is over, for stretches of a story that only pass.
///
/// # Errors
/// When `tick` fails.
pub fn pass(
    length: Duration,
    mut tick: impl FnMut(Duration) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let start = now();
    while start.elapsed() < length {
        tick(start.elapsed())?;
        std::thread::park_timeout(PAUSE * 5);
    }
    Ok(())
}
