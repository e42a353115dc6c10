//! Numbers for readings, given before the first queue.
//!
//! Promises: numbers are consecutive and unique in their lane and arrive in order; whoever issues one never
//! waits: when the queue is full the number is issued all the same, its reading is dropped, and the other
//! end learns of it as a gap. Never: a reading that vanishes without a number that says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use firmware_shared::id::SeqRange;
use firmware_shared::reading::Reading;
use firmware_shared::time::TimeAnchor;

use crate::sample::BusReport;

/// The most readings between the samplers and the pipeline: over a minute of 60 sensors at 1 Hz, longer
/// than a slow flash card holds up an fsync, in less than half a megabyte.
pub const QUEUE_COUNT_MAX: usize = 4096;

/// What a sampler sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// A reading under its number.
    Reading {
        /// Its number in the telemetry lane.
        seq: u64,
        /// The reading; its score is still to be given.
        reading: Reading,
    },
    /// What a receiver knows about UTC.
    Anchor(TimeAnchor),
    /// How a bus is.
    Bus(BusReport),
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// On its way under this number.
    Queued(u64),
    /// Lost under this number.
    Lost(u64),
}

#[derive(Debug)]
struct Desk {
    next_seq: u64,
    sender: Sender<Sampled>,
}

/// Gives numbers; every sampler has one.
#[derive(Debug, Clone)]
pub struct Issuer {
    desk: Arc<Mutex<Desk>>,
}

/// Takes numbered readings; the pipeline has it.
#[derive(Debug)]
pub struct Intake {
    desk: Arc<Mutex<Desk>>,
    receiver: Receiver<Sampled>,
    expected_seq: u64,
}

/// The two ends of a queue of at most `count_max` readings.
#[must_use]
pub fn queue(count_max: usize) -> (Issuer, Intake) {
    let (sender, receiver) = bounded(count_max);
    let desk = Arc::new(Mutex::new(Desk {
        next_seq: 0,
        sender,
    }));
    let intake = Intake {
        desk: Arc::clone(&desk),
        receiver,
        expected_seq: 0,
    };
    (Issuer { desk }, intake)
}

/// A panic elsewhere ends the process; until then the numbers stay right.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Issuer {
    /// Gives a reading its number and sends it, without waiting.
    pub fn issue(&self, reading: Reading) -> Issued {
        let mut desk = lock(&self.desk);
        let seq = desk.next_seq;
        desk.next_seq += 1;
        match desk.sender.try_send(Sampled::Reading { seq, reading }) {
            Ok(()) => Issued::Queued(seq),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Issued::Lost(seq),
        }
    }

    /// Sends what is known about UTC. Dropped when the queue is full: another one comes with the next fix.
    pub fn anchor(&self, anchor: TimeAnchor) -> bool {
        lock(&self.desk)
            .sender
            .try_send(Sampled::Anchor(anchor))
            .is_ok()
    }

    /// Says how a bus is; whether there was room for it.
    #[must_use]
    pub fn bus(&self, report: BusReport) -> bool {
        lock(&self.desk)
            .sender
            .try_send(Sampled::Bus(report))
            .is_ok()
    }
}

impl Intake {
    /// The queue, to wait for it.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Sampled> {
        &self.receiver
    }

    /// To be told of every number taken from the queue; the numbers before it that will never come.
    pub fn admit(&mut self, seq: u64) -> Option<SeqRange> {
        let gap = SeqRange::from_count(self.expected_seq, seq.saturating_sub(self.expected_seq));
        self.expected_seq = seq.saturating_add(1);
        gap
    }

    /// The issued numbers that will never come, when the queue is empty.
    pub fn take_tail(&mut self) -> Option<SeqRange> {
        // Nothing is issued while the desk is locked: an empty queue means that the rest is lost.
        let desk = lock(&self.desk);
        if !self.receiver.is_empty() {
            return None;
        }
        let next_seq = desk.next_seq;
        drop(desk);
        let count = next_seq.saturating_sub(self.expected_seq);
        let gap = SeqRange::from_count(self.expected_seq, count);
        self.expected_seq = next_seq.max(self.expected_seq);
        gap
    }

    /// The number that the next reading gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        lock(&self.desk).next_seq
    }

    /// Readings that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.receiver.len()
    }
}

#[cfg(test)]
mod tests {
    use firmware_shared::reading::{Score, Value};

    use super::*;

    fn reading(stamp_ms: u64) -> Reading {
        Reading {
            stamp_ms,
            sensor: 0,
            score: Score::ORDINARY,
            value: Value::State(1),
        }
    }

    fn take(intake: &mut Intake) -> (u64, Option<SeqRange>) {
        match intake.receiver().try_recv() {
            Ok(Sampled::Reading { seq, .. }) => (seq, intake.admit(seq)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_consecutive_from_zero() {
        let (issuer, mut intake) = queue(4);
        for seq in 0..3 {
            assert_eq!(issuer.issue(reading(seq)), Issued::Queued(seq));
        }
        assert_eq!((intake.next_seq(), intake.depth()), (3, 3));
        for seq in 0..3 {
            assert_eq!(take(&mut intake), (seq, None));
        }
        assert_eq!(intake.take_tail(), None);
    }

    #[test]
    fn a_full_queue_costs_numbers_that_become_losses_and_never_blocks() {
        let (issuer, mut intake) = queue(2);
        assert_eq!(issuer.issue(reading(0)), Issued::Queued(0));
        assert_eq!(issuer.issue(reading(1)), Issued::Queued(1));
        assert_eq!(issuer.issue(reading(2)), Issued::Lost(2));
        assert_eq!(issuer.issue(reading(3)), Issued::Lost(3));
        assert_eq!(intake.take_tail(), None, "readings still wait");
        assert_eq!(take(&mut intake), (0, None));
        assert_eq!(issuer.issue(reading(4)), Issued::Queued(4));
        assert_eq!(take(&mut intake), (1, None));
        assert_eq!(take(&mut intake), (4, SeqRange::new(2, 3)));
        assert_eq!(issuer.issue(reading(5)), Issued::Queued(5));
        assert_eq!(issuer.issue(reading(6)), Issued::Queued(6));
        assert_eq!(issuer.issue(reading(7)), Issued::Lost(7));
        assert_eq!(take(&mut intake), (5, None));
        assert_eq!(take(&mut intake), (6, None));
        assert_eq!(intake.take_tail(), SeqRange::new(7, 7));
        assert_eq!(intake.take_tail(), None, "a loss is told once");
    }

    #[test]
    fn many_samplers_share_one_row_of_numbers_and_every_number_is_explained() {
        let (issuer, mut intake) = queue(8);
        let (threads, each) = (4, 500);
        let mut seen = vec![0_u32; threads * each];
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let issuer = issuer.clone();
                scope.spawn(move || {
                    (0..each as u64).for_each(|at| {
                        assert!(matches!(
                            issuer.issue(reading(at)),
                            Issued::Queued(_) | Issued::Lost(_)
                        ))
                    })
                });
            }
            // Slower than the samplers, so that the queue overflows on the way.
            while seen.iter().sum::<u32>() < (threads * each) as u32 {
                let (seq, gap) = match intake.receiver().try_recv() {
                    Ok(Sampled::Reading { seq, .. }) => (Some(seq), intake.admit(seq)),
                    _ => (None, intake.take_tail()),
                };
                let lost = gap.map_or(0..0, |gap| gap.first_seq..gap.next_seq());
                for number in lost.chain(seq) {
                    seen[number as usize] += 1;
                }
            }
        });
        assert!(seen.iter().all(|count| *count == 1));
    }
}
