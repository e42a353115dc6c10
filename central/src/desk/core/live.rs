//! Items that may still change by the passing of time, and when they come due.
//!
//! Promises: the timers follow what is remembered; an item that is over and waits for nothing is forgotten.
//! Never: a word to anybody.

use super::{Core, Now};
use crate::desk::item::AlertItem;

/// An item that may still change by the passing of time.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) item: AlertItem,
    /// It is late: its end is waited for before anybody is told.
    pub(super) hold_until: Option<i64>,
    pub(super) unmute_at: Option<i64>,
    pub(super) escalate_at: Option<i64>,
    pub(super) over_at: Option<i64>,
}

impl Live {
    pub(super) fn quiet(item: AlertItem) -> Self {
        Self {
            item,
            hold_until: None,
            unmute_at: None,
            escalate_at: None,
            over_at: None,
        }
    }

    /// Somebody looks after it.
    pub(super) fn calm(&mut self) {
        self.escalate_at = None;
    }

    /// It is over at this moment unless it is said again.
    pub(super) fn ends_at(&mut self, mono_ms: i64) {
        self.over_at = Some(mono_ms);
    }

    pub(super) fn due(&self) -> Option<i64> {
        [
            self.hold_until,
            self.unmute_at,
            self.escalate_at,
            self.over_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Core {
    /// An item is as it is from here on: remembered while it can change by itself.
    pub(super) fn keep(&mut self, now: Now, live: Live) {
        self.changed(now, &live.item);
        let id = live.item.id.clone();
        let device = live.item.device.clone();
        let open = self.open_by_device.entry(device.clone()).or_default();
        match live.item.is_open() {
            true => open.insert(id.clone()),
            false => open.remove(&id),
        };
        if open.is_empty() {
            self.open_by_device.remove(&device);
        }
        self.put(live);
    }

    /// The timers follow what is remembered.
    pub(super) fn put(&mut self, live: Live) {
        let id = live.item.id.clone();
        if let Some(due) = self.live.get(&id).and_then(Live::due) {
            self.timers.remove(&(due, id.clone()));
        }
        let due = live.due();
        if let Some(due) = due {
            self.timers.insert((due, id.clone()));
        }
        match live.item.is_open() || due.is_some() {
            true => drop(self.live.insert(id, live)),
            false => drop(self.live.remove(&id)),
        }
    }

    pub(super) fn is_open(&self, id: &str) -> bool {
        self.live.get(id).is_some_and(|live| live.item.is_open())
    }

    /// An alert that is over at this moment unless it happens again.
    pub(super) fn lasts_until(&mut self, id: &str, mono_ms: i64) {
        if let Some(mut live) = self.live.get(id).cloned() {
            live.ends_at(mono_ms);
            self.put(live);
        }
    }

    pub(super) fn open_of<'a>(&'a self, device: &str) -> impl Iterator<Item = &'a AlertItem> {
        let ids = self.open_by_device.get(device).into_iter().flatten();
        ids.filter_map(|id| self.live.get(id))
            .map(|live| &live.item)
    }
}
