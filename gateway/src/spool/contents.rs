//! What lies in a folder of a spool.
//!
//! Promises: every whole frame is found; only segments without a summary are read through; a file that
//! belongs to another spool, or to another place in this one, is named and left alone; what has lost its
//! header is searched up to [`SEARCH_LEN_MAX`], so that a start does not take longer than a moment.
//! Never: changes anything, fails on what a file holds.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};

use super::Frame;
use super::book::{Book, PerLane};
use super::cursor;
use super::disk::Disk;
use super::format::{
    self, EpochNote, FRAME_HEADER_LEN, FrameHeader, SegmentHeader, Summary, padded,
};
use super::lane::Segment;
use super::mutant::{Mutant, is_on};
use super::scan::{self, Beginning, UNKNOWN_NOTE};
use super::space::{FreeFile, Pool, file_name, file_of_name};

/// Bytes of files without a header that are searched for frames.
const SEARCH_LEN_MAX: u64 = 256 * 1024 * 1024;

/// How far a long look has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files that were looked at.
    pub done: usize,
    /// Files in all.
    pub of: usize,
}

/// Which folder is read, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folder<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: u16,
    pub(crate) slot_len: u64,
    /// How long segments are made now.
    pub(crate) segment_len: u32,
    pub(crate) now_ms: u64,
}

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) cursor: cursor::Loaded,
    /// By generation.
    pub(crate) lanes: PerLane<Vec<Segment>>,
    /// Whether frames of the lane are missing or damaged.
    pub(crate) is_damaged: PerLane<bool>,
    /// Whether there was a cursor that cannot be read.
    pub(crate) is_cursor_lost: bool,
    /// Numbers that readable headers name over unreadable payloads.
    pub(crate) claims: Vec<(StreamId, SeqRange)>,
    /// Epochs, in the order in which their first frames stand.
    pub(crate) notes: Vec<(Epoch, EpochNote)>,
    pub(crate) pool: Pool,
    /// Files that cannot be read.
    pub(crate) unreadable: Vec<String>,
    /// Segments of other spools, and copies under another name.
    pub(crate) strangers: Vec<String>,
    searched_len: u64,
}

/// A segment file and how it begins.
struct Begun {
    file: u32,
    header: SegmentHeader,
    summary: Option<Summary>,
}

/// Reads what a folder holds; nothing is changed.
///
/// # Errors
/// When the folder cannot be listed.
pub(crate) fn read(
    disk: &mut dyn Disk,
    folder: Folder<'_>,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<Contents> {
    let mut contents = Contents::empty(folder.slot_len);
    contents.cursor = cursor::load(disk, folder.name, folder.version, folder.slot_len);
    let names = disk.list(folder.name)?;
    let mut files: Vec<u32> = names.iter().filter_map(|name| file_of_name(name)).collect();
    files.sort_unstable();
    contents.pool.found = files.iter().copied().collect();
    // A cursor is durable before the first segment is made.
    let was_used = contents.cursor.is_damaged || !files.is_empty();
    contents.is_cursor_lost = was_used && contents.cursor.book.is_none();
    let of = files.len();
    let (mut begun, mut others) = (Vec::new(), Vec::new());
    let names: Vec<String> = files.iter().map(|f| file_name(folder.name, *f)).collect();
    for ((file, name), seen) in files.iter().zip(names.iter()).zip(see(disk, &names)) {
        let file = *file;
        let whole = seen.and_then(|beginning| match beginning {
            Beginning::Header(header, summary) => Ok(Some((header, summary))),
            Beginning::Apart(header) => {
                let summary = scan::read_summary(disk, name, &header)?;
                Ok(Some((header, summary)))
            }
            // A short file has been read whole.
            Beginning::Other(read) => {
                let is_longer = read == scan::BEGINNING_LEN;
                let len = if is_longer {
                    disk.len(name)?
                } else {
                    read as u64
                };
                others.push((file, len));
                Ok(None)
            }
        });
        match whole {
            Ok(Some((header, summary))) => begun.push(Begun {
                file,
                header,
                summary,
            }),
            Ok(None) => {}
            Err(error) => contents.add(Err(error), name.clone()),
        }
    }
    let book = contents.cursor.book.as_ref();
    let spool_id = book.map(|book| book.spool_id).or_else(|| most(&begun));
    let mut done = contents.unreadable.len();
    for begun in begun {
        progress(Progress { done, of });
        done += 1;
        contents.take_begun(disk, folder, begun, spool_id);
    }
    for (file, len) in others {
        progress(Progress { done, of });
        done += 1;
        contents.take_headless(disk, folder, (file, len), spool_id.unwrap_or(0));
    }
    progress(Progress { done, of });
    contents.order();
    if let (Some(id), None) = (spool_id, &contents.cursor.book)
        && !contents.notes.is_empty()
    {
        contents.cursor.book = Some(Book::new(id));
    }
    Ok(contents)
}

/// How each of the files begins.
fn see(disk: &mut dyn Disk, names: &[String]) -> Vec<io::Result<Beginning>> {
    let seen: Vec<OnceLock<io::Result<Beginning>>> =
        names.iter().map(|_| OnceLock::new()).collect();
    disk.read_beginnings(names, scan::BEGINNING_LEN, &|index, first| {
        if let Some(seen) = seen.get(index) {
            seen.get_or_init(|| first.map(Beginning::of));
        }
    });
    let unseen = || Err(io::Error::other("nobody read it"));
    seen.into_iter()
        .map(|seen| seen.into_inner().unwrap_or_else(unseen))
        .collect()
}

/// The spool that most segments belong to; of the first one when as many belong to another.
fn most(begun: &[Begun]) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for begun in begun.iter().filter(|b| b.header.file == b.file) {
        *counts.entry(begun.header.spool_id).or_default() += 1;
    }
    let most = counts.values().max()?;
    let mut ids = begun.iter().map(|begun| begun.header.spool_id);
    ids.find(|id| counts.get(id) == Some(most))
}

impl Contents {
    pub(crate) fn empty(slot_len: u64) -> Self {
        Self {
            cursor: cursor::Loaded::empty(slot_len),
            lanes: PerLane::from_fn(|_| Vec::new()),
            is_damaged: PerLane::default(),
            is_cursor_lost: false,
            claims: Vec::new(),
            notes: Vec::new(),
            pool: Pool::default(),
            unreadable: Vec::new(),
            strangers: Vec::new(),
            searched_len: 0,
        }
    }

    /// Whether nothing was ever written here.
    pub(crate) fn is_blank(&self) -> bool {
        let has_segments = Lane::ALL
            .iter()
            .any(|lane| !self.lanes.get(*lane).is_empty());
        self.cursor.book.is_none()
            && !self.is_cursor_lost
            && !has_segments
            && self.unreadable.is_empty()
    }

    fn take_begun(
        &mut self,
        disk: &mut dyn Disk,
        folder: Folder<'_>,
        begun: Begun,
        spool_id: Option<u64>,
    ) {
        let name = file_name(folder.name, begun.file);
        let header = begun.header;
        if Some(header.spool_id) != spool_id || header.file != begun.file {
            tracing::warn!(file = %name, "a copy of another segment is left alone");
            return self.strangers.push(name);
        }
        let read = match begun.summary {
            Some(summary) => Ok(Segment::from_summary(header, summary, folder.now_ms)),
            None => self.read_segment(disk, &name, header, folder.now_ms),
        };
        self.add(read, name);
    }

    fn read_segment(
        &mut self,
        disk: &mut dyn Disk,
        name: &str,
        header: SegmentHeader,
        now_ms: u64,
    ) -> io::Result<Segment> {
        let (segment, claims) = scan::read_through(disk, name, header, now_ms)?;
        self.claims.extend(claims.damaged);
        *self.is_damaged.get_mut(header.lane) |= !segment.holes.is_empty();
        Ok(segment)
    }

    /// A file without a segment header: made and never used, being used again when the power went, or
    /// damaged.
    fn take_headless(
        &mut self,
        disk: &mut dyn Disk,
        folder: Folder<'_>,
        (file, len): (u32, u64),
        spool_id: u64,
    ) {
        let name = file_name(folder.name, file);
        let found = self.search(disk, &name, (file, len), spool_id);
        let header = match found {
            Ok(header) => header,
            Err(error) => return self.add(Err(error), name),
        };
        let Some(header) = header else {
            return self.pool.free.push(FreeFile {
                file,
                is_whole: len == u64::from(folder.segment_len),
                was_used: false,
            });
        };
        let mut read = self.read_segment(disk, &name, header, folder.now_ms);
        if let Ok(segment) = &mut read {
            // Whatever its header was, nothing is appended behind it.
            segment.is_summed = true;
        }
        self.add(read, name);
    }

    fn search(
        &mut self,
        disk: &mut dyn Disk,
        name: &str,
        (file, len): (u32, u64),
        spool_id: u64,
    ) -> io::Result<Option<SegmentHeader>> {
        let lens = scan::FRAMES_FROM_MIN..=u64::from(format::SEGMENT_LEN_MAX);
        if !lens.contains(&len) {
            return Ok(None);
        }
        self.searched_len += len;
        if self.searched_len > SEARCH_LEN_MAX {
            return Err(io::Error::other("too many files have lost their header"));
        }
        scan::header_from_frames(disk, name, file, spool_id)
    }

    fn add(&mut self, read: io::Result<Segment>, name: String) {
        match read {
            Ok(segment) => self.lanes.get_mut(segment.header.lane).push(segment),
            Err(error) => {
                tracing::error!(file = %name, %error, "a segment cannot be read");
                self.is_damaged = PerLane::from_fn(|_| true);
                self.unreadable.push(name);
            }
        }
    }

    fn order(&mut self) {
        for lane in Lane::ALL {
            let segments = self.lanes.get_mut(lane);
            segments.sort_by_key(Segment::generation);
            segments.dedup_by_key(|segment| segment.generation());
            let mut pairs = segments.windows(2);
            let is_broken = pairs.any(|pair| match pair {
                [before, after] => before.last_crc != after.first_link,
                _ => false,
            });
            *self.is_damaged.get_mut(lane) |= is_broken;
        }
        let all = || Lane::ALL.into_iter().flat_map(|lane| self.lanes.get(lane));
        let newest = all().map(Segment::generation).max();
        let mut order: Vec<&Segment> = all().collect();
        order.sort_by_key(|segment| segment.generation());
        for segment in order {
            let header = (segment.header.epoch, segment.header.note);
            let spans = segment.spans.iter().map(|span| (span.epoch, UNKNOWN_NOTE));
            for (epoch, note) in spans.chain([header]) {
                match self.notes.iter_mut().find(|(known, _)| *known == epoch) {
                    Some((_, known)) if *known == UNKNOWN_NOTE => *known = note,
                    Some(_) => {}
                    None => self.notes.push((epoch, note)),
                }
            }
        }
        if !is_on(Mutant::GenerationsRestart) {
            self.pool.next_generation = newest.map_or(1, |newest| newest + 1);
        }
    }
}

/// The frames in one frame of the disk.
pub(crate) struct At {
    /// Where the next one may begin.
    pub(crate) next: u64,
    pub(crate) frames: Vec<Frame>,
}

/// Reads the frame at an offset of a segment; none when there is no whole one.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn frames_at(
    disk: &mut dyn Disk,
    name: &str,
    segment: &SegmentHeader,
    offset: u64,
) -> io::Result<At> {
    let none = At {
        next: offset + u64::from(segment.align),
        frames: Vec::new(),
    };
    let mut bytes = [0; FRAME_HEADER_LEN];
    let read = disk.read_at(name, offset, &mut bytes)?;
    let bytes = bytes.get(..read).unwrap_or_default();
    let Some(header) = FrameHeader::decode(bytes, segment.seed(), offset)
        .filter(|h| offset + h.frame_len() <= u64::from(segment.len))
    else {
        return Ok(none);
    };
    let mut payload = vec![0; header.payload_len as usize];
    let read = disk.read_at(name, offset + FRAME_HEADER_LEN as u64, &mut payload)?;
    payload.truncate(read);
    if !header.fits(&payload) {
        return Ok(none);
    }
    let frame = |entry: &format::Entry| {
        let start = entry.start as usize;
        Some(Frame {
            stream: header.stream,
            range: entry.range,
            bytes: payload.get(start..start + entry.len as usize)?.to_vec(),
        })
    };
    let entries = format::entries(&header, &payload);
    Ok(At {
        next: offset + padded(header.frame_len(), segment.align),
        frames: entries.iter().filter_map(frame).collect(),
    })
}
