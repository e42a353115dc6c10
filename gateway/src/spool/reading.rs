//! Reading frames back, in order or by place.
//!
//! Promises: a frame is handed out only when its bytes match its checksum; damage that is met becomes a
//! `corrupt` loss and reading goes on behind it. Never: hands out a frame under other numbers than its own.

use std::io;
use std::ops::ControlFlow;

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::lane_log::{Home, Place};
use super::numbers::{self, Numbers};
use super::record::{Content, HEADER_LEN, Header};
use super::{Spool, SpoolEvent, disk_of};

/// A frame that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where.
    pub(crate) place: Place,
    /// Whose numbers.
    pub(crate) stream: StreamId,
    /// The numbers.
    pub(crate) range: SeqRange,
    /// The length of its bytes.
    pub(crate) len: u32,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Something else is there: look for it from the beginning of the lane.
    Moved,
    /// Its bytes are damaged; the loss is written down.
    Damaged,
    /// The disk does not hand it out; it is left for the next process.
    Unreadable,
}

impl Spool {
    /// The next frame at or behind `cursor`, which moves behind it; `None` at the end of the lane.
    pub(crate) fn next_frame(&mut self, lane: Lane, cursor: &mut Place) -> Option<Found> {
        loop {
            let segment = self.logs.get(lane).segment_from(cursor.segment)?;
            if segment.id != cursor.segment {
                *cursor = Place {
                    segment: segment.id,
                    offset: 0,
                };
            }
            if cursor.offset >= segment.len || segment.unreadable {
                // At the end of the last one the cursor waits for what will be appended.
                self.logs.get(lane).segment_from(segment.id + 1)?;
                *cursor = Place {
                    segment: cursor.segment + 1,
                    offset: 0,
                };
                continue;
            }
            let place = *cursor;
            match self.header_at(lane, place) {
                Ok(Some(header)) => {
                    cursor.offset += header.record_len();
                    if let Content::Frame(range) = header.content {
                        return Some(Found {
                            place,
                            stream: header.stream,
                            range,
                            len: header.payload_len,
                        });
                    }
                }
                Ok(None) => cursor.offset = self.mend(lane, place),
                Err(error) => self.leave_alone(lane, place.segment, &error),
            }
        }
    }

    /// The bytes of a frame.
    pub(crate) fn read(
        &mut self,
        place: Place,
        id: StreamId,
        range: SeqRange,
    ) -> Result<Vec<u8>, Unread> {
        if self.logs.get(id.lane).segment(place.segment).is_none() {
            return Err(Unread::Moved);
        }
        match self.payload_at(id.lane, place) {
            Ok((Some(header), payload)) => {
                if header.stream != id || header.content != Content::Frame(range) {
                    return Err(Unread::Moved);
                }
                if header.fits(&payload) {
                    return Ok(payload);
                }
                self.lose_damaged(id, range);
                Err(Unread::Damaged)
            }
            Ok((None, _)) => Err(Unread::Moved),
            Err(error) => {
                self.leave_alone(id.lane, place.segment, &error);
                Err(Unread::Unreadable)
            }
        }
    }

    /// Writes a frame's numbers down as lost by damage.
    pub(crate) fn lose_damaged(&mut self, id: StreamId, range: SeqRange) {
        let place = format!("{} {range} of epoch {}", id.lane, id.epoch);
        self.lose(id, range, LossReason::Corrupt);
        let numbers = range.count();
        self.events.push(SpoolEvent::Corrupt { place, numbers });
    }

    /// Where a frame is stored; `None` when it is not.
    pub(crate) fn find(&mut self, id: StreamId, range: SeqRange) -> Option<Place> {
        let hulls = self.segments_with(id, range);
        for segment in hulls {
            let mut cursor = Place { segment, offset: 0 };
            while let Some(found) = self.next_frame(id.lane, &mut cursor) {
                if found.place.segment != segment {
                    break;
                }
                if found.stream == id && found.range == range {
                    return Some(found.place);
                }
            }
        }
        None
    }

    /// Which of the stream's numbers in the range are stored, frame by frame.
    pub(crate) fn held(&mut self, id: StreamId, range: SeqRange) -> Numbers {
        let mut held = Numbers::default();
        for segment in self.segments_with(id, range) {
            let mut cursor = Place { segment, offset: 0 };
            while let Some(found) = self.next_frame(id.lane, &mut cursor) {
                if found.place.segment != segment {
                    break;
                }
                if found.stream == id {
                    numbers::add(&mut held, found.range);
                }
            }
        }
        held
    }

    fn segments_with(&self, id: StreamId, range: SeqRange) -> Vec<u64> {
        let touches = |span: &super::lane_log::Span| {
            span.epoch == id.epoch && span.hull.intersection(&range).is_some()
        };
        let segments = self.logs.get(id.lane).segments.iter();
        let with = segments.filter(|s| !s.unreadable && s.spans.iter().any(touches));
        with.map(|s| s.id).collect()
    }

    fn header_at(&mut self, lane: Lane, at: Place) -> io::Result<Option<Header>> {
        let home = self.home_of(lane, at.segment);
        let log = self.logs.get(lane);
        log.header(disk_of(&mut self.disk, &mut self.ram, home), at)
    }

    fn payload_at(&mut self, lane: Lane, at: Place) -> io::Result<(Option<Header>, Vec<u8>)> {
        let Some(header) = self.header_at(lane, at)? else {
            return Ok((None, Vec::new()));
        };
        let mut payload = vec![0; header.payload_len as usize];
        let home = self.home_of(lane, at.segment);
        let file = self.logs.get(lane).file(at.segment);
        let disk = disk_of(&mut self.disk, &mut self.ram, home);
        let read = disk.read_at(&file, at.offset + HEADER_LEN as u64, &mut payload)?;
        payload.truncate(read);
        Ok((Some(header), payload))
    }

    fn home_of(&self, lane: Lane, segment: u64) -> Home {
        let segment = self.logs.get(lane).segment(segment);
        segment.map_or(self.mode, |segment| segment.home)
    }

    fn leave_alone(&mut self, lane: Lane, segment: u64, error: &io::Error) {
        tracing::error!(%lane, segment, %error, "a segment is left alone: it cannot be read");
        self.counts.get_mut(lane).disk_errors += 1;
        let log = self.logs.get_mut(lane);
        if let Some(segment) = log.segments.iter_mut().find(|s| s.id == segment) {
            segment.unreadable = true;
        }
    }

    /// Writes down what is missing in a damaged segment; where the next whole record begins.
    fn mend(&mut self, lane: Lane, at: Place) -> u64 {
        let Some(segment) = self.logs.get(lane).segment(at.segment).cloned() else {
            return u64::MAX;
        };
        let mut whole: Vec<(StreamId, SeqRange)> = Vec::new();
        let mut next = segment.len;
        let disk = disk_of(&mut self.disk, &mut self.ram, segment.home);
        let from = Place {
            segment: segment.id,
            offset: 0,
        };
        let scan = self.logs.get(lane).scan(disk, from, &mut |met| {
            if let (Content::Frame(range), Some(_)) = (met.header.content, met.payload) {
                whole.push((met.header.stream, range));
            }
            if met.offset > at.offset {
                next = next.min(met.offset);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = scan {
            self.leave_alone(lane, at.segment, &error);
            return segment.len;
        }
        for span in &segment.spans {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            let mut held = Numbers::default();
            for (_, range) in whole.iter().filter(|(stream, _)| *stream == id) {
                numbers::add(&mut held, *range);
            }
            for gap in held.missing_in(span.hull) {
                let open = self.book.stream(id).is_some_and(|s| !s.is_done(gap));
                if open {
                    self.lose_damaged(id, gap);
                }
            }
        }
        next
    }
}
