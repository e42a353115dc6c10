//! A u-blox receiver at the level of its DDC registers.
//!
//! Promises, as the receiver does it: registers 0xFD/0xFE count the bytes available, 0xFF is the
//! stream and reads as 0xFF when it is empty; the register pointer counts up and stays at 0xFF; a
//! write of one byte moves the pointer, a longer one is a message; the output buffer holds 4096
//! bytes and drops its oldest message, or what is left of it; after 1.5 s without a host nothing
//! more is buffered. Configuration messages are answered as the generation does. The truth file
//! gets an epoch when its last byte is read.
//!
//! Never: in a replay, a byte that is not in the log, apart from answers to configuration
//! messages; and, unless the settings ask for it, a byte of the log lost while the process runs:
//! when the buffer is full, or the host is late, a replay waits. Only what fell into the time
//! between two processes is subject to the two rules.

use super::Window;
use super::broadcast::{Broadcast, Filler, Words};
use super::bus::{SimBusError, SimChip};
use super::fifo::Item;
use super::route::RouteEpoch;
use super::truth::{ReceiverPast, TruthFile};
use crate::gnss::stream::{Frame, StreamSplitter};
use crate::ubx::{self, Message};

mod radio;
mod settings;
pub use super::broadcast::Source;
pub use radio::Radio;
pub use settings::Generation;
use settings::Settings;

const REG_COUNT_HIGH: u8 = 0xfd;
const REG_COUNT_LOW: u8 = 0xfe;
const REG_STREAM: u8 = 0xff;
/// Without a host for so long the stream stops.
const HOST_SILENT_MS: u64 = 1500;
/// The receiver.
#[derive(Debug)]
pub struct SimUblox {
    address: u8,
    broadcast: Broadcast,
    settings: Settings,
    resets_ms: Vec<u64>,
    seen_ms: u64,
    pointer: u8,
    input: StreamSplitter,
    radio: Radio,
}

impl SimUblox {
    /// A receiver that is powered on at `now_ms` in a world that began at `t0_ms`, with what it
    /// had done in an earlier process. At each of `resets_ms` it goes back to its defaults.
    #[must_use]
    pub fn new(
        address: u8,
        source: Source,
        generation: Generation,
        t0_ms: u64,
        now_ms: u64,
        past: Option<ReceiverPast>,
        mut resets_ms: Vec<u64>,
    ) -> Self {
        resets_ms.sort_unstable();
        Self {
            address,
            broadcast: Broadcast::new(source, Some(HOST_SILENT_MS), t0_ms, now_ms, past),
            settings: Settings::new(generation),
            resets_ms,
            seen_ms: now_ms,
            pointer: REG_STREAM,
            input: StreamSplitter::new(),
            radio: Radio::default(),
        }
    }

    /// What happens to its antenna and on its bands, in spans of virtual time.
    #[must_use]
    pub fn with_radio(mut self, radio: Radio) -> Self {
        self.radio = radio;
        self
    }

    /// In the given spans of virtual time, bursts of 0xff stand before and between the messages.
    #[must_use]
    pub fn with_filler(mut self, filler: Vec<Window>, seed: u8) -> Self {
        self.broadcast.filler = Filler {
            byte: 0xff,
            windows: filler,
            seed: u64::from(seed),
        };
        self
    }

    /// Lets virtual time pass up to `now_ms`.
    fn run_to(&mut self, now_ms: u64) {
        let passed = self.seen_ms + 1..=now_ms;
        let due_ms: Vec<u64> = self
            .resets_ms
            .iter()
            .copied()
            .filter(|at_ms| passed.contains(at_ms))
            .collect();
        for at_ms in due_ms {
            self.produce_to(at_ms);
            self.settings.reset();
            if self.broadcast.drops() {
                self.broadcast.fifo.clear();
            }
        }
        self.produce_to(now_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
    }

    fn produce_to(&mut self, now_ms: u64) {
        let Self {
            broadcast,
            settings,
            radio,
            ..
        } = self;
        broadcast.produce_to(now_ms, &|n, due_ms, epoch| {
            words(settings, radio, (n, due_ms), epoch)
        });
    }

    fn hear_host(&mut self, bytes: &[u8]) {
        let mut answers = Vec::new();
        let Self {
            input, settings, ..
        } = self;
        input.push(bytes, &mut |frame| {
            if let Frame::Ubx {
                class: ubx::CLASS_CFG,
                id,
                payload,
            } = frame
                && let Some(accepted) = settings.apply(id, payload)
            {
                answers.push((u8::from(accepted), id));
            }
        });
        for (accepted, id) in answers {
            let answer = Message::new(ubx::CLASS_ACK, accepted, &[&[ubx::CLASS_CFG, id]]);
            if let Some(answer) =
                answer.filter(|answer| self.broadcast.fifo.has_room(answer.as_bytes().len()))
            {
                self.broadcast.fifo.push(Item::new(answer.as_bytes(), None));
            }
        }
    }
}

/// What the receiver says of an epoch of a drive, as it is configured.
fn words(settings: &Settings, radio: &Radio, (n, due_ms): (u64, u64), epoch: &RouteEpoch) -> Words {
    let mut bytes = Vec::new();
    if settings.nmea_out {
        bytes.extend(epoch.sentences());
    }
    if settings.sends_nav_pvt(n) {
        bytes.extend(epoch.nav_pvt());
    }
    bytes.extend(radio.messages(settings.sends_slow(n), due_ms, epoch.time_known));
    let label = match epoch.time_known {
        true => Some(crate::gnss::utc::Iso(epoch.utc_ms).to_string()),
        false if settings.sends_nav_pvt(n) => Some(format!("itow:{}", epoch.itow_ms())),
        false => None,
    };
    (bytes, label)
}

impl SimChip for SimUblox {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        match bytes {
            [register] => self.pointer = *register,
            message => self.hear_host(message),
        }
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
        for byte in into {
            let [high, low] = u16::try_from(self.broadcast.fifo.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            *byte = match self.pointer {
                REG_COUNT_HIGH => high,
                REG_COUNT_LOW => low,
                REG_STREAM => match self.broadcast.fifo.pop() {
                    Some((byte, Some(epoch))) => {
                        truth.epoch(now_ms, "ublox", self.address, &epoch)?;
                        byte
                    }
                    Some((byte, None)) => byte,
                    None => 0xff,
                },
                _ => 0,
            };
            self.pointer = self.pointer.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
