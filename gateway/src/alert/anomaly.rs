//! What the detector finds, as alerts: of what is measured, and of the instrument.
//!
//! Promises: nothing while the model is too young to judge; an instrument that is stuck, scatters or jumps is
//! told as such, and while that lasts nothing is said about what it measures; an alert clears when the level
//! has been below seven tenths of what raised it for ten minutes; a finding that is worse escalates. Never:
//! a limit held back.

use firmware_shared::alert::{HeadShare, Severity};
use firmware_shared::detect::{AnomalyKind, Readiness, Verdict};

use super::condition::{Level, Rule};
use super::entry::{Entry, Subject};
use super::voice::{Saying, Voice, cut};
use crate::config::{Quantity, SensorConfig};

/// The part of the raising level above which nothing clears.
const HYSTERESIS: f32 = 0.7;
const OFF_DELAY_MS: u64 = 600_000;
/// Half an hour of what is critical is worse than it was.
const ESCALATE_AFTER_MS: u64 = 1_800_000;
/// A step may be the first sign of a loose wire: a fault within this time takes its place.
const STEP_DELAY_MS: u64 = 10_000;
/// Roles whose temperatures are the load's.
const CARGO_ROLES: [&str; 3] = ["load", "supply", "return"];

/// One reading, as the detector saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) at_ms: u64,
    pub(super) seq: u64,
    pub(super) unit: &'static str,
    pub(super) verdict: &'a Verdict,
}

/// Both families of findings about one sensor.
#[derive(Debug)]
pub(super) struct AnomalyWatch {
    score_min: f32,
    /// The worst that a finding of this sensor can be.
    severity_max: Severity,
    is_cargo: bool,
    pub(super) process: Family,
    pub(super) instrument: Family,
}

/// One condition whose kind the detector says.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) entry: Entry,
    episode: Option<Episode>,
}

/// What began.
#[derive(Debug, Clone, Copy)]
struct Episode {
    kind: AnomalyKind,
    severity: Severity,
    began_ms: u64,
    /// It counts as lasting until it could be told.
    is_fresh: bool,
}

impl AnomalyWatch {
    pub(super) fn new(sensor: &SensorConfig, score_min: f64) -> Self {
        let is_cargo = CARGO_ROLES.contains(&sensor.role.as_str());
        let is_act_now = is_cargo && sensor.quantity == Quantity::Temperature;
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
        let score_min = score_min as f32;
        Self {
            score_min,
            severity_max: match is_act_now {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            is_cargo,
            process: Family::default(),
            instrument: Family::default(),
        }
    }

    /// Whether it measures what is carried.
    pub(super) fn is_cargo(&self) -> bool {
        self.is_cargo
    }

    fn severity(&self, kind: AnomalyKind) -> Severity {
        let class = match kind {
            AnomalyKind::Runaway => Severity::Critical,
            AnomalyKind::Step
            | AnomalyKind::DoorLeftOpen
            | AnomalyKind::Drift
            | AnomalyKind::Other => Severity::Warning,
            // Blindness at the load is a risk of its own.
            AnomalyKind::Stuck if self.is_cargo => Severity::Warning,
            AnomalyKind::Stuck | AnomalyKind::Noise | AnomalyKind::Spike => Severity::Diagnostic,
        };
        class.min(self.severity_max)
    }

    /// Takes a verdict.
    pub(super) fn judge(&mut self, judged: &Judged<'_>, name: &str, voice: &mut Voice) {
        let verdict = judged.verdict;
        if verdict.readiness != Readiness::Ready {
            return;
        }
        let found = verdict.kind.filter(|_| verdict.score >= self.score_min);
        if let Some(kind) = found {
            let severity = self.severity(kind);
            if is_of_instrument(kind) {
                self.instrument.begin(judged.at_ms, kind, severity);
                self.process.forget_fresh();
            } else if !self.instrument.entry.is_raised() {
                self.process.begin(judged.at_ms, kind, severity);
            }
        }
        let level = match verdict.level {
            level if level >= self.score_min => Level::On,
            level if level >= HYSTERESIS * self.score_min => Level::Hold,
            _ => Level::Off,
        };
        self.instrument.step(judged, level, name, voice);
        let is_blind = self.instrument.entry.is_raised();
        let level = if is_blind { Level::Hold } else { level };
        self.process.step(judged, level, name, voice);
    }

    /// The sensor is at fault: what it said last counts for nothing, and nothing ends.
    pub(super) fn hold(&mut self, at_ms: u64, name: &str, voice: &mut Voice) {
        for family in [&mut self.process, &mut self.instrument] {
            family.forget_fresh();
            let (subject, rule) = (family.subject(name), family.rule());
            let words = |_| Saying::default();
            family
                .entry
                .step(at_ms, Level::Hold, &rule, subject, voice, words);
        }
    }
}

fn is_of_instrument(kind: AnomalyKind) -> bool {
    matches!(
        kind,
        AnomalyKind::Stuck | AnomalyKind::Noise | AnomalyKind::Spike
    )
}

/// The detector's names; "other" says nothing to anybody.
fn kind_name(kind: AnomalyKind) -> &'static str {
    match kind {
        AnomalyKind::Other => "anomaly",
        kind => kind.name(),
    }
}

impl Family {
    fn begin(&mut self, began_ms: u64, kind: AnomalyKind, severity: Severity) {
        let is_told = self.entry.is_raised();
        let is_news = self
            .episode
            .is_none_or(|before| severity > before.severity || !is_told);
        if is_news {
            self.episode = Some(Episode {
                kind,
                severity,
                began_ms,
                is_fresh: true,
            });
        }
    }

    fn forget_fresh(&mut self) {
        if !self.entry.is_raised() {
            self.episode = None;
        }
    }

    fn subject<'a>(&self, sensor: &'a str) -> Subject<'a> {
        let episode = self.episode;
        Subject {
            kind: episode.map_or("anomaly", |episode| kind_name(episode.kind)),
            severity: episode.map_or(Severity::Diagnostic, |episode| episode.severity),
            sensor,
        }
    }

    fn rule(&self) -> Rule {
        let episode = self.episode;
        let is_step = episode.is_some_and(|episode| episode.kind == AnomalyKind::Step);
        let is_critical = episode.is_some_and(|episode| episode.severity == Severity::Critical);
        Rule {
            on_delay_ms: if is_step { STEP_DELAY_MS } else { 0 },
            off_delay_ms: OFF_DELAY_MS,
            escalate_after_ms: is_critical.then_some(ESCALATE_AFTER_MS),
        }
    }

    fn step(&mut self, judged: &Judged<'_>, level: Level, name: &str, voice: &mut Voice) {
        let verdict = judged.verdict;
        let is_inside = verdict
            .actual
            .is_some_and(|value| value >= verdict.low && value <= verdict.high);
        let level = match self.episode {
            None if level == Level::Hold => Level::Hold,
            None if self.entry.is_raised() => level,
            None => Level::Off,
            // A step that is gone before it is told was none.
            Some(episode) if episode.is_fresh && episode.kind == AnomalyKind::Step && is_inside => {
                self.forget_fresh();
                Level::Off
            }
            Some(episode) if episode.is_fresh => Level::On,
            Some(_) => level,
        };
        let (subject, rule) = (self.subject(name), self.rule());
        let kind = self.episode.map(|episode| episode.kind);
        let was_raised = self.entry.is_raised();
        self.entry
            .step(judged.at_ms, level, &rule, subject, voice, |on| {
                saying(judged, kind.filter(|_| on), name)
            });
        let is_raised = self.entry.is_raised();
        if let Some(episode) = &mut self.episode {
            let due_ms = episode.began_ms.saturating_add(rule.on_delay_ms);
            episode.is_fresh &= !is_raised && judged.at_ms < due_ms;
            let is_over = was_raised || level == Level::Off;
            if !is_raised && !episode.is_fresh && is_over {
                self.episode = None;
            }
        }
    }
}

fn saying(judged: &Judged<'_>, kind: Option<AnomalyKind>, name: &str) -> Saying {
    let (verdict, unit) = (judged.verdict, judged.unit);
    let known = |value: f64| value.is_finite().then_some(rounded(value, 1000.0));
    let (expected, low, high) = (
        known(verdict.expected),
        known(verdict.low),
        known(verdict.high),
    );
    let actual = verdict.actual.unwrap_or_default();
    let text = match kind {
        Some(kind) => {
            let minutes = verdict.lasting_ms / 60_000;
            let lasting = match minutes {
                0 => String::new(),
                1 => " for a minute".to_owned(),
                minutes => format!(" for {minutes} minutes"),
            };
            let usual = match (expected, low, high) {
                (Some(expected), Some(low), Some(high)) => {
                    format!(", expected {expected:.1} ({low:.1} to {high:.1})")
                }
                _ => String::new(),
            };
            format!(
                "{name} is {actual:.1} {unit}{usual}{lasting}: {}",
                kind.sentence()
            )
        }
        None => format!("{name} is ordinary again: {actual:.1} {unit}"),
    };
    let share = |share: firmware_shared::detect::Share| HeadShare {
        head: cut(share.head.name()),
        share: rounded(f64::from(share.share), 100.0),
    };
    Saying {
        value: verdict.actual,
        unit,
        expected,
        low,
        high,
        seq: Some(judged.seq),
        text,
        score: Some(rounded(f64::from(verdict.score.max(verdict.level)), 1000.0)),
        duration_ms: kind.map(|_| verdict.lasting_ms),
        heads: verdict.heads.into_iter().flatten().map(share).collect(),
        ..Saying::default()
    }
}

/// As many digits as people read.
fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}
