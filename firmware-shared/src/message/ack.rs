//! What the centre answers: what it has, and what it could not take.

use serde::{Deserialize, Serialize};

use super::Message;
use super::MessageKind;
use crate::id::{Epoch, Lane, SeqRange, StreamId};

/// The most streams in one acknowledgement.
pub const ACK_ENTRIES_MAX: usize = 16;
/// The most ranges of one stream in one acknowledgement: the lowest ones. A range that is not listed is
/// "not said", not "not there".
pub const ACK_RANGES_MAX: usize = 64;

/// Centre to device, on the ack topic: what is stored or explained, committed before it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Names the database; a device pins it and ignores others with an alarm.
    pub central_id: u64,
    /// Random per ingest start; an unknown one makes the device send its birth again.
    pub run: u64,
    /// Counts up within a run; a lower one is ignored.
    pub n: u64,
    /// The nonce of the birth that this answers; only such an ack may move backwards.
    pub nonce: Option<u64>,
    /// The streams that changed, or all that the birth listed.
    pub entries: heapless::Vec<AckEntry, ACK_ENTRIES_MAX>,
}

/// One stream in an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckEntry {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Every number below is stored or explained.
    pub upto: u64,
    /// The lowest ranges above `upto` that are stored or explained.
    pub ranges: heapless::Vec<SeqRange, ACK_RANGES_MAX>,
    /// First number of the open-ended loss (the tail of a crashed epoch) that the centre has written down.
    pub tail_from: Option<u64>,
}

impl AckEntry {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        StreamId {
            epoch: self.epoch,
            lane: self.lane,
        }
    }

    /// Everything the entry acknowledges, lowest first.
    pub fn acknowledged(&self) -> impl Iterator<Item = SeqRange> + '_ {
        SeqRange::from_count(0, self.upto)
            .into_iter()
            .chain(self.ranges.iter().copied())
    }
}

impl Message for Ack {
    const KIND: MessageKind = MessageKind::Ack;
}

/// Centre to device, on the ack topic: a frame that was not taken. The device checks its copy and sends
/// it again, or records the loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// Names the database.
    pub central_id: u64,
    /// The stream and range that the frame claimed; `None` when it was not readable at all.
    pub frame: Option<(StreamId, SeqRange)>,
    /// Why.
    pub reason: NackReason,
}

impl Message for Nack {
    const KIND: MessageKind = MessageKind::Nack;
}

/// Why a frame was not taken. The order is the wire order: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NackReason {
    /// Header or checksum damaged.
    Corrupt,
    /// Checksum right, columns not decodable.
    Undecodable,
    /// The same key is stored with other bytes.
    Clash,
}

impl NackReason {
    /// The name in databases and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Undecodable => "undecodable",
            Self::Clash => "clash",
        }
    }
}

/// Centre to device, on the ack topic: how fast the backlog may come. Live data, alerts and what the contract
/// needs are not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacing {
    /// Names the database; a device believes only its own centre.
    pub central_id: u64,
    /// Bytes a second; 0 stops the backlog, `None` ends an earlier limit.
    pub backlog_bytes_per_s: Option<u32>,
    /// How long this counts, s; a device believes no more than ten minutes.
    pub valid_s: u32,
}

impl Message for Pacing {
    const KIND: MessageKind = MessageKind::Pacing;
}
