//! Sampling: from a register to a numbered reading.
//!
//! ```text
//!  thread per bus or lone source:   wait for the next turn -> device (state machine) -> source -> Issuer
//!                                                          chip (driver on a bus) or host (file, port, line)
//! ```
//! Promises: one OS thread for each bus and each source without one, so that a hung transfer stops nobody else; a sampler never waits
//! for disk, network or pipeline; a sensor that fails is a reading of kind fault, said when it begins or
//! changes and repeated at most once a minute; after any loss a part is identified and configured again.
//! Never: a value from before a failure, a sleep that a stop cannot end.

mod board;
mod chip;
mod device;
mod host;
mod i2c;
mod outage;
mod source;
mod worker;

pub(crate) use chip::{Chip, fault_of_bus};
pub(crate) use source::{Failure, Heard, Source};
#[cfg(test)]
pub(crate) use {device::Device, device::Output};

pub use board::{SensorBoard, SensorState};
pub(crate) use host::check_inputs;
pub use i2c::{BusHandle, HandleError, HangTime, LinuxBus};
pub use outage::BusReport;
pub use worker::{BusWorker, HostWorker, STACK_LEN, Workplace};

#[cfg(test)]
mod tests;
