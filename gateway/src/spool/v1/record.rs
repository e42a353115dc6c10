//! One record of a segment file: a frame, or the note that introduces an epoch.
//!
//! ```text
//! offset  bytes  what (little-endian)
//! 0       4      magic "FGS1"
//! 4       4      payload length
//! 8       8      epoch
//! 16      8      first_seq (0 for an epoch note)
//! 24      4      count of numbers (0 for an epoch note)
//! 28      1      lane
//! 29      1      content: 0 frame, 1 epoch note
//! 30      2      zero
//! 32      4      CRC-32C of the payload
//! 36      4      CRC-32C of the 36 bytes before
//! 40      n      payload: the very bytes that travel, or boot_id (16) and tail_at_most (3 x 8)
//! ```
//! Promises: a damaged bit anywhere is detected; behind damage the next whole record is found; a header
//! can be trusted without its payload. Never: a panic or an allocation by a length that was not checked.

use std::io;
use std::ops::ControlFlow;

use firmware_shared::checksum::crc32c;
use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::time::BootId;

use crate::spool::format::{EpochNote, Fields};

/// The length of a record header, bytes.
pub(crate) const HEADER_LEN: usize = 40;
/// The longest payload, bytes: with its topic it stays below the 128 KiB that every broker takes.
const PAYLOAD_LEN_MAX: usize = 120 * 1024;
const MAGIC: [u8; 4] = *b"FGS1";
/// How much is read at once when a file is scanned: two records of the greatest length fit.
const WINDOW_LEN: usize = 256 * 1024;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A frame with these numbers.
    Frame(SeqRange),
    /// What the spool must know of an epoch to make its state again.
    EpochNote,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whose numbers.
    pub(crate) stream: StreamId,
    /// What it holds.
    pub(crate) content: Content,
    /// Payload length, bytes.
    pub(crate) payload_len: u32,
    payload_crc: u32,
}

impl Header {
    /// The length of header and payload, bytes.
    pub(crate) fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.payload_len)
    }

    /// Whether these are the bytes that the header was written for.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_len as usize && crc32c(payload) == self.payload_crc
    }

    /// Reads a header; `None` when the bytes are not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let (covered, stored) = head.split_last_chunk::<4>()?;
        let mut fields = Fields(covered);
        if fields.take()? != MAGIC || u32::from_le_bytes(*stored) != crc32c(covered) {
            return None;
        }
        let payload_len = u32::from_le_bytes(fields.take()?);
        let epoch = Epoch::from_number(u64::from_le_bytes(fields.take()?))?;
        let first_seq = u64::from_le_bytes(fields.take()?);
        let count = u32::from_le_bytes(fields.take()?);
        let [lane, content, _, _] = fields.take()?;
        let lane = Lane::from_wire(lane)?;
        let content = match content {
            0 => Content::Frame(SeqRange::from_count(first_seq, u64::from(count))?),
            1 => Content::EpochNote,
            _ => return None,
        };
        let payload_crc = u32::from_le_bytes(fields.take()?);
        (payload_len as usize <= PAYLOAD_LEN_MAX).then_some(Self {
            stream: StreamId { epoch, lane },
            content,
            payload_len,
            payload_crc,
        })
    }
}

/// Reads the payload of an epoch note.
pub(crate) fn decode_note(payload: &[u8]) -> Option<EpochNote> {
    let mut fields = Fields(payload);
    let boot_id = BootId(fields.take()?);
    let mut tail_at_most = [0; 3];
    for at_most in &mut tail_at_most {
        *at_most = u64::from_le_bytes(fields.take()?);
    }
    Some(EpochNote {
        boot_id,
        tail_at_most,
    })
}

/// A record that a scan met.
#[derive(Debug)]
pub(crate) struct Met<'a> {
    /// Where its header begins.
    pub(crate) offset: u64,
    /// Its header.
    pub(crate) header: Header,
    /// Its payload; `None` when the bytes do not match the header.
    pub(crate) payload: Option<&'a [u8]>,
}

/// What a scan found out about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scan {
    /// Where the last whole record ends.
    pub(crate) end: u64,
    /// Bytes before that end which belong to no whole record.
    pub(crate) damaged: u64,
}

/// Walks the records from `from` up to `len`, skipping what is no record, until the visitor breaks.
///
/// # Errors
/// Whatever `read` says.
pub(crate) fn scan(
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    from: u64,
    len: u64,
    visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
) -> io::Result<Scan> {
    let mut window = vec![0; WINDOW_LEN];
    let (mut start, mut filled) = (from, 0_usize);
    let mut at = from;
    let mut found = Scan {
        end: from,
        damaged: 0,
    };
    while at.saturating_add(HEADER_LEN as u64) <= len {
        let inside = usize::try_from(at - start).unwrap_or(usize::MAX);
        let mut rest = window.get(inside..filled).unwrap_or_default();
        let wanted = Header::decode(rest).map_or(HEADER_LEN as u64, |header| header.record_len());
        if (rest.len() as u64) < wanted.min(len - at) {
            start = at;
            filled = read(start, &mut window)?;
            rest = window.get(..filled).unwrap_or_default();
            if rest.len() < HEADER_LEN {
                break;
            }
        }
        let Some(header) = Header::decode(rest).filter(|h| at + h.record_len() <= len) else {
            at += next_candidate(rest);
            continue;
        };
        let payload_end = HEADER_LEN + header.payload_len as usize;
        let payload = rest
            .get(HEADER_LEN..payload_end)
            .filter(|payload| header.fits(payload));
        let (offset, whole) = (at, payload.is_some());
        at += header.record_len();
        if whole {
            found.damaged += offset - found.end;
            found.end = at;
        }
        if visit(Met {
            offset,
            header,
            payload,
        })
        .is_break()
        {
            break;
        }
    }
    Ok(found)
}

/// How far to go from a place that is no record to the next place that may be one.
fn next_candidate(rest: &[u8]) -> u64 {
    let [first, ..] = MAGIC;
    let behind = rest.get(1..).unwrap_or_default();
    let distance = behind
        .iter()
        .position(|byte| *byte == first)
        .unwrap_or(behind.len());
    distance as u64 + 1
}
