//! What a device says first on every connection.

use serde::{Deserialize, Serialize};

use super::Message;
use super::MessageKind;
use crate::catalogue::{Catalogue, Details};
use crate::id::{DeviceId, Epoch, Lane, SeqRange};
use crate::time::BootId;

/// The most epochs that one birth lists: the current one and the oldest open ones. The others follow in
/// later births, when these are done.
pub const EPOCHS_MAX: usize = 32;
/// The most held ranges that one lane lists, lowest first.
pub const HELD_RANGES_MAX: usize = 8;

/// The version of the software that speaks.
pub type SoftwareVersion = heapless::String<32>;

/// Device to centre, on the status topic, first on every connection and when an ack names an unknown run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The device; a birth whose device differs from its topic is quarantined.
    pub device: DeviceId,
    /// Random per birth; only an ack that echoes it may move backwards.
    pub nonce: u64,
    /// Random, drawn when the spool was created.
    pub spool_id: u64,
    /// How many times a process has opened this spool.
    pub incarnation: u32,
    /// The epoch of this process.
    pub epoch: Epoch,
    /// The boot of the machine.
    pub boot_id: BootId,
    /// CLOCK_BOOTTIME when the birth was written, ms.
    pub boottime_ms: u64,
    /// The software.
    pub software: SoftwareVersion,
    /// The sensors of the current epoch.
    pub catalogue: Catalogue,
    /// The current epoch and the older ones that still hold something.
    pub epochs: heapless::Vec<OpenEpoch, EPOCHS_MAX>,
    /// More about the sensors.
    #[serde(skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

/// An epoch of which the device still holds records, or its current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The boot in which it was issued.
    pub boot_id: BootId,
    /// Its lanes.
    pub lanes: heapless::Vec<OpenLane, 3>,
}

/// One lane of an open epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLane {
    /// The lane.
    pub lane: Lane,
    /// The number that the next record gets; `None` when a crash made it unknown.
    pub next_seq: Option<u64>,
    /// What the device holds and could send, lowest first.
    pub held: heapless::Vec<SeqRange, HELD_RANGES_MAX>,
}

impl Message for Birth {
    const KIND: MessageKind = MessageKind::Birth;
}

/// The payload of the sealed frame with codec `OPENING`, number 0 of the health lane of each epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The boot of the machine.
    pub boot_id: BootId,
    /// The software.
    pub software: SoftwareVersion,
    /// What the sensor indices mean.
    pub catalogue: Catalogue,
    /// More about the sensors.
    #[serde(skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}
