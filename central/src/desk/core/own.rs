//! Alerts of the centre's own.
//!
//! Promises: one for each device, kind and sensor at a time; what is over is closed under the id that it began
//! with; a thing that happens again lasts longer and is not told again. Never: an alert that no input explains.

use firmware_shared::alert::{AlertState, Severity};

use super::alerts::Transition;
use super::followed::Vehicle;
use super::live::Live;
use super::{Core, Now, Shelf};
use crate::desk::item::{AlertItem, Finding};
use crate::desk::store::StoreError;

/// A thing that just happened is over when it does not happen again for so long.
const EVENT_MS: i64 = 600_000;

/// An alert of the centre's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    pub(super) device: String,
    pub(super) kind: &'static str,
    pub(super) sensor: String,
    pub(super) severity: Option<Severity>,
    pub(super) value: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) high: Option<f64>,
    pub(super) text: String,
}

impl Core {
    /// An alert of the centre's own begins; its id.
    pub(super) fn raise_own(
        &mut self,
        now: Now,
        own: Own,
        shelf: &dyn Shelf,
    ) -> Result<String, StoreError> {
        let id = match own.device.as_str() {
            "" => format!("centre-{}-{}", own.kind, now.utc_ms),
            device => format!("{device}-centre-{}-{}-{}", own.kind, own.sensor, now.utc_ms),
        };
        let item = AlertItem {
            id: id.clone(),
            groups: self.config.groups.of(&own.device),
            role: self.watch.role(&own.device, &own.sensor),
            device: own.device,
            kind: own.kind.to_owned(),
            sensor: own.sensor,
            severity: own.severity.unwrap_or(Severity::Warning),
            state: AlertState::Raised,
            text: own.text,
            value: own.value,
            unit: own.unit.to_owned(),
            expected: None,
            low: None,
            high: own.high,
            raised_ms: Some(now.utc_ms),
            cleared_ms: None,
            received_ms: now.utc_ms,
            changed_ms: now.utc_ms,
            late: false,
            muted: false,
            collapsed_into: None,
            members: 0,
            acknowledged_by: None,
            acknowledged_ms: None,
            notes: 0,
            epoch: None,
            seq: 0,
            window: None,
            finding: Finding::default(),
            announced: false,
            told: Vec::new(),
            told_severity: None,
            escalations: 0,
        };
        self.announce(now, Live::quiet(item), Transition::Raised, shelf)?;
        Ok(id)
    }

    /// A condition that holds, does not hold, or of which nothing is said.
    pub(super) fn level(
        &mut self,
        now: Now,
        own: Own,
        level: Option<bool>,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        match level {
            Some(true) => self.own_begins(now, own, shelf),
            Some(false) => {
                let text = format!("{}: {} is over.", own.device, own.kind.replace('_', " "));
                self.own_ends(now, &own.device, own.kind, &own.sensor, text);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn own_begins(
        &mut self,
        now: Now,
        own: Own,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let device = own.device.clone();
        let cause = (own.kind.to_owned(), own.sensor.clone());
        let is_open = |vehicle: &Vehicle| vehicle.own.contains_key(&cause);
        if self.watch.vehicles.get(&device).is_some_and(is_open) {
            return Ok(());
        }
        let id = self.raise_own(now, own, shelf)?;
        if let Some(vehicle) = self.watch.vehicles.get_mut(&device) {
            vehicle.own.insert(cause, id);
        }
        Ok(())
    }

    pub(super) fn own_ends(
        &mut self,
        now: Now,
        device: &str,
        kind: &str,
        sensor: &str,
        text: String,
    ) {
        let cause = (kind.to_owned(), sensor.to_owned());
        let vehicle = self.watch.vehicles.get_mut(device);
        if let Some(id) = vehicle.and_then(|vehicle| vehicle.own.remove(&cause)) {
            self.close(now, &id, text);
        }
    }

    /// Something happened; it is over when it does not happen again for a while.
    pub(super) fn happened(
        &mut self,
        now: Now,
        device: &str,
        kind: &'static str,
        text: String,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let own = Own {
            device: device.to_owned(),
            kind,
            sensor: "centre".to_owned(),
            severity: Some(Severity::Critical),
            text,
            ..Own::default()
        };
        let cause = (kind.to_owned(), "centre".to_owned());
        let id = self
            .watch
            .vehicles
            .get(device)
            .and_then(|vehicle| vehicle.own.get(&cause).cloned())
            .filter(|id| self.is_open(id));
        let id = match id {
            Some(id) => id,
            None => {
                let id = self.raise_own(now, own, shelf)?;
                if let Some(vehicle) = self.watch.vehicles.get_mut(device) {
                    vehicle.own.insert(cause, id.clone());
                }
                id
            }
        };
        self.lasts_until(&id, now.mono_ms + EVENT_MS);
        Ok(())
    }
}
