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

use embedded_hal::i2c::I2c;
use firmware_shared::reading::{Fault, FaultKind, Reading, Score, Value};
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::units::Celsius128;
use sensor_drivers::gnss::GnssTime;
use sensor_drivers::{Advice, ClassifyBus, SensorError};

use super::SensorState;
use super::chip::{Chip, Heard, fault_of};
use crate::config::SensorConfig;

/// First pause before a lost part is tried again.
pub(super) const BACKOFF_MS_MIN: u64 = 250;
/// Longest such pause: one transfer to a missing address every few seconds disturbs nobody.
pub(super) const BACKOFF_MS_MAX: u64 = 4000;
/// Pause after an error that only a person can remove.
const GIVE_UP_MS: u64 = 30_000;
/// Pause after "no fresh value": half a conversion of the slowest setting in use.
const NOT_READY_MS: u64 = 250;
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
pub enum Output {
    /// A reading; its number and score are still to be given.
    Reading(Reading),
    /// What a receiver knows about UTC.
    Anchor(TimeAnchor),
}

/// One sensor on one bus.
#[derive(Debug)]
pub struct Device<I> {
    index: u8,
    period_ms: u64,
    calibration: Celsius128,
    chip: Chip<I>,
    state: SensorState,
    due_ms: u64,
    backoff_ms: u64,
    errors: u32,
    /// When the part last said something about its quantity, or was started.
    heard_ms: u64,
    said: Option<(FaultKind, u64)>,
    /// The stamp of its last reading.
    stamped_ms: Option<u64>,
    heard: Vec<Heard>,
}

impl<I> Device<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A sensor that has its first turn at once.
    pub fn new(config: &SensorConfig, i2c: I, now_ms: u64) -> Self {
        Self {
            index: config.index,
            period_ms: config.period_ms.max(1),
            calibration: config.calibration,
            chip: Chip::new(config.driver, i2c, config.address),
            state: SensorState::Absent,
            due_ms: now_ms,
            backoff_ms: BACKOFF_MS_MIN / 2,
            errors: 0,
            heard_ms: now_ms,
            said: None,
            stamped_ms: None,
            heard: Vec::new(),
        }
    }

    /// When its next turn is due, as a stamp.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Its state.
    pub fn state(&self) -> SensorState {
        self.state
    }

    /// Its turn.
    pub fn turn(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        if self.state == SensorState::Absent {
            self.start(now_ms, out);
        } else {
            self.fetch(now_ms, out);
        }
    }

    fn start(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        match self.chip.start(now_ms) {
            Ok(wait_ms) => {
                self.state = SensorState::Probing;
                self.errors = 0;
                self.heard_ms = now_ms;
                self.due_ms = now_ms.saturating_add(wait_ms);
            }
            Err(error) => {
                self.say(fault_of(&error), now_ms, out);
                self.retreat(now_ms, error.advice());
            }
        }
    }

    fn fetch(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let mut heard = std::mem::take(&mut self.heard);
        heard.clear();
        let result = self.chip.fetch(now_ms, &mut heard);
        for item in &heard {
            self.hear(item, now_ms, out);
        }
        self.heard = heard;
        match result {
            Ok(()) => self.due_ms = self.next_on_grid(now_ms),
            Err(SensorError::NotReady) => {
                self.due_ms = now_ms.saturating_add(NOT_READY_MS.min(self.period_ms));
            }
            Err(error) => return self.fail(&error, now_ms, out),
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
        let (sensor, score) = (self.index, Score::ORDINARY);
        out(Output::Reading(Reading {
            stamp_ms,
            sensor,
            score,
            value,
        }));
    }

    /// Says a fault, unless it is the one that was said within the last minute.
    fn say(&mut self, fault: Fault, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let known = self.said.is_some_and(|(kind, at_ms)| {
            kind == fault.kind && now_ms < at_ms.saturating_add(FAULT_REPEAT_MS)
        });
        if !known {
            self.said = Some((fault.kind, now_ms));
            self.give(Value::Fault(fault), now_ms, out);
        }
    }

    fn fail(&mut self, error: &SensorError<I::Error>, now_ms: u64, out: &mut dyn FnMut(Output)) {
        self.errors = self.errors.saturating_add(1);
        self.say(fault_of(error), now_ms, out);
        match error.advice() {
            _ if matches!(error, SensorError::ConfigurationLost { .. }) => {
                self.state = SensorState::Absent;
                self.due_ms = now_ms.saturating_add(1);
            }
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
        self.backoff_ms = (self.backoff_ms * 2).min(BACKOFF_MS_MAX);
        let pause_ms = if advice == Advice::GiveUp {
            GIVE_UP_MS
        } else {
            self.backoff_ms
        };
        self.due_ms = now_ms.saturating_add(pause_ms);
    }

    fn watch_silence(&mut self, now_ms: u64, out: &mut dyn FnMut(Output)) {
        let silent_ms = self.chip.silent_ms(self.period_ms);
        let quiet_ms = now_ms.saturating_sub(self.heard_ms);
        if quiet_ms < silent_ms {
            return;
        }
        self.state = SensorState::Degraded;
        self.say(self.chip.silence(), now_ms, out);
        if quiet_ms >= silent_ms.saturating_mul(SILENT_RESTART_FACTOR) {
            self.retreat(now_ms, Advice::Reinitialise);
        }
    }

    /// The next multiple of the period after the last due moment; missed turns are not made up for.
    fn next_on_grid(&self, now_ms: u64) -> u64 {
        let late_ms = now_ms.saturating_sub(self.due_ms);
        let turns = late_ms / self.period_ms + 1;
        self.due_ms
            .saturating_add(turns.saturating_mul(self.period_ms))
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
