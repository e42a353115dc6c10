//! Heads for faults of a heated or cooled space, for streams of at least one reading in two minutes.
//!
//! Promises: each head is a ratio to what this stream did before, so units and scale do not matter; the
//! ratios of all heads are brought to one measure (1.0 is about one false alert in twenty truck-days).
//! Never: judges before a day of ticks, learns while the set-point travels.

mod cycle;
mod expected;
mod explain;
mod level;
mod ramp;
mod sudden;

use serde::{Deserialize, Serialize};

use self::cycle::Cycle;
use self::expected::Cause;
use self::explain::Explain;
use self::level::{Age, Level};
use self::ramp::Ramp;
use self::sudden::{Readings, Sudden};
use super::input::Channels;
use super::number::{larger, smaller};
use super::verdict::{AnomalyKind, Head};

const TICKS_A_DAY: f32 = 1440.0;
/// Records grow freely in the first two days.
const LEARNING_TICKS: u32 = 2880;
/// The slow heads are silent on the first day.
const SILENT_TICKS: u32 = 1440;
/// Records of a young stream are too low by a share that falls with the days seen.
const CAUTION: f32 = 1.0;
const DAYS_MIN: f32 = 0.3;

/// What brings each head to the common measure: measured on clean synthetic fleets of one seed, once.
const JUMP: f32 = 2.1;
const SCATTER: f32 = 0.8;
const FLAT: f32 = 1.0;
const RAMP: [f32; 3] = [0.76, 0.66, 0.66];
/// What the level does in ordinary life at least: this share of the cycle, and of the usual bend.
const RIPPLE_OF_CYCLE: f32 = 0.06;
const RIPPLE_OF_GRAIN: f32 = 0.25;

/// One bend counts as this many usual bends at most, and what the first ones may teach.
const GRAIN_CLIP: f32 = 4.0;
const GRAIN_LEAST: f32 = 1.0e-6;
/// Memory of the usual bend, ticks.
const GRAIN_TICKS: f32 = 500.0;

/// The strongest finding of one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    pub(super) severity: f32,
    /// The strongest head, with what the slow ones said last.
    pub(super) standing: f32,
    pub(super) kind: AnomalyKind,
    /// What the expected value is told from.
    cause: Cause,
    pub(super) lasting: Lasting,
    /// All heads.
    pub(super) heads: [(Head, f32); 6],
}

/// How long a condition has lasted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lasting {
    Readings(u32),
    Ticks(u32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Thermal<const B: usize> {
    readings: Readings,
    level: Level,
    ramp: Ramp<B>,
    explain: Explain,
    cycle: Cycle,
    /// What the cycle adds at the newest tick.
    saw: f32,
    /// What the heat of doors added when the value last moved.
    heat: f32,
    /// The two ticks before, without the cycle.
    before: [f32; 2],
    /// The usual bend of three ticks: how finely this stream can be read.
    grain: f32,
    /// What the ramp head said at the newest tick, and the level heads at the newest block.
    rising: f32,
    moved: f32,
    ticks: u32,
}

impl<const B: usize> Thermal<B> {
    pub(super) fn new() -> Self {
        Self {
            readings: Readings::new(),
            level: Level::new(),
            ramp: Ramp::new(),
            explain: Explain::new(),
            cycle: Cycle::new(),
            saw: 0.0,
            heat: 0.0,
            before: [0.0; 2],
            grain: 0.0,
            rising: 0.0,
            moved: 0.0,
            ticks: 0,
        }
    }

    pub(super) fn forget_neighbours(&mut self) {
        self.readings.forget_neighbours();
        self.ramp.forget_neighbours();
        self.cycle.forget_neighbours();
    }

    /// The expected value and how far the value usually is from it; `offset` is the set-point.
    pub(super) fn usual(&self, offset: f32) -> Option<(f32, f32)> {
        self.level.rest()?;
        Some((
            self.level.expected() + offset + self.saw + self.explain.left(),
            2.0 * self.level.swing(),
        ))
    }

    /// `value` is the reading, `tick` the value of the tick that it closes, `offset` the set-point.
    pub(super) fn step(
        &mut self,
        now_ms: u64,
        value: f32,
        tick: Option<f32>,
        offset: f32,
        channels: &Channels,
    ) -> Finding {
        let age = self.age();
        let sudden = self.readings.step(value, age.caution, age.learning);
        let mut finding = Self::sudden(sudden);
        if let Some(tick) = tick {
            self.ticks = self.ticks.saturating_add(1);
            self.slow(now_ms, tick, offset, channels, age, &mut finding);
        }
        finding.standing = larger(larger(self.moved, self.rising), finding.severity);
        finding
    }

    fn age(&self) -> Age {
        let days = (self.ticks as f32 * (1.0 / TICKS_A_DAY)).max(DAYS_MIN);
        Age {
            caution: 1.0 + CAUTION / days,
            learning: self.ticks < LEARNING_TICKS,
            silent: self.ticks < SILENT_TICKS,
        }
    }

    fn sudden(said: Sudden) -> Finding {
        let (jump, scatter, flat) = (JUMP * said.jump, SCATTER * said.scatter, FLAT * said.flat);
        let mut finding = Finding {
            severity: jump,
            standing: 0.0,
            kind: said.jumped,
            cause: Cause::Disturbed,
            lasting: Lasting::Readings(1),
            heads: [
                (Head::Jump, jump),
                (Head::Roughness, scatter),
                (Head::FlatRun, flat),
                (Head::Ramp, 0.0),
                (Head::LevelUp, 0.0),
                (Head::LevelDown, 0.0),
            ],
        };
        let (noise, stuck) = (AnomalyKind::Noise, AnomalyKind::Stuck);
        finding.offer(scatter, noise, Cause::Disturbed, Lasting::Readings(8));
        finding.offer(flat, stuck, Cause::Stopped, Lasting::Readings(said.run));
        finding
    }

    fn slow(
        &mut self,
        now_ms: u64,
        tick: f32,
        offset: f32,
        channels: &Channels,
        age: Age,
        out: &mut Finding,
    ) {
        self.saw = self.cycle.step(tick);
        let value = tick - offset - self.saw - self.explain.left();
        // One spike must not move a block: the middle of three ticks.
        let [last, older] = self.before;
        self.before = [value, last];
        self.learn_grain((value - 2.0 * last + older).abs());
        let middle = if self.ticks < 3 {
            value
        } else {
            smaller(larger(older, last), larger(smaller(older, last), value))
        };
        let (rest, swing) = (self.level.rest(), self.level.swing());
        let above = rest.map_or(0.0, |rest| value - rest);
        if self.explain.tick(channels, above, swing) {
            self.level.relearn();
            self.ramp.forget_neighbours();
        }
        if self.readings.moves() {
            self.heat = self.explain.explained();
        }
        let smooth = self.ramp.smooth(value);
        let travels = self.explain.travels();
        self.rising = 0.0;
        if let Some(rest) = rest {
            let height = smooth - rest;
            let heat = self.explain.heat(height, swing);
            let above = height - heat;
            self.ramp.keep(above);
            if !travels {
                let rise = self.ramp.judge(now_ms, swing, age);
                let scores = rise
                    .scores
                    .iter()
                    .zip(RAMP)
                    .map(|(score, unit)| score * unit);
                let tall = if age.silent {
                    0.0
                } else {
                    scores.fold(0.0, larger)
                };
                self.rising = tall;
                out.note(Head::Ramp, tall);
                if tall > out.severity {
                    let (ticks, bent) = self.ramp.story();
                    let open = bent || channels.door == Some(true);
                    let kind = if open {
                        AnomalyKind::DoorLeftOpen
                    } else {
                        AnomalyKind::Runaway
                    };
                    out.offer(tall, kind, Cause::Rising, Lasting::Ticks(ticks));
                }
            }
        }
        if travels {
            self.moved = 0.0;
            return;
        }
        let of_cycle = RIPPLE_OF_CYCLE * self.cycle.reach();
        let ripple = larger(RIPPLE_OF_GRAIN * self.grain, of_cycle);
        if let Some(moved) = self.level.step(now_ms, middle, ripple, age) {
            let [up_4h, up_6h, down_90min, down_3h] = moved.scores;
            let (up, down) = (larger(up_6h, up_4h), larger(down_3h, down_90min));
            self.moved = larger(down, up);
            out.note(Head::LevelUp, up);
            out.note(Head::LevelDown, down);
            // A drift adds to whatever else goes on: what it has added is taken off the value.
            let now = smooth + offset + self.saw + self.explain.left();
            let (above, below) = (Cause::Moved(now - moved.up), Cause::Moved(now - moved.down));
            out.offer(up, AnomalyKind::Drift, above, Lasting::Ticks(240));
            out.offer(down, AnomalyKind::Drift, below, Lasting::Ticks(90));
        }
    }

    fn learn_grain(&mut self, bend: f32) {
        if self.ticks <= 3 {
            self.grain = bend;
        }
        let most = GRAIN_CLIP * self.grain + GRAIN_LEAST;
        self.grain += (smaller(most, bend) - self.grain) * (1.0 / GRAIN_TICKS);
    }
}

impl Finding {
    /// Takes another finding over when it is stronger.
    fn offer(&mut self, severity: f32, kind: AnomalyKind, cause: Cause, lasting: Lasting) {
        if severity > self.severity {
            (self.severity, self.kind, self.cause, self.lasting) = (severity, kind, cause, lasting);
        }
    }

    fn note(&mut self, head: Head, value: f32) {
        if let Some(slot) = self.heads.iter_mut().find(|slot| slot.0 == head) {
            slot.1 = value;
        }
    }
}
