//! Readings become sealed frames.
//!
//! Promises: a batch is closed by count, by the age of its first reading, by a hole in the numbers, and on
//! demand; every number that comes in leaves in exactly one frame, or is named as one that could not be
//! sealed. Never: a frame that changes after it was closed, a clock.

use firmware_shared::batch::{self, SealError, SealParams};
use firmware_shared::id::{SeqRange, StreamId};
use firmware_shared::reading::Reading;
use firmware_shared::time::TimeAnchor;

use crate::config::SealConfig;
use crate::spool::Frame;

/// What leaves the sealer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealed {
    /// A frame for the spool.
    Frame(Frame),
    /// Numbers that the codec refused; a defect, told as a loss.
    Refused(StreamId, SeqRange, SealError),
}

/// Closes the batches of one stream.
#[derive(Debug)]
pub struct Sealer {
    stream: StreamId,
    config: SealConfig,
    first_seq: u64,
    readings: Vec<Reading>,
    buffer: Vec<u8>,
}

impl Sealer {
    /// A sealer without a reading.
    #[must_use]
    pub fn new(stream: StreamId, config: SealConfig) -> Self {
        let count_max = config.count_max.clamp(1, batch::COUNT_MAX);
        Self {
            stream,
            config: SealConfig {
                count_max,
                ..config
            },
            first_seq: 0,
            readings: Vec::with_capacity(count_max),
            buffer: vec![0; batch::BATCH_LEN_MAX],
        }
    }

    /// Takes a reading; closes the batch before it when its number does not follow, and the batch with it
    /// when that is full.
    pub fn push(
        &mut self,
        seq: u64,
        reading: Reading,
        anchor: Option<TimeAnchor>,
        out: &mut Vec<Sealed>,
    ) {
        if self.next_seq() != Some(seq) {
            self.close(anchor, out);
            self.first_seq = seq;
        }
        self.readings.push(reading);
        if self.readings.len() >= self.config.count_max {
            self.close(anchor, out);
        }
    }

    /// The number that the open batch waits for.
    fn next_seq(&self) -> Option<u64> {
        let count = self.readings.len() as u64;
        (count > 0).then_some(self.first_seq.saturating_add(count))
    }

    /// Closes the open batch when its first reading is too old.
    pub fn close_old(&mut self, stamp_ms: u64, anchor: Option<TimeAnchor>, out: &mut Vec<Sealed>) {
        if self
            .deadline_stamp_ms()
            .is_some_and(|deadline| deadline <= stamp_ms)
        {
            self.close(anchor, out);
        }
    }

    /// The stamp at which the open batch is too old.
    #[must_use]
    pub fn deadline_stamp_ms(&self) -> Option<u64> {
        let first = self.readings.first()?;
        Some(first.stamp_ms.saturating_add(self.config.age_ms_max))
    }

    /// Closes the open batch, if there is one.
    pub fn close(&mut self, anchor: Option<TimeAnchor>, out: &mut Vec<Sealed>) {
        let readings = std::mem::take(&mut self.readings);
        self.seal(self.first_seq, &readings, anchor, out);
        self.readings = readings;
        self.readings.clear();
    }

    fn seal(
        &mut self,
        first_seq: u64,
        readings: &[Reading],
        anchor: Option<TimeAnchor>,
        out: &mut Vec<Sealed>,
    ) {
        let Some(range) = SeqRange::from_count(first_seq, readings.len() as u64) else {
            return;
        };
        let StreamId { epoch, lane } = self.stream;
        let params = SealParams {
            epoch,
            lane,
            first_seq,
            anchor,
        };
        match batch::seal(&params, readings, &mut self.buffer) {
            Ok(len) => {
                let bytes = self.buffer.get(..len).unwrap_or_default().to_vec();
                out.push(Sealed::Frame(Frame {
                    stream: self.stream,
                    range,
                    bytes,
                }));
            }
            Err(SealError::TooManySensors { index }) if (1..readings.len()).contains(&index) => {
                let (head, tail) = readings.split_at(index);
                self.seal(first_seq, head, anchor, out);
                self.seal(
                    first_seq.saturating_add(head.len() as u64),
                    tail,
                    anchor,
                    out,
                );
            }
            Err(error) => out.push(Sealed::Refused(self.stream, range, error)),
        }
    }
}

#[cfg(test)]
mod tests;
