//! The spool: sealed frames between their sealing and their central acknowledgement.
//!
//! Promises: what a commit reported durable survives a cut of the power; each number that was issued is
//! held, acknowledged or stands in the loss ledger with a reason; a lane stays inside its bytes; memory does
//! not depend on the backlog; it opens on arbitrary bytes, and on no disk at all (then it lives in RAM and
//! says so). A frame that is acknowledged before its commit is due costs no write.
//!
//! Never: uses a frame's room again before its acknowledgement or loss is durable; syncs a segment again
//! whose sync failed; reads a clock; waits for anybody. One thread owns it.
//!
//! ```text
//! DIR                        locked by the process that has the spool open
//! DIR/log/cursor-0, -1, -2   see `cursor`: identity, epochs, acknowledged numbers, loss ledger
//! DIR/log/00000001.seg       see `format`: segments of fixed length, made once and used again and again;
//! DIR/log/00000002.seg       the order of a lane is the order of their generations
//! DIR/log.1/                 where this version goes on when a later one has left DIR/log
//! ```

pub mod disk;
pub mod inspect;
pub mod metrics;
pub mod store;

mod book;
mod commit;
mod contents;
mod cursor;
mod format;
mod lane;
mod ledger;
mod mutant;
mod numbers;
mod open;
mod queue;
mod reading;
mod rescue;
mod rewind;
mod scan;
mod space;
mod stream;
mod upgrade;
mod v1;

use std::io;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::TimeAnchor;

pub use book::PerLane;
pub use format::PAYLOAD_LEN_MAX;
pub use lane::Place;

pub(crate) use book::{Book, Ending, EpochEntry};
pub(crate) use format::EpochNote;
pub(crate) use reading::Unread;
pub(crate) use stream::Stream;

use cursor::Cursor;
use disk::{Disk, Site};
use lane::LaneLog;
use metrics::{CommitLatency, DeviceBytes, Latencies};
use mutant::{Mutant, is_on};
use numbers::Numbers;
use reading::Loaded;
use space::Pool;

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

/// How much the spool may take, and how it lies on the disk.
#[derive(Debug, Clone)]
pub struct SpoolLimits {
    /// Bytes on the disk, per lane; a lane has at least two segments.
    pub max_bytes: PerLane<u64>,
    /// Bytes on the disk, all lanes together.
    pub total_bytes: u64,
    /// Bytes in RAM while the disk cannot be used, per lane.
    pub ram_bytes: PerLane<u64>,
    /// Length of a segment file, bytes: one allocation unit of a card.
    pub segment_bytes: u32,
    /// What frames are padded to, bytes: 512, 4096 or 16384.
    pub align: u32,
    /// Length that each slot of the cursor takes beforehand, bytes.
    pub slot_bytes: u64,
    /// How long acknowledged frames are kept before others, ms; 0 keeps none on purpose.
    pub history_ms: u64,
    /// Numbers that may wait in RAM for their commit.
    pub pending_count_max: u64,
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
    /// A later version has left its spool here; it stays as it is.
    Newer { folder: String, version: u16 },
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Of an epoch that this spool has not heard of.
    Epoch(Epoch),
    /// Longer than a frame may be; how long, bytes.
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
    /// Failed writes and reads.
    pub disk_errors: u64,
    /// Failed syncs.
    pub fsync_errors: u64,
}

/// Where frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To the disk, when their commit is due.
    Disk,
    /// They stay in RAM: the disk cannot be used.
    Ram,
}

/// When so many bytes wait for a commit, the spool does not wait for its caller.
const PENDING_LEN_MAX: u64 = 256 * 1024;

/// The frames of all lanes, and the book about their numbers.
#[derive(Debug)]
pub(crate) struct Spool {
    disk: Box<dyn Disk>,
    folder: String,
    version: u16,
    mode: Mode,
    /// Whether everything on the disk was read: only then may its cursor be replaced later.
    disk_was_read: bool,
    limits: SpoolLimits,
    running: Epoch,
    lanes: PerLane<LaneLog>,
    pool: Pool,
    cursor: Cursor,
    book: Book,
    /// The book differs from the cursor.
    is_stale: bool,
    /// It differs in what should be written soon.
    is_dirty: bool,
    /// It differs in what is lost.
    is_loss_fresh: bool,
    /// Numbers on the disk that were neither acknowledged nor lost, when last counted.
    open_on_disk: u64,
    loaded: PerLane<Option<Loaded>>,
    counts: PerLane<LaneCounts>,
    device: DeviceBytes,
    latencies: PerLane<Latencies>,
    events: Vec<SpoolEvent>,
    now_ms: u64,
}

impl Spool {
    /// What is known of the streams.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// The same, to change it; the change is written soon.
    pub(crate) fn book_mut(&mut self) -> &mut Book {
        self.is_stale = true;
        self.is_dirty = true;
        &mut self.book
    }

    /// The same, for what need not be written soon, or is written by another call.
    pub(crate) fn book_unwritten_mut(&mut self) -> &mut Book {
        self.is_stale = true;
        &mut self.book
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Whether frames stay in RAM because the disk cannot be used.
    pub(crate) fn is_in_ram(&self) -> bool {
        self.mode == Mode::Ram
    }

    /// Whether the book has changed in what should be written soon.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty && self.mode == Mode::Disk
    }

    /// Whether the book has changed at all.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale && self.mode == Mode::Disk
    }

    /// What happened since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<SpoolEvent> {
        std::mem::take(&mut self.events)
    }

    /// Events of a lane since the start.
    pub(crate) fn counts(&self, lane: Lane) -> LaneCounts {
        *self.counts.get(lane)
    }

    /// What went to the device since the start.
    pub(crate) fn device_bytes(&self) -> DeviceBytes {
        self.device
    }

    /// Bytes that went to the device since the spool was made.
    pub(crate) fn device_bytes_lifetime(&self) -> u64 {
        self.book.device_bytes.saturating_add(self.device.fresh())
    }

    /// How old frames were when their commit was durable.
    pub(crate) fn commit_latency(&self, lane: Lane) -> CommitLatency {
        self.latencies.get(lane).latency()
    }

    /// Bytes held in a lane, acknowledged ones included while their room is not needed.
    pub(crate) fn bytes(&self, lane: Lane) -> u64 {
        let log = self.lanes.get(lane);
        let stored: u64 = log.segments.iter().map(lane::Segment::bytes).sum();
        stored + log.queue.bytes()
    }

    /// Frames of the disk and batches in RAM.
    pub(crate) fn frames(&self, lane: Lane) -> u64 {
        let log = self.lanes.get(lane);
        let stored: u64 = log.segments.iter().map(|segment| segment.frames).sum();
        stored + log.queue.len() as u64
    }

    /// What is held of a stream, without what is acknowledged or lost.
    pub(crate) fn held_open(&self, id: StreamId) -> Vec<SeqRange> {
        let mut held = Numbers::default();
        for range in self.lanes.get(id.lane).holds(id) {
            numbers::add(&mut held, range);
        }
        let Some(stream) = self.book.stream(id) else {
            return Vec::new();
        };
        let unacked = held
            .ranges()
            .iter()
            .flat_map(|r| stream.acked.missing_in(*r));
        if stream.losses.entries().is_empty() {
            return unacked.collect();
        }
        let lost = stream.losses.numbers();
        unacked
            .flat_map(|r| lost.missing_in(r).collect::<Vec<_>>())
            .collect()
    }

    /// Which of the stream's numbers in the range are held, acknowledged or not.
    pub(crate) fn held(&self, id: StreamId, range: SeqRange) -> Numbers {
        let mut held = Numbers::default();
        for stored in self.lanes.get(id.lane).holds(id) {
            if let Some(both) = stored.intersection(&range) {
                numbers::add(&mut held, both);
            }
        }
        held
    }

    /// Numbers that were issued but whose record will never come.
    pub(crate) fn lose(&mut self, id: StreamId, range: SeqRange, reason: LossReason) {
        let numbers = self.book.lose(id, range, reason);
        self.is_stale |= numbers > 0;
        self.is_dirty |= numbers > 0;
        self.is_loss_fresh |= numbers > 0;
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
            self.book_unwritten_mut().anchor(boot_id, anchor);
        }
    }

    /// Writes the book; whether it is durable. A second failure in a row means RAM mode.
    pub(crate) fn write_cursor(&mut self, site: Site) -> bool {
        if self.mode == Mode::Ram {
            return false;
        }
        self.disk.enter(site);
        self.book.device_bytes = self
            .book
            .device_bytes
            .saturating_add(self.device.take_fresh());
        for last in [false, true] {
            match self.cursor.store(self.disk.as_mut(), &self.book) {
                Ok(len) => {
                    self.device.note_write(site, len);
                    self.device.note_flush();
                    self.is_stale = false;
                    self.is_dirty = false;
                    self.is_loss_fresh = false;
                    return true;
                }
                Err(e) if last => self.degrade(&e),
                Err(error) => tracing::warn!(%error, "the spool's cursor could not be written"),
            }
        }
        false
    }

    /// Writes the book if it has changed; whether it is durable.
    pub(crate) fn write_stale_cursor(&mut self, site: Site) -> bool {
        !self.is_stale || self.write_cursor(site)
    }

    /// Writes what is acknowledged and lost; whether it is durable.
    pub(crate) fn write_book(&mut self) -> bool {
        let site = if self.is_loss_fresh {
            Site::Ledger
        } else {
            Site::Cursor
        };
        self.write_stale_cursor(site)
    }

    /// A clean stop: everything is durable and the running epoch's numbers are final.
    pub(crate) fn close(&mut self) {
        self.commit();
        self.commit_history();
        let running = self.running;
        let mut epochs = self.book.epochs.iter_mut();
        // In RAM nothing survives, so the epoch ends like a crash and its open tail says so.
        if self.mode == Mode::Disk
            && let Some(entry) = epochs.find(|entry| entry.epoch == running)
        {
            entry.ending = Ending::Clean;
            for lane in Lane::ALL {
                let stream = entry.lanes.get_mut(lane);
                stream.known_next_seq = stream.known_next_seq.max(stream.issued_next_seq);
            }
        }
        self.write_cursor(Site::Cursor);
    }

    /// The file in which a frame is stored.
    #[cfg(test)]
    pub(crate) fn file_at(&self, lane: Lane, place: Place) -> Option<String> {
        let segment = self.lanes.get(lane).segment(place.segment)?;
        Some(self.file_name(segment.file()))
    }

    fn file_name(&self, file: u32) -> String {
        space::file_name(&self.folder, file)
    }

    /// Writes to a segment file, and counts it.
    fn put(&mut self, site: Site, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let name = self.file_name(file);
        self.disk.enter(site);
        self.device.note_pages(site, offset, bytes.len() as u64);
        let written = self.disk.write_at(&name, offset, bytes);
        if is_on(Mutant::ShortWriteIgnored) {
            return Ok(());
        }
        written
    }

    /// Syncs a segment file, and counts it.
    fn flush(&mut self, site: Site, file: u32) -> io::Result<()> {
        let name = self.file_name(file);
        self.disk.enter(site);
        self.device.note_flush();
        self.disk.sync(&name)
    }
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
