//! The look ahead of a writer at positions, most of it in one pass.
//!
//! Promises: a column that changes is never called constant, a grid holds for every number. Never: needed
//! by a reader.
//!
//! Fits are tried on the first positions of the first receiver: a vehicle has one, and where it has more,
//! they see the same road.

use crate::reading::Position;

use super::column::{Column, ColumnPlan, LEANINGS, nearest};
use super::field::Fit;
use super::grid::Grid;
use super::motion::{Stretch, Way};
use super::position::{leaned, raw_of_position};
use super::schedule;
use super::stamp::StampPlan;
use super::stream::STREAMS_MAX;
use super::survey::{Outcome, cheapest, outcome_of};

/// Positions that fits are tried on: enough to tell them apart.
const TRIAL_ROWS: usize = 20;
const COLUMNS: usize = Column::OF_POSITION.len();
/// Place of the first column whose numbers may be multiples of a step.
const STEPPED: usize = 3;
/// A full turn in 1e-5 degree.
const TURN: i64 = 36_000_000;

/// The numbers of a position, one per column; what is not said is as it was.
type Row = [i64; COLUMNS];

/// Chooses how positions, given with their streams and stamps, are written.
pub(super) fn plan<'a>(
    plans: &mut [ColumnPlan; COLUMNS],
    positions: impl Iterator<Item = (u8, u64, &'a Position)> + Clone,
    stamp: &StampPlan,
) {
    let (scan, trial) = look(positions.clone(), stamp);
    let speeds = || {
        positions
            .clone()
            .filter_map(|(_, _, p)| Some(i64::from(p.speed?.0)))
    };
    let mut lat_fit = 0;
    for (index, (place, column)) in plans.iter_mut().zip(Column::OF_POSITION).enumerate() {
        if scan.changed.get(index) == Some(&0) {
            continue;
        }
        let grid = scan.grid(index, column, speeds);
        let turn = column.turn().filter(|_| scan.turns);
        let turn = turn.and_then(|turn| grid.steps_in(turn)).unwrap_or(0);
        let series = trial.series(index, grid, turn);
        let (fit, outcome) = match column {
            Column::Lat => cheapest(
                (0..LEANINGS.len()).map(|fit| (fit, trial.place(&series, fit, |way| way.north))),
            ),
            // Both coordinates of a vehicle follow its velocity alike.
            Column::Lon => (lat_fit, trial.place(&series, lat_fit, |way| way.east)),
            _ => cheapest(
                column
                    .law()
                    .fits
                    .iter()
                    .map(|fit| outcome_of(&series, *fit))
                    .enumerate(),
            ),
        };
        if column == Column::Lat {
            lat_fit = fit;
        }
        *place = ColumnPlan {
            constant: false,
            fit: fit as u8,
            turn,
            scale: outcome.scale(),
            grid,
        };
    }
}

/// One pass over all positions.
fn look<'a>(
    positions: impl Iterator<Item = (u8, u64, &'a Position)>,
    stamp: &StampPlan,
) -> (Scan, Trial) {
    let mut scan = Scan {
        changed: [0; COLUMNS],
        steps: [0; 5],
        turns: true,
    };
    let mut trial = Trial::default();
    let mut before = heapless::Vec::<(u8, Row), STREAMS_MAX>::new();
    let mut first_receiver = None;
    for (stream, stamp_ms, position) in positions {
        let known = before.iter_mut().find(|(known, _)| *known == stream);
        let row = match known {
            Some((_, before)) => {
                let row = row(position, before);
                scan.compare(before, &row);
                *before = row;
                row
            }
            None => {
                let row = row(position, &[0; COLUMNS]);
                // There is room for every stream.
                let _room = before.push((stream, row));
                row
            }
        };
        scan.take(&row);
        if *first_receiver.get_or_insert(stream) == stream {
            trial.take(stamp, stamp_ms, position, row);
        }
    }
    (scan, trial)
}

#[inline(always)]
fn row(position: &Position, before: &Row) -> Row {
    let mut row = *before;
    for (number, column) in row.iter_mut().zip(Column::OF_POSITION) {
        *number = raw_of_position(position, column).unwrap_or(*number);
    }
    row
}

/// What one pass over all positions tells.
struct Scan {
    /// Not zero for each column that changes.
    changed: Row,
    /// The largest steps of accuracy, dilution, speed, course and height; 0 where all is zero.
    steps: [u64; 5],
    /// All courses lie within one turn.
    turns: bool,
}

impl Scan {
    #[inline(always)]
    fn compare(&mut self, before: &Row, after: &Row) {
        for ((changed, before), after) in self.changed.iter_mut().zip(before).zip(after) {
            *changed |= before ^ after;
        }
    }

    #[inline(always)]
    fn take(&mut self, row: &Row) {
        let [_, _, _, accuracy, dop, speed, course, height, ..] = *row;
        let stepped = [accuracy, dop, speed, course, height];
        for (step, number) in self.steps.iter_mut().zip(stepped) {
            *step = Grid::common_step(*step, number.unsigned_abs());
        }
        self.turns &= (0..TURN).contains(&course);
    }

    fn grid<I: Iterator<Item = i64>>(
        &self,
        index: usize,
        column: Column,
        speeds: impl Fn() -> I,
    ) -> Grid {
        let step = index
            .checked_sub(STEPPED)
            .and_then(|index| self.steps.get(index));
        let grid = step.map_or(Grid::FINE, |step| {
            Grid::step(u32::try_from(*step).unwrap_or(1))
        });
        if column == Column::Speed && grid.is_fine() {
            return Grid::of_speeds(speeds).unwrap_or(grid);
        }
        grid
    }
}

/// The first positions of the first receiver, and where its velocity leads.
#[derive(Default)]
struct Trial {
    rows: heapless::Vec<Row, TRIAL_ROWS>,
    ways: heapless::Vec<Way, TRIAL_ROWS>,
    last_ms: u64,
    stretch: Stretch,
}

impl Trial {
    #[inline(always)]
    fn take(&mut self, stamp: &StampPlan, stamp_ms: u64, position: &Position, row: Row) {
        if self.rows.is_empty() {
            self.last_ms = stamp_ms;
            self.stretch = Stretch::at(position.lat.0);
        }
        if self.rows.push(row).is_err() {
            return;
        }
        let step_ms = schedule::without_jitter(stamp, stamp_ms.wrapping_sub(self.last_ms) as i64);
        self.last_ms = stamp_ms;
        let way = match (position.speed, position.course) {
            (Some(speed), Some(course)) => Way::of(speed.0, course.0, self.stretch, step_ms),
            _ => Way::default(),
        };
        // There are as many as rows.
        let _room = self.ways.push(way);
    }

    /// The indices on the grid of the numbers of one column; one that jumps by more than half a turn goes
    /// the shorter way.
    fn series(&self, index: usize, grid: Grid, turn: u32) -> heapless::Vec<i64, TRIAL_ROWS> {
        let numbers = self.rows.iter().filter_map(|row| row.get(index));
        let mut series: heapless::Vec<i64, TRIAL_ROWS> =
            numbers.map(|number| grid.index(*number)).collect();
        let mut before = None;
        for number in series.iter_mut().filter(|_| turn > 0) {
            if let Some(before) = before {
                *number = before + nearest(*number - before, i64::from(turn));
            }
            before = Some(*number);
        }
        series
    }

    /// What one of the fits of latitude and longitude makes of a series.
    fn place(&self, series: &[i64], fit: usize, way: impl Fn(&Way) -> i32) -> Outcome {
        let Some(leaning) = LEANINGS.get(fit).copied().flatten() else {
            return outcome_of(series, Fit::SECOND_DIFFERENCE);
        };
        let mut outcome = Outcome::default();
        let numbers = series.iter().zip(series.iter().skip(1));
        let ways = self.ways.iter().zip(self.ways.iter().skip(1));
        for ((last, number), (way_before, now)) in numbers.zip(ways) {
            outcome.add(number - last - leaned(way(now), way(way_before), leaning));
        }
        outcome
    }
}
