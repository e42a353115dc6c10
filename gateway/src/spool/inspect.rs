//! A read-only look at a spool directory, for people; also while a gateway has it open.
//!
//! Promises: writes nothing, locks nothing; what a running gateway changes meanwhile is looked at again or
//! left out. Never: trusts what it reads.

use std::io;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::Loss;
use serde::Serialize;

use super::book::Book;
pub use super::contents::Progress;
use super::contents::{self, Folder, frames_at};
use super::disk::Disk;
use super::format::VERSION;
use super::lane::Segment;
use super::space::file_name;
use super::v1::state;
use super::{Frame, scan, upgrade};

/// What a spool directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The folder that is in use.
    pub folder: String,
    /// Folders of other versions, and whether there is a spool of the first layout.
    pub beside: Vec<String>,
    /// Random, drawn when the spool was created; `None` when there is no readable cursor.
    pub spool_id: Option<u64>,
    /// How many times a process has opened it.
    pub incarnation: u32,
    /// The centre that it trusts.
    pub central_id: Option<u64>,
    /// Process starts that it knows.
    pub epochs: usize,
    /// Bytes that went to the device since the spool was made.
    pub device_bytes: u64,
    /// Losses that the centre has not acknowledged.
    pub losses: Vec<Loss>,
    /// Segments that hold something, lane by lane, oldest first.
    pub segments: Vec<SegmentInspection>,
    /// Files that wait to be used.
    pub free_files: usize,
    /// Files that could not be read.
    pub unreadable_files: Vec<String>,
    /// Segments of other spools and copies under other names: a gateway leaves them alone.
    pub foreign_files: Vec<String>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentInspection {
    /// Its file below the directory.
    pub file: String,
    /// Its lane.
    pub lane: Lane,
    /// The order of the lane: grows with each segment, and by far with each process start.
    pub generation: u64,
    /// Bytes of frames, their padding included.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// Bytes between whole frames that belong to none.
    pub damaged_bytes: u64,
    /// Whether its own summary says so, or it was read through.
    pub is_full: bool,
    /// Numbers in it that are neither acknowledged nor lost.
    pub unacked: u64,
    /// The numbers of each epoch in it.
    pub numbers: Vec<(Epoch, SeqRange)>,
}

/// What a thorough look found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verification {
    /// Segments that were read through.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Batches and alerts in them.
    pub batches: u64,
    /// Bytes between whole frames that belong to none.
    pub damaged_bytes: u64,
    /// Segments whose summary does not say what their frames say.
    pub wrong_summaries: u64,
    /// Files that could not be read.
    pub unreadable_files: u64,
    /// Numbers that are neither held, acknowledged nor lost, below the highest one that is known.
    pub unexplained: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_bytes == 0
            && self.wrong_summaries == 0
            && self.unreadable_files == 0
            && self.unexplained == 0
    }
}

/// How often a folder that changes is listed again.
const LOOKS_MAX: usize = 3;

#[derive(Default)]
struct Look {
    folder: String,
    book: Option<Book>,
    segments: Vec<Segment>,
    free_files: usize,
    unreadable: Vec<String>,
    strangers: Vec<String>,
    wrong_summaries: u64,
}

/// Looks at a spool.
///
/// # Errors
/// When the directory cannot be listed.
pub fn inspect(disk: &mut dyn Disk, progress: &mut dyn FnMut(Progress)) -> io::Result<Inspection> {
    let (look, beside) = look(disk, false, progress)?;
    let book = look.book.as_ref();
    let segments = look.segments.iter();
    Ok(Inspection {
        beside,
        spool_id: book.map(|book| book.spool_id),
        incarnation: book.map_or(0, |book| book.incarnation),
        central_id: book.and_then(|book| book.central_id),
        epochs: book.map_or(0, |book| book.epochs.len()),
        device_bytes: book.map_or(0, |book| book.device_bytes),
        losses: book.map_or_else(Vec::new, Book::losses),
        segments: segments.map(|s| described(&look, s)).collect(),
        free_files: look.free_files,
        unreadable_files: look.unreadable.clone(),
        foreign_files: look.strangers.clone(),
        folder: look.folder,
    })
}

/// Reads everything and compares it with what the spool says about itself.
///
/// # Errors
/// When the directory cannot be listed.
pub fn verify(disk: &mut dyn Disk, progress: &mut dyn FnMut(Progress)) -> io::Result<Verification> {
    let (look, _) = look(disk, true, progress)?;
    let mut found = Verification {
        wrong_summaries: look.wrong_summaries,
        unreadable_files: look.unreadable.len() as u64,
        ..Verification::default()
    };
    for segment in &look.segments {
        found.segments += 1;
        found.frames += segment.frames;
        found.damaged_bytes += damaged(segment);
        let name = file_name(&look.folder, segment.file());
        let mut offset = segment.header.frames_from();
        while offset < segment.end {
            let at = frames_at(disk, &name, &segment.header, offset)?;
            found.batches += at.frames.len() as u64;
            offset = at.next;
        }
    }
    found.unexplained = unexplained(&look);
    Ok(found)
}

/// Hands out every frame that is held, oldest first, lane by lane; `wants` says which.
///
/// # Errors
/// Whatever the disk or the receiver says.
pub fn export(
    disk: &mut dyn Disk,
    is_all: bool,
    progress: &mut dyn FnMut(Progress),
    take: &mut dyn FnMut(&Frame) -> io::Result<()>,
) -> io::Result<u64> {
    let (look, _) = look(disk, false, progress)?;
    let mut count = 0;
    for segment in &look.segments {
        let name = file_name(&look.folder, segment.file());
        let mut offset = segment.header.frames_from();
        while offset < segment.end {
            let at = frames_at(disk, &name, &segment.header, offset)?;
            offset = at.next;
            for frame in &at.frames {
                let is_done = |book: &Book| book.is_done(frame.stream, frame.range);
                if is_all || !look.book.as_ref().is_some_and(is_done) {
                    take(frame)?;
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}

/// Looks at every segment; a thorough look reads through those, too, that have a summary.
fn look(
    disk: &mut dyn Disk,
    is_thorough: bool,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<(Look, Vec<String>)> {
    let homes = upgrade::find(disk, VERSION)?;
    let mut beside = homes.older;
    beside.extend(homes.newer.into_iter().map(|(folder, _)| folder));
    let names = disk.list("")?;
    if names.iter().any(|name| name == state::FILE) {
        beside.push("the first layout".to_owned());
    }
    let mut look = look_once(disk, &homes.ours, is_thorough, progress)?;
    for _ in 1..LOOKS_MAX {
        // A gateway that runs may have moved on between the listing and the reading.
        if look.unreadable.is_empty() {
            break;
        }
        look = look_once(disk, &homes.ours, is_thorough, progress)?;
    }
    Ok((look, beside))
}

fn look_once(
    disk: &mut dyn Disk,
    folder: &str,
    is_thorough: bool,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<Look> {
    let mut look = Look {
        folder: folder.to_owned(),
        ..Look::default()
    };
    if !disk.folders()?.iter().any(|name| name == folder) {
        return Ok(look);
    }
    let place = Folder {
        name: folder,
        version: VERSION,
        slot_len: 0,
        segment_len: 0,
        now_ms: 0,
    };
    let quiet: &mut dyn FnMut(Progress) = &mut |_| ();
    let said = if is_thorough { quiet } else { &mut *progress };
    let mut contents = contents::read(disk, place, said)?;
    look.book = contents.cursor.book;
    look.free_files = contents.pool.free.len();
    look.unreadable = contents.unreadable;
    look.strangers = contents.strangers;
    for lane in Lane::ALL {
        look.segments.append(contents.lanes.get_mut(lane));
    }
    if is_thorough {
        look.read_through(disk, progress);
    }
    Ok(look)
}

impl Look {
    /// Reads the frames of the segments that have a summary, too.
    fn read_through(&mut self, disk: &mut dyn Disk, progress: &mut dyn FnMut(Progress)) {
        let of = self.segments.len();
        for (done, segment) in self.segments.iter_mut().enumerate() {
            progress(Progress { done, of });
            if !segment.is_summed {
                continue;
            }
            let name = file_name(&self.folder, segment.file());
            match scan::read_through(disk, &name, segment.header, 0) {
                Ok((read, _)) => {
                    let is_wrong = read.spans != segment.spans || read.end != segment.end;
                    self.wrong_summaries += u64::from(is_wrong);
                    *segment = read;
                }
                Err(_) => self.unreadable.push(name),
            }
        }
        progress(Progress { done: of, of });
    }
}

fn damaged(segment: &Segment) -> u64 {
    segment.holes.iter().map(|(from, to)| to - from).sum()
}

fn described(look: &Look, segment: &Segment) -> SegmentInspection {
    let lane = segment.header.lane;
    let unacked = segment.spans.iter().map(|span| {
        let epoch = span.epoch;
        let stream = look
            .book
            .as_ref()
            .and_then(|book| book.stream(StreamId { epoch, lane }));
        stream.map_or(0, |stream| {
            let open = stream.acked.missing_in(span.range);
            open.filter(|range| !stream.losses.covers(*range))
                .map(|range| range.count())
                .sum()
        })
    });
    SegmentInspection {
        file: file_name(&look.folder, segment.file()),
        lane,
        generation: segment.generation(),
        bytes: segment.bytes(),
        frames: segment.frames,
        damaged_bytes: damaged(segment),
        is_full: segment.is_summed,
        unacked: unacked.sum(),
        numbers: segment.spans.iter().map(|s| (s.epoch, s.range)).collect(),
    }
}

fn unexplained(look: &Look) -> u64 {
    let Some(book) = &look.book else {
        return 0;
    };
    let mut count = 0;
    for entry in &book.epochs {
        for lane in Lane::ALL {
            let mut held = super::Numbers::default();
            let of_lane = look.segments.iter().filter(|s| s.header.lane == lane);
            for span in of_lane.flat_map(|s| &s.spans) {
                if span.epoch == entry.epoch {
                    super::numbers::add(&mut held, span.range);
                }
            }
            for open in entry.lanes.get(lane).open() {
                count += open.count() - held.count_in(open);
            }
        }
    }
    count
}
