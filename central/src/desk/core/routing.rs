//! Which routes are told of what.
//!
//! Promises: whoever was told of a beginning is told of its end, whatever the schedule says by then; a key is the
//! alert's id and the transition, and nothing is owed twice under one key. Never: a route that is told of a milder
//! alert than it wants.

use firmware_shared::alert::Severity;
use serde::{Deserialize, Serialize};

use super::alerts::Transition;
use super::{Core, Now};
use crate::config::Select;
use crate::desk::item::AlertItem;
use crate::desk::store::{Change, Owed};
use crate::glob;

/// What a receiver gets: the same bytes on every attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// The alert's id and the transition: the same on every attempt, also after a restart.
    pub(crate) key: String,
    pub(crate) transition: String,
    /// UTC at which the desk decided it.
    pub(crate) at_ms: i64,
    /// What the severity was when this route was told last.
    pub(crate) severity_before: Option<Severity>,
    pub(crate) alert: AlertItem,
}

impl Notification {
    /// Reads what was stored.
    pub(crate) fn parse(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

impl Core {
    /// Tells the routes.
    pub(super) fn tell(&mut self, now: Now, item: &mut AlertItem, transition: Transition) {
        let routes: Vec<usize> = (0..self.config.routes.len()).collect();
        for index in routes {
            let Some(route) = self.config.routes.get(index) else {
                continue;
            };
            let is_wanted = match transition {
                Transition::Raised | Transition::Escalated | Transition::Closed => {
                    wants(&route.select, item, transition)
                }
                // The end is for those who know of the beginning.
                Transition::Acknowledged | Transition::Cleared => {
                    item.told.contains(&route.name) && is_listed(&route.select, transition)
                }
            };
            if !is_wanted {
                continue;
            }
            let opens_ms = match (&route.select.schedule, transition) {
                (
                    Some(schedule),
                    Transition::Raised | Transition::Escalated | Transition::Closed,
                ) => schedule.next_open(now.utc_ms),
                _ => now.utc_ms,
            };
            self.owe(now, index, item, transition, opens_ms);
        }
    }

    fn owe(
        &mut self,
        now: Now,
        index: usize,
        item: &mut AlertItem,
        transition: Transition,
        opens_ms: i64,
    ) {
        let Some(name) = self
            .config
            .routes
            .get(index)
            .map(|route| route.name.clone())
        else {
            return;
        };
        let is_held = opens_ms > now.utc_ms;
        let begins = matches!(transition, Transition::Raised | Transition::Escalated);
        if begins && !is_held && !item.told.contains(&name) {
            item.told.push(name.clone());
        }
        let key = key(item, transition);
        let notification = Notification {
            key: key.clone(),
            transition: transition.name().to_owned(),
            at_ms: now.utc_ms,
            severity_before: item.told_severity,
            alert: item.clone(),
        };
        item.told_severity = Some(item.severity);
        let id = self.config.next_owed;
        self.config.next_owed += 1;
        let owed = Owed {
            id,
            route: name,
            key,
            alert_id: item.id.clone(),
            created_ms: now.utc_ms,
            not_before_ms: is_held.then_some(opens_ms),
            body: serde_json::to_string(&notification).unwrap_or_default(),
            attempts: 0,
        };
        self.changes.push(Change::Owe(owed.clone()));
        self.delivery.add(now, index, owed);
    }

    /// What waited for its schedule is told if it still matters.
    pub(super) fn still_matters(&mut self, route: &str, owed: &Owed) -> bool {
        let Some(live) = self.live.get_mut(&owed.alert_id) else {
            // It is over: an alert that began and ended meanwhile is told once, as such.
            return owed.key.ends_with("/closed");
        };
        let matters = live.item.is_open() && live.item.acknowledged_by.is_none();
        if matters && !live.item.told.iter().any(|name| name == route) {
            live.item.told.push(route.to_owned());
            let item = live.item.clone();
            self.changes.push(Change::Item(Box::new(item)));
        }
        matters
    }
}

/// The alert's id and the transition.
fn key(item: &AlertItem, transition: Transition) -> String {
    match (transition, item.escalations) {
        (Transition::Escalated, count) if count > 1 => format!("{}/escalated-{count}", item.id),
        (transition, _) => format!("{}/{}", item.id, transition.name()),
    }
}

fn is_listed(select: &Select, transition: Transition) -> bool {
    select
        .transitions
        .iter()
        .any(|name| name == transition.name())
}

/// Whether a route wants to hear of an item.
fn wants(select: &Select, item: &AlertItem, transition: Transition) -> bool {
    let any = |patterns: &[String], text: &str| {
        patterns.is_empty() || patterns.iter().any(|pattern| glob::matches(pattern, text))
    };
    // An item of many devices is for everybody who wants one of its kind.
    let device = item.device.is_empty() || any(&select.devices, &item.device);
    let group = select.groups.is_empty()
        || item
            .groups
            .iter()
            .any(|group| select.groups.contains(group));
    is_listed(select, transition)
        && (!select.escalated_only || transition == Transition::Escalated)
        && item.severity >= select.severity.into()
        && any(&select.kinds, &item.kind)
        && any(&select.roles, &item.role)
        && device
        && group
}
