//! The kit of the promises: real processes, a link that can be cut, the truth of the simulated buses, and
//! the oracle that compares it with the database.
//!
//! Promises: the oracle knows only what the simulated bus wrote down and what a SQL reader sees; every
//! process is ended by its own id; every wait has a deadline and says what it waited for. Never: a fixed
//! port, an address beside loopback, a file outside the test's own folder.

pub mod authority;
pub mod bottleneck;
pub mod broker;
pub mod browser;
pub mod database;
pub mod dice;
pub mod fleet;
pub mod link;
pub mod oracle;
pub mod process;
pub mod receiver;
pub mod store;
pub mod truth;
pub mod wait;
pub mod web;
