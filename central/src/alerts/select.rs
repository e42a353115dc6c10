//! Which alerts somebody wants to see.

use std::collections::{HashSet, VecDeque};

use firmware_shared::alert::{Alert, Severity};
use firmware_shared::id::{DeviceId, Epoch};

use crate::glob;

/// So many keys are remembered against repetitions: an hour of a large fleet.
const SEEN_MAX: usize = 16_384;

/// Devices by name pattern, and the mildest severity.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// `*` stands for any text, `?` for one character.
    pub(crate) device: String,
    pub(crate) severity: Severity,
}

impl Selection {
    pub(crate) fn takes(&self, device: &str, severity: Severity) -> bool {
        severity >= self.severity && glob::matches(&self.device, device)
    }
}

/// Remembers which alerts were printed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: HashSet<(DeviceId, Epoch, u64)>,
    order: VecDeque<(DeviceId, Epoch, u64)>,
}

impl Seen {
    /// Whether this is the first time.
    pub(super) fn is_first(&mut self, alert: &Alert) -> bool {
        let key = (alert.device.clone(), alert.epoch, alert.seq);
        if !self.keys.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}
