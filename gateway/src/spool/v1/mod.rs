//! The layout before segments were recycled: a `state` file and a folder of growing files per lane.
//!
//! Promises: what a spool of that version holds can be read. Never: writes it.

pub(crate) mod record;
pub(crate) mod state;
