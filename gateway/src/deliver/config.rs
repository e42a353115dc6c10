//! What delivery needs to know, with its defaults and their reasons.

use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::message::SoftwareVersion;
use firmware_shared::time::BootId;
use firmware_shared::topic::PREFIX_DEFAULT;

use crate::forward::budget::Plans;
use crate::forward::flow::FlowLimits;
use crate::forward::window::WindowLimits;
use crate::spool::{PerLane, SpoolLimits};

/// Who runs.
#[derive(Debug, Clone)]
pub struct ProcessIdentity {
    /// The device.
    pub device: DeviceId,
    /// This process start.
    pub epoch: Epoch,
    /// The boot of the machine.
    pub boot_id: BootId,
    /// The software.
    pub software: SoftwareVersion,
    /// The sensors.
    pub catalogue: Catalogue,
    /// More about them.
    pub details: Details,
    /// Per lane: most numbers that a crash of this process can leave issued but not accepted.
    pub tail_at_most: [u64; 3],
}

/// What frees a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckLevel {
    /// The centre has committed it.
    Central,
    /// The broker took it: brokers were measured acknowledging messages that were gone afterwards.
    Puback,
}

/// How frames are kept and forwarded.
#[derive(Debug, Clone)]
pub struct DeliverConfig {
    /// What the spool may take.
    pub spool: SpoolLimits,
    /// The topic prefix.
    pub prefix: String,
    /// Messages without an answer of the broker, telemetry and health together.
    pub window: usize,
    /// Their bytes at first; then the window follows the link.
    pub window_bytes_start: u64,
    /// Their bytes at most.
    pub window_bytes_max: u64,
    /// How long a frame may wait behind the backlog on the way to the broker, ms.
    pub queue_ms: u64,
    /// The same for alerts.
    pub alert_window: usize,
    /// Frames that the broker took and the centre has not acknowledged.
    pub awaiting_max: usize,
    /// Their bytes.
    pub awaiting_bytes_max: u64,
    /// From so many acknowledged ranges of a stream on, the lowest hole is filled before anything else: an
    /// acknowledgement names no more than 64.
    pub holes_first: usize,
    /// The data plans.
    pub plans: Plans,
    /// First wait before a frame is sent again, ms.
    pub resend_ms_min: u64,
    /// Longest wait before a frame is sent again, ms.
    pub resend_ms_max: u64,
    /// How long frames may wait without any acknowledgement until the centre counts as silent, ms.
    pub centre_silent_ms: u64,
    /// Time between two status messages, ms.
    pub status_ms: u64,
    /// How long the backlog waits for the answer to a birth, ms.
    pub backlog_wait_ms: u64,
    /// Least time between two births of one connection, ms.
    pub birth_ms_min: u64,
    /// How long a message may be unanswered by the broker until the connection is given up, ms.
    pub puback_ms_max: u64,
    /// How old a frame may get that is neither durable nor acknowledged, ms; alerts never wait.
    pub commit_ms: u64,
    /// The same after a while without a connection, ms.
    pub commit_offline_ms: u64,
    /// After how long without a connection that holds, ms.
    pub offline_after_ms: u64,
    /// How old a change of the acknowledged numbers may get before it is written down, ms, when frames
    /// would be sent again without it.
    pub state_lazy_ms: u64,
    /// The same for a change that matters only to people, ms.
    pub state_rare_ms: u64,
    /// Time between two attempts to leave RAM mode, ms.
    pub disk_retry_ms: u64,
    /// Bytes that the card takes in its life, as its maker says.
    pub card_endurance_bytes: u64,
    /// What frees a frame.
    pub ack_level: AckLevel,
    /// Seed of nonces and of the spool's identity; draw it from the machine's entropy.
    pub seed: u64,
}

const MIB: u64 = 1024 * 1024;

impl DeliverConfig {
    /// The defaults of the product.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            spool: SpoolLimits {
                max_bytes: PerLane {
                    alert: 8 * MIB,
                    telemetry: 256 * MIB,
                    health: 16 * MIB,
                },
                // Together well below the 16 MB that the whole gateway may take.
                ram_bytes: PerLane {
                    alert: MIB / 4,
                    telemetry: 3 * MIB,
                    health: MIB / 4,
                },
                total_bytes: 280 * MIB,
                segment_bytes: 4 * 1024 * 1024,
                align: 4096,
                slot_bytes: 64 * 1024,
                history_ms: 24 * 3_600_000,
                pending_count_max: 8_192,
            },
            prefix: PREFIX_DEFAULT.to_owned(),
            // What a fast link carries in some milliseconds; a slow one is bounded by the bytes.
            window: 400,
            // One round trip of a slow link without queue.
            window_bytes_start: 8 * 1024,
            window_bytes_max: MIB / 2,
            // Alerts share the slowest link with the backlog: this is what they notice of it.
            queue_ms: 150,
            alert_window: 16,
            // The centre acknowledges once a second; in memory this is a megabyte and a half.
            awaiting_max: 10 * 1024,
            awaiting_bytes_max: 4 * MIB,
            holes_first: 48,
            plans: Plans::default(),
            resend_ms_min: 30_000,
            resend_ms_max: 600_000,
            centre_silent_ms: 60_000,
            status_ms: 30_000,
            backlog_wait_ms: 5_000,
            birth_ms_min: 5_000,
            puback_ms_max: 60_000,
            // A stale list costs re-sends after a crash; each write costs flash.
            state_lazy_ms: 10_000,
            // Acknowledged from RAM, a frame leaves nothing behind that could be sent again.
            state_rare_ms: 600_000,
            commit_ms: 5_000,
            commit_offline_ms: 30_000,
            offline_after_ms: 600_000,
            disk_retry_ms: 60_000,
            // An ordinary 32 GB card; makers of better ones name 100 TB and more.
            card_endurance_bytes: 20_000_000_000_000,
            ack_level: AckLevel::Central,
            seed,
        }
    }
    /// Below this no window shrinks: one frame of a minute.
    const WINDOW_BYTES_MIN: u64 = 2 * 1024;

    /// What the main connection may have under way.
    pub(crate) fn main_limits(&self) -> FlowLimits {
        FlowLimits {
            in_flight_max: self.window,
            window: WindowLimits {
                bytes_min: Self::WINDOW_BYTES_MIN.min(self.window_bytes_max),
                bytes_start: self.window_bytes_start,
                bytes_max: self.window_bytes_max,
                queue_ms: self.queue_ms,
            },
            awaiting_max: self.awaiting_max,
            awaiting_bytes_max: self.awaiting_bytes_max,
        }
    }

    /// What the alert connection may have under way: alerts are few, and none waits for a window.
    pub(crate) fn alert_limits(&self) -> FlowLimits {
        let main = self.main_limits();
        FlowLimits {
            in_flight_max: self.alert_window,
            window: WindowLimits {
                bytes_min: main.window.bytes_max,
                ..main.window
            },
            ..main
        }
    }
}
