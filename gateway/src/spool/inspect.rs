//! A read-only look at a spool directory, for people; also while a gateway has it open.
//!
//! Promises: writes nothing, locks nothing, cuts nothing. Never: trusts what it reads.

use std::io;
use std::ops::ControlFlow;

use firmware_shared::id::{Epoch, Lane, SeqRange};
use firmware_shared::message::Loss;
use serde::Serialize;

use super::disk::Disk;
use super::lane_log::{Home, Segment, file_name, id_of_name};
use super::record::{self, Content};
use super::state;

/// What a spool directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Random, drawn when the spool was created; `None` when there is no readable state.
    pub spool_id: Option<u64>,
    /// How many times a process has opened it.
    pub incarnation: u32,
    /// The centre that it trusts.
    pub central_id: Option<u64>,
    /// Losses that the centre has not acknowledged.
    pub losses: Vec<Loss>,
    /// The files, lane by lane, oldest first.
    pub segments: Vec<SegmentInspection>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentInspection {
    /// Its name below the directory.
    pub file: String,
    /// Its lane.
    pub lane: Lane,
    /// Its length, bytes.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// Bytes that belong to no whole record.
    pub damaged_bytes: u64,
    /// The lowest and highest number of each epoch in it.
    pub numbers: Vec<(Epoch, SeqRange)>,
}

/// Looks at a spool.
///
/// # Errors
/// Whatever the disk says.
pub fn inspect(disk: &mut dyn Disk) -> io::Result<Inspection> {
    let book = state::peek(disk)?;
    let mut segments = Vec::new();
    for lane in Lane::ALL {
        let names = disk.list(lane.name())?;
        let mut ids: Vec<u64> = names.iter().filter_map(|name| id_of_name(name)).collect();
        ids.sort_unstable();
        for id in ids {
            match inspect_segment(disk, lane, id) {
                Ok(segment) => segments.push(segment),
                // A running gateway may have deleted it since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(Inspection {
        spool_id: book.as_ref().map(|book| book.spool_id),
        incarnation: book.as_ref().map_or(0, |book| book.incarnation),
        central_id: book.as_ref().and_then(|book| book.central_id),
        losses: book.map_or_else(Vec::new, |book| book.losses()),
        segments,
    })
}

fn inspect_segment(disk: &mut dyn Disk, lane: Lane, id: u64) -> io::Result<SegmentInspection> {
    let file = file_name(lane, id);
    let bytes = disk.len(&file)?;
    let mut segment = Segment::new(id, Home::Disk);
    let mut read = |offset, out: &mut [u8]| disk.read_at(&file, offset, out);
    let scan = record::scan(&mut read, 0, bytes, &mut |met| {
        if let (Content::Frame(range), Some(_)) = (met.header.content, met.payload) {
            segment.include(met.header.stream.epoch, range);
        }
        ControlFlow::Continue(())
    })?;
    Ok(SegmentInspection {
        file,
        lane,
        bytes,
        frames: segment.frames,
        damaged_bytes: scan.damaged + bytes.saturating_sub(scan.end),
        numbers: segment.spans.iter().map(|s| (s.epoch, s.hull)).collect(),
    })
}
