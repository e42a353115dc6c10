//! Loss is data: which numbers will never come, and why.

use serde::{Deserialize, Serialize};

use super::Message;
use super::MessageKind;
use crate::id::{Epoch, Lane, SeqRange, StreamId};

/// The most losses in one message.
pub const LOSSES_MAX: usize = 64;

/// Device to centre, on the health topic, again and again until acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Losses {
    /// The losses.
    pub losses: heapless::Vec<Loss, LOSSES_MAX>,
}

impl Message for Losses {
    const KIND: MessageKind = MessageKind::Losses;
}

/// Numbers that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The lowest number.
    pub first_seq: u64,
    /// The highest number; `None` for the unknown tail of a crashed epoch.
    pub last_seq: Option<u64>,
    /// For an unknown tail: at most so many numbers had been issued.
    pub at_most: Option<u64>,
    /// Why.
    pub reason: LossReason,
}

impl Loss {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        StreamId {
            epoch: self.epoch,
            lane: self.lane,
        }
    }

    /// The closed range; `None` for an unknown tail or ends in the wrong order.
    #[must_use]
    pub fn range(&self) -> Option<SeqRange> {
        SeqRange::new(self.first_seq, self.last_seq?)
    }
}

/// Why numbers are lost. The order is the wire order: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Space was needed for later records.
    Evicted,
    /// The stored copy does not match its checksum.
    Corrupt,
    /// Issued, but neither durable nor committed when the process died.
    NotAcceptedBeforeCrash,
    /// Acknowledged, released, and then asked for by a centre restored from an older backup.
    ReleasedBeforeRestore,
}

impl LossReason {
    /// Every reason, in wire order.
    pub const ALL: [Self; 4] = [
        Self::Evicted,
        Self::Corrupt,
        Self::NotAcceptedBeforeCrash,
        Self::ReleasedBeforeRestore,
    ];

    /// The name in databases and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Corrupt => "corrupt",
            Self::NotAcceptedBeforeCrash => "not_accepted_before_crash",
            Self::ReleasedBeforeRestore => "released_before_restore",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}
