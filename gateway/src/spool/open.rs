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
use super::cursor;
use super::disk::{Disk, Site};
use super::format::{self, EpochNote, FRAME_HEADER_LEN, FrameHeader, SegmentHeader, padded};
use super::lane::{LaneLog, Segment};
use super::metrics::{DeviceBytes, Latencies};
use super::mutant::{Mutant, is_on};
use super::numbers::{self, Numbers};
use super::scan::{self, Beginning, UNKNOWN_NOTE};
use super::space::{FreeFile, Pool, file_name, file_of_name};
use super::upgrade::{self, Homes};
use super::v1::state;
use super::{Frame, LaneCounts, Mode, Spool, SpoolEvent, SpoolLimits};

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) cursor: cursor::Loaded,
    /// By generation.
    pub(crate) lanes: PerLane<Vec<Segment>>,
    /// Whether frames of the lane are missing or damaged.
    is_damaged: PerLane<bool>,
    /// Whether there was a cursor that cannot be read.
    is_cursor_lost: bool,
    /// Numbers that readable headers name over unreadable payloads.
    claims: Vec<(StreamId, SeqRange)>,
    /// Epochs, in the order in which their first frames stand.
    notes: Vec<(Epoch, EpochNote)>,
    pool: Pool,
}

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

impl Contents {
    fn empty(slot_len: u64) -> Self {
        Self {
            cursor: cursor::Loaded::empty(slot_len),
            lanes: PerLane::from_fn(|_| Vec::new()),
            is_damaged: PerLane::default(),
            is_cursor_lost: false,
            claims: Vec::new(),
            notes: Vec::new(),
            pool: Pool {
                free: Vec::new(),
                next_file: 1,
                next_generation: 1,
            },
        }
    }

    fn damage_all(&mut self) {
        self.is_damaged = PerLane::from_fn(|_| true);
    }
}

fn read_all(
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
    let slot_len = limits.slot_bytes;
    let mut contents = read_folder(disk, &homes.ours, version, slot_len, now_ms)?;
    let len = u64::from(limits.segment_bytes);
    for free in &mut contents.pool.free {
        let file = file_name(&homes.ours, free.file);
        free.is_whole = disk.len(&file).is_ok_and(|found| found == len);
    }
    if contents.cursor.book.is_none() && contents.notes.is_empty() {
        // The spool goes on under its identity when only its layout changes.
        contents.cursor.book = state::peek(disk)?;
    }
    Ok((homes, contents))
}

/// Reads what a folder holds; nothing is changed.
///
/// # Errors
/// When the folder cannot be listed.
pub(crate) fn read_folder(
    disk: &mut dyn Disk,
    folder: &str,
    version: u16,
    slot_len: u64,
    now_ms: u64,
) -> io::Result<Contents> {
    let mut contents = Contents::empty(slot_len);
    contents.cursor = cursor::load(disk, folder, version, slot_len);
    contents.is_cursor_lost = contents.cursor.is_damaged && contents.cursor.book.is_none();
    let mut files: Vec<u32> = disk
        .list(folder)?
        .iter()
        .filter_map(|name| file_of_name(name))
        .collect();
    files.sort_unstable();
    contents.pool.next_file = files.last().map_or(1, |last| last + 1);
    let mut spool_id = contents.cursor.book.as_ref().map(|book| book.spool_id);
    let mut others = Vec::new();
    for file in files {
        let name = file_name(folder, file);
        match scan::beginning(disk, &name) {
            Ok(Beginning::Header(header, summary)) => {
                let ours = *spool_id.get_or_insert(header.spool_id);
                if header.spool_id != ours || header.file != file {
                    tracing::warn!(file = %name, "a copy of another segment is left alone");
                    continue;
                }
                let read = match summary {
                    Some(summary) => Ok(Segment::from_summary(header, summary, now_ms)),
                    None => read_segment(disk, &name, header, now_ms, &mut contents),
                };
                contents.add(read, &name);
            }
            Ok(Beginning::Other) => others.push(file),
            Err(error) => contents.add(Err(error), &name),
        }
    }
    for file in others {
        read_headless(
            disk,
            folder,
            file,
            spool_id.unwrap_or(0),
            now_ms,
            &mut contents,
        );
    }
    contents.order();
    if let (Some(id), None) = (spool_id, &contents.cursor.book)
        && !contents.notes.is_empty()
    {
        contents.cursor.book = Some(Book::new(id));
    }
    Ok(contents)
}

fn read_segment(
    disk: &mut dyn Disk,
    name: &str,
    header: SegmentHeader,
    now_ms: u64,
    contents: &mut Contents,
) -> io::Result<Segment> {
    let (segment, claims) = scan::read_through(disk, name, header, now_ms)?;
    contents.claims.extend(claims.damaged);
    *contents.is_damaged.get_mut(header.lane) |= !segment.holes.is_empty();
    Ok(segment)
}

/// A file without a segment header: made and never used, being used again when the power went, or damaged.
fn read_headless(
    disk: &mut dyn Disk,
    folder: &str,
    file: u32,
    spool_id: u64,
    now_ms: u64,
    contents: &mut Contents,
) {
    let name = file_name(folder, file);
    let header = match scan::header_from_frames(disk, &name, file, spool_id) {
        Ok(header) => header,
        Err(error) => return contents.add(Err(error), &name),
    };
    let Some(header) = header else {
        return contents.pool.free.push(FreeFile {
            file,
            is_whole: false,
            was_used: false,
        });
    };
    let mut read = read_segment(disk, &name, header, now_ms, contents);
    if let Ok(segment) = &mut read {
        // Whatever its header was, nothing is appended behind it.
        segment.is_summed = true;
    }
    contents.add(read, &name);
}

impl Contents {
    fn add(&mut self, read: io::Result<Segment>, name: &str) {
        match read {
            Ok(segment) => self.lanes.get_mut(segment.header.lane).push(segment),
            Err(error) => {
                tracing::error!(file = %name, %error, "a segment cannot be read");
                self.damage_all();
            }
        }
    }

    fn order(&mut self) {
        for lane in Lane::ALL {
            let segments = self.lanes.get_mut(lane);
            segments.sort_by_key(Segment::generation);
            segments.dedup_by_key(|segment| segment.generation());
            let mut pairs = segments.windows(2);
            let is_broken = pairs.any(|pair| match pair {
                [before, after] => before.last_crc != after.first_link,
                _ => false,
            });
            *self.is_damaged.get_mut(lane) |= is_broken;
        }
        let all = || Lane::ALL.into_iter().flat_map(|lane| self.lanes.get(lane));
        let newest = all().map(Segment::generation).max();
        let mut order: Vec<&Segment> = all().collect();
        order.sort_by_key(|segment| segment.generation());
        for segment in order {
            let header = (segment.header.epoch, segment.header.note);
            let spans = segment.spans.iter().map(|span| (span.epoch, UNKNOWN_NOTE));
            for (epoch, note) in spans.chain([header]) {
                match self.notes.iter_mut().find(|(known, _)| *known == epoch) {
                    Some((_, known)) if *known == UNKNOWN_NOTE => *known = note,
                    Some(_) => {}
                    None => self.notes.push((epoch, note)),
                }
            }
        }
        if !is_on(Mutant::GenerationsRestart) {
            self.pool.next_generation = newest.map_or(1, |newest| newest + 1);
        }
    }
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
        // The process before may have been killed between its writes and their sync: what is taken for
        // durable from here on must be.
        match disk.sync(&file_name(folder, header.file)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%lane, %error, "a segment cannot be made ready to grow");
                false
            }
        }
    })
}

/// The frames in one frame of the disk.
pub(crate) struct At {
    /// Where the next one may begin.
    pub(crate) next: u64,
    pub(crate) frames: Vec<Frame>,
}

/// Reads the frame at an offset of a segment; none when there is no whole one.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn frames_at(
    disk: &mut dyn Disk,
    name: &str,
    segment: &SegmentHeader,
    offset: u64,
) -> io::Result<At> {
    let none = At {
        next: offset + u64::from(segment.align),
        frames: Vec::new(),
    };
    let mut bytes = [0; FRAME_HEADER_LEN];
    let read = disk.read_at(name, offset, &mut bytes)?;
    let bytes = bytes.get(..read).unwrap_or_default();
    let Some(header) = FrameHeader::decode(bytes, segment.seed(), offset)
        .filter(|h| offset + h.frame_len() <= u64::from(segment.len))
    else {
        return Ok(none);
    };
    let mut payload = vec![0; header.payload_len as usize];
    let read = disk.read_at(name, offset + FRAME_HEADER_LEN as u64, &mut payload)?;
    payload.truncate(read);
    if !header.fits(&payload) {
        return Ok(none);
    }
    let frame = |entry: &format::Entry| {
        let start = entry.start as usize;
        Some(Frame {
            stream: header.stream,
            range: entry.range,
            bytes: payload.get(start..start + entry.len as usize)?.to_vec(),
        })
    };
    let entries = format::entries(&header, &payload);
    Ok(At {
        next: offset + padded(header.frame_len(), segment.align),
        frames: entries.iter().filter_map(frame).collect(),
    })
}
