//! Raise, escalate, clear: the life of one condition.
//!
//! ```text
//!         On                on_delay over, may raise
//!  Idle ------> Pending ------------------------------> Raised --(escalate_after)--> Raised, escalated
//!    ^            | Hold, Off                              | Off for off_delay
//!    +------------+<---------------------------------------+
//! ```
//! Promises: with a delay of 0 it is raised by the first step that is `On`; `Hold` neither begins nor ends
//! anything; after its first raise it comes back at most once in [`RERAISE_MS_MIN`], so that a flapping
//! condition cannot flood the driver; one that lasts is raised when that time is over. Never: a clock.

/// The shortest time between two re-raises: an hour.
pub const RERAISE_MS_MIN: u64 = 3_600_000;

/// What is seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The condition holds.
    On,
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
    /// It began.
    Raised,
    /// It lasts.
    Escalated,
    /// It is gone.
    Cleared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Pending {
        since_ms: u64,
    },
    Raised {
        since_ms: u64,
        gone_since_ms: Option<u64>,
        escalated: bool,
    },
}

/// One condition.
#[derive(Debug, Clone)]
pub struct Condition {
    phase: Phase,
    raised_before: bool,
    reraised_ms: Option<u64>,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            raised_before: false,
            reraised_ms: None,
        }
    }
}

impl Condition {
    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Raised { .. })
    }

    /// Takes what is seen at `now_ms`.
    pub fn step(&mut self, now_ms: u64, level: Level, rule: &Rule) -> Option<Change> {
        match self.phase {
            Phase::Idle if level == Level::On => self.pend(now_ms, now_ms, rule),
            Phase::Idle => None,
            Phase::Pending { since_ms } if level == Level::On => self.pend(now_ms, since_ms, rule),
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
                    Level::On | Level::Hold => None,
                };
                self.stay(now_ms, since_ms, gone_since_ms, escalated, rule)
            }
        }
    }

    fn pend(&mut self, now_ms: u64, since_ms: u64, rule: &Rule) -> Option<Change> {
        if now_ms
            < since_ms
                .saturating_add(rule.on_delay_ms)
                .max(self.allowed_ms())
        {
            self.phase = Phase::Pending { since_ms };
            return None;
        }
        if self.raised_before {
            self.reraised_ms = Some(now_ms);
        }
        self.raised_before = true;
        self.phase = Phase::Raised {
            since_ms: now_ms,
            gone_since_ms: None,
            escalated: false,
        };
        Some(Change::Raised)
    }

    /// The earliest moment at which it may be raised.
    fn allowed_ms(&self) -> u64 {
        self.reraised_ms
            .map_or(0, |at_ms| at_ms.saturating_add(RERAISE_MS_MIN))
    }

    fn stay(
        &mut self,
        now_ms: u64,
        since_ms: u64,
        gone_since_ms: Option<u64>,
        escalated: bool,
        rule: &Rule,
    ) -> Option<Change> {
        let over = |from_ms: u64, wait_ms: u64| now_ms >= from_ms.saturating_add(wait_ms);
        if gone_since_ms.is_some_and(|gone_ms| over(gone_ms, rule.off_delay_ms)) {
            self.phase = Phase::Idle;
            return Some(Change::Cleared);
        }
        let worse = !escalated
            && gone_since_ms.is_none()
            && rule
                .escalate_after_ms
                .is_some_and(|wait_ms| over(since_ms, wait_ms));
        self.phase = Phase::Raised {
            since_ms,
            gone_since_ms,
            escalated: escalated || worse,
        };
        worse.then_some(Change::Escalated)
    }

    /// When the next step with an unchanged level will make a transition.
    #[must_use]
    pub fn deadline_ms(&self, rule: &Rule) -> Option<u64> {
        match self.phase {
            Phase::Idle => None,
            Phase::Pending { since_ms } => Some(
                since_ms
                    .saturating_add(rule.on_delay_ms)
                    .max(self.allowed_ms()),
            ),
            Phase::Raised {
                gone_since_ms: Some(gone_ms),
                ..
            } => Some(gone_ms.saturating_add(rule.off_delay_ms)),
            Phase::Raised {
                escalated: true, ..
            } => None,
            Phase::Raised { since_ms, .. } => rule
                .escalate_after_ms
                .map(|wait_ms| since_ms.saturating_add(wait_ms)),
        }
    }
}
