//! A scripted bus for driver tests: every transaction is compared byte for byte with what the
//! test wrote down, and nothing may be left over.

extern crate std;
use std::collections::VecDeque;
use std::vec::Vec;

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

/// One expected transaction: what is written (if anything), what is read (if anything).
#[derive(Debug)]
pub(crate) struct Step {
    address: u8,
    written: Option<Vec<u8>>,
    reply: Option<Result<Vec<u8>, ErrorKind>>,
}

pub(crate) fn write(address: u8, bytes: &[u8]) -> Step {
    Step {
        address,
        written: Some(bytes.to_vec()),
        reply: None,
    }
}

pub(crate) fn read(address: u8, reply: &[u8]) -> Step {
    Step {
        address,
        written: None,
        reply: Some(Ok(reply.to_vec())),
    }
}

pub(crate) fn write_read(address: u8, bytes: &[u8], reply: &[u8]) -> Step {
    Step {
        address,
        written: Some(bytes.to_vec()),
        reply: Some(Ok(reply.to_vec())),
    }
}

pub(crate) fn no_ack(address: u8, bytes: &[u8]) -> Step {
    let error = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    Step {
        address,
        written: Some(bytes.to_vec()),
        reply: Some(Err(error)),
    }
}

pub(crate) fn no_ack_read(address: u8) -> Step {
    let error = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    Step {
        address,
        written: None,
        reply: Some(Err(error)),
    }
}

/// The bus.
#[derive(Debug)]
pub(crate) struct Transcript {
    steps: VecDeque<Step>,
}

impl Transcript {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
        }
    }

    /// Asserts that everything expected has happened.
    pub(crate) fn done(self) {
        assert!(self.steps.is_empty(), "not asked for: {:?}", self.steps);
    }
}

impl ErrorType for Transcript {
    type Error = ErrorKind;
}

impl I2c for Transcript {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Self::Error> {
        let step = self
            .steps
            .pop_front()
            .expect("a transaction beyond the transcript");
        assert_eq!(address, step.address);
        let mut written = None;
        let mut into = None;
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    assert!(into.is_none() && written.is_none(), "not write-then-read");
                    written = Some(bytes.to_vec());
                }
                Operation::Read(buffer) => {
                    assert!(into.is_none(), "two reads in one transaction");
                    into = Some(buffer);
                }
            }
        }
        assert_eq!(written, step.written);
        match (into, step.reply) {
            (_, Some(Err(error))) => return Err(error),
            (Some(buffer), Some(Ok(reply))) => {
                assert_eq!(buffer.len(), reply.len(), "read length");
                buffer.copy_from_slice(&reply);
            }
            (None, None) => {}
            (into, reply) => panic!("expected {reply:?}, asked to read {into:?}"),
        }
        Ok(())
    }
}
