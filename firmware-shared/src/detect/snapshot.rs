//! The snapshot: a detector as bytes, so that a restart is not another warm-up.
//!
//! Byte map: version (1), profile (4 x u16: members, cells, cells, bins; little-endian; none for positions),
//! the model in postcard, CRC-32C over all before (4, little-endian). Promises: what comes back goes on bit
//! for bit. Never: takes damaged bytes or those of another version or profile for a model.

use serde::{Deserialize, Serialize};

use super::Detector;
use super::gnss::{GNSS_SNAPSHOT_VERSION, GnssDetector};
use crate::checksum::crc32c;

/// The version of the snapshot; another version is refused, and the model starts anew.
pub const SNAPSHOT_VERSION: u8 = 4;

const HEADER_LEN: usize = 9;
const CRC_LEN: usize = 4;

/// Why bytes are no snapshot, or a snapshot found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotError {
    /// The buffer is too small; give a larger one.
    NoRoom {
        /// What was given, bytes.
        given_len: usize,
    },
    /// Written by another version; start anew.
    OtherVersion {
        /// The version found.
        found: u8,
        /// The only one that is known.
        known: u8,
    },
    /// Of another profile; start anew.
    OtherProfile,
    /// Damaged; start anew.
    Damaged,
}

impl core::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRoom { given_len } => {
                write!(f, "the snapshot does not fit in {given_len} bytes")
            }
            Self::OtherVersion { found, known } => {
                write!(f, "the snapshot has version {found}, only {known} is known")
            }
            Self::OtherProfile => f.write_str("the snapshot is of another detector profile"),
            Self::Damaged => f.write_str("the snapshot is damaged"),
        }
    }
}

impl core::error::Error for SnapshotError {}

impl<const M: usize, const P: usize, const T: usize, const B: usize> Detector<M, P, T, B>
where
    Self: Serialize + for<'de> Deserialize<'de>,
{
    /// Writes the model and says how long it is.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`] when `out` is too small.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, SnapshotError> {
        seal(&Self::header(), self, out)
    }

    /// The model that was saved.
    ///
    /// # Errors
    /// When the bytes are damaged, or of another version or profile.
    pub fn load(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let covered = covered(bytes, SNAPSHOT_VERSION)?;
        let (header, body) = covered
            .split_at_checked(HEADER_LEN)
            .ok_or(SnapshotError::Damaged)?;
        if header != Self::header() {
            return Err(SnapshotError::OtherProfile);
        }
        postcard::from_bytes(body).map_err(|_| SnapshotError::Damaged)
    }

    fn header() -> [u8; HEADER_LEN] {
        let [[a, b], [c, d], [e, f], [g, h]] = [M, P, T, B].map(|size| (size as u16).to_le_bytes());
        [SNAPSHOT_VERSION, a, b, c, d, e, f, g, h]
    }
}

impl GnssDetector {
    /// Writes the state of the receiver's rules and says how long it is.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`] when `out` is too small.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, SnapshotError> {
        seal(&[GNSS_SNAPSHOT_VERSION], self, out)
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version: start anew.
    pub fn load(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (_version, body) = covered(bytes, GNSS_SNAPSHOT_VERSION)?
            .split_first()
            .ok_or(SnapshotError::Damaged)?;
        postcard::from_bytes(body).map_err(|_| SnapshotError::Damaged)
    }
}

/// Header, model and checksum.
fn seal<T: Serialize>(header: &[u8], model: &T, out: &mut [u8]) -> Result<usize, SnapshotError> {
    let no_room = SnapshotError::NoRoom {
        given_len: out.len(),
    };
    let (head, body) = out.split_at_mut_checked(header.len()).ok_or(no_room)?;
    head.copy_from_slice(header);
    let body_len = postcard::to_slice(model, body).map_err(|_| no_room)?.len();
    let end = header.len() + body_len;
    let crc = crc32c(out.get(..end).ok_or(no_room)?);
    let slot = out.get_mut(end..end + CRC_LEN).ok_or(no_room)?;
    slot.copy_from_slice(&crc.to_le_bytes());
    Ok(end + CRC_LEN)
}

/// What the checksum covers, when it is right and of this version.
fn covered(bytes: &[u8], known: u8) -> Result<&[u8], SnapshotError> {
    let (covered, crc) = bytes
        .len()
        .checked_sub(CRC_LEN)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(SnapshotError::Damaged)?;
    if crc != crc32c(covered).to_le_bytes() {
        return Err(SnapshotError::Damaged);
    }
    let found = *covered.first().ok_or(SnapshotError::Damaged)?;
    if found != known {
        return Err(SnapshotError::OtherVersion { found, known });
    }
    Ok(covered)
}
