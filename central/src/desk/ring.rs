//! The latest events and the state of every vehicle, in memory, for many readers.
//!
//! Promises: what is here is committed; a reader never waits longer than another takes to copy. Never: the truth.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::event::Event;
use super::vehicle::VehicleState;

/// So many events are held: twenty seconds of the worst flood that is planned for.
const EVENTS_MAX: usize = 4_096;

/// What everybody may look at.
#[derive(Debug)]
pub(super) struct Shared {
    events: RwLock<VecDeque<Arc<Event>>>,
    vehicles: RwLock<BTreeMap<String, Arc<VehicleState>>>,
    last_event: watch::Sender<i64>,
}

impl Shared {
    /// Nothing yet, behind this event.
    pub(super) fn new(last_event: i64) -> Self {
        Self {
            events: RwLock::default(),
            vehicles: RwLock::default(),
            last_event: watch::Sender::new(last_event),
        }
    }

    pub(super) fn wakeups(&self) -> watch::Receiver<i64> {
        self.last_event.subscribe()
    }

    pub(super) fn last_event(&self) -> i64 {
        *self.last_event.borrow()
    }

    /// Events that are committed; whoever waits is woken.
    pub(super) fn publish(&self, fresh: Vec<Event>) {
        let Some(last) = fresh.last().map(|event| event.id) else {
            return;
        };
        {
            let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
            events.extend(fresh.into_iter().map(Arc::new));
            let surplus = events.len().saturating_sub(EVENTS_MAX);
            events.drain(..surplus);
        }
        self.last_event.send_replace(last);
    }

    /// The events behind an id, at most `limit`; `None` when they are no longer all here.
    pub(super) fn behind(&self, id: i64, limit: usize) -> Option<Vec<Arc<Event>>> {
        if id >= self.last_event() {
            return Some(Vec::new());
        }
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let first = events.front()?.id;
        if id + 1 < first {
            return None;
        }
        let from = events.partition_point(|event| event.id <= id);
        Some(events.iter().skip(from).take(limit).cloned().collect())
    }

    pub(super) fn set_vehicles(&self, states: Vec<VehicleState>) {
        if states.is_empty() {
            return;
        }
        let mut vehicles = self
            .vehicles
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for state in states {
            vehicles.insert(state.device.clone(), Arc::new(state));
        }
    }

    pub(super) fn vehicles(&self) -> Vec<Arc<VehicleState>> {
        let vehicles = self.vehicles.read().unwrap_or_else(PoisonError::into_inner);
        vehicles.values().cloned().collect()
    }

    pub(super) fn vehicle(&self, device: &str) -> Option<Arc<VehicleState>> {
        let vehicles = self.vehicles.read().unwrap_or_else(PoisonError::into_inner);
        vehicles.get(device).cloned()
    }
}
