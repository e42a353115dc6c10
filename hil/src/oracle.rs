//! Compares what the chips handed out with what the centre stored.
//!
//! Promises: order, number and value of every reading are compared; what is missing must be the end of a
//! life that a power cut ended, and no longer than what may be lost there. Never: a look at the gateway's
//! own counters.

use anyhow::{Context, bail, ensure};

use crate::centre::StoredEpoch;
use crate::world::Truth;

/// What the chips handed out in one life of the gateway, from power on to power off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// What was handed out.
    pub truth: Truth,
    /// How many readings of one chip may be missing at the end: 0 behind a clean stop.
    pub tail_max: usize,
    /// A receiver's epoch of which an earlier life took the first bytes along.
    pub torn_start: bool,
}

impl Life {
    /// What was handed out between two looks at the truth.
    #[must_use]
    pub fn between(before: &Truth, after: &Truth, tail_max: usize) -> Self {
        let temperatures = after
            .temperatures
            .iter()
            .skip(before.temperatures.len())
            .copied()
            .collect();
        let fixes = after
            .fixes
            .iter()
            .skip(before.fixes.len())
            .copied()
            .collect();
        let torn_start = !before.fixes.is_empty();
        Self {
            truth: Truth {
                temperatures,
                fixes,
            },
            tail_max,
            torn_start,
        }
    }

    /// Compares one life with its epoch; how many readings the power cut took.
    ///
    /// # Errors
    /// When a reading is missing, doubled, changed or out of order.
    pub fn compare(&self, stored: &StoredEpoch) -> anyhow::Result<usize> {
        let temperatures = missing_tail(
            &self.truth.temperatures,
            &stored.temperatures,
            self.tail_max,
        )
        .context("temperatures")?;
        let fixes = match missing_tail(&self.truth.fixes, &stored.fixes, self.tail_max) {
            Ok(missing) => missing,
            Err(error) if self.torn_start => {
                let (_, rest) = self.truth.fixes.split_first().context("no fixes")?;
                missing_tail(rest, &stored.fixes, self.tail_max)
                    .map_err(|_| error)
                    .context("positions")?
            }
            Err(error) => return Err(error.context("positions")),
        };
        Ok(temperatures + fixes)
    }
}

/// `stored` must be `handed_out` without at most `tail_max` of its last items.
fn missing_tail<T: PartialEq + std::fmt::Debug>(
    handed_out: &[T],
    stored: &[T],
    tail_max: usize,
) -> anyhow::Result<usize> {
    if let Some(at) = handed_out
        .iter()
        .zip(stored)
        .position(|(truth, row)| truth != row)
    {
        bail!(
            "number {at} is {:?} in the database, but the chip handed out {:?} ({} stored, {} handed out)",
            stored.get(at),
            handed_out.get(at),
            stored.len(),
            handed_out.len()
        );
    }
    ensure!(
        stored.len() <= handed_out.len(),
        "{} are stored, but only {} were handed out",
        stored.len(),
        handed_out.len()
    );
    let missing = handed_out.len() - stored.len();
    ensure!(
        missing <= tail_max,
        "{missing} are missing at the end, {tail_max} may be"
    );
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(temperatures: &[i64], fixes: &[(i64, i64)]) -> Truth {
        Truth {
            temperatures: temperatures.to_vec(),
            fixes: fixes.to_vec(),
        }
    }

    fn stored(temperatures: &[i64], fixes: &[(i64, i64)]) -> StoredEpoch {
        let Truth {
            temperatures,
            fixes,
        } = truth(temperatures, fixes);
        StoredEpoch {
            epoch: 1,
            temperatures,
            fixes,
            first_ms: 0,
        }
    }

    fn life(temperatures: &[i64], tail_max: usize) -> Life {
        Life {
            truth: truth(temperatures, &[(1, 1)]),
            tail_max,
            torn_start: false,
        }
    }

    #[test]
    fn every_reading_once_and_in_order_is_what_is_asked_for() {
        assert_eq!(
            life(&[1, 2, 2], 0)
                .compare(&stored(&[1, 2, 2], &[(1, 1)]))
                .unwrap(),
            0
        );
        for wrong in [&[1, 2][..], &[1, 2, 2, 2], &[2, 1, 2], &[1, 2, 3], &[2, 2]] {
            assert!(
                life(&[1, 2, 2], 0)
                    .compare(&stored(wrong, &[(1, 1)]))
                    .is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_power_cut_may_take_the_end_but_not_more_and_nothing_else() {
        assert_eq!(
            life(&[1, 2, 3], 2)
                .compare(&stored(&[1], &[(1, 1)]))
                .unwrap(),
            2
        );
        for wrong in [&[][..], &[1, 3], &[2, 3]] {
            assert!(
                life(&[1, 2, 3], 2)
                    .compare(&stored(wrong, &[(1, 1)]))
                    .is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_life_is_what_was_handed_out_since_the_last_look() {
        let before = truth(&[1, 2], &[(1, 1)]);
        let after = truth(&[1, 2, 3], &[(1, 1), (2, 2), (3, 3)]);
        let life = Life::between(&before, &after, 0);
        assert_eq!(life.truth, truth(&[3], &[(2, 2), (3, 3)]));
        assert!(life.compare(&stored(&[3], &[(2, 2), (3, 3)])).is_ok());
        assert!(
            life.compare(&stored(&[3], &[(3, 3)])).is_ok(),
            "torn by the cut"
        );
        assert!(life.compare(&stored(&[3], &[(2, 2)])).is_err());
        assert!(!Life::between(&truth(&[], &[]), &after, 0).torn_start);
    }
}
