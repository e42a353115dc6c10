//! Temperature words that are two's complement and left-aligned, as TMP102, TMP112, TMP105, LM75
//! and MCP9808 have them: bit 15 counts -128 degC, each bit below half of the one above.
//!
//! Promises: exact, integers only; bits below the part's resolution are cut, never rounded.
//! Never: a range check (each part has its own).

/// A left-aligned word with `bits` significant ones, in 1/128 degC.
///
/// The word counts 1/256 degC; a part with 16 significant bits does not exist here, so the last
/// bit is always zero and nothing is lost.
#[must_use]
pub(crate) fn left_aligned_deg_c_128(word: u16, bits: u32) -> i32 {
    let mask = u16::MAX << (16 - bits.clamp(1, 15));
    i32::from((word & mask).cast_signed()) / 2
}

/// 1/16 degC in 1/128 degC.
#[must_use]
pub(crate) fn sixteenths_deg_c_128(raw: i16) -> i32 {
    i32::from(raw) * 8
}
