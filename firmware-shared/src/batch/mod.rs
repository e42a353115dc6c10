//! Sealed batches: the same bytes on disk, on the wire and at the centre.
//!
//! Promises: readings of every kind round trip exactly; the same content gives the same bytes; a batch is
//! bounded by [`BATCH_LEN_MAX`]; whatever a reader does not know it says, or skips by length. Never:
//! allocates, panics on any bytes, uses a float, looks at a clock.
//!
//! ```text
//! byte  0        version, 0xF1
//!       1        codec
//!       2        bits 0-1 lane | bit 2 anchor follows | bit 3 extension follows
//!                bits 4-6 source of the anchor (0 without one) | bit 7 zero
//!       3..11    epoch, little-endian
//!       varint   first_seq
//!       varint   count
//!       varint   base_ms
//!     [ varint   zigzag(base_ms - anchor.boottime_ms)          with bit 2
//!       varint   zigzag(anchor.utc_ms - anchor.boottime_ms)
//!       varint   anchor.error_ms ]
//!     [ varint   length, at least 1; that many bytes ]         with bit 3
//!       ...      payload
//!       4 bytes  CRC-32C of everything before it, little-endian
//! ```
//! A varint has its shortest form or is refused.
//!
//! The payload of [`CodecId::COLUMNS_V1`] is one number in the sense of a range coder
//! (`range_coder.rs`). In it stand, in this order: how streams follow each other, how stamps are written
//! (`stamp.rs`), then the rows (`model.rs`). A row names its stream (`stream.rs`) if that does not follow from the rows
//! before; the first row of a stream says whose it is, the first row of a kind says how each column of that
//! kind is written (`column.rs`: step, fit, scale, or "constant"). Each number is written as its distance
//! from what its fit expects (`field.rs`, `motion.rs`), with a distribution (`shape.rs`) whose width
//! follows the distances seen.

mod column;
mod field;
mod grid;
mod header;
mod model;
mod motion;
mod position;
mod range_coder;
mod readings;
mod receivers;
mod schedule;
mod seal;
mod sealed;
mod shape;
mod stamp;
mod stream;
mod survey;
mod varint;

#[cfg(test)]
mod tests;

pub use column::Column;
pub use header::{CodecId, EXTENSION_LEN_MAX, HEADER_LEN_MAX, Header, VERSION};
pub use readings::{DecodeError, Readings};
pub use seal::{SealError, SealParams, residuals, seal, seal_extended};
pub use sealed::{Batch, OpenError, claimed_header, seal_opaque};

/// The most readings in a batch.
pub const COUNT_MAX: usize = 256;
/// The most that one reading can take, with everything its first row says. A position of extremes takes
/// less than 700 bits of residuals and 330 bits of plans.
pub const READING_LEN_MAX: usize = 92;
/// The longest sealed batch of [`COUNT_MAX`] readings.
pub const BATCH_LEN_MAX: usize = HEADER_LEN_MAX + PLAN_LEN_MAX + COUNT_MAX * READING_LEN_MAX + 4;
/// The most that the plans of all kinds take.
const PLAN_LEN_MAX: usize = 160;

const _: () = assert!(BATCH_LEN_MAX <= 32 * 1024, "a batch fits every broker");
