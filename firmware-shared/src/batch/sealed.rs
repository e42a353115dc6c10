//! The sealed frame around a payload: header before it, CRC-32C behind it.
//!
//! Promises: `open` accepts exactly what a writer of this version sealed, with any codec; every single-bit
//! flip is detected; a damaged frame still tells whose numbers it claims to hold. Never: panics on any
//! bytes, reads a payload of a codec that it does not know.

use core::fmt;

use crate::checksum::crc32c;

use super::header::{CodecId, EXTENSION_LEN_MAX, Header, VERSION};
use super::readings::{DecodeError, Readings};
use super::seal::SealError;

const CRC_LEN: usize = 4;
/// Version, codec, flags, epoch, three one-byte numbers and the CRC.
const LEN_MIN: usize = 3 + 8 + 3 + CRC_LEN;

/// Why bytes are not a sealed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Too few bytes for any batch.
    Short {
        /// How many there are.
        len: usize,
    },
    /// Another version of the frame: keep the bytes for a reader that knows it.
    Version {
        /// The version byte.
        found: u8,
    },
    /// The CRC holds, but a field is not what this version allows: the writer is wrong or newer.
    Header {
        /// Which field.
        field: &'static str,
    },
    /// The bytes are damaged: ask for them again.
    Crc {
        /// What the frame says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { len } => {
                write!(f, "a batch of {len} bytes; at least {LEN_MIN} are needed")
            }
            Self::Version { found } => {
                write!(
                    f,
                    "a batch of version {found:#04x}; this reader knows {VERSION:#04x}"
                )
            }
            Self::Header { field } => write!(f, "a batch header whose {field} is not allowed"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "a damaged batch: CRC-32C {computed:#010x}, stored {stored:#010x}"
                )
            }
        }
    }
}

impl core::error::Error for OpenError {}

/// Seals a payload as it is, under any codec id.
///
/// # Errors
/// The header's numbers cannot be counted, or `out` is too small.
pub fn seal_opaque(header: &Header, payload: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
    let start = begin(header, &[], out)?;
    let end = start + payload.len();
    let room = out.len();
    out.get_mut(start..end)
        .ok_or(SealError::Room { len: room })?
        .copy_from_slice(payload);
    finish(out, end)
}

/// Writes the header; returns where the payload starts.
pub(super) fn begin(header: &Header, extension: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
    if !header.counts() {
        return Err(SealError::Numbers {
            first_seq: header.first_seq,
            count: header.count,
        });
    }
    if extension.len() > EXTENSION_LEN_MAX {
        return Err(SealError::Extension {
            len: extension.len(),
        });
    }
    let room = out.len();
    header
        .write(extension, out)
        .ok_or(SealError::Room { len: room })
}

/// Puts the CRC behind `end` bytes; returns the sealed length.
pub(super) fn finish(out: &mut [u8], end: usize) -> Result<usize, SealError> {
    let room = SealError::Room { len: out.len() };
    let (body, tail) = out.split_at_mut_checked(end).ok_or(room)?;
    *tail.first_chunk_mut::<CRC_LEN>().ok_or(room)? = crc32c(body).to_le_bytes();
    Ok(end + CRC_LEN)
}

/// A sealed batch whose CRC holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    header: Header,
    extension: &'a [u8],
    payload: &'a [u8],
    crc: u32,
}

impl<'a> Batch<'a> {
    /// Checks version, CRC and header, in this order: a damaged frame is called damaged, not odd.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let short = OpenError::Short { len: bytes.len() };
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(OpenError::Version { found }),
            None => return Err(short),
        }
        if bytes.len() < LEN_MIN {
            return Err(short);
        }
        let (body, stored) = bytes.split_last_chunk::<CRC_LEN>().ok_or(short)?;
        let (stored, computed) = (u32::from_le_bytes(*stored), crc32c(body));
        if stored != computed {
            return Err(OpenError::Crc { stored, computed });
        }
        let (header, extension, payload) =
            Header::read(body).map_err(|field| OpenError::Header { field })?;
        Ok(Self {
            header,
            extension,
            payload,
            crc: stored,
        })
    }

    /// Whose numbers, and when.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes between header and CRC.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The CRC-32C of the frame, which names its content for clash detection.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Header bytes for later versions (a hash chain); empty where there are none.
    #[must_use]
    pub fn extension(&self) -> &'a [u8] {
        self.extension
    }

    /// The readings, in seq order from `header().first_seq`.
    ///
    /// # Errors
    /// The codec is not one that carries readings or that this reader knows, or the batch claims more
    /// readings than a batch may hold.
    pub fn readings(&self) -> Result<Readings<'a>, DecodeError> {
        match self.header.codec {
            CodecId::COLUMNS_V1 => Readings::new(&self.header, self.payload),
            other => Err(DecodeError::UnknownCodec(other)),
        }
    }
}

/// The header that a damaged frame claims to have; believe it only to ask for those numbers again.
#[must_use]
pub fn claimed_header(bytes: &[u8]) -> Option<Header> {
    if bytes.first() != Some(&VERSION) {
        return None;
    }
    Header::read(bytes).ok().map(|(header, _, _)| header)
}
