//! Spools of a few small segments, and what to do with them.
use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::BootId;

use crate::spool::disk::Disk;
use crate::spool::sim::SimDisk;
use crate::spool::{EpochNote, Frame, PerLane, Place, Spool, SpoolLimits};

pub(crate) fn limits(segments: u64) -> SpoolLimits {
    let segment_bytes = 4 * 1_024;
    SpoolLimits {
        max_bytes: PerLane::from_fn(|_| segments * u64::from(segment_bytes)),
        total_bytes: 1 << 30,
        ram_bytes: PerLane::from_fn(|_| 8 * 1_024),
        segment_bytes,
        align: 512,
        slot_bytes: 4_096,
        history_ms: 0,
        pending_count_max: 10_000,
    }
}

pub(crate) fn epoch(start: u64) -> Epoch {
    Epoch::from_random(0xE000 + start)
}

pub(crate) fn stream(start: u64) -> StreamId {
    StreamId {
        epoch: epoch(start),
        lane: Lane::Telemetry,
    }
}

pub(crate) fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

pub(crate) fn note(start: u64) -> EpochNote {
    EpochNote {
        boot_id: BootId([start as u8; 16]),
        tail_at_most: [10, 20, 30],
    }
}

pub(crate) fn open_with(disk: impl Disk + 'static, start: u64, limits: SpoolLimits) -> Spool {
    Spool::open(Box::new(disk), limits, epoch(start), note(start), 4_711, 0)
}

pub(crate) fn open(disk: &SimDisk, start: u64) -> Spool {
    open_with(disk.clone(), start, limits(64))
}

pub(crate) fn frame(start: u64, seq: u64) -> Frame {
    Frame {
        stream: stream(start),
        range: range(seq, seq),
        bytes: (0..100).map(|i| (seq + i) as u8).collect(),
    }
}

/// Accepts frames of one number each, without a commit.
pub(crate) fn append(spool: &mut Spool, start: u64, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        spool.append(frame(start, seq)).unwrap();
    }
}

/// The same, with a commit behind each.
pub(crate) fn commit(spool: &mut Spool, start: u64, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        spool.append(frame(start, seq)).unwrap();
        assert!(spool.commit());
    }
}

/// Every telemetry frame that can be read, in order, whether or not there is anything left to send.
pub(crate) fn read_all(spool: &mut Spool) -> Vec<(StreamId, SeqRange)> {
    let mut cursor = Place::default();
    let mut frames = Vec::new();
    while let Some(found) = spool.next_frame(Lane::Telemetry, &mut cursor) {
        if let Ok(bytes) = spool.read(found.place, found.stream, found.range) {
            assert!(!bytes.is_empty());
            frames.push((found.stream, found.range));
        }
    }
    frames
}

pub(crate) fn seqs(spool: &mut Spool) -> Vec<u64> {
    let frames = read_all(spool).into_iter();
    frames.map(|(_, range)| range.first_seq).collect()
}

pub(crate) fn losses(spool: &Spool) -> Vec<(SeqRange, LossReason)> {
    let losses = spool.book().losses();
    losses
        .iter()
        .filter_map(|loss| Some((loss.range()?, loss.reason)))
        .collect()
}

pub(crate) fn acknowledge(spool: &mut Spool, start: u64, range: SeqRange) {
    let numbers = spool
        .book_unwritten_mut()
        .stream_mut(stream(start))
        .unwrap();
    numbers.take(range);
    numbers.note_acked();
    spool.settle();
}

/// The segment files of a simulated disk.
pub(crate) fn segments(disk: &SimDisk) -> usize {
    let names = disk.names();
    names.iter().filter(|name| name.ends_with(".seg")).count()
}
