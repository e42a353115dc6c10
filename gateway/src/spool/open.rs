//! How a spool is opened, whatever lies in its directory.
//!
//! Promises: every whole record is found again; a torn end is cut off, durably; a number that is below the
//! highest known one and neither held, acknowledged nor lost becomes a `corrupt` loss; each older epoch
//! without a clean stop gets an open tail per lane; a lost state is made again from the records. Never:
//! fails, panics, or loops on arbitrary bytes; removes a file whose name is not its own.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::BootId;

use super::book::{Book, EpochEntry, PerLane};
use super::disk::Disk;
use super::lane_log::{Home, LaneLog, Segment, file_name, id_of_name};
use super::memory::MemoryDisk;
use super::numbers::{self, Numbers};
use super::record::{self, Content, EpochNote, Met};
use super::state::{self, Loaded};
use super::{LaneCounts, Spool, SpoolEvent, SpoolLimits};

/// What was found in the files of all lanes.
#[derive(Debug, Default)]
struct Found {
    held: BTreeMap<(Epoch, Lane), Numbers>,
    /// One more than the highest number that a readable header names, even over a damaged payload.
    next_seq: BTreeMap<(Epoch, Lane), u64>,
    /// In the order in which their records stand.
    notes: Vec<(Epoch, Option<EpochNote>)>,
    damaged_bytes: u64,
}

impl Found {
    fn meet(&mut self, met: &Met<'_>, segment: &mut Segment) {
        let StreamId { epoch, lane } = met.header.stream;
        let note = match met.header.content {
            Content::EpochNote => met.payload.and_then(EpochNote::decode),
            Content::Frame(range) => {
                let next = self.next_seq.entry((epoch, lane)).or_default();
                *next = (*next).max(range.next_seq());
                if met.payload.is_some() {
                    segment.include(epoch, range);
                    numbers::add(self.held.entry((epoch, lane)).or_default(), range);
                }
                None
            }
        };
        match self.notes.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, known)) => *known = known.or(note),
            None => self.notes.push((epoch, note)),
        }
    }
}

impl Spool {
    /// Opens the spool for a process start. `random` gives the identity of a spool that is created.
    pub(crate) fn open(
        mut disk: Box<dyn Disk>,
        limits: SpoolLimits,
        running: Epoch,
        note: EpochNote,
        random: u64,
    ) -> Self {
        let mut events = Vec::new();
        let read = read_all(disk.as_mut(), &mut events);
        let disk_was_read = read.is_ok();
        let (book, found, logs) = read.unwrap_or_else(|error| {
            events.push(SpoolEvent::Degraded(error.to_string()));
            let log = |lane| LaneLog::new(lane, Vec::new(), 1, false);
            (None, Found::default(), PerLane::from_fn(log))
        });
        let mut spool = Self {
            disk,
            ram: MemoryDisk::default(),
            mode: if disk_was_read { Home::Disk } else { Home::Ram },
            disk_was_read,
            limits,
            running,
            logs,
            book: book.unwrap_or_else(|| Book::new(random)),
            state_dirty: true,
            counts: PerLane::from_fn(|_| LaneCounts::default()),
            events,
        };
        spool.book.incarnation = spool.book.incarnation.saturating_add(1);
        spool.learn(&found);
        spool.book.end_crashed_epochs(running);
        spool.explain_gaps(&found);
        if spool.book.epoch(running).is_none() {
            spool.book.epochs.push(EpochEntry::new(running, note));
        }
        spool.write_state();
        spool.release();
        spool
    }

    /// Adds to the book what the records say.
    fn learn(&mut self, found: &Found) {
        for (epoch, note) in &found.notes {
            if self.book.epoch(*epoch).is_none() {
                let unknown = EpochNote {
                    boot_id: BootId([0; 16]),
                    tail_at_most: [u64::MAX; 3],
                };
                let entry = EpochEntry::new(*epoch, note.unwrap_or(unknown));
                self.book.epochs.push(entry);
            }
        }
        for ((epoch, lane), next_seq) in &found.next_seq {
            let id = StreamId {
                epoch: *epoch,
                lane: *lane,
            };
            if let Some(stream) = self.book.stream_mut(id) {
                stream.known_next_seq = stream.known_next_seq.max(*next_seq);
                stream.issued_next_seq = stream.issued_next_seq.max(*next_seq);
            }
        }
    }

    /// Writes down a `corrupt` loss for each number that must have been here and is not.
    fn explain_gaps(&mut self, found: &Found) {
        let mut gaps: Vec<(StreamId, SeqRange)> = Vec::new();
        for entry in &self.book.epochs {
            for lane in Lane::ALL {
                let id = StreamId {
                    epoch: entry.epoch,
                    lane,
                };
                let held = found.held.get(&(entry.epoch, lane));
                for open in entry.lanes.get(lane).open() {
                    match held {
                        Some(held) => gaps.extend(held.missing_in(open).map(|gap| (id, gap))),
                        None => gaps.push((id, open)),
                    }
                }
            }
        }
        let mut numbers = 0;
        for (id, gap) in gaps {
            numbers += gap.count();
            self.lose(id, gap, LossReason::Corrupt);
        }
        if numbers > 0 || found.damaged_bytes > 0 {
            let place = format!("{} bytes of the spool directory", found.damaged_bytes);
            self.events.push(SpoolEvent::Corrupt { place, numbers });
        }
    }
}

type Read = (Option<Book>, Found, PerLane<LaneLog>);

fn read_all(disk: &mut dyn Disk, events: &mut Vec<SpoolEvent>) -> io::Result<Read> {
    disk.prepare()?;
    let book = match state::load(disk)? {
        Loaded::Whole(book) => Some(book),
        Loaded::Missing => None,
        Loaded::Damaged => {
            let place = "the state file".to_owned();
            events.push(SpoolEvent::Corrupt { place, numbers: 0 });
            None
        }
    };
    let mut found = Found::default();
    let alert = read_lane(disk, Lane::Alert, &mut found)?;
    let telemetry = read_lane(disk, Lane::Telemetry, &mut found)?;
    let health = read_lane(disk, Lane::Health, &mut found)?;
    let logs = PerLane {
        alert,
        telemetry,
        health,
    };
    Ok((book, found, logs))
}

fn read_lane(disk: &mut dyn Disk, lane: Lane, found: &mut Found) -> io::Result<LaneLog> {
    let names = disk.list(lane.name())?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| id_of_name(name)).collect();
    ids.sort_unstable();
    let mut segments = Vec::with_capacity(ids.len());
    let mut appendable = false;
    for id in &ids {
        appendable = false;
        let file = file_name(lane, *id);
        match read_segment(disk, lane, *id, found) {
            Ok((segment, file_len)) => {
                // Only the last file ever grows; its torn end must be gone before it grows again.
                let last = Some(id) == ids.last();
                appendable = last && cut(disk, &file, segment.len, file_len);
                segments.push(segment);
            }
            Err(error) => tracing::error!(%file, %error, "a segment cannot be read"),
        }
    }
    if !segments.is_empty() {
        // The process before may have been killed between its writes and their syncs: what is taken
        // for durable from here on must be.
        if let Err(error) = disk.sync_folder(lane.name()) {
            tracing::warn!(%lane, %error, "a lane's folder cannot be synced");
            appendable = false;
        }
    }
    let next_id = ids.last().map_or(1, |last| last + 1);
    Ok(LaneLog::new(lane, segments, next_id, appendable))
}

fn read_segment(
    disk: &mut dyn Disk,
    lane: Lane,
    id: u64,
    found: &mut Found,
) -> io::Result<(Segment, u64)> {
    let file = file_name(lane, id);
    let file_len = disk.len(&file)?;
    let mut segment = Segment::new(id, Home::Disk);
    let mut read = |offset, out: &mut [u8]| disk.read_at(&file, offset, out);
    let scan = record::scan(&mut read, 0, file_len, &mut |met| {
        // A whole record of another lane got here by a mistake of people, not of ours.
        if met.header.stream.lane == lane {
            found.meet(&met, &mut segment);
        }
        ControlFlow::Continue(())
    })?;
    segment.len = scan.end;
    found.damaged_bytes += scan.damaged;
    Ok((segment, file_len))
}

/// Cuts a torn end off and makes the rest durable; whether the file may grow.
fn cut(disk: &mut dyn Disk, file: &str, len: u64, file_len: u64) -> bool {
    let cut = if len < file_len {
        disk.truncate(file, len)
    } else {
        Ok(())
    };
    let done = cut.and_then(|()| disk.sync(file));
    if let Err(error) = &done {
        tracing::warn!(%file, %error, "a segment cannot be made ready to grow");
    }
    done.is_ok()
}
