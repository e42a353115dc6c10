//! The look ahead of a writer at positions, most of it in one pass.
//!
//! Promises: a column that changes is never called constant, a grid holds for every number. Never: needed
//! by a reader.

use crate::reading::Position;

use super::column::{Column, ColumnPlan};
use super::grid::Grid;
use super::motion::{Stretch, Way};
use super::position::{presence, raw_of_position};
use super::schedule;
use super::stamp::StampPlan;
use super::stream::STREAMS_MAX;
use super::survey::{TRIAL_ROWS, Velocity, plan_changing};

/// Chooses how positions, given with their streams and stamps, are written.
pub(super) fn plan<'a>(
    plans: &mut [ColumnPlan; 10],
    positions: impl Iterator<Item = (u8, u64, &'a Position)> + Clone,
    stamp: &StampPlan,
) {
    let scan = Scan::of(
        positions
            .clone()
            .map(|(stream, _, position)| (stream, position)),
    );
    let ways = ways(positions.clone(), stamp);
    let first: heapless::Vec<(u8, &Position), TRIAL_ROWS> = positions
        .clone()
        .take(TRIAL_ROWS)
        .map(|(stream, _, position)| (stream, position))
        .collect();
    let mut velocity = Velocity::Norths(&ways);
    for (place, column) in plans.iter_mut().zip(Column::OF_POSITION) {
        if scan.changed >> column as u32 & 1 == 1 {
            let numbers = first.iter().filter_map(|(stream, position)| {
                raw_of_position(position, column).map(|number| (*stream, number))
            });
            let speeds = || {
                positions
                    .clone()
                    .filter_map(|(_, _, p)| Some(i64::from(p.speed?.0)))
            };
            let grid = scan.grid(column, speeds);
            let turn = column
                .turn()
                .filter(|_| scan.turns)
                .and_then(|turn| grid.steps_in(turn));
            *place = plan_changing(column, grid, turn.unwrap_or(0), numbers, Some(velocity));
        }
        if column == Column::Lat {
            // Both coordinates of a vehicle follow its velocity alike.
            velocity = Velocity::Easts(&ways, place.fit);
        }
    }
}

/// What one pass over all positions tells.
struct Scan {
    /// One bit for each column that changes.
    changed: u32,
    /// The largest steps of accuracy, dilution, speed, course and height; 0 where all is zero.
    steps: [u64; 5],
    /// All courses lie within one turn.
    turns: bool,
}

impl Scan {
    fn of<'a>(positions: impl Iterator<Item = (u8, &'a Position)>) -> Self {
        let mut scan = Self {
            changed: 0,
            steps: [0; 5],
            turns: true,
        };
        let mut before = [None::<&Position>; STREAMS_MAX];
        for (stream, position) in positions {
            let Some(before) = before.get_mut(usize::from(stream)) else {
                continue;
            };
            if let Some(before) = before.replace(position) {
                scan.changed |= changes(before, position);
            }
            let steps = scan.steps.iter_mut().zip(stepped(position));
            steps.for_each(|(step, number)| *step = Grid::common_step(*step, number));
            scan.turns &= position
                .course
                .is_none_or(|course| (0..36_000_000).contains(&course.0));
        }
        scan
    }

    fn grid<I: Iterator<Item = i64>>(&self, column: Column, speeds: impl Fn() -> I) -> Grid {
        let [accuracy, dop, speed, course, height] = self.steps;
        let step = match column {
            Column::Accuracy => accuracy,
            Column::Dop => dop,
            Column::Speed => speed,
            Column::Course => course,
            Column::Height => height,
            _ => 1,
        };
        let grid = Grid::step(u32::try_from(step).unwrap_or(1));
        if column == Column::Speed && step == 1 {
            return Grid::of_speeds(speeds).unwrap_or(grid);
        }
        grid
    }
}

/// The magnitudes that may be multiples of a step; zero, which is a multiple of any, where there is none.
fn stepped(position: &Position) -> [u64; 5] {
    [
        position.h_acc.map_or(0, |n| u64::from(n.0)),
        position.dop.map_or(0, |n| u64::from(n.0)),
        position.speed.map_or(0, |n| u64::from(n.0.unsigned_abs())),
        position.course.map_or(0, |n| u64::from(n.0.unsigned_abs())),
        position.height.map_or(0, |n| u64::from(n.0.unsigned_abs())),
    ]
}

/// One bit for each column that is not as before. What was not there before may differ from what was
/// before that.
fn changes(before: &Position, after: &Position) -> u32 {
    let bit = |changed: bool, column: Column| u32::from(changed) << column as u32;
    bit(presence(before) != presence(after), Column::Presence)
        | bit(before.fix != after.fix, Column::Fix)
        | bit(
            changed(before.satellites, after.satellites),
            Column::Satellites,
        )
        | bit(changed(before.h_acc, after.h_acc), Column::Accuracy)
        | bit(changed(before.dop, after.dop), Column::Dop)
        | bit(changed(before.speed, after.speed), Column::Speed)
        | bit(changed(before.course, after.course), Column::Course)
        | bit(changed(before.height, after.height), Column::Height)
        | bit(before.lat != after.lat, Column::Lat)
        | bit(before.lon != after.lon, Column::Lon)
}

fn changed<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
    after.is_some() && before != after
}

/// Where the velocity of the first positions leads.
fn ways<'a>(
    positions: impl Iterator<Item = (u8, u64, &'a Position)>,
    stamp: &StampPlan,
) -> heapless::Vec<Way, TRIAL_ROWS> {
    let mut before = [None; STREAMS_MAX];
    let mut ways = heapless::Vec::new();
    for (stream, stamp_ms, position) in positions.take(TRIAL_ROWS) {
        let Some(before) = before.get_mut(usize::from(stream)) else {
            continue;
        };
        let (last_ms, stretch) = before.unwrap_or_else(|| (stamp_ms, Stretch::at(position.lat.0)));
        *before = Some((stamp_ms, stretch));
        let step_ms = schedule::without_jitter(stamp, stamp_ms.wrapping_sub(last_ms) as i64);
        let way = match (position.speed, position.course) {
            (Some(speed), Some(course)) => Way::of(speed.0, course.0, stretch, step_ms),
            _ => Way::default(),
        };
        let _room_for_the_rows_taken = ways.push(way);
    }
    ways
}
