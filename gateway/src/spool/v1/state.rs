//! The state file: what the frames themselves do not say.
//!
//! ```text
//! offset  bytes  what (little-endian)
//! 0       4      magic "FGST"
//! 4       4      version, 1
//! 8       n      postcard of the book
//! 8 + n   4      CRC-32C of everything before
//! ```
//! Promises: a lost or damaged one costs re-sends, never records. Never: is believed without its checksum.

use std::io;

use firmware_shared::checksum::crc32c;
use serde::Deserialize;

use crate::spool::book::{Book, BootAnchors};
use crate::spool::cursor::{EpochBody, epoch_of_body};
use crate::spool::disk::Disk;

/// The file.
pub(crate) const FILE: &str = "state";
/// The file while it was being written.
pub(crate) const FILE_WRITTEN: &str = "state.tmp";
const MAGIC: [u8; 4] = *b"FGST";
const VERSION: u32 = 1;
/// The longest state that is read, bytes: some 100,000 crashed epochs.
const LEN_MAX: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Body {
    spool_id: u64,
    incarnation: u32,
    central_id: Option<u64>,
    runs_left: Vec<u64>,
    epochs: Vec<EpochBody>,
    boots: Vec<BootAnchors>,
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
