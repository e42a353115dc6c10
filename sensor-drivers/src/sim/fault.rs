//! What goes wrong between a simulated chip and the host, by the clock.
//!
//! Promises: a function of virtual time and the order of messages, repeatable with its seed; the
//! truth file keeps what the chip said, whatever became of it on the way. Refused messages never
//! reach the chip. Never: a fault outside its window.

use super::{Window, random};

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The chip does not acknowledge (errno 121).
    NoAck,
    /// The chip holds the clock: every message on the bus times out (errno 110), whoever it is
    /// for.
    Hung,
    /// Reads end too early, which Linux reports without saying how early (errno 5).
    ShortRead,
    /// One bit of one in so many reads is wrong.
    BitError {
        /// 1 damages each read.
        one_in: u32,
    },
    /// One in so many reads gives 0x01 bytes: the chip stretches the clock and the host samples
    /// regardless, as a Raspberry Pi does.
    StretchGarbage {
        /// 1 damages each read.
        one_in: u32,
    },
    /// Another part sits at the address: it acknowledges, and each read gives 0x55 bytes.
    WrongPart,
}

/// The faults of one chip.
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    entries: Vec<(Window, Fault)>,
    seed: u64,
    reads: u64,
}

impl FaultScript {
    /// The given faults. `seed` chooses which reads and bits are hit.
    #[must_use]
    pub fn new(entries: Vec<(Window, Fault)>, seed: u64) -> Self {
        Self {
            entries,
            seed,
            reads: 0,
        }
    }

    /// Whether `fault` is on.
    #[must_use]
    pub fn has(&self, fault: Fault, now_ms: u64) -> bool {
        self.on(now_ms).any(|on| on == fault)
    }

    fn on(&self, now_ms: u64) -> impl Iterator<Item = Fault> + '_ {
        self.entries
            .iter()
            .filter(move |(window, _)| window.contains(now_ms))
            .map(|(_, fault)| *fault)
    }

    /// Does to the bytes of a read what the faults of the moment do.
    pub(super) fn damage(&mut self, now_ms: u64, bytes: &mut [u8]) {
        self.reads += 1;
        let (seed, reads) = (self.seed, self.reads);
        let hits = |one_in: u32, stream: u64| {
            random::hash(seed, stream, reads).is_multiple_of(u64::from(one_in.max(1)))
        };
        let on: Vec<Fault> = self.on(now_ms).collect();
        for fault in on {
            match fault {
                Fault::BitError { one_in } if hits(one_in, 1) => {
                    let bit = random::hash(seed, 2, reads) % (bytes.len() as u64 * 8);
                    let byte = usize::try_from(bit / 8).unwrap_or(0);
                    if let Some(byte) = bytes.get_mut(byte) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                Fault::StretchGarbage { one_in } if hits(one_in, 3) => bytes.fill(0x01),
                Fault::WrongPart => bytes.fill(0x55),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(fault: Fault) -> FaultScript {
        let window = Window {
            from_ms: 10,
            to_ms: 20,
        };
        FaultScript::new(vec![(window, fault)], 4)
    }

    /// How many of 1000 reads are hit, and how many bits differ in all.
    fn damaged(fault: Fault, now_ms: u64) -> (u32, u32) {
        let mut script = script(fault);
        let (mut reads, mut bits) = (0, 0);
        for _ in 0..1000 {
            let mut bytes = [0xa0, 0x0a];
            script.damage(now_ms, &mut bytes);
            let wrong = (bytes[0] ^ 0xa0u8).count_ones() + (bytes[1] ^ 0x0au8).count_ones();
            reads += u32::from(wrong > 0);
            bits += wrong;
        }
        (reads, bits)
    }

    #[test]
    fn a_bit_error_flips_one_bit_of_about_one_in_so_many_reads() {
        let (reads, bits) = damaged(Fault::BitError { one_in: 10 }, 15);
        assert!((70..130).contains(&reads), "{reads}");
        assert_eq!(reads, bits);
        assert_eq!(damaged(Fault::BitError { one_in: 1 }, 15), (1000, 1000));
    }

    #[test]
    fn garbage_is_0x01_bytes_and_another_part_says_0x55() {
        for (fault, byte) in [
            (Fault::StretchGarbage { one_in: 1 }, 0x01),
            (Fault::WrongPart, 0x55),
        ] {
            let mut bytes = [9; 6];
            script(fault).damage(15, &mut bytes);
            assert_eq!(bytes, [byte; 6]);
        }
        let (reads, _) = damaged(Fault::StretchGarbage { one_in: 4 }, 15);
        assert!((200..300).contains(&reads), "{reads}");
    }

    #[test]
    fn outside_its_window_nothing_is_damaged() {
        for now_ms in [9, 20] {
            assert_eq!(damaged(Fault::WrongPart, now_ms), (0, 0));
            assert!(!script(Fault::Hung).has(Fault::Hung, now_ms));
        }
        assert!(script(Fault::Hung).has(Fault::Hung, 10));
    }

    #[test]
    fn the_same_seed_hits_the_same_reads() {
        let fault = Fault::BitError { one_in: 5 };
        let (mut one, mut two) = (script(fault), script(fault));
        for _ in 0..100 {
            let (mut a, mut b) = ([0; 4], [0; 4]);
            one.damage(12, &mut a);
            two.damage(12, &mut b);
            assert_eq!(a, b);
        }
    }
}
