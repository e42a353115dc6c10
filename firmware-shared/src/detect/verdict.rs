//! What the detector says about one reading, in numbers and in a sentence.
//!
//! Promises: a score in [0, 1] that is non-zero only where an episode starts or grows; the value that was
//! expected, with a band; the two heads that contributed most. Never: a score without a kind.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What an anomaly looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// One reading far away and back.
    Spike,
    /// A sudden change that stays.
    Step,
    /// Readings that scatter.
    Noise,
    /// A value that does not move.
    Stuck,
    /// A rise (or fall) that does not end.
    Runaway,
    /// A rise like that of an open door, for longer than doors are open.
    DoorLeftOpen,
    /// A level that leaves its usual place over hours.
    Drift,
    /// A context that was never seen.
    Other,
}

impl AnomalyKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Spike,
        Self::Step,
        Self::Noise,
        Self::Stuck,
        Self::Runaway,
        Self::DoorLeftOpen,
        Self::Drift,
        Self::Other,
    ];

    /// The name in CSV and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Step => "step",
            Self::Noise => "noise",
            Self::Stuck => "stuck",
            Self::Runaway => "runaway",
            Self::DoorLeftOpen => "door_left_open",
            Self::Drift => "drift",
            Self::Other => "other",
        }
    }

    /// What a driver reads.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Spike => "one reading jumped away and came back",
            Self::Step => "the value jumped and stays there",
            Self::Noise => "the readings scatter far more than usual",
            Self::Stuck => "the value does not move at all",
            Self::Runaway => "it keeps moving away and no normal pattern lasts that long",
            Self::DoorLeftOpen => "it rises as with an open door, for longer than doors are open",
            Self::Drift => "the level has been leaving its usual place for hours",
            Self::Other => "such values or changes were not seen before",
        }
    }
}

/// A part of the model that judges on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Change from one reading to the next.
    Jump,
    /// Scatter of neighbouring readings.
    Roughness,
    /// Equal readings in a row.
    FlatRun,
    /// Height and length of a rise.
    Ramp,
    /// Lower envelope over hours, upwards.
    LevelUp,
    /// Lower envelope over hours, downwards.
    LevelDown,
    /// A level or an order of levels that is new.
    Context,
    /// Short mean against long mean.
    ShortMean,
    /// Hour of the week.
    Season,
}

impl Head {
    /// The name in CSV and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jump => "jump",
            Self::Roughness => "roughness",
            Self::FlatRun => "flat_run",
            Self::Ramp => "ramp",
            Self::LevelUp => "level_up",
            Self::LevelDown => "level_down",
            Self::Context => "context",
            Self::ShortMean => "short_mean",
            Self::Season => "season",
        }
    }
}

/// A head and its share in the score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Which head.
    pub head: Head,
    /// Its part of the sum of all heads, 0 to 1.
    pub share: f32,
}

/// How far the model can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// No valid value in this reading: nothing judged, nothing learned.
    NoValue,
    /// Too young for a statistical judgement; limits have to do.
    Cold,
    /// Judging.
    Ready,
}

/// What is said about one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// 0 is ordinary; 0.5 is where an alert is reasonable; 1 is certain. Non-zero only where an episode
    /// starts or grows by a tenth.
    pub score: f32,
    /// How unusual it is at this moment, on the same measure, while an episode lasts, too: an alert that the
    /// score has raised may clear when this has fallen.
    pub level: f32,
    /// What it looks like; `None` when the score is 0.
    pub kind: Option<AnomalyKind>,
    /// The value that was expected.
    pub expected: f64,
    /// Lower end of what is usual.
    pub low: f64,
    /// Upper end of what is usual.
    pub high: f64,
    /// The value that was judged.
    pub actual: Option<f64>,
    /// For how long the condition has lasted.
    pub lasting_ms: u64,
    /// The two heads that contributed most.
    pub heads: [Option<Share>; 2],
    /// Whether the model could judge.
    pub readiness: Readiness,
}

impl Verdict {
    /// The sentence for people.
    #[must_use]
    pub fn sentence(&self) -> Sentence<'_> {
        Sentence(self)
    }
}

/// A verdict as a sentence, without a heap.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'a>(&'a Verdict);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(actual) = self.0.actual else {
            return f.write_str("no valid reading");
        };
        let half = (self.0.high - self.0.low) / 2.0;
        write!(
            f,
            "is {actual:.1}, expected {:.1} +- {half:.1}",
            self.0.expected
        )?;
        if let Some(kind) = self.0.kind {
            write!(
                f,
                "; for {} min; {}",
                self.0.lasting_ms / 60_000,
                kind.sentence()
            )?;
        }
        Ok(())
    }
}
