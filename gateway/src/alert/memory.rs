//! What is told and not closed, for the next process.
//!
//! Promises: an alert that was raised before a restart is cleared and closed under its own id after it, and
//! is not raised again within its hour; one whose sensor is gone is closed. Never: a time of the other
//! process taken for one of this: only how long ago things were counts, and what passed in between does not.

use std::collections::BTreeMap;

use firmware_shared::alert::AlertState;
use serde::{Deserialize, Serialize};

use super::voice::{Saying, Title};
use super::{AlertDesk, GRACE_MS, KeptEntry, Standing};
use crate::clock::Now;

/// The slot of what has only one condition.
const ONLY: &str = "only";

/// All that is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DeskMemory {
    /// When it was kept, by the stamps of its process.
    stamp_ms: u64,
    sensors: BTreeMap<String, Vec<KeptEntry>>,
    buses: BTreeMap<String, KeptEntry>,
    gateway: BTreeMap<String, KeptEntry>,
}

impl AlertDesk {
    /// What the next process needs.
    #[must_use]
    pub fn keep(&self, now: Now) -> DeskMemory {
        let sensors = self.sensors.iter().map(|w| (w.name().to_owned(), w.keep()));
        let buses = self.buses.iter().filter_map(|bus| {
            let kept = bus.entry().keep(ONLY.to_owned())?;
            Some((bus.name().to_owned(), kept))
        });
        let gateway = self.gateway.iter().filter_map(|(kind, standing)| {
            let kept = standing.entry.keep(ONLY.to_owned())?;
            Some((kind.clone(), kept))
        });
        DeskMemory {
            stamp_ms: now.stamp_ms,
            sensors: sensors.filter(|(_, kept)| !kept.is_empty()).collect(),
            buses: buses.collect(),
            gateway: gateway.collect(),
        }
    }

    /// Goes on with what an earlier process told.
    pub fn restore(&mut self, now: Now, memory: DeskMemory) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let by_ms = signed(now.stamp_ms).saturating_sub(signed(memory.stamp_ms));
        for (name, kept) in memory.sensors {
            let watch = self.sensors.iter_mut().find(|watch| watch.name() == name);
            let left: Vec<_> = match watch {
                Some(watch) => kept
                    .into_iter()
                    .filter_map(|kept| watch.restore(kept, by_ms))
                    .collect(),
                None => kept,
            };
            left.into_iter().for_each(|kept| self.abandon(now, kept));
        }
        for (name, kept) in memory.buses {
            match self.buses.iter_mut().find(|bus| bus.name() == name) {
                Some(bus) => bus.restore(kept, by_ms, now.stamp_ms),
                None => self.abandon(now, kept),
            }
        }
        for (_, kept) in memory.gateway {
            self.restore_alarm(now, kept, by_ms);
        }
    }

    fn restore_alarm(&mut self, now: Now, kept: KeptEntry, by_ms: i64) {
        let Some(told) = kept.told.clone() else {
            return;
        };
        let mut standing = Standing::new(told.severity);
        standing.entry.restore(kept, by_ms);
        standing.quiet_from_real_ms = Some(now.real_ms.saturating_add(GRACE_MS));
        self.gateway.insert(told.kind.to_string(), standing);
    }

    /// Nobody will ever say that it is over.
    fn abandon(&mut self, now: Now, kept: KeptEntry) {
        let Some(told) = kept.told else {
            return;
        };
        let title = Title {
            id: told.id.clone(),
            severity: told.severity,
        };
        let saying = Saying {
            text: format!("{}: {} is not watched any more", told.sensor, told.kind),
            ..Saying::default()
        };
        let about = [told.kind.as_str(), told.sensor.as_str()];
        self.voice
            .say(now.stamp_ms, AlertState::Closed, &title, about, &saying);
    }
}
