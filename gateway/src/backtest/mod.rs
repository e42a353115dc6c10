//! `fleet-gateway backtest`: the alerts that a configuration would have raised.
//!
//! Promises: the very stages of the running gateway judge the readings, in the order of the file, with the
//! times of the file; the whole file is never in memory. Never: silence judged (a file says nothing about
//! when the gateway was off), a file that is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::Epoch;
use firmware_shared::reading::{Fault, FaultKind, Reading, Scalar, Score, Value};
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::units::{Celsius128, Unit};
use serde::Serialize;

use crate::alert::AlertDesk;
use crate::clock::Now;
use crate::config::{Config, Quantity, SensorConfig, TripProfile};
use crate::score::Scorer;
use crate::series::{Row, Series, SeriesError};

const DAY_MS: f64 = 86_400_000.0;
/// Beyond it no thermometer and no other part measures anything.
const VALUE_MAX: f64 = 1_000_000.0;

/// What is to be judged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Backtest<'a> {
    /// The sensors with their limits, and the detector.
    pub config: &'a Config,
    /// The sensor of a file that names none.
    pub sensor: Option<&'a str>,
    /// A trip that is in force all the time.
    pub trip: Option<&'a TripProfile>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The file is not what it should be.
    #[error("{0}")]
    Series(#[from] SeriesError),
    /// A name that the configuration does not know, or none where one is needed.
    #[error("{0}")]
    Sensor(String),
    /// Nobody takes the output.
    #[error("{0}")]
    Output(#[from] io::Error),
}

/// How many alerts of each severity.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct BySeverity<T> {
    /// Somebody must act.
    pub critical: T,
    /// Somebody should look.
    pub warning: T,
    /// For those who maintain the vehicle.
    pub diagnostic: T,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    /// From the first reading to the last.
    pub days: f64,
    /// Readings that were judged.
    pub readings: u64,
    /// Rows without a valid value among them.
    pub invalid: u64,
    /// Rows that were left out, because an earlier row was later.
    pub out_of_order: u64,
    /// Alerts that began, by the worst that they became; one that comes back counts again.
    pub raised: BySeverity<u64>,
    /// The same by what they were about then.
    pub raised_by_kind: BTreeMap<String, u64>,
    /// All of them, a day.
    pub alerts_per_day: f64,
    /// The same by severity.
    pub per_day: BySeverity<f64>,
    /// Ids of those that were open at the end.
    pub open: Vec<String>,
}

impl Backtest<'_> {
    /// Judges a file; `told` hears each transition as soon as the reading behind it was judged.
    ///
    /// # Errors
    /// [`BacktestError`].
    pub fn run(
        &self,
        file: impl Read,
        mut told: impl FnMut(&Alert) -> io::Result<()>,
    ) -> Result<Summary, BacktestError> {
        let mut table = Series::open_many(file)?;
        let default = match table.names_sensors() {
            true => None,
            false => Some(self.default_sensor()?),
        };
        let mut stage = Stage::new(self);
        while let Some(row) = table.next_row()? {
            let sensor = match (&row.sensor, default) {
                (Some(name), _) => self.sensor_of(name, row.line)?,
                (None, Some(sensor)) => sensor,
                (None, None) => continue,
            };
            stage.judge(sensor, &row);
            for alert in stage.desk.take() {
                stage.count(&alert);
                told(&alert)?;
            }
        }
        Ok(stage.summary())
    }

    fn default_sensor(&self) -> Result<&SensorConfig, BacktestError> {
        let judged = |sensor: &&SensorConfig| is_judged(sensor);
        let mut sensors = self.config.sensors().filter(judged);
        if let Some(name) = self.sensor {
            let found = sensors.find(|sensor| sensor.name == name);
            return found.ok_or_else(|| self.unknown(&format!("--sensor = {name:?}")));
        }
        let all: Vec<_> = sensors.collect();
        let mut loads = all.iter().filter(|sensor| sensor.role == "load");
        match (all.as_slice(), loads.next(), loads.next()) {
            ([only], _, _) | (_, Some(only), None) => Ok(only),
            _ => Err(self.unknown("the file has no column \"sensor\" and --sensor is missing")),
        }
    }

    fn sensor_of(&self, name: &str, line: u64) -> Result<&SensorConfig, BacktestError> {
        let mut sensors = self.config.sensors();
        let found = sensors.find(|sensor| sensor.name == name && is_judged(sensor));
        found.ok_or_else(|| self.unknown(&format!("line {line}: sensor = {name:?}")))
    }

    fn unknown(&self, what: &str) -> BacktestError {
        let names = self.config.sensors().filter(|sensor| is_judged(sensor));
        let names: Vec<&str> = names.map(|sensor| sensor.name.as_str()).collect();
        BacktestError::Sensor(format!("{what}; allowed is one of {}", names.join(", ")))
    }
}

/// A sensor whose values are numbers.
fn is_judged(sensor: &SensorConfig) -> bool {
    matches!(sensor.quantity, Quantity::Temperature | Quantity::Humidity)
}

/// The stages, and what is counted.
struct Stage {
    scorer: Scorer,
    desk: AlertDesk,
    seq: u64,
    first_ms: Option<u64>,
    last_ms: u64,
    /// By id, as what each alert counts.
    counted: BTreeMap<String, (Severity, String)>,
    summary: Summary,
}

impl Stage {
    fn new(backtest: &Backtest<'_>) -> Self {
        let config = backtest.config;
        let start = Now {
            real_ms: 0,
            stamp_ms: 0,
        };
        let mut scorer = Scorer::new(config.sensors());
        // The times of the file are UTC and stamps at once.
        scorer.utc(0, 0);
        let mut desk = AlertDesk::with_score(
            config.device.clone(),
            Epoch::from_random(0),
            config.sensors(),
            config.detector.alert_score,
            start,
        );
        desk.anchor(TimeAnchor {
            boottime_ms: 0,
            utc_ms: 0,
            error_ms: 0,
            source: ClockSource::Ntp,
        });
        if let Some(trip) = backtest.trip {
            scorer.set_points(trip.set_points.clone());
            desk.trip(trip.load_id.as_deref(), Some(trip.version), |index| {
                let sensor = config.sensors().find(|sensor| sensor.index == index);
                let limits = trip.limits.iter();
                limits
                    .filter(|limit| sensor.is_some_and(|sensor| limit.is_for(sensor)))
                    .map(|limit| &limit.rule)
                    .collect()
            });
        }
        Self {
            scorer,
            desk,
            seq: 0,
            first_ms: None,
            last_ms: 0,
            counted: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    fn judge(&mut self, sensor: &SensorConfig, row: &Row) {
        let at_ms = row.now_ms;
        if at_ms < self.last_ms {
            self.summary.out_of_order += 1;
            return;
        }
        self.first_ms.get_or_insert(at_ms);
        self.last_ms = at_ms;
        let value = value(sensor, row.input.value.ok());
        self.summary.readings += 1;
        self.summary.invalid += u64::from(matches!(value, Value::Fault(_)));
        let reading = Reading {
            stamp_ms: at_ms,
            sensor: sensor.index,
            score: Score::ORDINARY,
            value,
        };
        let verdict = self.scorer.step_around(&reading, &row.input.channels);
        let now = Now {
            real_ms: at_ms,
            stamp_ms: at_ms,
        };
        self.desk.reading(now, self.seq, &reading, &verdict);
        self.seq += 1;
    }

    fn count(&mut self, alert: &Alert) {
        let id = alert.id.to_string();
        let before = self.counted.get(&id).map(|(severity, _)| *severity);
        match (alert.state, before) {
            (AlertState::Raised, _) => {}
            (AlertState::Escalated, Some(before)) if alert.severity > before => {
                if let Some((severity, kind)) = self.counted.remove(&id) {
                    self.tally(severity, &kind, false);
                }
            }
            _ => return,
        }
        self.tally(alert.severity, &alert.kind, true);
        self.counted
            .insert(id, (alert.severity, alert.kind.to_string()));
    }

    fn tally(&mut self, severity: Severity, kind: &str, one_more: bool) {
        let raised = &mut self.summary.raised;
        let by_severity = match severity {
            Severity::Critical => &mut raised.critical,
            Severity::Warning => &mut raised.warning,
            Severity::Diagnostic => &mut raised.diagnostic,
        };
        let by_kind = self
            .summary
            .raised_by_kind
            .entry(kind.to_owned())
            .or_default();
        for count in [by_severity, by_kind] {
            *count = if one_more {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
        self.summary.raised_by_kind.retain(|_, count| *count > 0);
    }

    fn summary(mut self) -> Summary {
        let span_ms = self.last_ms - self.first_ms.unwrap_or(self.last_ms);
        let days = span_ms as f64 / DAY_MS;
        // Of less than an hour nothing can be said about a day.
        let a_day = |count: u64| match days {
            days if days > 1.0 / 24.0 => (count as f64 / days * 1000.0).round() / 1000.0,
            _ => 0.0,
        };
        let raised = self.summary.raised;
        self.summary.days = (days * 1000.0).round() / 1000.0;
        self.summary.alerts_per_day = a_day(raised.critical + raised.warning + raised.diagnostic);
        self.summary.per_day = BySeverity {
            critical: a_day(raised.critical),
            warning: a_day(raised.warning),
            diagnostic: a_day(raised.diagnostic),
        };
        let open = self.desk.open().map(|alert| alert.id.to_string());
        self.summary.open = open.collect();
        self.summary
    }
}

/// A number as the sensor would have said it; what it cannot have said is a fault.
fn value(sensor: &SensorConfig, number: Option<f64>) -> Value {
    let fault = Value::Fault(Fault {
        kind: FaultKind::IMPLAUSIBLE,
        register: 0,
        code: 0,
    });
    let Some(number) = number.filter(|number| number.abs() <= VALUE_MAX) else {
        return fault;
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most 10^6 * 1000")]
    let counts = |per_unit: f64| (number * per_unit).round() as i32;
    match sensor.quantity {
        Quantity::Humidity => Value::Scalar(Scalar {
            value: counts(1000.0),
            unit: Unit::PERCENT,
            scale: -3,
        }),
        _ => Value::Temperature(Celsius128(counts(f64::from(Celsius128::PER_DEGREE)))),
    }
}

/// One transition for people.
#[must_use]
pub fn line(alert: &Alert) -> String {
    let utc = alert.utc.as_deref().unwrap_or("-");
    let mut text = format!(
        "{utc}  {:<9} {:<10} {:<15} {}\n    {}\n",
        alert.state.name(),
        alert.severity.name(),
        alert.kind,
        alert.sensor,
        alert.text
    );
    if let Some(score) = alert.score.filter(|_| !alert.heads.is_empty()) {
        let heads = alert.heads.iter();
        let heads: Vec<String> = heads
            .map(|head| format!("{} {:.0} %", head.head, head.share * 100.0))
            .collect();
        // A String takes everything.
        writeln!(text, "    score {score}, by {}", heads.join(" and ")).unwrap_or_default();
    }
    text
}

impl Summary {
    /// The end of the output for people.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let (raised, a_day) = (&self.raised, &self.per_day);
        writeln!(
            out,
            "{} readings in {} days, {} of them invalid, {} rows left out because they go back in time",
            self.readings, self.days, self.invalid, self.out_of_order
        )?;
        writeln!(
            out,
            "alerts raised: {} critical, {} warning, {} diagnostic",
            raised.critical, raised.warning, raised.diagnostic
        )?;
        for (kind, count) in &self.raised_by_kind {
            writeln!(out, "    {kind}: {count}")?;
        }
        writeln!(
            out,
            "alerts a day: {} ({} critical, {} warning, {} diagnostic); open at the end: {}",
            self.alerts_per_day,
            a_day.critical,
            a_day.warning,
            a_day.diagnostic,
            self.open.len()
        )
    }
}

#[cfg(test)]
mod tests;
