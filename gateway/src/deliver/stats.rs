//! Counters and gauges of delivery, for status and people.

use std::collections::VecDeque;

use serde::Serialize;

use super::alarm::AlarmKind;
use crate::forward::budget::PlanStats;
use crate::spool::PerLane;
use crate::spool::metrics::{CommitLatency, DeviceBytes};

/// How delivery is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliverStats {
    /// Per lane.
    pub lanes: PerLane<LaneStats>,
    /// `disk`, or `ram` while the disk cannot be used.
    pub mode: &'static str,
    /// Age of the oldest record that the centre has not acknowledged, ms.
    pub oldest_unacked_ms: u64,
    /// Bytes and flushes that went to the device since the start, by purpose.
    pub device: DeviceBytes,
    /// Bytes that went to the device since the spool was made.
    pub device_bytes_lifetime: u64,
    /// How much of the card's life those bytes took, if it takes them as they come, percent.
    pub card_life_used_percent: f64,
    /// Epochs that still hold something, the running one included.
    pub open_epochs: u64,
    /// Losses that the centre has not acknowledged.
    pub open_losses: u64,
    /// Whether the main connection lives.
    pub connected: bool,
    /// Whether the alert connection lives.
    pub alert_connected: bool,
    /// Messages without an answer of the broker.
    pub in_flight: u64,
    /// Their bytes, an estimate of the headers included.
    pub in_flight_bytes: u64,
    /// How many of them the backlog may have, at the pace of the link.
    pub window_bytes: u64,
    /// Frames that the broker took and the centre has not acknowledged.
    pub awaiting: u64,
    /// Their bytes.
    pub awaiting_bytes: u64,
    /// What is used of the data plan.
    pub plan: PlanStats,
    /// Smoothed time from publish to central acknowledgement, ms.
    pub ack_latency_ms: Option<u64>,
    /// Alarms that stand.
    pub alarms: Vec<AlarmKind>,
    /// Events since the start.
    #[serde(flatten)]
    pub counts: Counts,
}

/// One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LaneStats {
    /// Bytes held.
    pub bytes: u64,
    /// Frames held, those included that are acknowledged but share a file with others.
    pub frames: u64,
    /// Numbers held and not acknowledged.
    pub unacked: u64,
    /// Frames accepted since the start.
    pub accepted: u64,
    /// Numbers acknowledged since the start.
    pub acked: u64,
    /// Numbers lost to make room since the start.
    pub evicted: u64,
    /// Numbers lost to damage since the start.
    pub corrupt: u64,
    /// Failed writes and reads since the start.
    pub disk_errors: u64,
    /// Failed syncs since the start.
    pub fsync_errors: u64,
    /// Age of the oldest record that the centre has not acknowledged, ms.
    pub oldest_age_ms: u64,
    /// Age of the oldest frame of a commit when the commit was durable.
    pub commit: CommitLatency,
    /// The next number of the running epoch.
    pub next_seq: u64,
}

/// Events since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Lives of the main connection.
    pub connections: u64,
    /// Lives of the alert connection.
    pub alert_connections: u64,
    /// Messages published, everything included.
    pub published: u64,
    /// Their payload bytes.
    pub published_bytes: u64,
    /// Frames among them that were published again after their time.
    pub resent: u64,
    /// Births among them.
    pub births: u64,
    /// Acknowledgements that were believed.
    pub acks: u64,
    /// Acknowledgements that were not.
    pub acks_ignored: u64,
    /// Refusals.
    pub nacks: u64,
    /// Messages that the broker refused.
    pub refused: u64,
    /// Refusals because of other bytes under the same numbers.
    pub clashes: u64,
    /// Payloads on the ack topic that are no message.
    pub garbage: u64,
}

/// Times at which numbers of the running epoch came in: a few marks, coarser as they get more.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    marks: VecDeque<(u64, u64)>,
    spacing_ms: u64,
}

/// Marks that are kept.
const MARKS_MAX: usize = 64;

impl Ages {
    /// Numbers below `next_seq` came in so far.
    pub(crate) fn note(&mut self, next_seq: u64, now_ms: u64) {
        let last_ms = self.marks.back().map(|(_, at_ms)| *at_ms);
        if last_ms.is_some_and(|at_ms| now_ms < at_ms.saturating_add(self.spacing_ms)) {
            return;
        }
        self.marks.push_back((next_seq, now_ms));
        if self.marks.len() > MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.spacing_ms = (self.spacing_ms * 2).max(1_000);
        }
    }

    /// When the number came in, or a little before.
    pub(crate) fn of(&self, seq: u64) -> Option<u64> {
        let before = self
            .marks
            .iter()
            .take_while(|(next_seq, _)| *next_seq <= seq)
            .last();
        let (_, at_ms) = before.or_else(|| self.marks.front())?;
        Some(*at_ms)
    }

    /// Everything below is done: its marks go, and those to come may be finer again.
    pub(crate) fn forget_below(&mut self, seq: u64) {
        while let Some((next_seq, _)) = self.marks.get(1)
            && *next_seq <= seq
        {
            self.marks.pop_front();
        }
        if self.marks.len() <= 2 {
            self.spacing_ms = 0;
        }
    }
}
