//! Room for segments: the ring of files, quotas, eviction.
//!
//! Promises: a file is used again only when every frame in it is durably acknowledged or durably on record
//! as lost, and takes frames only when its new header is durable; what is acknowledged goes before what is
//! not, the oldest first; alerts never make room for others, and the first one finds its room made; a full disk is
//! a small quota. Never: more files than the quotas allow.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use firmware_shared::id::{Epoch, Lane, StreamId};
use firmware_shared::message::LossReason;

use super::disk::Site;
use super::format::{EpochNote, SegmentHeader};
use super::lane::Segment;
use super::mutant::{Mutant, is_on};
use super::scan::UNKNOWN_NOTE;
use super::{Mode, Spool, SpoolEvent};

/// The name of a segment file.
pub(crate) fn file_name(folder: &str, file: u32) -> String {
    format!("{folder}/{file:08x}.seg")
}

/// The number in the name of a segment file; `None` for any other file.
pub(crate) fn file_of_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 8)?;
    let file = u32::from_str_radix(digits, 16).ok()?;
    // The same number could be written with capitals: that would be another file.
    (format!("{file:08x}") == digits && file < u32::MAX).then_some(file)
}

/// A file whose content nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeFile {
    pub(crate) file: u32,
    /// Whether it has its full length.
    pub(crate) is_whole: bool,
    /// Whether it begins with the header of another segment.
    pub(crate) was_used: bool,
}

/// The files of the ring that no lane uses, and what the next ones are called.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) free: Vec<FreeFile>,
    /// Numbers of files that were there when the folder was opened, whoever's they are.
    pub(crate) found: BTreeSet<u32>,
    pub(crate) next_file: u32,
    pub(crate) next_generation: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            free: Vec::new(),
            found: BTreeSet::new(),
            next_file: 1,
            next_generation: 1,
        }
    }
}

impl Pool {
    /// A number that no file has. Gaps are filled: behind the highest number there may be none.
    fn unused_file(&mut self) -> u32 {
        while self.found.contains(&self.next_file) {
            self.next_file += 1;
        }
        self.next_file
    }
}

impl Spool {
    /// Sees to it that the last segment of a lane has room for `len` bytes.
    pub(super) fn make_tail(&mut self, lane: Lane, len: u64) -> io::Result<()> {
        let takes = |tail: &Segment| tail.end + len <= u64::from(tail.header.len);
        if self.lanes.get(lane).tail().is_some_and(takes) {
            return Ok(());
        }
        self.close_tail(lane)?;
        let free = self.find_room(lane)?;
        self.begin_segment(lane, free)
    }

    /// Writes the summary of a full segment and makes all of it durable.
    fn close_tail(&mut self, lane: Lane) -> io::Result<()> {
        let Some(tail) = self.lanes.get(lane).tail() else {
            return Ok(());
        };
        let (header, mut summary) = (tail.header, tail.summary());
        if is_on(Mutant::SummaryShort) {
            summary.spans.pop();
        }
        if let Some(mut bytes) = summary.encode(header.seed(), header.align) {
            bytes.resize(header.align as usize, 0);
            let align = u64::from(header.align);
            self.put(Site::Recycle, header.file, align, &bytes)?;
        }
        self.sync_tail(lane)?;
        let log = self.lanes.get_mut(lane);
        log.is_tail_open = false;
        log.synced = None;
        Ok(())
    }

    fn begin_segment(&mut self, lane: Lane, free: FreeFile) -> io::Result<()> {
        let begun = self.write_beginning(lane, free);
        if begun.is_err() {
            self.retire_file(free.file);
        }
        begun
    }

    fn write_beginning(&mut self, lane: Lane, free: FreeFile) -> io::Result<()> {
        let name = self.file_name(free.file);
        self.disk.enter(Site::Recycle);
        let len = self.limits.segment_bytes;
        if !free.is_whole {
            self.disk.create(&name, u64::from(len))?;
            if !is_on(Mutant::NameNotSynced) {
                self.disk.sync_folder(&self.folder)?;
            }
            self.device.note_write(Site::Recycle, u64::from(len));
            self.device.note_flush();
        }
        let generation = self.pool.next_generation;
        self.pool.next_generation += 1;
        let link = self.lanes.get(lane).segments.back();
        let header = SegmentHeader {
            version: self.version,
            spool_id: self.book.spool_id,
            generation,
            len,
            file: free.file,
            align: self.limits.align,
            lane,
            link: link.map_or(0, |last| last.last_crc),
            epoch: self.running,
            note: self.running_note(),
        };
        let mut bytes = header.encode();
        bytes.resize(self.limits.align as usize, 0);
        if !is_on(Mutant::HeaderKept) || !free.was_used {
            self.put(Site::Recycle, free.file, 0, &bytes)?;
        }
        if free.was_used && !is_on(Mutant::BeginningNotSynced) {
            self.sync_beginning(lane, free.file)?;
        }
        let log = self.lanes.get_mut(lane);
        log.segments.push_back(Segment::new(header, self.now_ms));
        log.is_tail_open = true;
        log.synced = None;
        Ok(())
    }

    /// Ends the use of a file before: as long as its header is on the medium, the summary beside it says what
    /// the file holds, and frames that are written over it would make that untrue.
    fn sync_beginning(&mut self, lane: Lane, file: u32) -> io::Result<()> {
        let synced = self.flush(Site::Recycle, file);
        if synced.is_err() {
            self.counts.get_mut(lane).fsync_errors += 1;
        }
        synced
    }

    fn running_note(&self) -> EpochNote {
        let entry = self.book.epoch(self.running);
        entry.map_or(UNKNOWN_NOTE, |entry| entry.note)
    }

    /// How many segments a lane may have.
    pub(super) fn segments_max(&self, lane: Lane) -> usize {
        let wanted = *self.limits.max_bytes.get(lane) / u64::from(self.limits.segment_bytes);
        usize::try_from(wanted).unwrap_or(usize::MAX).max(2)
    }

    fn files_max(&self) -> usize {
        let wanted = self.limits.total_bytes / u64::from(self.limits.segment_bytes);
        // Below this a lane could not evict one segment and keep one.
        usize::try_from(wanted).unwrap_or(usize::MAX).max(6)
    }

    fn files(&self) -> usize {
        let of_lanes: usize = Lane::ALL
            .into_iter()
            .map(|lane| self.lanes.get(lane).segments.len())
            .sum();
        of_lanes + self.pool.free.len()
    }

    /// A file for another segment of a lane.
    fn find_room(&mut self, lane: Lane) -> io::Result<FreeFile> {
        if self.lanes.get(lane).segments.len() >= self.segments_max(lane) {
            if let Some(done) = self.oldest_done(&[lane], u64::MAX) {
                return self.reuse(lane, done);
            }
            return self.evict(lane);
        }
        if let Some(free) = self.pool.free.pop() {
            return Ok(free);
        }
        let aged_ms = self.now_ms.checked_sub(self.limits.history_ms);
        if let Some(done) = aged_ms.and_then(|aged_ms| self.oldest_done(&[lane], aged_ms)) {
            return self.reuse(lane, done);
        }
        if self.files() < self.files_max() {
            match self.create() {
                Err(e) if is_full(&e) => {}
                other => return other,
            }
        }
        let oldest = Lane::ALL
            .into_iter()
            .filter_map(|lane| Some((self.oldest_done(&[lane], u64::MAX)?, lane)))
            .min();
        if let Some((done, of_lane)) = oldest {
            return self.reuse(of_lane, done);
        }
        let mut victims = vec![Lane::Telemetry, Lane::Health];
        if lane == Lane::Alert {
            victims.push(Lane::Alert);
        }
        if is_on(Mutant::AlertsEvicted) {
            victims.insert(0, Lane::Alert);
        }
        for victim in victims {
            if self.oldest(victim).is_some() {
                return self.evict(victim);
            }
        }
        Err(io::Error::from(ErrorKind::StorageFull))
    }

    /// Has a file ready in which the first alert finds room: all of a file is written when it is made, and the
    /// alert would wait for that.
    ///
    /// # Errors
    /// When the disk has no room for one; the alert finds what it finds then.
    pub(crate) fn prepare_room(&mut self) -> io::Result<()> {
        let is_ready = self.lanes.get(Lane::Alert).tail().is_some() || !self.pool.free.is_empty();
        if self.mode == Mode::Ram || is_ready || self.files() >= self.files_max() {
            return Ok(());
        }
        let free = self.create()?;
        self.pool.free.push(free);
        Ok(())
    }

    /// Makes the file at once: whether there is room is known only then.
    fn create(&mut self) -> io::Result<FreeFile> {
        let file = self.pool.unused_file();
        let name = self.file_name(file);
        self.disk.enter(Site::Recycle);
        let len = u64::from(self.limits.segment_bytes);
        let made = self.disk.create(&name, len).and_then(|()| {
            if is_on(Mutant::NameNotSynced) {
                return Ok(());
            }
            self.disk.sync_folder(&self.folder)
        });
        self.device.note_write(Site::Recycle, len);
        self.device.note_flush();
        if let Err(error) = made {
            // A part of a file would take the room that others need.
            self.disk.remove(&name).ok();
            return Err(error);
        }
        self.pool.next_file += 1;
        Ok(FreeFile {
            file,
            is_whole: true,
            was_used: false,
        })
    }

    /// The oldest segment that may be taken from a lane.
    fn oldest(&self, lane: Lane) -> Option<u64> {
        let log = self.lanes.get(lane);
        let tail = log.tail().map(Segment::generation);
        let mut closed = log
            .segments
            .iter()
            .map(Segment::generation)
            .filter(|generation| Some(*generation) != tail);
        if is_on(Mutant::NewestEvicted) {
            return closed.next_back();
        }
        closed.next()
    }

    /// The oldest segment in which everything is acknowledged or lost and that nobody used since.
    fn oldest_done(&self, lanes: &[Lane], used_before_ms: u64) -> Option<u64> {
        let mut oldest = None;
        for lane in lanes {
            let log = self.lanes.get(*lane);
            let tail = log.tail().map(Segment::generation);
            let done = log.segments.iter().find(|segment| {
                Some(segment.generation()) != tail
                    && segment.used_ms <= used_before_ms
                    && !segment.is_retired
                    && !segment.is_unreadable
                    && self.is_segment_done(*lane, segment)
            });
            let done = done.map(Segment::generation);
            oldest = oldest.min(done).or(done).or(oldest);
        }
        oldest
    }

    /// Whether nothing of a segment is left to be sent.
    pub(super) fn is_segment_done(&self, lane: Lane, segment: &Segment) -> bool {
        segment.spans.iter().all(|span| {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            let mut range = span.range;
            if is_on(Mutant::LastNumberForgotten) {
                if range.count() == 1 {
                    return true;
                }
                range.last_seq -= 1;
            }
            self.book
                .stream(id)
                .is_none_or(|stream| stream.is_done(range))
        })
    }

    /// Takes a segment of acknowledged frames out of its lane, after that is durable.
    fn reuse(&mut self, lane: Lane, generation: u64) -> io::Result<FreeFile> {
        if !is_on(Mutant::RecycleBeforeCursor) && !self.write_stale_cursor(Site::Cursor) {
            return Err(io::Error::other("the cursor could not be written"));
        }
        self.take_segment(lane, generation)
    }

    /// Makes room: the oldest segment of a lane goes, after its loss is durable.
    fn evict(&mut self, lane: Lane) -> io::Result<FreeFile> {
        loop {
            let Some(generation) = self.oldest(lane) else {
                return Err(io::Error::from(ErrorKind::StorageFull));
            };
            let is_retired = self.lose_segment(lane, generation);
            if !is_on(Mutant::EvictBeforeLedger) && !self.write_stale_cursor(Site::Eviction) {
                return Err(io::Error::other("the loss could not be written"));
            }
            if !is_retired {
                return self.take_segment(lane, generation);
            }
            if let Some(gone) = self.lanes.get_mut(lane).take(generation) {
                self.retire_file(gone.file());
            }
        }
    }

    /// Puts what a segment holds on record as evicted; whether the segment is retired.
    fn lose_segment(&mut self, lane: Lane, generation: u64) -> bool {
        let Some(segment) = self.lanes.get(lane).segment(generation) else {
            return false;
        };
        let is_retired = segment.is_retired;
        let mut numbers = 0;
        for span in segment.spans.clone() {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            numbers += self.book.lose(id, span.range, LossReason::Evicted);
        }
        if numbers > 0 {
            self.is_stale = true;
            self.counts.get_mut(lane).evicted += numbers;
            self.events.push(SpoolEvent::Evicted { lane, numbers });
        }
        is_retired
    }

    fn take_segment(&mut self, lane: Lane, generation: u64) -> io::Result<FreeFile> {
        let gone = self.lanes.get_mut(lane).take(generation);
        let gone = gone.ok_or_else(|| io::Error::other("the segment is gone"))?;
        *self.loaded.get_mut(lane) = None;
        self.forget_settled();
        let is_whole = gone.header.len == self.limits.segment_bytes;
        Ok(FreeFile {
            file: gone.file(),
            is_whole,
            was_used: true,
        })
    }

    /// A file whose writes fail is not used again.
    pub(super) fn retire_file(&mut self, file: u32) {
        let name = self.file_name(file);
        if let Err(error) = self.disk.remove(&name) {
            tracing::warn!(file = %name, %error, "a retired segment could not be deleted");
        }
    }

    /// Deletes the files whose writes failed when nothing in them is left to be sent.
    pub(super) fn clear_retired(&mut self) {
        for lane in Lane::ALL {
            let segments = &self.lanes.get(lane).segments;
            let done: Vec<u64> = segments
                .iter()
                .filter(|s| s.is_retired && self.is_segment_done(lane, s))
                .map(Segment::generation)
                .collect();
            if done.is_empty() || !self.write_stale_cursor(Site::Cursor) {
                continue;
            }
            for generation in done {
                if let Some(gone) = self.lanes.get_mut(lane).take(generation) {
                    self.retire_file(gone.file());
                }
            }
        }
    }

    /// Forgets ended epochs of which nothing is left.
    pub(super) fn forget_settled(&mut self) {
        let mut stored: BTreeSet<Epoch> = BTreeSet::new();
        for lane in Lane::ALL {
            let segments = &self.lanes.get(lane).segments;
            stored.extend(
                segments
                    .iter()
                    .flat_map(|s| &s.spans)
                    .map(|span| span.epoch),
            );
        }
        let forgot = self
            .book
            .forget_settled(self.running, |epoch| stored.contains(&epoch));
        self.is_stale |= forgot;
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}
