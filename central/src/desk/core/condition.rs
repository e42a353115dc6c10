//! What the sensors and the status of a gateway mean: silent, out of calibration, full, worn, ending, unsure.
//!
//! Promises: a sensor is measured by the clock of its own gateway; between a bound and its hysteresis nothing is
//! said. Never: a silence that a backlog explains.

use firmware_shared::alert::Severity;
use firmware_shared::message::Status;
use firmware_shared::time::ClockSource;

use super::own::Own;
use super::{Core, Now, Shelf};
use crate::desk::store::StoreError;

/// A level must fall so far below its bound before the alarm is over, percent points.
const HYSTERESIS_PERCENT: f64 = 5.0;
const DAY_MS: i64 = 86_400_000;
const SENSOR_SILENT: &str = "sensor_silent";

impl Core {
    /// A sensor is silent by the clock of its gateway.
    pub(super) fn judge_sensors(
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

    pub(super) fn judge_status(
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
