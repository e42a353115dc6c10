//! Messages that are not sealed batches: birth, status, goodbye, will, acknowledgement, refusal, losses,
//! time anchors, pacing.
//!
//! ```text
//! offset  bytes  what
//! 0       1      magic, 0xF2 (a sealed batch begins with another byte)
//! 1       1      kind, see `MessageKind`
//! 2       n      body: postcard of the kind's struct
//! 2 + n   4      CRC-32C of everything before, little-endian
//! ```
//! Promises: every single-bit flip is detected; fields are only ever appended, so that an old reader takes
//! what it knows of a later writer's body; an unknown kind is named, not called garbage. Never: a heap, a
//! panic on arbitrary bytes, a message longer than [`MESSAGE_LEN_MAX`].

mod ack;
mod birth;
mod loss;
mod status;

pub use ack::{ACK_ENTRIES_MAX, ACK_RANGES_MAX, Ack, AckEntry, Nack, NackReason, Pacing};
pub use birth::{
    Birth, EPOCHS_MAX, HELD_RANGES_MAX, OpenEpoch, OpenLane, Opening, SoftwareVersion,
};
pub use loss::{LOSSES_MAX, Loss, LossReason, Losses};
pub use status::{Anchors, Goodbye, LaneNext, More, Status, Will};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checksum::crc32c;

/// The first byte of every message.
pub const MAGIC: u8 = 0xF2;
/// The longest message, bytes: below the 128 KB of AWS IoT Core.
pub const MESSAGE_LEN_MAX: usize = 48 * 1024;

/// What a message is. The numbers are the wire numbers: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// [`Birth`].
    Birth = 1,
    /// [`Status`].
    Status = 2,
    /// [`Goodbye`].
    Goodbye = 3,
    /// [`Will`].
    Will = 4,
    /// [`Ack`].
    Ack = 5,
    /// [`Nack`].
    Nack = 6,
    /// [`Losses`].
    Losses = 7,
    /// [`Anchors`].
    Anchors = 8,
    /// [`Pacing`].
    Pacing = 9,
}

/// Why bytes are not a message of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// Shorter than a message can be, or longer than one may be; how long it is.
    Length(usize),
    /// Another first byte.
    Magic(u8),
    /// The checksum does not match.
    Crc {
        /// In the message.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A kind that this reader does not know, or not the one that was wanted.
    Kind(u8),
    /// The body is not what the kind says.
    Body,
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length(len) => write!(
                f,
                "a message of {len} bytes; allowed are 6 to {MESSAGE_LEN_MAX}"
            ),
            Self::Magic(byte) => write!(
                f,
                "a message that begins with {byte:#04x}; expected {MAGIC:#04x}"
            ),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "a message with CRC {stored:08x}; its bytes give {computed:08x}"
                )
            }
            Self::Kind(kind) => write!(f, "a message of kind {kind} that is not expected here"),
            Self::Body => f.write_str("a message whose body is not what its kind says"),
        }
    }
}

impl core::error::Error for MessageError {}

/// A body that is one kind of message.
pub trait Message: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: MessageKind;

    /// Writes the message and gives its bytes.
    ///
    /// # Errors
    /// [`MessageError::Length`] when `out` is too short; [`MESSAGE_LEN_MAX`] bytes are always enough.
    fn encode<'a>(&self, out: &'a mut [u8]) -> Result<&'a [u8], MessageError> {
        let len = out.len();
        let too_short = MessageError::Length(len);
        let body_start = out.get_mut(..2).ok_or(too_short)?;
        body_start.copy_from_slice(&[MAGIC, Self::KIND as u8]);
        let body = out.get_mut(2..len.saturating_sub(4)).ok_or(too_short)?;
        let body_len = postcard::to_slice(self, body).map_err(|_| too_short)?.len();
        let crc = crc32c(out.get(..2 + body_len).ok_or(too_short)?);
        let tail = out.get_mut(2 + body_len..body_len + 6).ok_or(too_short)?;
        tail.copy_from_slice(&crc.to_le_bytes());
        out.get(..body_len + 6).ok_or(too_short)
    }

    /// Reads a message of this kind.
    ///
    /// # Errors
    /// [`MessageError`] that says what is wrong with the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, body) = open(bytes)?;
        if kind != Self::KIND as u8 {
            return Err(MessageError::Kind(kind));
        }
        // A later writer's additional fields stand behind ours and are left unread.
        postcard::take_from_bytes(body)
            .map(|(message, _)| message)
            .map_err(|_| MessageError::Body)
    }
}

/// The kind and body of a message with a matching checksum.
///
/// # Errors
/// [`MessageError`] except `Kind` and `Body`.
pub fn open(bytes: &[u8]) -> Result<(u8, &[u8]), MessageError> {
    let length = MessageError::Length(bytes.len());
    if bytes.len() > MESSAGE_LEN_MAX {
        return Err(length);
    }
    let (content, stored) = bytes.split_last_chunk::<4>().ok_or(length)?;
    let [magic, kind, body @ ..] = content else {
        return Err(length);
    };
    if *magic != MAGIC {
        return Err(MessageError::Magic(*magic));
    }
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32c(content));
    if stored != computed {
        return Err(MessageError::Crc { stored, computed });
    }
    Ok((*kind, body))
}

#[cfg(test)]
mod tests;
