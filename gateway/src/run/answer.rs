//! The pipeline's answer to "how are you".

use std::collections::BTreeMap;

use firmware_shared::id::Lane;

use super::Pipeline;
use crate::alert::utc_text;
use crate::clock::Now;
use crate::sample::SensorBoard;
use crate::status::{ClockReport, LaneReport, LinkReport, Memory, OpenAlert, StatusReport};
use crate::timekeeper::error_ms_at;

/// What only the shell knows.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The states of the sensors, in the order of the configuration.
    pub board: &'a SensorBoard,
    /// The number that the next reading gets.
    pub next_seq: u64,
    /// Readings that wait.
    pub queue_depth: usize,
    /// Resident memory.
    pub memory: Memory,
}

impl Pipeline {
    /// Everything that somebody on the spot may want to know.
    #[must_use]
    pub fn status(&self, now: Now, around: Surroundings<'_>) -> StatusReport {
        let stats = self.deliver.stats();
        let sensors = self.seen.iter().enumerate();
        StatusReport {
            device: self.identity.device.to_string(),
            epoch: self.identity.epoch.to_string(),
            boot_id: self.identity.boot_id.to_string(),
            version: self.identity.software.to_string(),
            uptime_ms: now.real_ms.saturating_sub(self.started_real_ms),
            stamp_ms: now.stamp_ms,
            clock: self.clock_report(now.stamp_ms),
            mode: stats.mode,
            link: LinkReport {
                main: stats.connected,
                alert: stats.alert_connected,
            },
            lanes: lanes(
                &stats,
                [self.desk.next_seq(), around.next_seq, self.health_next_seq],
            ),
            sensors: sensors
                .map(|(at, seen)| seen.report(now.stamp_ms, around.board.state(at)))
                .collect(),
            alerts_open: self.desk.open().map(OpenAlert::from).collect(),
            queue_depth: around.queue_depth,
            lost: self.lost,
            rss_bytes: around.memory.rss_bytes,
            vm_hwm_bytes: around.memory.vm_hwm_bytes,
            deliver: stats,
        }
    }

    /// How it is, in a few words for `systemctl status`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let stats = self.deliver.stats();
        let unacked: u64 = Lane::ALL
            .iter()
            .map(|lane| stats.lanes.get(*lane).unacked)
            .sum();
        let link = if stats.connected { "up" } else { "down" };
        let alerts = self.desk.open().count();
        format!(
            "link {link}, {unacked} records without an acknowledgement, {alerts} open alerts, spool on {}",
            stats.mode
        )
    }

    fn clock_report(&self, stamp_ms: u64) -> ClockReport {
        let anchor = self.keeper.best();
        let utc = anchor.and_then(|anchor| utc_text(anchor.utc_ms_of(stamp_ms)));
        ClockReport {
            source: anchor.map_or("none", |anchor| anchor.source.name()),
            error_ms: anchor.map(|anchor| error_ms_at(&anchor, stamp_ms)),
            utc: utc.map(|text| text.to_string()),
        }
    }
}

fn lanes(
    stats: &crate::deliver::DeliverStats,
    next_seqs: [u64; 3],
) -> BTreeMap<&'static str, LaneReport> {
    let lane = |(lane, next_seq): (Lane, u64)| {
        let held = stats.lanes.get(lane);
        let report = LaneReport {
            next_seq,
            held_bytes: held.bytes,
            unacked: held.unacked,
            acked: held.acked,
            evicted: held.evicted,
            corrupt: held.corrupt,
        };
        (lane.name(), report)
    };
    Lane::ALL.into_iter().zip(next_seqs).map(lane).collect()
}
