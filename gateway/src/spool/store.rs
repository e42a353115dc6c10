//! The spool alone, without delivery: for benches and for proofs that kill real processes.
//!
//! Promises: the same code as below delivery, nothing beside it. Never: part of a running gateway.

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{AckEntry, Loss};
use firmware_shared::time::BootId;

use super::disk::Disk;
use super::metrics::DeviceBytes;
use super::{EpochNote, Frame, Place, Spool, SpoolLimits};

/// A spool.
#[derive(Debug)]
pub struct Store {
    spool: Spool,
}

impl Store {
    /// Opens it for a process start.
    #[must_use]
    pub fn open(disk: Box<dyn Disk>, limits: SpoolLimits, epoch: Epoch, now_ms: u64) -> Self {
        let note = EpochNote {
            boot_id: BootId([7; 16]),
            tail_at_most: [1 << 20; 3],
        };
        let spool_id = epoch.number();
        let spool = Spool::open(disk, limits, epoch, note, spool_id, now_ms);
        Self { spool }
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) {
        self.spool.tick(now_ms);
    }

    /// Takes a frame into RAM; whether it was taken.
    pub fn append(&mut self, frame: Frame) -> bool {
        self.spool.append(frame).is_ok()
    }

    /// Makes everything that is not acknowledged durable; whether it is.
    pub fn commit(&mut self) -> bool {
        self.spool.commit()
    }

    /// The next frame of a lane that is left to send, from `cursor` on.
    pub fn next(&mut self, lane: Lane, cursor: &mut Place) -> Option<(Place, StreamId, SeqRange)> {
        loop {
            let found = self.spool.next_frame(lane, cursor)?;
            if !self.spool.book().is_done(found.stream, found.range) {
                return Some((found.place, found.stream, found.range));
            }
        }
    }

    /// The bytes of a frame.
    pub fn read(&mut self, place: Place, id: StreamId, range: SeqRange) -> Option<Vec<u8>> {
        self.spool.read(place, id, range).ok()
    }

    /// The centre has these numbers.
    pub fn acknowledge(&mut self, id: StreamId, range: SeqRange) {
        if let Some(stream) = self.spool.book_unwritten_mut().stream_mut(id) {
            stream.take(range);
            stream.note_acked();
        }
    }

    /// The centre has everything that an older process start left, and its open tails.
    pub fn acknowledge_epoch(&mut self, epoch: Epoch) {
        for lane in Lane::ALL {
            let id = StreamId { epoch, lane };
            let Some(stream) = self.spool.book_unwritten_mut().stream_mut(id) else {
                continue;
            };
            let entry = AckEntry {
                epoch,
                lane,
                upto: stream.known_next_seq,
                ranges: heapless::Vec::new(),
                tail_from: stream.tail.map(|tail| tail.first_seq),
            };
            stream.advance(&entry);
            stream.note_acked();
        }
    }

    /// Frees what is acknowledged.
    pub fn settle(&mut self) {
        self.spool.settle();
    }

    /// Makes what is acknowledged durable; whether it is.
    pub fn checkpoint(&mut self) -> bool {
        self.spool.write_book()
    }

    /// A clean stop.
    pub fn close(&mut self) {
        self.spool.close();
    }

    /// Whether the disk cannot be used.
    #[must_use]
    pub fn is_in_ram(&self) -> bool {
        self.spool.is_in_ram()
    }

    /// What went to the device since the start.
    #[must_use]
    pub fn device_bytes(&self) -> DeviceBytes {
        self.spool.device_bytes()
    }

    /// What is on record as lost.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        self.spool.book().losses()
    }

    /// Whether the numbers are acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self, id: StreamId, seq: u64) -> bool {
        let stream = self.spool.book().stream(id);
        stream.is_none_or(|stream| stream.acked.contains(seq))
    }
}
