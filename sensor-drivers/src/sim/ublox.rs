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

use super::bus::{SimBusError, SimChip};
use super::log::RecordedLog;
use super::route::Route;
use super::truth::{EpochTruth, ReceiverPast, TruthFile};
use super::{Window, random};
use crate::gnss::stream::{Frame, StreamSplitter};
use crate::ubx::{self, Message};

mod fifo;
mod radio;
mod settings;
use fifo::{Fifo, Item};
pub use radio::Radio;
pub use settings::Generation;
use settings::Settings;

const REG_COUNT_HIGH: u8 = 0xfd;
const REG_COUNT_LOW: u8 = 0xfe;
const REG_STREAM: u8 = 0xff;
/// Without a host for so long the stream stops.
const HOST_SILENT_MS: u64 = 1500;
/// The longest burst of filler.
const FILLER_LEN_MAX: u64 = 200;
/// A burst larger than this is buffered in parts.
const PART_LEN: usize = 1024;

/// Where the epochs come from.
#[derive(Debug)]
pub enum Source {
    /// A recorded log. It begins when the host first reads.
    Replay {
        /// The log.
        log: RecordedLog,
        /// Whether it waits for a late host instead of dropping.
        lossless: bool,
    },
    /// A generated drive. It begins with the scenario.
    Route(Route),
}

/// The receiver.
#[derive(Debug)]
pub struct SimUblox {
    address: u8,
    source: Source,
    settings: Settings,
    resets_ms: Vec<u64>,
    /// Virtual time of epoch 0; a replay has none before the first read.
    start_ms: Option<u64>,
    next_n: u64,
    /// Due times inside were lost between two processes.
    gap_ms: (u64, u64),
    seen_ms: u64,
    host_at_ms: Option<u64>,
    /// Its beginning stands in the truth file.
    announced: bool,
    pointer: u8,
    fifo: Fifo,
    input: StreamSplitter,
    filler: Vec<Window>,
    filler_seed: u64,
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
        let start_ms = match source {
            Source::Replay { .. } => past.map(|past| past.start_ms),
            Source::Route(_) => Some(t0_ms),
        };
        let last = past.and_then(|past| past.last);
        let last_ms = last
            .map(|(_, t_ms)| t_ms)
            .or(past.map(|past| past.start_ms));
        Self {
            address,
            source,
            settings: Settings::new(generation),
            resets_ms,
            start_ms,
            next_n: last.map_or(0, |(n, _)| n + 1),
            gap_ms: last_ms.map_or((0, 0), |last_ms| (last_ms + HOST_SILENT_MS, now_ms)),
            seen_ms: now_ms,
            host_at_ms: last_ms,
            announced: past.is_some(),
            pointer: REG_STREAM,
            fifo: Fifo::default(),
            input: StreamSplitter::new(),
            filler: Vec::new(),
            filler_seed: 0,
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
        self.filler = filler;
        self.filler_seed = u64::from(seed);
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
            if self.drops() {
                self.fifo.clear();
            }
        }
        self.produce_to(now_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
    }

    /// Whether a late host costs messages.
    fn drops(&self) -> bool {
        !matches!(self.source, Source::Replay { lossless: true, .. })
    }

    fn produce_to(&mut self, now_ms: u64) {
        let Some(start_ms) = self.start_ms else {
            return;
        };
        while let Some(due_ms) = self.due_ms(start_ms).filter(|due_ms| *due_ms <= now_ms) {
            let (gap_from, gap_to) = self.gap_ms;
            let in_gap = gap_from < due_ms && due_ms < gap_to;
            let heard = self
                .host_at_ms
                .is_some_and(|at_ms| due_ms <= at_ms + HOST_SILENT_MS);
            let kept = !in_gap && (heard || !self.drops());
            let items = self.epoch_items();
            let len: usize = items.iter().map(Item::len).sum();
            if kept && !self.drops() && !self.fifo.has_room(len) {
                return;
            }
            if let Source::Route(route) = &mut self.source {
                route.step();
            }
            self.next_n += 1;
            if kept {
                self.push_burst(due_ms, items);
            }
        }
    }

    fn push_burst(&mut self, due_ms: u64, items: Vec<Item>) {
        if self.filler.iter().any(|window| window.contains(due_ms)) {
            let len = 1 + random::hash(self.filler_seed, 9, due_ms) % FILLER_LEN_MAX;
            let filler = vec![0xff; usize::try_from(len).unwrap_or(1)];
            if self
                .fifo
                .has_room(filler.len() + items.iter().map(Item::len).sum::<usize>())
            {
                self.fifo.push(Item::new(&filler, None));
            }
        }
        items.into_iter().for_each(|item| self.fifo.push(item));
    }

    fn due_ms(&self, start_ms: u64) -> Option<u64> {
        match &self.source {
            Source::Replay { log, .. } => {
                let n = usize::try_from(self.next_n).ok()?;
                log.epochs().get(n).map(|epoch| start_ms + epoch.due_ms)
            }
            Source::Route(_) => Some(start_ms + self.next_n * 1000),
        }
    }

    /// The next epoch as it would go into the buffer.
    fn epoch_items(&mut self) -> Vec<Item> {
        let n = self.next_n;
        match &mut self.source {
            Source::Replay { log, .. } => {
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                let mut parts: Vec<Item> = log
                    .bytes_of(n)
                    .chunks(PART_LEN)
                    .map(|part| Item::new(part, None))
                    .collect();
                if let (Some(last), Some(epoch)) = (parts.last_mut(), log.epochs().get(n)) {
                    last.epoch = Some(epoch.truth.clone());
                }
                parts
            }
            Source::Route(route) => {
                while route.next_n() < n {
                    route.step();
                }
                let epoch = route.clone().step();
                let mut bytes = Vec::new();
                if self.settings.nmea_out {
                    bytes.extend(epoch.sentences());
                }
                if self.settings.sends_nav_pvt(n) {
                    bytes.extend(epoch.nav_pvt());
                }
                let at_ms = self.start_ms.unwrap_or(0) + n * 1000;
                bytes.extend(self.radio.messages(
                    self.settings.sends_slow(n),
                    at_ms,
                    epoch.time_known,
                ));
                if bytes.is_empty() {
                    return Vec::new();
                }
                let label = match epoch.time_known {
                    true => Some(crate::gnss::utc::Iso(epoch.utc_ms).to_string()),
                    false if self.settings.sends_nav_pvt(n) => {
                        Some(format!("itow:{}", epoch.itow_ms()))
                    }
                    false => None,
                };
                let position = epoch
                    .fix
                    .then(|| (i64::from(epoch.lat_1e7_deg), i64::from(epoch.lon_1e7_deg)));
                vec![Item::new(&bytes, Some(EpochTruth { n, label, position }))]
            }
        }
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
                answer.filter(|answer| self.fifo.has_room(answer.as_bytes().len()))
            {
                self.fifo.push(Item::new(answer.as_bytes(), None));
            }
        }
    }
}

impl SimChip for SimUblox {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.run_to(now_ms);
        match bytes {
            [register] => self.pointer = *register,
            message => self.hear_host(message),
        }
        self.host_at_ms = Some(now_ms);
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        if !self.announced {
            truth.receiver_start(now_ms, self.address)?;
            self.announced = true;
            self.start_ms = self.start_ms.or(Some(now_ms));
        }
        self.run_to(now_ms);
        self.host_at_ms = Some(now_ms);
        for byte in into {
            let [high, low] = u16::try_from(self.fifo.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            *byte = match self.pointer {
                REG_COUNT_HIGH => high,
                REG_COUNT_LOW => low,
                REG_STREAM => match self.fifo.pop() {
                    Some((byte, Some(epoch))) => {
                        truth.epoch(now_ms, self.address, &epoch)?;
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
