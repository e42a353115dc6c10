//! `fleet-central alerts`: alerts as they come from the broker, those that are stored, and what people do
//! about them.
//!
//! Promises: each alert is printed once, however often it is sent; one whose UTC is older than a minute is
//! marked late. Never: an alert that is not readable printed as one that is.

mod follow;
mod order;
mod select;
mod show;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use follow::{Source, Target, follow};
pub(crate) use order::{list_desk, order};
pub(crate) use select::Selection;
pub(crate) use stored::list;
