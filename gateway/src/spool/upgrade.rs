//! Spools that other versions left in the same directory.
//!
//! Promises: what an older one holds is taken into the running one, in its order, and the older one goes
//! only when that is durable; a newer one stays untouched. Never: guesses the layout of a later version.

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;

use firmware_shared::id::{Lane, StreamId};

use super::book::{EpochEntry, PerLane};
use super::contents::{self, Folder};
use super::disk::{Disk, Site};
use super::format::{self, PREFIX_LEN, VERSION};
use super::scan::UNKNOWN_NOTE;
use super::space::file_of_name;
use super::v1::{record, state};
use super::{Frame, Mode, Spool, SpoolEvent, cursor};

/// The folder of a spool; the ones beside it have a number behind a point.
const FOLDER: &str = "log";
/// Spools beside the first; more are not looked for.
const BESIDE_MAX: u32 = 8;

/// Which folder is ours, and what lies beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes {
    pub(crate) ours: String,
    /// To be drained.
    pub(crate) older: Vec<String>,
    /// Whether there are files of the first layout, to be drained, too.
    pub(crate) has_first_layout: bool,
    pub(crate) newer: Vec<(String, u16)>,
}

impl Homes {
    /// Whether there is no other spool.
    pub(crate) fn is_alone(&self) -> bool {
        !self.has_older() && self.newer.is_empty()
    }

    /// Whether there is something to drain.
    pub(crate) fn has_older(&self) -> bool {
        self.has_first_layout || !self.older.is_empty()
    }
}

/// Looks for spools.
///
/// # Errors
/// Whatever the disk says.
pub(crate) fn find(disk: &mut dyn Disk, version: u16) -> io::Result<Homes> {
    let folders = disk.folders()?;
    let names = disk.list("")?;
    let is_there = |file: &&str| names.iter().any(|name| name == file);
    let mut homes = Homes {
        has_first_layout: Lane::ALL
            .iter()
            .any(|lane| folders.iter().any(|folder| folder == lane.name()))
            || [state::FILE, state::FILE_WRITTEN].iter().any(is_there),
        ..Homes::default()
    };
    let mut ours = None;
    for beside in 0..=BESIDE_MAX {
        let name = match beside {
            0 => FOLDER.to_owned(),
            beside => format!("{FOLDER}.{beside}"),
        };
        let there = folders.contains(&name);
        match there.then(|| version_of(disk, &name)).transpose()? {
            Some(found) if found > version => homes.newer.push((name, found)),
            Some(found) if found < version => homes.older.push(name),
            // The first one is ours; further ones of our version are drained like older ones.
            Some(_) if ours.is_some() => homes.older.push(name),
            Some(_) => ours = Some(name),
            None if ours.is_none() && !there => {
                ours = Some(name);
                // A gap in the numbers: behind it there may still be one to drain.
            }
            None => {}
        }
    }
    let ours = ours.ok_or_else(|| io::Error::other("too many spools beside each other"))?;
    homes.ours = ours;
    Ok(homes)
}

/// The newest version that anything in a folder names; our own when nothing does.
fn version_of(disk: &mut dyn Disk, folder: &str) -> io::Result<u16> {
    if let Some(version) = cursor::version(disk, folder) {
        return Ok(version);
    }
    let mut newest = None;
    for name in disk.list(folder)? {
        if file_of_name(&name).is_none() {
            continue;
        }
        let mut bytes = [0; PREFIX_LEN];
        let read = disk.read_at(&format!("{folder}/{name}"), 0, &mut bytes);
        let bytes = bytes.get(..read.unwrap_or(0)).unwrap_or_default();
        newest = newest.max(format::segment_version(bytes));
    }
    Ok(newest.unwrap_or(VERSION))
}

/// How much of a file of the first layout is in RAM at once, bytes.
const DRAIN_LEN: usize = 128 * 1024;

impl Spool {
    /// Takes in what older versions left, then looks for gaps. What cannot be taken in stays for the next
    /// start, and its numbers are no gaps until then.
    pub(super) fn drain_older(&mut self, homes: &Homes, is_damaged: &PerLane<bool>) {
        if self.mode == Mode::Ram || !homes.has_older() {
            return;
        }
        let drained = self.drain_all(homes, is_damaged);
        if let Err(error) = drained {
            tracing::error!(%error, "an older spool could not be taken in; the next start tries again");
        }
    }

    fn drain_all(&mut self, homes: &Homes, is_damaged: &PerLane<bool>) -> io::Result<()> {
        if homes.has_first_layout {
            self.drain_first_layout()?;
        }
        for folder in &homes.older {
            self.drain_folder(folder)?;
        }
        self.book.end_crashed_epochs(self.running);
        self.explain_gaps(is_damaged);
        if !self.commit() || !self.write_cursor(Site::Epoch) {
            return Err(io::Error::other("what was taken in is not durable"));
        }
        if homes.has_first_layout {
            self.remove_first_layout()?;
        }
        for folder in &homes.older {
            self.remove_folder(folder)?;
        }
        self.disk.sync_folder("")
    }

    fn drain_first_layout(&mut self) -> io::Result<()> {
        if let Some(book) = state::peek(self.disk.as_mut())? {
            self.book.adopt(book, self.running);
            self.is_stale = true;
        }
        for lane in self.first_lanes()? {
            self.drain_first_lane(lane)?;
        }
        Ok(())
    }

    fn first_lanes(&mut self) -> io::Result<Vec<Lane>> {
        let folders = self.disk.folders()?;
        let is_there = |lane: &Lane| folders.iter().any(|folder| folder == lane.name());
        Ok(Lane::ALL.into_iter().filter(is_there).collect())
    }

    fn remove_first_layout(&mut self) -> io::Result<()> {
        for lane in self.first_lanes()? {
            for name in self.disk.list(lane.name())? {
                if name.ends_with(".seg") {
                    self.disk.remove(&format!("{}/{name}", lane.name()))?;
                }
            }
            // Files of people keep it.
            self.disk.remove_folder(lane.name()).ok();
        }
        for file in [state::FILE, state::FILE_WRITTEN] {
            match self.disk.remove(file) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    fn drain_first_lane(&mut self, lane: Lane) -> io::Result<()> {
        let mut names = self.disk.list(lane.name())?;
        names.retain(|name| name.ends_with(".seg"));
        names.sort_unstable();
        for name in names {
            let file = format!("{}/{name}", lane.name());
            let len = self.disk.len(&file)?;
            let mut from = 0;
            // A part at a time: what is taken in is written before more is read.
            while from < len {
                let (next, records) = self.some_records(&file, from, len)?;
                from = next;
                for record in records {
                    match record {
                        Met::Note(stream, note) => self.learn_epoch(stream, Some(note)),
                        Met::Frame(frame) if frame.stream.lane == lane => self.take_in(frame)?,
                        Met::Frame(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// The records from an offset on, some of them, and where the others begin.
    fn some_records(&mut self, file: &str, from: u64, len: u64) -> io::Result<(u64, Vec<Met>)> {
        let mut records = Vec::new();
        let (mut next, mut bytes) = (len, 0);
        let disk = self.disk.as_mut();
        let mut read = |offset, out: &mut [u8]| disk.read_at(file, offset, out);
        record::scan(&mut read, from, len, &mut |met| {
            if let Some(payload) = met.payload {
                bytes += payload.len();
                let stream = met.header.stream;
                match met.header.content {
                    record::Content::Frame(range) => records.push(Met::Frame(Frame {
                        stream,
                        range,
                        bytes: payload.to_vec(),
                    })),
                    record::Content::EpochNote => {
                        let note = record::decode_note(payload);
                        records.extend(note.map(|note| Met::Note(stream, note)));
                    }
                }
            }
            if bytes < DRAIN_LEN {
                return ControlFlow::Continue(());
            }
            next = met.offset + met.header.record_len();
            ControlFlow::Break(())
        })?;
        Ok((next, records))
    }

    fn drain_folder(&mut self, folder: &str) -> io::Result<()> {
        let folder_of_theirs = Folder {
            name: folder,
            version: self.version,
            slot_len: 0,
            segment_len: 0,
            now_ms: 0,
        };
        let theirs = contents::read(self.disk.as_mut(), folder_of_theirs, &mut |_| ())?;
        if let Some(book) = theirs.cursor.book {
            self.book.adopt(book, self.running);
            self.is_stale = true;
        }
        for lane in Lane::ALL {
            for segment in theirs.lanes.get(lane) {
                let name = super::space::file_name(folder, segment.file());
                let mut offset = segment.header.frames_from();
                while offset < segment.end {
                    let found =
                        contents::frames_at(self.disk.as_mut(), &name, &segment.header, offset)?;
                    offset = found.next;
                    for frame in found.frames {
                        self.learn_epoch(frame.stream, None);
                        self.take_in(frame)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        for name in self.disk.list(folder)? {
            if file_of_name(&name).is_some() || name.starts_with("cursor-") {
                self.disk.remove(&format!("{folder}/{name}"))?;
            }
        }
        self.disk.remove_folder(folder).ok();
        Ok(())
    }

    fn learn_epoch(&mut self, stream: StreamId, note: Option<format::EpochNote>) {
        match self.book.epoch_mut(stream.epoch) {
            Some(entry) if entry.note == UNKNOWN_NOTE => entry.note = note.unwrap_or(UNKNOWN_NOTE),
            Some(_) => {}
            None => {
                let entry = EpochEntry::new(stream.epoch, note.unwrap_or(UNKNOWN_NOTE));
                self.book.insert_before_last(entry);
            }
        }
        self.is_stale = true;
    }

    /// Takes a frame of an older spool in, unless it is here already or done.
    fn take_in(&mut self, frame: Frame) -> io::Result<()> {
        let (stream, range) = (frame.stream, frame.range);
        self.learn_epoch(stream, None);
        let is_here = self.held(stream, range).count_in(range) == range.count();
        if is_here || self.book.is_done(stream, range) {
            return Ok(());
        }
        if let Some(numbers) = self.book.stream_mut(stream) {
            numbers.known_next_seq = numbers.known_next_seq.max(range.next_seq());
        }
        self.append(frame)
            .map(drop)
            .map_err(|e| io::Error::other(format!("a frame was refused: {e:?}")))?;
        if self.mode == Mode::Ram {
            return Err(io::Error::other("the disk cannot be used"));
        }
        Ok(())
    }

    /// Says that later versions were here.
    pub(super) fn tell_newer(&mut self, newer: &[(String, u16)]) {
        for (folder, version) in newer {
            self.events.push(SpoolEvent::Newer {
                folder: folder.clone(),
                version: *version,
            });
        }
    }
}

enum Met {
    Note(StreamId, format::EpochNote),
    Frame(Frame),
}
