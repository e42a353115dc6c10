//! The rows of a batch, number by number.
//!
//! Promises: one function codes a row in both directions; the state is bounded by [`STREAMS_MAX`] streams
//! and [`FIELDS_MAX`] numbers, below 4 KiB; a row is known as soon as it is read. Never: looks ahead.
//!
//! How columns are written is chosen per kind; what is remembered is remembered per stream.

use crate::reading::{Fault, FaultKind, Health, Kind, Metric, Reading, Scalar, Score, Value};
use crate::units::{Celsius128, Unit};

use super::column::{Aid, Column, ColumnPlan, number, with_fit};
use super::field::{Field, Fit};
use super::position::{NOWHERE, position};
use super::range_coder::Pipe;
use super::shape::whole;
use super::stamp::{Slot, StampPlan};
use super::stream::{Key, Order, Stream};

/// Numbers remembered in one batch: a position takes twelve, any other stream three.
pub(super) const FIELDS_MAX: usize = 128;

/// How everything in a batch is written.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Streams repeat after this many rows; 0 where they do not.
    pub(super) cycle: u8,
    pub(super) stamp: StampPlan,
    /// Per kind.
    pub(super) scores: [ColumnPlan; 6],
    /// Per kind; the place of positions is not used.
    pub(super) numbers: [ColumnPlan; 6],
    pub(super) position: [ColumnPlan; 10],
}

impl Plan {
    pub(super) const CONSTANT: Self = Self {
        cycle: 0,
        stamp: StampPlan::Line { scale: 0 },
        scores: [ColumnPlan::CONSTANT; 6],
        numbers: [ColumnPlan::CONSTANT; 6],
        position: [ColumnPlan::CONSTANT; 10],
    };

    /// The plan of a kind.
    fn code_kind<P: Pipe>(&mut self, pipe: &mut P, kind: Kind) {
        if let Some(plan) = self.scores.get_mut(kind as usize) {
            *plan = plan.code(pipe, Column::Score, None);
        }
        if kind == Kind::Position {
            let mut lat_fit = None;
            for (plan, column) in self.position.iter_mut().zip(Column::OF_POSITION) {
                let settled = lat_fit.filter(|_| column == Column::Lon);
                *plan = plan.code(pipe, column, settled);
                lat_fit = Some(plan.fit);
            }
        } else if let Some(plan) = self.numbers.get_mut(kind as usize) {
            *plan = plan.code(pipe, Column::Number, None);
        }
    }
}

/// Why a row cannot be what a writer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Impossible;

/// The state in front of the next row.
#[derive(Debug, Clone)]
pub(super) struct Model {
    order: Order,
    numbers: Numbers,
}

impl Model {
    /// Codes what stands before the rows. A reader gives any plan.
    pub(super) fn begin<P: Pipe>(pipe: &mut P, given: Plan, base_ms: u64) -> Self {
        let order = Order::begin(pipe, given.cycle);
        let stamp = given.stamp.code(pipe);
        let plan = Plan { stamp, ..given };
        let fields = heapless::Vec::new();
        let numbers = Numbers {
            plan,
            base_ms,
            kinds_seen: 0,
            fields,
            last_ms: 0,
        };
        Self { order, numbers }
    }

    /// Codes one row. A writer gives it and its stream, numbered in order of appearance; a reader gets it.
    pub(super) fn row<P: Pipe>(
        &mut self,
        pipe: &mut P,
        given: &Reading,
        given_stream: usize,
    ) -> Result<Option<Reading>, Impossible> {
        let (stream, new) = self.order.next(pipe, given, given_stream)?;
        if new {
            stream.field = self.numbers.open(pipe, &stream.key)?;
        }
        let (stamp_ms, step_ms) = self.numbers.stamp(pipe, stream, given.stamp_ms)?;
        let score = self.numbers.score(pipe, stream, given.score)?;
        let value = match (stream.key.kind, &given.value) {
            (Kind::Position, Value::Position(given)) => {
                self.numbers.position(pipe, stream, given, step_ms)?
            }
            (Kind::Position, _) => self.numbers.position(pipe, stream, &NOWHERE, step_ms)?,
            (kind, value) => Some(self.numbers.number(pipe, stream, kind, raw(value))?),
        };
        if pipe.corrupt() {
            return Err(Impossible);
        }
        if !P::READS {
            let right = stream.key == Key::of(given) && stamp_ms == given.stamp_ms;
            return if right { Ok(None) } else { Err(Impossible) };
        }
        Ok(value.map(|value| Reading {
            stamp_ms,
            sensor: stream.key.sensor,
            score,
            value,
        }))
    }
}

/// Everything about the numbers of all streams.
#[derive(Debug, Clone)]
struct Numbers {
    plan: Plan,
    base_ms: u64,
    kinds_seen: u8,
    fields: heapless::Vec<Field, FIELDS_MAX>,
    /// The stamp of the row before, ms since the base time.
    last_ms: i64,
}

impl Numbers {
    /// Makes room for a stream's numbers; the first stream of a kind is preceded by the kind's plan.
    fn open<P: Pipe>(&mut self, pipe: &mut P, key: &Key) -> Result<u8, Impossible> {
        let kind = key.kind as usize;
        if self.kinds_seen >> kind & 1 == 0 {
            self.kinds_seen |= 1 << kind;
            self.plan.code_kind(pipe, key.kind);
        }
        let first = self.fields.len() as u8;
        let scores = self.plan.scores.get(kind).ok_or(Impossible)?;
        let mut push = |field: Field| self.fields.push(field).map_err(|_| Impossible);
        push(Field::expecting(stamp_magnitude(&self.plan.stamp)))?;
        push(scores.field(Column::Score))?;
        if key.kind == Kind::Position {
            for (column, plan) in Column::OF_POSITION.iter().zip(&self.plan.position) {
                push(plan.field(*column))?;
            }
        } else {
            push(
                self.plan
                    .numbers
                    .get(kind)
                    .ok_or(Impossible)?
                    .field(Column::Number),
            )?;
        }
        Ok(first)
    }

    /// Codes the stamp; returns it with the time since the stream's last one, free of jitter if possible.
    fn stamp<P: Pipe>(
        &mut self,
        pipe: &mut P,
        stream: &mut Stream,
        given_ms: u64,
    ) -> Result<(u64, i64), Impossible> {
        let given = given_ms.wrapping_sub(self.base_ms) as i64;
        let field = self
            .fields
            .get_mut(usize::from(stream.field))
            .ok_or(Impossible)?;
        let first = field.seen() == 0;
        let (now_ms, step_ms) = match self.plan.stamp {
            StampPlan::Schedule(schedule) if !first => {
                let now_ms = stream.slot.next(pipe, &schedule, stream.last_ms, given);
                (now_ms, stream.slot.step_ms(&schedule))
            }
            StampPlan::Schedule(schedule) if schedule.aligned && stream.field == 0 => {
                field.start(0);
                let width = u32::from(schedule.width);
                let place = u32::try_from(given).unwrap_or(0).min(width - 1);
                let now_ms = i64::from(pipe.even(place, width));
                stream.slot = Slot::aligned(&schedule, now_ms);
                (now_ms, 0)
            }
            StampPlan::Schedule(_) => {
                field.start(0);
                let distance = whole(pipe, given.wrapping_sub(self.last_ms));
                let now_ms = self.last_ms.wrapping_add(distance);
                stream.slot = Slot::FIRST;
                (now_ms, 0)
            }
            StampPlan::Line { .. } => {
                let now_ms = with_fit(pipe, Column::Stamp, Fit::LONG_LINE, field, given);
                (now_ms, now_ms.wrapping_sub(stream.last_ms))
            }
            StampPlan::Interval { .. } => {
                let now_ms = with_fit(pipe, Column::Stamp, Fit::SECOND_DIFFERENCE, field, given);
                (now_ms, now_ms.wrapping_sub(stream.last_ms))
            }
            StampPlan::Sweep { .. } => {
                let distance = given.wrapping_sub(self.last_ms);
                let distance = with_fit(pipe, Column::Stamp, Fit::LAST, field, distance);
                let now_ms = self.last_ms.wrapping_add(distance);
                (now_ms, now_ms.wrapping_sub(stream.last_ms))
            }
        };
        stream.last_ms = now_ms;
        self.last_ms = now_ms;
        Ok((
            self.base_ms.wrapping_add(now_ms as u64),
            if first { 0 } else { step_ms },
        ))
    }

    fn score<P: Pipe>(
        &mut self,
        pipe: &mut P,
        stream: &Stream,
        given: Score,
    ) -> Result<Score, Impossible> {
        let plan = self
            .plan
            .scores
            .get(stream.key.kind as usize)
            .ok_or(Impossible)?;
        let field = self
            .fields
            .get_mut(usize::from(stream.field) + 1)
            .ok_or(Impossible)?;
        let aid = Aid::default();
        let score = number(pipe, Column::Score, plan, field, i64::from(given.0), aid);
        u16::try_from(score.number)
            .map(Score)
            .map_err(|_| Impossible)
    }

    fn number<P: Pipe>(
        &mut self,
        pipe: &mut P,
        stream: &Stream,
        kind: Kind,
        given: i64,
    ) -> Result<Value, Impossible> {
        let plan = self.plan.numbers.get(kind as usize).ok_or(Impossible)?;
        let field = self
            .fields
            .get_mut(usize::from(stream.field) + 2)
            .ok_or(Impossible)?;
        let raw = number(pipe, Column::Number, plan, field, given, Aid::default()).number;
        let small = i32::try_from(raw).map_err(|_| Impossible);
        let [low, high] = stream.key.name.to_le_bytes();
        Ok(match kind {
            Kind::Temperature => Value::Temperature(Celsius128(small?)),
            Kind::Scalar => Value::Scalar(Scalar {
                value: small?,
                unit: Unit(low),
                scale: high as i8,
            }),
            Kind::State => Value::State(u16::try_from(raw).map_err(|_| Impossible)?),
            Kind::Fault => Value::Fault(Fault {
                kind: FaultKind(low),
                register: high,
                code: small?,
            }),
            Kind::Health => Value::Health(Health {
                metric: Metric(stream.key.name),
                value: raw,
            }),
            Kind::Position => return Err(Impossible),
        })
    }

    fn position<P: Pipe>(
        &mut self,
        pipe: &mut P,
        stream: &mut Stream,
        given: &crate::reading::Position,
        step_ms: i64,
    ) -> Result<Option<Value>, Impossible> {
        let first = usize::from(stream.field) + 2;
        let fields = self.fields.get_mut(first..).ok_or(Impossible)?;
        let position = position(pipe, &self.plan.position, fields, stream, given, step_ms)?;
        Ok(position.map(Value::Position))
    }
}

fn stamp_magnitude(plan: &StampPlan) -> u32 {
    match plan {
        StampPlan::Schedule(_) => 0,
        StampPlan::Line { scale } | StampPlan::Interval { scale } | StampPlan::Sweep { scale } => {
            ColumnPlan {
                scale: *scale,
                ..ColumnPlan::CONSTANT
            }
            .magnitude()
        }
    }
}

/// The number of every kind but position.
#[inline]
pub(super) fn raw(value: &Value) -> i64 {
    match value {
        Value::Temperature(t) => i64::from(t.0),
        Value::Scalar(s) => i64::from(s.value),
        Value::State(s) => i64::from(*s),
        Value::Fault(f) => i64::from(f.code),
        Value::Health(h) => h.value,
        Value::Position(_) => 0,
    }
}
