//! The state file: what the frames themselves do not say.
//!
//! ```text
//! offset  bytes  what (little-endian)
//! 0       4      magic "FGST"
//! 4       4      version, 1
//! 8       n      postcard of the book
//! 8 + n   4      CRC-32C of everything before
//! ```
//! Promises: written to `state.tmp`, synced, renamed to `state`, folder synced: whatever is cut, one whole
//! state is there. A lost or damaged one costs re-sends, never records: the spool makes it again from the
//! frames. Never: is believed without its checksum.

use std::io;

use firmware_shared::checksum::crc32c;
use firmware_shared::id::{Epoch, Lane, SeqRange};
use firmware_shared::time::BootId;
use serde::{Deserialize, Serialize};

use super::book::{Book, BootAnchors, Ending, EpochEntry, PerLane};
use super::disk::Disk;
use super::ledger::Ledger;
use super::numbers::{self, Numbers};
use super::record::EpochNote;
use super::stream::{Stream, Tail};

const FILE: &str = "state";
const FILE_WRITTEN: &str = "state.tmp";
/// Where a state that cannot be read is put aside, one at a time, for people to look at.
const FILE_BAD: &str = "state.bad";
const MAGIC: [u8; 4] = *b"FGST";
const VERSION: u32 = 1;
/// The longest state that is read, bytes: some 100,000 crashed epochs.
const LEN_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Body {
    spool_id: u64,
    incarnation: u32,
    central_id: Option<u64>,
    runs_left: Vec<u64>,
    epochs: Vec<EpochBody>,
    boots: Vec<BootAnchors>,
}

#[derive(Serialize, Deserialize)]
struct EpochBody {
    epoch: Epoch,
    boot_id: BootId,
    tail_at_most: [u64; 3],
    ending: Ending,
    lanes: PerLane<StreamBody>,
}

#[derive(Serialize, Deserialize)]
struct StreamBody {
    known_next_seq: u64,
    acked: Vec<SeqRange>,
    losses: Ledger,
    tail: Option<Tail>,
}

/// Writes the book so that it survives whatever comes next.
///
/// # Errors
/// Whatever the disk says; the state before it is then still whole.
pub(crate) fn store(disk: &mut dyn Disk, book: &Book) -> io::Result<u64> {
    let bytes = encode(book).ok_or_else(|| io::Error::other("the state cannot be encoded"))?;
    match disk.remove(FILE_WRITTEN) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    disk.write_at(FILE_WRITTEN, 0, &bytes)?;
    disk.sync(FILE_WRITTEN)?;
    disk.rename(FILE_WRITTEN, FILE)?;
    disk.sync_folder("")?;
    Ok(bytes.len() as u64)
}

/// What the directory says about the state.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A whole one.
    Whole(Book),
    /// None was ever written, or it was lost.
    Missing,
    /// There is one that cannot be read; it was put aside.
    Damaged,
}

/// Reads the state.
///
/// # Errors
/// When not even the folder can be listed.
pub(crate) fn load(disk: &mut dyn Disk) -> io::Result<Loaded> {
    let names = disk.list("")?;
    let mut damaged = false;
    for name in [FILE, FILE_WRITTEN] {
        if !names.iter().any(|n| n == name) {
            continue;
        }
        match read(disk, name).as_deref().map(decode) {
            Ok(Some(book)) => return Ok(Loaded::Whole(book)),
            // A torn `state.tmp` is what a power cut leaves; `state` itself is never torn.
            _ => damaged |= name == FILE,
        }
    }
    if damaged && let Err(e) = disk.rename(FILE, FILE_BAD) {
        tracing::warn!(error = %e, "a damaged state file could not be put aside");
    }
    Ok(if damaged {
        Loaded::Damaged
    } else {
        Loaded::Missing
    })
}

/// Reads the state and leaves everything as it is; `None` when there is no whole one.
///
/// # Errors
/// When not even the folder can be listed.
pub(crate) fn peek(disk: &mut dyn Disk) -> io::Result<Option<Book>> {
    let names = disk.list("")?;
    let there = [FILE, FILE_WRITTEN]
        .into_iter()
        .filter(|file| names.iter().any(|n| n == file));
    let whole = there
        .filter_map(|file| decode(&read(disk, file).ok()?))
        .next();
    Ok(whole)
}

fn read(disk: &mut dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let len = disk.len(name)?.min(LEN_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = disk.read_at(name, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn encode(book: &Book) -> Option<Vec<u8>> {
    let body = Body {
        spool_id: book.spool_id,
        incarnation: book.incarnation,
        central_id: book.central_id,
        runs_left: book.runs_left.clone(),
        epochs: book.epochs.iter().map(body_of_epoch).collect(),
        boots: book.boots.clone(),
    };
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(&body, head).ok()?;
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Some(bytes)
}

fn decode(bytes: &[u8]) -> Option<Book> {
    let (content, stored) = bytes.split_last_chunk::<4>()?;
    let (magic, rest) = content.split_first_chunk::<4>()?;
    let (version, body) = rest.split_first_chunk::<4>()?;
    let known = *magic == MAGIC && u32::from_le_bytes(*version) == VERSION;
    if !known || u32::from_le_bytes(*stored) != crc32c(content) {
        return None;
    }
    let body: Body = postcard::from_bytes(body).ok()?;
    Some(Book::stored(
        body.spool_id,
        body.incarnation,
        body.central_id,
        body.runs_left,
        body.epochs.into_iter().map(epoch_of_body).collect(),
        body.boots,
    ))
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
                losses: stream.losses.clone(),
                tail: stream.tail,
            }
        }),
    }
}

fn epoch_of_body(mut body: EpochBody) -> EpochEntry {
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
