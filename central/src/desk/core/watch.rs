//! Vehicles: who speaks, who is silent, and what their gateways say about themselves.
//!
//! Promises: a vehicle is silent after the time of its group, counted from its last word or from the moment at
//! which the centre was last behind, whichever is later; one that said goodbye is parked and nobody is alarmed; a
//! sensor is measured by the clock of its own gateway. Never: an alarm about a vehicle while the centre is behind.

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::alert::Severity;
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::message::Status;

use super::alerts::Own;
use super::{Core, Now, Shelf};
use crate::desk::event::EventKind;
use crate::desk::item::AlertItem;
use crate::desk::store::StoreError;
use crate::desk::vehicle::{Condition, MoreView, SensorView, StatusView, VehicleState};
use crate::ingest::Link;

/// Publishes that wait for the database: with more, what is silent may only be unread.
const BACKLOG_MAX: usize = 256;
/// A core that was not asked for so long was not running: suspended, or starved.
const GAP_MS_MAX: i64 = 10_000;
/// The centre may be behind for so long before somebody is told.
const BEHIND_MS: i64 = 60_000;
/// A thing that just happened is over when it does not happen again for so long.
const EVENT_MS: i64 = 600_000;
/// A level must fall so far below its bound before the alarm is over, percent points.
const HYSTERESIS_PERCENT: f64 = 5.0;
const DAY_MS: i64 = 86_400_000;
/// Sensors of one vehicle that are followed.
const SENSORS_MAX: usize = 64;

pub(super) const SILENT: &str = "device_silent";
const SENSOR_SILENT: &str = "sensor_silent";
const BEHIND: &str = "centre_behind";

/// Something that was heard of a vehicle, committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) device: DeviceId,
    /// When it came; `None` for what is no word of the vehicle by itself.
    pub(crate) at_ms: Option<i64>,
    pub(crate) what: What,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// Anything else that shows that it speaks.
    Word,
    /// How it is connected, and which process of its gateway speaks.
    Link {
        link: Link,
        epoch: Option<Epoch>,
    },
    /// That process began, at this stamp.
    Born {
        epoch: Epoch,
        software: String,
        stamp_ms: u64,
    },
    Catalogue {
        epoch: Epoch,
        sensors: Vec<SensorKnown>,
    },
    Status(Box<Status>),
    /// The newest stamp of each sensor in a batch.
    Readings {
        epoch: Epoch,
        newest: Vec<(u8, u64)>,
    },
    /// Something that the centre found out about it.
    Alarm {
        kind: &'static str,
        text: String,
    },
}

/// A sensor as the catalogue describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SensorKnown {
    pub(crate) index: u8,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) period_ms: u32,
    pub(crate) calibration_until_day: Option<i32>,
}

/// What the main database knows about a vehicle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) device: DeviceId,
    pub(crate) link: Link,
    pub(crate) seen_ms: i64,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) software: String,
    pub(crate) sensors: Vec<SensorKnown>,
    pub(crate) status: Option<(i64, Status)>,
}

/// How the centre itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pulse {
    pub(crate) is_connected: bool,
    pub(crate) is_stalled: bool,
    pub(crate) backlog: usize,
}

#[derive(Debug)]
struct Sensor {
    known: SensorKnown,
    stamp: Option<u64>,
    is_silent: bool,
}

#[derive(Debug, Default)]
struct Vehicle {
    condition: Condition,
    link: Link,
    heard_mono: Option<i64>,
    heard_ms: Option<i64>,
    data_ms: Option<i64>,
    epoch: Option<Epoch>,
    software: String,
    /// The first stamp of this epoch that the centre saw, and the newest.
    base: Option<u64>,
    stamp: Option<u64>,
    /// The newest stamp up to which readings are expected to be here.
    data_stamp: Option<u64>,
    sensors: BTreeMap<u8, Sensor>,
    status: Option<StatusView>,
    unsure_from_mono: Option<i64>,
    /// Open alerts of the centre's own about it: kind and sensor.
    own: BTreeMap<(String, String), String>,
    due: Option<i64>,
}

/// All vehicles.
#[derive(Debug)]
pub(super) struct Watch {
    vehicles: BTreeMap<String, Vehicle>,
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

    /// A sensor is silent by the clock of its gateway.
    fn judge_sensors(
        &mut self,
        now: Now,
        device: &str,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let after_ms = self
            .config
            .groups
            .sensor_silent_after_ms(device, self.config.desk.sensor_silent_after_s);
        let mut turns = Vec::new();
        if let Some(vehicle) = self.watch.vehicles.get_mut(device) {
            let (data_stamp, base) = (vehicle.data_stamp, vehicle.base);
            for sensor in vehicle.sensors.values_mut() {
                // Ten periods at least: a slow sensor is not a silent one.
                let limit = after_ms
                    .unsigned_abs()
                    .max(u64::from(sensor.known.period_ms) * 10);
                let from = sensor.stamp.or(base);
                let is_silent = sensor.known.period_ms > 0
                    && data_stamp
                        .zip(from)
                        .is_some_and(|(newest, from)| newest.saturating_sub(from) > limit);
                if is_silent != sensor.is_silent {
                    sensor.is_silent = is_silent;
                    turns.push((sensor.known.name.clone(), is_silent, limit / 1_000));
                }
            }
        }
        for (sensor, is_silent, limit_s) in turns {
            if !is_silent {
                let text = format!("{sensor} of {device} gives readings again.");
                self.own_ends(now, device, SENSOR_SILENT, &sensor, text);
                continue;
            }
            let own = Own {
                device: device.to_owned(),
                kind: SENSOR_SILENT,
                severity: Some(Severity::Warning),
                text: format!(
                    "{sensor} of {device} gives no reading for {limit_s} s; the gateway speaks."
                ),
                sensor,
                ..Own::default()
            };
            self.own_begins(now, own, shelf)?;
        }
        Ok(())
    }

    fn judge_status(
        &mut self,
        now: Now,
        device: &str,
        status: &Status,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let after_ms = self
            .config
            .groups
            .sensor_silent_after_ms(device, self.config.desk.sensor_silent_after_s);
        if let Some(vehicle) = self.watch.vehicles.get_mut(device) {
            // With a backlog readings come later than the status, and nobody is silent by that.
            let is_current = vehicle.epoch == Some(status.epoch);
            if is_current && status.oldest_unacked_ms < after_ms.unsigned_abs() / 4 {
                vehicle.data_stamp = vehicle.data_stamp.max(Some(status.boottime_ms));
            }
        }
        self.judge_sensors(now, device, shelf)?;
        self.judge_calibration(now, device, shelf)?;
        self.judge_more(now, device, status, shelf)
    }

    fn judge_calibration(
        &mut self,
        now: Now,
        device: &str,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let today = now.utc_ms.div_euclid(DAY_MS);
        let Some(vehicle) = self.watch.vehicles.get(device) else {
            return Ok(());
        };
        let sensors: Vec<(String, bool)> = vehicle
            .sensors
            .values()
            .filter_map(|sensor| {
                let until = sensor.known.calibration_until_day?;
                Some((sensor.known.name.clone(), i64::from(until) < today))
            })
            .collect();
        for (sensor, is_over) in sensors {
            let own = Own {
                device: device.to_owned(),
                kind: "calibration_expired",
                severity: Some(Severity::Diagnostic),
                text: format!("The calibration of {sensor} of {device} is out of date."),
                sensor,
                ..Own::default()
            };
            self.level(now, own, Some(is_over), shelf)?;
        }
        Ok(())
    }

    fn judge_more(
        &mut self,
        now: Now,
        device: &str,
        status: &Status,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        let Some(more) = &status.more else {
            return Ok(());
        };
        let desk = self.config.desk.clone();
        let own = |kind, value: f64, unit, high: f64, text: String| Own {
            device: device.to_owned(),
            kind,
            sensor: "gateway".to_owned(),
            severity: Some(Severity::Warning),
            value: Some(value),
            unit,
            high: Some(high),
            text,
        };
        if more.spool_max_bytes > 0 {
            let used = status.spool_bytes as f64 * 100.0 / more.spool_max_bytes as f64;
            let bound = f64::from(desk.spool_percent);
            let text = format!(
                "The spool of {device} is {used:.0} % full; then the oldest readings are lost."
            );
            let level = above(used, bound, HYSTERESIS_PERCENT);
            self.level(
                now,
                own("spool_near_full", used, "%", bound, text),
                level,
                shelf,
            )?;
        }
        let worn = f64::from(more.card_life_used_permille) / 10.0;
        let bound = f64::from(desk.card_life_percent);
        let text = format!("The card of {device} has used {worn:.0} % of its life.");
        let level = above(worn, bound, 0.0);
        self.level(now, own("card_worn", worn, "%", bound, text), level, shelf)?;
        if let Some(until_s) = more
            .certificate_until_s
            .filter(|_| desk.certificate_days > 0)
        {
            let left = (until_s.saturating_mul(1_000) - now.utc_ms) as f64 / DAY_MS as f64;
            let bound = f64::from(desk.certificate_days);
            let text = match left < 0.0 {
                true => format!("The certificate of {device} has ended."),
                false => format!("The certificate of {device} ends in {left:.0} days."),
            };
            let level = Some(left < bound);
            self.level(
                now,
                own("certificate_ending", left, "d", bound, text),
                level,
                shelf,
            )?;
        }
        self.judge_clock(now, device, status, shelf)
    }

    fn judge_clock(
        &mut self,
        now: Now,
        device: &str,
        status: &Status,
        shelf: &dyn Shelf,
    ) -> Result<(), StoreError> {
        use firmware_shared::time::ClockSource;
        let Some(more) = &status.more else {
            return Ok(());
        };
        let is_sure = matches!(more.clock_source, ClockSource::Ntp | ClockSource::Gnss);
        let Some(vehicle) = self.watch.vehicles.get_mut(device) else {
            return Ok(());
        };
        vehicle.unsure_from_mono = match is_sure {
            true => None,
            // A gateway that runs for long without a clock has been unsure since its boot, for all we know.
            false => vehicle.unsure_from_mono.or(Some(now.mono_ms)),
        };
        let wait_ms = i64::from(self.config.desk.clock_unsure_s) * 1_000;
        let level = match vehicle.unsure_from_mono {
            None => Some(false),
            Some(from) if now.mono_ms >= from + wait_ms => Some(true),
            Some(_) => None,
        };
        let own = Own {
            device: device.to_owned(),
            kind: "clock_unsure",
            sensor: "gateway".to_owned(),
            severity: Some(Severity::Diagnostic),
            text: format!(
                "The clock of {device} has neither NTP nor GNSS; its source is {}.",
                more.clock_source.name()
            ),
            ..Own::default()
        };
        self.level(now, own, level, shelf)
    }

    /// A condition that holds, does not hold, or of which nothing is said.
    fn level(
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

    fn own_begins(&mut self, now: Now, own: Own, shelf: &dyn Shelf) -> Result<(), StoreError> {
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

    fn own_ends(&mut self, now: Now, device: &str, kind: &str, sensor: &str, text: String) {
        let cause = (kind.to_owned(), sensor.to_owned());
        let vehicle = self.watch.vehicles.get_mut(device);
        if let Some(id) = vehicle.and_then(|vehicle| vehicle.own.remove(&cause)) {
            self.close(now, &id, text);
        }
    }

    /// Something happened; it is over when it does not happen again for a while.
    fn happened(
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

/// Whether a level is above its bound; between bound and hysteresis nothing is said.
fn above(level: f64, bound: f64, hysteresis: f64) -> Option<bool> {
    if level >= bound {
        Some(true)
    } else if level < bound - hysteresis {
        Some(false)
    } else {
        None
    }
}

fn view(status: &Status, received_ms: i64) -> StatusView {
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

impl Vehicle {
    /// Stamps of another process of the gateway say nothing about this one.
    fn enter(&mut self, epoch: Epoch) {
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

    fn note_stamp(&mut self, stamp_ms: u64) {
        self.base = self.base.or(Some(stamp_ms));
        self.stamp = self.stamp.max(Some(stamp_ms));
    }

    fn describe(&mut self, sensors: Vec<SensorKnown>) {
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

    fn take_readings(&mut self, epoch: Epoch, newest: &[(u8, u64)]) {
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
