//! From transitions to items: what is new, what is over, what is told, what waits.
//!
//! ```text
//!  raised ---- in time -----------> announce --+-- muted: listed, told when it lasts
//!     `------- late --> hold ------/           +-- one of many: part of a common cause
//!                        | its end comes       `-- told: raised
//!                        `-----> told: closed, once
//! ```
//! Promises: transitions may come in any order and again; whoever was told of a beginning is told of the end;
//! an alert that began and ended before the centre heard of it is told once. Never: a wait for an item that is in
//! time.

use std::collections::BTreeSet;

use firmware_shared::alert::{Alert, AlertState};

use super::flood::Verdict;
use super::live::Live;
use super::{Core, Fed, Now, Shelf};
use crate::desk::item::{AlertItem, Finding};
use crate::desk::store::StoreError;

/// Alerts of an earlier process of a gateway that the next one has not repeated are over after so long.
const SUPERSEDED_MS: i64 = 600_000;

/// What is told about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Raised,
    Escalated,
    Acknowledged,
    Cleared,
    /// It began and ended before the centre heard of it.
    Closed,
}

impl Transition {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Closed => "closed",
        }
    }
}

impl Core {
    /// Takes up what an earlier process of the centre left.
    pub(super) fn remember(&mut self, now: Now, items: Vec<AlertItem>) {
        for item in items {
            let mono = now.mono_ms - now.utc_ms.saturating_sub(item.received_ms).max(0);
            let cause = (item.device.clone(), item.kind.clone(), item.sensor.clone());
            if item.announced && item.members == 0 {
                self.flood.note_told(mono, cause, item.severity);
            }
            if item.members > 0 && item.is_open() {
                self.flood
                    .begin(mono, &item.kind, item.id.clone(), BTreeSet::new());
            } else if item.collapsed_into.is_none() && item.announced {
                self.flood.recall(mono, &item.kind, &item.id);
            }
            let mut live = Live::quiet(item);
            if live.item.is_open() {
                let item = &live.item;
                self.open_by_device
                    .entry(item.device.clone())
                    .or_default()
                    .insert(item.id.clone());
                if item.collapsed_into.is_none() {
                    live.escalate_at = self.escalation_at(mono, item);
                }
                if item.muted {
                    live.unmute_at = Some(mono + i64::from(self.config.desk.mute_s) * 1_000);
                }
                if item.epoch.is_some()
                    && !item.announced
                    && !item.muted
                    && item.late
                    && item.collapsed_into.is_none()
                {
                    live.hold_until = Some(now.mono_ms + i64::from(self.config.desk.pair_ms));
                }
                if item.epoch.is_none() && item.members == 0 {
                    self.watch.recall(item, now);
                }
                self.put(live);
            }
        }
        let joined: Vec<(String, String, String)> = self
            .live
            .values()
            .filter_map(|live| {
                let into = live.item.collapsed_into.clone()?;
                Some((live.item.kind.clone(), into, live.item.id.clone()))
            })
            .collect();
        for (kind, into, id) in joined {
            self.flood.rejoin(&kind, &into, id);
        }
    }

    /// Takes an alert that the main database has committed. What is history is listed and nobody is called.
    pub(in crate::desk) fn fed(
        &mut self,
        now: Now,
        fed: &Fed,
        is_history: bool,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let id = fed.alert.id.as_str();
        let known = match self.live.get(id) {
            Some(live) => Some(live.clone()),
            None => shelf.item(id)?.map(Live::quiet),
        };
        match known {
            Some(live) => self.goes_on(now, live, fed),
            None => self.begins(now, fed, is_history, shelf),
        }
    }

    fn begins(
        &mut self,
        now: Now,
        fed: &Fed,
        is_history: bool,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let mut live = Live::quiet(self.item_of(fed));
        live.item.late = self.is_late(fed);
        if !is_history {
            self.supersede(now, &live.item);
        }
        // The end may come before the beginning: the newest goes first after an outage.
        let waits = live.item.late || !live.item.is_open();
        match (is_history, waits) {
            (true, _) => self.keep(now, live),
            (false, true) => {
                live.hold_until = Some(now.mono_ms + i64::from(self.config.desk.pair_ms));
                self.keep(now, live);
            }
            (false, false) => self.announce(now, live, Transition::Raised, shelf)?,
        }
        Ok(())
    }

    fn goes_on(&mut self, now: Now, mut live: Live, fed: &Fed) -> Result<(), StoreError> {
        let alert = &fed.alert;
        if alert.seq == live.item.seq {
            return Ok(());
        }
        if alert.seq < live.item.seq {
            // An earlier word that took the longer way.
            if matches!(alert.state, AlertState::Raised | AlertState::Escalated) {
                let at = fed.utc_ms;
                live.item.raised_ms = match (live.item.raised_ms, at) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                self.keep(now, live);
            }
            return Ok(());
        }
        let (was_open, was_severity) = (live.item.is_open(), live.item.severity);
        say(&mut live.item, alert);
        live.item.changed_ms = now.utc_ms;
        match alert.state {
            AlertState::Raised => self.keep(now, live),
            AlertState::Escalated => {
                live.item.state = AlertState::Escalated;
                if live.item.severity > was_severity {
                    // Whoever acknowledged the milder one has not seen this.
                    live.item.acknowledged_by = None;
                    live.item.acknowledged_ms = None;
                    live.item.muted = false;
                    live.unmute_at = None;
                }
                if live.hold_until.is_none()
                    && live.item.collapsed_into.is_none()
                    && !live.item.muted
                {
                    self.escalated(now, &mut live);
                }
                self.keep(now, live);
            }
            AlertState::Cleared | AlertState::Closed => {
                live.item.cleared_ms = fed.utc_ms.or(Some(fed.received_ms));
                live.item.state = AlertState::Cleared;
                if was_open {
                    self.ends(now, live);
                } else {
                    self.keep(now, live);
                }
            }
        }
        Ok(())
    }

    /// It is over. Whoever was told is told; one that nobody was told of yet is told once.
    fn ends(&mut self, now: Now, mut live: Live) {
        self.flood.ended(&live.item.kind, &live.item.id);
        live.unmute_at = None;
        live.escalate_at = None;
        live.over_at = None;
        if live.hold_until.is_some() {
            // It waits for the rest of its time, so that many of these become one item, too.
            live.item.state = AlertState::Closed;
            live.hold_until = Some(now.mono_ms);
            self.keep(now, live);
            return;
        }
        if live.item.announced {
            self.tell(now, &mut live.item, Transition::Cleared);
        }
        self.keep(now, live);
    }

    /// Decides whether anybody is told.
    pub(super) fn announce(
        &mut self,
        now: Now,
        mut live: Live,
        transition: Transition,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let item = &mut live.item;
        let cause = (item.device.clone(), item.kind.clone(), item.sensor.clone());
        if let Some(until) = self.flood.mutes(now.mono_ms, &cause, item.severity) {
            item.muted = true;
            live.unmute_at = item.is_open().then_some(until);
            self.keep(now, live);
            return Ok(());
        }
        self.stand(now, live, transition, shelf)
    }

    /// One more of its kind: told alone, or as a part of many.
    fn stand(
        &mut self,
        now: Now,
        mut live: Live,
        transition: Transition,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let (kind, id) = (live.item.kind.clone(), live.item.id.clone());
        match self.flood.count(now.mono_ms, &kind, &id) {
            Verdict::Alone => {
                self.told_first(now, &mut live, transition);
                self.keep(now, live);
            }
            Verdict::Joins(collective) => {
                if !live.item.is_open() {
                    self.flood.ended(&kind, &id);
                }
                live.item.collapsed_into = Some(collective.clone());
                let item = live.item.clone();
                self.keep(now, live);
                self.joins(now, &collective, &item, shelf)?;
            }
            Verdict::Begins(ids) => {
                self.keep(now, live);
                self.collapse(now, &kind, &ids, shelf)?;
            }
        }
        Ok(())
    }

    fn told_first(&mut self, now: Now, live: &mut Live, transition: Transition) {
        live.item.announced = true;
        self.tell(now, &mut live.item, transition);
        live.escalate_at = self.escalation_at(now.mono_ms, &live.item);
    }

    /// When nobody's acknowledgement escalates it.
    fn escalation_at(&self, from_mono: i64, item: &AlertItem) -> Option<i64> {
        let desk = &self.config.desk;
        let wanted = desk.escalate_after_s > 0
            && item.is_open()
            && item.announced
            && item.acknowledged_by.is_none()
            && item.escalations == 0
            && item.severity >= desk.escalate_severity.into();
        wanted.then(|| from_mono + i64::from(desk.escalate_after_s) * 1_000)
    }

    fn collapse(
        &mut self,
        now: Now,
        kind: &str,
        ids: &[String],
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let mut members = Vec::new();
        for id in ids {
            let live = match self.live.get(id) {
                Some(live) => Some(live.clone()),
                None => shelf.item(id)?.map(Live::quiet),
            };
            members.extend(live);
        }
        let first = members.first().map(|live| live.item.clone());
        let Some(mut item) = first else {
            return Ok(());
        };
        let id = format!("common-{kind}-{}", now.utc_ms);
        item.id.clone_from(&id);
        item.device.clear();
        item.sensor.clear();
        item.epoch = None;
        item.seq = 0;
        item.window = None;
        item.value = None;
        item.state = AlertState::Raised;
        item.cleared_ms = None;
        item.members = 0;
        item.announced = false;
        item.told = Vec::new();
        item.told_severity = None;
        item.acknowledged_by = None;
        item.acknowledged_ms = None;
        item.notes = 0;
        item.escalations = 0;
        item.muted = false;
        item.collapsed_into = None;
        item.received_ms = now.utc_ms;
        item.changed_ms = now.utc_ms;
        let mut collective = Live::quiet(item);
        let mut open = BTreeSet::new();
        for mut member in members {
            if member.item.is_open() {
                open.insert(member.item.id.clone());
            }
            count_in(&mut collective.item, &member.item);
            member.item.collapsed_into = Some(id.clone());
            // Those that were told stand for themselves until they end; the others are told by this one.
            member.escalate_at = None;
            self.keep(now, member);
        }
        collective.item.text = self.words(&collective.item);
        self.flood.begin(now.mono_ms, kind, id, open);
        self.told_first(now, &mut collective, Transition::Raised);
        self.keep(now, collective);
        Ok(())
    }

    fn joins(
        &mut self,
        now: Now,
        id: &str,
        member: &AlertItem,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let live = match self.live.get(id) {
            Some(live) => Some(live.clone()),
            None => shelf.item(id)?.map(Live::quiet),
        };
        let Some(mut live) = live else {
            return Ok(());
        };
        let before = live.item.severity;
        count_in(&mut live.item, member);
        live.item.changed_ms = now.utc_ms;
        live.item.text = self.words(&live.item);
        if live.item.severity > before {
            live.item.state = AlertState::Escalated;
            self.escalated(now, &mut live);
        }
        self.keep(now, live);
        Ok(())
    }

    fn words(&self, item: &AlertItem) -> String {
        format!(
            "{} alerts of the kind {} within {} minutes: look for a common cause",
            item.members,
            item.kind,
            self.config.desk.collapse_s.div_ceil(60)
        )
    }

    /// Somebody must look at it now.
    pub(super) fn escalated(&mut self, now: Now, live: &mut Live) {
        live.item.state = AlertState::Escalated;
        live.item.escalations += 1;
        live.item.announced = true;
        live.escalate_at = None;
        self.tell(now, &mut live.item, Transition::Escalated);
    }

    /// The same condition under the id of an earlier process of the gateway is over: this one stands for it.
    fn supersede(&mut self, now: Now, item: &AlertItem) {
        let earlier: Vec<String> = self
            .open_of(&item.device)
            .filter(|other| {
                other.kind == item.kind
                    && other.sensor == item.sensor
                    && other.epoch.is_some()
                    && other.epoch != item.epoch
                    && item.is_open()
            })
            .map(|other| other.id.clone())
            .collect();
        for id in earlier {
            let text = format!("goes on as {}", item.id);
            self.close(now, &id, text);
        }
    }

    /// A gateway began anew: what its earlier processes had open is over unless it is told again.
    pub(super) fn began_anew(&mut self, now: Now, device: &str, epoch: &str) {
        let earlier: Vec<String> = self
            .open_of(device)
            .filter(|item| item.epoch.as_deref().is_some_and(|other| other != epoch))
            .map(|item| item.id.clone())
            .collect();
        for id in earlier {
            if let Some(mut live) = self.live.get(&id).cloned() {
                live.over_at = live.over_at.or(Some(now.mono_ms + SUPERSEDED_MS));
                self.put(live);
            }
        }
    }

    /// An item is over by the centre's own knowledge.
    pub(super) fn close(&mut self, now: Now, id: &str, text: String) {
        if let Some(mut live) = self
            .live
            .get(id)
            .cloned()
            .filter(|live| live.item.is_open())
        {
            live.item.text = text;
            live.item.state = AlertState::Cleared;
            live.item.cleared_ms = Some(now.utc_ms);
            live.item.changed_ms = now.utc_ms;
            self.ends(now, live);
        }
    }

    fn item_of(&self, fed: &Fed) -> AlertItem {
        let alert = &fed.alert;
        let device = alert.device.as_str();
        let is_open = matches!(alert.state, AlertState::Raised | AlertState::Escalated);
        let mut item = AlertItem {
            id: alert.id.to_string(),
            device: device.to_owned(),
            groups: self.config.groups.of(device),
            kind: alert.kind.to_string(),
            sensor: alert.sensor.to_string(),
            role: self.watch.role(device, &alert.sensor),
            severity: alert.severity,
            state: alert.state,
            text: String::new(),
            value: None,
            unit: String::new(),
            expected: None,
            low: None,
            high: None,
            raised_ms: fed.utc_ms.filter(|_| is_open),
            cleared_ms: fed.utc_ms.or(Some(fed.received_ms)).filter(|_| !is_open),
            received_ms: fed.received_ms,
            changed_ms: fed.received_ms,
            late: false,
            muted: false,
            collapsed_into: None,
            members: 0,
            acknowledged_by: None,
            acknowledged_ms: None,
            notes: 0,
            epoch: Some(alert.epoch.to_string()),
            seq: alert.seq,
            window: None,
            finding: Finding::default(),
            announced: false,
            told: Vec::new(),
            told_severity: None,
            escalations: 0,
        };
        say(&mut item, alert);
        item
    }

    /// By UTC where somebody knows it; else by what the gateway's own clock says of its latest word.
    fn is_late(&self, fed: &Fed) -> bool {
        let late_ms = i64::from(self.config.desk.late_s) * 1_000;
        let by_utc = fed
            .utc_ms
            .is_some_and(|utc| fed.received_ms.saturating_sub(utc) > late_ms);
        let alert = &fed.alert;
        let stamp = self.watch.stamp(alert.device.as_str(), alert.epoch);
        let by_stamp = stamp
            .is_some_and(|stamp| stamp.saturating_sub(alert.boottime_ms) > late_ms.unsigned_abs());
        alert.late || by_utc || by_stamp
    }

    pub(super) fn alerts_deadline(&self) -> Option<i64> {
        let timer = self.timers.first().map(|(due, _)| *due);
        timer.into_iter().chain(self.flood.deadline()).min()
    }

    pub(super) fn tick_alerts(&mut self, now: Now, shelf: &dyn Shelf) -> Result<(), StoreError> {
        while let Some((due, id)) = self.timers.first().cloned() {
            if due > now.mono_ms {
                break;
            }
            self.timers.pop_first();
            if let Some(live) = self.live.get(&id).cloned() {
                self.comes_due(now, live, shelf)?;
            }
        }
        for id in self.flood.take_over(now.mono_ms) {
            self.close(now, &id, "all of them are over".to_owned());
        }
        Ok(())
    }

    fn comes_due(&mut self, now: Now, mut live: Live, shelf: &dyn Shelf) -> Result<(), StoreError> {
        let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now.mono_ms);
        if is_due(live.hold_until) {
            live.hold_until = None;
            if live.item.is_open() {
                return self.announce(now, live, Transition::Raised, shelf);
            }
            live.item.state = AlertState::Closed;
            self.announce(now, live, Transition::Closed, shelf)
        } else if is_due(live.over_at) {
            let id = live.item.id.clone();
            self.close(
                now,
                &id,
                "not said again since the gateway began anew".to_owned(),
            );
            Ok(())
        } else if is_due(live.unmute_at) {
            // It lasts: whoever was told that the first one is over must hear of this one.
            live.unmute_at = None;
            live.item.muted = false;
            let item = &live.item;
            let cause = (item.device.clone(), item.kind.clone(), item.sensor.clone());
            self.flood.note_told(now.mono_ms, cause, item.severity);
            self.stand(now, live, Transition::Raised, shelf)
        } else {
            live.item.changed_ms = now.utc_ms;
            self.escalated(now, &mut live);
            self.keep(now, live);
            Ok(())
        }
    }
}

/// What a transition says about its item.
fn say(item: &mut AlertItem, alert: &Alert) {
    item.severity = item.severity.max(alert.severity);
    alert.text.as_str().clone_into(&mut item.text);
    item.value = alert.value;
    alert.unit.as_str().clone_into(&mut item.unit);
    item.expected = alert.expected;
    item.low = alert.low;
    item.high = alert.high;
    item.seq = alert.seq;
    item.window = alert
        .window
        .map(|window| (window.first_seq, window.last_seq));
    item.finding = Finding::from(alert);
}

/// One more alert for which this item stands.
fn count_in(item: &mut AlertItem, member: &AlertItem) {
    item.members += 1;
    item.severity = item.severity.max(member.severity);
    item.late &= member.late;
    if item.role != member.role {
        item.role.clear();
    }
    for group in &member.groups {
        if !item.groups.contains(group) {
            item.groups.push(group.clone());
        }
    }
}
