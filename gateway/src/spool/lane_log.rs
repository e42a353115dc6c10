//! The segment files of one lane, oldest first.
//!
//! Promises: records stand in the order in which they were appended; the bytes that are not yet durable are
//! kept in RAM until a sync took them, so that a failed sync loses nothing; a file's name is durable no later
//! than its content. Never: an index per frame; a second sync on a file whose sync failed.

use std::io;
use std::ops::ControlFlow;

use firmware_shared::id::{Epoch, Lane, SeqRange};

use super::disk::Disk;
use super::record::{self, Content, HEADER_LEN, Header, Met, Scan};

/// Where a segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// On the disk.
    Disk,
    /// In RAM.
    Ram,
}

/// The numbers of one epoch in one segment: from the lowest to the highest, with what is missing between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// Its numbers.
    pub(crate) hull: SeqRange,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Counts up; the order of the lane.
    pub(crate) id: u64,
    /// Where it is stored.
    pub(crate) home: Home,
    /// How far it is read, bytes.
    pub(crate) len: u64,
    /// Frames in it.
    pub(crate) frames: u64,
    /// Their numbers.
    pub(crate) spans: Vec<Span>,
    /// Whether reading it failed: it is then left alone by this process.
    pub(crate) unreadable: bool,
}

impl Segment {
    pub(crate) fn new(id: u64, home: Home) -> Self {
        Self {
            id,
            home,
            len: 0,
            frames: 0,
            spans: Vec::new(),
            unreadable: false,
        }
    }

    /// Adds numbers to what the segment holds.
    pub(crate) fn include(&mut self, epoch: Epoch, range: SeqRange) {
        self.frames += 1;
        match self.spans.iter_mut().find(|span| span.epoch == epoch) {
            Some(span) => {
                span.hull.first_seq = span.hull.first_seq.min(range.first_seq);
                span.hull.last_seq = span.hull.last_seq.max(range.last_seq);
            }
            None => self.spans.push(Span { epoch, hull: range }),
        }
    }
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The segment.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// The segments of a lane and the end at which records are appended.
#[derive(Debug)]
pub(crate) struct LaneLog {
    lane: Lane,
    pub(crate) segments: Vec<Segment>,
    next_id: u64,
    /// Whether the last segment takes records.
    tail_open: bool,
    /// The last segment as it is durable.
    synced: Option<Segment>,
    unsynced: Vec<u8>,
    name_synced: bool,
    /// The epochs whose note stands in the last segment.
    noted: Vec<Epoch>,
}

impl LaneLog {
    /// A lane with these segments, which are all durable; a last one that is not `appendable` is left
    /// as it is.
    pub(crate) fn new(lane: Lane, segments: Vec<Segment>, next_id: u64, appendable: bool) -> Self {
        let synced = segments.last().cloned();
        Self {
            lane,
            segments,
            next_id,
            tail_open: appendable && synced.is_some(),
            synced,
            unsynced: Vec::new(),
            name_synced: true,
            noted: Vec::new(),
        }
    }

    /// The name of a segment's file.
    pub(crate) fn file(&self, id: u64) -> String {
        file_name(self.lane, id)
    }

    pub(crate) fn segment(&self, id: u64) -> Option<&Segment> {
        let index = self.segments.binary_search_by_key(&id, |s| s.id).ok()?;
        self.segments.get(index)
    }

    /// The first segment at or behind this id.
    pub(crate) fn segment_from(&self, id: u64) -> Option<&Segment> {
        let index = self.segments.partition_point(|s| s.id < id);
        self.segments.get(index)
    }

    /// Bytes stored at a home.
    pub(crate) fn bytes(&self, home: Home) -> u64 {
        let here = self.segments.iter().filter(|s| s.home == home);
        here.map(|s| s.len).sum()
    }

    /// The last segment, if it takes `len` more bytes at this home without growing over `roll_bytes`.
    pub(crate) fn tail_takes(&self, home: Home, len: u64, roll_bytes: u64) -> bool {
        let fits =
            |tail: &Segment| tail.home == home && (tail.len == 0 || tail.len + len <= roll_bytes);
        self.tail_open && self.segments.last().is_some_and(fits)
    }

    pub(crate) fn has_note(&self, epoch: Epoch) -> bool {
        self.noted.contains(&epoch)
    }

    /// The last segment, while it takes records.
    pub(crate) fn tail_id(&self) -> Option<u64> {
        let tail = self.segments.last().filter(|_| self.tail_open)?;
        Some(tail.id)
    }

    pub(crate) fn unsynced_len(&self) -> usize {
        self.unsynced.len()
    }

    /// Begins another segment; the one before must be synced.
    pub(crate) fn roll(&mut self, home: Home) {
        self.segments.push(Segment::new(self.next_id, home));
        self.next_id += 1;
        self.tail_open = true;
        self.synced = None;
        self.name_synced = false;
        self.noted.clear();
    }

    /// Appends a record to the last segment; `range` is `None` for an epoch note.
    ///
    /// # Errors
    /// Whatever the disk says; the record is then kept with the bytes that are not durable.
    pub(crate) fn append(
        &mut self,
        disk: &mut dyn Disk,
        epoch: Epoch,
        range: Option<SeqRange>,
        bytes: &[u8],
    ) -> io::Result<Place> {
        let lane = self.lane;
        let Some(tail) = self.segments.last_mut() else {
            return Err(io::Error::other("no segment to append to"));
        };
        let place = Place {
            segment: tail.id,
            offset: tail.len,
        };
        tail.len += bytes.len() as u64;
        match range {
            Some(range) => tail.include(epoch, range),
            None => self.noted.push(epoch),
        }
        self.unsynced.extend_from_slice(bytes);
        disk.write_at(&file_name(lane, place.segment), place.offset, bytes)?;
        Ok(place)
    }

    /// Makes everything appended durable; whether there was anything.
    ///
    /// # Errors
    /// Whatever the disk says; the bytes are still in RAM, see [`LaneLog::salvage`].
    pub(crate) fn sync(&mut self, disk: &mut dyn Disk) -> io::Result<bool> {
        let Some(tail) = self.segments.last().filter(|_| !self.unsynced.is_empty()) else {
            return Ok(false);
        };
        disk.sync(&self.file(tail.id))?;
        if !self.name_synced {
            disk.sync_folder(self.lane.name())?;
            self.name_synced = true;
        }
        self.synced = Some(tail.clone());
        self.unsynced.clear();
        Ok(true)
    }

    /// Gives up the end of the last segment that is not durable and hands out its bytes.
    pub(crate) fn salvage(&mut self) -> Salvage {
        let bytes = std::mem::take(&mut self.unsynced);
        self.tail_open = false;
        if let Some(tail) = self.segments.pop()
            && let Some(synced) = self.synced.take().filter(|synced| synced.id == tail.id)
        {
            self.segments.push(synced);
        }
        Salvage { bytes }
    }

    /// Takes the bytes of a salvage into the last segment.
    ///
    /// # Errors
    /// Whatever the disk says; the bytes are then kept with those that are not durable.
    pub(crate) fn restore(&mut self, disk: &mut dyn Disk, salvage: &Salvage) -> io::Result<()> {
        let lane = self.lane;
        let Some(tail) = self.segments.last_mut() else {
            return Err(io::Error::other("no segment to append to"));
        };
        let start = tail.len;
        let noted = &mut self.noted;
        let bytes = &salvage.bytes;
        record::scan(&mut reader_of(bytes), 0, bytes.len() as u64, &mut |met| {
            match met.header.content {
                Content::Frame(range) => tail.include(met.header.stream.epoch, range),
                Content::EpochNote => noted.push(met.header.stream.epoch),
            }
            ControlFlow::Continue(())
        })?;
        tail.len += bytes.len() as u64;
        self.unsynced.extend_from_slice(bytes);
        disk.write_at(&file_name(lane, tail.id), start, bytes)
    }

    /// Walks the whole records of a segment from `offset`.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(crate) fn scan(
        &self,
        disk: &mut dyn Disk,
        from: Place,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> io::Result<Scan> {
        let len = self.segment(from.segment).map_or(0, |s| s.len);
        let file = self.file(from.segment);
        let mut read = |offset, out: &mut [u8]| disk.read_at(&file, offset, out);
        record::scan(&mut read, from.offset, len, visit)
    }

    /// The header at a place; `None` when there is none.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(crate) fn header(&self, disk: &mut dyn Disk, at: Place) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_LEN];
        let read = disk.read_at(&self.file(at.segment), at.offset, &mut bytes)?;
        let len = self.segment(at.segment).map_or(0, |s| s.len);
        let header = Header::decode(bytes.get(..read).unwrap_or_default());
        Ok(header.filter(|h| at.offset + h.record_len() <= len))
    }

    /// Copies a segment from RAM to the disk, durably, under the same id, and lets go of the copy in RAM.
    ///
    /// # Errors
    /// Whatever the disk says; the segment is then still in RAM.
    pub(crate) fn move_to_disk(
        &mut self,
        ram: &mut dyn Disk,
        disk: &mut dyn Disk,
        id: u64,
    ) -> io::Result<()> {
        let file = self.file(id);
        let len = self.segment(id).map_or(0, |segment| segment.len);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = ram.read_at(&file, 0, &mut bytes)?;
        bytes.truncate(read);
        if !bytes.is_empty() {
            disk.write_at(&file, 0, &bytes)?;
            disk.sync(&file)?;
            disk.sync_folder(self.lane.name())?;
        }
        if let Ok(index) = self.segments.binary_search_by_key(&id, |s| s.id)
            && let Some(segment) = self.segments.get_mut(index)
        {
            segment.home = Home::Disk;
            let moved = segment.clone();
            if index + 1 == self.segments.len() {
                self.name_synced = !bytes.is_empty();
                self.synced = Some(moved);
            }
        }
        ram.remove(&file)
    }

    /// Takes a segment out of the lane.
    pub(crate) fn take(&mut self, id: u64) {
        if self.segments.last().is_some_and(|tail| tail.id == id) {
            self.tail_open = false;
            self.synced = None;
            self.unsynced.clear();
        }
        self.segments.retain(|segment| segment.id != id);
    }
}

/// Records that a failed sync left in RAM.
#[derive(Debug)]
pub(crate) struct Salvage {
    bytes: Vec<u8>,
}

fn reader_of(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<usize> + '_ {
    |offset, out| Ok(super::memory::copy_at(bytes, offset, out))
}

/// The name of a segment's file.
pub(crate) fn file_name(lane: Lane, id: u64) -> String {
    format!("{}/{id:016x}.seg", lane.name())
}

/// The id in the name of a segment's file; `None` for any other file.
pub(crate) fn id_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 16)?;
    let id = u64::from_str_radix(digits, 16).ok()?;
    // The same number could be written with capitals: that would be another file. The upper half is
    // nobody's, so that the next id always exists.
    (format!("{id:016x}") == digits && id < 1 << 62).then_some(id)
}
