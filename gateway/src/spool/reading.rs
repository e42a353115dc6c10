//! Reading frames back, in order or by place.
//!
//! Promises: a frame is handed out only when its bytes match their checksum; damage that is met becomes a
//! `corrupt` loss and reading goes on behind it; segments in which nothing is left to be sent are passed by.
//! Never: hands out a frame under other numbers than its own; holds more than one frame of the disk per lane.

use std::io;

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::format::{self, Entry, FRAME_HEADER_LEN, FrameHeader, padded};
use super::lane::{Place, Segment};
use super::{Spool, SpoolEvent, scan};

/// A frame that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where.
    pub(crate) place: Place,
    /// Whose numbers.
    pub(crate) stream: StreamId,
    /// The numbers.
    pub(crate) range: SeqRange,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not held any more.
    Gone,
    /// Its bytes are damaged; the loss is written down.
    Damaged,
    /// The disk does not hand it out; it is left for the next process.
    Unreadable,
}

/// The frame of the disk that was read last.
#[derive(Debug)]
pub(crate) struct Loaded {
    segment: u64,
    header: FrameHeader,
    payload: Vec<u8>,
    entries: Vec<Entry>,
    room: u64,
}

impl Loaded {
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn bytes(&self, entry: &Entry) -> Option<Vec<u8>> {
        let start = entry.start as usize;
        let bytes = self.payload.get(start..start + entry.len as usize)?;
        Some(bytes.to_vec())
    }
}

impl Spool {
    /// The next frame at or behind `cursor`, which moves behind it; `None` at the end of the lane.
    pub(crate) fn next_frame(&mut self, lane: Lane, cursor: &mut Place) -> Option<Found> {
        loop {
            if cursor.segment >= Place::RAM {
                let log = self.lanes.get(lane);
                if cursor.offset < log.queue.first_order() {
                    *cursor = log.behind(cursor.offset);
                    if cursor.segment < Place::RAM {
                        continue;
                    }
                }
                let queued = log.queue.from(cursor.offset)?;
                *cursor = Place::in_ram(queued.order + 1);
                return Some(Found {
                    place: Place::in_ram(queued.order),
                    stream: queued.frame.stream,
                    range: queued.frame.range,
                });
            }
            let Some(segment) = self.lanes.get(lane).segment_from(cursor.segment) else {
                *cursor = Place::in_ram(self.lanes.get(lane).queue.first_order());
                continue;
            };
            let (generation, from) = (segment.generation(), segment.header.frames_from());
            if generation != cursor.segment || cursor.offset < from {
                *cursor = Place {
                    segment: generation,
                    offset: from,
                    entry: 0,
                };
            }
            let is_entered = cursor.offset == from && cursor.entry == 0;
            if cursor.offset >= segment.end
                || segment.is_unreadable
                || is_entered && self.is_segment_done(lane, segment)
            {
                cursor.segment = generation + 1;
                cursor.offset = 0;
                cursor.entry = 0;
                continue;
            }
            match self.load(lane, *cursor) {
                Ok(true) => {}
                Ok(false) => {
                    *cursor = self.pass_hole(lane, *cursor);
                    continue;
                }
                Err(error) => {
                    self.leave_alone(lane, generation, &error);
                    continue;
                }
            }
            let Some(loaded) = self.loaded.get(lane) else {
                continue;
            };
            let place = *cursor;
            let Some(entry) = loaded.entry(cursor.entry) else {
                cursor.offset += loaded.room;
                cursor.entry = 0;
                continue;
            };
            cursor.entry += 1;
            return Some(Found {
                place,
                stream: loaded.header.stream,
                range: entry.range,
            });
        }
    }

    /// Where to begin looking for frames with these numbers; those that are still to come will be behind it.
    pub(crate) fn seek(&self, id: StreamId, range: SeqRange) -> Place {
        let log = self.lanes.get(id.lane);
        let mut segments = log.segments.iter();
        let first = segments.find(|segment| {
            let mut spans = segment.spans.iter();
            spans.any(|s| s.epoch == id.epoch && s.range.intersection(&range).is_some())
        });
        match first {
            Some(segment) => Place {
                segment: segment.generation(),
                ..Place::default()
            },
            None => Place::in_ram(log.queue.first_order()),
        }
    }

    /// Where a frame is by now that was at this place: its commit may have moved it out of RAM.
    pub(crate) fn where_is(&self, lane: Lane, place: Place) -> Place {
        let log = self.lanes.get(lane);
        if place.segment < Place::RAM || log.queue.get(place.offset).is_some() {
            return place;
        }
        log.behind(place.offset)
    }

    /// The bytes of a frame.
    pub(crate) fn read(
        &mut self,
        place: Place,
        id: StreamId,
        range: SeqRange,
    ) -> Result<Vec<u8>, Unread> {
        let place = if place.segment < Place::RAM {
            Some(place)
        } else {
            let log = self.lanes.get(id.lane);
            if let Some(queued) = log.queue.get(place.offset) {
                let is_it = queued.frame.stream == id && queued.frame.range == range;
                return if is_it {
                    Ok(queued.frame.bytes.clone())
                } else {
                    Err(Unread::Gone)
                };
            }
            log.moved(place.offset)
        };
        if let Some(place) = place
            && let Some(bytes) = self.read_stored(place, id, range)?
        {
            return Ok(bytes);
        }
        // It was stored elsewhere after a write that failed, or RAM has forgotten where it went.
        let place = self.find(id, range).ok_or(Unread::Gone)?;
        if let Some(queued) = self.lanes.get(id.lane).queue.get(place.offset)
            && place.segment == Place::RAM
        {
            return Ok(queued.frame.bytes.clone());
        }
        self.read_stored(place, id, range)?.ok_or(Unread::Gone)
    }

    /// The same, from the disk and not from what was read before: somebody doubts it.
    pub(crate) fn read_again(
        &mut self,
        place: Place,
        id: StreamId,
        range: SeqRange,
    ) -> Result<Vec<u8>, Unread> {
        *self.loaded.get_mut(id.lane) = None;
        self.read(place, id, range)
    }

    /// The bytes of a frame at a place of the disk; `None` when something else is there.
    fn read_stored(
        &mut self,
        place: Place,
        id: StreamId,
        range: SeqRange,
    ) -> Result<Option<Vec<u8>>, Unread> {
        let lane = id.lane;
        if self.lanes.get(lane).segment(place.segment).is_none() {
            return Ok(None);
        }
        match self.load(lane, place) {
            Ok(true) => {}
            Ok(false) => {
                let lost = self.counts.get(lane).corrupt;
                self.pass_hole(lane, place);
                return if self.counts.get(lane).corrupt > lost {
                    Err(Unread::Damaged)
                } else {
                    Ok(None)
                };
            }
            Err(error) => {
                self.leave_alone(lane, place.segment, &error);
                return Err(Unread::Unreadable);
            }
        }
        let Some(loaded) = self.loaded.get(lane) else {
            return Ok(None);
        };
        let entry = loaded
            .entry(place.entry)
            .filter(|entry| entry.range == range && loaded.header.stream == id);
        Ok(entry.and_then(|entry| loaded.bytes(entry)))
    }

    /// Writes a frame's numbers down as lost by damage.
    pub(crate) fn lose_damaged(&mut self, id: StreamId, range: SeqRange) {
        let place = format!("{} {range} of epoch {}", id.lane, id.epoch);
        self.lose(id, range, LossReason::Corrupt);
        let numbers = range.count();
        self.events.push(SpoolEvent::Corrupt { place, numbers });
    }

    /// Where a frame is held; `None` when it is not.
    pub(crate) fn find(&mut self, id: StreamId, range: SeqRange) -> Option<Place> {
        if let Some(order) = self.lanes.get(id.lane).queue.find(id, range) {
            return Some(Place::in_ram(order));
        }
        let touches = |segment: &&Segment| {
            let mut spans = segment.spans.iter();
            !segment.is_unreadable
                && spans.any(|s| s.epoch == id.epoch && s.range.intersection(&range).is_some())
        };
        let segments = self.lanes.get(id.lane).segments.iter().filter(touches);
        for generation in segments.map(Segment::generation).collect::<Vec<_>>() {
            if let Some(place) = self.find_in(id, range, generation) {
                return Some(place);
            }
        }
        None
    }

    fn find_in(&mut self, id: StreamId, range: SeqRange, generation: u64) -> Option<Place> {
        let segment = self.lanes.get(id.lane).segment(generation)?;
        let mut offset = segment.header.frames_from();
        let end = segment.end;
        while offset < end {
            let at = Place {
                segment: generation,
                offset,
                entry: 0,
            };
            let header = self.header_at(id.lane, at).ok()?;
            let Some((header, room)) = header else {
                offset = self.pass_hole(id.lane, at).offset;
                continue;
            };
            if header.stream == id
                && header.range.intersection(&range).is_some()
                && matches!(self.load(id.lane, at), Ok(true))
                && let Some(loaded) = self.loaded.get(id.lane)
                && let Some(entry) = loaded.entries.iter().position(|e| e.range == range)
            {
                let entry = u32::try_from(entry).unwrap_or(u32::MAX);
                return Some(Place { entry, ..at });
            }
            offset += room;
        }
        None
    }

    fn header_at(&mut self, lane: Lane, at: Place) -> io::Result<Option<(FrameHeader, u64)>> {
        let Some(segment) = self.lanes.get(lane).segment(at.segment) else {
            return Ok(None);
        };
        let header = segment.header;
        let name = self.file_name(header.file);
        let mut bytes = [0; FRAME_HEADER_LEN];
        let read = self.disk.read_at(&name, at.offset, &mut bytes)?;
        let bytes = bytes.get(..read).unwrap_or_default();
        let frame = FrameHeader::decode(bytes, header.seed(), at.offset)
            .filter(|f| f.stream.lane == lane && f.generation == header.generation)
            .filter(|f| at.offset + f.frame_len() <= u64::from(header.len));
        Ok(frame.map(|f| (f, padded(f.frame_len(), header.align))))
    }

    /// Reads the frame at a place, if it is not the one that was read last; whether there is a whole one.
    fn load(&mut self, lane: Lane, at: Place) -> io::Result<bool> {
        if let Some(loaded) = self.loaded.get(lane)
            && loaded.segment == at.segment
            && u64::from(loaded.header.offset) == at.offset
        {
            return Ok(true);
        }
        let Some((header, room)) = self.header_at(lane, at)? else {
            return Ok(false);
        };
        let segment = self.lanes.get(lane).segment(at.segment);
        let name = self.file_name(segment.map_or(0, Segment::file));
        let mut payload = vec![0; header.payload_len as usize];
        let from = at.offset + FRAME_HEADER_LEN as u64;
        let read = self.disk.read_at(&name, from, &mut payload)?;
        payload.truncate(read);
        if !header.fits(&payload) {
            return Ok(false);
        }
        *self.loaded.get_mut(lane) = Some(Loaded {
            segment: at.segment,
            entries: format::entries(&header, &payload),
            header,
            payload,
            room,
        });
        Ok(true)
    }

    fn leave_alone(&mut self, lane: Lane, generation: u64, error: &io::Error) {
        tracing::error!(%lane, generation, %error, "a segment is left alone: it cannot be read");
        self.counts.get_mut(lane).disk_errors += 1;
        if let Some(segment) = self.lanes.get_mut(lane).segment_mut(generation) {
            segment.is_unreadable = true;
        }
    }

    /// Writes down what is missing in a damaged segment; where the next whole frame begins.
    fn pass_hole(&mut self, lane: Lane, at: Place) -> Place {
        let behind = |segment: &Segment| {
            let mut holes = segment.holes.iter();
            let hole = holes.find(|(from, to)| *from <= at.offset && at.offset < *to);
            hole.map(|(_, to)| *to)
        };
        let Some(segment) = self.lanes.get(lane).segment(at.segment).cloned() else {
            return Place {
                segment: at.segment + 1,
                ..Place::default()
            };
        };
        let next = match behind(&segment) {
            Some(next) => next,
            None => {
                let mended = self.mend(lane, &segment);
                // A place that is no beginning of a frame: the next one on the grid.
                let step = u64::from(segment.header.align);
                mended
                    .as_ref()
                    .map_or(segment.end, |m| behind(m).unwrap_or(at.offset + step))
            }
        };
        Place {
            segment: at.segment,
            offset: next,
            entry: 0,
        }
    }

    /// Reads a segment through again: what is not there any more is lost.
    fn mend(&mut self, lane: Lane, before: &Segment) -> Option<Segment> {
        let name = self.file_name(before.file());
        let read = scan::read_through(self.disk.as_mut(), &name, before.header, before.used_ms);
        let mut after = match read {
            Ok((after, _)) => after,
            Err(error) => {
                self.leave_alone(lane, before.generation(), &error);
                return None;
            }
        };
        // Frames that are written and not yet synced lie in RAM, too.
        if after.end < before.end {
            after.holes.push((after.end, before.end));
            after.end = before.end;
        }
        after.last_crc = before.last_crc;
        after.is_summed = before.is_summed;
        after.is_retired = before.is_retired;
        if let Some(segment) = self.lanes.get_mut(lane).segment_mut(before.generation()) {
            *segment = after.clone();
        }
        for span in &before.spans {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            // After a failed sync a frame may be held in another segment, too.
            let held = self.held(id, span.range);
            for gap in held.missing_in(span.range).collect::<Vec<_>>() {
                if self.book.stream(id).is_some_and(|s| !s.is_done(gap)) {
                    self.lose_damaged(id, gap);
                }
            }
        }
        *self.loaded.get_mut(lane) = None;
        Some(after)
    }
}
