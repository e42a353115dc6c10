//! Gaps that stay: the device is asked.
//!
//! A vehicle sends what the centre lacks by itself. A number that is missing although later ones came, and goes on
//! missing, is one that the device believes to be done: because the database went back to a backup while the device
//! was away, or because of a fault of ours. Only the answer to a birth may take a device back, so it is asked for one:
//! it then sends what it holds and writes down as lost what it does not.
//!
//! Promises: a device is asked when its lowest gap has not moved for the limit, and not again before the limit has
//! passed once more. Never: a gap that is closed by a guess.

use std::collections::HashMap;

use super::{Core, StreamKey};

/// The lowest gap of a stream.
#[derive(Debug, Clone, Copy)]
struct Gap {
    first_seq: u64,
    since_ms: u64,
}

/// Every gap that is watched: at most one per stream in memory.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    watched: HashMap<StreamKey, Gap>,
}

impl Core {
    /// Looks at the streams in memory; asks the devices whose gaps are older than the limit.
    pub(crate) fn watch_gaps(&mut self, mono_ms: u64) {
        let limit_ms = self.config.gap_ms;
        if limit_ms == 0 {
            return;
        }
        let before = std::mem::take(&mut self.gaps.watched);
        let mut asked = Vec::new();
        for (key, first_seq) in self.memory.gaps() {
            let known = before.get(key).filter(|gap| gap.first_seq == first_seq);
            let mut gap = known.copied().unwrap_or(Gap {
                first_seq,
                since_ms: mono_ms,
            });
            if mono_ms.saturating_sub(gap.since_ms) >= limit_ms {
                gap.since_ms = mono_ms;
                asked.push((key.clone(), first_seq));
            }
            self.gaps.watched.insert(key.clone(), gap);
        }
        for (key, first_seq) in asked {
            tracing::warn!(
                device = %key.device, epoch = %key.stream.epoch, lane = %key.stream.lane, first_seq,
                "a gap does not close; the device is asked"
            );
            self.answers.ask(&key.device);
            self.count(key.device.as_str(), "gap_requests", 1);
        }
    }
}
