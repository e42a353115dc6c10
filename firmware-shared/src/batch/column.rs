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

    /// What holds for the column in every batch.
    #[inline(always)]
    pub(super) fn law(self) -> &'static Law {
        match self {
            Self::Number => &OF_NUMBERS,
            Self::Score => &OF_SCORES,
            Self::Height => &OF_HEIGHTS,
            Self::Lat | Self::Lon => &OF_PLACES,
            Self::Speed | Self::Course => &OF_VELOCITIES,
            _ => &OF_OTHERS,
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
            turn: 0,
            scale,
            grid,
        }
    }

    /// The bits of the column's numbers, where that bounds what the first one takes.
    #[inline(never)]
    fn first<P: Pipe>(self, pipe: &mut P, turn: u32, given: i64) -> i64 {
        if (1..=1 << 16).contains(&turn) {
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
    #[inline(always)]
    pub(super) fn has_grid(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Accuracy | Self::Dop | Self::Speed | Self::Course | Self::Height
        )
    }

    /// A full turn after which the numbers start again, where there is one.
    #[inline(always)]
    pub(super) fn turn(self) -> Option<u32> {
        matches!(self, Self::Course).then_some(36_000_000)
    }

    /// Whether the column is taken to have been zero before its first number.
    pub(super) fn starts_at_zero(self) -> bool {
        matches!(self, Self::Score)
    }
}

/// What holds for a column in every batch.
#[derive(Debug)]
pub(super) struct Law {
    /// The distributions of its residuals.
    pub(super) shapes: &'static [Shape],
    /// Over how many numbers the mean magnitude is taken: thermal noise stays, manoeuvres pass.
    pub(super) rate: u32,
    /// The fits to choose from.
    pub(super) fits: &'static [Fit],
}

static OF_NUMBERS: Law = Law {
    shapes: &NOISE,
    rate: 24,
    fits: &[Fit::WHOLE_LINE, Fit::LONG_LINE, Fit::LINE, Fit::LAST],
};
static OF_SCORES: Law = Law {
    shapes: &MOTION,
    rate: 16,
    fits: &[Fit::ZERO, Fit::LAST],
};
static OF_HEIGHTS: Law = Law {
    shapes: &MOTION,
    rate: 16,
    fits: &[
        Fit::SHORT_LINE,
        Fit::LAST,
        Fit::SECOND_DIFFERENCE,
        Fit::LINE,
    ],
};
static OF_VELOCITIES: Law = Law {
    shapes: &MOTION,
    rate: 5,
    fits: &[Fit::LAST],
};
/// The fits say what happens with the way that speed and course foretell, see [`LEANINGS`].
static OF_PLACES: Law = Law {
    shapes: &MOTION,
    rate: 5,
    fits: &[Fit::LAST, Fit::LAST, Fit::LAST, Fit::SECOND_DIFFERENCE],
};
static OF_OTHERS: Law = Law {
    shapes: &MOTION,
    rate: 16,
    fits: &[Fit::LAST],
};

/// How much the change of velocity is trusted to have begun earlier, in eighths, for each fit of latitude
/// and longitude: -4 is the mean of both velocities, 7 a receiver whose velocity lags behind its place.
/// `None` does without velocity.
pub(super) const LEANINGS: [Option<i64>; 4] = [Some(0), Some(-4), Some(7), None];

/// How one column of one batch is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnPlan {
    /// Every number is its stream's first.
    pub(super) constant: bool,
    /// Which of [`Law::fits`].
    pub(super) fit: u8,
    /// Steps of the grid in a full turn, where numbers start again after one; 0 where they do not.
    pub(super) turn: u32,
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
        turn: 0,
        scale: 0,
        grid: Grid::FINE,
    };

    /// The starting mean magnitude in 1/256.
    pub(super) fn magnitude(&self) -> u32 {
        (1 << (MAGNITUDE_BITS - 6)) << (2 * u32::from(self.scale.min(SCALES - 1)))
    }

    /// The scale whose magnitude is nearest to a mean magnitude in 1/256.
    pub(super) fn scale_of(magnitude: u32) -> u8 {
        Self::scale_of_half_octaves(half_octaves(magnitude))
    }

    /// The scale whose magnitude is nearest to one of so many half octaves.
    pub(super) fn scale_of_half_octaves(half_octaves: u32) -> u8 {
        (half_octaves.saturating_sub(2) / 4).min(u32::from(SCALES) - 1) as u8
    }

    /// Codes the plan of a column; `settled` is the fit that a column before it has chosen for both.
    pub(super) fn code<P: Pipe>(&self, pipe: &mut P, column: Column, settled: Option<u8>) -> Self {
        let usual = column.usual();
        let as_usual = pipe.likely(7, self.constant == usual.constant);
        if usual.constant == as_usual {
            return Self::CONSTANT;
        }
        let fits = column.law().fits.len() as u32;
        let fit = settled.unwrap_or_else(|| pipe.even(u32::from(self.fit), fits) as u8);
        let scale = if pipe.likely(4, self.scale == usual.scale) {
            usual.scale
        } else {
            pipe.even(u32::from(self.scale), u32::from(SCALES)) as u8
        };
        let grid = if column.has_grid() {
            self.grid.code(pipe, usual.grid)
        } else {
            Grid::FINE
        };
        let turn = column.turn().and_then(|turn| grid.steps_in(turn));
        let turn = turn.filter(|_| pipe.likely(7, self.turn > 0)).unwrap_or(0);
        Self {
            constant: false,
            fit,
            turn,
            scale,
            grid,
        }
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
    let (residual, escaped) = shape::residual(pipe, column.law().shapes, field.level(), wanted);
    pipe.note(column, residual);
    let found = expected.wrapping_add(residual);
    if escaped {
        field.leap(found, residual);
    } else {
        field.learn(fit, column.law().rate, found, residual);
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

/// A number that was coded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded {
    pub(super) number: i64,
    /// How far from the expectation it was, and the half octaves of what is usual.
    surprise: Option<(i64, u32)>,
}

impl Coded {
    /// By how many half octaves the residual was larger than usual.
    pub(super) fn louder(&self) -> i32 {
        self.surprise.map_or(0, |(residual, level)| {
            let magnitude = residual.unsigned_abs().min(1 << 20) as u32;
            half_octaves(magnitude * 256 + 64) as i32 - level as i32
        })
    }
}

/// Codes one number.
#[inline(always)]
pub(super) fn number<P: Pipe>(
    pipe: &mut P,
    column: Column,
    plan: &ColumnPlan,
    field: &mut Field,
    given: i64,
    aid: Aid,
) -> Coded {
    let grid = if column.has_grid() {
        &plan.grid
    } else {
        &Grid::FINE
    };
    if plan.constant && field.seen() > 0 {
        let number = field.last();
        pipe.found(given, number);
        return Coded {
            number,
            surprise: None,
        };
    }
    if field.seen() == 0 {
        let index = column.first(pipe, plan.turn, grid.index(given));
        field.start(index);
        let number = grid.number(index);
        pipe.found(given, number);
        return Coded {
            number,
            surprise: None,
        };
    }
    let law = column.law();
    let expected = match aid.ahead {
        Some(ahead) => field.last().wrapping_add(ahead),
        None => field.expected(),
    };
    let mut wanted = grid.index(given).wrapping_sub(expected);
    let turn = if column.turn().is_some() {
        i64::from(plan.turn)
    } else {
        0
    };
    if turn > 0 {
        wanted = nearest(wanted, turn);
    }
    let level = field.level();
    let shifted = level.saturating_add_signed(aid.louder);
    let (residual, escaped) = shape::residual(pipe, law.shapes, shifted, wanted);
    pipe.note(column, residual);
    let mut index = expected.wrapping_add(residual);
    if turn > 0 {
        index += if index < 0 { turn } else { 0 };
        index -= if index >= turn { turn } else { 0 };
    }
    let fit = law
        .fits
        .get(usize::from(plan.fit))
        .copied()
        .unwrap_or(Fit::LAST);
    if escaped && fit.memory > 0 {
        field.leap(index, residual);
    } else {
        field.learn(fit, law.rate, index, residual);
    }
    let number = grid.number(index);
    pipe.found(given, number);
    Coded {
        number,
        surprise: Some((residual, level)),
    }
}

/// The shorter way around a full turn.
#[inline]
pub(super) fn nearest(way: i64, turn: i64) -> i64 {
    if way > turn / 2 {
        way - turn
    } else if way <= -turn / 2 {
        way + turn
    } else {
        way
    }
}
