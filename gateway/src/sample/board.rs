//! What state each sensor is in, for whoever asks.
//!
//! Promises: writing never waits. Never: a history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use serde::Serialize;

/// The states of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum SensorState {
    /// Nobody answers, or somebody else does; tried again after a pause.
    Absent = 0,
    /// Identified and configured; its first value is awaited.
    Probing = 1,
    /// Gives values.
    Online = 2,
    /// Answers, but gives no values or errors in between.
    Degraded = 3,
}

/// The states of all sensors; clones show the same board.
#[derive(Debug, Clone)]
pub struct SensorBoard {
    states: Arc<[AtomicU8]>,
    rounds: Arc<AtomicU64>,
}

impl SensorBoard {
    /// A board on which every sensor is absent. Indices run from 0 to `count` - 1.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            states: (0..count).map(|_| AtomicU8::new(0)).collect(),
            rounds: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Notes that a sampler has looked at everything that was due.
    pub fn go_round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// How often samplers have gone round, all of them together.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Notes the state of the sensor at a position.
    pub fn set(&self, position: usize, state: SensorState) {
        if let Some(slot) = self.states.get(position) {
            slot.store(state as u8, Ordering::Relaxed);
        }
    }

    /// The state of the sensor at a position.
    #[must_use]
    pub fn state(&self, position: usize) -> SensorState {
        match self
            .states
            .get(position)
            .map(|slot| slot.load(Ordering::Relaxed))
        {
            Some(1) => SensorState::Probing,
            Some(2) => SensorState::Online,
            Some(3) => SensorState::Degraded,
            _ => SensorState::Absent,
        }
    }
}
