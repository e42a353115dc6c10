//! What the broker must know when it starts.

use std::collections::BTreeMap;

use serde::Serialize;

/// A message to displays, as the broker reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Message {
    topic: String,
    payload: String,
    is_retained: bool,
}

impl Message {
    pub(super) fn new(topic: &str, payload: &str, is_retained: bool) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            is_retained,
        }
    }
}

/// The last retained message of each topic: as many as there are alerts that are not closed.
#[derive(Debug, Default)]
pub(super) struct Retained(BTreeMap<String, Message>);

impl Retained {
    pub(super) fn hear(&mut self, message: &Message) {
        if !message.is_retained {
            return;
        }
        match message.payload.is_empty() {
            true => drop(self.0.remove(&message.topic)),
            false => drop(self.0.insert(message.topic.clone(), message.clone())),
        }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.0.values()
    }
}
