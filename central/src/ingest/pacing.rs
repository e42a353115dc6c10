//! How fast backlogs may come.
//!
//! Promises: the devices that fill gaps share what the operator allows for backlogs, evenly; each is told when it
//! begins, when its share has moved by a quarter, and again before the last word is over. Never: a word to a device
//! that fills no gap; a word about live data or alerts.

use std::collections::{BTreeSet, HashMap};

use firmware_shared::id::DeviceId;

use super::Core;

/// How long a word counts, s. A centre that dies slows nobody for longer.
pub(super) const VALID_S: u32 = 60;
/// It is said again after this time.
const AGAIN_MS: u64 = 30_000;
/// Nobody is told less, bytes a second: a backlog must end some day.
const SHARE_MIN: u32 = 64;

#[derive(Debug, Clone, Copy)]
struct Told {
    share: u32,
    at_ms: u64,
}

/// Who was told what.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    told: HashMap<DeviceId, Told>,
}

impl Pacer {
    /// What is to be said to whom: bytes a second. `total` is for all of them together.
    fn due(
        &mut self,
        mono_ms: u64,
        total: u32,
        draining: BTreeSet<DeviceId>,
    ) -> Vec<(DeviceId, u32)> {
        self.told.retain(|device, _| draining.contains(device));
        let count = u32::try_from(draining.len()).unwrap_or(u32::MAX).max(1);
        let share = (total / count).max(SHARE_MIN);
        let is_due = |told: Option<&Told>| {
            told.is_none_or(|told| {
                let moved = told.share.abs_diff(share) >= (told.share / 4).max(1);
                moved || mono_ms.saturating_sub(told.at_ms) >= AGAIN_MS
            })
        };
        let mut said = Vec::new();
        for device in draining {
            if is_due(self.told.get(&device)) {
                let told = Told {
                    share,
                    at_ms: mono_ms,
                };
                self.told.insert(device.clone(), told);
                said.push((device, share));
            }
        }
        said
    }
}

impl Core {
    /// Tells the devices that fill gaps how fast they may.
    pub(crate) fn pace(&mut self, mono_ms: u64) {
        let total = self.config.backlog_bytes_per_s;
        if total == 0 {
            return;
        }
        let gaps = self.memory.gaps();
        let draining = gaps.map(|(key, _)| key.device.clone()).collect();
        for (device, share) in self.pacer.due(mono_ms, total, draining) {
            self.answers.pace(&device, share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(numbers: std::ops::Range<usize>) -> BTreeSet<DeviceId> {
        numbers
            .map(|number| format!("truck-{number:03}").parse().unwrap())
            .collect()
    }

    #[test]
    fn who_fills_gaps_shares_evenly_and_hears_of_it_when_the_share_moves_or_the_word_ends() {
        let mut pacer = Pacer::default();
        let shares = |said: &[(DeviceId, u32)]| said.iter().map(|(_, s)| *s).collect::<Vec<_>>();
        assert_eq!(shares(&pacer.due(0, 12_000, devices(0..1))), [12_000]);
        assert!(pacer.due(1_000, 12_000, devices(0..1)).is_empty());
        assert_eq!(shares(&pacer.due(2_000, 12_000, devices(0..3))), [4_000; 3]);
        // A fleet that grows by less than a quarter is told only to who is new.
        let said = pacer.due(3_000, 12_000, devices(0..3));
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(shares(&pacer.due(4_000, 16_000, devices(0..4))), [4_000]);
        assert_eq!(
            shares(&pacer.due(32_000, 16_000, devices(0..4))),
            [4_000; 3]
        );
        assert!(u64::from(VALID_S) * 1_000 > AGAIN_MS + 10_000);
        // Who has filled its gaps is forgotten, and told anew when it has others.
        assert!(pacer.due(33_000, 16_000, devices(0..0)).is_empty());
        assert_eq!(shares(&pacer.due(34_000, 16_000, devices(0..1))), [16_000]);
        assert_eq!(
            shares(&pacer.due(35_000, 100, devices(0..50))),
            [SHARE_MIN; 50]
        );
    }
}
