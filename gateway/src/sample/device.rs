//! One sensor: when it has its turn, and what becomes of it.
//!
//! ```text
//!            start ok             value or fault of its own
//!  Absent ------------> Probing --------------------------> Online
//!    ^                     |                                |   ^
//!    |  lost, or errors    |        error, not ready,       v   | value
//!    +---------------------+------- silent ------------- Degraded
//! ```
//! Promises: a turn is bounded in time by its transfers alone; the pause after a failed start grows to
//! [`BACKOFF_MS_MAX`], so that a part which comes back is back within seconds; a fault is said when it
//! begins or changes and repeated once a minute; no two readings of a sensor have the same stamp. Never: a
//! clock, a wait.

use firmware_shared::reading::{Fault, FaultKind, Reading, Score, Value};
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::units::Celsius128;
use sensor_drivers::Advice;
use sensor_drivers::gnss::GnssTime;

use super::SensorState;
use super::source::{Failure, Heard, Source};
use crate::config::SensorConfig;

/// First pause before a lost part is tried again.
pub(crate) const BACKOFF_MS_MIN: u64 = 250;
/// Longest such pause: one transfer to a missing address every few seconds disturbs nobody.
pub(super) const BACKOFF_MS_MAX: u64 = 2000;
/// The same for a part that makes the bus hang: each try costs the others on the bus a second.
const BACKOFF_HUNG_MS_MAX: u64 = 3000;
/// Pause after an error that only a person can remove.
const GIVE_UP_MS: u64 = 30_000;
/// Errors in a row after which a part that still answers is started again.
const ERRORS_MAX: u32 = 5;
/// Errors in a row that are worth a repetition at once.
const REPEATS_MAX: u32 = 2;
/// Turns of silence, in multiples of what counts as silent, before a part is started again.
const SILENT_RESTART_FACTOR: u64 = 6;
/// How often a lasting fault is repeated.
const FAULT_REPEAT_MS: u64 = 60_000;

/// What a turn gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A reading; its number and score are still to be given.
    Reading(Reading),
    /// What a receiver knows about UTC.
    Anchor(TimeAnchor),
}

/// One source of values with its sensors.
#[derive(Debug)]
pub(crate) struct Device<S> {
    index: u8,
    /// The sensor that has the second quantity of the same part.
    companion: Option<u8>,
    period_ms: u64,
    calibration: Celsius128,
    source: S,
    state: SensorState,
    due_ms: u64,
    /// The moment from which the periods count.
    grid_ms: u64,
    backoff_ms: u64,
    errors: u32,
    /// When the part last said something about its quantity, or was started.
    heard_ms: u64,
    said: Option<(FaultKind, u64)>,
    /// The stamp of its last reading.
    stamped_ms: Option<u64>,
    heard: Vec<Heard>,
}

impl<S: Source> Device<S> {
    /// A sensor that has its first turn at once.
    pub(crate) fn new(
        config: &SensorConfig,
        companion: Option<u8>,
        source: S,
        now_ms: u64,
    ) -> Self {
        Self {
            index: config.index,
            companion,
            period_ms: config.period_ms.max(1),
            calibration: config.calibration,
            source,
            state: SensorState::Absent,
            due_ms: now_ms,
            grid_ms: now_ms,
            backoff_ms: BACKOFF_MS_MIN / 2,
            errors: 0,
            heard_ms: now_ms,
            said: None,
            stamped_ms: None,
            heard: Vec::new(),
        }
    }

    /// What it asks.
    pub(crate) fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The fault that keeps it from giving values.
    pub(crate) fn fault(&self) -> Option<FaultKind> {
        self.said.map(|(kind, _)| kind)
    }

    /// When its next turn is due, as a stamp.
    pub(crate) fn due_ms(&self) -> u64 {
        match self.state {
            SensorState::Absent => self.due_ms,
            _ => self.due_ms.min(self.source.next_ms().unwrap_or(u64::MAX)),
        }
    }

    /// It has something to say: its turn is due.
    pub(crate) fn call(&mut self) {
        self.due_ms = 0;
    }

    /// Its state.
    pub(crate) fn state(&self) -> SensorState {
        self.state
    }

    /// Its turn.
    pub(crate) fn turn(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        if self.state == SensorState::Absent {
            self.start(now_ms, out);
        } else {
            self.fetch(now_ms, out);
        }
    }

    fn start(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        match self.source.start(now_ms) {
            Ok(wait_ms) => {
                self.state = SensorState::Probing;
                self.errors = 0;
                self.heard_ms = now_ms;
                self.grid_ms = now_ms.saturating_add(wait_ms);
                self.due_ms = self.grid_ms;
            }
            Err(Failure::NotReady { .. }) => self.retreat(now_ms, Advice::Reinitialise),
            Err(Failure::ConfigurationLost(fault)) => {
                self.say(fault, now_ms, out);
                self.retreat(now_ms, Advice::Reinitialise);
            }
            Err(Failure::Error(fault, advice)) => {
                self.say(fault, now_ms, out);
                self.retreat(now_ms, advice);
            }
        }
    }

    fn fetch(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let mut heard = std::mem::take(&mut self.heard);
        heard.clear();
        let result = self.source.fetch(now_ms, &mut heard);
        for item in &heard {
            self.hear(item, now_ms, out);
        }
        self.heard = heard;
        match result {
            Ok(()) => self.due_ms = self.next_on_grid(now_ms),
            Err(Failure::NotReady { wait_ms }) => {
                self.due_ms = now_ms.saturating_add(wait_ms.min(self.period_ms));
            }
            Err(failure) => return self.fail(failure, now_ms, out),
        }
        self.watch_silence(now_ms, out);
    }

    fn hear(&mut self, item: &Heard, now_ms: u64, out: &mut dyn FnMut(Output)) {
        match item {
            Heard::Time(time) => return out(Output::Anchor(anchor(time, now_ms))),
            Heard::Value(value) => {
                self.said = None;
                self.state = SensorState::Online;
                self.give(self.calibrated(*value), now_ms, out);
            }
            Heard::Companion(value) => {
                let stamp_ms = self.stamped_ms.unwrap_or(now_ms);
                if let Some(companion) = self.companion {
                    out(Output::Reading(self.reading(companion, *value, stamp_ms)));
                }
                return;
            }
            Heard::Note(fault) => return self.give(Value::Fault(*fault), now_ms, out),
            Heard::Fault(fault) => {
                // A receiver that searches works; a thermometer that is not ready does not.
                let works = fault.kind == FaultKind::NO_FIX;
                self.state = if works {
                    SensorState::Online
                } else {
                    SensorState::Degraded
                };
                self.say(*fault, now_ms, out);
            }
        }
        self.errors = 0;
        self.backoff_ms = BACKOFF_MS_MIN / 2;
        self.heard_ms = now_ms;
    }

    fn calibrated(&self, value: Value) -> Value {
        match value {
            Value::Temperature(raw) => {
                Value::Temperature(Celsius128(raw.0.saturating_add(self.calibration.0)))
            }
            value => value,
        }
    }

    /// Stamps of one sensor are all different and in order: when one turn gives several readings (a
    /// receiver that was read late), those after the first are a millisecond apart.
    fn give(&mut self, value: Value, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let least_ms = self
            .stamped_ms
            .map_or(0, |stamp_ms| stamp_ms.saturating_add(1));
        let stamp_ms = now_ms.max(least_ms);
        self.stamped_ms = Some(stamp_ms);
        out(Output::Reading(self.reading(self.index, value, stamp_ms)));
    }

    fn reading(&self, sensor: u8, value: Value, stamp_ms: u64) -> Reading {
        let score = Score::ORDINARY;
        Reading {
            stamp_ms,
            sensor,
            score,
            value,
        }
    }

    /// Says a fault, unless it is the one that was said within the last minute.
    fn say(&mut self, fault: Fault, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let known = self.said.is_some_and(|(kind, at_ms)| {
            kind == fault.kind && now_ms < at_ms.saturating_add(FAULT_REPEAT_MS)
        });
        if !known {
            self.said = Some((fault.kind, now_ms));
            self.give(Value::Fault(fault), now_ms, out);
            let stamp_ms = self.stamped_ms.unwrap_or(now_ms);
            if let Some(companion) = self.companion {
                let value = Value::Fault(fault);
                out(Output::Reading(self.reading(companion, value, stamp_ms)));
            }
        }
    }

    fn fail(&mut self, failure: Failure, now_ms: u64, out: &mut dyn FnMut(Output)) {
        self.errors = self.errors.saturating_add(1);
        let (fault, advice) = match failure {
            Failure::Error(fault, advice) => (fault, advice),
            Failure::ConfigurationLost(fault) => {
                self.say(fault, now_ms, out);
                self.state = SensorState::Absent;
                self.due_ms = now_ms.saturating_add(1);
                return;
            }
            Failure::NotReady { .. } => return,
        };
        self.say(fault, now_ms, out);
        match advice {
            Advice::RetryNow if self.errors <= REPEATS_MAX => {
                self.state = SensorState::Degraded;
                // At once, but under a stamp of its own.
                self.due_ms = now_ms.saturating_add(1);
            }
            Advice::RetryNow | Advice::RetryLater if self.errors < ERRORS_MAX => {
                self.state = SensorState::Degraded;
                self.due_ms = self.next_on_grid(now_ms);
            }
            advice => self.retreat(now_ms, advice),
        }
    }

    fn retreat(&mut self, now_ms: u64, advice: Advice) {
        self.state = SensorState::Absent;
        let most_ms = match advice {
            Advice::RecoverBus => BACKOFF_HUNG_MS_MAX,
            _ => BACKOFF_MS_MAX,
        };
        self.backoff_ms = (self.backoff_ms * 2).min(most_ms);
        let pause_ms = if advice == Advice::GiveUp {
            GIVE_UP_MS
        } else {
            self.backoff_ms
        };
        self.due_ms = now_ms.saturating_add(pause_ms);
    }

    fn watch_silence(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let silent_ms = self.source.silent_ms(self.period_ms);
        let quiet_ms = now_ms.saturating_sub(self.heard_ms);
        if quiet_ms < silent_ms {
            return;
        }
        self.state = SensorState::Degraded;
        self.say(self.source.silence(), now_ms, out);
        if quiet_ms >= silent_ms.saturating_mul(SILENT_RESTART_FACTOR) {
            self.retreat(now_ms, Advice::Reinitialise);
        }
    }

    /// The next multiple of the period; missed turns are not made up for.
    fn next_on_grid(&mut self, now_ms: u64) -> u64 {
        if now_ms < self.grid_ms {
            return self.grid_ms;
        }
        let turns = (now_ms - self.grid_ms) / self.period_ms + 1;
        self.grid_ms = self
            .grid_ms
            .saturating_add(turns.saturating_mul(self.period_ms));
        self.grid_ms
    }
}

fn anchor(time: &GnssTime, now_ms: u64) -> TimeAnchor {
    TimeAnchor {
        boottime_ms: now_ms,
        utc_ms: time.utc_ms,
        error_ms: time.accuracy_ms,
        source: ClockSource::Gnss,
    }
}
