//! What the spool costs the card, and how long commits take.
//!
//! Promises: a write counts as the pages that it touches, because that is what the device gets; only
//! counters grow. Never: asks the device.

use serde::Serialize;

use super::disk::Site;

/// What file systems and cards write at least, bytes.
const PAGE_LEN: u64 = 4096;

/// Bytes and flushes that went to the device since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DeviceBytes {
    /// Frames of commits, and the summaries and headers of their segments.
    pub append: u64,
    /// Segments: made once, begun again.
    pub recycle: u64,
    /// The cursor, whatever made it necessary.
    pub cursor: u64,
    /// Acknowledged frames, kept for a restored centre.
    pub history: u64,
    /// Flushes.
    pub flushes: u64,
    #[serde(skip)]
    told: u64,
}

impl DeviceBytes {
    /// Everything, bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.append + self.recycle + self.cursor + self.history
    }

    pub(crate) fn note_write(&mut self, site: Site, len: u64) {
        let counter = match site {
            Site::Append => &mut self.append,
            Site::Recycle => &mut self.recycle,
            Site::Rewind => &mut self.history,
            Site::Eviction | Site::Cursor | Site::Epoch | Site::Ledger => &mut self.cursor,
        };
        *counter = counter.saturating_add(len);
    }

    pub(crate) fn note_pages(&mut self, site: Site, offset: u64, len: u64) {
        let pages = (offset + len).div_ceil(PAGE_LEN) - offset / PAGE_LEN;
        self.note_write(site, pages * PAGE_LEN);
    }

    pub(crate) fn note_flush(&mut self) {
        self.flushes += 1;
    }

    /// What was written since the last call of [`DeviceBytes::take_fresh`].
    pub(crate) fn fresh(&self) -> u64 {
        self.total().saturating_sub(self.told)
    }

    /// What was written since the last call.
    pub(crate) fn take_fresh(&mut self) -> u64 {
        let fresh = self.fresh();
        self.told = self.total();
        fresh
    }
}

/// How many of the latest commits are looked at.
const LATEST_MAX: usize = 128;

/// Ages of the oldest frame in the latest commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    latest_ms: Vec<u64>,
    next: usize,
}

/// How old the oldest frame of a commit was when the commit was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CommitLatency {
    /// Half of the latest commits were faster, ms.
    pub p50_ms: u64,
    /// 99 of 100 were faster, ms.
    pub p99_ms: u64,
    /// The slowest of the latest, ms.
    pub max_ms: u64,
}

impl Latencies {
    pub(crate) fn note(&mut self, ms: u64) {
        match self.latest_ms.get_mut(self.next) {
            Some(slot) => *slot = ms,
            None => self.latest_ms.push(ms),
        }
        self.next = (self.next + 1) % LATEST_MAX;
    }

    pub(crate) fn latency(&self) -> CommitLatency {
        let mut sorted = self.latest_ms.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted.get(index).copied().unwrap_or(0)
        };
        CommitLatency {
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}
