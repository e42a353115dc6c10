//! Vehicles: who speaks, and who is silent.
//!
//! Promises: a vehicle is silent after the time of its group, counted from its last word or from the moment at
//! which the centre was last behind, whichever is later; one that said goodbye is parked and nobody is alarmed.
//! Never: an alarm about a vehicle while the centre is behind.

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::alert::Severity;
use firmware_shared::id::Epoch;

use super::followed::{Vehicle, view};
use super::heard::{Heard, Known, Pulse, What};
use super::own::Own;
use super::{Core, Now, Shelf};
use crate::desk::event::EventKind;
use crate::desk::item::AlertItem;
use crate::desk::store::StoreError;
use crate::desk::vehicle::{Condition, SensorView, VehicleState};
use crate::ingest::Link;

/// Publishes that wait for the database: with more, what is silent may only be unread.
const BACKLOG_MAX: usize = 256;
/// A core that was not asked for so long was not running: suspended, or starved.
const GAP_MS_MAX: i64 = 10_000;
/// The centre may be behind for so long before somebody is told.
const BEHIND_MS: i64 = 60_000;
pub(super) const SILENT: &str = "device_silent";
const BEHIND: &str = "centre_behind";

/// All vehicles.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) vehicles: BTreeMap<String, Vehicle>,
    timers: BTreeSet<(i64, String)>,
    changed: BTreeSet<String>,
    asked_mono: i64,
    /// Since when the centre keeps up; `None` while it is behind.
    ok_from: Option<i64>,
    behind_from: Option<i64>,
    behind_alert: Option<String>,
}

impl Watch {
    pub(super) fn new(now: Now) -> Self {
        Self {
            vehicles: BTreeMap::new(),
            timers: BTreeSet::new(),
            changed: BTreeSet::new(),
            asked_mono: now.mono_ms,
            ok_from: None,
            behind_from: Some(now.mono_ms),
            behind_alert: None,
        }
    }

    pub(super) fn touch(&mut self, device: &str) {
        if !device.is_empty() {
            self.changed.insert(device.to_owned());
        }
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// The role of a sensor.
    pub(super) fn role(&self, device: &str, sensor: &str) -> String {
        let sensors = self.vehicles.get(device).map(|vehicle| &vehicle.sensors);
        let found = sensors
            .into_iter()
            .flat_map(BTreeMap::values)
            .find(|known| known.known.name == sensor);
        found.map_or(String::new(), |sensor| sensor.known.role.clone())
    }

    /// The newest stamp of an epoch of a device.
    pub(super) fn stamp(&self, device: &str, epoch: Epoch) -> Option<u64> {
        let vehicle = self.vehicles.get(device)?;
        vehicle.stamp.filter(|_| vehicle.epoch == Some(epoch))
    }

    /// An alert of the centre's own that an earlier process of the centre raised.
    pub(super) fn recall(&mut self, item: &AlertItem, now: Now) {
        if item.kind == BEHIND {
            self.behind_alert = Some(item.id.clone());
            return;
        }
        let vehicle = self.vehicles.entry(item.device.clone()).or_default();
        if item.kind == SILENT {
            vehicle.condition = match item.sensor.as_str() {
                "link" => Condition::LinkLost,
                _ => Condition::Silent,
            };
        }
        if item.kind == "clock_unsure" {
            vehicle.unsure_from_mono =
                Some(now.mono_ms - now.utc_ms.saturating_sub(item.received_ms));
        }
        let cause = (item.kind.clone(), item.sensor.clone());
        vehicle.own.insert(cause, item.id.clone());
    }

    pub(super) fn state(&self, device: &str, groups: Vec<String>) -> Option<VehicleState> {
        let vehicle = self.vehicles.get(device)?;
        Some(VehicleState {
            device: device.to_owned(),
            groups,
            condition: vehicle.condition,
            link: vehicle.link,
            heard_ms: vehicle.heard_ms,
            data_ms: vehicle.data_ms,
            software: vehicle.software.clone(),
            status: vehicle.status.clone(),
            sensors: vehicle
                .sensors
                .values()
                .map(|sensor| SensorView {
                    index: sensor.known.index,
                    name: sensor.known.name.clone(),
                    role: sensor.known.role.clone(),
                    silent: sensor.is_silent,
                    calibration_until_day: sensor.known.calibration_until_day,
                })
                .collect(),
            open_alerts: 0,
            worst_open: None,
        })
    }

    fn arm(&mut self, device: &str, due: Option<i64>) {
        let Some(vehicle) = self.vehicles.get_mut(device) else {
            return;
        };
        if let Some(before) = vehicle.due.take() {
            self.timers.remove(&(before, device.to_owned()));
        }
        vehicle.due = due;
        if let Some(due) = due {
            self.timers.insert((due, device.to_owned()));
        }
    }
}

impl Core {
    /// Takes what the main database knows.
    pub(in crate::desk) fn knows(&mut self, known: Known) {
        let device = known.device.as_str().to_owned();
        let vehicle = self.watch.vehicles.entry(device.clone()).or_default();
        vehicle.link = known.link;
        vehicle.heard_ms = Some(known.seen_ms);
        vehicle.epoch = known.epoch;
        vehicle.software = known.software;
        if vehicle.condition == Condition::Unknown && known.link == Link::Closed {
            vehicle.condition = Condition::Parked;
        }
        vehicle.describe(known.sensors);
        if let Some((received_ms, status)) = known.status {
            vehicle.status = Some(view(&status, received_ms));
        }
        self.watch.touch(&device);
        self.arm_silence(&device);
    }

    /// Takes what was heard of a vehicle.
    pub(in crate::desk) fn heard(
        &mut self,
        now: Now,
        heard: Heard,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let device = heard.device.as_str().to_owned();
        // The broker's word about a vehicle is not the vehicle's own.
        let is_of_broker = matches!(
            heard.what,
            What::Link {
                link: Link::Lost,
                ..
            }
        );
        let word_ms = heard.at_ms.filter(|_| !is_of_broker);
        self.watch.touch(&device);
        let vehicle = self.watch.vehicles.entry(device.clone()).or_default();
        if word_ms.is_some() {
            vehicle.heard_mono = Some(now.mono_ms);
            vehicle.heard_ms = word_ms;
        }
        match heard.what {
            What::Word => {}
            What::Link { link, epoch } => {
                vehicle.link = link;
                if let Some(epoch) = epoch.filter(|epoch| vehicle.epoch != Some(*epoch)) {
                    vehicle.enter(epoch);
                    self.began_anew(now, &device, &epoch.to_string());
                }
            }
            What::Born {
                epoch,
                software,
                stamp_ms,
            } if vehicle.epoch == Some(epoch) => {
                vehicle.software = software;
                vehicle.note_stamp(stamp_ms);
            }
            What::Catalogue { epoch, sensors } if vehicle.epoch == Some(epoch) => {
                vehicle.describe(sensors);
            }
            // Of an earlier process.
            What::Born { .. } | What::Catalogue { .. } => {}
            What::Status(status) => {
                if vehicle.epoch == Some(status.epoch) {
                    vehicle.note_stamp(status.boottime_ms);
                }
                vehicle.status = Some(view(&status, word_ms.unwrap_or(now.utc_ms)));
                self.judge_status(now, &device, &status, shelf)?;
            }
            What::Readings { epoch, newest } => {
                vehicle.data_ms = word_ms.or(vehicle.data_ms);
                vehicle.take_readings(epoch, &newest);
                self.judge_sensors(now, &device, shelf)?;
            }
            What::Alarm { kind, text } => self.happened(now, &device, kind, text, shelf)?,
        }
        self.judge_link(now, &device, word_ms.is_some());
        Ok(())
    }

    /// Takes how the centre itself is.
    pub(in crate::desk) fn pulse(
        &mut self,
        now: Now,
        pulse: Pulse,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let keeps_up = pulse.is_connected && !pulse.is_stalled && pulse.backlog < BACKLOG_MAX;
        match (keeps_up, self.watch.ok_from) {
            (true, None) => {
                self.watch.ok_from = Some(now.mono_ms);
                self.watch.behind_from = None;
                if let Some(id) = self.watch.behind_alert.take() {
                    self.close(now, &id, "the centre keeps up again".to_owned());
                }
            }
            (false, Some(_)) => {
                self.watch.ok_from = None;
                self.watch.behind_from = Some(now.mono_ms);
            }
            _ => {}
        }
        let is_long = self
            .watch
            .behind_from
            .is_some_and(|from| now.mono_ms >= from + BEHIND_MS);
        if is_long && self.watch.behind_alert.is_none() {
            let why = match pulse {
                Pulse {
                    is_stalled: true, ..
                } => "its database takes no data",
                Pulse {
                    is_connected: false,
                    ..
                } => "it has no connection to the broker",
                _ => "more comes than it can store",
            };
            let own = Own {
                kind: BEHIND,
                sensor: "centre".to_owned(),
                severity: Some(Severity::Critical),
                text: format!(
                    "The centre is behind: {why}. Nothing is said about silent vehicles."
                ),
                ..Own::default()
            };
            self.watch.behind_alert = Some(self.raise_own(now, own, shelf)?);
        }
        Ok(())
    }

    pub(super) fn watch_deadline(&self) -> Option<i64> {
        // While the centre is behind nobody is silent.
        self.watch.ok_from?;
        self.watch.timers.first().map(|(due, _)| *due)
    }

    pub(super) fn tick_watch(&mut self, now: Now, shelf: &dyn Shelf) -> Result<(), StoreError> {
        if now.mono_ms - self.watch.asked_mono > GAP_MS_MAX && self.watch.ok_from.is_some() {
            self.watch.ok_from = Some(now.mono_ms);
        }
        self.watch.asked_mono = now.mono_ms;
        if self.watch.ok_from.is_none() {
            return Ok(());
        }
        while let Some((due, device)) = self.watch.timers.first().cloned() {
            if due > now.mono_ms {
                break;
            }
            self.watch.arm(&device, None);
            match self.silence_at(&device) {
                Some(at) if at <= now.mono_ms => self.falls_silent(now, &device, shelf)?,
                later => self.watch.arm(&device, later),
            }
        }
        Ok(())
    }

    /// When a vehicle that says nothing more is silent; `None` when nothing is expected of it.
    fn silence_at(&self, device: &str) -> Option<i64> {
        let vehicle = self.watch.vehicles.get(device)?;
        let is_expected = vehicle.link != Link::Closed
            && matches!(vehicle.condition, Condition::Heard | Condition::Unknown);
        if !is_expected {
            return None;
        }
        let after_ms = self
            .config
            .groups
            .silent_after_ms(device, self.config.desk.silent_after_s);
        let from = vehicle.heard_mono.max(self.watch.ok_from);
        Some(from.unwrap_or(self.watch.asked_mono) + after_ms)
    }

    fn arm_silence(&mut self, device: &str) {
        let due = self.silence_at(device);
        self.watch.arm(device, due);
    }

    fn falls_silent(
        &mut self,
        now: Now,
        device: &str,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let Some(vehicle) = self.watch.vehicles.get_mut(device) else {
            return Ok(());
        };
        let is_lost = vehicle.link == Link::Lost;
        vehicle.condition = match is_lost {
            true => Condition::LinkLost,
            false => Condition::Silent,
        };
        let since = vehicle
            .heard_ms
            .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
            .map_or("it was first known".to_owned(), |at| format!("{at:.0}"));
        let (sensor, what) = match is_lost {
            true => (
                "link",
                "the broker lost the connection, and it did not come back",
            ),
            false => ("gateway", "nothing comes, and it did not say goodbye"),
        };
        let own = Own {
            device: device.to_owned(),
            kind: SILENT,
            sensor: sensor.to_owned(),
            severity: Some(Severity::Warning),
            text: format!("{device} is silent since {since}: {what}."),
            ..Own::default()
        };
        self.condition_event(now, device);
        self.own_begins(now, own, shelf)
    }

    /// The link or a word may end a silence, or begin the time until the next one.
    fn judge_link(&mut self, now: Now, device: &str, is_word: bool) {
        let Some(vehicle) = self.watch.vehicles.get_mut(device) else {
            return;
        };
        let before = vehicle.condition;
        if is_word {
            vehicle.condition = match vehicle.link {
                Link::Closed => Condition::Parked,
                _ => Condition::Heard,
            };
        } else if vehicle.condition == Condition::Silent && vehicle.link == Link::Lost {
            vehicle.condition = Condition::LinkLost;
        }
        let after = vehicle.condition;
        if before != after {
            if matches!(after, Condition::Heard | Condition::Parked) {
                let text = match after {
                    Condition::Parked => format!("{device} said goodbye."),
                    _ => format!("{device} speaks again."),
                };
                for sensor in ["link", "gateway"] {
                    self.own_ends(now, device, SILENT, sensor, text.clone());
                }
            }
            self.condition_event(now, device);
        }
        self.arm_silence(device);
    }

    fn condition_event(&mut self, now: Now, device: &str) {
        if let Some(state) = self.vehicle(device) {
            let body = serde_json::to_string(&state).unwrap_or_default();
            self.event(now, EventKind::Vehicle, None, device, body);
        }
        self.watch.touch(device);
    }
}
