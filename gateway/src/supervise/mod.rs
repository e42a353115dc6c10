//! What the supervisor is told: that the gateway has started, that it gets on, that it stops.
//!
//! Promises: a life sign is sent from the pipeline's own turn, so a pipeline that hangs (in a lock, in a card
//! that never answers) sends none; it is withheld, too, when no sampler has gone round for [`STUCK_MS`].
//! Without a supervisor nothing is sent and nothing changes. Never: a life sign from a thread or a timer of
//! its own, a wait, a life sign that depends on the link: a restart repairs no radio hole.

mod notify;

pub use notify::Notifier;

/// A hung transfer takes a second and a 1-Wire conversion most of one: a sampler that is so long at one
/// thing will not come back.
pub const STUCK_MS: u64 = 60_000;

/// Turns are at most a second apart; behind a longer pause (suspend, a card that hung) samplers have their
/// minute anew.
const PAUSE_MS: u64 = 5_000;

/// When life signs are due.
#[derive(Debug)]
pub struct Vigil {
    /// Between two life signs, ms; `None` when nobody waits for them.
    period_ms: Option<u64>,
    has_samplers: bool,
    rounds: u64,
    round_at_ms: u64,
    turned_at_ms: u64,
    due_ms: u64,
    is_stuck: bool,
}

/// What a turn gives cause to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nothing.
    None,
    /// The gateway gets on.
    Alive,
    /// The samplers stand still; said once.
    Stuck,
}

impl Vigil {
    /// A supervisor gives the process up after `limit_ms` without a life sign.
    #[must_use]
    pub fn new(limit_ms: Option<u64>, has_samplers: bool, now_ms: u64) -> Self {
        Self {
            // Four in each limit: one that is late on a busy machine ends nothing.
            period_ms: limit_ms.map(|limit| (limit / 4).max(1)),
            has_samplers,
            rounds: 0,
            round_at_ms: now_ms,
            turned_at_ms: now_ms,
            due_ms: now_ms,
            is_stuck: false,
        }
    }

    /// To be called at the end of each turn of the pipeline, with how often samplers have gone round.
    pub fn turned(&mut self, now_ms: u64, rounds: u64) -> Sign {
        let was_away = now_ms.saturating_sub(self.turned_at_ms) > PAUSE_MS;
        self.turned_at_ms = now_ms;
        if rounds != self.rounds || !self.has_samplers || was_away {
            self.rounds = rounds;
            self.round_at_ms = now_ms;
            self.is_stuck = false;
        }
        if now_ms.saturating_sub(self.round_at_ms) > STUCK_MS {
            return match std::mem::replace(&mut self.is_stuck, true) {
                true => Sign::None,
                false => Sign::Stuck,
            };
        }
        let Some(period_ms) = self.period_ms else {
            return Sign::None;
        };
        if now_ms < self.due_ms {
            return Sign::None;
        }
        self.due_ms = now_ms.saturating_add(period_ms);
        Sign::Alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_MS: u64 = 40_000;

    /// The moments at which a vigil with turns every second and rounds as given sends a life sign.
    fn signs(limit_ms: Option<u64>, has_samplers: bool, round_until_s: u64) -> Vec<(u64, Sign)> {
        let mut vigil = Vigil::new(limit_ms, has_samplers, 0);
        let turns = (0..200).map(|s| {
            let rounds = s.min(round_until_s);
            (s, vigil.turned(s * 1000, rounds))
        });
        turns.filter(|(_, sign)| *sign != Sign::None).collect()
    }

    #[test]
    fn a_pipeline_that_turns_over_samplers_that_go_round_gives_four_signs_in_each_limit() {
        let alive = signs(Some(LIMIT_MS), true, 1000);
        assert!(alive.iter().all(|(_, sign)| *sign == Sign::Alive));
        let at: Vec<u64> = alive.iter().map(|(s, _)| *s).collect();
        assert_eq!(at, (0..200).step_by(10).collect::<Vec<_>>());
    }

    #[test]
    fn samplers_that_stand_still_end_the_signs_and_are_told_once() {
        let alive = signs(Some(LIMIT_MS), true, 35);
        let (last, before) = alive.split_last().unwrap();
        // The last round was seen at 35 s.
        assert_eq!(*last, (96, Sign::Stuck));
        assert_eq!(before.last(), Some(&(90, Sign::Alive)));
    }

    #[test]
    fn samplers_that_go_on_bring_the_signs_back() {
        let mut vigil = Vigil::new(Some(LIMIT_MS), true, 0);
        let last = (0..=61).map(|s| vigil.turned(s * 1000, 0)).last();
        assert_eq!(last, Some(Sign::Stuck));
        assert_eq!(
            vigil.turned(62_000, 1),
            Sign::None,
            "the next one is due at 70 s"
        );
        let signs = (63..=70)
            .map(|s| vigil.turned(s * 1000, s))
            .collect::<Vec<_>>();
        assert_eq!(signs.iter().filter(|s| **s == Sign::Alive).count(), 1);
    }

    #[test]
    fn a_gateway_without_sensors_is_not_stuck() {
        assert!(
            signs(Some(LIMIT_MS), false, 0)
                .iter()
                .all(|(_, sign)| *sign == Sign::Alive)
        );
    }

    #[test]
    fn behind_a_suspend_samplers_are_not_stuck_before_they_could_move() {
        let mut vigil = Vigil::new(Some(LIMIT_MS), true, 0);
        assert_eq!(vigil.turned(0, 1), Sign::Alive);
        assert_eq!(vigil.turned(3_600_000, 1), Sign::Alive);
        assert_eq!(vigil.turned(3_601_000, 1), Sign::None);
    }

    #[test]
    fn nobody_waiting_gets_no_signs() {
        assert_eq!(signs(None, true, 1000), []);
    }

    #[test]
    fn a_pipeline_that_does_not_turn_gives_no_sign() {
        let mut vigil = Vigil::new(Some(LIMIT_MS), true, 0);
        assert_eq!(vigil.turned(0, 1), Sign::Alive);
        // Nothing between: there is no other caller. The turn behind the hang is one sign again.
        assert_eq!(vigil.turned(10 * LIMIT_MS, 500), Sign::Alive);
    }
}
