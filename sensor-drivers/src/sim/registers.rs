//! What simulated parts with a pointer register and a converter have in common.
//!
//! Promises: a write moves the pointer and may set the register that it points to; a register that
//! is read on repeats; power that was lost in between puts the part back to its defaults before
//! anything else happens. Never: what a register means; that is the part's.

use super::bus::{SimBusError, SimChip};
use super::conversion::Converter;
use super::truth::TruthFile;

/// A part of this kind.
pub(super) trait RegisterPart: Send + std::fmt::Debug {
    /// Bits of the pointer that the part looks at.
    const POINTER_MASK: u8;

    fn pointer(&mut self) -> &mut u8;

    fn converter(&mut self) -> &mut Converter;

    /// Power came back: registers are at their defaults. The pointer is 0 already.
    fn power_on(&mut self);

    /// Lets what is under way come to its end.
    fn settle(&mut self, _now_ms: u64) {}

    /// Sets a register; `value` is never empty.
    fn set(&mut self, register: u8, value: &[u8], now_ms: u64);

    /// Reads a register, of which `len` bytes are wanted.
    fn get(
        &mut self,
        register: u8,
        len: usize,
        now_ms: u64,
        truth: &mut TruthFile,
    ) -> Result<[u8; 2], SimBusError>;
}

fn run_to<P: RegisterPart>(part: &mut P, now_ms: u64) {
    if part.converter().power_lost_by(now_ms) {
        *part.pointer() = 0;
        part.power_on();
    }
    part.settle(now_ms);
}

impl<P: RegisterPart> SimChip for P {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        run_to(self, now_ms);
        if let [pointer, value @ ..] = bytes {
            let register = pointer & P::POINTER_MASK;
            *self.pointer() = register;
            if !value.is_empty() {
                self.set(register, value, now_ms);
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        run_to(self, now_ms);
        let register = *self.pointer();
        let held = self.get(register, into.len(), now_ms, truth)?;
        for (byte, value) in into.iter_mut().zip(held.iter().cycle()) {
            *byte = *value;
        }
        Ok(())
    }
}

/// The word of a value of at least two bytes.
pub(super) fn word(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
