//! The header of a sealed batch: which codec, whose numbers, and when.
//!
//! Promises: the same header has exactly one byte form; whatever a reader does not know is an error with
//! the name of its field, except extension bytes, which it skips. Never: looks at the payload.

use crate::id::{Epoch, Lane, SeqRange};
use crate::time::{ClockSource, TimeAnchor};

use super::varint;

const LANE_BITS: u8 = 0b0000_0011;
const ANCHOR: u8 = 0b0000_0100;
const EXTENSION: u8 = 0b0000_1000;
const SOURCE_SHIFT: u32 = 4;
const SOURCE_BITS: u8 = 0b0111_0000;

/// First byte of every sealed batch of this version of the frame.
pub const VERSION: u8 = 0xF1;
/// The longest extension that this writer puts into a header; readers accept any length.
pub const EXTENSION_LEN_MAX: usize = 256;
/// The longest header that this writer makes, with anchor and extension.
pub const HEADER_LEN_MAX: usize = 3 + 8 + 10 + 3 + 10 + (10 + 10 + 5) + 2 + EXTENSION_LEN_MAX;

/// How the payload is written; an open set, so that a centre keeps what it cannot read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodecId(pub u8);

impl CodecId {
    /// Readings in entropy-coded columns, see [`super::seal`].
    pub const COLUMNS_V1: Self = Self(1);
    /// The catalogue that opens an epoch: a postcard message, count 1, opaque to this module.
    pub const OPENING: Self = Self(2);
}

/// What every reader can tell about a batch, even one whose codec it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How the payload is written.
    pub codec: CodecId,
    /// The process start that issued the numbers.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The number of the first reading.
    pub first_seq: u64,
    /// How many numbers the batch holds, at least 1.
    pub count: u16,
    /// CLOCK_BOOTTIME milliseconds near the first reading: never after its stamp, for columns at most a
    /// few milliseconds before it.
    pub base_ms: u64,
    /// The best bridge to UTC that was known when the batch was sealed.
    pub anchor: Option<TimeAnchor>,
}

impl Header {
    /// The numbers that the batch holds.
    #[must_use]
    pub fn range(&self) -> SeqRange {
        let count = u64::from(self.count.max(1));
        SeqRange::from_count(self.first_seq, count).unwrap_or(SeqRange {
            first_seq: self.first_seq,
            last_seq: self.first_seq.saturating_add(count - 1),
        })
    }

    /// Whether the numbers can be counted: at least one, and none over the end.
    pub(super) fn counts(&self) -> bool {
        SeqRange::from_count(self.first_seq, u64::from(self.count)).is_some()
    }

    /// Writes the header and returns its length; `None` when there is no room.
    pub(super) fn write(&self, extension: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut flags = self.lane as u8;
        if let Some(anchor) = &self.anchor {
            flags |= ANCHOR | (anchor.source as u8) << SOURCE_SHIFT;
        }
        if !extension.is_empty() {
            flags |= EXTENSION;
        }
        let fixed = out.first_chunk_mut::<11>()?;
        *fixed = [VERSION, self.codec.0, flags, 0, 0, 0, 0, 0, 0, 0, 0];
        out.get_mut(3..11)?
            .copy_from_slice(&self.epoch.number().to_le_bytes());
        let mut at = varint::write(out, 11, self.first_seq)?;
        at = varint::write(out, at, u64::from(self.count))?;
        at = varint::write(out, at, self.base_ms)?;
        if let Some(anchor) = &self.anchor {
            let age_ms = self.base_ms.wrapping_sub(anchor.boottime_ms) as i64;
            let offset_ms = anchor.utc_ms.wrapping_sub(anchor.boottime_ms as i64);
            at = varint::write(out, at, varint::zigzag(age_ms))?;
            at = varint::write(out, at, varint::zigzag(offset_ms))?;
            at = varint::write(out, at, u64::from(anchor.error_ms))?;
        }
        if !extension.is_empty() {
            at = varint::write(out, at, extension.len() as u64)?;
            let end = at.checked_add(extension.len())?;
            out.get_mut(at..end)?.copy_from_slice(extension);
            at = end;
        }
        Some(at)
    }

    /// Reads a header behind a known version byte; the rest is the extension and what follows it.
    /// The error is the name of the field that is not what this version allows.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), &'static str> {
        let (&[_, codec, flags], rest) = bytes.split_first_chunk::<3>().ok_or("flags")?;
        let lane = Lane::from_wire(flags & LANE_BITS).ok_or("lane")?;
        if flags & !(LANE_BITS | ANCHOR | EXTENSION | SOURCE_BITS) != 0 {
            return Err("flags");
        }
        let (epoch, mut rest) = rest.split_first_chunk::<8>().ok_or("epoch")?;
        let epoch = Epoch::from_number(u64::from_le_bytes(*epoch)).ok_or("epoch")?;
        let first_seq = varint::read(&mut rest).ok_or("first_seq")?;
        let count = varint::read(&mut rest)
            .and_then(|n| u16::try_from(n).ok())
            .ok_or("count")?;
        let base_ms = varint::read(&mut rest).ok_or("base_ms")?;
        let anchor = read_anchor(flags, base_ms, &mut rest)?;
        let extension = read_extension(flags, &mut rest)?;
        let codec = CodecId(codec);
        let header = Self {
            codec,
            epoch,
            lane,
            first_seq,
            count,
            base_ms,
            anchor,
        };
        if header.counts() {
            Ok((header, extension, rest))
        } else {
            Err("count")
        }
    }
}

fn read_anchor(
    flags: u8,
    base_ms: u64,
    rest: &mut &[u8],
) -> Result<Option<TimeAnchor>, &'static str> {
    let source = (flags & SOURCE_BITS) >> SOURCE_SHIFT;
    if flags & ANCHOR == 0 {
        return if source == 0 {
            Ok(None)
        } else {
            Err("anchor source")
        };
    }
    let source = ClockSource::from_wire(source).ok_or("anchor source")?;
    let age_ms = varint::read(rest)
        .map(varint::unzigzag)
        .ok_or("anchor age")?;
    let offset_ms = varint::read(rest)
        .map(varint::unzigzag)
        .ok_or("anchor offset")?;
    let error_ms = varint::read(rest)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or("anchor error")?;
    let boottime_ms = base_ms.wrapping_sub(age_ms as u64);
    let utc_ms = offset_ms.wrapping_add(boottime_ms as i64);
    Ok(Some(TimeAnchor {
        boottime_ms,
        utc_ms,
        error_ms,
        source,
    }))
}

fn read_extension<'a>(flags: u8, rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    if flags & EXTENSION == 0 {
        return Ok(&[]);
    }
    let len = varint::read(rest)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or("extension")?;
    // An empty extension has a shorter form: no flag.
    let (extension, behind) = rest
        .split_at_checked(len)
        .filter(|_| len > 0)
        .ok_or("extension")?;
    *rest = behind;
    Ok(extension)
}
