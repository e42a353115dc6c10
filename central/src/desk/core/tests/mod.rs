//! The core over a real file of the desk, with time as a number and receivers as functions.

mod alerts;
mod delivery;
mod property;
mod vehicles;

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::DeviceId;

use super::*;
use crate::config::{Desk as DeskConfig, Group, Route, Select, Target};
use crate::desk::store::Store;
use crate::ingest::Link;
use crate::testing::epoch;

pub(super) const START_MS: i64 = 1_700_000_000_000;
pub(super) const S: i64 = 1_000;
pub(super) const MIN: i64 = 60 * S;

/// What a receiver says to an attempt at a moment (ms since the start).
pub(super) type Receiver = Box<dyn FnMut(i64, &Owed) -> Option<Outcome>>;

/// A desk whose time is a number.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) store: Store,
    _folder: tempfile::TempDir,
    pub(super) config: CoreConfig,
    /// Since the start.
    pub(super) at_ms: i64,
    n: i64,
    receivers: Vec<Receiver>,
    /// Attempts that hang: route and id, and when their time is over.
    hanging: Vec<(i64, usize, i64)>,
    /// What each receiver took: key by key, with the moment.
    pub(super) taken: BTreeMap<String, Vec<(i64, String)>>,
    pub(super) events: Vec<Event>,
}

pub(super) fn route(name: &str, select: Select) -> Route {
    Route {
        name: name.to_owned(),
        select,
        target: Target::Mqtt,
        timeout_ms: 10_000,
    }
}

pub(super) fn all() -> Select {
    Select {
        transitions: ["raised", "escalated", "cleared", "closed"]
            .map(str::to_owned)
            .to_vec(),
        ..Select::default()
    }
}

pub(super) fn takes() -> Receiver {
    Box::new(|_, _| Some(Outcome::Delivered))
}

pub(super) fn down() -> Outcome {
    Outcome::Down {
        why: "nobody answers".to_owned(),
        retry_ms: None,
    }
}

impl World {
    pub(super) fn new(routes: Vec<Route>, receivers: Vec<Receiver>) -> Self {
        Self::with(routes, receivers, Vec::new(), |_| ())
    }

    pub(super) fn with(
        routes: Vec<Route>,
        receivers: Vec<Receiver>,
        groups: Vec<Group>,
        change: impl FnOnce(&mut DeskConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.sqlite");
        let mut desk = DeskConfig::with_path(path.clone());
        change(&mut desk);
        let store = Store::open(&path).unwrap();
        let config = CoreConfig {
            desk,
            groups: Groups::new(&groups),
            routes,
            feed: "all".to_owned(),
            seed: 7,
            next_event: 1,
            next_owed: 1,
        };
        let now = Now {
            mono_ms: 0,
            utc_ms: START_MS,
        };
        Self {
            core: Core::new(config.clone(), now, Vec::new()),
            store,
            _folder: folder,
            config,
            at_ms: 0,
            n: 0,
            receivers,
            hanging: Vec::new(),
            taken: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            mono_ms: self.at_ms,
            utc_ms: START_MS + self.at_ms,
        }
    }

    /// The process dies here and another one begins: what was in flight has no end.
    pub(super) fn crash(&mut self) {
        self.hanging.clear();
        let items = self
            .store
            .items_since(START_MS + self.at_ms - 600 * S)
            .unwrap();
        let mut config = self.config.clone();
        config.next_event = self.store.next_id("event").unwrap();
        config.next_owed = self.store.next_id("outbox").unwrap();
        self.core = Core::new(config, self.now(), items);
    }

    /// Commits, and lets every receiver do what is due.
    pub(super) fn settle(&mut self) {
        loop {
            self.core.poll(self.now(), &self.store).unwrap();
            let changes = self.core.take();
            let was_quiet = changes.is_empty();
            if !was_quiet {
                self.store.apply(&changes).unwrap();
            }
            for change in changes {
                if let Change::Event(event) = change {
                    self.events.push(event);
                }
            }
            let mut is_quiet = was_quiet;
            while let Some((index, attempt)) = self.core.attempt(self.now(), &self.store).unwrap() {
                is_quiet = false;
                self.attempt(index, attempt);
            }
            if is_quiet && self.core.deadline() > self.at_ms {
                return;
            }
        }
    }

    fn attempt(&mut self, index: usize, attempt: Attempt) {
        let Attempt::Tell(owed) = attempt else {
            let now = self.now();
            self.core.attempted(now, index, 0, Outcome::Delivered);
            return;
        };
        match self.receivers[index](self.at_ms, &owed) {
            Some(outcome) => {
                if outcome == Outcome::Delivered {
                    let taken = self.taken.entry(owed.route.clone()).or_default();
                    taken.push((self.at_ms, owed.key.clone()));
                }
                let now = self.now();
                self.core.attempted(now, index, owed.id, outcome);
            }
            None => self.hanging.push((self.at_ms + 10 * S, index, owed.id)),
        }
    }

    /// Lets time pass, stopping wherever something comes due.
    pub(super) fn pass(&mut self, ms: i64) {
        let until = self.at_ms + ms;
        self.settle();
        while self.at_ms < until {
            let hanging = self.hanging.iter().map(|(at, ..)| *at).min();
            let next = self.core.deadline().min(hanging.unwrap_or(i64::MAX));
            // The shell looks around once a second at least.
            self.at_ms = next.clamp(self.at_ms + 1, self.at_ms + S).min(until);
            let (over, still) = std::mem::take(&mut self.hanging)
                .into_iter()
                .partition(|(at, ..)| *at <= self.at_ms);
            self.hanging = still;
            let over: Vec<(i64, usize, i64)> = over;
            for (_, index, id) in over {
                let now = self.now();
                self.core.attempted(now, index, id, down());
            }
            self.settle();
        }
    }

    /// An alert is committed now; its own UTC is `ago_ms` earlier.
    pub(super) fn feed_late(&mut self, alert: Alert, ago_ms: i64) {
        self.n += 1;
        let fed = Fed {
            n: self.n,
            alert,
            utc_ms: Some(START_MS + self.at_ms - ago_ms),
            received_ms: START_MS + self.at_ms,
        };
        self.core.fed(self.now(), &fed, false, &self.store).unwrap();
        self.core.advance(self.n);
        self.settle();
    }

    pub(super) fn feed(&mut self, alert: Alert) {
        self.feed_late(alert, 0);
    }

    pub(super) fn hear(&mut self, device: &str, what: What) {
        let heard = Heard {
            device: device.parse().unwrap(),
            at_ms: Some(START_MS + self.at_ms),
            what,
        };
        self.core.heard(self.now(), heard, &self.store).unwrap();
    }

    pub(super) fn pulse(&mut self, is_ok: bool) {
        let pulse = Pulse {
            is_connected: is_ok,
            is_stalled: false,
            backlog: 0,
        };
        self.core.pulse(self.now(), pulse, &self.store).unwrap();
    }

    pub(super) fn item(&self, id: &str) -> AlertItem {
        self.store.item(id).unwrap().unwrap()
    }

    pub(super) fn items(&self) -> Vec<AlertItem> {
        self.store.items_since(0).unwrap()
    }

    /// What a route took, without the moments.
    pub(super) fn keys(&self, route: &str) -> Vec<&str> {
        let taken = self.taken.get(route).into_iter().flatten();
        taken.map(|(_, key)| key.as_str()).collect()
    }
}

pub(super) fn up(number: u64) -> What {
    What::Link {
        link: Link::Up,
        epoch: Some(epoch(number)),
    }
}

/// The `seq`-th transition of an alert that began with number `first`.
pub(super) fn transition(device: &str, first: u64, seq: u64, state: AlertState) -> Alert {
    let device: DeviceId = device.parse().unwrap();
    let mut alert = crate::testing::alert(1, seq, Severity::Critical);
    alert.id = format!("{device}-1-{first}").as_str().try_into().unwrap();
    alert.device = device;
    alert.state = state;
    alert
}

pub(super) fn raised(device: &str, first: u64) -> Alert {
    transition(device, first, first, AlertState::Raised)
}

pub(super) fn cleared(device: &str, first: u64) -> Alert {
    transition(device, first, first + 1, AlertState::Cleared)
}

pub(super) fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}
