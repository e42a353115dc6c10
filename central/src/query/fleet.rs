//! The whole fleet at a glance, kept up to date by looking only at what changed.
//!
//! Promises: after [`Fleet::refresh`] every vehicle is as the database has it; a vehicle about which nothing came is
//! not asked for again. Never: a walk over the readings of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::vehicle::{self, Device, Gateway, Position, Snapshot};
use super::{Cell, QueryError, Rows, list};

/// Frames are looked for from so long before the last look on: a commit may be that much older than its
/// becoming visible.
const OVERLAP_MS: i64 = 10_000;

/// The last value of a sensor, in few words.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Value {
    pub(crate) sensor: String,
    /// `null` while the sensor fails.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// A vehicle at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Vehicle {
    pub(crate) device: String,
    /// `up`, `lost`, `closed`, `unknown`.
    pub(crate) link: String,
    /// When the centre heard from it last.
    pub(crate) seen_ms: i64,
    /// When the frame with its newest reading came.
    pub(crate) received_ms: Option<i64>,
    /// UTC of its newest reading.
    pub(crate) utc_ms: Option<i64>,
    /// Who vouches for that: `gnss`, `ntp`, `rtc`, `fake`, `none`.
    pub(crate) utc_source: String,
    pub(crate) utc_error_ms: Option<i64>,
    pub(crate) software: String,
    pub(crate) position: Option<Position>,
    pub(crate) values: Vec<Value>,
    pub(crate) gateway: Gateway,
    /// Readings that its spool threw away to make room.
    pub(crate) evicted_count: u64,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    vehicles: BTreeMap<String, Vehicle>,
    known: BTreeMap<String, Device>,
    looked_ms: Option<i64>,
}

impl Fleet {
    /// Every vehicle by its name.
    pub(crate) fn vehicles(&self) -> &BTreeMap<String, Vehicle> {
        &self.vehicles
    }

    /// Brings it up to date; tells who changed. `now_ms` is UTC.
    pub(crate) fn refresh(
        &mut self,
        rows: &mut dyn Rows,
        now_ms: i64,
    ) -> Result<BTreeSet<String>, QueryError> {
        let heard = match self.looked_ms {
            Some(looked_ms) => heard_since(rows, looked_ms.saturating_sub(OVERLAP_MS))?,
            None => BTreeSet::new(),
        };
        let mut changed = BTreeSet::new();
        for device in vehicle::devices(rows)? {
            let is_known = self.known.get(&device.name) == Some(&device);
            if heard.contains(&device.name) || !is_known {
                let snapshot = vehicle::snapshot(rows, &device)?;
                if self.put(glance(&device, snapshot)) {
                    changed.insert(device.name.clone());
                }
            }
            self.known.insert(device.name.clone(), device);
        }
        self.looked_ms = Some(now_ms);
        Ok(changed)
    }

    fn put(&mut self, vehicle: Vehicle) -> bool {
        let is_new = self.vehicles.get(&vehicle.device) != Some(&vehicle);
        self.vehicles.insert(vehicle.device.clone(), vehicle);
        is_new
    }
}

fn heard_since(rows: &mut dyn Rows, since_ms: i64) -> Result<BTreeSet<String>, QueryError> {
    let sql = "SELECT DISTINCT device FROM frames WHERE received_ms > CAST($1 AS BIGINT)";
    let names = list(rows, sql, &[Cell::Int(since_ms)], |row| row.text(0))?;
    Ok(names.into_iter().collect())
}

fn glance(device: &Device, snapshot: Snapshot) -> Vehicle {
    let newest = snapshot.latest.iter().max_by_key(|latest| latest.utc_ms);
    Vehicle {
        device: device.name.clone(),
        link: device.link.clone(),
        seen_ms: device.seen_ms,
        received_ms: snapshot.received_ms,
        utc_ms: newest.and_then(|latest| latest.utc_ms),
        utc_source: newest.map_or_else(|| "none".to_owned(), |latest| latest.utc_source.clone()),
        utc_error_ms: newest.and_then(|latest| latest.utc_error_ms),
        software: snapshot.software,
        position: snapshot.position,
        values: snapshot
            .latest
            .iter()
            .filter(|latest| latest.kind != "position")
            .map(|latest| Value {
                sensor: latest.sensor.clone(),
                value: latest.value,
                unit: latest.unit.clone().unwrap_or_default(),
                fault: latest.fault.clone(),
            })
            .collect(),
        gateway: snapshot.gateway,
        evicted_count: snapshot.evicted_count,
    }
}
