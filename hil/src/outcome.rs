//! How a scenario ended, and what that means to the caller of `cargo hil`.
//!
//! Promises: `skipped` has an exit code of its own and is a failure where `CI=true`. Never: a skipped
//! scenario that is counted as passed.

use std::process::ExitCode;

/// The exit code of a skipped run, as automake and Debian's autopkgtest use it.
pub const SKIPPED: u8 = 77;

/// How a scenario ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that it promises was seen; the measured values, one per line.
    Passed(Vec<String>),
    /// A promise was broken, or the harness could not find out.
    Failed(anyhow::Error),
    /// It could not be run here, and why.
    Skipped(String),
}

impl Outcome {
    /// The lines that are printed for the scenario `name`.
    #[must_use]
    pub fn lines(&self, name: &str) -> Vec<String> {
        match self {
            Self::Passed(values) => {
                let mut lines: Vec<String> =
                    values.iter().map(|value| format!("  {value}")).collect();
                lines.push(format!("passed: {name}"));
                lines
            }
            Self::Failed(error) => vec![format!("failed: {name}: {error:#}")],
            Self::Skipped(reason) => vec![format!("skipped: {name}: {reason}")],
        }
    }

    fn code(&self, in_ci: bool) -> u8 {
        match self {
            Self::Passed(_) => 0,
            Self::Skipped(_) if !in_ci => SKIPPED,
            Self::Skipped(_) | Self::Failed(_) => 1,
        }
    }
}

/// The exit code of a run: a failure beats a skip, and a skip beats a pass.
#[must_use]
pub fn exit_code(outcomes: &[Outcome], in_ci: bool) -> ExitCode {
    ExitCode::from(worst(outcomes, in_ci))
}

fn worst(outcomes: &[Outcome], in_ci: bool) -> u8 {
    let codes = || outcomes.iter().map(|outcome| outcome.code(in_ci));
    if codes().any(|code| code == 1) {
        1
    } else {
        codes().max().unwrap_or(SKIPPED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped() -> Outcome {
        Outcome::Skipped("no qemu".to_owned())
    }

    #[test]
    fn a_skip_is_told_apart_from_a_pass_and_is_a_failure_in_ci() {
        assert_eq!(worst(&[Outcome::Passed(Vec::new())], true), 0);
        assert_eq!(worst(&[Outcome::Passed(Vec::new()), skipped()], false), 77);
        assert_eq!(worst(&[Outcome::Passed(Vec::new()), skipped()], true), 1);
        assert_eq!(
            worst(
                &[Outcome::Failed(anyhow::anyhow!("lost")), skipped()],
                false
            ),
            1
        );
        assert_eq!(worst(&[], false), 77);
    }

    #[test]
    fn a_skip_says_why_and_a_pass_shows_what_was_measured() {
        assert_eq!(skipped().lines("tier 1"), ["skipped: tier 1: no qemu"]);
        let passed = Outcome::Passed(vec!["alert after 900 ms".to_owned()]);
        assert_eq!(
            passed.lines("tier 1"),
            ["  alert after 900 ms", "passed: tier 1"]
        );
    }
}
