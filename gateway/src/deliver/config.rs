//! What delivery needs to know, with its defaults and their reasons.

use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::message::SoftwareVersion;
use firmware_shared::time::BootId;
use firmware_shared::topic::PREFIX_DEFAULT;

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
    /// The same for alerts.
    pub alert_window: usize,
    /// Frames that the broker took and the centre has not acknowledged.
    pub awaiting_max: usize,
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
    /// How old a change of the acknowledged numbers may get before it is written down, ms.
    pub state_lazy_ms: u64,
    /// Time between two attempts to leave RAM mode, ms.
    pub disk_retry_ms: u64,
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
                segment_bytes: MIB,
            },
            prefix: PREFIX_DEFAULT.to_owned(),
            // 20 batches of 1 KiB are two seconds of a 10 kB/s link.
            window: 20,
            alert_window: 4,
            awaiting_max: 256,
            resend_ms_min: 30_000,
            resend_ms_max: 600_000,
            centre_silent_ms: 60_000,
            status_ms: 30_000,
            backlog_wait_ms: 5_000,
            birth_ms_min: 5_000,
            puback_ms_max: 60_000,
            // A stale list costs re-sends after a crash; each write costs flash.
            state_lazy_ms: 10_000,
            disk_retry_ms: 60_000,
            ack_level: AckLevel::Central,
            seed,
        }
    }
}
