//! What must hold after every cut, from what was done and not from what the spool says of itself.
use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::life::Weather;
use crate::spool::numbers::{self, Numbers};
use crate::spool::{Book, Place, Spool, SpoolEvent};

/// A frame that was handed to the spool; its bytes follow from its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) range: SeqRange,
    pub(crate) len: usize,
}

impl Written {
    pub(crate) fn bytes(&self, stream: StreamId) -> Vec<u8> {
        let mut state = stream.epoch.number() ^ self.range.first_seq.rotate_left(32);
        state ^= (stream.lane as u64) << 20;
        (0..self.len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect()
    }
}

#[derive(Debug, Clone, Default)]
struct Record {
    issued_next_seq: u64,
    frames: BTreeMap<u64, Written>,
    /// Numbers that a commit reported durable.
    durable: Numbers,
    /// Numbers whose acknowledgement is durable.
    done: Numbers,
    /// Losses that are durable.
    lost: Numbers,
    /// Numbers that the centre ever had.
    acked: Numbers,
    /// Numbers that a restored centre asked for.
    asked: Numbers,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    streams: BTreeMap<StreamId, Record>,
    known_epochs: BTreeSet<Epoch>,
    /// What was seen to be wrong while the spool lived.
    wrong: Option<String>,
}

impl Oracle {
    pub(crate) fn epoch_is_durable(&mut self, epoch: Epoch) {
        self.known_epochs.insert(epoch);
    }

    pub(crate) fn issued(&mut self, stream: StreamId, next_seq: u64) {
        self.streams.entry(stream).or_default().issued_next_seq = next_seq;
    }

    pub(crate) fn written(&mut self, stream: StreamId, written: Written) {
        let record = self.streams.entry(stream).or_default();
        record.frames.insert(written.range.first_seq, written);
    }

    /// The frames inside a range.
    pub(crate) fn whole_frames(&self, stream: StreamId, range: SeqRange) -> Vec<SeqRange> {
        let Some(record) = self.streams.get(&stream) else {
            return Vec::new();
        };
        let frames = record.frames.range(range.first_seq..=range.last_seq);
        frames
            .map(|(_, written)| written.range)
            .filter(|r| r.last_seq <= range.last_seq)
            .collect()
    }

    /// A lane was committed; what the spool told of it.
    pub(crate) fn heard(&mut self, lane: Lane, events: &[SpoolEvent]) {
        let is_alert = |event: &SpoolEvent| {
            matches!(
                event,
                SpoolEvent::Evicted {
                    lane: Lane::Alert,
                    ..
                }
            )
        };
        if lane != Lane::Alert && events.iter().any(is_alert) {
            self.wrong = Some(format!("(a) alerts made room for {lane}"));
        }
    }

    pub(crate) fn acknowledged(&mut self, stream: StreamId, range: SeqRange) {
        let record = self.streams.entry(stream).or_default();
        numbers::add(&mut record.acked, range);
    }

    /// Everything written so far that was not acknowledged is reported durable.
    pub(crate) fn durable(&mut self, stream: StreamId, acked: &Numbers) {
        let Some(record) = self.streams.get_mut(&stream) else {
            return;
        };
        for written in record.frames.values() {
            for open in acked.missing_in(written.range) {
                numbers::add(&mut record.durable, open);
            }
        }
    }

    pub(crate) fn cursor_is_durable(&mut self, book: &Book) {
        for (stream, record) in &mut self.streams {
            if let Some(known) = book.stream(*stream) {
                record.done = known.acked.clone();
            }
        }
    }

    pub(crate) fn loss_is_durable(&mut self, stream: StreamId, range: SeqRange) {
        let record = self.streams.entry(stream).or_default();
        numbers::add(&mut record.lost, range);
    }

    /// From here on the centre's acknowledgements may be taken back.
    pub(crate) fn rewind_begins(&mut self, stream: StreamId, has: &Numbers) {
        let record = self.streams.entry(stream).or_default();
        let Some(all) = SeqRange::from_count(0, record.issued_next_seq) else {
            return;
        };
        for gone in has.missing_in(all) {
            numbers::add(&mut record.asked, gone);
        }
        let done = record.done.clone();
        record.done = Numbers::default();
        for range in has.ranges() {
            for seq in range.first_seq..=range.last_seq {
                if done.contains(seq) {
                    numbers::add(&mut record.done, one(seq));
                }
            }
        }
    }

    /// The spool has heard what the restored centre has; nothing else may count as done.
    pub(crate) fn rewound(&mut self, spool: &Spool, stream: StreamId, has: &Numbers) {
        let acked = &spool.book().stream(stream).unwrap().acked;
        let all = acked.ranges().iter();
        let beyond: u64 = all.map(|r| r.count() - has.count_in(*r)).sum();
        // The next judgement finds it: numbers that are done by no one's word.
        if beyond > 0 {
            self.streams.entry(stream).or_default().done = Numbers::default();
            self.known_epochs.insert(stream.epoch);
            numbers::add(
                &mut self.streams.entry(stream).or_default().lost,
                one(u64::MAX - 1),
            );
        }
    }

    /// Looks at everything; how many numbers were judged, or what is wrong.
    pub(crate) fn judge(&mut self, spool: &mut Spool, weather: &Weather) -> Result<u64, String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let held = self.read_all(spool, weather)?;
        let mut judged = 0;
        for (stream, record) in &self.streams {
            let Some(known) = spool.book().stream(*stream) else {
                if self.known_epochs.contains(&stream.epoch)
                    && weather.is_strict()
                    && record.has_open()
                {
                    return Err(format!("(f) {stream:?} has left no trace"));
                }
                continue;
            };
            let read = held.get(stream).cloned().unwrap_or_default();
            for seq in 0..record.issued_next_seq {
                judged += 1;
                let has_place = read.contains(seq)
                    || known.acked.contains(seq)
                    || known.losses.covers(one(seq))
                    || known.tail.is_some_and(|tail| tail.first_seq <= seq);
                if !has_place {
                    return Err(format!(
                        "(f) {stream:?} {seq} has no place: read {:?}, {known:?}",
                        read.ranges()
                    ));
                }
                if weather.is_strict() {
                    record.judge_strictly(*stream, seq, &read, known, weather.has_errors)?;
                }
            }
            if weather.is_strict() && !weather.has_errors {
                self.judge_evictions(*stream, &read, known)?;
            }
            if weather.is_strict() && record.lost.contains(u64::MAX - 1) {
                return Err(format!("{stream:?}: done without anybody's word"));
            }
        }
        Ok(judged)
    }

    /// The oldest goes first.
    fn judge_evictions(
        &self,
        stream: StreamId,
        read: &Numbers,
        known: &crate::spool::Stream,
    ) -> Result<(), String> {
        let Some(record) = self.streams.get(&stream) else {
            return Ok(());
        };
        let entries = known.losses.entries().iter();
        let evicted = entries.filter(|(_, reason)| *reason == LossReason::Evicted);
        let durable: Vec<u64> = evicted
            .flat_map(|(range, _)| range.first_seq..=range.last_seq)
            .filter(|seq| record.durable.contains(*seq))
            .collect();
        let Some(newest) = durable.last().filter(|_| record.asked.ranges().is_empty()) else {
            return Ok(());
        };
        let done = |seq: u64| known.acked.contains(seq) || known.losses.covers(one(seq));
        let open = |seq: &u64| read.contains(*seq) && !done(*seq);
        let open = |seq: &u64| open(seq) && record.durable.contains(*seq);
        if let Some(older) = (0..*newest).find(open) {
            return Err(format!(
                "(a) {stream:?}: {newest} was evicted before {older}"
            ));
        }
        Ok(())
    }

    /// Reads every lane; what was read.
    pub(crate) fn read_all(
        &self,
        spool: &mut Spool,
        weather: &Weather,
    ) -> Result<BTreeMap<StreamId, Numbers>, String> {
        let mut held: BTreeMap<StreamId, Numbers> = BTreeMap::new();
        for lane in Lane::ALL {
            let mut cursor = Place::default();
            let mut last: Option<(StreamId, u64)> = None;
            let mut count = 0;
            let mut seen = BTreeSet::new();
            while let Some(found) = spool.next_frame(lane, &mut cursor) {
                count += 1;
                if count > 20_000 {
                    return Err(format!("(e) reading {lane} does not come to an end"));
                }
                let Ok(bytes) = spool.read(found.place, found.stream, found.range) else {
                    continue;
                };
                let record = self.streams.get(&found.stream);
                let written = record.and_then(|r| r.frames.get(&found.range.first_seq));
                let Some(written) = written.filter(|w| w.range == found.range) else {
                    return Err(format!("(b) {found:?} was never written"));
                };
                if written.bytes(found.stream) != bytes {
                    return Err(format!("(b) {found:?} has other bytes than were written"));
                }
                numbers::add(held.entry(found.stream).or_default(), found.range);
                if spool.book().is_done(found.stream, found.range) {
                    continue;
                }
                // After a failed sync a frame may be there twice.
                if !seen.insert((found.stream, found.range.first_seq)) {
                    continue;
                }
                let here = (found.stream, found.range.first_seq);
                let is_behind = |(stream, seq): (StreamId, u64)| {
                    (stream.epoch.number(), seq) < (here.0.epoch.number(), here.1)
                };
                if !weather.is_hostile && !last.is_none_or(is_behind) {
                    return Err(format!("(d) {here:?} comes behind {last:?}"));
                }
                last = Some(here);
                let done =
                    record.is_some_and(|r| r.done.count_in(found.range) == found.range.count());
                if done && weather.is_strict() {
                    return Err(format!(
                        "(c) {here:?} is acknowledged and would be sent again"
                    ));
                }
            }
        }
        Ok(held)
    }
}

impl Record {
    /// Whether there is a number that the centre never had.
    fn has_open(&self) -> bool {
        let all = SeqRange::from_count(0, self.issued_next_seq);
        all.is_some_and(|all| self.acked.count_in(all) < all.count())
    }

    fn judge_strictly(
        &self,
        stream: StreamId,
        seq: u64,
        read: &Numbers,
        known: &crate::spool::Stream,
        has_errors: bool,
    ) -> Result<(), String> {
        let reason = known
            .losses
            .entries()
            .iter()
            .find(|(range, _)| range.contains(seq))
            .map(|(_, reason)| *reason);
        if self.done.contains(seq) && !known.acked.contains(seq) {
            return Err(format!(
                "(c) {stream:?} {seq}: its acknowledgement was durable"
            ));
        }
        if self.lost.contains(seq) && reason.is_none() && !known.acked.contains(seq) {
            return Err(format!("(a) {stream:?} {seq}: its loss was durable"));
        }
        if !self.durable.contains(seq) || read.contains(seq) || known.acked.contains(seq) {
            return Ok(());
        }
        match reason {
            Some(LossReason::Evicted) => Ok(()),
            Some(LossReason::ReleasedBeforeRestore) if self.asked.contains(seq) => Ok(()),
            // What a restored centre asks for was released before; after a failed sync and a kill the process
            // may have seen it in the page cache alone. It is gone after the next cut, between frames that are all
            // there when a later commit went to another segment.
            Some(LossReason::Corrupt | LossReason::NotAcceptedBeforeCrash)
                if has_errors && self.asked.contains(seq) =>
            {
                Ok(())
            }
            other => Err(format!(
                "(a) {stream:?} {seq} was durable and is not held: {other:?}"
            )),
        }
    }
}

fn one(seq: u64) -> SeqRange {
    SeqRange::new(seq, seq).unwrap()
}
