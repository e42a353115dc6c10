//! Navigation epochs on their way into a simulated receiver's output buffer.
//!
//! Promises: an epoch is due a second after the one before, or as its log says; without a host for
//! longer than the receiver allows nothing more is buffered; what fell into the time between two
//! processes is lost by the same rule. A lossless replay waits for room and for its host instead.
//! Never: an epoch twice, or one out of order.

use super::fifo::{Fifo, Item};
use super::log::RecordedLog;
use super::route::{Route, RouteEpoch};
use super::truth::{EpochTruth, ReceiverPast};
use super::{SimBusError, Window, random, truth::TruthFile};

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

/// What a receiver says of an epoch of a drive: bytes, and the time it states in them.
pub(super) type Words = (Vec<u8>, Option<String>);

/// Bursts of filler before and between messages, in spans of virtual time.
#[derive(Debug, Clone, Default)]
pub(super) struct Filler {
    pub(super) byte: u8,
    pub(super) windows: Vec<Window>,
    pub(super) seed: u64,
}

/// The way into the buffer.
#[derive(Debug)]
pub(super) struct Broadcast {
    source: Source,
    /// Without a host for so long the stream stops; `None` where nobody watches for it.
    host_silent_ms: Option<u64>,
    /// Virtual time of epoch 0; a replay has none before the first read.
    start_ms: Option<u64>,
    next_n: u64,
    /// Due times inside were lost between two processes.
    gap_ms: (u64, u64),
    host_at_ms: Option<u64>,
    /// Its beginning stands in the truth file.
    announced: bool,
    pub(super) filler: Filler,
    pub(super) fifo: Fifo,
}

impl Broadcast {
    /// In a world that began at `t0_ms`, powered on at `now_ms`, with what the receiver had done
    /// in an earlier process.
    pub(super) fn new(
        source: Source,
        host_silent_ms: Option<u64>,
        t0_ms: u64,
        now_ms: u64,
        past: Option<ReceiverPast>,
    ) -> Self {
        let start_ms = match source {
            Source::Replay { .. } => past.map(|past| past.start_ms),
            Source::Route(_) => Some(t0_ms),
        };
        let last = past.and_then(|past| past.last);
        let last_ms = last
            .map(|(_, t_ms)| t_ms)
            .or(past.map(|past| past.start_ms));
        let lost_from_ms =
            |last_ms: u64| last_ms.saturating_add(host_silent_ms.unwrap_or(u64::MAX));
        Self {
            source,
            host_silent_ms,
            start_ms,
            next_n: last.map_or(0, |(n, _)| n + 1),
            gap_ms: last_ms.map_or((0, 0), |last_ms| (lost_from_ms(last_ms), now_ms)),
            host_at_ms: last_ms,
            announced: past.is_some(),
            filler: Filler::default(),
            fifo: Fifo::default(),
        }
    }

    /// The host reads.
    pub(super) fn read_at(
        &mut self,
        now_ms: u64,
        address: u8,
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        if !self.announced {
            truth.receiver_start(now_ms, address)?;
            self.announced = true;
            self.start_ms = self.start_ms.or(Some(now_ms));
        }
        Ok(())
    }

    /// The host has shown itself.
    pub(super) fn heard_at(&mut self, now_ms: u64) {
        self.host_at_ms = Some(now_ms);
    }

    /// Whether a late host costs messages.
    pub(super) fn drops(&self) -> bool {
        !matches!(self.source, Source::Replay { lossless: true, .. })
    }

    /// Buffers what is due by `now_ms`. `words` says an epoch of a drive, with its number and when
    /// it is due.
    pub(super) fn produce_to(
        &mut self,
        now_ms: u64,
        words: &dyn Fn(u64, u64, &RouteEpoch) -> Words,
    ) {
        let Some(start_ms) = self.start_ms else {
            return;
        };
        while let Some(due_ms) = self.due_ms(start_ms).filter(|due_ms| *due_ms <= now_ms) {
            let (gap_from, gap_to) = self.gap_ms;
            let in_gap = gap_from < due_ms && due_ms < gap_to;
            let heard = self.host_silent_ms.is_none_or(|silent_ms| {
                let in_time = |at_ms: u64| due_ms <= at_ms.saturating_add(silent_ms);
                self.host_at_ms.is_some_and(in_time)
            });
            let kept = !in_gap && (heard || !self.drops());
            let items = self.epoch_items(due_ms, words);
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
        let Filler {
            byte,
            windows,
            seed,
        } = &self.filler;
        if windows.iter().any(|window| window.contains(due_ms)) {
            let len = 1 + random::hash(*seed, 9, due_ms) % FILLER_LEN_MAX;
            let filler = vec![*byte; usize::try_from(len).unwrap_or(1)];
            let burst_len = filler.len() + items.iter().map(Item::len).sum::<usize>();
            if self.fifo.has_room(burst_len) {
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
    fn epoch_items(
        &mut self,
        due_ms: u64,
        words: &dyn Fn(u64, u64, &RouteEpoch) -> Words,
    ) -> Vec<Item> {
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
                let (bytes, label) = words(n, due_ms, &epoch);
                if bytes.is_empty() {
                    return Vec::new();
                }
                let position = epoch
                    .fix
                    .then(|| (i64::from(epoch.lat_1e7_deg), i64::from(epoch.lon_1e7_deg)));
                vec![Item::new(&bytes, Some(EpochTruth { n, label, position }))]
            }
        }
    }
}
