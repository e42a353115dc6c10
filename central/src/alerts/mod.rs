//! `fleet-central alerts`: alerts as they come from the broker, or those that are stored.
//!
//! Promises: each alert is printed once, however often it is sent; one whose UTC is older than a minute is
//! marked late. Never: an alert that is not readable printed as one that is.

mod follow;
mod select;
mod show;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use follow::{Target, follow};
pub(crate) use select::Selection;
pub(crate) use stored::list;
