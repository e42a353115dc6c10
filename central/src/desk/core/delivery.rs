//! What each route owes, what it tries next, and when.
//!
//! Promises: what is owed is tried until it is delivered or three days old, with the same key each time; one
//! alert's transitions go out in their order, one at a time; a receiver that fails is left alone for a while that
//! grows, and then asked with one; no route waits for another. Never: more than [`QUEUE_MAX`] of a route in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Core, Now, Shelf};
use crate::backoff::Backoff;
use crate::desk::item::AlertItem;
use crate::desk::store::{Change, Owed, StoreError};

/// What a route holds in memory; the rest waits in the desk's file.
const QUEUE_MAX: usize = 1_024;
/// Attempts of one route at the same time.
pub(crate) const IN_FLIGHT_MAX: usize = 4;
const RETRY_MS_MIN: u64 = 500;
const RETRY_MS_MAX: u64 = 60_000;
/// A notification that a receiver refuses again and again is given up when it is so old.
const GIVE_UP_MS: i64 = 3 * 86_400_000;
/// The longest wait of one notification that is refused.
const REFUSED_MS_MAX: i64 = 3_600_000;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// The receiver cannot be used: nobody answers, it is overloaded, it fails. It may have said until when.
    Down {
        why: String,
        retry_ms: Option<u64>,
    },
    /// It answers, and does not take this one.
    Refused {
        why: String,
    },
}

/// Something to do for a route.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attempt {
    Tell(Owed),
    /// What is open, for receivers that forget what is not said again.
    Remind {
        items: Vec<AlertItem>,
    },
}

impl Attempt {
    /// What its end is reported by; 0 for a reminder.
    pub(crate) fn id(&self) -> i64 {
        match self {
            Self::Tell(owed) => owed.id,
            Self::Remind { .. } => 0,
        }
    }
}

#[derive(Debug)]
struct Entry {
    owed: Owed,
    from_mono: i64,
    is_in_flight: bool,
}

#[derive(Debug)]
struct Queue {
    entries: BTreeMap<i64, Entry>,
    /// The file has more behind this id.
    more_behind: Option<i64>,
    in_flight: usize,
    failures: u32,
    from_mono: i64,
    backoff: Backoff,
    /// When what is open is said again.
    remind_mono: Option<i64>,
    is_reminding: bool,
}

/// All routes.
#[derive(Debug)]
pub(super) struct Delivery {
    queues: Vec<Queue>,
    /// Nothing is due before, as far as it was looked.
    idle_until: i64,
}

/// What is open is said again so often.
const REMIND_MS: i64 = 60_000;

impl Delivery {
    /// Routes that owe nothing yet; `reminds` says of which receivers forget.
    pub(super) fn new(now: Now, reminds: &[bool], seed: u64) -> Self {
        let queue = |(index, reminds): (u64, &bool)| Queue {
            entries: BTreeMap::new(),
            more_behind: Some(0),
            in_flight: 0,
            failures: 0,
            from_mono: now.mono_ms,
            backoff: Backoff::new(RETRY_MS_MIN, RETRY_MS_MAX, seed.wrapping_add(index * 7919)),
            remind_mono: reminds.then_some(now.mono_ms),
            is_reminding: false,
        };
        Self {
            queues: (0..).zip(reminds).map(queue).collect(),
            idle_until: now.mono_ms,
        }
    }

    pub(super) fn add(&mut self, now: Now, route: usize, owed: Owed) {
        if let Some(queue) = self.queues.get_mut(route) {
            match queue.more_behind {
                None if queue.entries.len() < QUEUE_MAX => queue.insert(now, owed),
                None => queue.more_behind = Some(owed.id - 1),
                // It comes with the others from the file.
                Some(_) => {}
            }
            self.idle_until = now.mono_ms;
        }
    }

    pub(super) fn deadline(&self) -> i64 {
        self.idle_until
    }
}

impl Queue {
    fn insert(&mut self, now: Now, owed: Owed) {
        let held_ms = owed
            .not_before_ms
            .map_or(0, |at| at.saturating_sub(now.utc_ms).max(0));
        let entry = Entry {
            from_mono: now.mono_ms + held_ms,
            is_in_flight: false,
            owed,
        };
        self.entries.insert(entry.owed.id, entry);
    }

    /// One that may go now, or when the next one may.
    fn next(&self, now: Now) -> Result<i64, i64> {
        let limit = match self.failures {
            0 => IN_FLIGHT_MAX,
            // One asks whether the receiver is back.
            _ => 1,
        };
        if self.in_flight >= limit {
            return Err(i64::MAX);
        }
        if self.from_mono > now.mono_ms {
            return Err(self.from_mono);
        }
        let mut busy = BTreeSet::new();
        let mut soonest = i64::MAX;
        for (id, entry) in &self.entries {
            let is_first = busy.insert(entry.owed.alert_id.as_str());
            if !is_first || entry.is_in_flight {
                continue;
            }
            if entry.from_mono <= now.mono_ms {
                return Ok(*id);
            }
            soonest = soonest.min(entry.from_mono);
        }
        Err(soonest)
    }
}

impl Core {
    /// The next attempt of any route; `None` when nothing is due.
    pub(in crate::desk) fn attempt(
        &mut self,
        now: Now,
        shelf: &dyn Shelf,
    ) -> Result<Option<(usize, Attempt)>, StoreError> {
        if self.delivery.idle_until > now.mono_ms {
            return Ok(None);
        }
        let mut idle_until = i64::MAX;
        for index in 0..self.delivery.queues.len() {
            self.refill(now, index, shelf)?;
            while let Some(queue) = self.delivery.queues.get_mut(index) {
                match queue.next(now) {
                    Ok(id) => {
                        let Some(entry) = queue.entries.get_mut(&id) else {
                            break;
                        };
                        let owed = entry.owed.clone();
                        if owed.not_before_ms.is_some() && owed.attempts == 0 {
                            let route = owed.route.clone();
                            if !self.still_matters(&route, &owed) {
                                self.done(now, index, id, owed.attempts, "over before its time");
                                continue;
                            }
                        }
                        if let Some(queue) = self.delivery.queues.get_mut(index)
                            && let Some(entry) = queue.entries.get_mut(&id)
                        {
                            entry.is_in_flight = true;
                            queue.in_flight += 1;
                        }
                        return Ok(Some((index, Attempt::Tell(owed))));
                    }
                    Err(soonest) => {
                        idle_until = idle_until.min(soonest);
                        break;
                    }
                }
            }
            if let Some(attempt) = self.remind(now, index) {
                return Ok(Some((index, attempt)));
            }
            if let Some(at) = self.delivery.queues.get(index).and_then(|q| q.remind_mono) {
                idle_until = idle_until.min(at);
            }
        }
        self.delivery.idle_until = idle_until;
        Ok(None)
    }

    fn refill(&mut self, now: Now, index: usize, shelf: &dyn Shelf) -> Result<(), StoreError> {
        let Some(queue) = self.delivery.queues.get_mut(index) else {
            return Ok(());
        };
        let Some(behind) = queue.more_behind else {
            return Ok(());
        };
        if queue.entries.len() > QUEUE_MAX / 2 {
            return Ok(());
        }
        let Some(route) = self.config.routes.get(index) else {
            return Ok(());
        };
        let room = QUEUE_MAX - queue.entries.len();
        let found = shelf.owed(&route.name, behind, room)?;
        queue.more_behind = match found.len() < room {
            // What is owed from here on and not yet in the file comes by `add`.
            true => None,
            false => found.last().map(|owed| owed.id),
        };
        for owed in found {
            queue.insert(now, owed);
        }
        Ok(())
    }

    /// Says again what is open, to receivers that forget.
    fn remind(&mut self, now: Now, index: usize) -> Option<Attempt> {
        let queue = self.delivery.queues.get_mut(index)?;
        let is_due = queue.remind_mono.is_some_and(|at| at <= now.mono_ms);
        if !is_due {
            return None;
        }
        queue.remind_mono = Some(now.mono_ms + REMIND_MS);
        if queue.is_reminding || queue.failures > 0 {
            return None;
        }
        let name = &self.config.routes.get(index)?.name;
        let items: Vec<AlertItem> = self
            .live
            .values()
            .map(|live| &live.item)
            .filter(|item| item.is_open() && item.told.contains(name))
            .cloned()
            .collect();
        if items.is_empty() {
            return None;
        }
        queue.is_reminding = true;
        Some(Attempt::Remind { items })
    }

    /// Takes how an attempt ended.
    pub(in crate::desk) fn attempted(&mut self, now: Now, index: usize, id: i64, outcome: Outcome) {
        self.delivery.idle_until = now.mono_ms;
        let Some(queue) = self.delivery.queues.get_mut(index) else {
            return;
        };
        if id == 0 {
            queue.is_reminding = false;
            return;
        }
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let Some(entry) = queue.entries.get_mut(&id) else {
            return;
        };
        entry.is_in_flight = false;
        entry.owed.attempts = entry.owed.attempts.saturating_add(1);
        let attempts = entry.owed.attempts;
        let age_ms = now.utc_ms.saturating_sub(entry.owed.created_ms);
        let (why, wait_ms) = match outcome {
            Outcome::Delivered => {
                queue.failures = 0;
                queue.backoff.reset();
                self.done(now, index, id, attempts, "delivered");
                return;
            }
            Outcome::Refused { why } if age_ms >= GIVE_UP_MS => {
                tracing::error!(
                    route = entry.owed.route,
                    key = entry.owed.key,
                    why,
                    "given up"
                );
                self.done(now, index, id, attempts, &format!("given up: {why}"));
                return;
            }
            Outcome::Refused { why } => {
                // It answers: others may go.
                queue.failures = 0;
                let doubled = 1_000_i64 << attempts.min(12);
                let wait_ms = doubled.min(REFUSED_MS_MAX);
                entry.from_mono = now.mono_ms + wait_ms;
                (why, wait_ms)
            }
            Outcome::Down { why, retry_ms } => {
                queue.failures = queue.failures.saturating_add(1);
                let wait_ms = queue.backoff.next_ms().max(retry_ms.unwrap_or(0));
                let wait_ms = i64::try_from(wait_ms)
                    .unwrap_or(i64::MAX)
                    .min(REFUSED_MS_MAX);
                queue.from_mono = queue.from_mono.max(now.mono_ms + wait_ms);
                (why, wait_ms)
            }
        };
        tracing::warn!(
            route = entry.owed.route,
            key = entry.owed.key,
            attempts,
            wait_ms,
            why,
            "not told yet"
        );
        self.changes.push(Change::Attempted {
            id,
            attempts,
            next_ms: now.utc_ms + wait_ms,
            outcome: why,
        });
    }

    fn done(&mut self, now: Now, index: usize, id: i64, attempts: u32, outcome: &str) {
        if let Some(queue) = self.delivery.queues.get_mut(index) {
            queue.entries.remove(&id);
        }
        self.changes.push(Change::Done {
            id,
            at_ms: now.utc_ms,
            attempts,
            outcome: outcome.to_owned(),
        });
    }
}
