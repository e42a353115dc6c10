//! How a spool is opened, whatever lies in its directory.
//!
//! Promises: every whole frame is found again; only the last segments are read through, the others by their
//! summaries; a number that is below the highest known one and neither held, acknowledged nor lost becomes a
//! loss; each older epoch without a clean stop gets an open tail per lane; a lost cursor is made again from
//! the frames. Never: fails, panics, or loops on arbitrary bytes; touches a file whose name is not its own.

use std::collections::BTreeMap;
use std::io;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::book::{Book, Ending, EpochEntry, PerLane};
use super::contents::{self, Contents, Folder};
use super::disk::{Disk, Site};
use super::format::{self, EpochNote};
use super::lane::LaneLog;
use super::metrics::{DeviceBytes, Latencies};
use super::mutant::{Mutant, is_on};
use super::numbers::{self, Numbers};
use super::space::file_name;
use super::upgrade::{self, Homes};
use super::v1::state;
use super::{LaneCounts, Mode, Spool, SpoolEvent, SpoolLimits};

/// Each process start has generations of its own, so many bits of them: of a segment that the process before
/// began, frames may have reached the medium while its header did not, and nobody sees its generation.
const GENERATIONS_BITS: u32 = 24;

impl Spool {
    /// Opens the spool for a process start. `random` gives the identity of a spool that is created.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        limits: SpoolLimits,
        running: Epoch,
        note: EpochNote,
        random: u64,
        now_ms: u64,
    ) -> Self {
        Self::open_as(disk, limits, running, note, random, now_ms, format::VERSION)
    }

    /// The same, as a version of this program that knows formats up to `version`.
    pub(super) fn open_as(
        mut disk: Box<dyn Disk>,
        limits: SpoolLimits,
        running: Epoch,
        note: EpochNote,
        random: u64,
        now_ms: u64,
        version: u16,
    ) -> Self {
        disk.enter(Site::Epoch);
        let read = read_all(disk.as_mut(), &limits, version, now_ms);
        let disk_was_read = read.is_ok();
        let mut events = Vec::new();
        let (homes, mut contents) = read.unwrap_or_else(|error| {
            events.push(SpoolEvent::Degraded(error.to_string()));
            (Homes::default(), Contents::empty(limits.slot_bytes))
        });
        if contents.is_cursor_lost {
            let place = "the cursor".to_owned();
            events.push(SpoolEvent::Corrupt { place, numbers: 0 });
        }
        let tails = if disk_was_read {
            sync_tails(disk.as_mut(), &homes.ours, &limits, version, &contents)
        } else {
            PerLane::default()
        };
        if disk_was_read {
            contents.cursor.cursor.settle(disk.as_mut());
        }
        let lanes = PerLane::from_fn(|lane| {
            let segments = std::mem::take(contents.lanes.get_mut(lane));
            LaneLog::new(segments.into(), *tails.get(lane))
        });
        let mut spool = Self {
            disk,
            folder: homes.ours.clone(),
            version,
            mode: if disk_was_read { Mode::Disk } else { Mode::Ram },
            disk_was_read,
            limits,
            running,
            lanes,
            pool: contents.pool,
            cursor: contents.cursor.cursor,
            book: contents.cursor.book.unwrap_or_else(|| Book::new(random)),
            is_stale: true,
            is_dirty: true,
            is_loss_fresh: false,
            open_on_disk: 0,
            loaded: PerLane::from_fn(|_| None),
            counts: PerLane::from_fn(|_| LaneCounts::default()),
            device: DeviceBytes::default(),
            latencies: PerLane::from_fn(|_| Latencies::default()),
            events,
            now_ms,
        };
        spool.book.incarnation = spool.book.incarnation.saturating_add(1);
        if !is_on(Mutant::GenerationsRestart) {
            let first = u64::from(spool.book.incarnation) << GENERATIONS_BITS;
            spool.pool.next_generation = spool.pool.next_generation.max(first);
        }
        spool.learn(&contents.notes, &contents.claims);
        spool.book.end_crashed_epochs(running);
        if !homes.has_older() {
            spool.explain_gaps(&contents.is_damaged);
        }
        if spool.book.epoch(running).is_none() {
            spool.book.epochs.push(EpochEntry::new(running, note));
        }
        if !is_on(Mutant::EpochNotDurable) {
            // Twice: an epoch that one bit could make unheard of would leave no trace.
            let _ = spool.write_cursor(Site::Epoch)
                && spool.write_cursor(Site::Epoch)
                && (spool.cursor.is_complete() || spool.write_cursor(Site::Epoch));
        }
        // What an older spool holds is no gap: it is looked for again when it is drained.
        spool.drain_older(&homes, &contents.is_damaged);
        spool.tell_newer(&homes.newer);
        spool.forget_settled();
        spool.settle();
        spool
    }

    /// Adds to the book what the frames say.
    fn learn(&mut self, notes: &[(Epoch, EpochNote)], claims: &[(StreamId, SeqRange)]) {
        for (epoch, note) in notes {
            if self.book.epoch(*epoch).is_none() {
                self.book.epochs.push(EpochEntry::new(*epoch, *note));
            }
        }
        let mut next_seqs: BTreeMap<StreamId, u64> = BTreeMap::new();
        let mut note = |id: StreamId, range: SeqRange| {
            let next_seq = next_seqs.entry(id).or_default();
            *next_seq = (*next_seq).max(range.next_seq());
        };
        for lane in Lane::ALL {
            for span in self.lanes.get(lane).segments.iter().flat_map(|s| &s.spans) {
                let epoch = span.epoch;
                note(StreamId { epoch, lane }, span.range);
            }
        }
        claims.iter().for_each(|(id, range)| note(*id, *range));
        for (id, next_seq) in next_seqs {
            if let Some(stream) = self.book.stream_mut(id) {
                stream.known_next_seq = stream.known_next_seq.max(next_seq);
                stream.issued_next_seq = stream.issued_next_seq.max(next_seq);
            }
        }
    }

    /// Writes down a loss for each number that must have been here and is not.
    pub(super) fn explain_gaps(&mut self, is_damaged: &PerLane<bool>) {
        let mut gaps: Vec<(StreamId, SeqRange, LossReason)> = Vec::new();
        for entry in self.book.epochs.iter().filter(|e| e.epoch != self.running) {
            for lane in Lane::ALL {
                let epoch = entry.epoch;
                let id = StreamId { epoch, lane };
                let open = entry.lanes.get(lane).open();
                if open.is_empty() {
                    continue;
                }
                let mut held = Numbers::default();
                for range in self.lanes.get(lane).holds(id) {
                    numbers::add(&mut held, range);
                }
                // Between frames that are all there, a number was never written: it was in RAM, or
                // acknowledged since the cursor was written. The centre's answer tells which.
                let is_damage = *is_damaged.get(lane) || entry.ending == Ending::Clean;
                let reason = if is_damage {
                    LossReason::Corrupt
                } else {
                    LossReason::NotAcceptedBeforeCrash
                };
                for open in open {
                    gaps.extend(held.missing_in(open).map(|gap| (id, gap, reason)));
                }
            }
        }
        let mut numbers = 0;
        for (id, gap, reason) in gaps {
            self.lose(id, gap, reason);
            if reason == LossReason::Corrupt {
                numbers += gap.count();
            }
        }
        if numbers > 0 {
            let place = "the spool directory".to_owned();
            self.events.push(SpoolEvent::Corrupt { place, numbers });
        }
    }
}

pub(super) fn read_all(
    disk: &mut dyn Disk,
    limits: &SpoolLimits,
    version: u16,
    now_ms: u64,
) -> io::Result<(Homes, Contents)> {
    disk.prepare()?;
    let homes = upgrade::find(disk, version)?;
    disk.make_folder(&homes.ours)?;
    // The process before may have been killed between making a file and making its name durable.
    if let Err(error) = disk.sync_folder(&homes.ours) {
        tracing::warn!(%error, "the folder of the spool cannot be synced");
    }
    let folder = Folder {
        name: &homes.ours,
        version,
        slot_len: limits.slot_bytes,
        segment_len: limits.segment_bytes,
        now_ms,
    };
    let mut contents = contents::read(disk, folder, &mut |_| ())?;
    if contents.cursor.book.is_none() && contents.notes.is_empty() {
        // The spool goes on under its identity when only its layout changes.
        contents.cursor.book = state::peek(disk)?;
    }
    Ok((homes, contents))
}

/// Makes the last segment of each lane ready to take frames again; which of them are.
fn sync_tails(
    disk: &mut dyn Disk,
    folder: &str,
    limits: &SpoolLimits,
    version: u16,
    contents: &Contents,
) -> PerLane<bool> {
    PerLane::from_fn(|lane| {
        let Some(last) = contents.lanes.get(lane).last() else {
            return false;
        };
        let header = &last.header;
        let fits = header.align == limits.align
            && header.len == limits.segment_bytes
            && header.version == version;
        if last.is_summed || !fits {
            return false;
        }
        // The process before may have been killed between its writes and their sync, or after a sync that
        // failed: then what is read of the header may be in the page cache alone, where no sync reaches it.
        let name = file_name(folder, header.file);
        let mut bytes = header.encode();
        bytes.resize(header.align as usize, 0);
        let written = disk.write_at(&name, 0, &bytes);
        match written.and_then(|()| disk.sync(&name)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%lane, %error, "a segment cannot be made ready to grow");
                false
            }
        }
    })
}
