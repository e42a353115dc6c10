//! The condition of one bus.
//!
//! Promises: a fault that every part of a bus has is one alert with the name of the bus. Never: an alert for
//! a fault that heals within seconds.

use firmware_shared::alert::Severity;
use firmware_shared::reading::FaultKind;

use super::condition::Level;
use super::entry::{Entry, KeptEntry, Subject};
use super::sensor::FAULT;
use super::voice::{Saying, Voice};
use crate::config::BusConfig;

/// One bus.
#[derive(Debug)]
pub(super) struct BusWatch {
    name: String,
    sensors: Vec<u8>,
    problem: Option<FaultKind>,
    /// What an earlier process told counts until this one knows better.
    hold_until_ms: u64,
    entry: Entry,
}

/// A thread knows its bus within this time.
const GRACE_MS: u64 = 60_000;

impl BusWatch {
    pub(super) fn new(bus: &BusConfig) -> Self {
        Self {
            name: bus.name.clone(),
            sensors: bus.sensors.iter().map(|sensor| sensor.index).collect(),
            problem: None,
            hold_until_ms: 0,
            entry: Entry::default(),
        }
    }

    pub(super) fn has(&self, sensor: u8) -> bool {
        self.sensors.contains(&sensor)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Goes on with what an earlier process told.
    pub(super) fn restore(&mut self, kept: KeptEntry, by_ms: i64, at_ms: u64) {
        self.hold_until_ms = at_ms.saturating_add(GRACE_MS);
        self.entry.restore(kept, by_ms);
    }

    pub(super) fn hear(&mut self, at_ms: u64, problem: Option<FaultKind>, voice: &mut Voice) {
        self.problem = problem;
        self.hold_until_ms = 0;
        self.tick(at_ms, voice);
    }

    pub(super) fn tick(&mut self, at_ms: u64, voice: &mut Voice) {
        let Self {
            name,
            problem,
            hold_until_ms,
            entry,
            ..
        } = self;
        let level = match problem {
            Some(_) => Level::On,
            None if at_ms < *hold_until_ms => Level::Hold,
            None => Level::Off,
        };
        let what = problem.map_or("works", |kind| match kind {
            FaultKind::NO_ACK => "none of its sensors answers",
            FaultKind::BUS_TIMEOUT => "it hangs",
            _ => "it cannot be used",
        });
        let subject = Subject {
            kind: "bus_fault",
            severity: Severity::Warning,
            sensor: name,
        };
        entry.step(at_ms, level, &FAULT, subject, voice, |on| Saying {
            text: match on {
                true => format!("bus {name}: {what}; the values of its sensors are not known"),
                false => format!("bus {name} works again"),
            },
            ..Saying::default()
        });
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.entry.deadline_ms(&FAULT)
    }
}
