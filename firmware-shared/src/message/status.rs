//! How a device is doing, and how it left.

use serde::{Deserialize, Serialize};

use super::Message;
use super::MessageKind;
use crate::id::{Epoch, Lane};
use crate::time::{BootId, TimeAnchor};

/// The next number of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneNext {
    /// The lane.
    pub lane: Lane,
    /// The number that the next record gets.
    pub next_seq: u64,
}

/// Device to centre, on the status topic, now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The epoch of this process.
    pub epoch: Epoch,
    /// CLOCK_BOOTTIME when it was written, ms.
    pub boottime_ms: u64,
    /// The next number of each lane.
    pub next: heapless::Vec<LaneNext, 3>,
    /// Bytes held in the spool.
    pub spool_bytes: u64,
    /// Age of the oldest unacknowledged record, ms.
    pub oldest_unacked_ms: u64,
    /// Whether the spool is in RAM because its disk cannot be used.
    pub ram_mode: bool,
}

impl Message for Status {
    const KIND: MessageKind = MessageKind::Status;
}

/// Device to centre, on the status topic, last before a clean stop: the numbers are final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// CLOCK_BOOTTIME when it was written, ms.
    pub boottime_ms: u64,
    /// The final next number of each lane.
    pub next: heapless::Vec<LaneNext, 3>,
}

impl Message for Goodbye {
    const KIND: MessageKind = MessageKind::Goodbye;
}

/// Broker to centre, on the status topic, when the link is gone without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Will {
    /// The epoch whose connection broke.
    pub epoch: Epoch,
}

impl Message for Will {
    const KIND: MessageKind = MessageKind::Will;
}

/// Device to centre, on the health topic: how CLOCK_BOOTTIME of a boot relates to UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchors {
    /// The boot.
    pub boot_id: BootId,
    /// Its anchors, oldest first.
    pub anchors: heapless::Vec<TimeAnchor, 16>,
}

impl Message for Anchors {
    const KIND: MessageKind = MessageKind::Anchors;
}
