//! Positions: ten numbers, each of which tells something about the next.
//!
//! Promises: what a receiver did not say stays unsaid; a receiver that says the same parts each time pays
//! nothing for the others. Never: a judgement about the fix.

use crate::reading::{FixKind, Position};
use crate::units::{
    AccuracyMm, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
};

use super::column::{Aid, Coded, Column, ColumnPlan, LEANINGS, number};
use super::field::Field;
use super::model::Impossible;
use super::motion::{Stretch, Way};
use super::range_coder::Pipe;
use super::stream::Stream;

/// Codes a position; `step_ms` is the time since the stream's last one. Returns it where it is read.
pub(super) fn position<P: Pipe>(
    pipe: &mut P,
    plans: &[ColumnPlan; 10],
    fields: &mut [Field],
    stream: &mut Stream,
    given: &Position,
    step_ms: i64,
) -> Result<Option<Position>, Impossible> {
    let mut columns = Columns {
        pipe,
        plans: plans.iter(),
        fields: fields.iter_mut(),
    };
    let there = columns
        .next(Column::Presence, i64::from(presence(given)), Aid::default())?
        .number;
    let fix = columns
        .next(Column::Fix, i64::from(given.fix.0), Aid::default())?
        .number;
    let satellites = given.satellites.map_or(0, i64::from);
    let (satellites, _) = columns.optional(Column::Satellites, there, satellites, 0)?;
    let h_acc = given.h_acc.map_or(0, |v| v.0.into());
    let (h_acc, _) = columns.optional(Column::Accuracy, there, h_acc, 0)?;
    let dop = given.dop.map_or(0, |v| v.0.into());
    let (dop, _) = columns.optional(Column::Dop, there, dop, 0)?;
    let speed = given.speed.map_or(0, |v| v.0.into());
    let (speed, faster) = columns.optional(Column::Speed, there, speed, 0)?;
    let course = given.course.map_or(0, |v| v.0.into());
    let (course, turning) =
        columns.optional(Column::Course, there, course, share(faster, TURN_SHARE))?;
    let height = given.height.map_or(0, |v| v.0.into());
    let (height, _) = columns.optional(Column::Height, there, height, 0)?;
    let (speed, course) = (checked::<i32>(speed)?, checked::<i32>(course)?);
    let way = match (speed, course) {
        (Some(speed), Some(course)) => Way::of(speed, course, stream.stretch, step_ms),
        _ => Way::default(),
    };
    let unrest = share(faster, UNREST_SHARE) + share(turning, UNREST_SHARE);
    let aid = columns.ahead(way.north, stream.way.north, unrest);
    let lat = columns.next(Column::Lat, given.lat.0.into(), aid)?;
    let louder = unrest + share(lat.louder(), ASTRAY_SHARE);
    let aid = columns.ahead(way.east, stream.way.east, louder);
    let lon = columns.next(Column::Lon, given.lon.0.into(), aid)?;
    let lat = i32::try_from(lat.number).map_err(|_| Impossible)?;
    stream.way = way;
    if stream.stretch == Stretch::default() {
        stream.stretch = Stretch::at(lat);
    }
    if !P::READS {
        return Ok(None);
    }
    Ok(Some(Position {
        lat: Degrees1e7(lat),
        lon: Degrees1e7(i32::try_from(lon.number).map_err(|_| Impossible)?),
        height: checked::<i32>(height)?.map(Millimetres),
        speed: speed.map(MillimetresPerSecond),
        course: course.map(Course1e5),
        h_acc: checked::<u32>(h_acc)?.map(AccuracyMm),
        dop: checked::<u16>(dop)?.map(DopCenti),
        satellites: checked::<u8>(satellites)?,
        fix: FixKind(u8::try_from(fix).map_err(|_| Impossible)?),
    }))
}

/// The columns of a position that are still to come.
struct Columns<'a, P> {
    pipe: &'a mut P,
    plans: core::slice::Iter<'a, ColumnPlan>,
    fields: core::slice::IterMut<'a, Field>,
}

impl<P: Pipe> Columns<'_, P> {
    // A copy for each column is a third quicker than one for all.
    #[inline(always)]
    fn next(&mut self, column: Column, given: i64, aid: Aid) -> Result<Coded, Impossible> {
        let plan = self.plans.next().ok_or(Impossible)?;
        let field = self.fields.next().ok_or(Impossible)?;
        Ok(number(self.pipe, column, plan, field, given, aid))
    }

    /// A column that only has a number where its presence bit is set.
    #[inline(always)]
    fn optional(
        &mut self,
        column: Column,
        there: i64,
        given: i64,
        louder: i32,
    ) -> Result<(Option<i64>, i32), Impossible> {
        if there & presence_bit(column) == 0 {
            self.plans.next();
            self.fields.next();
            return Ok((None, 0));
        }
        let coded = self.next(
            column,
            given,
            Aid {
                ahead: None,
                louder,
            },
        )?;
        Ok((Some(coded.number), coded.louder()))
    }

    /// What velocity says about the next column.
    fn ahead(&self, way: i32, way_before: i32, louder: i32) -> Aid {
        let fit = self.plans.as_slice().first().map_or(0, |plan| plan.fit);
        let leaning = LEANINGS.get(usize::from(fit)).copied().flatten();
        let ahead = leaning.map(|eighths| leaned(way, way_before, eighths));
        Aid { ahead, louder }
    }
}

/// Eighths of the surprise in speed that a course shares.
const TURN_SHARE: i32 = 2;
/// Eighths of the surprises in speed and course that latitude and longitude share.
const UNREST_SHARE: i32 = 1;
/// Eighths of the surprise in latitude that a longitude shares.
const ASTRAY_SHARE: i32 = 2;

/// Eighths of a surprise, within bounds; an ordinary residual is one half octave below the mean.
fn share(loud: i32, eighths: i32) -> i32 {
    ((loud + 1).clamp(-6, 6) * eighths + 4) >> 3
}

/// The way with this many eighths of its change added.
pub(super) fn leaned(way: i32, way_before: i32, eighths: i64) -> i64 {
    let (way, before) = (i64::from(way), i64::from(way_before));
    way + (((way - before) * eighths) >> 3)
}

/// The number of a column of a position; `None` where it has none.
#[inline]
pub(super) fn raw_of_position(position: &Position, column: Column) -> Option<i64> {
    match column {
        Column::Presence => Some(i64::from(presence(position))),
        Column::Fix => Some(i64::from(position.fix.0)),
        Column::Satellites => position.satellites.map(i64::from),
        Column::Accuracy => position.h_acc.map(|v| i64::from(v.0)),
        Column::Dop => position.dop.map(|v| i64::from(v.0)),
        Column::Speed => position.speed.map(|v| i64::from(v.0)),
        Column::Course => position.course.map(|v| i64::from(v.0)),
        Column::Height => position.height.map(|v| i64::from(v.0)),
        Column::Lat => Some(i64::from(position.lat.0)),
        Column::Lon => Some(i64::from(position.lon.0)),
        Column::Stamp | Column::Score | Column::Number => None,
    }
}

/// One bit for each part that may be missing; the one that comes and goes most often is the lowest.
#[inline]
pub(super) fn presence(position: &Position) -> u8 {
    let bit = |there: bool, column| if there { presence_bit(column) as u8 } else { 0 };
    bit(position.course.is_some(), Column::Course)
        | bit(position.speed.is_some(), Column::Speed)
        | bit(position.height.is_some(), Column::Height)
        | bit(position.satellites.is_some(), Column::Satellites)
        | bit(position.h_acc.is_some(), Column::Accuracy)
        | bit(position.dop.is_some(), Column::Dop)
}

const fn presence_bit(column: Column) -> i64 {
    match column {
        Column::Course => 1,
        Column::Speed => 2,
        Column::Height => 4,
        Column::Satellites => 8,
        Column::Accuracy => 16,
        Column::Dop => 32,
        _ => 0,
    }
}

/// A number that must fit its type where it is there.
fn checked<T: TryFrom<i64>>(number: Option<i64>) -> Result<Option<T>, Impossible> {
    number.map(T::try_from).transpose().map_err(|_| Impossible)
}

/// What a reader passes in place of a position.
pub(super) const NOWHERE: Position = Position {
    lat: Degrees1e7(0),
    lon: Degrees1e7(0),
    height: None,
    speed: None,
    course: None,
    h_acc: None,
    dop: None,
    satellites: None,
    fix: FixKind(0),
};
