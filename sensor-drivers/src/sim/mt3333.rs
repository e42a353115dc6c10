//! A receiver of the MT3333 kind, or one that mixes CASIC binary in, as it streams at 0x10.
//!
//! Promises, as the receiver does it: a read of 255 bytes gives up to 254 of the stream and is
//! filled up with 0x0A, which is also all that an empty receiver or one that is asked again within
//! 2 ms gives; every read is acknowledged; a command is taken and changes nothing; a reset empties
//! the buffer. Whether a byte is a sentence's or another protocol's does not matter to packets.
//! The truth file gets an epoch when its last byte is read.
//!
//! These receivers do not watch their host; only the buffer bounds what is kept. Its size
//! (4096 bytes) is an assumption; makers do not state it.

use super::Window;
use super::broadcast::{Broadcast, Filler, Source, Words};
use super::bus::{SimBusError, SimChip};
use super::random;
use super::route::RouteEpoch;
use super::truth::{ReceiverPast, TruthFile};

const PACKET_LEN: usize = 255;
const PADDING: u8 = 0x0a;
const PAUSE_MS: u64 = 2;

/// The receiver.
#[derive(Debug)]
pub struct SimMt3333 {
    address: u8,
    name: &'static str,
    broadcast: Broadcast,
    /// CASIC frames stand between the sentences.
    casic: bool,
    resets_ms: Vec<u64>,
    seen_ms: u64,
    read_at_ms: Option<u64>,
}

impl SimMt3333 {
    /// A receiver that is powered on at `now_ms` in a world that began at `t0_ms`, with what it
    /// had done in an earlier process. With `casic` it is an L76K rather than an MT3333.
    #[must_use]
    pub fn new(
        address: u8,
        source: Source,
        casic: bool,
        [t0_ms, now_ms]: [u64; 2],
        past: Option<ReceiverPast>,
        mut resets_ms: Vec<u64>,
    ) -> Self {
        resets_ms.sort_unstable();
        Self {
            address,
            name: if casic { "l76k" } else { "mt3333" },
            broadcast: Broadcast::new(source, None, t0_ms, now_ms, past),
            casic,
            resets_ms,
            seen_ms: now_ms,
            read_at_ms: None,
        }
    }

    /// In the given spans of virtual time, bursts of padding stand before the epochs.
    #[must_use]
    pub fn with_filler(mut self, filler: Vec<Window>, seed: u8) -> Self {
        self.broadcast.filler = Filler {
            byte: PADDING,
            windows: filler,
            seed: u64::from(seed),
        };
        self
    }

    fn run_to(&mut self, now_ms: u64) {
        let passed = self.seen_ms + 1..=now_ms;
        let resets = self.resets_ms.iter().filter(|at_ms| passed.contains(at_ms));
        let last_reset_ms = resets.copied().next_back();
        let casic = self.casic;
        let words = move |n: u64, _due_ms: u64, epoch: &RouteEpoch| words(n, epoch, casic);
        if let Some(at_ms) = last_reset_ms {
            self.broadcast.produce_to(at_ms, &words);
            if self.broadcast.drops() {
                self.broadcast.fifo.clear();
            }
        }
        self.broadcast.produce_to(now_ms, &words);
        self.seen_ms = self.seen_ms.max(now_ms);
    }
}

fn words(n: u64, epoch: &RouteEpoch, casic: bool) -> Words {
    let label = epoch
        .time_known
        .then(|| crate::gnss::utc::Iso(epoch.utc_ms).to_string());
    let mut bytes = Vec::new();
    if casic {
        bytes.extend(casic_frame(n));
    }
    bytes.extend(epoch.sentences());
    if casic {
        bytes.extend(casic_frame(n ^ 0x8000));
    }
    (bytes, label)
}

/// A frame of noise: BA CE, length, class, identifier, payload in words of four bytes, their sum.
fn casic_frame(n: u64) -> Vec<u8> {
    let words = 2 + random::hash(n, 21, 0) % 18;
    let len = u16::try_from(words * 4).unwrap_or(0);
    let (class, id) = (0x01u8, 0x03u8);
    let mut sum = (u32::from(id) << 24)
        .wrapping_add(u32::from(class) << 16)
        .wrapping_add(u32::from(len));
    let mut frame = vec![0xba, 0xce];
    frame.extend(len.to_le_bytes());
    frame.extend([class, id]);
    for word in 0..words {
        // Among the noise stand what sentences and other frames begin with.
        let noise = match random::hash(n, 22, word) {
            0..0x1000_0000_0000_0000 => u32::from_le_bytes(*b"$GNR"),
            0x1000_0000_0000_0000..0x2000_0000_0000_0000 => 0x0701_62b5,
            other => (other >> 16) as u32,
        };
        sum = sum.wrapping_add(noise);
        frame.extend(noise.to_le_bytes());
    }
    frame.extend(sum.to_le_bytes());
    frame
}

impl SimChip for SimMt3333 {
    fn write(&mut self, now_ms: u64, _bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        self.broadcast.heard_at(now_ms);
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        self.broadcast.read_at(now_ms, self.address, truth)?;
        self.run_to(now_ms);
        self.broadcast.heard_at(now_ms);
        let too_soon = |at_ms: u64| now_ms < at_ms + PAUSE_MS;
        let data_len = if self.read_at_ms.is_some_and(too_soon) {
            0
        } else {
            into.len().min(PACKET_LEN - 1)
        };
        self.read_at_ms = Some(now_ms);
        for (place, byte) in into.iter_mut().enumerate() {
            let next = (place < data_len).then(|| self.broadcast.fifo.pop());
            *byte = match next.flatten() {
                Some((byte, epoch)) => {
                    if let Some(epoch) = epoch {
                        truth.epoch(now_ms, self.name, self.address, &epoch)?;
                    }
                    byte
                }
                None => PADDING,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
