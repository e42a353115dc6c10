//! The columns of a batch and how each is written: what is chosen per batch, and what is law.
//!
//! Promises: a column that stays as it was costs nothing after its first number; any number may follow
//! any other. Never: state that is not in the [`Field`] it is given.

use super::field::{Field, Fit};
use super::grid::Grid;
use super::range_coder::Pipe;
use super::shape::{self, MAGNITUDE_BITS, MOTION, NOISE, Shape, half_octaves};

/// A column of readings, as measurements name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Milliseconds.
    Stamp,
    /// The score.
    Score,
    /// The one number of every kind but position.
    Number,
    /// Which optional parts of a position are there.
    Presence,
    /// The kind of fix.
    Fix,
    /// Satellites used.
    Satellites,
    /// Horizontal accuracy.
    Accuracy,
    /// Dilution of precision.
    Dop,
    /// Speed over ground.
    Speed,
    /// Course over ground.
    Course,
    /// Height.
    Height,
    /// Latitude.
    Lat,
    /// Longitude.
    Lon,
}

impl Column {
    /// The columns of a position, in the order of a row: velocity first, because it foretells the place.
    pub(super) const OF_POSITION: [Self; 10] = [
        Self::Presence,
        Self::Fix,
        Self::Satellites,
        Self::Accuracy,
        Self::Dop,
        Self::Speed,
        Self::Course,
        Self::Height,
        Self::Lat,
        Self::Lon,
    ];

    pub(super) fn shapes(self) -> &'static [Shape] {
        if matches!(self, Self::Number) {
            &NOISE
        } else {
            &MOTION
        }
    }

    /// Over how many numbers the mean magnitude is taken: thermal noise stays, manoeuvres pass.
    pub(super) fn rate(self) -> u32 {
        match self {
            Self::Number => 24,
            Self::Speed | Self::Course | Self::Lat | Self::Lon => 5,
            _ => 16,
        }
    }

    /// The fits to choose from, where there is a choice. For latitude and longitude they say what happens
    /// with the way that speed and course foretell, see [`LEANINGS`].
    pub(super) fn fits(self) -> &'static [Fit] {
        match self {
            Self::Number => &[
                Fit::WHOLE_LINE,
                Fit::LONG_LINE,
                Fit::LINE,
                Fit::SHORT_LINE,
                Fit::LAST,
            ],
            Self::Height => &[
                Fit::SHORT_LINE,
                Fit::LAST,
                Fit::SECOND_DIFFERENCE,
                Fit::LINE,
            ],
            Self::Score => &[Fit::ZERO, Fit::LAST],
            Self::Lat | Self::Lon => &[Fit::LAST, Fit::LAST, Fit::LAST, Fit::SECOND_DIFFERENCE],
            _ => &[Fit::LAST],
        }
    }

    /// What is written shortest: most batches of most vehicles are so.
    fn usual(self) -> ColumnPlan {
        let (constant, scale, grid) = match self {
            Self::Number => (false, 3, Grid::FINE),
            Self::Score | Self::Presence | Self::Fix | Self::Dop => (true, 0, Grid::FINE),
            Self::Satellites => (false, 2, Grid::FINE),
            Self::Accuracy => (false, 2, Grid::FINE),
            Self::Speed => (false, 5, Grid::KNOT_TENTHS),
            Self::Course => (false, 6, Grid::step(10_000)),
            Self::Height => (false, 4, Grid::step(100)),
            Self::Lat | Self::Lon | Self::Stamp => (false, 7, Grid::FINE),
        };
        ColumnPlan {
            constant,
            fit: 0,
            turns: self == Self::Course,
            scale,
            grid,
        }
    }

    /// The bits of the column's numbers, where that bounds what the first one takes.
    fn first<P: Pipe>(self, pipe: &mut P, turn: Option<i64>, given: i64) -> i64 {
        if let Some(turn) = turn
            .and_then(|turn| u32::try_from(turn).ok())
            .filter(|t| *t <= 1 << 16)
        {
            return i64::from(pipe.even((given as u32).min(turn - 1), turn));
        }
        match self {
            Self::Presence => pipe.bits(given as u64, 6) as i64,
            Self::Fix | Self::Satellites => shape::natural(pipe, 8, given as u64) as i64,
            Self::Dop => shape::natural(pipe, 16, given as u64) as i64,
            Self::Accuracy => shape::natural(pipe, 32, given as u64) as i64,
            Self::Lat | Self::Lon => i64::from(pipe.bits(u64::from(given as u32), 32) as i32),
            Self::Speed | Self::Course | Self::Height => {
                let magnitude = shape::natural(pipe, 32, given.unsigned_abs()) as i64;
                let negative = magnitude > 0 && pipe.likely(1, given < 0);
                if negative { -magnitude } else { magnitude }
            }
            _ => shape::whole(pipe, given),
        }
    }

    /// Whether the numbers may be multiples of a step.
    pub(super) fn has_grid(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Accuracy | Self::Dop | Self::Speed | Self::Course | Self::Height
        )
    }

    /// A full turn after which the numbers start again, where there is one.
    pub(super) fn turn(self) -> Option<i64> {
        matches!(self, Self::Course).then_some(36_000_000)
    }

    /// Whether the column is taken to have been zero before its first number.
    pub(super) fn starts_at_zero(self) -> bool {
        matches!(self, Self::Score)
    }
}

/// How much the change of velocity is trusted to have begun earlier, in eighths, for each fit of latitude
/// and longitude: -4 is the mean of both velocities, 7 a receiver whose velocity lags behind its place.
/// `None` does without velocity.
pub(super) const LEANINGS: [Option<i64>; 4] = [Some(0), Some(-4), Some(7), None];

/// How one column of one batch is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnPlan {
    /// Every number is its stream's first.
    pub(super) constant: bool,
    /// Which of [`Column::fits`].
    pub(super) fit: u8,
    /// Numbers wrap at [`Column::turn`].
    pub(super) turns: bool,
    /// Mean magnitude of the residuals at the start: `4^scale / 64`.
    pub(super) scale: u8,
    /// The step of the numbers.
    pub(super) grid: Grid,
}

/// Starting magnitudes to choose from.
pub(super) const SCALES: u8 = 12;

impl ColumnPlan {
    pub(super) const CONSTANT: Self = Self {
        constant: true,
        fit: 0,
        turns: false,
        scale: 0,
        grid: Grid::FINE,
    };

    /// The starting mean magnitude in 1/256.
    pub(super) fn magnitude(&self) -> u32 {
        (1 << (MAGNITUDE_BITS - 6)) << (2 * u32::from(self.scale.min(SCALES - 1)))
    }

    /// The scale whose magnitude is nearest to a mean magnitude in 1/256.
    pub(super) fn scale_of(magnitude: u32) -> u8 {
        (half_octaves(magnitude).saturating_sub(2) / 4).min(u32::from(SCALES) - 1) as u8
    }

    /// Codes the plan of a column; `settled` is the fit that a column before it has chosen for both.
    pub(super) fn code<P: Pipe>(&self, pipe: &mut P, column: Column, settled: Option<u8>) -> Self {
        let usual = column.usual();
        let as_usual = pipe.likely(7, self.constant == usual.constant);
        if usual.constant == as_usual {
            return Self::CONSTANT;
        }
        let fits = column.fits().len() as u32;
        let scales = u32::from(SCALES);
        Self {
            constant: false,
            fit: settled.unwrap_or_else(|| pipe.even(u32::from(self.fit), fits) as u8),
            turns: column.turn().is_some() && pipe.likely(7, self.turns),
            scale: if pipe.likely(4, self.scale == usual.scale) {
                usual.scale
            } else {
                pipe.even(u32::from(self.scale), scales) as u8
            },
            grid: if column.has_grid() {
                self.grid.code(pipe, usual.grid)
            } else {
                Grid::FINE
            },
        }
    }

    pub(super) fn fit(&self, column: Column) -> Fit {
        column
            .fits()
            .get(usize::from(self.fit))
            .copied()
            .unwrap_or(Fit::LAST)
    }

    /// The memory of a stream that has not been seen.
    pub(super) fn field(&self, column: Column) -> Field {
        let mut field = Field::expecting(self.magnitude());
        if column.starts_at_zero() {
            field.start(0);
        }
        field
    }
}

/// Codes one number with a given fit and every integer possible.
pub(super) fn with_fit<P: Pipe>(
    pipe: &mut P,
    column: Column,
    fit: Fit,
    field: &mut Field,
    given: i64,
) -> i64 {
    if field.seen() == 0 {
        let first = shape::whole(pipe, given);
        field.start(first);
        return first;
    }
    let expected = field.expected();
    let wanted = given.wrapping_sub(expected);
    let (residual, escaped) = shape::residual(pipe, column.shapes(), field.level(), wanted);
    pipe.note(column, residual);
    let found = expected.wrapping_add(residual);
    if escaped {
        field.leap(found, residual);
    } else {
        field.learn(fit, column.rate(), found, residual);
    }
    found
}

/// What else is known when a number is coded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Aid {
    /// How far from the last number it is expected, where something better than the fit says so.
    pub(super) ahead: Option<i64>,
    /// Half octaves by which the residual is likely larger than usual.
    pub(super) louder: i32,
}

/// Codes one number. Returns it, and by how many half octaves its residual was larger than usual.
#[inline]
pub(super) fn number<P: Pipe>(
    pipe: &mut P,
    column: Column,
    plan: &ColumnPlan,
    field: &mut Field,
    given: i64,
    aid: Aid,
) -> (i64, i32) {
    let turn = if plan.turns {
        column.turn().and_then(|turn| plan.grid.steps_in(turn))
    } else {
        None
    };
    if field.seen() == 0 {
        let index = column.first(pipe, turn, plan.grid.index(given));
        field.start(index);
        return (plan.grid.number(index), 0);
    }
    if plan.constant {
        return (plan.grid.number(field.last()), 0);
    }
    let expected = match aid.ahead {
        Some(ahead) => field.last().wrapping_add(ahead),
        None => field.expected(),
    };
    let mut wanted = plan.grid.index(given).wrapping_sub(expected);
    if let Some(turn) = turn {
        wanted = wanted.rem_euclid(turn);
        wanted -= if wanted > turn / 2 { turn } else { 0 };
    }
    let level = field.level();
    let shifted = level.saturating_add_signed(aid.louder);
    let (residual, escaped) = shape::residual(pipe, column.shapes(), shifted, wanted);
    pipe.note(column, residual);
    let index = expected.wrapping_add(residual);
    let fit = plan.fit(column);
    if escaped && fit.memory > 0 {
        field.leap(index, residual);
    } else {
        field.learn(fit, column.rate(), index, residual);
    }
    let loud = half_octaves(residual.unsigned_abs().min(1 << 20) as u32 * 256 + 64);
    let index = turn.map_or(index, |turn| index.rem_euclid(turn));
    (plan.grid.number(index), loud as i32 - level as i32)
}
