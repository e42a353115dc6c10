//! From RAM to the disk.
//!
//! Promises: a frame leaves RAM when it is durable, or acknowledged and not wanted as history; frames are
//! written in the order in which they came; a commit that fails is made again on another segment, once.
//! Never: a write for a frame that is acknowledged before its commit is due, but for history.

use std::io;

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::disk::Site;
use super::format::{
    ENTRY_HEAD_LEN_MAX, FRAME_HEADER_LEN, FrameHeader, FrameKind, PAYLOAD_LEN_MAX, padded,
    payload_sum, push_entry,
};
use super::lane::{Place, include};
use super::mutant::{Mutant, is_on};
use super::scan::frame_room;
use super::{Frame, Mode, PENDING_LEN_MAX, Refused, Spool, SpoolEvent};

/// What is committed together, at most, unless one batch alone is longer: what one damaged page costs.
const COMMIT_LEN_MAX: usize = 64 * 1024;
/// Acknowledged batches are written by so much: the page of a card.
const HISTORY_LEN: usize = 16 * 1024;

/// Frames of RAM on their way into one frame of the disk.
#[derive(Debug)]
struct Pack {
    stream: StreamId,
    range: SeqRange,
    payload: Vec<u8>,
    orders: Vec<u64>,
}

impl Spool {
    /// Takes a frame into RAM; it is durable after the next commit of its lane.
    pub(crate) fn append(&mut self, frame: Frame) -> Result<Place, Refused> {
        let (stream, range) = (frame.stream, frame.range);
        if frame.bytes.len() > self.entry_len_max() {
            return Err(Refused::Length(frame.bytes.len()));
        }
        let Some(numbers) = self.book.stream_mut(stream) else {
            return Err(Refused::Epoch(stream.epoch));
        };
        numbers.issued_next_seq = numbers.issued_next_seq.max(range.next_seq());
        self.counts.get_mut(stream.lane).accepted += 1;
        let now_ms = self.now_ms;
        let log = self.lanes.get_mut(stream.lane);
        let order = log.queue.push(frame, now_ms);
        self.bound_ram(stream.lane);
        Ok(Place::in_ram(order))
    }

    /// The longest bytes that fit into a frame of a segment.
    fn entry_len_max(&self) -> usize {
        let room = self
            .limits
            .segment_bytes
            .saturating_sub(2 * self.limits.align);
        let room = room as usize;
        PAYLOAD_LEN_MAX.min(room.saturating_sub(FRAME_HEADER_LEN + ENTRY_HEAD_LEN_MAX))
    }

    /// By how much acknowledged frames are written: a small segment takes a few such frames.
    fn history_len(&self) -> usize {
        HISTORY_LEN.min(self.limits.segment_bytes as usize / 4)
    }

    /// Sees to it that RAM stays inside its bounds.
    fn bound_ram(&mut self, lane: Lane) {
        let queue = &self.lanes.get(lane).queue;
        if self.mode == Mode::Disk {
            let open = queue.iter().filter(|f| !f.is_done);
            let numbers: u64 = open.map(|f| f.frame.range.count()).sum();
            if queue.bytes() > PENDING_LEN_MAX || numbers > self.limits.pending_count_max {
                self.commit_lane(lane);
            }
        }
        if self.mode == Mode::Ram {
            self.evict_from_ram(lane);
        }
    }

    /// The oldest frames in RAM make room for the latest.
    pub(super) fn evict_from_ram(&mut self, lane: Lane) {
        let limit = *self.limits.ram_bytes.get(lane);
        let mut numbers = 0;
        while self.lanes.get(lane).queue.bytes() > limit && self.lanes.get(lane).queue.len() > 1 {
            if let Some(gone) = self.lanes.get_mut(lane).queue.pop_front() {
                let (stream, range) = (gone.frame.stream, gone.frame.range);
                numbers += self.book.lose(stream, range, LossReason::Evicted);
            }
        }
        if numbers > 0 {
            self.is_stale = true;
            self.is_dirty = true;
            self.counts.get_mut(lane).evicted += numbers;
            self.events.push(SpoolEvent::Evicted { lane, numbers });
        }
    }

    /// When the commit of a lane is due whose frames may be so old, ms.
    pub(crate) fn due_ms(&self, lane: Lane, age_ms: u64) -> Option<u64> {
        let oldest_ms = self.lanes.get(lane).queue.oldest_open_ms();
        let oldest_ms = oldest_ms.filter(|_| self.mode == Mode::Disk)?;
        Some(oldest_ms.saturating_add(age_ms))
    }

    /// Makes everything that is not acknowledged durable; whether it is.
    pub(crate) fn commit(&mut self) -> bool {
        let mut is_durable = true;
        for lane in Lane::ALL {
            is_durable &= self.commit_lane(lane);
        }
        is_durable
    }

    /// Makes what is not acknowledged of one lane durable; whether it is.
    pub(crate) fn commit_lane(&mut self, lane: Lane) -> bool {
        if self.mode == Mode::Ram {
            return false;
        }
        if self.lanes.get(lane).queue.oldest_open_ms().is_none() {
            return true;
        }
        for last in [false, true] {
            let error = match self.write_and_sync(lane) {
                Ok(()) => return true,
                Err(error) => error,
            };
            self.give_up_tail(lane, &error);
            if last {
                self.degrade(&error);
                self.evict_from_ram(lane);
            }
        }
        false
    }

    /// Writes down what is acknowledged and kept, before RAM goes.
    pub(super) fn commit_history(&mut self) {
        for lane in Lane::ALL {
            let is_kept = self.limits.history_ms > 0 && self.lanes.get(lane).queue.len() > 0;
            if self.mode == Mode::Disk
                && is_kept
                && let Err(error) = self.write_and_sync(lane)
            {
                self.give_up_tail(lane, &error);
            }
        }
    }

    fn write_and_sync(&mut self, lane: Lane) -> io::Result<()> {
        while let Some(pack) = self.next_pack(lane, FrameKind::Commit) {
            self.write_pack(lane, &pack, FrameKind::Commit)?;
        }
        self.sync_tail(lane)
    }

    /// Makes the last segment durable, and lets go of its frames in RAM.
    pub(super) fn sync_tail(&mut self, lane: Lane) -> io::Result<()> {
        let Some((file, generation)) = self
            .lanes
            .get(lane)
            .tail()
            .map(|tail| (tail.file(), tail.generation()))
        else {
            return Ok(());
        };
        if is_on(Mutant::QueueDroppedBeforeSync) {
            self.note_durable(lane, generation);
        }
        if !is_on(Mutant::CommitWithoutSync) {
            let mut synced = self.flush(Site::Append, file);
            if synced.is_err() && is_on(Mutant::SyncRetried) {
                synced = self.flush(Site::Append, file);
            }
            if synced.is_err() {
                self.counts.get_mut(lane).fsync_errors += 1;
            }
            synced?;
        }
        self.note_durable(lane, generation);
        Ok(())
    }

    /// What was written to a segment is durable.
    fn note_durable(&mut self, lane: Lane, generation: u64) {
        let log = self.lanes.get_mut(lane);
        log.synced = log.tail().cloned();
        let mut moved = Vec::new();
        let mut waited_ms = None;
        log.queue.remove_if(|f| {
            let Some(place) = f.written.filter(|place| place.segment == generation) else {
                return false;
            };
            moved.push((f.order, place, f.frame.stream, f.frame.range, f.is_done));
            waited_ms = waited_ms.or(Some(f.accepted_ms));
            true
        });
        for (order, place, stream, range, is_done) in moved {
            if !is_done {
                self.lanes.get_mut(lane).note_move(order, place);
            }
            if let Some(numbers) = self.book.stream_mut(stream) {
                numbers.known_next_seq = numbers.known_next_seq.max(range.next_seq());
            }
            self.open_on_disk += if is_done { 0 } else { range.count() };
        }
        if let Some(since_ms) = waited_ms {
            let waited_ms = self.now_ms.saturating_sub(since_ms);
            self.latencies.get_mut(lane).note(waited_ms);
        }
    }

    /// The next frames of a lane that go into one frame of the disk.
    fn next_pack(&self, lane: Lane, kind: FrameKind) -> Option<Pack> {
        let len_max = match kind {
            FrameKind::Commit => COMMIT_LEN_MAX.min(self.entry_len_max()),
            FrameKind::History => self.history_len(),
        } - FRAME_HEADER_LEN;
        let mut pack: Option<Pack> = None;
        let queue = &self.lanes.get(lane).queue;
        let mut waiting: Vec<_> = queue.iter().filter(|f| f.written.is_none()).collect();
        if kind == FrameKind::History {
            let end = waiting.iter().position(|f| !f.is_done);
            waiting.truncate(end.unwrap_or(waiting.len()));
        }
        if is_on(Mutant::CommitOutOfOrder) {
            waiting.reverse();
        }
        if is_on(Mutant::HistoryOutOfOrder) {
            waiting.sort_by_key(|f| f.is_done);
        }
        for queued in waiting {
            let (frame, range) = (&queued.frame, queued.frame.range);
            let Some(pack) = &mut pack else {
                let mut payload = Vec::new();
                push_entry(&mut payload, range.first_seq, range, &frame.bytes);
                pack = Some(Pack {
                    stream: frame.stream,
                    range,
                    payload,
                    orders: vec![queued.order],
                });
                continue;
            };
            let len = pack.payload.len() + ENTRY_HEAD_LEN_MAX + frame.bytes.len();
            let follows = frame.stream == pack.stream && range.first_seq > pack.range.last_seq;
            if !follows || len > len_max || pack.orders.len() >= usize::from(u16::MAX) {
                break;
            }
            if is_on(Mutant::CommitShort) && kind == FrameKind::Commit {
                pack.orders.push(queued.order);
                break;
            }
            push_entry(
                &mut pack.payload,
                pack.range.next_seq(),
                range,
                &frame.bytes,
            );
            pack.range.last_seq = range.last_seq;
            pack.orders.push(queued.order);
        }
        pack
    }

    fn write_pack(&mut self, lane: Lane, pack: &Pack, kind: FrameKind) -> io::Result<()> {
        let len = (FRAME_HEADER_LEN + pack.payload.len()) as u64;
        self.make_tail(lane, padded(len, self.limits.align))?;
        let now_ms = self.now_ms;
        let Some(tail) = self.lanes.get(lane).tail() else {
            return Err(io::Error::other("no segment to append to"));
        };
        let (file, offset, segment) = (tail.file(), tail.end, tail.header);
        let mut header = FrameHeader {
            stream: pack.stream,
            kind,
            entries: u16::try_from(pack.orders.len()).unwrap_or(u16::MAX),
            payload_len: u32::try_from(pack.payload.len()).unwrap_or(u32::MAX),
            link: tail.last_crc,
            range: pack.range,
            generation: segment.generation,
            payload_sum: payload_sum(&pack.payload),
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            crc: 0,
        };
        let (mut bytes, crc) = header.encode(segment.seed());
        header.crc = crc;
        bytes.extend_from_slice(&pack.payload);
        let room = frame_room(&header, segment.align);
        bytes.resize(usize::try_from(room).unwrap_or(0), 0);
        let site = match kind {
            FrameKind::Commit => Site::Append,
            FrameKind::History => Site::Rewind,
        };
        self.put(site, file, offset, &bytes)?;
        let log = self.lanes.get_mut(lane);
        let mut entry = 0;
        let mut ranges = Vec::with_capacity(pack.orders.len());
        for queued in log.queue.iter_mut() {
            if pack.orders.binary_search(&queued.order).is_ok() {
                let place = Place {
                    segment: segment.generation,
                    offset,
                    entry,
                };
                queued.written = Some(place);
                ranges.push(queued.frame.range);
                entry += 1;
            }
        }
        if let Some(tail) = log.tail_mut() {
            for range in ranges {
                include(&mut tail.spans, pack.stream.epoch, range);
            }
            tail.note_frame(&header, room);
            tail.used_ms = now_ms;
        }
        Ok(())
    }

    /// The book has changed: what is done in RAM goes, or waits to be written as history.
    pub(crate) fn settle(&mut self) {
        let keeps = self.limits.history_ms > 0 && self.mode == Mode::Disk;
        for lane in Lane::ALL {
            let book = &self.book;
            let queue = &mut self.lanes.get_mut(lane).queue;
            for queued in queue.iter_mut().filter(|f| !f.is_done) {
                queued.is_done = book.is_done(queued.frame.stream, queued.frame.range);
            }
            if keeps {
                self.write_history(lane);
            } else {
                queue.remove_if(|f| f.is_done && f.written.is_none());
            }
        }
        let open = self.count_open_on_disk();
        // Acknowledged frames that are stored would be sent again by the next process.
        self.is_dirty |= open < self.open_on_disk;
        self.open_on_disk = open;
        self.clear_retired();
    }

    pub(super) fn count_open_on_disk(&self) -> u64 {
        let mut open = 0;
        for lane in Lane::ALL {
            for segment in &self.lanes.get(lane).segments {
                for span in &segment.spans {
                    let id = StreamId {
                        epoch: span.epoch,
                        lane,
                    };
                    if let Some(stream) = self.book.stream(id) {
                        open += span.range.count() - stream.acked.count_in(span.range);
                    }
                }
            }
        }
        open
    }

    /// Writes acknowledged frames when they fill a page of the card, without a sync.
    fn write_history(&mut self, lane: Lane) {
        while self.lanes.get(lane).queue.history_len() >= self.history_len() as u64 {
            let Some(pack) = self.next_pack(lane, FrameKind::History) else {
                return;
            };
            if let Err(error) = self.write_pack(lane, &pack, FrameKind::History) {
                self.give_up_tail(lane, &error);
                self.lanes.get_mut(lane).queue.remove_if(|f| f.is_done);
                return;
            }
            let log = self.lanes.get_mut(lane);
            log.queue.remove_if(|f| f.is_done && f.written.is_some());
        }
    }
}
