//! How the rest of the process asks the desk.
//!
//! Promises: every answer is of what is committed; an order is committed before it is answered; clones share
//! everything. Calls may wait for the disk: from async code use a blocking thread. Never: a wait without a bound.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::sync::watch;

use super::core::{Command, OrderError};
use super::event::Event;
use super::item::{AlertItem, AuditEntry, Filter, Note};
use super::ring::Shared;
use super::store::{Reader, StoreError};
use super::vehicle::VehicleState;

/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to an order.
pub(super) type Reply = Sender<Result<Option<AlertItem>, OrderError>>;

/// An order and where its answer goes.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) command: Command,
    pub(super) reply: Reply,
}

/// The desk, for whoever wants to look or to act.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Arc<Reader>,
    pub(super) orders: Sender<Order>,
    pub(super) file: Arc<Path>,
}

impl Desk {
    /// Where it keeps what it knows.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Alerts that pass the filter, the latest first.
    pub(crate) fn alerts(&self, filter: &Filter) -> Result<Vec<AlertItem>, StoreError> {
        self.reader.items(filter)
    }

    /// One alert.
    pub(crate) fn alert(&self, id: &str) -> Result<Option<AlertItem>, StoreError> {
        self.reader.item(id)
    }

    /// What was written about an alert, oldest first.
    pub(crate) fn notes(&self, id: &str) -> Result<Vec<Note>, StoreError> {
        self.reader.notes(id)
    }

    /// The latest entries of the audit log, newest first.
    pub(crate) fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.reader.audit(limit)
    }

    /// Somebody looks after an alert. The first one stays; the item says who it is.
    pub(crate) fn acknowledge(&self, id: &str, who: &str) -> Result<AlertItem, OrderError> {
        self.item(Command::Acknowledge {
            alert: id.to_owned(),
            who: who.to_owned(),
        })
    }

    /// Somebody has something to say about an alert.
    pub(crate) fn note(&self, id: &str, who: &str, text: &str) -> Result<AlertItem, OrderError> {
        self.item(Command::Note {
            alert: id.to_owned(),
            who: who.to_owned(),
            text: text.to_owned(),
        })
    }

    /// Somebody wants others to look at an alert now.
    pub(crate) fn escalate(&self, id: &str, who: &str) -> Result<AlertItem, OrderError> {
        self.item(Command::Escalate {
            alert: id.to_owned(),
            who: who.to_owned(),
        })
    }

    /// Something that the audit log is to hold: a login, a changed profile.
    pub(crate) fn audit(
        &self,
        who: &str,
        what: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), OrderError> {
        self.order(Command::Audit {
            who: who.to_owned(),
            what: what.to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_owned(),
        })
        .map(drop)
    }

    /// Events behind an id, in their order, at most `limit`.
    pub(crate) fn events_after(
        &self,
        id: i64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        match self.shared.behind(id, limit) {
            Some(events) => Ok(events),
            None => {
                let events = self.reader.events(id, limit)?;
                Ok(events.into_iter().map(Arc::new).collect())
            }
        }
    }

    /// The first event that is still kept, and the last.
    pub(crate) fn event_bounds(&self) -> Result<Option<(i64, i64)>, StoreError> {
        self.reader.event_bounds()
    }

    /// The last event.
    pub(crate) fn last_event(&self) -> i64 {
        self.shared.last_event()
    }

    /// Changes to the id of the last event whenever there is one more.
    pub(crate) fn wakeups(&self) -> watch::Receiver<i64> {
        self.shared.wakeups()
    }

    /// Every vehicle, by name.
    pub(crate) fn vehicles(&self) -> Vec<Arc<VehicleState>> {
        self.shared.vehicles()
    }

    /// One vehicle.
    pub(crate) fn vehicle(&self, device: &str) -> Option<Arc<VehicleState>> {
        self.shared.vehicle(device)
    }

    /// How many notifications each route still owes.
    pub(crate) fn owed(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.reader.owed_counts()
    }

    fn item(&self, command: Command) -> Result<AlertItem, OrderError> {
        self.order(command)?
            .ok_or_else(|| OrderError::Unavailable("no item came back".to_owned()))
    }

    fn order(&self, command: Command) -> Result<Option<AlertItem>, OrderError> {
        let (reply, answer) = bounded(1);
        let stopped = || OrderError::Unavailable("it has stopped or is busy".to_owned());
        self.orders
            .send_timeout(Order { command, reply }, ORDER_TIMEOUT)
            .map_err(|_| stopped())?;
        answer.recv_timeout(ORDER_TIMEOUT).map_err(|_| stopped())?
    }
}
