//! Forwarding: which frame goes out next, what is in flight, what waits for the centre, what is sent again.
//!
//! Promises: a connection holds at most its window unanswered by the broker, in messages and in bytes, and
//! the bytes grow only while answers come quickly; live frames go before the backlog, which keeps at least
//! one publish in four; alerts have their own connection and window; an acknowledgement is believed only by
//! the rules in [`centre`].
//!
//! Never: holds a frame's bytes (only its place and numbers); reads a clock; names an MQTT library outside
//! of [`mqtt`].

pub mod budget;
pub mod link;
pub mod mqtt;
pub mod random;
pub mod transport;

pub(crate) mod centre;
pub(crate) mod flow;
pub(crate) mod pace;
pub(crate) mod window;

mod backoff;
