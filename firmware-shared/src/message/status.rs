//! How a device is doing, and how it left.

use serde::{Deserialize, Serialize};

use super::Message;
use super::MessageKind;
use crate::id::{Epoch, Lane};
use crate::time::{BootId, ClockSource, TimeAnchor};

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
    /// What a later version says; a message that ends before it has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_more",
        deserialize_with = "read_more"
    )]
    pub more: Option<More>,
}

/// More about how a device is doing. Whoever appends a field to it appends it at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// Bytes that the spool may hold.
    pub spool_max_bytes: u64,
    /// Numbers lost to make room since the start of the process.
    pub evicted: u64,
    /// How much of the card's life is used, thousandths.
    pub card_life_used_permille: u32,
    /// Who vouches for the clock.
    pub clock_source: ClockSource,
    /// Bound of the clock's error, ms; `None` when nobody gives one.
    pub clock_error_ms: Option<u64>,
    /// When the device's certificate ends, seconds since 1970; `None` without one.
    pub certificate_until_s: Option<i64>,
    /// Smoothed time from publish to central acknowledgement, ms.
    pub ack_latency_ms: Option<u64>,
    /// Bytes of the data plan that are used this month.
    pub plan_used_bytes: u64,
    /// Bytes of the data plan; 0 when there is no limit.
    pub plan_max_bytes: u64,
}

fn write_more<S: serde::Serializer>(more: &Option<More>, serializer: S) -> Result<S::Ok, S::Error> {
    // Without a mark that it is there: it is left out whole, or it is the end of the message.
    match more {
        Some(more) => more.serialize(serializer),
        None => serializer.serialize_unit(),
    }
}

fn read_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<More>, D::Error> {
    // The bytes are whole, a checksum has said so: what cannot be read is not there.
    Ok(More::deserialize(deserializer).ok())
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
