//! How the gateway is doing, for those who ask on the spot.
//!
//! ```text
//!  fleet-gateway status --> unix socket (0600) --> thread --bounded channel--> pipeline
//!  Prometheus --> [metrics] listen, off by default --> thread --'
//! ```
//! Promises: a question never holds up a reading: the pipeline answers when it has nothing better to do,
//! and who asks gives up after a second; only the owner of the process may ask. Orders have a socket of
//! their own (`control`). Never: a command over the socket of questions.

mod client;
mod control;
mod exposition;
mod memory;
mod metrics;
mod question;
mod render;
mod report;
mod socket;

pub use client::{AskError, ask};
pub use control::{ControlSocket, Order, Ordered, Orders, Outcome, order};
pub use exposition::expose;
pub use memory::{Memory, read as read_memory};
pub use metrics::serve_metrics;
pub use question::{Asker, Question, Questions, questions};
pub use render::render;
pub use report::{
    ClockReport, LaneReport, LastValue, LinkReport, OpenAlert, SensorReport, StatusReport,
};
pub use socket::{SocketError, StatusSocket};

#[cfg(test)]
mod tests;
