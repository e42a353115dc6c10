//! Which alerts somebody wants to see.

use std::collections::{HashSet, VecDeque};

use firmware_shared::alert::{Alert, Severity};

use crate::glob;

/// So many keys are remembered against repetitions: an hour of a large fleet.
const SEEN_MAX: usize = 16_384;

/// Devices by name pattern, and the mildest severity.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// `*` stands for any text, `?` for one character.
    pub(crate) device: String,
    pub(crate) severity: Severity,
    pub(crate) kind: String,
}

impl Selection {
    pub(crate) fn takes(&self, device: &str, kind: &str, severity: Severity) -> bool {
        severity >= self.severity
            && glob::matches(&self.device, device)
            && glob::matches(&self.kind, kind)
    }
}

/// Remembers which alerts were printed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether this is the first time.
    pub(super) fn is_first(&mut self, alert: &Alert) -> bool {
        self.is_first_key(&format!("{} {} {}", alert.device, alert.epoch, alert.seq))
    }

    /// The same for a key that names what is printed.
    pub(super) fn is_first_key(&mut self, key: &str) -> bool {
        let key = key.to_owned();
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
