//! What happens at the desk, in the order in which it was committed.
//!
//! Promises: ids rise and are never given twice, so that a reader goes on behind the last one that it has.
//! Never: an event of something that is not committed.

use serde::Serialize;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) at_ms: i64,
    pub(crate) kind: EventKind,
    /// The alert, where it is about one.
    pub(crate) alert_id: Option<String>,
    /// The device, where it is about one.
    pub(crate) device: Option<String>,
    /// JSON: the item, the note or the vehicle as it is from here on.
    pub(crate) body: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    /// An item changed; the body is an `AlertItem`.
    Alert,
    /// A note was written; the body is a `Note`.
    Note,
    /// The condition of a vehicle changed; the body is a `VehicleState`.
    Vehicle,
}

impl EventKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Note => "note",
            Self::Vehicle => "vehicle",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Alert, Self::Note, Self::Vehicle]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}
