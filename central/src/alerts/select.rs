//! Which alerts somebody wants to see.

use std::collections::{HashSet, VecDeque};

use firmware_shared::alert::{Alert, Severity};
use firmware_shared::id::{DeviceId, Epoch};

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
        severity >= self.severity && matches(self.device.as_bytes(), device.as_bytes())
    }
}

/// Whether the text matches the pattern, in time linear in their product.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // `reach` holds whether the pattern so far matches each beginning of the text.
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for symbol in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut any_before = false;
        for (at, cell) in next.iter_mut().enumerate() {
            let here = reach.get(at).copied().unwrap_or(false);
            let before = at
                .checked_sub(1)
                .and_then(|before| Some((reach.get(before).copied()?, text.get(before).copied()?)));
            any_before |= here;
            *cell = match (symbol, before) {
                (b'*', _) => any_before,
                (b'?', Some((matched, _))) => matched,
                (symbol, Some((matched, byte))) => matched && byte == *symbol,
                (_, None) => false,
            };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
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
