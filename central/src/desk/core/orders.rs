//! What people ask of the desk.
//!
//! Promises: an order names who gives it, and stands in the audit log; one that is given twice is done once.
//! Never: an order that is half done.

use serde::{Deserialize, Serialize};

use super::alerts::Transition;
use super::live::Live;
use super::{Core, Now, Shelf};
use crate::desk::event::EventKind;
use crate::desk::item::{AlertItem, Note};
use crate::desk::store::{Audited, Change, StoreError};

/// The longest name of a person, bytes.
pub(crate) const WHO_LEN_MAX: usize = 64;
/// The longest note, bytes.
pub(crate) const NOTE_LEN_MAX: usize = 2_000;
/// The longest subject or detail of an audit entry, bytes.
const AUDIT_LEN_MAX: usize = 500;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Somebody looks after it.
    Acknowledge { alert: String, who: String },
    /// Somebody has something to say about it.
    Note {
        alert: String,
        who: String,
        text: String,
    },
    /// Somebody wants others to look at it now.
    Escalate { alert: String, who: String },
    /// Something happened that the audit log is to hold.
    Audit {
        who: String,
        what: String,
        subject: String,
        detail: String,
    },
}

/// Why an order is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("there is no alert {0:?}")]
    Unknown(String),
    #[error("the alert is over since {}", jiff::Timestamp::from_millisecond(*.0).unwrap_or_default())]
    Over(i64),
    #[error("{field} has {len} bytes; allowed are 1 to {max}")]
    Length {
        field: &'static str,
        len: usize,
        max: usize,
    },
    /// It may be given again later.
    #[error("the desk cannot take it: {0}")]
    Unavailable(String),
}

impl From<StoreError> for OrderError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn within(field: &'static str, text: &str, max: usize) -> Result<(), OrderError> {
    match (1..=max).contains(&text.len()) {
        true => Ok(()),
        false => Err(OrderError::Length {
            field,
            len: text.len(),
            max,
        }),
    }
}

impl Core {
    /// Does what somebody asks for; the item as it is from here on.
    pub(in crate::desk) fn order(
        &mut self,
        now: Now,
        command: &Command,
        shelf: &dyn Shelf,
    ) -> Result<Option<AlertItem>, OrderError> {
        match command {
            Command::Acknowledge { alert, who } => {
                within("who", who, WHO_LEN_MAX)?;
                let live = self.find(alert, shelf)?;
                Ok(Some(self.acknowledge(now, live, who)))
            }
            Command::Note { alert, who, text } => {
                within("who", who, WHO_LEN_MAX)?;
                within("text", text, NOTE_LEN_MAX)?;
                let live = self.find(alert, shelf)?;
                Ok(Some(self.note(now, live, who, text)))
            }
            Command::Escalate { alert, who } => {
                within("who", who, WHO_LEN_MAX)?;
                let mut live = self.find(alert, shelf)?;
                if !live.item.is_open() {
                    let since = live.item.cleared_ms.unwrap_or(live.item.changed_ms);
                    return Err(OrderError::Over(since));
                }
                self.audit(now, who, "escalate", alert, "");
                live.item.changed_ms = now.utc_ms;
                self.escalated(now, &mut live);
                let item = live.item.clone();
                self.keep(now, live);
                Ok(Some(item))
            }
            Command::Audit {
                who,
                what,
                subject,
                detail,
            } => {
                within("who", who, WHO_LEN_MAX)?;
                within("what", what, WHO_LEN_MAX)?;
                for (field, text) in [("subject", subject), ("detail", detail)] {
                    if text.len() > AUDIT_LEN_MAX {
                        let (len, max) = (text.len(), AUDIT_LEN_MAX);
                        return Err(OrderError::Length { field, len, max });
                    }
                }
                self.audit(now, who, what, subject, detail);
                Ok(None)
            }
        }
    }

    fn find(&self, id: &str, shelf: &dyn Shelf) -> Result<Live, OrderError> {
        match self.live.get(id) {
            Some(live) => Ok(live.clone()),
            None => shelf
                .item(id)?
                .map(Live::quiet)
                .ok_or_else(|| OrderError::Unknown(id.chars().take(100).collect())),
        }
    }

    fn acknowledge(&mut self, now: Now, mut live: Live, who: &str) -> AlertItem {
        if live.item.acknowledged_by.is_some() {
            // The first one looks after it.
            return live.item;
        }
        self.audit(now, who, "acknowledge", &live.item.id, "");
        live.item.acknowledged_by = Some(who.to_owned());
        live.item.acknowledged_ms = Some(now.utc_ms);
        live.item.changed_ms = now.utc_ms;
        live.calm();
        self.tell(now, &mut live.item, Transition::Acknowledged);
        let item = live.item.clone();
        self.keep(now, live);
        item
    }

    fn note(&mut self, now: Now, mut live: Live, who: &str, text: &str) -> AlertItem {
        self.audit(now, who, "note", &live.item.id, "");
        let note = Note {
            alert_id: live.item.id.clone(),
            at_ms: now.utc_ms,
            who: who.to_owned(),
            text: text.to_owned(),
        };
        live.item.notes += 1;
        live.item.changed_ms = now.utc_ms;
        let body = serde_json::to_string(&note).unwrap_or_default();
        let (id, device) = (live.item.id.clone(), live.item.device.clone());
        self.changes.push(Change::Note(note));
        self.event(now, EventKind::Note, Some(&id), &device, body);
        let item = live.item.clone();
        self.keep(now, live);
        item
    }

    fn audit(&mut self, now: Now, who: &str, what: &str, subject: &str, detail: &str) {
        self.changes.push(Change::Audit(Audited {
            at_ms: now.utc_ms,
            who: who.to_owned(),
            what: what.to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_owned(),
        }));
    }
}
