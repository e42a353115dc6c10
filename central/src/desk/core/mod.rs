//! The desk's judgement: what an alert, a vehicle, a person and the passing of time mean.
//!
//! Promises: the same inputs at the same times give the same changes; an alert is one item, however often it
//! comes; what is told is told under a key that is the same after a restart. Never: a clock, a socket, a file;
//! an alarm about vehicles while the centre itself is behind.
//!
//! `handle` for each input and `poll` when `deadline` has come; `take` gives the changes, which are to be
//! committed before anybody hears of them.

mod alerts;
mod condition;
mod delivery;
mod flood;
mod followed;
mod heard;
mod live;
mod orders;
mod own;
mod routing;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::alert::Alert;

use super::event::{Event, EventKind};
use super::groups::Groups;
use super::item::AlertItem;
use super::store::{Change, Owed, StoreError};
use super::vehicle::VehicleState;
use crate::config::{Desk as DeskConfig, Route, Target};
use delivery::Delivery;
pub(super) use delivery::{Attempt, IN_FLIGHT_MAX, Outcome};
use flood::Flood;
pub(super) use heard::{Heard, Pulse, What};
pub(crate) use heard::{Known, SensorKnown};
use live::Live;
pub(crate) use orders::{Command, OrderError};
pub(crate) use routing::Notification;
use watch::Watch;

/// The time, twice: monotonic for behaviour, UTC for stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) mono_ms: i64,
    pub(super) utc_ms: i64,
}

/// An alert that the main database has committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fed {
    /// Its place in the order of commits.
    pub(crate) n: i64,
    pub(crate) alert: Alert,
    /// UTC of the transition, as far as anybody knows.
    pub(crate) utc_ms: Option<i64>,
    pub(crate) received_ms: i64,
}

/// Where items are that the core does not remember.
pub(super) trait Shelf {
    fn item(&self, id: &str) -> Result<Option<AlertItem>, StoreError>;
    /// What a route owes behind an id, at most `limit`.
    fn owed(&self, route: &str, behind: i64, limit: usize) -> Result<Vec<Owed>, StoreError>;
}

impl Shelf for super::store::Store {
    fn item(&self, id: &str) -> Result<Option<AlertItem>, StoreError> {
        super::store::Store::item(self, id)
    }

    fn owed(&self, route: &str, behind: i64, limit: usize) -> Result<Vec<Owed>, StoreError> {
        super::store::Store::owed(self, route, behind, limit)
    }
}

/// What the core needs to know about its surroundings.
#[derive(Debug, Clone)]
pub(super) struct CoreConfig {
    pub(super) desk: DeskConfig,
    pub(super) groups: Groups,
    pub(super) routes: Vec<Route>,
    /// Names the feed whose cursor is kept.
    pub(super) feed: String,
    /// Spreads retries.
    pub(super) seed: u64,
    pub(super) next_event: i64,
    pub(super) next_owed: i64,
}

/// The core.
#[derive(Debug)]
pub(super) struct Core {
    config: CoreConfig,
    live: BTreeMap<String, Live>,
    /// When a live item comes due.
    timers: BTreeSet<(i64, String)>,
    open_by_device: BTreeMap<String, BTreeSet<String>>,
    flood: Flood,
    watch: Watch,
    delivery: Delivery,
    changes: Vec<Change>,
    expire_at: i64,
}

/// Old things are looked for so often.
const EXPIRE_EVERY_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

impl Core {
    /// A core that remembers these items: the open ones, and those of the last while.
    pub(super) fn new(config: CoreConfig, now: Now, items: Vec<AlertItem>) -> Self {
        // Alertmanager forgets what is not said again.
        let reminds: Vec<bool> = config
            .routes
            .iter()
            .map(|route| matches!(route.target, Target::Alertmanager(_)))
            .collect();
        let mut core = Self {
            delivery: Delivery::new(now, &reminds, config.seed),
            flood: Flood::new(&config.desk),
            watch: Watch::new(now),
            config,
            live: BTreeMap::new(),
            timers: BTreeSet::new(),
            open_by_device: BTreeMap::new(),
            changes: Vec::new(),
            expire_at: now.mono_ms,
        };
        core.remember(now, items);
        core
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When the shelf cannot be read; what is due stays due.
    pub(super) fn poll(&mut self, now: Now, shelf: &dyn Shelf) -> Result<(), StoreError> {
        self.tick_watch(now, shelf)?;
        self.tick_alerts(now, shelf)?;
        if now.mono_ms >= self.expire_at {
            self.expire_at = now.mono_ms + EXPIRE_EVERY_MS;
            let age_ms = i64::from(self.config.desk.retention_days) * DAY_MS;
            self.changes.push(Change::Expire {
                before_ms: now.utc_ms.saturating_sub(age_ms),
            });
        }
        Ok(())
    }

    /// When `poll` will have something to do.
    pub(super) fn deadline(&self) -> i64 {
        self.alerts_deadline()
            .into_iter()
            .chain(self.watch_deadline())
            .chain([self.delivery.deadline()])
            .fold(self.expire_at, i64::min)
    }

    /// What is to be committed, in its order.
    pub(super) fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Vehicles that changed since the last call, as they are.
    pub(super) fn take_vehicles(&mut self) -> Vec<VehicleState> {
        let changed = self.watch.take_changed();
        changed
            .iter()
            .filter_map(|device| self.vehicle(device))
            .collect()
    }

    fn vehicle(&self, device: &str) -> Option<VehicleState> {
        let mut state = self.watch.state(device, self.config.groups.of(device))?;
        for id in self.open_by_device.get(device).into_iter().flatten() {
            state.open_alerts += 1;
            let severity = self.live.get(id).map(|live| live.item.severity);
            state.worst_open = state.worst_open.max(severity);
        }
        Some(state)
    }

    /// Alerts up to here are taken.
    pub(super) fn advance(&mut self, n: i64) {
        self.changes.push(Change::Cursor {
            feed: self.config.feed.clone(),
            n,
        });
    }

    /// A command of another process is done.
    pub(super) fn answered(&mut self, command: i64, result: String) {
        self.changes.push(Change::Answered { command, result });
    }

    fn event(
        &mut self,
        now: Now,
        kind: EventKind,
        alert_id: Option<&str>,
        device: &str,
        body: String,
    ) {
        let id = self.config.next_event;
        self.config.next_event += 1;
        self.changes.push(Change::Event(Event {
            id,
            at_ms: now.utc_ms,
            kind,
            alert_id: alert_id.map(str::to_owned),
            device: (!device.is_empty()).then(|| device.to_owned()),
            body,
        }));
    }

    /// An item changed: it is kept, and whoever looks at the desk hears of it.
    fn changed(&mut self, now: Now, item: &AlertItem) {
        self.changes.push(Change::Item(Box::new(item.clone())));
        let body = serde_json::to_string(item).unwrap_or_default();
        self.event(now, EventKind::Alert, Some(&item.id), &item.device, body);
        self.watch.touch(&item.device);
    }
}
