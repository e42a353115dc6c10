//! The position detector: jump, freeze, frozen sentence, drag-off, loss.
//!
//! Promises: rules with units, no training; a tunnel, a cold start and multipath are no alert; one
//! verdict per epoch, each fault reported when it starts and not again before it ended; a snapshot goes on
//! where it stopped. Never: drops a position, looks at absolute places.
//!
//! Limit: a spoof that forges position, speed and time consistently cannot be seen from the receiver's
//! own output; that takes an odometer, inertial sensors or radio levels.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::reading::Position;

/// The version of the snapshot; another version is refused, and the rules start anew.
pub const GNSS_SNAPSHOT_VERSION: u8 = 2;

/// The fastest that a vehicle goes, m/s.
const VEHICLE_SPEED_MAX: f32 = 60.0;
/// A jump is this much farther than that, m.
const JUMP_M: f32 = 80.0;
/// Moving, m/s: below it a standing position is ordinary.
const MOVING_SPEED: f32 = 3.0;
/// A position may repeat for this long while moving; a sentence for two epochs.
const FREEZE_MS: u64 = 5_000;
const REPEATS_MAX: u32 = 2;
/// Drag-off: the receiver's speed and its positions may disagree by this, m/s, plus a share of the
/// accuracy (multipath moves positions and says so), smoothed over this time.
const SLACK_SPEED: f32 = 0.6;
const SLACK_PER_ACCURACY: f32 = 0.125;
const SMOOTH_S: f32 = 10.0;
/// Bad reception scatters the disagreement, a spoof does not: scatter beyond this, m/s, counts so many times
/// as slack, over this time.
const SCATTER_SPEED: f32 = 1.0;
const SCATTER_SLACK: f32 = 2.0;
const SCATTER_S: f32 = 30.0;
/// Disagreement that is an alert, m, and that ends it.
const DRAG_M: f32 = 30.0;
const DRAG_END_M: f32 = 10.0;
/// Accuracy that is assumed when the receiver does not say, and worse than which nothing is judged, m.
const ACCURACY_M: f32 = 5.0;
const ACCURACY_MAX_M: f32 = 50.0;
/// Fixes after an acquisition that are not judged: the filter settles.
const SETTLE_FIXES: u32 = 15;
/// Neighbouring fixes are at most this far apart in time.
const NEIGHBOURS_MS: u64 = 5_000;
/// A fix that comes so many periods behind the one before it may be an old one, kept by a receiver that could
/// not be read: when it was found is anywhere between both.
const LATE_PERIODS: u64 = 2;
/// Silent for this many periods: the receiver is lost.
const SILENT_PERIODS: u64 = 3;
/// No fix for longer than any tunnel, and than any cold start.
const TUNNEL_MS: u64 = 15 * 60_000;
const COLD_START_MS: u64 = 30 * 60_000;
const METRES_PER_DEGREE: f32 = 111_320.0;

/// What the receiver gave in one period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Epoch {
    /// A valid fix, and the time of day that it carries.
    Fix {
        /// The position.
        position: Position,
        /// Time of day in the sentence.
        time_of_day_ms: Option<u32>,
    },
    /// The receiver talks but has no fix.
    NoFix,
    /// Nothing came.
    Silent,
}

/// What is wrong with positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GnssFault {
    /// Farther from the last fix than a vehicle can go.
    Jump,
    /// The position stands while the speed says moving.
    Freeze,
    /// The same sentence again and again.
    FrozenSentence,
    /// Positions leave the track that the speed describes.
    DragOff,
    /// The receiver is silent, or without a fix for longer than any tunnel.
    Loss,
}

impl GnssFault {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jump => "jump",
            Self::Freeze => "freeze",
            Self::FrozenSentence => "frozen_sentence",
            Self::DragOff => "drag_off",
            Self::Loss => "loss",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Last {
    now_ms: u64,
    /// How much earlier it may have been found than it came.
    late_ms: u64,
    lat: i32,
    lon: i32,
    speed: Option<f32>,
    course: Option<f32>,
    accuracy_m: f32,
}

/// The state of one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GnssDetector {
    period_ms: u64,
    last: Option<Last>,
    /// Since when the position has not moved.
    standing_ms: u64,
    time_of_day_ms: Option<u32>,
    repeats: u32,
    fixes: u32,
    silent: u64,
    lost_ms: Option<u64>,
    ever: bool,
    /// Smoothed disagreement of speed and positions, north and east, m/s; and its sum, m.
    north: f32,
    east: f32,
    drag_m: f32,
    /// How far single disagreements are from the smoothed one, m/s.
    scatter: f32,
    /// Faults that are on.
    on: u8,
}

impl GnssDetector {
    /// A detector for a receiver with this period.
    #[must_use]
    pub const fn new(period_ms: u64) -> Self {
        Self {
            period_ms,
            last: None,
            standing_ms: 0,
            time_of_day_ms: None,
            repeats: 0,
            fixes: 0,
            silent: 0,
            lost_ms: None,
            ever: false,
            north: 0.0,
            east: 0.0,
            drag_m: 0.0,
            scatter: 0.0,
            on: 0,
        }
    }

    /// Whether a fault is on: said and not yet over. A jump is over when it has been said.
    #[must_use]
    pub fn is_on(&self, fault: GnssFault) -> bool {
        self.on & fault.bit() != 0
    }

    /// Judges one epoch: the fault that starts here, if one does.
    pub fn step(&mut self, now_ms: u64, epoch: &Epoch) -> Option<GnssFault> {
        match epoch {
            Epoch::Fix {
                position,
                time_of_day_ms,
            } => self.fix(now_ms, position, *time_of_day_ms),
            Epoch::NoFix => self.no_fix(now_ms, false),
            Epoch::Silent => self.no_fix(now_ms, true),
        }
    }

    fn no_fix(&mut self, now_ms: u64, silent: bool) -> Option<GnssFault> {
        self.silent = if silent {
            self.silent.saturating_add(1)
        } else {
            0
        };
        self.fixes = 0;
        let since_ms = *self.lost_ms.get_or_insert(now_ms);
        let patience_ms = if self.ever { TUNNEL_MS } else { COLD_START_MS };
        let without_ms = now_ms.saturating_sub(since_ms) + self.period_ms;
        let lost = self.silent >= SILENT_PERIODS || without_ms > patience_ms;
        self.turn(GnssFault::Loss, lost, lost)
    }

    fn fix(&mut self, now_ms: u64, at: &Position, time_ms: Option<u32>) -> Option<GnssFault> {
        (self.silent, self.lost_ms, self.ever) = (0, None, true);
        self.turn(GnssFault::Loss, false, false);
        if let Some(frozen) = self.sentence(time_ms) {
            return frozen;
        }
        self.fixes = self.fixes.saturating_add(1);
        let next = Last {
            now_ms,
            late_ms: self.late_ms(now_ms),
            lat: at.lat.0,
            lon: at.lon.0,
            speed: at.speed.map(|speed| speed.0 as f32 / 1e3),
            course: at.course.map(|course| (course.0 as f32 / 1e5).to_radians()),
            accuracy_m: at
                .h_acc
                .map_or(ACCURACY_M, |accuracy| accuracy.0 as f32 / 1e3),
        };
        let Some(last) = self.last.replace(next) else {
            self.standing_ms = now_ms;
            return None;
        };
        let moved = last.moved(&next);
        let jump = self.jump(&last, &next, moved);
        // After a jump the disagreement is known; it must not be told again as a drag-off.
        let freeze = self.freeze(&last, &next);
        let drag = self.drag(&last, &next, moved, jump.is_some());
        jump.or(freeze).or(drag)
    }

    fn late_ms(&self, now_ms: u64) -> u64 {
        let apart_ms = self.last.map_or(0, |l| now_ms.saturating_sub(l.now_ms));
        let is_late = apart_ms > LATE_PERIODS * self.period_ms;
        if is_late { apart_ms } else { 0 }
    }

    /// A repeated sentence is no measurement: `Some` ends the epoch.
    fn sentence(&mut self, time_ms: Option<u32>) -> Option<Option<GnssFault>> {
        let same = time_ms.is_some() && time_ms == self.time_of_day_ms;
        self.time_of_day_ms = time_ms;
        self.repeats = if same {
            self.repeats.saturating_add(1)
        } else {
            0
        };
        let frozen = self.repeats >= REPEATS_MAX;
        let said = self.turn(GnssFault::FrozenSentence, frozen, frozen);
        same.then_some(said)
    }

    fn jump(&mut self, last: &Last, next: &Last, moved: (f32, f32)) -> Option<GnssFault> {
        let apart_ms = next.now_ms.saturating_sub(last.now_ms);
        let seconds = apart_ms.saturating_add(last.late_ms) as f32 / 1e3;
        let reach = VEHICLE_SPEED_MAX * seconds + JUMP_M + last.accuracy_m + next.accuracy_m;
        let jumped = self.settled(next) && length(moved) > reach;
        // Each jump is an event of its own.
        self.turn(GnssFault::Jump, jumped, false)
    }

    fn freeze(&mut self, last: &Last, next: &Last) -> Option<GnssFault> {
        let moving = next.speed.is_some_and(|speed| speed > MOVING_SPEED);
        if !moving || (last.lat, last.lon) != (next.lat, next.lon) {
            self.standing_ms = next.now_ms;
        }
        let frozen = next.now_ms.saturating_sub(self.standing_ms) >= FREEZE_MS;
        self.turn(GnssFault::Freeze, frozen, frozen)
    }

    fn drag(
        &mut self,
        last: &Last,
        next: &Last,
        moved: (f32, f32),
        jumped: bool,
    ) -> Option<GnssFault> {
        let apart_ms = next.now_ms.saturating_sub(last.now_ms);
        let neighbours = apart_ms > 0 && apart_ms <= NEIGHBOURS_MS && last.late_ms == 0;
        let told = last.travelled(next);
        let (Some(told), true) = (told, neighbours && !jumped && self.settled(next)) else {
            (self.north, self.east, self.drag_m) = (0.0, 0.0, 0.0);
            return self.turn(GnssFault::DragOff, false, false);
        };
        let seconds = apart_ms as f32 / 1e3;
        let rate = (seconds / SMOOTH_S).min(1.0);
        let north = (moved.0 - told.0) / seconds - self.north;
        let east = (moved.1 - told.1) / seconds - self.east;
        self.north += rate * north;
        self.east += rate * east;
        let steady = (seconds / SCATTER_S).min(1.0);
        self.scatter += steady * (length((north, east)) - self.scatter);
        let accuracy_m = next.accuracy_m.max(last.accuracy_m);
        let scatter = SCATTER_SLACK * (self.scatter - SCATTER_SPEED).max(0.0);
        let slack = SLACK_SPEED + SLACK_PER_ACCURACY * accuracy_m + scatter;
        let over = length((self.north, self.east)) - slack;
        self.drag_m = (self.drag_m + over * seconds).max(0.0);
        let on = self.on & GnssFault::DragOff.bit() != 0;
        self.turn(
            GnssFault::DragOff,
            self.drag_m > DRAG_M,
            on && self.drag_m > DRAG_END_M,
        )
    }

    fn settled(&self, next: &Last) -> bool {
        self.fixes > SETTLE_FIXES && next.accuracy_m <= ACCURACY_MAX_M
    }

    /// Says a fault when it starts; `stays` keeps it on without saying it again.
    fn turn(&mut self, fault: GnssFault, starts: bool, stays: bool) -> Option<GnssFault> {
        let was_on = self.on & fault.bit() != 0;
        if starts || stays {
            self.on |= if stays || fault != GnssFault::Jump {
                fault.bit()
            } else {
                0
            };
        } else {
            self.on &= !fault.bit();
        }
        (starts && !was_on).then_some(fault)
    }
}

impl Last {
    /// Metres north and east to the next fix.
    fn moved(&self, next: &Self) -> (f32, f32) {
        let degrees = |from: i32, to: i32| (f64::from(to) - f64::from(from)) as f32 / 1e7;
        let mut east_degrees = degrees(self.lon, next.lon);
        // Across the date line the short way is meant.
        if east_degrees.abs() > 180.0 {
            east_degrees -= 360.0 * east_degrees.signum();
        }
        let shrink = libm::cosf((next.lat as f32 / 1e7).to_radians());
        let north = degrees(self.lat, next.lat) * METRES_PER_DEGREE;
        (north, east_degrees * METRES_PER_DEGREE * shrink)
    }

    /// Metres north and east that speed and course tell, from the middle of both fixes.
    fn travelled(&self, next: &Self) -> Option<(f32, f32)> {
        let seconds = next.now_ms.saturating_sub(self.now_ms) as f32 / 1e3;
        let (from, to) = (self.velocity()?, next.velocity()?);
        Some((
            (from.0 + to.0) / 2.0 * seconds,
            (from.1 + to.1) / 2.0 * seconds,
        ))
    }

    /// Velocity north and east; without a course only standing is known.
    fn velocity(&self) -> Option<(f32, f32)> {
        let speed = self.speed?;
        match self.course {
            Some(course) => Some((speed * libm::cosf(course), speed * libm::sinf(course))),
            None if speed < 1.0 => Some((0.0, 0.0)),
            None => None,
        }
    }
}

fn length(vector: (f32, f32)) -> f32 {
    libm::hypotf(vector.0, vector.1)
}
