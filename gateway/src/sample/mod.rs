//! Sampling: from a register to a numbered reading.
//!
//! ```text
//!  thread per bus:   wait for the next turn -> device (state machine) -> chip (driver) -> Issuer
//! ```
//! Promises: one OS thread for each bus, so that a hung transfer stops nobody else; a sampler never waits
//! for disk, network or pipeline; a sensor that fails is a reading of kind fault, said when it begins or
//! changes and repeated at most once a minute; after any loss a part is identified and configured again.
//! Never: a value from before a failure, a sleep that a stop cannot end.

mod board;
mod chip;
mod device;
mod i2c;
mod worker;

pub use board::{SensorBoard, SensorState};
pub use device::{Device, Output};
pub use i2c::{BusHandle, HandleError, LinuxBus};
pub use worker::{BusWorker, STACK_LEN};

#[cfg(test)]
mod tests;
