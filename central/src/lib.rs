//! fleet-central: from MQTT to a database, each reading exactly once.
//!
//! ```text
//!            link (mqtt)                writer                      sqlite
//!  broker ──► inbox, bounded ──► group ──► ingest core ──► writes ──► one transaction
//!     ▲                                        │                          │
//!     └── broker acks, in order ◄──────────────┴── acks, nacks ◄──────────┘ after the commit
//! ```
//! Promises: what is acknowledged is committed; what is committed twice is stored once; what is lost is
//! explained; what cannot be read is set aside and named. Never: an acknowledgement before a commit.
//!
//! Reading order: `ingest` (what a publish means), `sqlite` (where it goes), `committer` and `writer` (how
//! a group becomes a commit), `mqtt`, `link` and `broker` (how publishes come), `run` (threads), `verify`,
//! `alerts`, `query` (what people ask), `http` (the page and its API), `config`, `cli`.
//!
//! Only `mqtt.rs` names rumqttc, only `broker.rs` rumqttd, only `sqlite/`, `verify/`, `query/sqlite.rs` and
//! `alerts/stored.rs` rusqlite, only `clock.rs` reads a clock.

mod alerts;
mod backoff;
mod backup;
mod broker;
mod cli;
mod clock;
mod columns;
mod committer;
mod config;
mod desk;
mod glob;
mod http;
mod ingest;
mod link;
mod mqtt;
mod postgres;
mod profile;
mod query;
mod run;
mod sqlite;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod verify;
mod writer;

pub use cli::{command, main};
