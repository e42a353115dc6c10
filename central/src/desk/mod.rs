//! The fleet desk: alerts as people see them, vehicles that fall silent, and who is told.
//!
//! ```text
//!  ingest --commit--> main database --feed--> core --changes--> the desk's own file --> events, routes
//!            `------ tap: who spoke ---------^  ^-- orders of people, time
//! ```
//! Promises: every committed alert is taken once, also after `kill -9` (a cursor stands in the same transaction as
//! what was made of the alerts before it); what is said to anybody is on disk before. Never: a thread of ingest
//! that waits for the desk.
//!
//! Reading order: `item`, `event`, `vehicle` (what people see), `handle` (how to ask), `core` (what things mean),
//! `store` (the file), `send` (how routes reach their receivers), `tap` and the `Feed` (where things come from), `thread`.

mod core;
mod event;
mod groups;
mod handle;
mod item;
mod ring;
mod send;
mod store;
mod tap;
#[cfg(test)]
mod tests;
mod thread;
mod vehicle;

pub(crate) use core::{Command, Fed, Known, Notification, OrderError, SensorKnown};
pub(crate) use event::Event;
pub(crate) use handle::Desk;
pub(crate) use item::{AlertItem, Filter};
pub(crate) use send::Place;
pub(crate) use store::{Orders, Reader, StoreError, check as check_file};
pub(crate) use tap::{Tapped, Vitals};
pub(crate) use thread::{Running, start};
pub(crate) use vehicle::VehicleState;

/// Why the main database cannot be read; it may work later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FeedError(pub(crate) String);

/// What the desk reads of the main database.
pub(crate) trait Feed: Send {
    /// Which part of the fleet it covers: each part has a cursor of its own.
    fn name(&self) -> String;
    /// The place of the last alert.
    fn last(&mut self) -> Result<i64, FeedError>;
    /// Alerts behind a place, in their order, at most `limit`.
    fn alerts_behind(&mut self, n: i64, limit: usize) -> Result<Vec<Fed>, FeedError>;
    /// Every vehicle.
    fn vehicles(&mut self) -> Result<Vec<Known>, FeedError>;
}
