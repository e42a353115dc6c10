//! The look ahead of a writer at the stamps: is there a schedule, and how wide is the jitter?
//!
//! Promises: finds the period of streams that are read at whole multiples of one period, also with gaps
//! and late stamps. Never: needed by a reader.

use crate::reading::Reading;

use super::column::ColumnPlan;
use super::field::{FRACTION_BITS, Fit, SEEN_MAX};
use super::shape::half_octaves;
use super::stamp::{Schedule, StampPlan, WIDTH_MAX};
use super::stream::STREAMS_MAX;

/// Half octaves that an escape costs about.
const ESCAPE_COST: u64 = 48;

/// How the stamps are written, and the base time.
pub(super) fn choose(readings: &[Reading], streams: &[u8], known: usize) -> (StampPlan, u64) {
    let first_ms = readings.first().map_or(0, |reading| reading.stamp_ms);
    let rows = || {
        let since = readings
            .iter()
            .map(|r| r.stamp_ms.wrapping_sub(first_ms) as i64);
        streams.iter().map(|stream| usize::from(*stream)).zip(since)
    };
    // A sensor that is read without gaps, as nearly all are, shows its period at once.
    let period_ms = mean_period_ms(rows());
    let tried = Tried::of(rows(), period_ms);
    if tried.escapes == 0 && tried.width <= 9 {
        return tried.plan(period_ms, first_ms);
    }
    let period_ms = usual_period_ms(rows, known);
    let tried = Tried::of(rows(), period_ms);
    let scheduled = tried.plan(period_ms, first_ms);
    if tried.escapes == 0 && tried.width <= 9 {
        return scheduled;
    }
    let others = [Fit::LONG_LINE, Fit::SECOND_DIFFERENCE].map(|fit| by_stream(rows(), fit));
    let sweep = by_sweep(rows());
    let plans: [fn(u8) -> StampPlan; 3] = [
        |scale| StampPlan::Line { scale },
        |scale| StampPlan::Interval { scale },
        |scale| StampPlan::Sweep { scale },
    ];
    let others = others.into_iter().chain([sweep]).zip(plans);
    match others.min_by_key(|(other, _)| other.cost) {
        Some((other, plan)) if other.cost < tried.cost(streams.len()) => {
            (plan(ColumnPlan::scale_of(other.magnitude())), first_ms)
        }
        _ => scheduled,
    }
}

/// The interval of a stream as it is without its jitter.
pub(super) fn without_jitter(plan: &StampPlan, interval_ms: i64) -> i64 {
    match plan {
        StampPlan::Schedule(schedule) => {
            let period_ms = i64::from(schedule.period_ms.max(1));
            interval_ms
                .saturating_add(period_ms / 2)
                .div_euclid(period_ms)
                * period_ms
        }
        _ => interval_ms,
    }
}

/// The mean interval of the first stream.
fn mean_period_ms(rows: impl Iterator<Item = (usize, i64)>) -> u32 {
    let stamps = rows
        .filter(|(stream, _)| *stream == 0)
        .map(|(_, at_ms)| at_ms);
    let (last_ms, count) = stamps.fold((0, 0), |(_, count), at_ms| (at_ms, count + 1));
    let intervals = (count - 1).max(1);
    as_period(last_ms.saturating_add(intervals / 2).div_euclid(intervals))
}

/// The most usual interval of the stream with the most stamps.
fn usual_period_ms<I: Iterator<Item = (usize, i64)>>(rows: impl Fn() -> I, known: usize) -> u32 {
    let mut counts = [0_u16; STREAMS_MAX];
    for (stream, _) in rows() {
        if let Some(count) = counts.get_mut(stream) {
            *count += 1;
        }
    }
    let busiest = (0..known)
        .max_by_key(|s| (counts.get(*s), core::cmp::Reverse(*s)))
        .unwrap_or(0);
    let mut intervals = heapless::Vec::<i64, { super::COUNT_MAX }>::new();
    let mut before = None;
    for (_, at_ms) in rows().filter(|(stream, _)| *stream == busiest) {
        if let Some(before) = before.replace(at_ms) {
            let _room_for_every_row = intervals.push(at_ms.wrapping_sub(before));
        }
    }
    let near = |middle: i64| {
        move |interval: &&i64| {
            interval.wrapping_sub(middle).unsigned_abs() <= middle.unsigned_abs() / 4
        }
    };
    let mean = mean(intervals.iter());
    if intervals.iter().all(|interval| near(mean)(&interval)) {
        return as_period(mean);
    }
    intervals.sort_unstable();
    let middle = intervals
        .get(intervals.len() / 2)
        .copied()
        .unwrap_or(1000)
        .clamp(1, 1 << 31);
    as_period(self::mean(intervals.iter().filter(near(middle))))
}

/// The mean, rounded to the nearest.
fn mean<'a>(intervals: impl Iterator<Item = &'a i64>) -> i64 {
    let (sum, count) = intervals.fold((0_i64, 0_i64), |(sum, n), i| {
        (sum.saturating_add(*i), n + 1)
    });
    if count == 0 {
        1000
    } else {
        sum.saturating_add(count / 2).div_euclid(count)
    }
}

fn as_period(interval_ms: i64) -> u32 {
    u32::try_from(interval_ms.max(1)).unwrap_or(u32::MAX)
}

/// A schedule, tried with the widest jitter.
struct Tried {
    /// The widest jitter that was seen.
    width: u8,
    escapes: u64,
    /// The earliest residual of the first stream before anything escaped, seen from its first stamp.
    earliest: i8,
}

impl Tried {
    fn of(rows: impl Iterator<Item = (usize, i64)>, period_ms: u32) -> Self {
        use super::range_coder::Nothing;
        use super::stamp::Slot;
        let widest = Schedule {
            period_ms,
            width: WIDTH_MAX,
            aligned: false,
        };
        let mut slots = [None::<(Slot, i64)>; STREAMS_MAX];
        let mut tried = Self {
            width: 1,
            escapes: 0,
            earliest: 0,
        };
        let mut first_runs = true;
        for (stream, at_ms) in rows {
            let Some(place) = slots.get_mut(stream) else {
                continue;
            };
            let Some((slot, last_ms)) = place else {
                *place = Some((Slot::FIRST, at_ms));
                continue;
            };
            let mut escaped = Nothing::default();
            slot.next(&mut escaped, &widest, *last_ms, at_ms);
            *last_ms = at_ms;
            tried.escapes += u64::from(escaped.windows_missed);
            let (low, high) = slot.seen();
            tried.width = tried.width.max((high - low) as u8 + 1);
            if stream == 0 {
                first_runs &= escaped.windows_missed == 0;
                tried.earliest = if first_runs { low } else { tried.earliest };
            }
        }
        tried
    }

    fn aligned_base_ms(&self, first_ms: u64) -> Option<u64> {
        first_ms.checked_add_signed(i64::from(self.earliest))
    }

    fn plan(&self, period_ms: u32, first_ms: u64) -> (StampPlan, u64) {
        let base_ms = self.aligned_base_ms(first_ms);
        let schedule = Schedule {
            period_ms,
            width: self.width,
            aligned: base_ms.is_some(),
        };
        (StampPlan::Schedule(schedule), base_ms.unwrap_or(first_ms))
    }

    fn cost(&self, rows: usize) -> u64 {
        let each = half_octaves(u32::from(self.width) * 16);
        rows as u64 * u64::from(each) + self.escapes * ESCAPE_COST
    }
}

/// What a fit makes of the stamps.
#[derive(Debug, Clone, Copy, Default)]
struct Fitted {
    cost: u64,
    sum: u64,
    count: u64,
}

impl Fitted {
    fn add(&mut self, residual: i64) {
        let magnitude = residual.unsigned_abs().min(1 << 24) as u32;
        // Twice the magnitude and a half more is about what a distribution around zero costs.
        self.cost += u64::from(half_octaves(magnitude * 40 + 24));
        self.sum += u64::from(magnitude);
        self.count += 1;
    }

    fn magnitude(&self) -> u32 {
        u32::try_from(self.sum * 256 / self.count.max(1)).unwrap_or(u32::MAX)
    }
}

fn by_stream(rows: impl Iterator<Item = (usize, i64)>, fit: Fit) -> Fitted {
    let mut lines = [(0_u32, (0_i64, 0_i64)); STREAMS_MAX];
    let mut fitted = Fitted::default();
    for (stream, at_ms) in rows {
        let Some((seen, line)) = lines.get_mut(stream) else {
            continue;
        };
        *seen = (*seen + 1).min(SEEN_MAX);
        if *seen == 1 {
            *line = (at_ms << FRACTION_BITS, 0);
            continue;
        }
        fitted.add(at_ms.wrapping_sub(fit.expected(*line)));
        *line = fit.follow(*line, *seen, at_ms);
    }
    fitted
}

fn by_sweep(rows: impl Iterator<Item = (usize, i64)>) -> Fitted {
    let mut distances = [None; STREAMS_MAX];
    let mut fitted = Fitted::default();
    let mut before_ms = 0;
    for (stream, at_ms) in rows {
        let distance = at_ms.wrapping_sub(before_ms);
        before_ms = at_ms;
        let Some(last) = distances.get_mut(stream) else {
            continue;
        };
        if let Some(last) = last.replace(distance) {
            fitted.add(distance.wrapping_sub(last));
        }
    }
    fitted
}
