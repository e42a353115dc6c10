//! The look ahead of a writer: how each column of these readings is written best.
//!
//! Promises: the same readings give the same plan; any plan is right, a better one is only shorter. Never:
//! needed by a reader.

use crate::reading::{Kind, Reading, Value};

use super::column::{Column, ColumnPlan, LEANINGS};
use super::field::{FRACTION_BITS, Fit, SEEN_MAX};
use super::grid::Grid;
use super::model::{FIELDS_MAX, Plan, raw};
use super::motion::{Stretch, Way};
use super::position::{leaned, raw_of_position};
use super::schedule;
use super::shape::half_octaves;
use super::stamp::StampPlan;
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

/// One column of one kind: its numbers and their streams.
struct Series {
    numbers: heapless::Vec<i64, ROWS_MAX>,
    streams: heapless::Vec<u8, ROWS_MAX>,
}

impl Series {
    fn of(numbers: impl Iterator<Item = (u8, i64)>) -> Self {
        let mut series = Self {
            numbers: heapless::Vec::new(),
            streams: heapless::Vec::new(),
        };
        for (stream, number) in numbers.take(ROWS_MAX) {
            // Both have room for every row.
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

    /// Whether every number is its stream's first (or zero, where the column starts so).
    fn is_constant(&self, column: Column) -> bool {
        let start = column.starts_at_zero().then_some(0);
        let mut firsts = [start; STREAMS_MAX];
        self.rows().all(|(stream, number)| {
            let Some(first) = firsts.get_mut(stream) else {
                return false;
            };
            number.unsigned_abs() < EXACT_MAX && *first.get_or_insert(number) == number
        })
    }

    /// Puts indices of the grid in place of the numbers; a number that jumps by more than half a turn goes
    /// on behind the turn.
    fn put_on(&mut self, grid: Grid, turn: Option<i64>) {
        if grid == Grid::FINE && turn.is_none() {
            return;
        }
        let mut before = [None; STREAMS_MAX];
        for (number, stream) in self.numbers.iter_mut().zip(&self.streams) {
            *number = grid.index(*number);
            let Some(before) = before.get_mut(usize::from(*stream)) else {
                continue;
            };
            if let (Some(turn), Some(before)) = (turn, *before) {
                let step = number.wrapping_sub(before).rem_euclid(turn);
                *number = before + step - if step > turn / 2 { turn } else { 0 };
            }
            *before = Some(*number);
        }
    }
}

fn plan_kind(plan: &mut Plan, kind: Kind, readings: &[Reading], streams: &[u8]) {
    let of_kind = || {
        let rows = streams.iter().copied().zip(readings);
        rows.filter(|(_, reading)| reading.value.kind() == kind)
    };
    let scores = Series::of(of_kind().map(|(stream, r)| (stream, i64::from(r.score.0))));
    if let Some(place) = plan.scores.get_mut(kind as usize) {
        *place = plan_column(Column::Score, scores, None);
    }
    if kind != Kind::Position {
        let numbers = Series::of(of_kind().map(|(stream, r)| (stream, raw(&r.value))));
        if let Some(place) = plan.numbers.get_mut(kind as usize) {
            *place = plan_column(Column::Number, numbers, None);
        }
        return;
    }
    let ways = ways(of_kind(), &plan.stamp);
    let mut velocity = Velocity::Norths(&ways);
    for (place, column) in plan.position.iter_mut().zip(Column::OF_POSITION) {
        let numbers = of_kind().filter_map(|(stream, r)| match &r.value {
            Value::Position(position) => Some((stream, raw_of_position(position, column)?)),
            _ => None,
        });
        *place = plan_column(column, Series::of(numbers), Some(velocity));
        if column == Column::Lat {
            // Both coordinates of a vehicle follow its velocity alike.
            velocity = Velocity::Easts(&ways, place.fit);
        }
    }
}

/// What is known of the velocity when a column is looked at.
#[derive(Clone, Copy)]
enum Velocity<'a> {
    /// The ways, for latitudes.
    Norths(&'a [Way]),
    /// The ways, for longitudes, and the fit that latitudes have settled.
    Easts(&'a [Way], u8),
}

/// Where the velocity of each position leads.
fn ways<'a>(
    positions: impl Iterator<Item = (u8, &'a Reading)>,
    stamp: &StampPlan,
) -> heapless::Vec<Way, ROWS_MAX> {
    let mut before_ms = [None; STREAMS_MAX];
    let mut ways = heapless::Vec::new();
    for (stream, reading) in positions {
        let Value::Position(position) = &reading.value else {
            continue;
        };
        let Some(before) = before_ms.get_mut(usize::from(stream)) else {
            continue;
        };
        let first = (reading.stamp_ms, Stretch::at(position.lat.0));
        let (last_ms, stretch) = before.unwrap_or(first);
        *before = Some((reading.stamp_ms, stretch));
        let step_ms = reading.stamp_ms.wrapping_sub(last_ms) as i64;
        let step_ms = schedule::without_jitter(stamp, step_ms);
        let way = match (position.speed, position.course) {
            (Some(speed), Some(course)) => Way::of(speed.0, course.0, stretch, step_ms),
            _ => Way::default(),
        };
        let _room_for_every_row = ways.push(way);
    }
    ways
}

fn plan_column(column: Column, mut series: Series, velocity: Option<Velocity<'_>>) -> ColumnPlan {
    if series.is_constant(column) {
        return ColumnPlan::CONSTANT;
    }
    let grid = if column.has_grid() {
        grid(column, &series.numbers)
    } else {
        Grid::FINE
    };
    let turn = column
        .turn()
        .filter(|turn| series.numbers.iter().all(|n| (0..*turn).contains(n)));
    let turn = turn.and_then(|turn| grid.steps_in(turn));
    series.put_on(grid, turn);
    let (fit, outcome) = best_fit(&series, column, velocity);
    let scale = ColumnPlan::scale_of(outcome.magnitude());
    ColumnPlan {
        constant: false,
        fit: fit as u8,
        turns: turn.is_some(),
        scale,
        grid,
    }
}

/// The best fit of a column, or the settled one.
fn best_fit(series: &Series, column: Column, velocity: Option<Velocity<'_>>) -> (usize, Outcome) {
    let ways = |leaning: i64| match velocity {
        Some(Velocity::Easts(ways, _)) => {
            fit_of_ways(series, ways.iter().map(|way| way.east), leaning)
        }
        Some(Velocity::Norths(ways)) => {
            fit_of_ways(series, ways.iter().map(|way| way.north), leaning)
        }
        None => Outcome::default(),
    };
    let one = |fit: usize, of: Fit| match LEANINGS.get(fit).copied().flatten() {
        Some(leaning) => ways(leaning),
        None => fits_of(series, &[of], column)
            .into_iter()
            .next()
            .unwrap_or_default(),
    };
    let fits = column.fits().iter().copied().enumerate();
    match (column, velocity) {
        (Column::Lon, Some(Velocity::Easts(_, settled))) => {
            let settled = usize::from(settled);
            (
                settled,
                one(
                    settled,
                    column.fits().get(settled).copied().unwrap_or(Fit::LAST),
                ),
            )
        }
        (Column::Lat | Column::Lon, _) => cheapest(fits.map(|(fit, of)| (fit, one(fit, of)))),
        _ => cheapest(
            fits_of(series, column.fits(), column)
                .into_iter()
                .enumerate(),
        ),
    }
}

fn cheapest(outcomes: impl Iterator<Item = (usize, Outcome)>) -> (usize, Outcome) {
    // Fits that were not tried have seen nothing.
    let tried = outcomes.filter(|(_, outcome)| outcome.count > 0);
    tried
        .min_by_key(|(fit, outcome)| (outcome.cost, *fit))
        .unwrap_or_default()
}

fn grid(column: Column, numbers: &[i64]) -> Grid {
    let grid = Grid::of_multiples(numbers);
    if column == Column::Speed && grid.is_fine() {
        return Grid::of_speeds(numbers).unwrap_or(grid);
    }
    grid
}

/// How well a fit foretells a series.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    cost: u64,
    sum: u64,
    largest: u64,
    count: u64,
}

impl Outcome {
    #[inline]
    fn add(&mut self, residual: i64) {
        let magnitude = residual.unsigned_abs().min(1 << 40);
        self.cost += (half_octaves((magnitude * 16 + 8).min(u64::from(u32::MAX)) as u32)) as u64;
        self.sum += magnitude;
        self.largest = self.largest.max(magnitude);
        self.count += 1;
    }

    /// Mean magnitude in 1/256 without the largest one, which may be a gap or a jump.
    fn magnitude(&self) -> u32 {
        let mean = (self.sum - self.largest) * 256 / self.count.saturating_sub(1).max(1);
        u32::try_from(mean).unwrap_or(u32::MAX)
    }
}

/// Fits of one column.
const FITS_MAX: usize = 4;

/// How well each of the fits foretells the series, in one pass.
fn fits_of(series: &Series, fits: &[Fit], column: Column) -> [Outcome; FITS_MAX] {
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

fn fit_of_ways(series: &Series, ways: impl Iterator<Item = i32>, leaning: i64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut before = [None; STREAMS_MAX];
    for ((stream, number), way) in series.rows().zip(ways) {
        let Some(before) = before.get_mut(stream) else {
            continue;
        };
        if let Some((last, way_before)) = *before {
            outcome.add(number - last - leaned(way, way_before, leaning));
        }
        *before = Some((number, way));
    }
    outcome
}
