//! The segments of one lane, oldest first, and the frames in RAM behind them.
//!
//! Promises: the order of the lane is the order in which frames were accepted, on the disk and in RAM; a
//! frame is found again under the place that it had in RAM. Never: an index per stored frame.

use std::collections::VecDeque;

use firmware_shared::id::{Epoch, SeqRange, StreamId};

use super::format::{FrameHeader, GENERATION_END, SegmentHeader, Summary};
use super::queue::Queue;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The generation of the segment; [`Place::RAM`] while it is in RAM.
    pub segment: u64,
    /// Bytes from the beginning of the segment; the order of arrival in RAM.
    pub offset: u64,
    /// Which of the frames that were committed together.
    pub entry: u32,
}

impl Place {
    /// No segment: the frame is in RAM.
    pub const RAM: u64 = GENERATION_END;

    pub(crate) fn in_ram(order: u64) -> Self {
        Self {
            segment: Self::RAM,
            offset: order,
            entry: 0,
        }
    }
}

/// Consecutive numbers of one epoch in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// Its numbers.
    pub(crate) range: SeqRange,
}

/// Adds numbers to spans; those that follow the last ones lengthen them.
pub(crate) fn include(spans: &mut Vec<Span>, epoch: Epoch, range: SeqRange) {
    let touching = spans
        .iter_mut()
        .rev()
        .find(|span| span.epoch == epoch && span.range.next_seq() == range.first_seq);
    match touching {
        Some(span) => span.range.last_seq = range.last_seq,
        None => spans.push(Span { epoch, range }),
    }
}

/// One use of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    /// Where the next frame would go.
    pub(crate) end: u64,
    pub(crate) frames: u64,
    pub(crate) spans: Vec<Span>,
    /// The link of its first frame and the checksum of its last.
    pub(crate) first_link: u32,
    pub(crate) last_crc: u32,
    /// Damaged places: from, to.
    pub(crate) holes: Vec<(u64, u64)>,
    /// Whether its summary says all of this.
    pub(crate) is_summed: bool,
    /// Whether reading it failed: it is then left alone by this process.
    pub(crate) is_unreadable: bool,
    /// Whether a write or sync failed: its file is never used again.
    pub(crate) is_retired: bool,
    /// When this process wrote to it last, or found it.
    pub(crate) used_ms: u64,
}

impl Segment {
    pub(crate) fn new(header: SegmentHeader, used_ms: u64) -> Self {
        Self {
            end: header.frames_from(),
            frames: 0,
            spans: Vec::new(),
            first_link: header.link,
            last_crc: header.link,
            holes: Vec::new(),
            is_summed: false,
            is_unreadable: false,
            is_retired: false,
            header,
            used_ms,
        }
    }

    pub(crate) fn from_summary(header: SegmentHeader, summary: Summary, used_ms: u64) -> Self {
        Self {
            end: summary.end,
            frames: summary.frames,
            spans: summary.spans,
            first_link: summary.first_link,
            last_crc: summary.last_crc,
            is_summed: true,
            ..Self::new(header, used_ms)
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            frames: self.frames,
            end: self.end,
            first_link: self.first_link,
            last_crc: self.last_crc,
            spans: self.spans.clone(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.header.generation
    }

    pub(crate) fn file(&self) -> u32 {
        self.header.file
    }

    /// Bytes of frames, their padding included.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.header.frames_from()
    }

    /// A frame was written at the end.
    pub(crate) fn note_frame(&mut self, header: &FrameHeader, padded_len: u64) {
        if self.frames == 0 {
            self.first_link = header.link;
        }
        self.frames += 1;
        self.last_crc = header.crc;
        self.end = u64::from(header.offset) + padded_len;
    }
}

/// Frames whose way out of RAM is remembered.
const MOVES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Move {
    order: u64,
    place: Place,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct LaneLog {
    /// By generation.
    pub(crate) segments: VecDeque<Segment>,
    /// Whether the last segment takes frames.
    pub(crate) is_tail_open: bool,
    /// The last segment as it is durable; `None` when nothing of it is.
    pub(crate) synced: Option<Segment>,
    pub(crate) queue: Queue,
    moves: VecDeque<Move>,
    /// Below this order of arrival moves are forgotten.
    moves_from: u64,
}

impl LaneLog {
    pub(crate) fn new(segments: VecDeque<Segment>, is_tail_open: bool) -> Self {
        Self {
            synced: segments.back().filter(|_| is_tail_open).cloned(),
            segments,
            is_tail_open,
            queue: Queue::default(),
            moves: VecDeque::new(),
            moves_from: 0,
        }
    }

    pub(crate) fn tail(&self) -> Option<&Segment> {
        self.segments.back().filter(|_| self.is_tail_open)
    }

    pub(crate) fn tail_mut(&mut self) -> Option<&mut Segment> {
        let is_open = self.is_tail_open;
        self.segments.back_mut().filter(|_| is_open)
    }

    pub(crate) fn segment(&self, generation: u64) -> Option<&Segment> {
        let index = self
            .segments
            .binary_search_by_key(&generation, Segment::generation);
        self.segments.get(index.ok()?)
    }

    pub(crate) fn segment_mut(&mut self, generation: u64) -> Option<&mut Segment> {
        let index = self
            .segments
            .binary_search_by_key(&generation, Segment::generation);
        self.segments.get_mut(index.ok()?)
    }

    /// The first segment at or behind this generation.
    pub(crate) fn segment_from(&self, generation: u64) -> Option<&Segment> {
        let index = self
            .segments
            .partition_point(|s| s.generation() < generation);
        self.segments.get(index)
    }

    pub(crate) fn take(&mut self, generation: u64) -> Option<Segment> {
        let index = self
            .segments
            .binary_search_by_key(&generation, Segment::generation);
        let index = index.ok()?;
        if index + 1 == self.segments.len() {
            self.is_tail_open = false;
        }
        self.segments.remove(index)
    }

    /// A frame left RAM for this place.
    pub(crate) fn note_move(&mut self, order: u64, place: Place) {
        self.moves.push_back(Move { order, place });
        while self.moves.len() > MOVES_MAX {
            if let Some(gone) = self.moves.pop_front() {
                self.moves_from = gone.order + 1;
            }
        }
    }

    /// Where the frame with this order of arrival went.
    pub(crate) fn moved(&self, order: u64) -> Option<Place> {
        let index = self.moves.binary_search_by_key(&order, |m| m.order).ok()?;
        self.moves.get(index).map(|m| m.place)
    }

    /// Where to go on from a place in RAM that has been passed by.
    pub(crate) fn behind(&self, order: u64) -> Place {
        if order < self.moves_from {
            return Place::default();
        }
        let index = self.moves.partition_point(|m| m.order < order);
        let next_in_ram = Place::in_ram(self.queue.first_order());
        self.moves.get(index).map_or(next_in_ram, |m| m.place)
    }

    /// The numbers of a stream that segments and RAM hold.
    pub(crate) fn holds(&self, id: StreamId) -> impl Iterator<Item = SeqRange> + '_ {
        let stored = self.segments.iter().flat_map(|segment| &segment.spans);
        let stored = stored
            .filter(move |span| span.epoch == id.epoch)
            .map(|span| span.range);
        stored.chain(self.queue.ranges_of(id))
    }
}
