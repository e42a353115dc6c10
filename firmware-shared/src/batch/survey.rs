//! The look ahead of a writer: how each column of these readings is written best.
//!
//! Promises: the same readings give the same plan; any plan is right, a better one is only shorter. Never:
//! needed by a reader.

use crate::reading::{Kind, Reading, Value};

use super::column::{Column, ColumnPlan};
use super::field::{FRACTION_BITS, Fit, SEEN_MAX};
use super::grid::Grid;
use super::model::{FIELDS_MAX, Plan, raw};
use super::receivers;
use super::schedule;
use super::shape::MAGNITUDE_BITS;
use super::stream::{Key, STREAMS_MAX};

/// Readings in one batch.
const ROWS_MAX: usize = super::COUNT_MAX;
/// Numbers beyond this are not remembered exactly, so a column of them is not called constant.
const EXACT_MAX: u64 = 1 << 54;

/// What a writer knows before it writes.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) plan: Plan,
    pub(super) base_ms: u64,
    /// The stream of each row, numbered in order of appearance.
    pub(super) streams: heapless::Vec<u8, ROWS_MAX>,
}

/// The reading that is one stream too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamTooMany {
    pub(super) index: usize,
}

impl Survey {
    /// Looks through at most [`ROWS_MAX`] readings.
    pub(super) fn of(readings: &[Reading]) -> Result<Self, StreamTooMany> {
        let mut keys = heapless::Vec::new();
        let streams = streams(readings, &mut keys)?;
        let (stamp, base_ms) = schedule::choose(readings, &streams, keys.len());
        let mut plan = Plan {
            cycle: cycle(&streams),
            stamp,
            ..Plan::CONSTANT
        };
        for kind in Kind::ALL {
            if keys.iter().any(|key| key.kind == kind) {
                plan_kind(&mut plan, kind, readings, &streams);
            }
        }
        Ok(Self {
            plan,
            base_ms,
            streams,
        })
    }
}

/// The stream of each reading.
fn streams(
    readings: &[Reading],
    keys: &mut heapless::Vec<Key, STREAMS_MAX>,
) -> Result<heapless::Vec<u8, ROWS_MAX>, StreamTooMany> {
    let mut streams = heapless::Vec::new();
    let mut fields = 0;
    let mut likely = 0;
    for (index, reading) in readings.iter().enumerate() {
        let key = Key::of(reading);
        let place = if keys.get(likely) == Some(&key) {
            likely
        } else {
            match keys.iter().position(|known| *known == key) {
                Some(place) => place,
                None => {
                    fields += key.fields();
                    if fields > FIELDS_MAX || keys.push(key).is_err() {
                        return Err(StreamTooMany { index });
                    }
                    keys.len() - 1
                }
            }
        };
        likely = if place + 1 < keys.len() { place + 1 } else { 0 };
        streams
            .push(place as u8)
            .map_err(|_| StreamTooMany { index })?;
    }
    Ok(streams)
}

/// After how many rows the streams repeat; 0 where they do not.
fn cycle(streams: &[u8]) -> u8 {
    (1..=STREAMS_MAX.min(streams.len()))
        .find(|cycle| {
            streams
                .iter()
                .skip(*cycle)
                .zip(streams)
                .all(|(later, row)| later == row)
        })
        .map_or(0, |cycle| cycle as u8)
}

/// Rows that fits are tried on: enough to tell them apart.
const TRIAL_ROWS: usize = 32;

/// One column of one kind: its first numbers and their streams.
struct Series {
    numbers: heapless::Vec<i64, TRIAL_ROWS>,
    streams: heapless::Vec<u8, TRIAL_ROWS>,
}

impl Series {
    #[inline]
    fn of(numbers: impl Iterator<Item = (u8, i64)>) -> Self {
        let mut series = Self {
            numbers: heapless::Vec::new(),
            streams: heapless::Vec::new(),
        };
        for (stream, number) in numbers.take(TRIAL_ROWS) {
            // Both have room for so many.
            let _both = (series.numbers.push(number), series.streams.push(stream));
        }
        series
    }

    fn rows(&self) -> impl Iterator<Item = (usize, i64)> {
        self.streams
            .iter()
            .map(|stream| usize::from(*stream))
            .zip(self.numbers.iter().copied())
    }
}

fn plan_kind(plan: &mut Plan, kind: Kind, readings: &[Reading], streams: &[u8]) {
    let of_kind = || {
        let rows = streams.iter().copied().zip(readings);
        rows.filter(|(_, reading)| reading.value.kind() == kind)
    };
    let scores = of_kind().map(|(stream, r)| (stream, i64::from(r.score.0)));
    if let Some(place) = plan.scores.get_mut(kind as usize) {
        *place = plan_column(Column::Score, scores);
    }
    if kind != Kind::Position {
        let numbers = of_kind().map(|(stream, r)| (stream, raw(&r.value)));
        if let Some(place) = plan.numbers.get_mut(kind as usize) {
            *place = plan_column(Column::Number, numbers);
        }
        return;
    }
    let positions = of_kind().filter_map(|(stream, reading)| match &reading.value {
        Value::Position(position) => Some((stream, reading.stamp_ms, position)),
        _ => None,
    });
    receivers::plan(&mut plan.position, positions, &plan.stamp);
}

/// Whether every number is its stream's first (or zero, where the column starts so).
fn is_constant(mut numbers: impl Iterator<Item = (u8, i64)>, column: Column) -> bool {
    let mut firsts = [column.starts_at_zero().then_some(0); STREAMS_MAX];
    numbers.all(|(stream, number)| {
        let Some(first) = firsts.get_mut(usize::from(stream)) else {
            return false;
        };
        number.unsigned_abs() < EXACT_MAX && *first.get_or_insert(number) == number
    })
}

fn plan_column(column: Column, numbers: impl Iterator<Item = (u8, i64)> + Clone) -> ColumnPlan {
    if is_constant(numbers.clone(), column) {
        return ColumnPlan::CONSTANT;
    }
    let grid = if column.has_grid() {
        Grid::of_multiples(numbers.clone().map(|(_, number)| number))
    } else {
        Grid::FINE
    };
    let series = Series::of(numbers.map(|(stream, number)| (stream, grid.index(number))));
    let outcomes = fits_of(&series, column);
    let (fit, outcome) = cheapest(outcomes.into_iter().enumerate());
    ColumnPlan {
        constant: false,
        fit: fit as u8,
        turn: 0,
        scale: outcome.scale(),
        grid,
    }
}

pub(super) fn cheapest(outcomes: impl Iterator<Item = (usize, Outcome)>) -> (usize, Outcome) {
    // Fits that were not tried have seen nothing.
    let tried = outcomes.filter(|(_, outcome)| outcome.count > 0);
    tried
        .min_by_key(|(fit, outcome)| (outcome.cost, *fit))
        .unwrap_or_default()
}

/// How well a fit foretells a series.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Half octaves of all residuals.
    cost: u64,
    count: u64,
}

impl Outcome {
    #[inline]
    pub(super) fn add(&mut self, residual: i64) {
        // Sixteenths of the magnitude, and a half more: a residual of zero costs, too.
        let magnitude = (residual.unsigned_abs() << 4) | 8;
        let octave = magnitude.ilog2();
        self.cost += u64::from(octave * 2) + (magnitude >> (octave - 1) & 1);
        self.count += 1;
    }

    /// The scale of the mean magnitude. Gaps and jumps weigh little in the mean of half octaves, which lies
    /// about one below that of the mean.
    pub(super) fn scale(&self) -> u8 {
        let mean = (self.cost / self.count.max(1)) as u32;
        ColumnPlan::scale_of_half_octaves(mean + 1 + 2 * (MAGNITUDE_BITS - 4))
    }
}

/// Fits of one column.
const FITS_MAX: usize = 4;

/// How well each of the fits foretells the series, in one pass.
fn fits_of(series: &Series, column: Column) -> [Outcome; FITS_MAX] {
    let fits = column.law().fits;
    let mut outcomes = [Outcome::default(); FITS_MAX];
    let mut trials = heapless::Vec::<Trial, STREAMS_MAX>::new();
    let start = Trial::new(column.starts_at_zero());
    for (stream, number) in series.rows() {
        while trials.len() <= stream && trials.push(start).is_ok() {}
        let Some(trial) = trials.get_mut(stream) else {
            continue;
        };
        if trial.seen == 0 {
            *trial = Trial {
                seen: 1,
                lines: [(number << FRACTION_BITS, 0); FITS_MAX],
            };
            continue;
        }
        trial.seen = (trial.seen + 1).min(SEEN_MAX);
        for ((line, fit), outcome) in trial.lines.iter_mut().zip(fits).zip(&mut outcomes) {
            outcome.add(number.wrapping_sub(fit.expected(*line)));
            *line = fit.follow(*line, trial.seen, number);
        }
    }
    outcomes
}

/// A stream under all fits at once.
#[derive(Clone, Copy)]
struct Trial {
    seen: u32,
    lines: [(i64, i64); FITS_MAX],
}

impl Trial {
    fn new(from_zero: bool) -> Self {
        Self {
            seen: u32::from(from_zero),
            lines: [(0, 0); FITS_MAX],
        }
    }
}

/// How well a fit foretells the series of one stream.
pub(super) fn outcome_of(series: &[i64], fit: Fit) -> Outcome {
    let mut outcome = Outcome::default();
    let Some((first, rest)) = series.split_first() else {
        return outcome;
    };
    if fit == Fit::LAST {
        let mut last = first;
        for number in rest {
            outcome.add(number.wrapping_sub(*last));
            last = number;
        }
        return outcome;
    }
    let mut line = (first << FRACTION_BITS, 0);
    for (number, seen) in rest.iter().zip(2..) {
        outcome.add(number.wrapping_sub(fit.expected(line)));
        line = fit.follow(line, seen, *number);
    }
    outcome
}
