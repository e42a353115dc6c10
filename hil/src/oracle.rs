//! Compares what the chips handed out with what the centre stored.
//!
//! Promises: order, number and value of every reading are compared; what is missing must be the end of a
//! life that a power cut ended, and no longer than what may be lost there. Never: a look at the gateway's
//! own counters.

use anyhow::{Context, bail, ensure};

use crate::centre::StoredEpoch;
use crate::world::Truth;

/// What is not yet durable when the power goes: readings of 5 s and one on the way, at 1 Hz.
const TAIL_MAX: usize = 6;

/// What the chips handed out in one life of the gateway, from power on to power off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    truth: Truth,
    /// How many readings of one chip may be missing at the end.
    tail_max: usize,
    /// An earlier life may have taken the first bytes of the receiver's first epoch along.
    torn_start: bool,
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Readings that are stored, each once.
    pub stored: usize,
    /// Readings that a power cut took before they were accepted.
    pub cut: usize,
}

/// Compares lives with epochs. An epoch belongs to the life whose readings it holds; only a life that was
/// too short to have anything accepted may have none.
///
/// # Errors
/// When a reading is missing, doubled, changed or out of order, or belongs to no life.
pub fn compare(lives: &[Life], mut epochs: Vec<StoredEpoch>) -> anyhow::Result<Tally> {
    epochs.retain(|epoch| epoch.readings() > 0);
    let mut tally = Tally::default();
    for (number, life) in lives.iter().enumerate() {
        let fits = |epoch: &StoredEpoch| life.compare(epoch).is_ok();
        let best = (0..epochs.len())
            .filter(|at| epochs.get(*at).is_some_and(fits))
            .max_by_key(|at| epochs.get(*at).map(StoredEpoch::readings));
        let epoch = match best {
            Some(at) => epochs.swap_remove(at),
            None => life
                .without_epoch(&epochs)
                .with_context(|| format!("life {number}"))?,
        };
        tally.stored += epoch.readings();
        tally.cut += life.compare(&epoch)?;
    }
    ensure!(
        epochs.is_empty(),
        "readings of no life are stored: {epochs:?}"
    );
    Ok(tally)
}

impl Life {
    /// A life that a power cut ended.
    #[must_use]
    pub fn cut(before: &Truth, after: &Truth) -> Self {
        Self::between(before, after, TAIL_MAX)
    }

    /// A life that a clean stop ended, which accepts everything.
    #[must_use]
    pub fn stopped(before: &Truth, after: &Truth) -> Self {
        Self::between(before, after, 0)
    }

    /// A life whose disk hung before it was ended: what was handed out meanwhile could not be accepted.
    #[must_use]
    pub fn hung(before: &Truth, after: &Truth, tail_max: usize) -> Self {
        Self::between(before, after, tail_max)
    }

    /// A life that goes on.
    #[must_use]
    pub fn running(before: &Truth, after: &Truth) -> Self {
        Self::between(before, after, usize::MAX)
    }

    fn between(before: &Truth, after: &Truth, tail_max: usize) -> Self {
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

    /// The empty epoch of a life that may have none, else why no epoch fits.
    fn without_epoch(&self, epochs: &[StoredEpoch]) -> anyhow::Result<StoredEpoch> {
        let nothing = StoredEpoch::default();
        let Err(error) = self.compare(&nothing) else {
            return Ok(nothing);
        };
        let first = self.truth.temperatures.first();
        match epochs
            .iter()
            .find(|epoch| first.is_some() && epoch.temperatures.first() == first)
        {
            Some(epoch) => self.compare(epoch).map(|_| nothing),
            None => Err(error.context("no stored epoch begins like it")),
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
        let life = Life::stopped(&before, &after);
        assert_eq!(life.truth, truth(&[3], &[(2, 2), (3, 3)]));
        assert!(life.compare(&stored(&[3], &[(2, 2), (3, 3)])).is_ok());
        assert!(
            life.compare(&stored(&[3], &[(3, 3)])).is_ok(),
            "torn by the cut"
        );
        assert!(life.compare(&stored(&[3], &[(2, 2)])).is_err());
        assert!(!Life::cut(&Truth::default(), &after).torn_start);
    }

    #[test]
    fn epochs_are_found_by_what_they_hold_whatever_their_order() {
        let lives = [life(&[1, 2, 3], 2), life(&[4, 5, 6], 2), life(&[9], 6)];
        let epochs = || {
            vec![
                stored(&[4, 5, 6], &[(1, 1)]),
                stored(&[], &[]),
                stored(&[1, 2], &[(1, 1)]),
            ]
        };
        assert_eq!(
            compare(&lives, epochs()).unwrap(),
            Tally { stored: 7, cut: 3 }
        );
        let mut twice = epochs();
        twice.push(stored(&[4, 5], &[(1, 1)]));
        assert!(compare(&lives, twice).is_err(), "an epoch of no life");
        let error = compare(&lives, epochs().split_off(1)).unwrap_err();
        assert!(format!("{error:#}").contains("life 1"), "{error:#}");
    }

    #[test]
    fn a_life_whose_middle_is_missing_is_told_with_its_place() {
        let lives = [life(&[1, 2, 3, 4], 0)];
        let error = compare(&lives, vec![stored(&[1, 3, 4], &[(1, 1)])]).unwrap_err();
        assert!(
            format!("{error:#}").contains("number 1 is Some(3)"),
            "{error:#}"
        );
    }
}
