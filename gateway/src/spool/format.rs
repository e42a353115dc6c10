//! The bytes of a segment file.
//!
//! ```text
//! offset      bytes   what (little-endian)
//! 0           128     segment header, alone in its `align` bytes
//! align       n       summary, alone in its `align` bytes; written when the segment is full
//! 2 * align   64 + n  frames, each padded with zeros to a multiple of `align`
//!
//! segment header                           frame header
//! 0   16  prefix, magic "FGSG"             0   4  magic "FGF2"
//! 16  8   spool_id                         4   1  lane
//! 24  8   generation                       5   1  kind: 0 committed, 1 history
//! 32  4   length of the segment            6   2  entries
//! 36  4   number of the file               8   4  payload length
//! 40  4   align                            12  4  link: CRC of the frame before in the lane
//! 44  4   lane, 3 x 0                      16  8  epoch
//! 48  4   link: CRC of the frame before    24  8  first number
//! 52  4   0                                32  8  last number
//! 56  8   epoch that began the segment     40  8  generation
//! 64  16  its boot_id                      48  4  CRC-32 of the payload
//! 80  24  its tail_at_most                 52  4  offset of the frame
//! 124 4   CRC-32C of the 124 bytes before  56  4  0
//!                                          60  4  CRC-32C of the 60 bytes before, seeded
//!
//! prefix: magic (4), version (2), 0 (2), 0 (4), CRC-32C of these 12 bytes (4)
//! entry of a payload: numbers skipped, count of numbers, length (all LEB128), the bytes that travel
//! summary: magic "FGSM", ranges (4), frames (8), end (8), link of the first frame (4), CRC of the last (4),
//!   per range epoch (8), first (8), last (8), then CRC-32C of all before, seeded
//! ```
//! The seed is the CRC-32C of spool_id, generation and file number: a frame of an earlier use of the file,
//! or of another file, never validates. The payload is summed with another polynomial, because a CRC-32C
//! over batches that end in their own CRC-32C does not depend on which intact batches they are.
//!
//! Promises: decoding takes any bytes; a header can be trusted without its payload. Never: a panic or an
//! allocation by a length that was not checked.

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, Table};
use firmware_shared::checksum::crc32c;
use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::time::BootId;

use super::lane::Span;
use super::mutant::{Mutant, is_on};

/// The version that this code writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 2;
/// The length of what every version can read, bytes.
pub(crate) const PREFIX_LEN: usize = 16;
/// The length of a segment header, bytes.
pub(crate) const SEGMENT_HEADER_LEN: usize = 128;
/// The length of a frame header, bytes.
pub(crate) const FRAME_HEADER_LEN: usize = 64;
/// The longest bytes of an entry: with its topic a frame stays below the 128 KiB that every broker takes.
pub const PAYLOAD_LEN_MAX: usize = 120 * 1024;
/// The most that the numbers of an entry take beside its bytes.
pub(crate) const ENTRY_HEAD_LEN_MAX: usize = 23;
/// The longest segment, bytes; what is longer is no segment of any version.
pub(crate) const SEGMENT_LEN_MAX: u32 = 64 * 1024 * 1024;
/// Padding that devices are known to need.
pub(crate) const ALIGNS: [u32; 3] = [512, 4096, 16384];

const SEGMENT_MAGIC: [u8; 4] = *b"FGSG";
const FRAME_MAGIC: [u8; 4] = *b"FGF2";
const SUMMARY_MAGIC: [u8; 4] = *b"FGSM";
const SUMMARY_HEAD_LEN: usize = 32;
const SUMMARY_RANGE_LEN: usize = 24;

static SEEDED: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static PAYLOAD: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The next multiple of `align`.
pub(crate) fn padded(len: u64, align: u32) -> u64 {
    len.next_multiple_of(u64::from(align))
}

/// What makes the checksums of one use of one file different from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(spool_id: u64, generation: u64, file: u32) -> Self {
        let generation = if is_on(Mutant::SeedWithoutGeneration) {
            0
        } else {
            generation
        };
        let mut bytes = spool_id.to_le_bytes().to_vec();
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&file.to_le_bytes());
        Self(crc32c(&bytes))
    }

    pub(crate) fn crc(self, bytes: &[u8]) -> u32 {
        let mut digest = SEEDED.digest_with_initial(self.0);
        digest.update(bytes);
        digest.finalize()
    }
}

/// The checksum of a payload.
pub(crate) fn payload_sum(payload: &[u8]) -> u32 {
    PAYLOAD.checksum(payload)
}

/// A prefix that every version can read.
pub(crate) fn prefix(magic: [u8; 4], version: u16) -> [u8; PREFIX_LEN] {
    let mut out = [0; PREFIX_LEN];
    let mut head = Vec::with_capacity(PREFIX_LEN);
    head.extend_from_slice(&magic);
    head.extend_from_slice(&version.to_le_bytes());
    head.extend_from_slice(&[0; 6]);
    let crc = crc32c(&head);
    head.extend_from_slice(&crc.to_le_bytes());
    out.copy_from_slice(&head);
    out
}

/// The version in a whole prefix with this magic.
pub(crate) fn version_of(magic: [u8; 4], bytes: &[u8]) -> Option<u16> {
    let (prefix, _) = bytes.split_first_chunk::<PREFIX_LEN>()?;
    let (head, crc) = prefix.split_last_chunk::<4>()?;
    let mut fields = Fields(head);
    let whole = fields.take()? == magic && u32::from_le_bytes(*crc) == crc32c(head);
    let version = u16::from_le_bytes(fields.take()?);
    whole.then_some(version)
}

/// The version of a segment file that begins like this.
pub(crate) fn segment_version(bytes: &[u8]) -> Option<u16> {
    version_of(SEGMENT_MAGIC, bytes)
}

/// What the spool must know of an epoch to make its book again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochNote {
    /// The boot of the machine.
    pub(crate) boot_id: BootId,
    /// Per lane: most numbers that a crash leaves issued but not accepted.
    pub(crate) tail_at_most: [u64; 3],
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u16,
    pub(crate) spool_id: u64,
    pub(crate) generation: u64,
    pub(crate) len: u32,
    pub(crate) file: u32,
    pub(crate) align: u32,
    pub(crate) lane: Lane,
    pub(crate) link: u32,
    pub(crate) epoch: Epoch,
    pub(crate) note: EpochNote,
}

impl SegmentHeader {
    pub(crate) fn seed(&self) -> Seed {
        Seed::new(self.spool_id, self.generation, self.file)
    }

    /// Where the first frame lies.
    pub(crate) fn frames_from(&self) -> u64 {
        2 * u64::from(self.align)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = prefix(SEGMENT_MAGIC, self.version).to_vec();
        out.extend_from_slice(&self.spool_id.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.file.to_le_bytes());
        out.extend_from_slice(&self.align.to_le_bytes());
        out.extend_from_slice(&[self.lane as u8, 0, 0, 0]);
        out.extend_from_slice(&self.link.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.epoch.number().to_le_bytes());
        out.extend_from_slice(&self.note.boot_id.0);
        for at_most in self.note.tail_at_most {
            out.extend_from_slice(&at_most.to_le_bytes());
        }
        out.resize(SEGMENT_HEADER_LEN - 4, 0);
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; `None` when the bytes are not one of a version that is known.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let version = segment_version(bytes).filter(|version| *version <= VERSION_READ_MAX)?;
        let (header, _) = bytes.split_first_chunk::<SEGMENT_HEADER_LEN>()?;
        let (head, crc) = header.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c(head) {
            return None;
        }
        let mut fields = Fields(head.get(PREFIX_LEN..)?);
        let spool_id = u64::from_le_bytes(fields.take()?);
        let generation = u64::from_le_bytes(fields.take()?);
        let len = u32::from_le_bytes(fields.take()?);
        let file = u32::from_le_bytes(fields.take()?);
        let align = u32::from_le_bytes(fields.take()?);
        let [lane, _, _, _] = fields.take()?;
        let link = u32::from_le_bytes(fields.take()?);
        let _: [u8; 4] = fields.take()?;
        let epoch = Epoch::from_number(u64::from_le_bytes(fields.take()?))?;
        let boot_id = BootId(fields.take()?);
        let mut tail_at_most = [0; 3];
        for at_most in &mut tail_at_most {
            *at_most = u64::from_le_bytes(fields.take()?);
        }
        let fits = ALIGNS.contains(&align)
            && u64::from(len) > 2 * u64::from(align)
            && len <= SEGMENT_LEN_MAX;
        let lane = Lane::from_wire(lane).filter(|_| fits && generation < GENERATION_END)?;
        let note = EpochNote {
            boot_id,
            tail_at_most,
        };
        Some(Self {
            version,
            spool_id,
            generation,
            len,
            file,
            align,
            lane,
            link,
            epoch,
            note,
        })
    }
}

/// Generations stay below: the numbers above name places in RAM.
pub(crate) const GENERATION_END: u64 = 1 << 62;

/// A version that tests pretend to know.
#[cfg(test)]
pub(crate) const VERSION_READ_MAX: u16 = VERSION + 1;
#[cfg(not(test))]
const VERSION_READ_MAX: u16 = VERSION;

/// Why a frame was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A commit: durable when the commit was reported.
    Commit,
    /// Acknowledged batches, for a centre that is restored from a backup.
    History,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) stream: StreamId,
    pub(crate) kind: FrameKind,
    pub(crate) entries: u16,
    pub(crate) payload_len: u32,
    pub(crate) link: u32,
    pub(crate) range: SeqRange,
    pub(crate) generation: u64,
    pub(crate) payload_sum: u32,
    pub(crate) offset: u32,
    /// The checksum of the header itself: the link of the next frame.
    pub(crate) crc: u32,
}

impl FrameHeader {
    /// Header and payload, bytes.
    pub(crate) fn frame_len(&self) -> u64 {
        FRAME_HEADER_LEN as u64 + u64::from(self.payload_len)
    }

    /// Whether these are the bytes that the header was written for.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_len as usize
            && (payload_sum(payload) == self.payload_sum || is_on(Mutant::PayloadUnchecked))
    }

    /// The bytes, and their checksum.
    pub(crate) fn encode(&self, seed: Seed) -> (Vec<u8>, u32) {
        let mut out = FRAME_MAGIC.to_vec();
        let kind = match self.kind {
            FrameKind::Commit => 0,
            FrameKind::History => 1,
        };
        out.extend_from_slice(&[self.stream.lane as u8, kind]);
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.payload_len.to_le_bytes());
        out.extend_from_slice(&self.link.to_le_bytes());
        out.extend_from_slice(&self.stream.epoch.number().to_le_bytes());
        out.extend_from_slice(&self.range.first_seq.to_le_bytes());
        out.extend_from_slice(&self.range.last_seq.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.payload_sum.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = seed.crc(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads the header of a frame at `offset` of the segment with this seed.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<FRAME_HEADER_LEN>()?;
        if !bytes.starts_with(&FRAME_MAGIC) {
            return None;
        }
        let (head, crc) = head.split_last_chunk::<4>()?;
        let crc = u32::from_le_bytes(*crc);
        if crc != seed.crc(head) && !is_on(Mutant::HeaderUnchecked) {
            return None;
        }
        let header = Self::fields(head, crc)?;
        (u64::from(header.offset) == offset).then_some(header)
    }

    /// The generation that the bytes of a frame header claim.
    pub(crate) fn claimed_generation(bytes: &[u8]) -> Option<u64> {
        let (head, _) = bytes.split_first_chunk::<FRAME_HEADER_LEN>()?;
        let claimed = Self::fields(head, 0)?.generation;
        (bytes.starts_with(&FRAME_MAGIC) && claimed < GENERATION_END).then_some(claimed)
    }

    fn fields(head: &[u8], crc: u32) -> Option<Self> {
        let mut fields = Fields(head.get(4..)?);
        let [lane, kind] = fields.take()?;
        let entries = u16::from_le_bytes(fields.take()?);
        let payload_len = u32::from_le_bytes(fields.take()?);
        let link = u32::from_le_bytes(fields.take()?);
        let epoch = Epoch::from_number(u64::from_le_bytes(fields.take()?))?;
        let first_seq = u64::from_le_bytes(fields.take()?);
        let last_seq = u64::from_le_bytes(fields.take()?);
        let generation = u64::from_le_bytes(fields.take()?);
        let payload_sum = u32::from_le_bytes(fields.take()?);
        let offset = u32::from_le_bytes(fields.take()?);
        let kind = match kind {
            0 => FrameKind::Commit,
            1 => FrameKind::History,
            _ => return None,
        };
        Some(Self {
            stream: StreamId {
                epoch,
                lane: Lane::from_wire(lane)?,
            },
            kind,
            entries,
            payload_len,
            link,
            range: SeqRange::new(first_seq, last_seq)?,
            generation,
            payload_sum,
            offset,
            crc,
        })
    }
}

/// One sealed batch, or one alert, in the payload of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) range: SeqRange,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// Appends an entry to a payload whose entries ended below `expected_seq`.
pub(crate) fn push_entry(payload: &mut Vec<u8>, expected_seq: u64, range: SeqRange, bytes: &[u8]) {
    push_varint(payload, range.first_seq.saturating_sub(expected_seq));
    push_varint(payload, range.count());
    push_varint(payload, bytes.len() as u64);
    payload.extend_from_slice(bytes);
}

/// The entries of a whole payload; fewer than the header says when the payload is not what it should be.
pub(crate) fn entries(header: &FrameHeader, payload: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut expected_seq = header.range.first_seq;
    let mut at = 0;
    for _ in 0..header.entries {
        let Some(entry) = entry_at(payload, &mut at, expected_seq) else {
            break;
        };
        expected_seq = entry.range.next_seq();
        found.push(entry);
    }
    found
}

fn entry_at(payload: &[u8], at: &mut usize, expected_seq: u64) -> Option<Entry> {
    let first_seq = expected_seq.checked_add(take_varint(payload, at)?)?;
    let range = SeqRange::from_count(first_seq, take_varint(payload, at)?)?;
    let len = usize::try_from(take_varint(payload, at)?).ok()?;
    let start = *at;
    payload.get(start..start.checked_add(len)?)?;
    *at = start + len;
    Some(Entry {
        range,
        start: u32::try_from(start).ok()?,
        len: u32::try_from(len).ok()?,
    })
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7F);
        }
        out.push(low | 0x80);
    }
}

fn take_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What a full segment holds, so that nobody has to read it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) frames: u64,
    pub(crate) end: u64,
    pub(crate) first_link: u32,
    pub(crate) last_crc: u32,
    pub(crate) spans: Vec<Span>,
}

impl Summary {
    /// The bytes; `None` when they do not fit into `align` bytes: the segment is then read through.
    pub(crate) fn encode(&self, seed: Seed, align: u32) -> Option<Vec<u8>> {
        let len = SUMMARY_HEAD_LEN + self.spans.len() * SUMMARY_RANGE_LEN + 4;
        if len > align as usize {
            return None;
        }
        let mut out = SUMMARY_MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(self.spans.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&self.frames.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.first_link.to_le_bytes());
        out.extend_from_slice(&self.last_crc.to_le_bytes());
        for span in &self.spans {
            out.extend_from_slice(&span.epoch.number().to_le_bytes());
            out.extend_from_slice(&span.range.first_seq.to_le_bytes());
            out.extend_from_slice(&span.range.last_seq.to_le_bytes());
        }
        let crc = seed.crc(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Some(out)
    }

    pub(crate) fn decode(bytes: &[u8], header: &SegmentHeader) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take()? != SUMMARY_MAGIC {
            return None;
        }
        let count = u32::from_le_bytes(fields.take()?) as usize;
        let len = SUMMARY_HEAD_LEN.checked_add(count.checked_mul(SUMMARY_RANGE_LEN)?)?;
        let covered = bytes.get(..len)?;
        let crc = Fields(bytes.get(len..)?).take()?;
        if u32::from_le_bytes(crc) != header.seed().crc(covered) && !is_on(Mutant::SummaryUnchecked)
        {
            return None;
        }
        let frames = u64::from_le_bytes(fields.take()?);
        let end = u64::from_le_bytes(fields.take()?);
        let first_link = u32::from_le_bytes(fields.take()?);
        let last_crc = u32::from_le_bytes(fields.take()?);
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            let epoch = Epoch::from_number(u64::from_le_bytes(fields.take()?))?;
            let first_seq = u64::from_le_bytes(fields.take()?);
            let last_seq = u64::from_le_bytes(fields.take()?);
            let range = SeqRange::new(first_seq, last_seq)?;
            spans.push(Span { epoch, range });
        }
        (header.frames_from() <= end && end <= u64::from(header.len)).then_some(Self {
            frames,
            end,
            first_link,
            last_crc,
            spans,
        })
    }
}

pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}
