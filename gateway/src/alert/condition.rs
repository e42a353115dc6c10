//! Raise, escalate, clear, close: the life of one condition.
//!
//! ```text
//!         On                on_delay over
//!  Idle ------> Pending ------------------> Raised --(worse, or escalate_after)--> Raised, escalated
//!    ^            | Hold, Off                |   ^
//!    +------------+              Off for     |   | On for on_delay, and the hour since the raise is over
//!    |                           off_delay   v   |  (at once when it is worse than before)
//!    +--- not On, quiet long enough ------- Quiet
//! ```
//! Promises: with a delay of 0 it is raised by the first step that is `On`; `Hold` neither begins nor clears
//! anything; it is raised at most once in [`RERAISE_MS_MIN`] unless it is worse, so that a flapping condition
//! cannot flood the driver; one that lasts is raised when that time is over; it is closed only when a new
//! raise would be allowed. Never: a clock.

use serde::{Deserialize, Serialize};

/// The shortest time between two raises: an hour.
pub const RERAISE_MS_MIN: u64 = 3_600_000;
/// What is gone for so long is closed.
pub const CLOSE_AFTER_MS: u64 = 600_000;

/// What is seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The condition holds.
    On,
    /// It holds, and is worse than when it was last told.
    Worse,
    /// It does not hold, but it is not over either; or nothing can be said.
    Hold,
    /// It does not hold.
    Off,
}

/// How patient a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How long it must hold before it is raised, ms.
    pub on_delay_ms: u64,
    /// How long it must be gone before it is cleared, ms.
    pub off_delay_ms: u64,
    /// How long it may stay raised before it is escalated, ms.
    pub escalate_after_ms: Option<u64>,
}

/// A transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It began, or is back.
    Raised,
    /// It lasts, or is worse.
    Escalated,
    /// It is gone.
    Cleared,
    /// It is done with.
    Closed,
}

/// Times are signed: those of an earlier process may lie before this one's zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Phase {
    #[default]
    Idle,
    Pending {
        since_ms: i64,
    },
    Raised {
        since_ms: i64,
        gone_since_ms: Option<i64>,
        escalated: bool,
    },
    Quiet {
        raised_ms: i64,
        cleared_ms: i64,
        back_since_ms: Option<i64>,
    },
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Condition {
    phase: Phase,
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A time after another one.
fn after(from_ms: i64, wait_ms: u64) -> i64 {
    from_ms.saturating_add(signed(wait_ms))
}

impl Condition {
    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Raised { .. })
    }

    /// Whether it is raised, or told as gone and not yet closed.
    #[must_use]
    pub fn is_told(&self) -> bool {
        matches!(self.phase, Phase::Raised { .. } | Phase::Quiet { .. })
    }

    /// For how long it is raised, ms.
    #[must_use]
    pub fn raised_for_ms(&self, now_ms: u64) -> Option<u64> {
        match self.phase {
            Phase::Raised { since_ms, .. } => {
                let for_ms = signed(now_ms).saturating_sub(since_ms);
                Some(u64::try_from(for_ms).unwrap_or(0))
            }
            _ => None,
        }
    }

    /// Takes what is seen at `now_ms`.
    pub fn step(&mut self, now_ms: u64, level: Level, rule: &Rule) -> Option<Change> {
        let now_ms = signed(now_ms);
        let holds = matches!(level, Level::On | Level::Worse);
        match self.phase {
            Phase::Idle if holds => self.pend(now_ms, now_ms, rule),
            Phase::Idle => None,
            Phase::Pending { since_ms } if holds => self.pend(now_ms, since_ms, rule),
            Phase::Pending { .. } => {
                self.phase = Phase::Idle;
                None
            }
            Phase::Raised {
                since_ms,
                gone_since_ms,
                escalated,
            } => {
                let gone_since_ms = match level {
                    Level::Off => Some(gone_since_ms.unwrap_or(now_ms)),
                    _ => None,
                };
                self.stay(now_ms, since_ms, gone_since_ms, escalated, level, rule)
            }
            Phase::Quiet {
                raised_ms,
                cleared_ms,
                back_since_ms,
            } => {
                let back_since_ms = holds.then(|| back_since_ms.unwrap_or(now_ms));
                self.be_quiet(now_ms, [raised_ms, cleared_ms], back_since_ms, level, rule)
            }
        }
    }

    fn raise(&mut self, now_ms: i64) -> Option<Change> {
        self.phase = Phase::Raised {
            since_ms: now_ms,
            gone_since_ms: None,
            escalated: false,
        };
        Some(Change::Raised)
    }

    fn pend(&mut self, now_ms: i64, since_ms: i64, rule: &Rule) -> Option<Change> {
        if now_ms < after(since_ms, rule.on_delay_ms) {
            self.phase = Phase::Pending { since_ms };
            return None;
        }
        self.raise(now_ms)
    }

    fn stay(
        &mut self,
        now_ms: i64,
        since_ms: i64,
        gone_since_ms: Option<i64>,
        escalated: bool,
        level: Level,
        rule: &Rule,
    ) -> Option<Change> {
        if gone_since_ms.is_some_and(|gone_ms| now_ms >= after(gone_ms, rule.off_delay_ms)) {
            self.phase = Phase::Quiet {
                raised_ms: since_ms,
                cleared_ms: now_ms,
                back_since_ms: None,
            };
            return Some(Change::Cleared);
        }
        let is_late = !escalated
            && gone_since_ms.is_none()
            && rule
                .escalate_after_ms
                .is_some_and(|wait_ms| now_ms >= after(since_ms, wait_ms));
        self.phase = Phase::Raised {
            since_ms,
            gone_since_ms,
            escalated: escalated || is_late,
        };
        (is_late || level == Level::Worse).then_some(Change::Escalated)
    }

    fn be_quiet(
        &mut self,
        now_ms: i64,
        [raised_ms, cleared_ms]: [i64; 2],
        back_since_ms: Option<i64>,
        level: Level,
        rule: &Rule,
    ) -> Option<Change> {
        let allowed_ms = after(raised_ms, RERAISE_MS_MIN);
        let Some(back_ms) = back_since_ms else {
            if now_ms >= allowed_ms.max(after(cleared_ms, CLOSE_AFTER_MS)) {
                self.phase = Phase::Idle;
                return Some(Change::Closed);
            }
            self.phase = Phase::Quiet {
                raised_ms,
                cleared_ms,
                back_since_ms,
            };
            return None;
        };
        let is_allowed = level == Level::Worse || now_ms >= allowed_ms;
        if is_allowed && now_ms >= after(back_ms, rule.on_delay_ms) {
            return self.raise(now_ms);
        }
        // Whoever came back in between has to be quiet anew.
        self.phase = Phase::Quiet {
            raised_ms,
            cleared_ms: now_ms,
            back_since_ms,
        };
        None
    }

    /// When the next step with an unchanged level will make a transition.
    #[must_use]
    pub fn deadline_ms(&self, rule: &Rule) -> Option<u64> {
        let at_ms = match self.phase {
            Phase::Idle => None,
            Phase::Pending { since_ms } => Some(after(since_ms, rule.on_delay_ms)),
            Phase::Raised {
                gone_since_ms: Some(gone_ms),
                ..
            } => Some(after(gone_ms, rule.off_delay_ms)),
            Phase::Raised {
                escalated: true, ..
            } => None,
            Phase::Raised { since_ms, .. } => rule
                .escalate_after_ms
                .map(|wait_ms| after(since_ms, wait_ms)),
            Phase::Quiet {
                raised_ms,
                cleared_ms,
                back_since_ms,
            } => {
                let allowed_ms = after(raised_ms, RERAISE_MS_MIN);
                Some(allowed_ms.max(match back_since_ms {
                    Some(back_ms) => after(back_ms, rule.on_delay_ms),
                    None => after(cleared_ms, CLOSE_AFTER_MS),
                }))
            }
        };
        at_ms.map(|at_ms| u64::try_from(at_ms).unwrap_or(0))
    }

    /// The same in a process whose stamps are later by so much, or earlier.
    #[must_use]
    pub fn moved(mut self, by_ms: i64) -> Self {
        let to = |at_ms: i64| at_ms.saturating_add(by_ms);
        self.phase = match self.phase {
            Phase::Idle => Phase::Idle,
            Phase::Pending { since_ms } => Phase::Pending {
                since_ms: to(since_ms),
            },
            Phase::Raised {
                since_ms,
                gone_since_ms,
                escalated,
            } => Phase::Raised {
                since_ms: to(since_ms),
                gone_since_ms: gone_since_ms.map(to),
                escalated,
            },
            Phase::Quiet {
                raised_ms,
                cleared_ms,
                back_since_ms,
            } => Phase::Quiet {
                raised_ms: to(raised_ms),
                cleared_ms: to(cleared_ms),
                back_since_ms: back_since_ms.map(to),
            },
        };
        self
    }
}
