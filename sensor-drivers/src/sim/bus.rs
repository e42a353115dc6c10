//! The simulated bus.
//!
//! Promises: chips are reached one message at a time, at the virtual time set by `advance_to`;
//! transactions take no time. Refused as on a BCM2835: a read followed by another message, and
//! zero-length messages; and as by the kernel above it: more than 42 messages, and one above 8192
//! bytes. An address without a chip, or with a chip that is silenced at the time,
//! does not acknowledge; what else goes wrong stands in a [`FaultScript`]. Never: virtual time running backwards.
//!
//! [`SimBus::message_write`] and [`SimBus::message_read`] are the same single messages for a
//! bridge that is not `embedded_hal`, such as a USB adapter shown to an emulated board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, Operation};

use super::Window;
use super::fault::{Fault, FaultScript};
use super::truth::TruthFile;
use crate::error::{BusClass, ClassifyBus};

/// What i2c-dev takes in one transaction.
const MESSAGES_MAX: usize = 42;
/// What i2c-dev takes in one message.
const MESSAGE_LEN_MAX: usize = 8192;

/// A chip behind an address.
pub trait SimChip: Send + std::fmt::Debug {
    /// One write message, never empty.
    ///
    /// # Errors
    /// What the bus would report.
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError>;

    /// One read message, never empty. What it hands out it also writes to `truth`.
    ///
    /// # Errors
    /// What the bus would report, or a truth file that cannot be written.
    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError>;
}

/// A failed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SimBusError {
    /// Nobody answered.
    #[error("no acknowledge (errno 121)")]
    NoAck,
    /// The bus hangs: somebody holds the clock.
    #[error("bus hung (errno 110)")]
    Hung,
    /// Fewer bytes came than were asked for.
    #[error("transfer too short (errno 5)")]
    Short,
    /// The adapter cannot do this transaction.
    #[error("transfer not supported by the adapter (errno 95)")]
    Unsupported,
    /// The kernel does not pass such a transaction on.
    #[error("transfer too large for the kernel (errno 22)")]
    TooLarge,
    /// The truth file could not be written, so the reading was withheld: a test without its
    /// oracle must not go on.
    #[error("truth file cannot be written: {0}")]
    TruthFile(std::io::ErrorKind),
}

impl ClassifyBus for SimBusError {
    fn class(&self) -> BusClass {
        match self {
            Self::NoAck => BusClass::from_errno(121),
            Self::Hung => BusClass::from_errno(110),
            Self::Short => BusClass::from_errno(5),
            Self::Unsupported => BusClass::from_errno(95),
            Self::TooLarge => BusClass::from_errno(22),
            Self::TruthFile(_) => BusClass::Other(0),
        }
    }
}

impl embedded_hal::i2c::Error for SimBusError {
    /// `Other` for everything: that is what Linux adapters make of these errors, so a driver that
    /// decides by kind fails here as it would fail there.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The bus; clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct SimBus {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now_ms: u64,
    slots: Vec<Slot>,
    truth: TruthFile,
}

#[derive(Debug)]
struct Slot {
    address: u8,
    chip: Box<dyn SimChip>,
    faults: FaultScript,
}

impl SimBus {
    /// A bus without chips at the virtual time `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64, truth: TruthFile) -> Self {
        let state = State {
            now_ms,
            slots: Vec::new(),
            truth,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Puts a chip at an address, taking the place of any other. During the `silent` windows it
    /// does not acknowledge.
    pub fn attach(&self, address: u8, chip: Box<dyn SimChip>, silent: Vec<Window>) {
        let entries = silent.into_iter().map(|window| (window, Fault::NoAck));
        self.attach_with(address, chip, FaultScript::new(entries.collect(), 0));
    }

    /// Puts a chip at an address, taking the place of any other, with what will go wrong.
    pub fn attach_with(&self, address: u8, chip: Box<dyn SimChip>, faults: FaultScript) {
        let mut state = self.lock();
        state.slots.retain(|slot| slot.address != address);
        state.slots.push(Slot {
            address,
            chip,
            faults,
        });
    }

    /// Sets virtual time; an earlier time than the bus has seen is ignored.
    pub fn advance_to(&self, now_ms: u64) {
        let mut state = self.lock();
        state.now_ms = state.now_ms.max(now_ms);
    }

    /// One write message.
    ///
    /// # Errors
    /// As the adapter would report.
    pub fn message_write(&self, address: u8, bytes: &[u8]) -> Result<(), SimBusError> {
        self.lock().message(address, &mut Operation::Write(bytes))
    }

    /// One read message.
    ///
    /// # Errors
    /// As the adapter would report.
    pub fn message_read(&self, address: u8, into: &mut [u8]) -> Result<(), SimBusError> {
        self.lock().message(address, &mut Operation::Read(into))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the registers as they are, which is what hardware does, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn message(&mut self, address: u8, message: &mut Operation<'_>) -> Result<(), SimBusError> {
        let Self {
            now_ms,
            slots,
            truth,
        } = self;
        let len = match message {
            Operation::Write(bytes) => bytes.len(),
            Operation::Read(into) => into.len(),
        };
        match len {
            0 => return Err(SimBusError::Unsupported),
            1..=MESSAGE_LEN_MAX => {}
            _ => return Err(SimBusError::TooLarge),
        }
        let now_ms = *now_ms;
        if slots
            .iter()
            .any(|slot| slot.faults.has(Fault::Hung, now_ms))
        {
            return Err(SimBusError::Hung);
        }
        let slot = slots
            .iter_mut()
            .find(|slot| slot.address == address)
            .filter(|slot| !slot.faults.has(Fault::NoAck, now_ms))
            .ok_or(SimBusError::NoAck)?;
        let other_part = slot.faults.has(Fault::WrongPart, now_ms);
        match message {
            Operation::Write(_) if other_part => Ok(()),
            Operation::Write(bytes) => slot.chip.write(now_ms, bytes),
            Operation::Read(_) if slot.faults.has(Fault::ShortRead, now_ms) => {
                Err(SimBusError::Short)
            }
            Operation::Read(into) => {
                if !other_part {
                    slot.chip.read(now_ms, into, truth)?;
                }
                slot.faults.damage(now_ms, into);
                Ok(())
            }
        }
    }
}

impl ErrorType for SimBus {
    type Error = SimBusError;
}

impl I2c for SimBus {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Self::Error> {
        let reads_before_the_end = operations
            .split_last()
            .is_some_and(|(_, rest)| rest.iter().any(|op| matches!(op, Operation::Read(_))));
        if operations.len() > MESSAGES_MAX {
            return Err(SimBusError::TooLarge);
        }
        if operations.is_empty() || reads_before_the_end {
            return Err(SimBusError::Unsupported);
        }
        let mut state = self.lock();
        operations
            .iter_mut()
            .try_for_each(|operation| state.message(address, operation))
    }
}

#[cfg(test)]
mod tests;
