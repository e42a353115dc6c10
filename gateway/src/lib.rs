//! The gateway on the vehicle: *a reading is sampled, scored, sealed, spooled and forwarded; it is released
//! only when the centre says it has committed it.*
//!
//! ```text
//!  bus threads                 pipeline thread                                   link thread
//!  sample --numbered, bounded--> score --> alert --+
//!                                  |               v
//!                                  +--> seal --> deliver (spool ==disk== forward) <--bounded--> mqtt
//!  status socket --bounded-->  answers
//! ```
//! Promises: see each stage. Never: a stage that reads a clock (only [`clock`] does), a queue without a
//! bound, a start that fails for any other reason than the configuration.
//!
//! Reading order: [`config`], [`sample`], [`anchor`], [`sequencer`], [`score`], [`alert`], [`seal`], [`spool`],
//! [`forward`], [`deliver`], [`run`], [`trip`], [`notify`], [`status`], [`supervise`], [`doctor`], [`enrol`], [`gnss`],
//! [`series`], [`backtest`], [`cli`].

pub mod alert;
pub mod anchor;
pub mod backtest;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod doctor;
pub mod enrol;
pub mod forward;
pub mod gnss;
pub mod identity;
pub mod notify;
pub mod run;
pub mod sample;
pub mod score;
pub mod seal;
pub mod sequencer;
pub mod series;
pub mod spool;
pub mod status;
pub mod supervise;
pub mod timekeeper;
pub mod trip;

pub use cli::{command, main};
