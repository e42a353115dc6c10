//! Against floods: the same alert again, and many of one kind at once.
//!
//! Promises: time comes in as a number; what is forgotten is older than both windows. Never: an alert dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firmware_shared::alert::Severity;

use crate::config::Desk as DeskConfig;

/// Device, kind and sensor: two alerts with the same are the same to a person.
pub(super) type Cause = (String, String, String);

const SWEEP_LEN_MIN: usize = 1_024;

/// What is remembered.
#[derive(Debug)]
pub(super) struct Flood {
    mute_ms: i64,
    collapse_ms: i64,
    collapse_count: usize,
    told: BTreeMap<Cause, (i64, Severity)>,
    /// What is forgotten is looked for when there is so much.
    sweep_len: usize,
    kinds: BTreeMap<String, Kind>,
}

/// The recent alerts of one kind.
#[derive(Debug, Default)]
struct Kind {
    recent: VecDeque<(i64, String)>,
    collective: Option<Collective>,
}

/// An item that stands for many.
#[derive(Debug, Clone)]
pub(super) struct Collective {
    pub(super) id: String,
    pub(super) open: BTreeSet<String>,
    last_mono: i64,
}

/// What one more alert of a kind means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stands alone.
    Alone,
    /// It is one of those for which this item stands.
    Joins(String),
    /// It is one too many: these, it included, get an item of their own.
    Begins(Vec<String>),
}

impl Flood {
    pub(super) fn new(config: &DeskConfig) -> Self {
        Self {
            mute_ms: i64::from(config.mute_s) * 1_000,
            collapse_ms: i64::from(config.collapse_s) * 1_000,
            collapse_count: usize::try_from(config.collapse_count).unwrap_or(usize::MAX),
            told: BTreeMap::new(),
            sweep_len: SWEEP_LEN_MIN,
            kinds: BTreeMap::new(),
        }
    }

    /// Until when a cause is muted; `None` when it is not, and then it is for the time to come.
    pub(super) fn mutes(&mut self, mono_ms: i64, cause: &Cause, severity: Severity) -> Option<i64> {
        if let Some((at, before)) = self.told.get(cause) {
            let until = at.saturating_add(self.mute_ms);
            if mono_ms < until && severity <= *before {
                return Some(until);
            }
        }
        self.note_told(mono_ms, cause.clone(), severity);
        None
    }

    pub(super) fn note_told(&mut self, mono_ms: i64, cause: Cause, severity: Severity) {
        if self.told.len() >= self.sweep_len {
            let mute_ms = self.mute_ms;
            self.told
                .retain(|_, (at, _)| mono_ms < at.saturating_add(mute_ms));
            self.sweep_len = SWEEP_LEN_MIN.max(self.told.len() * 2);
        }
        self.told.insert(cause, (mono_ms, severity));
    }

    /// Counts one more alert of a kind.
    pub(super) fn count(&mut self, mono_ms: i64, kind: &str, id: &str) -> Verdict {
        let kind = self.kinds.entry(kind.to_owned()).or_default();
        if let Some(collective) = &mut kind.collective {
            collective.open.insert(id.to_owned());
            collective.last_mono = mono_ms;
            return Verdict::Joins(collective.id.clone());
        }
        kind.recent.push_back((mono_ms, id.to_owned()));
        let from = mono_ms.saturating_sub(self.collapse_ms);
        while kind.recent.front().is_some_and(|(at, _)| *at <= from) {
            kind.recent.pop_front();
        }
        match kind.recent.len() > self.collapse_count {
            true => Verdict::Begins(kind.recent.drain(..).map(|(_, id)| id).collect()),
            false => Verdict::Alone,
        }
    }

    /// These have an item of their own from here on.
    pub(super) fn begin(&mut self, mono_ms: i64, kind: &str, id: String, open: BTreeSet<String>) {
        let kind = self.kinds.entry(kind.to_owned()).or_default();
        kind.collective = Some(Collective {
            id,
            open,
            last_mono: mono_ms,
        });
    }

    /// An alert of before a restart counts, too; they come in the order of their times.
    pub(super) fn recall(&mut self, mono_ms: i64, kind: &str, id: &str) {
        let kind = self.kinds.entry(kind.to_owned()).or_default();
        if kind.recent.len() < self.collapse_count {
            kind.recent.push_back((mono_ms, id.to_owned()));
        }
    }

    /// An open alert of before a restart belongs to this item.
    pub(super) fn rejoin(&mut self, kind: &str, collective: &str, id: String) {
        if let Some(found) = self
            .kinds
            .get_mut(kind)
            .and_then(|kind| kind.collective.as_mut())
            && found.id == collective
        {
            found.open.insert(id);
        }
    }

    /// An alert of a kind is over.
    pub(super) fn ended(&mut self, kind: &str, id: &str) {
        if let Some(collective) = self
            .kinds
            .get_mut(kind)
            .and_then(|kind| kind.collective.as_mut())
        {
            collective.open.remove(id);
        }
    }

    /// Collectives of which nothing is open and to which nothing came for a whole window; they are forgotten.
    pub(super) fn take_over(&mut self, mono_ms: i64) -> Vec<String> {
        let mut over = Vec::new();
        let collapse_ms = self.collapse_ms;
        for kind in self.kinds.values_mut() {
            kind.recent
                .retain(|(at, _)| mono_ms < at.saturating_add(collapse_ms));
            let is_over = kind
                .collective
                .as_ref()
                .is_some_and(|c| c.open.is_empty() && mono_ms >= c.last_mono + collapse_ms);
            if is_over && let Some(collective) = kind.collective.take() {
                over.push(collective.id);
            }
        }
        self.kinds
            .retain(|_, kind| kind.collective.is_some() || !kind.recent.is_empty());
        over
    }

    pub(super) fn deadline(&self) -> Option<i64> {
        let collectives = self
            .kinds
            .values()
            .filter_map(|kind| kind.collective.as_ref());
        collectives
            .filter(|collective| collective.open.is_empty())
            .map(|collective| collective.last_mono + self.collapse_ms)
            .min()
    }
}
