//! Stamps: most sensors are read on a schedule, and only the jitter around it carries information.
//!
//! Promises: stamps of any order and distance round trip; a schedule of known period and jitter costs the
//! logarithm of the jitter's width. Never: assumes that time runs forward.
//!
//! A slot is a place on the schedule. A stream's stamps lie within `width` milliseconds of their slots, but
//! where exactly the slots lie is learnt: after residuals from `low` to `high` the next one lies between
//! `high - (width - 1)` and `low + (width - 1)`. A stamp outside escapes and starts a schedule of its own.

use super::range_coder::Pipe;
use super::shape::whole;

/// The widest jitter that a schedule is used for, ms.
pub(super) const WIDTH_MAX: u8 = 16;
/// Periods with a short name, ms, the most usual first.
const PERIODS_MS: [u32; 7] = [1000, 100, 200, 500, 2000, 5000, 10_000];
const SLOTS_MAX: i64 = 0xFFFF;

/// How the stamps of a batch are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StampPlan {
    /// Around slots.
    Schedule(Schedule),
    /// Each stream's own line.
    Line {
        /// See [`super::column::ColumnPlan`].
        scale: u8,
    },
    /// Each stream's own last interval.
    Interval {
        /// See [`super::column::ColumnPlan`].
        scale: u8,
    },
    /// The distance from the row before, as it was the last time: sensors that are read in one sweep.
    Sweep {
        /// See [`super::column::ColumnPlan`].
        scale: u8,
    },
}

/// A schedule of all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Time between slots.
    pub(super) period_ms: u32,
    /// How many different residuals there are, 1 to [`WIDTH_MAX`].
    pub(super) width: u8,
    /// The base time is the first slot's earliest stamp.
    pub(super) aligned: bool,
}

impl StampPlan {
    /// Codes the plan.
    pub(super) fn code<P: Pipe>(self, pipe: &mut P) -> Self {
        let schedule = match self {
            Self::Schedule(schedule) => Some(schedule),
            _ => None,
        };
        if pipe.likely(7, schedule.is_some()) {
            return Self::Schedule(schedule.unwrap_or(Schedule::NONE).code(pipe));
        }
        let (mode, scale) = match self {
            Self::Schedule(_) => (0, 0),
            Self::Line { scale } => (0, scale),
            Self::Interval { scale } => (1, scale),
            Self::Sweep { scale } => (2, scale),
        };
        let mode = pipe.even(mode, 3);
        let scale = pipe.even(u32::from(scale), u32::from(super::column::SCALES)) as u8;
        match mode {
            0 => Self::Line { scale },
            1 => Self::Interval { scale },
            _ => Self::Sweep { scale },
        }
    }
}

impl Schedule {
    /// What a reader starts from.
    const NONE: Self = Self {
        period_ms: 1,
        width: 1,
        aligned: false,
    };

    fn code<P: Pipe>(self, pipe: &mut P) -> Self {
        let name = PERIODS_MS.iter().position(|p| *p == self.period_ms);
        let period_ms = if pipe.likely(4, name == Some(0)) {
            1000
        } else {
            let spelt = PERIODS_MS.len();
            let name = pipe.even(name.unwrap_or(spelt) as u32, spelt as u32 + 1) as usize;
            let spelt_ms = |pipe: &mut P| (pipe.bits(u64::from(self.period_ms), 32) as u32).max(1);
            PERIODS_MS
                .get(name)
                .copied()
                .unwrap_or_else(|| spelt_ms(pipe))
        };
        let width = pipe.even(u32::from(self.width) - 1, u32::from(WIDTH_MAX)) as u8 + 1;
        let aligned = pipe.likely(7, self.aligned);
        Self {
            period_ms,
            width,
            aligned,
        }
    }
}

/// Where a stream is on the schedule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot {
    /// How long after its slot the last stamp lies.
    late_ms: i8,
    /// How many periods lie between two stamps of this stream.
    periods: u16,
    /// The residuals seen since the schedule started.
    low: i8,
    high: i8,
}

impl Slot {
    /// The schedule that any stamp starts.
    pub(super) const FIRST: Self = Self {
        late_ms: 0,
        periods: 1,
        low: 0,
        high: 0,
    };

    /// The schedule whose first slot holds stamps from 0 to `width - 1`; the first is `late_ms`.
    pub(super) fn aligned(schedule: &Schedule, late_ms: i64) -> Self {
        Self {
            late_ms: late_ms as i8,
            periods: 1,
            low: 0,
            high: schedule.width as i8 - 1,
        }
    }

    /// The residuals seen, from the lowest to the highest.
    pub(super) fn seen(&self) -> (i8, i8) {
        (self.low, self.high)
    }

    /// Time since the stream's last stamp, free of jitter.
    pub(super) fn step_ms(&self, schedule: &Schedule) -> i64 {
        i64::from(self.periods) * i64::from(schedule.period_ms)
    }

    /// Codes the next stamp of this stream; `last_ms` is the one before.
    #[inline]
    pub(super) fn next<P: Pipe>(
        &mut self,
        pipe: &mut P,
        schedule: &Schedule,
        last_ms: i64,
        given_ms: i64,
    ) -> i64 {
        let slot_ms = last_ms.wrapping_sub(i64::from(self.late_ms));
        let expected = slot_ms.wrapping_add(self.step_ms(schedule));
        let lowest = i64::from(self.high) - (i64::from(schedule.width) - 1);
        let highest = i64::from(self.low) + (i64::from(schedule.width) - 1);
        let count = (highest - lowest + 1).max(1) as u32;
        let place = given_ms.wrapping_sub(expected).wrapping_sub(lowest);
        let inside = u32::try_from(place).ok().filter(|place| *place < count);
        if let Some(place) = pipe.window(inside, count) {
            pipe.note(super::Column::Stamp, i64::from(place));
            let residual = lowest + i64::from(place);
            self.low = self.low.min(residual as i8);
            self.high = self.high.max(residual as i8);
            self.late_ms = residual as i8;
            return expected.wrapping_add(residual);
        }
        let residual = whole(pipe, given_ms.wrapping_sub(expected));
        pipe.note(super::Column::Stamp, residual);
        let stamp_ms = expected.wrapping_add(residual);
        *self = Self {
            periods: periods(schedule, stamp_ms.wrapping_sub(last_ms)),
            ..Self::FIRST
        };
        stamp_ms
    }
}

/// How many periods an interval is, at least one.
fn periods(schedule: &Schedule, interval_ms: i64) -> u16 {
    let period_ms = i64::from(schedule.period_ms.max(1));
    (interval_ms.saturating_add(period_ms / 2) / period_ms).clamp(1, SLOTS_MAX) as u16
}
