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
mod tests {
    use super::*;
    use crate::error::Advice;

    /// Remembers the last byte written and reads it back.
    #[derive(Debug)]
    struct Echo(u8);

    impl SimChip for Echo {
        fn write(&mut self, _now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
            self.0 = bytes[bytes.len() - 1];
            Ok(())
        }

        fn read(
            &mut self,
            now_ms: u64,
            into: &mut [u8],
            _truth: &mut TruthFile,
        ) -> Result<(), SimBusError> {
            into.fill(self.0 + u8::try_from(now_ms).unwrap());
            Ok(())
        }
    }

    fn bus() -> SimBus {
        let bus = SimBus::new(1, TruthFile::none());
        bus.attach(
            0x48,
            Box::new(Echo(0)),
            vec![Window {
                from_ms: 10,
                to_ms: 20,
            }],
        );
        bus
    }

    #[test]
    fn the_transactions_of_a_bcm2835_work_and_share_one_bus_between_handles() {
        let mut bus = bus();
        let mut other = bus.clone();
        let mut byte = [0];
        assert_eq!(bus.write(0x48, &[3, 5]), Ok(()));
        assert_eq!(other.read(0x48, &mut byte), Ok(()));
        assert_eq!(byte, [6]);
        assert_eq!(bus.write_read(0x48, &[8], &mut byte), Ok(()));
        assert_eq!(byte, [9]);
        assert_eq!(bus.message_write(0x48, &[1]), Ok(()));
        assert_eq!(bus.message_read(0x48, &mut byte), Ok(()));
        assert_eq!(byte, [2]);
    }

    #[test]
    fn a_read_before_another_message_and_empty_messages_are_refused() {
        let mut bus = bus();
        let (mut first, mut second) = ([0], [0]);
        let mut reads = [Operation::Read(&mut first), Operation::Read(&mut second)];
        assert_eq!(
            bus.transaction(0x48, &mut reads),
            Err(SimBusError::Unsupported)
        );
        let mut read_write = [Operation::Read(&mut first), Operation::Write(&[1])];
        assert_eq!(
            bus.transaction(0x48, &mut read_write),
            Err(SimBusError::Unsupported)
        );
        assert_eq!(bus.write(0x48, &[]), Err(SimBusError::Unsupported));
        assert_eq!(bus.read(0x48, &mut []), Err(SimBusError::Unsupported));
        assert_eq!(
            bus.write_read(0x48, &[1], &mut []),
            Err(SimBusError::Unsupported)
        );
        assert_eq!(
            bus.transaction(0x48, &mut []),
            Err(SimBusError::Unsupported)
        );
    }

    #[test]
    fn what_the_kernel_does_not_pass_on_is_refused_before_a_chip_sees_it() {
        let mut bus = bus();
        let largest = vec![1; MESSAGE_LEN_MAX];
        assert_eq!(bus.write(0x48, &largest), Ok(()));
        let refused = bus.write(0x48, &vec![1; MESSAGE_LEN_MAX + 1]);
        assert_eq!(refused, Err(SimBusError::TooLarge));
        assert_eq!(SimBusError::TooLarge.class(), BusClass::Other(22));
        for (messages, expected) in [(42, Ok(())), (43, Err(SimBusError::TooLarge))] {
            let mut writes: Vec<_> = (0..messages).map(|_| Operation::Write(&[1])).collect();
            assert_eq!(bus.transaction(0x48, &mut writes), expected);
        }
    }

    #[test]
    fn an_absent_chip_and_a_silenced_one_do_not_acknowledge() {
        let mut bus = bus();
        assert_eq!(bus.write(0x49, &[1]), Err(SimBusError::NoAck));
        for (now_ms, expected) in [
            (9, Ok(())),
            (10, Err(SimBusError::NoAck)),
            (19, Err(SimBusError::NoAck)),
            (20, Ok(())),
        ] {
            bus.advance_to(now_ms);
            assert_eq!(bus.write(0x48, &[1]), expected, "at {now_ms}");
        }
        assert_eq!(SimBusError::NoAck.class(), BusClass::NoAck);
        assert_eq!(SimBusError::NoAck.class().advice(), Advice::Reinitialise);
    }

    #[test]
    fn faults_have_the_errors_of_a_linux_adapter_and_a_hung_chip_hangs_the_whole_bus() {
        let during = |fault| {
            let mut bus = bus();
            let window = Window {
                from_ms: 10,
                to_ms: 20,
            };
            bus.attach_with(
                0x49,
                Box::new(Echo(0)),
                FaultScript::new(vec![(window, fault)], 1),
            );
            bus.attach(0x4a, Box::new(Echo(0)), Vec::new());
            bus.advance_to(15);
            let mut byte = [0];
            let own = (bus.write(0x49, &[1]), bus.read(0x49, &mut byte));
            let class = |error: SimBusError| error.class();
            let other = bus.write(0x4a, &[1]).map_err(class);
            bus.advance_to(20);
            assert_eq!(bus.write(0x49, &[1]), Ok(()));
            (own.0.map_err(class), own.1.map_err(class), other, byte[0])
        };
        let hung = Err(BusClass::Timeout);
        assert_eq!(during(Fault::Hung), (hung, hung, hung, 0));
        let no_ack = Err(BusClass::NoAck);
        assert_eq!(during(Fault::NoAck), (no_ack, no_ack, Ok(()), 0));
        let short = Err(BusClass::StretchOrLength);
        assert_eq!(during(Fault::ShortRead), (Ok(()), short, Ok(()), 0));
        assert_eq!(during(Fault::WrongPart), (Ok(()), Ok(()), Ok(()), 0x55));
        let garbage = Fault::StretchGarbage { one_in: 1 };
        assert_eq!(during(garbage), (Ok(()), Ok(()), Ok(()), 0x01));
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut bus = bus();
        bus.advance_to(9);
        bus.advance_to(4);
        let mut byte = [0];
        bus.read(0x48, &mut byte).unwrap();
        assert_eq!(byte, [9]);
    }
}
