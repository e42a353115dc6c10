//! The seam between the ingest core and a database.
//!
//! Promises: the core asks for what is stored with the `load` methods and hands back one list of writes
//! that a sink commits whole or not at all. Never: a database's name, type or error in the core; a
//! judgement (duplicate, clash, loss) in a sink.

use std::sync::Arc;

use firmware_shared::alert::Alert;
use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{DeviceId, Epoch, SeqRange, StreamId};
use firmware_shared::message::Status;
use firmware_shared::reading::Reading;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};

use super::ledger::LossLedger;
use super::timeline::{Dated, Timeline};

/// One stream of one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    pub(crate) device: DeviceId,
    pub(crate) stream: StreamId,
}

/// What a database could not do, by what the caller must do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SinkError {
    /// Nothing was committed; the same writes may succeed later (disk full, I/O error, locked).
    #[error("{0}")]
    Unavailable(String),
    /// Nothing was committed; another ingest serves what this one wants to.
    #[error("{0}")]
    Fenced(String),
    /// Nothing was committed and these writes never will be: set the cause aside and go on.
    #[error("{0}")]
    Refused(String),
}

/// The names of the database and of this process, and what it knows about one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamRecord {
    pub(crate) have: UnboundedHaveSet,
    pub(crate) ledger: LossLedger,
}

/// What identifies the bytes of a stored frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FramePrint {
    pub(crate) range: SeqRange,
    pub(crate) crc: u32,
    pub(crate) len: u32,
}

/// What is kept about each stored frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRecord {
    pub(crate) print: FramePrint,
    pub(crate) codec: u8,
    pub(crate) base_ms: u64,
    pub(crate) received_ms: i64,
    /// Who vouches for the UTC of its rows.
    pub(crate) utc_source: ClockSource,
    /// The frame's bytes, where the configuration keeps them.
    pub(crate) sealed: Option<Vec<u8>>,
}

/// What is known about one epoch of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EpochRecord {
    pub(crate) boot: Option<BootId>,
    pub(crate) spool_id: Option<u64>,
    pub(crate) incarnation: Option<u32>,
    /// The how-manieth epoch of its device was born here; `None` without a birth of its own.
    pub(crate) born_order: Option<u64>,
    /// CLOCK_BOOTTIME in its latest birth.
    pub(crate) birth_boottime_ms: Option<u64>,
    /// A goodbye was heard: its numbers are final.
    pub(crate) clean: bool,
    pub(crate) software: String,
}

/// How a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Link {
    #[default]
    Unknown,
    Up,
    Lost,
    Closed,
}

impl Link {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Lost => "lost",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        [Self::Up, Self::Lost, Self::Closed]
            .into_iter()
            .find(|link| link.name() == name)
            .unwrap_or_default()
    }
}

/// What is known about a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DeviceRecord {
    /// The epoch whose birth came last.
    pub(crate) epoch: Option<Epoch>,
    /// How many epochs were born.
    pub(crate) births: u64,
    pub(crate) link: Link,
    pub(crate) seen_ms: i64,
}

/// Stamps of a boot whose rows are to be dated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DateTask {
    pub(crate) device: DeviceId,
    pub(crate) boot: BootId,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

/// Where a walk over the frames of a boot has come to: behind this frame.
pub(crate) type FramePlace = (StreamKey, SeqRange);

/// A stored frame of a codec that was unknown when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawBatch {
    pub(crate) key: StreamKey,
    pub(crate) range: SeqRange,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes that were set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// The device in the topic; empty when there is none.
    pub(crate) device: String,
    pub(crate) topic: String,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) received_ms: i64,
}

/// Something a person must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) key: StreamKey,
    pub(crate) kind: &'static str,
    pub(crate) range: Option<SeqRange>,
    pub(crate) text: String,
    pub(crate) at_ms: i64,
}

/// One change. A sink applies a list of them in order, in one transaction.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// Rows of a batch, and the batch.
    Readings {
        key: StreamKey,
        batch: BatchRecord,
        readings: Vec<Reading>,
        timeline: Option<Arc<Timeline>>,
    },
    /// Rows of a batch that was stored raw.
    Decoded {
        key: StreamKey,
        range: SeqRange,
        codec: u8,
        readings: Vec<Reading>,
        timeline: Option<Arc<Timeline>>,
    },
    /// An alert, and its frame.
    Alert {
        key: StreamKey,
        batch: BatchRecord,
        alert: Box<Alert>,
        json: String,
        dated: Option<Dated>,
    },
    /// A frame that carries no rows (the opening of an epoch).
    Frame { key: StreamKey, batch: BatchRecord },
    /// A frame of a codec that this version does not know.
    Raw {
        key: StreamKey,
        batch: BatchRecord,
        bytes: Vec<u8>,
    },
    /// Ranges of the have-set that are gone (by first number) and ranges that are there.
    HaveSet {
        key: StreamKey,
        removed: Vec<u64>,
        present: Vec<SeqRange>,
    },
    /// All losses of a stream.
    Losses { key: StreamKey, ledger: LossLedger },
    /// A next number that the device reported; the highest stays.
    Issued { key: StreamKey, next_seq: u64 },
    /// What is known about an epoch.
    Epoch {
        device: DeviceId,
        epoch: Epoch,
        record: EpochRecord,
    },
    /// What the sensor indices of an epoch mean.
    Catalogue {
        device: DeviceId,
        epoch: Epoch,
        catalogue: Box<Catalogue>,
        details: Box<Details>,
    },
    /// What is known about a device.
    Device {
        device: DeviceId,
        record: DeviceRecord,
    },
    /// What a device says about itself; the latest stays.
    Status {
        device: DeviceId,
        status: Box<Status>,
        received_ms: i64,
    },
    /// How a boot's clock relates to UTC.
    Anchor {
        device: DeviceId,
        boot: BootId,
        anchor: TimeAnchor,
        received_ms: i64,
    },
    /// Dates the rows of a frame, where that changes anything.
    Date {
        key: StreamKey,
        range: SeqRange,
        timeline: Arc<Timeline>,
    },
    /// Remembers what is still to be dated.
    DateLater(DateTask),
    /// It is dated.
    DateDone(DateTask),
    /// Bytes to set aside.
    Quarantine(Quarantined),
    /// Something a person must know.
    Alarm(Alarm),
    /// Adds to a counter of a device (empty text: of the whole centre).
    Count {
        device: String,
        name: &'static str,
        by: u64,
    },
    /// Rows and frames that are older than the retention; their numbers stay in the have-set.
    Expire { key: StreamKey, range: SeqRange },
}

/// A database.
pub(crate) trait Sink {
    fn stream(&mut self, key: &StreamKey) -> Result<StreamRecord, SinkError>;
    /// The stored frame that begins with this number.
    fn frame_at(
        &mut self,
        key: &StreamKey,
        first_seq: u64,
    ) -> Result<Option<FramePrint>, SinkError>;
    /// How many numbers of the range were stored and have been deleted by retention.
    fn expired_in(&mut self, key: &StreamKey, range: SeqRange) -> Result<u64, SinkError>;
    fn device(&mut self, device: &DeviceId) -> Result<DeviceRecord, SinkError>;
    fn epoch(&mut self, device: &DeviceId, epoch: Epoch) -> Result<EpochRecord, SinkError>;
    fn anchors(&mut self, device: &DeviceId, boot: BootId) -> Result<Vec<TimeAnchor>, SinkError>;
    /// Frames with a stamp within a task, in the order of their keys, behind a place, at most `limit`.
    fn frames_to_date(
        &mut self,
        task: &DateTask,
        behind: Option<&FramePlace>,
        limit: usize,
    ) -> Result<Vec<FramePlace>, SinkError>;
    /// What an earlier process left undated.
    fn to_date(&mut self) -> Result<Vec<DateTask>, SinkError>;
    /// Raw frames of the given codecs, at most `limit`.
    fn raw_batches(&mut self, codecs: &[u8], limit: usize) -> Result<Vec<RawBatch>, SinkError>;
    /// Frames of readings received before `before_ms`, at most `limit`.
    fn frames_before(
        &mut self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(StreamKey, SeqRange)>, SinkError>;
    /// Commits all of it, durably, or nothing.
    fn apply(&mut self, writes: &[Write]) -> Result<(), SinkError>;
}
