//! What a sensor is to its state machine: something that is started and asked.
//!
//! Promises: an error says what to write down and what to do. Never: a wait that a stop cannot end within a
//! second.

use std::time::Duration;

use firmware_shared::reading::{Fault, FaultKind, Value};
use sensor_drivers::Advice;
use sensor_drivers::gnss::GnssTime;

/// Something that gives values.
pub(crate) trait Source {
    /// Identifies and configures it; after how long its first value is due, ms.
    fn start(&mut self, now_ms: u64) -> Result<u64, Failure>;

    /// Takes what there is. What was heard before an error is good.
    fn fetch(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure>;

    /// After how long without a value or a fault it counts as silent, ms.
    fn silent_ms(&self, period_ms: u64) -> u64;

    /// What it is said to be then.
    fn silence(&self) -> Fault {
        fault(FaultKind::SILENT, 0)
    }

    /// The stamp at which it will have something to say, if it knows.
    fn next_ms(&self) -> Option<u64> {
        None
    }

    /// Waits until it may have something to say, if it can; whether it has.
    fn wait(&mut self, _at_most: Duration) -> Option<bool> {
        None
    }
}

/// Something that a source said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Heard {
    /// A value, without calibration.
    Value(Value),
    /// A value of the second quantity.
    Companion(Value),
    /// It works, but has no value.
    Fault(Fault),
    /// Its values go on, but something about them is to be known.
    Note(Fault),
    /// It knows UTC.
    Time(GnssTime),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing is wrong; asked again after so long, ms.
    NotReady {
        /// How long.
        wait_ms: u64,
    },
    /// It has gone back to its defaults: to be configured again at once.
    ConfigurationLost(Fault),
    /// Something is wrong.
    Error(Fault, Advice),
}

/// A fault without a register.
pub(crate) fn fault(kind: FaultKind, code: i32) -> Fault {
    Fault {
        kind,
        register: 0,
        code,
    }
}
