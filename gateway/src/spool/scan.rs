//! Reading a segment through.
//!
//! Promises: every whole frame is found, also behind damage; what a damaged frame's header claims is told;
//! a damaged segment header costs no frame. Never: trusts a length, writes.

use std::io;

use firmware_shared::id::{SeqRange, StreamId};
use firmware_shared::time::BootId;

use super::disk::Disk;
use super::format::{
    self, ALIGNS, EpochNote, FRAME_HEADER_LEN, FrameHeader, SEGMENT_HEADER_LEN, Seed,
    SegmentHeader, Summary, padded,
};
use super::lane::{Segment, include};
use super::mutant::{Mutant, is_on};

/// Where the first frame can lie, with the smallest padding.
pub(crate) const FRAMES_FROM_MIN: u64 = 1024;
/// How much is read at once: the largest frame fits.
const WINDOW_LEN: usize = 256 * 1024;

/// A file, read through a window.
struct Window<'a> {
    disk: &'a mut dyn Disk,
    file: &'a str,
    bytes: Vec<u8>,
    start: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    fn new(disk: &'a mut dyn Disk, file: &'a str, len: u64) -> Self {
        let len = usize::try_from(len).map_or(WINDOW_LEN, |len| len.min(WINDOW_LEN));
        Self {
            disk,
            file,
            bytes: vec![0; len],
            start: 0,
            filled: 0,
        }
    }

    /// Up to `len` bytes at an offset; fewer at the end of the file.
    fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(self.bytes.len());
        let is_inside =
            self.start <= offset && offset + len as u64 <= self.start + self.filled as u64;
        if !is_inside {
            self.start = offset;
            self.filled = self.disk.read_at(self.file, offset, &mut self.bytes)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..self.filled).unwrap_or_default();
        Ok(rest.get(..len.min(rest.len())).unwrap_or_default())
    }
}

/// What reading a segment through told beside the segment.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Numbers that readable headers name over unreadable payloads.
    pub(crate) damaged: Vec<(StreamId, SeqRange)>,
}

/// How a segment file begins.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// With a header, and a summary when the segment is full.
    Header(SegmentHeader, Option<Summary>),
    /// With a header that puts the summary behind what was read.
    Apart(SegmentHeader),
    /// With something else; how many bytes were read.
    Other(usize),
}

/// Bytes of a file in which a header and, with all but the largest padding, a summary lie.
pub(crate) const BEGINNING_LEN: usize = 8192;

impl Beginning {
    /// Of a segment file that has these first [`BEGINNING_LEN`] bytes, or has no more.
    pub(crate) fn of(first: &[u8]) -> Self {
        let Some(header) = SegmentHeader::decode(first) else {
            return Self::Other(first.len());
        };
        let align = header.align as usize;
        match first.get(align..2 * align) {
            Some(bytes) => Self::Header(header, Summary::decode(bytes, &header)),
            None => Self::Apart(header),
        }
    }
}

/// Reads the summary that lies behind the header of a segment file.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn read_summary(
    disk: &mut dyn Disk,
    file: &str,
    header: &SegmentHeader,
) -> io::Result<Option<Summary>> {
    let mut bytes = vec![0; header.align as usize];
    let read = disk.read_at(file, u64::from(header.align), &mut bytes)?;
    bytes.truncate(read);
    Ok(Summary::decode(&bytes, header))
}

/// Reads the frames of a segment.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn read_through(
    disk: &mut dyn Disk,
    file: &str,
    header: SegmentHeader,
    used_ms: u64,
) -> io::Result<(Segment, Claims)> {
    // Behind the end of a file that was cut short nothing can be.
    let len = u64::from(header.len).min(disk.len(file)?);
    let seed = header.seed();
    let mut window = Window::new(disk, file, len);
    let mut segment = Segment::new(header, used_ms);
    let mut claims = Claims::default();
    let mut first_hole = None;
    let mut at = header.frames_from();
    while at + FRAME_HEADER_LEN as u64 <= len {
        let found = FrameHeader::decode(window.at(at, FRAME_HEADER_LEN)?, seed, at).filter(|f| {
            f.generation == header.generation
                && f.stream.lane == header.lane
                && at + f.frame_len() <= len
        });
        if let Some(frame) = found {
            let whole = window.at(at, usize::try_from(frame.frame_len()).unwrap_or(usize::MAX))?;
            let payload = whole.get(FRAME_HEADER_LEN..).unwrap_or_default();
            if frame.fits(payload) {
                if segment.end < at {
                    segment.holes.push((segment.end, at));
                }
                for entry in format::entries(&frame, payload) {
                    include(&mut segment.spans, frame.stream.epoch, entry.range);
                }
                segment.note_frame(&frame, frame_room(&frame, header.align));
                at = segment.end;
                continue;
            }
            claims.damaged.push((frame.stream, frame.range));
        }
        first_hole = first_hole.or(Some(at));
        if is_on(Mutant::ScanEndsAtHole) {
            break;
        }
        at += u64::from(header.align);
    }
    if is_on(Mutant::AppendAtFirstHole) {
        segment.end = first_hole.unwrap_or(segment.end);
    }
    Ok((segment, claims))
}

/// What a frame takes in its segment, padding included.
pub(crate) fn frame_room(frame: &FrameHeader, align: u32) -> u64 {
    if is_on(Mutant::FramesUnpadded) {
        frame.frame_len()
    } else {
        padded(frame.frame_len(), align)
    }
}

/// Makes the header of a segment again from its frames; `None` when there is none.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn header_from_frames(
    disk: &mut dyn Disk,
    name: &str,
    file: u32,
    spool_id: u64,
) -> io::Result<Option<SegmentHeader>> {
    let file_len = disk.len(name)?;
    let Ok(len) = u32::try_from(file_len) else {
        return Ok(None);
    };
    let mut window = Window::new(disk, name, file_len);
    let mut found: Vec<FrameHeader> = Vec::new();
    let step = FRAMES_FROM_MIN / 2;
    let mut at = FRAMES_FROM_MIN;
    while at + FRAME_HEADER_LEN as u64 <= file_len {
        let bytes = window.at(at, FRAME_HEADER_LEN)?;
        if let Some(generation) = FrameHeader::claimed_generation(bytes) {
            let seed = Seed::new(spool_id, generation, file);
            found.extend(FrameHeader::decode(bytes, seed, at));
        }
        at += step;
    }
    let Some(newest) = found.iter().max_by_key(|f| f.generation).copied() else {
        return Ok(None);
    };
    found.retain(|f| f.generation == newest.generation);
    let fits = |align: &u32| {
        let mut offsets = found.iter().map(|f| f.offset);
        offsets.all(|offset| offset % align == 0 && offset >= 2 * align)
    };
    let align = ALIGNS.iter().copied().filter(fits).max();
    Ok(align.map(|align| SegmentHeader {
        version: format::VERSION,
        spool_id,
        generation: newest.generation,
        len,
        file,
        align,
        lane: newest.stream.lane,
        link: 0,
        epoch: newest.stream.epoch,
        note: UNKNOWN_NOTE,
    }))
}

/// Of an epoch whose start nobody knows any more.
pub(crate) const UNKNOWN_NOTE: EpochNote = EpochNote {
    boot_id: BootId([0; 16]),
    tail_at_most: [u64::MAX; 3],
};

const _: () = assert!(SEGMENT_HEADER_LEN <= 512);
