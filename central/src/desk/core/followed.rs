//! One vehicle as the desk follows it: its sensors, its stamps, what its gateway last said.
//!
//! Promises: stamps of another process of the gateway say nothing about this one; a sensor that is described anew
//! stays the one it was when it has the same name. Never: a judgement.

use std::collections::BTreeMap;

use firmware_shared::id::Epoch;
use firmware_shared::message::Status;

use super::heard::SensorKnown;
use crate::desk::vehicle::{Condition, MoreView, StatusView};
use crate::ingest::Link;

/// Sensors of one vehicle that are followed.
const SENSORS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Sensor {
    pub(super) known: SensorKnown,
    pub(super) stamp: Option<u64>,
    pub(super) is_silent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Vehicle {
    pub(super) condition: Condition,
    pub(super) link: Link,
    pub(super) heard_mono: Option<i64>,
    pub(super) heard_ms: Option<i64>,
    pub(super) data_ms: Option<i64>,
    pub(super) epoch: Option<Epoch>,
    pub(super) software: String,
    /// The first stamp of this epoch that the centre saw, and the newest.
    pub(super) base: Option<u64>,
    pub(super) stamp: Option<u64>,
    /// The newest stamp up to which readings are expected to be here.
    pub(super) data_stamp: Option<u64>,
    pub(super) sensors: BTreeMap<u8, Sensor>,
    pub(super) status: Option<StatusView>,
    pub(super) unsure_from_mono: Option<i64>,
    /// Open alerts of the centre's own about it: kind and sensor.
    pub(super) own: BTreeMap<(String, String), String>,
    pub(super) due: Option<i64>,
}

impl Vehicle {
    /// Stamps of another process of the gateway say nothing about this one.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.base = None;
        self.stamp = None;
        self.data_stamp = None;
        for sensor in self.sensors.values_mut() {
            sensor.stamp = None;
        }
    }

    pub(super) fn note_stamp(&mut self, stamp_ms: u64) {
        self.base = self.base.or(Some(stamp_ms));
        self.stamp = self.stamp.max(Some(stamp_ms));
    }

    pub(super) fn describe(&mut self, sensors: Vec<SensorKnown>) {
        let mut before = std::mem::take(&mut self.sensors);
        self.sensors = sensors
            .into_iter()
            .take(SENSORS_MAX)
            .map(|known| {
                let same = before
                    .remove(&known.index)
                    .filter(|sensor| sensor.known.name == known.name);
                let sensor = Sensor {
                    stamp: same.as_ref().and_then(|sensor| sensor.stamp),
                    is_silent: same.is_some_and(|sensor| sensor.is_silent),
                    known,
                };
                (sensor.known.index, sensor)
            })
            .collect();
    }

    pub(super) fn take_readings(&mut self, epoch: Epoch, newest: &[(u8, u64)]) {
        // A batch of an earlier process is history.
        if self.epoch != Some(epoch) {
            return;
        }
        for (index, stamp_ms) in newest {
            self.note_stamp(*stamp_ms);
            self.data_stamp = self.data_stamp.max(Some(*stamp_ms));
            if let Some(sensor) = self.sensors.get_mut(index) {
                sensor.stamp = sensor.stamp.max(Some(*stamp_ms));
            }
        }
    }
}

pub(super) fn view(status: &Status, received_ms: i64) -> StatusView {
    StatusView {
        received_ms,
        spool_bytes: status.spool_bytes,
        oldest_unacked_ms: status.oldest_unacked_ms,
        ram_mode: status.ram_mode,
        more: status.more.as_ref().map(|more| MoreView {
            spool_max_bytes: more.spool_max_bytes,
            evicted: more.evicted,
            card_life_used_percent: f64::from(more.card_life_used_permille) / 10.0,
            clock_source: more.clock_source.name(),
            clock_error_ms: more.clock_error_ms,
            certificate_until_ms: more.certificate_until_s.map(|s| s.saturating_mul(1_000)),
            ack_latency_ms: more.ack_latency_ms,
            plan_used_bytes: more.plan_used_bytes,
            plan_max_bytes: more.plan_max_bytes,
        }),
    }
}
