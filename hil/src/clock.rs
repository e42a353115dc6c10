//! The only place of this package that looks at a clock or waits.
//!
//! Promises: every wait has a deadline and says what it waited for. Never: a delay instead of a condition.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(20);

/// Time since a moment of the harness.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at zero.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness measures wall time; nothing is named by it"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Looks until `look` finds something; `what` is the end of "waited in vain for ...".
///
/// # Errors
/// When `look` fails, or nothing was found in time.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if watch.elapsed() >= deadline {
            bail!("waited {} s in vain for {what}", deadline.as_secs());
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition with a deadline"
)]
fn pause() {
    std::thread::sleep(PERIOD);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_what_was_found_or_names_what_was_not() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
        let error = wait_for::<()>("rain", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain for rain");
        let error = wait_for::<()>("rain", Duration::ZERO, || bail!("drought")).unwrap_err();
        assert_eq!(error.to_string(), "drought");
    }
}
