//! The two checksums of the contract.
//!
//! Promises: CRC-32C (Castagnoli) guards batches and messages, CRC-32 (ISO-HDLC) guards serial frames and
//! names buckets; both detect every single-bit flip. Never: a cryptographic promise.

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, Table};

static CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static ISO_HDLC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// CRC-32C of the bytes.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes)
}

/// CRC-32 (ISO-HDLC, the one of zip and Ethernet) of the bytes.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    ISO_HDLC.checksum(bytes)
}
