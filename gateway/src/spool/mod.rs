//! The spool: sealed frames between their sealing and their central acknowledgement.
//!
//! Promises: what was synced survives a cut of the power; each number that was issued is held, acknowledged
//! or stands in the loss ledger with a reason; a lane stays inside its bytes; memory does not depend on the
//! backlog; it opens on arbitrary bytes, and on no disk at all (then it lives in RAM and says so).
//!
//! Never: frees a frame that is not acknowledged without a loss on record; syncs a file again whose sync
//! failed; reads a clock; waits for anybody. One thread owns it.
//!
//! ```text
//! DIR/lock                       held by the process that has the spool open
//! DIR/state                      see `state`: identity, epochs, acknowledged numbers, loss ledger
//! DIR/{alert,telemetry,health}/  one folder per lane
//!   0000000000000001.seg         records back to back, see `record`; the order of names is the order
//!   0000000000000002.seg         of the lane; only the last file grows
//! ```
//! A file goes when every number in it is acknowledged, after the state that says so is durable. The oldest
//! goes earlier when the lane is over its bytes, after the loss is durable.

pub mod disk;
pub mod inspect;

mod book;
mod lane_log;
mod ledger;
mod memory;
mod numbers;
mod open;
mod reading;
mod record;
mod rescue;
mod state;
mod stream;

use std::io;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::TimeAnchor;

pub use book::PerLane;
pub use lane_log::Place;
pub use record::PAYLOAD_LEN_MAX;

pub(crate) use book::{Book, Ending, EpochEntry};
pub(crate) use reading::Unread;
pub(crate) use record::EpochNote;
pub(crate) use stream::Stream;

use disk::Disk;
use lane_log::{Home, LaneLog};
use memory::MemoryDisk;
use numbers::Numbers;
use record::Content;

/// The very bytes that travel, and the numbers in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whose numbers.
    pub stream: StreamId,
    /// The numbers.
    pub range: SeqRange,
    /// A sealed batch, or an alert's JSON.
    pub bytes: Vec<u8>,
}

/// How much the spool may take.
#[derive(Debug, Clone)]
pub struct SpoolLimits {
    /// Bytes on the disk, per lane.
    pub max_bytes: PerLane<u64>,
    /// Bytes in RAM while the disk cannot be used, per lane.
    pub ram_bytes: PerLane<u64>,
    /// Length at which the next segment file is begun, bytes.
    pub segment_bytes: u64,
}

/// What the rest of the vehicle should hear about the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SpoolEvent {
    /// The disk cannot be used; frames are in RAM.
    Degraded(String),
    /// The disk can be used again and has taken what was in RAM.
    Recovered,
    /// Stored frames were damaged; so many numbers are lost by it.
    Corrupt { place: String, numbers: u64 },
    /// The oldest frames made room for later ones.
    Evicted { lane: Lane, numbers: u64 },
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Of an epoch that this spool has not heard of.
    Epoch(Epoch),
    /// Longer than [`PAYLOAD_LEN_MAX`]; how long, bytes.
    Length(usize),
}

/// Numbers of events since the start, per lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct LaneCounts {
    /// Frames taken.
    pub accepted: u64,
    /// Numbers lost to make room.
    pub evicted: u64,
    /// Numbers lost to damage.
    pub corrupt: u64,
    /// Failed writes and syncs.
    pub disk_errors: u64,
}

/// When so many bytes wait for a sync, the spool does not wait for its caller.
const UNSYNCED_LEN_MAX: usize = 256 * 1024;

/// The frames of all lanes, and the book about their numbers.
#[derive(Debug)]
pub(crate) struct Spool {
    disk: Box<dyn Disk>,
    ram: MemoryDisk,
    mode: Home,
    /// Whether everything on the disk was read: only then may its state be replaced later.
    disk_was_read: bool,
    limits: SpoolLimits,
    running: Epoch,
    logs: PerLane<LaneLog>,
    book: Book,
    state_dirty: bool,
    counts: PerLane<LaneCounts>,
    events: Vec<SpoolEvent>,
}

impl Spool {
    /// What is known of the streams.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// The same, to change it; the change is written lazily.
    pub(crate) fn book_mut(&mut self) -> &mut Book {
        self.state_dirty = true;
        &mut self.book
    }

    /// The same, for what need not be written, or is written by another call.
    pub(crate) fn book_unwritten_mut(&mut self) -> &mut Book {
        &mut self.book
    }

    /// The book has changed; it is written lazily.
    pub(crate) fn note_change(&mut self) {
        self.state_dirty = true;
    }

    /// Whether frames go to RAM because the disk cannot be used.
    pub(crate) fn is_in_ram(&self) -> bool {
        self.mode == Home::Ram
    }

    /// Whether the book has changed since it was written.
    pub(crate) fn is_dirty(&self) -> bool {
        self.state_dirty && self.mode == Home::Disk
    }

    /// What happened since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<SpoolEvent> {
        std::mem::take(&mut self.events)
    }

    /// Events of a lane since the start.
    pub(crate) fn counts(&self, lane: Lane) -> LaneCounts {
        *self.counts.get(lane)
    }

    /// Bytes held in a lane.
    pub(crate) fn bytes(&self, lane: Lane) -> u64 {
        let log = self.logs.get(lane);
        log.bytes(Home::Disk) + log.bytes(Home::Ram)
    }

    /// Frames held in a lane, those included that are acknowledged but share a file with others.
    pub(crate) fn frames(&self, lane: Lane) -> u64 {
        let log = self.logs.get(lane);
        log.segments.iter().map(|segment| segment.frames).sum()
    }

    /// What the files of a stream hold, as the numbers between their ends, without what is
    /// acknowledged or lost.
    pub(crate) fn held_hull(&self, id: StreamId) -> Vec<SeqRange> {
        let mut held = Numbers::default();
        for segment in &self.logs.get(id.lane).segments {
            for span in segment.spans.iter().filter(|s| s.epoch == id.epoch) {
                numbers::add(&mut held, span.hull);
            }
        }
        let Some(stream) = self.book.stream(id) else {
            return Vec::new();
        };
        let lost = stream.losses.numbers();
        let unacked = held
            .ranges()
            .iter()
            .flat_map(|r| stream.acked.missing_in(*r));
        unacked
            .flat_map(|r| lost.missing_in(r).collect::<Vec<_>>())
            .collect()
    }

    /// Takes a frame; it is durable after the next [`Spool::sync`]. The place is `None` when a failed
    /// write moved it.
    pub(crate) fn append(&mut self, frame: &Frame) -> Result<Option<Place>, Refused> {
        let (stream, lane) = (frame.stream, frame.stream.lane);
        let record = record::encode(stream, Content::Frame(frame.range), &frame.bytes)
            .ok_or(Refused::Length(frame.bytes.len()))?;
        let Some(numbers) = self.book.stream_mut(stream) else {
            return Err(Refused::Epoch(stream.epoch));
        };
        numbers.issued_next_seq = numbers.issued_next_seq.max(frame.range.next_seq());
        self.counts.get_mut(lane).accepted += 1;
        self.make_tail(lane, record.len() as u64);
        let place = self.write_record(stream, frame.range, &record);
        self.evict(lane);
        if self.logs.get(lane).unsynced_len() > UNSYNCED_LEN_MAX {
            self.sync_lane(lane);
        }
        Ok(place)
    }

    /// Makes everything that was appended durable.
    pub(crate) fn sync(&mut self) {
        for lane in Lane::ALL {
            self.sync_lane(lane);
        }
    }

    /// Makes what was appended to one lane durable.
    pub(crate) fn sync_lane(&mut self, lane: Lane) {
        let log = self.logs.get_mut(lane);
        let home = log.segments.last().map_or(self.mode, |tail| tail.home);
        match log.sync(disk_of(&mut self.disk, &mut self.ram, home)) {
            Ok(true) if home == Home::Disk => self.note_durable(lane),
            Ok(_) => {}
            Err(e) => self.rescue(lane, &e),
        }
    }

    /// Numbers up to the end of the tail are durable.
    fn note_durable(&mut self, lane: Lane) {
        let Some(tail) = self.logs.get(lane).segments.last() else {
            return;
        };
        for span in &tail.spans {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            if let Some(stream) = self.book.stream_mut(id) {
                stream.known_next_seq = stream.known_next_seq.max(span.hull.next_seq());
            }
        }
    }

    /// Sees to it that the last segment takes a record of this length.
    fn make_tail(&mut self, lane: Lane, len: u64) {
        let mode = self.mode;
        if self
            .logs
            .get(lane)
            .tail_takes(mode, len, self.roll_bytes(lane))
        {
            return;
        }
        // What stands before the roll must be durable, or the sync of another file would let it
        // wait for ever.
        self.sync_lane(lane);
        let (mode, roll_bytes) = (self.mode, self.roll_bytes(lane));
        let log = self.logs.get_mut(lane);
        if !log.tail_takes(mode, len, roll_bytes) {
            log.roll(mode);
        }
    }

    fn limit(&self, lane: Lane) -> u64 {
        match self.mode {
            Home::Disk => *self.limits.max_bytes.get(lane),
            Home::Ram => *self.limits.ram_bytes.get(lane),
        }
    }

    /// A lane has at least four segments, so that evicting one is not evicting all.
    fn roll_bytes(&self, lane: Lane) -> u64 {
        self.limits.segment_bytes.min(self.limit(lane) / 4)
    }

    /// Writes a record behind the note of its epoch; `None` when a failure moved it elsewhere.
    fn write_record(&mut self, stream: StreamId, range: SeqRange, record: &[u8]) -> Option<Place> {
        if let Err(e) = self.write_note(stream) {
            self.rescue(stream.lane, &e);
        }
        let log = self.logs.get_mut(stream.lane);
        let disk = disk_of(&mut self.disk, &mut self.ram, self.mode);
        match log.append(disk, stream.epoch, Some(range), record) {
            Ok(place) => Some(place),
            Err(e) => {
                self.rescue(stream.lane, &e);
                None
            }
        }
    }

    /// Introduces an epoch in the last segment.
    fn write_note(&mut self, stream: StreamId) -> io::Result<()> {
        let log = self.logs.get_mut(stream.lane);
        let Some(entry) = self
            .book
            .epoch(stream.epoch)
            .filter(|_| !log.has_note(stream.epoch))
        else {
            return Ok(());
        };
        let Some(note) = record::encode(stream, Content::EpochNote, &entry.note.encode()) else {
            return Ok(());
        };
        let disk = disk_of(&mut self.disk, &mut self.ram, self.mode);
        log.append(disk, stream.epoch, None, &note).map(drop)
    }

    /// Makes room while a lane is over its bytes.
    fn evict(&mut self, lane: Lane) {
        let limit = self.limit(lane);
        while self.logs.get(lane).bytes(self.mode) > limit {
            let mut here = self
                .logs
                .get(lane)
                .segments
                .iter()
                .filter(|s| s.home == self.mode);
            let (Some(oldest), Some(_)) = (here.next().cloned(), here.next()) else {
                return;
            };
            let mut numbers = 0;
            for span in &oldest.spans {
                let id = StreamId {
                    epoch: span.epoch,
                    lane,
                };
                numbers += self.book.lose(id, span.hull, LossReason::Evicted);
            }
            if numbers > 0 {
                self.counts.get_mut(lane).evicted += numbers;
                self.events.push(SpoolEvent::Evicted { lane, numbers });
            }
            self.write_state();
            self.remove_segment(lane, oldest.id);
        }
    }

    /// Deletes the files in which every number is acknowledged, after that is durable.
    pub(crate) fn release(&mut self) {
        let mut done = Vec::new();
        for lane in Lane::ALL {
            let log = self.logs.get(lane);
            let tail = log.tail_id();
            for segment in log.segments.iter().filter(|s| Some(s.id) != tail) {
                let acked = segment.spans.iter().all(|span| {
                    let id = StreamId {
                        epoch: span.epoch,
                        lane,
                    };
                    self.book.stream(id).is_none_or(|s| s.is_acked(span.hull))
                });
                if acked && !segment.unreadable {
                    done.push((lane, segment.id));
                }
            }
        }
        let on_disk = self.mode == Home::Disk;
        if !done.is_empty() && on_disk && !self.write_state() {
            return;
        }
        for (lane, id) in done {
            self.remove_segment(lane, id);
        }
        let logs = &self.logs;
        let stored = |epoch| {
            let mut lanes = Lane::ALL.iter();
            lanes.any(|lane| {
                let mut segments = logs.get(*lane).segments.iter();
                segments.any(|s| s.spans.iter().any(|span| span.epoch == epoch))
            })
        };
        self.state_dirty |= self.book.forget_settled(self.running, stored);
    }

    fn remove_segment(&mut self, lane: Lane, id: u64) {
        let log = self.logs.get_mut(lane);
        let Some(home) = log.segment(id).map(|segment| segment.home) else {
            return;
        };
        log.take(id);
        // While the state cannot be written, a file whose frames are acknowledged stays: the next
        // process sends it again rather than report a gap.
        if home == Home::Disk && self.mode == Home::Ram {
            return;
        }
        let file = log.file(id);
        if let Err(error) = disk_of(&mut self.disk, &mut self.ram, home).remove(&file) {
            tracing::warn!(%file, %error, "an empty segment could not be deleted");
        }
    }

    /// Writes the book; whether it is durable. A second failure in a row means RAM mode.
    pub(crate) fn write_state(&mut self) -> bool {
        if self.mode == Home::Ram {
            return false;
        }
        for last in [false, true] {
            match state::store(self.disk.as_mut(), &self.book) {
                Ok(_) => {
                    self.state_dirty = false;
                    return true;
                }
                Err(e) if last => self.degrade(&e),
                Err(error) => tracing::warn!(%error, "the spool's state could not be written"),
            }
        }
        false
    }

    /// Writes the book if it has changed.
    pub(crate) fn write_dirty_state(&mut self) {
        if self.state_dirty {
            self.write_state();
        }
    }

    /// Numbers that were issued but whose record will never come.
    pub(crate) fn lose(&mut self, id: StreamId, range: SeqRange, reason: LossReason) {
        let numbers = self.book.lose(id, range, reason);
        self.state_dirty |= numbers > 0;
        if reason == LossReason::Corrupt {
            self.counts.get_mut(id.lane).corrupt += numbers;
        }
    }

    /// Keeps a time anchor of the running boot.
    pub(crate) fn anchor(&mut self, anchor: TimeAnchor) {
        if let Some(boot_id) = self
            .book
            .epoch(self.running)
            .map(|entry| entry.note.boot_id)
        {
            self.book_mut().anchor(boot_id, anchor);
        }
    }

    /// A clean stop: everything is durable and the running epoch's numbers are final.
    pub(crate) fn close(&mut self) {
        self.sync();
        let running = self.running;
        let mut epochs = self.book.epochs.iter_mut();
        // In RAM nothing survives, so the epoch ends like a crash and its open tail says so.
        if self.mode == Home::Disk
            && let Some(entry) = epochs.find(|entry| entry.epoch == running)
        {
            entry.ending = Ending::Clean;
            for lane in Lane::ALL {
                let stream = entry.lanes.get_mut(lane);
                stream.known_next_seq = stream.known_next_seq.max(stream.issued_next_seq);
            }
        }
        self.write_state();
    }
}

fn disk_of<'a>(
    disk: &'a mut Box<dyn Disk>,
    ram: &'a mut MemoryDisk,
    home: Home,
) -> &'a mut dyn Disk {
    match home {
        Home::Disk => disk.as_mut(),
        Home::Ram => ram,
    }
}

#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
