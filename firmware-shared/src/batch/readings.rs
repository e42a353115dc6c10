//! Reading a payload of [`CodecId::COLUMNS_V1`], one reading at a time.
//!
//! Promises: exactly as many readings as the header counts, or an error in the place of the first that
//! cannot be; bytes behind the last reading are an error. Never: panics or loops on any bytes, needs a heap
//! or more than 4 KiB of state.

use core::fmt;

use crate::reading::{Reading, Score, Value};

use super::COUNT_MAX;
use super::header::{CodecId, Header};
use super::model::{Model, Plan};
use super::range_coder::Reader;

/// Why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Keep the batch for a reader that knows this codec.
    UnknownCodec(CodecId),
    /// The header counts more readings than a batch may hold.
    Count {
        /// How many.
        count: u16,
    },
    /// The payload says something that no writer writes.
    Payload {
        /// At which reading.
        index: u16,
    },
    /// The payload does not end where its last reading does.
    Ending,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCodec(codec) => {
                write!(
                    f,
                    "a batch of codec {}; this reader knows {}",
                    codec.0,
                    CodecId::COLUMNS_V1.0
                )
            }
            Self::Count { count } => {
                write!(
                    f,
                    "{count} readings in a batch; allowed are at most {COUNT_MAX}"
                )
            }
            Self::Payload { index } => write!(f, "reading {index} of the batch is impossible"),
            Self::Ending => f.write_str("the batch does not end behind its last reading"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// The readings of a batch, in order. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Readings<'a> {
    reader: Reader<'a>,
    model: Model,
    index: u16,
    count: u16,
}

impl<'a> Readings<'a> {
    pub(super) fn new(header: &Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        if usize::from(header.count) > COUNT_MAX {
            return Err(DecodeError::Count {
                count: header.count,
            });
        }
        let mut reader = Reader::new(payload);
        let model = Model::begin(&mut reader, Plan::CONSTANT, header.base_ms);
        Ok(Self {
            reader,
            model,
            index: 0,
            count: header.count,
        })
    }

    fn read(&mut self) -> Result<Reading, DecodeError> {
        let index = self.index;
        let reading = self.model.row(&mut self.reader, &NOTHING, 0);
        let reading = reading.ok().flatten();
        let reading = reading.ok_or(DecodeError::Payload { index })?;
        self.index += 1;
        if self.index == self.count && !self.reader.ended() {
            return Err(DecodeError::Ending);
        }
        Ok(reading)
    }
}

impl Iterator for Readings<'_> {
    type Item = Result<Reading, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let reading = self.read();
        if reading.is_err() {
            self.index = self.count;
        }
        Some(reading)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.count - self.index);
        (usize::from(left > 0), Some(left))
    }
}

/// What a reader passes in place of a reading.
const NOTHING: Reading = Reading {
    stamp_ms: 0,
    sensor: 0,
    score: Score::ORDINARY,
    value: Value::State(0),
};

const _: () = assert!(
    size_of::<Readings<'_>>() <= 4096,
    "a reader fits a microcontroller"
);
