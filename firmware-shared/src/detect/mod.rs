//! The on-device anomaly detector: one `step` per reading, for any stream of numbers.
//!
//! Promises: strictly causal (a score never changes because of what comes later); constant memory and no
//! heap; the same scores, to rounding, when all values are scaled and shifted; a snapshot that goes on
//! bit for bit where it stopped; ageing, so that it is not deaf after months; invalid readings, gaps and
//! bus codes teach it nothing. Never: reads a clock, knows a file, a name or a length, judges while it
//! is too young (the verdict says so, and limits have to do).
//!
//! Two families of heads, each with its own rule for episodes:
//! * [`context`] novelty, short mean and hour of the week, averaged over members: any kind of stream;
//! * [`thermal`] heads for the faults of a heated or cooled space: streams of at least one reading in two
//!   minutes.
//!
//! `now` is milliseconds on a clock that goes on over restarts; its phase gives hour of day and week.

mod context;
mod episode;
pub mod gnss;
mod input;
mod number;
mod pace;
mod ranked;
mod ring;
mod season;
mod snapshot;
mod thermal;
mod verdict;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::input::{Channels, Input, Invalid};
pub use self::snapshot::{SNAPSHOT_VERSION, SnapshotError};
pub use self::verdict::{AnomalyKind, Head, Readiness, Sentence, Share, Verdict};

use self::context::{Member, SHAPES};
use self::episode::{Hold, Rarity};
use self::number::larger;
use self::pace::Pace;
use self::season::Season;
use self::thermal::{Finding, Lasting, Thermal};

/// Flat runs of at least this many ticks count in the general family.
const FLAT_TICKS: u16 = 8;
const FLAT: f32 = 0.5;
/// The weight of the hour of the week, and its cap: as for the short mean.
const SEASON: f32 = 0.7;
const SEASON_FULL: f32 = 5.0;
const SEASON_CAP: f32 = 4.0;
/// The general score at which an alert is reasonable; for a fast stream, where the thermal heads know
/// more and an unusual order of levels is ordinary life, it has to be far higher.
const GENERAL_UNIT: f32 = 0.6;
const GENERAL_UNIT_FAST: f32 = 6.0;

/// At most 4 KiB of state.
pub type Small = Detector<2, 225, 192, 24>;
/// At most 48 KiB of state.
pub type Large = Detector<4, 400, 4096, 48>;

/// The model of one stream: `M` context members with `P` and `T` cells, `B` bins of the day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detector<const M: usize, const P: usize, const T: usize, const B: usize> {
    /// The first value, to which all others are relative.
    base: Option<f64>,
    set_point: Option<f64>,
    pace: Pace,
    members: heapless::Vec<Member<P, T>, M>,
    season: Season,
    flat: FlatTicks,
    rarity: Rarity,
    thermal: Thermal<B>,
    hold: Hold,
    /// The general family at the newest tick, and the stronger family at the newest reading.
    general: f32,
    standing: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatTicks {
    last: Option<f64>,
    run: u16,
    longest: u16,
}

/// What the general family says about a tick.
#[derive(Debug, Clone, Copy, Default)]
struct General {
    score: f32,
    context: f32,
    short_mean: f32,
    season: f32,
    flat: f32,
}

impl<const M: usize, const P: usize, const T: usize, const B: usize> Default
    for Detector<M, P, T, B>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const M: usize, const P: usize, const T: usize, const B: usize> Detector<M, P, T, B> {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        const { assert!(M <= SHAPES.len(), "each member has a shape of its own") };
        let mut members = heapless::Vec::new();
        while members.push(Member::new()).is_ok() {}
        Self {
            base: None,
            set_point: None,
            pace: Pace::new(),
            members,
            season: Season::new(),
            flat: FlatTicks {
                last: None,
                run: 0,
                longest: 0,
            },
            rarity: Rarity::new(),
            thermal: Thermal::new(),
            hold: Hold::new(),
            general: 0.0,
            standing: 0.0,
        }
    }

    /// Judges one reading, then learns from it.
    pub fn step(&mut self, now_ms: u64, input: &Input) -> Verdict {
        let value = match input.value {
            Ok(value) if value.is_finite() => value,
            _ => return self.no_value(),
        };
        let base = *self.base.get_or_insert(value);
        let relative = (value - base) as f32;
        if !relative.is_finite() {
            return self.no_value();
        }
        self.learn_set_point(&input.channels);
        let beat = self.pace.beat(now_ms, relative);
        if beat.gap {
            self.members.iter_mut().for_each(Member::forget_order);
            self.thermal.forget_neighbours();
        }
        let general = beat.tick.map(|tick| self.general(now_ms, tick, value));
        if beat.tick.is_some() {
            self.hold.tick();
        }
        if self.pace.is_fast() {
            let offset = self.set_point.map_or(0.0, |point| (point - base) as f32);
            let channels = &input.channels;
            let finding = self
                .thermal
                .step(now_ms, relative, beat.tick, offset, channels);
            self.fast_verdict(value, base, offset, general.unwrap_or_default(), &finding)
        } else {
            self.general_verdict(value, base, general.unwrap_or_default())
        }
    }

    fn no_value(&self) -> Verdict {
        let expected = self.base.unwrap_or(f64::NAN);
        Verdict {
            score: 0.0,
            level: self.standing / (1.0 + self.standing),
            kind: None,
            expected,
            low: expected,
            high: expected,
            actual: None,
            lasting_ms: 0,
            heads: [None; 2],
            readiness: Readiness::NoValue,
        }
    }

    /// A set-point that appears later moves the coordinate of the thermal heads: they start again.
    fn learn_set_point(&mut self, channels: &Channels) {
        let Some(point) = channels.set_point.filter(|point| point.is_finite()) else {
            return;
        };
        if self.set_point.is_none() {
            self.thermal = Thermal::new();
        }
        self.set_point = Some(point);
    }

    fn general(&mut self, now_ms: u64, tick: f32, value: f64) -> General {
        let flat = self.flat.step(value);
        let away = self.season.step(now_ms, tick);
        let mut sum = General {
            season: SEASON * (away * (1.0 / SEASON_FULL)).min(SEASON_CAP),
            flat,
            ..General::default()
        };
        let mut score = 0.0;
        let mut ready = true;
        for (member, shape) in self.members.iter_mut().zip(SHAPES) {
            let novelty = member.step(shape, tick);
            ready &= member.is_ready();
            let powers = [novelty.context, novelty.short_mean, sum.season, flat].map(|x| x * x);
            score += libm::sqrtf(powers.iter().sum()) / M as f32;
            sum.context += novelty.context / M as f32;
            sum.short_mean += novelty.short_mean / M as f32;
        }
        let score = if ready { score } else { 0.0 };
        self.general = score;
        sum.score = self.rarity.judge(score);
        sum
    }

    fn readiness(&self) -> Readiness {
        let ready = self.members.iter().all(Member::is_ready);
        if ready {
            Readiness::Ready
        } else {
            Readiness::Cold
        }
    }

    fn general_verdict(&mut self, value: f64, base: f64, general: General) -> Verdict {
        let (expected, wide) = self.members.first().map_or((0.0, 0.0), Member::usual);
        let heads = general.heads();
        let (score, kind) = (general.score / GENERAL_UNIT, general.kind());
        let around = (base + f64::from(expected), f64::from(wide));
        self.standing = self.general / GENERAL_UNIT;
        self.verdict(score, kind, value, around, u64::from(self.flat.run), &heads)
    }

    fn fast_verdict(
        &mut self,
        value: f64,
        base: f64,
        offset: f32,
        general: General,
        finding: &Finding,
    ) -> Verdict {
        let thermal = self.hold.judge(finding.severity);
        self.standing = larger(self.general * (1.0 / GENERAL_UNIT_FAST), finding.standing);
        let other = general.score * (1.0 / GENERAL_UNIT_FAST);
        let usual = self.thermal.usual(offset);
        // Without a level nothing is expected: the band is open.
        let (expected, wide) = usual.unwrap_or(((value - base) as f32, f32::INFINITY));
        if other > thermal {
            let around = (base + f64::from(expected), f64::from(wide));
            return self.verdict(other, general.kind(), value, around, 0, &general.heads());
        }
        let expected = if thermal > 0.0 {
            let reading_ticks = self.pace.usual_ms() / 60_000.0;
            self.thermal.expected(finding, offset, reading_ticks)
        } else {
            expected
        };
        let around = (base + f64::from(expected), f64::from(wide));
        let lasting_ms = match finding.lasting {
            Lasting::Readings(count) => (count as f32 * self.pace.usual_ms()) as u64,
            Lasting::Ticks(count) => u64::from(count) * 60_000,
        };
        self.verdict(
            thermal,
            finding.kind,
            value,
            around,
            lasting_ms,
            &finding.heads,
        )
    }

    fn verdict(
        &self,
        severity: f32,
        kind: AnomalyKind,
        value: f64,
        around: (f64, f64),
        lasting_ms: u64,
        heads: &[(Head, f32)],
    ) -> Verdict {
        let score = if severity > 0.0 {
            severity / (1.0 + severity)
        } else {
            0.0
        };
        let (expected, wide) = around;
        Verdict {
            score,
            level: self.standing / (1.0 + self.standing),
            kind: (score > 0.0).then_some(kind),
            expected,
            low: expected - wide,
            high: expected + wide,
            actual: Some(value),
            lasting_ms,
            heads: if score > 0.0 {
                top_two(heads)
            } else {
                [None; 2]
            },
            readiness: self.readiness(),
        }
    }
}

impl FlatTicks {
    /// A run of equal values that is longer than any before.
    fn step(&mut self, value: f64) -> f32 {
        self.run = if self.last == Some(value) {
            self.run.saturating_add(1)
        } else {
            0
        };
        self.last = Some(value);
        let novel = self.run > self.longest && self.run >= FLAT_TICKS;
        self.longest = self.longest.max(self.run);
        if novel { FLAT } else { 0.0 }
    }
}

impl General {
    fn heads(&self) -> [(Head, f32); 4] {
        [
            (Head::Context, self.context),
            (Head::ShortMean, self.short_mean),
            (Head::Season, self.season),
            (Head::FlatRun, self.flat),
        ]
    }

    fn kind(&self) -> AnomalyKind {
        let rest = self.context.max(self.short_mean).max(self.season);
        if self.flat > rest {
            AnomalyKind::Stuck
        } else {
            AnomalyKind::Other
        }
    }
}

fn top_two(heads: &[(Head, f32)]) -> [Option<Share>; 2] {
    let sum: f32 = heads.iter().map(|head| head.1).sum();
    let mut top: [Option<Share>; 2] = [None; 2];
    if sum <= 0.0 {
        return top;
    }
    for (head, value) in heads.iter().copied().filter(|head| head.1 > 0.0) {
        let share = Share {
            head,
            share: value / sum,
        };
        let [first, second] = top;
        if first.is_none_or(|first| share.share > first.share) {
            top = [Some(share), first];
        } else if second.is_none_or(|second| share.share > second.share) {
            top = [first, Some(share)];
        }
    }
    top
}
