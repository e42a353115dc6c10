//! The cursor: what is acknowledged and lost, in slots that are written in turn.
//!
//! ```text
//! offset   bytes  what (little-endian)
//! 0        16     prefix, magic "FGCU", see `format`
//! 16       8      generation: the slot with the higher one holds
//! 24       4      length of the body
//! 28       n      postcard of the book
//! 28 + n   4      CRC-32C of everything behind the prefix
//! ```
//! Two slots outlive a torn write. The third is for the start: what a process reads from the newest slot may
//! be in the page cache alone, left by a process whose sync failed; then the second newest is the one on
//! the medium, and the first write must spare both.
//!
//! Promises: the slots take their room when the spool is made, so that a loss can be written when the disk
//! is full; a torn write leaves the others. A lost or old cursor costs re-sends, never records: the log is
//! the one truth. A start syncs the slots before it writes one, so that however many processes are killed in a row
//! before their syncs, what was durable stays. Never: writes over one of the two newest slots.

use std::io;

use firmware_shared::checksum::crc32c;
use firmware_shared::id::{Epoch, Lane, SeqRange};
use firmware_shared::time::BootId;
use serde::{Deserialize, Serialize};

use super::book::{Book, BootAnchors, Ending, EpochEntry, PerLane};
use super::disk::Disk;
use super::format::{self, EpochNote, PREFIX_LEN, padded};
use super::ledger::Ledger;
use super::mutant::{Mutant, is_on};
use super::numbers::{self, Numbers};
use super::stream::{Stream, Tail};

const SLOTS: [&str; 3] = ["cursor-0", "cursor-1", "cursor-2"];
const MAGIC: [u8; 4] = *b"FGCU";
const HEAD_LEN: usize = PREFIX_LEN + 12;
/// The longest slot that is read, bytes: some 100,000 crashed epochs.
const LEN_MAX: usize = 16 * 1024 * 1024;
/// What a slot is padded to: a page.
const PAD: u32 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    spool_id: u64,
    incarnation: u32,
    central_id: Option<u64>,
    runs_left: Vec<u64>,
    epochs: Vec<EpochBody>,
    boots: Vec<BootAnchors>,
    device_bytes: u64,
}

/// What is stored of one epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EpochBody {
    epoch: Epoch,
    boot_id: BootId,
    tail_at_most: [u64; 3],
    ending: Ending,
    lanes: PerLane<StreamBody>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StreamBody {
    known_next_seq: u64,
    acked: Vec<SeqRange>,
    losses: Ledger,
    tail: Option<Tail>,
}

/// What the slots say.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The newest whole book.
    pub(crate) book: Option<Book>,
    /// Whether a slot that has bytes is not whole.
    pub(crate) is_damaged: bool,
    pub(crate) cursor: Cursor,
}

impl Loaded {
    /// Of a disk that cannot be read.
    pub(crate) fn empty(slot_len: u64) -> Self {
        Self {
            book: None,
            is_damaged: false,
            cursor: Cursor {
                folder: String::new(),
                version: format::VERSION,
                slots: [Slot {
                    generation: 0,
                    is_broken: true,
                }; 3],
                slot_len,
            },
        }
    }
}

/// Where the next book goes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    folder: String,
    version: u16,
    slots: [Slot; 3],
    slot_len: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// 0 when there is nothing whole in it.
    generation: u64,
    /// To be made anew: missing, or a write or sync failed.
    is_broken: bool,
}

/// The version of the spool in a folder, as its cursor says.
pub(crate) fn version(disk: &mut dyn Disk, folder: &str) -> Option<u16> {
    let mut versions = Vec::new();
    for slot in SLOTS {
        let mut bytes = [0; PREFIX_LEN];
        let read = disk.read_at(&format!("{folder}/{slot}"), 0, &mut bytes);
        let bytes = bytes.get(..read.unwrap_or(0)).unwrap_or_default();
        versions.extend(format::version_of(MAGIC, bytes));
    }
    versions.into_iter().max()
}

/// Reads the slots; nothing is changed.
pub(crate) fn load(disk: &mut dyn Disk, folder: &str, version: u16, slot_len: u64) -> Loaded {
    let mut cursor = Cursor {
        folder: folder.to_owned(),
        version,
        slots: [Slot::default(); 3],
        slot_len,
    };
    let mut newest: Option<(u64, Book)> = None;
    let mut is_damaged = false;
    for (slot, name) in cursor.slots.iter_mut().zip(SLOTS) {
        let bytes = match read(disk, &format!("{folder}/{name}")) {
            Ok(bytes) => bytes,
            Err(error) => {
                is_damaged |= error.kind() != io::ErrorKind::NotFound;
                slot.is_broken = true;
                continue;
            }
        };
        match decode(&bytes) {
            Some((generation, book)) => {
                slot.generation = generation;
                let newer = newest.as_ref().is_none_or(|(known, _)| generation > *known);
                if newer != is_on(Mutant::CursorOlderWins) || newest.is_none() {
                    newest = Some((generation, book));
                }
            }
            None => is_damaged |= bytes.iter().any(|byte| *byte != 0),
        }
    }
    Loaded {
        book: newest.map(|(_, book)| book),
        is_damaged,
        cursor,
    }
}

fn read(disk: &mut dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PAD as usize];
    let read = disk.read_at(name, 0, &mut bytes)?;
    bytes.truncate(read);
    let body_len = body_len(&bytes).unwrap_or(0);
    let len = HEAD_LEN.saturating_add(body_len).saturating_add(4);
    if len > bytes.len() && len <= LEN_MAX {
        bytes.resize(len, 0);
        let read = disk.read_at(name, 0, &mut bytes)?;
        bytes.truncate(read);
    }
    Ok(bytes)
}

fn body_len(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(HEAD_LEN - 4..HEAD_LEN)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

fn decode(bytes: &[u8]) -> Option<(u64, Book)> {
    format::version_of(MAGIC, bytes)?;
    let len = HEAD_LEN.checked_add(body_len(bytes)?)?;
    let covered = bytes.get(PREFIX_LEN..len)?;
    let stored = bytes.get(len..)?.first_chunk::<4>()?;
    if u32::from_le_bytes(*stored) != crc32c(covered) && !is_on(Mutant::CursorUnchecked) {
        return None;
    }
    let generation = u64::from_le_bytes(*covered.first_chunk::<8>()?);
    let body: Body = postcard::from_bytes(bytes.get(HEAD_LEN..len)?).ok()?;
    let epochs = body.epochs.into_iter().map(epoch_of_body).collect();
    let mut book = Book::stored(
        body.spool_id,
        body.incarnation,
        body.central_id,
        body.runs_left,
        epochs,
        body.boots,
    );
    book.device_bytes = body.device_bytes;
    Some((generation, book))
}

fn encode(book: &Book, generation: u64, version: u16) -> Option<Vec<u8>> {
    let body = Body {
        spool_id: book.spool_id,
        incarnation: book.incarnation,
        central_id: book.central_id,
        runs_left: book.runs_left.clone(),
        epochs: book.epochs.iter().map(body_of_epoch).collect(),
        boots: book.boots.clone(),
        device_bytes: book.device_bytes,
    };
    let body = postcard::to_allocvec(&body).ok()?;
    let mut out = format::prefix(MAGIC, version).to_vec();
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&body);
    let crc = crc32c(out.get(PREFIX_LEN..)?);
    out.extend_from_slice(&crc.to_le_bytes());
    Some(out)
}

impl Cursor {
    /// Makes durable what a process wrote that was killed before its sync; before the first write of a start, since
    /// two such processes in a row would leave the only durable slot to be written over. A slot whose sync fails is
    /// in doubt for ever and the next one to be written.
    pub(crate) fn settle(&mut self, disk: &mut dyn Disk) {
        if is_on(Mutant::CursorOfTheKilledInDoubt) || is_on(Mutant::BeginningNotSynced) {
            return;
        }
        for (slot, name) in self.slots.iter_mut().zip(SLOTS) {
            if slot.is_broken {
                continue;
            }
            if let Err(error) = disk.sync(&format!("{}/{name}", self.folder)) {
                tracing::warn!(%error, "a slot of the cursor cannot be synced");
                *slot = Slot {
                    generation: 0,
                    is_broken: true,
                };
            }
        }
    }

    /// Whether every slot has its room.
    pub(crate) fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| !slot.is_broken)
    }

    /// Writes the book into the oldest slot; how many bytes went to the disk.
    ///
    /// # Errors
    /// Whatever the disk says; the newer slots are then still whole.
    pub(crate) fn store(&mut self, disk: &mut dyn Disk, book: &Book) -> io::Result<u64> {
        let newest = self.slots.iter().map(|slot| slot.generation).max();
        let generation = newest.unwrap_or(0) + 1;
        let bytes = encode(book, generation, self.version);
        let mut bytes = bytes.ok_or_else(|| io::Error::other("the book cannot be encoded"))?;
        bytes.resize(
            usize::try_from(padded(bytes.len() as u64, PAD)).unwrap_or(0),
            0,
        );
        let mut slots = self.slots.iter_mut().zip(SLOTS);
        let oldest = if is_on(Mutant::CursorInOneSlot) {
            slots.next()
        } else {
            slots.min_by_key(|(slot, _)| slot.generation)
        };
        let Some((slot, name)) = oldest else {
            return Err(io::Error::other("there are slots"));
        };
        let file = format!("{}/{name}", self.folder);
        let is_made = slot.is_broken;
        *slot = Slot {
            generation: 0,
            is_broken: true,
        };
        if is_made {
            disk.create(&file, self.slot_len)?;
        }
        disk.write_at(&file, 0, &bytes)?;
        if !is_on(Mutant::CursorWithoutSync) {
            disk.sync(&file)?;
        }
        if is_made {
            disk.sync_folder(&self.folder)?;
        }
        *slot = Slot {
            generation,
            is_broken: false,
        };
        let made_len = if is_made { self.slot_len } else { 0 };
        Ok(bytes.len() as u64 + made_len)
    }
}

fn body_of_epoch(entry: &EpochEntry) -> EpochBody {
    EpochBody {
        epoch: entry.epoch,
        boot_id: entry.note.boot_id,
        tail_at_most: entry.note.tail_at_most,
        ending: entry.ending,
        lanes: PerLane::from_fn(|lane| {
            let stream = entry.lanes.get(lane);
            StreamBody {
                known_next_seq: stream.known_next_seq,
                acked: stream.acked.ranges().to_vec(),
                losses: if is_on(Mutant::LedgerNotStored) {
                    Ledger::default()
                } else {
                    stream.losses.clone()
                },
                tail: stream.tail,
            }
        }),
    }
}

/// What a stored epoch means.
pub(crate) fn epoch_of_body(mut body: EpochBody) -> EpochEntry {
    let note = EpochNote {
        boot_id: body.boot_id,
        tail_at_most: body.tail_at_most,
    };
    let mut entry = EpochEntry::new(body.epoch, note);
    entry.ending = body.ending;
    for lane in Lane::ALL {
        *entry.lanes.get_mut(lane) = stream_of_body(body.lanes.get_mut(lane));
    }
    entry
}

fn stream_of_body(body: &mut StreamBody) -> Stream {
    let mut acked = Numbers::default();
    for range in &body.acked {
        if let Some(range) = SeqRange::new(range.first_seq, range.last_seq) {
            numbers::add(&mut acked, range);
        }
    }
    Stream {
        issued_next_seq: body.known_next_seq,
        known_next_seq: body.known_next_seq,
        acked,
        losses: std::mem::take(&mut body.losses),
        tail: body.tail,
        clashed: Numbers::default(),
    }
}
