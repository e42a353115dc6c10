//! A sensor's values over time, in few points.
//!
//! Promises: every bucket has the smallest and the largest value in it, so that no peak is ever smoothed away; a
//! stretch without readings is a gap and is said to be one; readings that came long after their time are marked
//! late; the usual range is computed from what came before, never from what came after. Never: a reading without
//! UTC on a time axis.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::seek::{self, Span};
use super::{Cell, QueryError, Row, Rows, list};

/// A reading is late when it was received so long after its own time ...
const LATE_MS: i64 = 60_000;
/// ... or so long after a reading that was taken behind it.
const OVERTAKEN_MS: i64 = 5_000;
/// A frame is sealed long before this; what follows it later is a gap.
const FRAME_MS_MAX: i64 = 300_000;
/// So many periods without a reading are a gap.
const GAP_PERIODS: i64 = 3;
const GAP_MS_MIN: i64 = 15_000;
/// The usual range looks back over so many buckets.
const USUAL_BUCKETS: usize = 48;
/// With fewer nothing is usual.
const USUAL_BUCKETS_MIN: usize = 8;
/// Of a normal distribution, the standard deviation is so many median deviations.
const SIGMA_PER_MAD: f64 = 1.4826;
const SIGMAS: f64 = 3.0;
/// Below the noise of a sensor nothing is unusual: 0.25 degC, or 0.25 of another unit.
const USUAL_HALF_MIN: f64 = 0.25;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) device: String,
    pub(crate) sensor: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Stretch {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// The answer: columns of equal length, one entry per bucket that has a reading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Series {
    pub(crate) device: String,
    pub(crate) sensor: String,
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
    /// The first and the last reading of each bucket.
    pub(crate) first_ms: Vec<i64>,
    pub(crate) last_ms: Vec<i64>,
    /// The smallest, the largest and the mean value; `null` where all readings of the bucket are faults.
    pub(crate) min: Vec<Option<f64>>,
    pub(crate) max: Vec<Option<f64>>,
    pub(crate) mean: Vec<Option<f64>>,
    /// Readings, faults among them.
    pub(crate) count: Vec<i64>,
    pub(crate) faults: Vec<i64>,
    /// The most unusual score, 0 to 1000.
    pub(crate) score: Vec<i64>,
    /// What was usual before, by the centre: median and median deviation of the buckets before; `null` while there are
    /// too few. It is not the band of the vehicle's detector, which comes with alerts alone (`low`, `high`).
    pub(crate) usual_low: Vec<Option<f64>>,
    pub(crate) usual_high: Vec<Option<f64>>,
    /// Stretches without a reading.
    pub(crate) gaps: Vec<Stretch>,
    /// Stretches whose readings came late.
    pub(crate) late: Vec<Stretch>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    count: i64,
    faults: i64,
    min: Option<f64>,
    max: Option<f64>,
    sum: f64,
    first_ms: i64,
    last_ms: i64,
    score: i64,
}

impl Bucket {
    fn read(row: Row<'_>) -> Option<(i64, Self)> {
        Some((
            row.int(0)?,
            Self {
                count: row.int(1)?,
                faults: row.int(2)?,
                min: row.real(3),
                max: row.real(4),
                sum: row.real(5).unwrap_or_default(),
                first_ms: row.int(6)?,
                last_ms: row.int(7)?,
                score: row.int(8).unwrap_or_default(),
            },
        ))
    }

    /// Two process starts may share a bucket.
    fn merge(&mut self, other: &Self) {
        let both = |a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        self.count += other.count;
        self.faults += other.faults;
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        self.sum += other.sum;
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.score = self.score.max(other.score);
    }

    fn mean(&self) -> Option<f64> {
        let values = self.count - self.faults;
        (values > 0).then(|| self.sum / values as f64)
    }
}

/// A sensor of one process start.
struct Known {
    epoch: u64,
    index: u64,
    kind: String,
    unit: String,
    period_ms: i64,
}

fn known(rows: &mut dyn Rows, request: &Request) -> Result<Vec<Known>, QueryError> {
    list(
        rows,
        "SELECT epoch, sensor, kind, unit, period_ms FROM catalogues \
         WHERE device = CAST($1 AS TEXT) AND name = CAST($2 AS TEXT)",
        &[Cell::text(&request.device), Cell::text(&request.sensor)],
        |row| {
            Some(Known {
                epoch: row.unsigned(0)?,
                index: row.unsigned(1)?,
                kind: row.text(2)?,
                unit: row.text(3)?,
                period_ms: row.int(4)?,
            })
        },
    )
}

/// The series; `None` when the vehicle never had a sensor of this name.
pub(crate) fn series(rows: &mut dyn Rows, request: &Request) -> Result<Option<Series>, QueryError> {
    let known = known(rows, request)?;
    let Some(latest) = known.last() else {
        return Ok(None);
    };
    let (kind, unit) = (latest.kind.clone(), latest.unit.clone());
    // The usual range of the first bucket needs what was before it.
    let lead_ms = request
        .step_ms
        .saturating_mul(i64::try_from(USUAL_BUCKETS).unwrap_or(0));
    let lead_from_ms = request.from_ms.saturating_sub(lead_ms);
    let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
    let mut late = Vec::new();
    let mut period_ms = 0;
    for stream in seek::streams(rows, &request.device, "telemetry")? {
        let Some(sensor) = known.iter().find(|sensor| sensor.epoch == stream.epoch) else {
            continue;
        };
        let Some(span) = seek::span(rows, stream, lead_from_ms, request.to_ms)? else {
            continue;
        };
        period_ms = period_ms.max(sensor.period_ms);
        for (number, bucket) in buckets_of(rows, request, &span, sensor.index, lead_from_ms)? {
            let place = buckets.entry(number);
            place
                .and_modify(|known| known.merge(&bucket))
                .or_insert(bucket);
        }
        late.extend(late_of(rows, &request.device, &span)?);
    }
    let mut series = Series {
        device: request.device.clone(),
        sensor: request.sensor.clone(),
        kind,
        unit,
        from_ms: request.from_ms,
        to_ms: request.to_ms,
        step_ms: request.step_ms,
        late: joined(late, request),
        ..Series::default()
    };
    fill(&mut series, &buckets, period_ms);
    Ok(Some(series))
}

fn buckets_of(
    rows: &mut dyn Rows,
    request: &Request,
    span: &Span,
    sensor: u64,
    from_ms: i64,
) -> Result<Vec<(i64, Bucket)>, QueryError> {
    // Numbers of buckets count from the start of what was asked for; those before it are negative.
    let lead = (request.from_ms - from_ms) / request.step_ms;
    let found = list(
        rows,
        "SELECT (q.utc_ms - CAST($1 AS BIGINT)) / CAST($2 AS BIGINT) AS bucket, CAST(count(*) AS BIGINT), \
         CAST(sum(CASE WHEN q.kind = 4 THEN 1 ELSE 0 END) AS BIGINT), \
         min(q.value), max(q.value), sum(q.value), min(q.utc_ms), max(q.utc_ms), CAST(max(q.score) AS BIGINT) \
         FROM (SELECT utc_ms, kind, score, CASE kind WHEN 0 THEN CAST(raw AS DOUBLE PRECISION) / 128.0 \
         WHEN 2 THEN scalar WHEN 3 THEN CAST(raw AS DOUBLE PRECISION) END AS value FROM reading \
         WHERE stream = CAST($3 AS BIGINT) AND seq >= CAST($4 AS BIGINT) AND seq <= CAST($5 AS BIGINT) \
         AND sensor = CAST($6 AS BIGINT) AND utc_ms >= CAST($1 AS BIGINT) AND utc_ms < CAST($7 AS BIGINT)) AS q \
         GROUP BY 1",
        &[
            Cell::Int(from_ms),
            Cell::Int(request.step_ms),
            Cell::Int(span.stream.number),
            Cell::int(span.first_seq),
            Cell::int(span.last_seq),
            Cell::int(sensor),
            Cell::Int(request.to_ms),
        ],
        Bucket::read,
    )?;
    Ok(found
        .into_iter()
        .map(|(number, bucket)| (number - lead, bucket))
        .collect())
}

/// Fills the columns from the buckets; those with a negative number only say what is usual.
fn fill(series: &mut Series, buckets: &BTreeMap<i64, Bucket>, period_ms: i64) {
    let gap_ms = period_ms.saturating_mul(GAP_PERIODS).max(GAP_MS_MIN);
    let mut before: Vec<(i64, f64)> = Vec::new();
    let mut last_ms = series.from_ms;
    for (number, bucket) in buckets {
        let mean = bucket.mean();
        if *number >= 0 {
            let usual = usual(&before, *number);
            push(series, bucket, mean, usual);
            if bucket.first_ms - last_ms > gap_ms {
                series.gaps.push(Stretch {
                    from_ms: last_ms,
                    to_ms: bucket.first_ms,
                });
            }
            last_ms = bucket.last_ms;
        } else {
            last_ms = last_ms.max(bucket.last_ms);
        }
        before.extend(mean.map(|mean| (*number, mean)));
    }
    if series.to_ms - last_ms > gap_ms {
        series.gaps.push(Stretch {
            from_ms: last_ms,
            to_ms: series.to_ms,
        });
    }
}

fn push(series: &mut Series, bucket: &Bucket, mean: Option<f64>, usual: Option<(f64, f64)>) {
    series.first_ms.push(bucket.first_ms);
    series.last_ms.push(bucket.last_ms);
    series.min.push(bucket.min);
    series.max.push(bucket.max);
    series.mean.push(mean);
    series.count.push(bucket.count);
    series.faults.push(bucket.faults);
    series.score.push(bucket.score);
    series.usual_low.push(usual.map(|(low, _)| low));
    series.usual_high.push(usual.map(|(_, high)| high));
}

/// The range in which a mean would be usual, from those of the buckets before.
fn usual(before: &[(i64, f64)], number: i64) -> Option<(f64, f64)> {
    let oldest = number - i64::try_from(USUAL_BUCKETS).unwrap_or(i64::MAX);
    let recent = before.iter().rev().take_while(|(at, _)| *at >= oldest);
    let mut values: Vec<f64> = recent.map(|(_, mean)| *mean).collect();
    (values.len() >= USUAL_BUCKETS_MIN).then_some(())?;
    let centre = median(&mut values)?;
    for value in &mut values {
        *value = (*value - centre).abs();
    }
    let half = (SIGMAS * SIGMA_PER_MAD * median(&mut values)?).max(USUAL_HALF_MIN);
    Some((centre - half, centre + half))
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A frame: when it came, and the UTC of its first reading.
#[derive(Debug, Clone, Copy)]
struct Frame {
    utc_ms: i64,
    received_ms: i64,
}

/// The stretches of a span whose frames came late.
fn late_of(rows: &mut dyn Rows, device: &str, span: &Span) -> Result<Vec<Stretch>, QueryError> {
    let frames = list(
        rows,
        "SELECT r.utc_ms, f.received_ms FROM frames AS f \
         JOIN reading AS r ON r.stream = CAST($1 AS BIGINT) AND r.seq = f.first_seq \
         WHERE f.device = CAST($2 AS TEXT) AND f.epoch = CAST($3 AS BIGINT) AND f.lane = 'telemetry' \
         AND f.first_seq >= CAST($4 AS BIGINT) AND f.first_seq <= CAST($5 AS BIGINT) AND r.utc_ms IS NOT NULL \
         ORDER BY f.first_seq",
        &[
            Cell::Int(span.stream.number),
            Cell::text(device),
            Cell::int(span.stream.epoch),
            Cell::int(span.first_seq),
            Cell::int(span.last_seq),
        ],
        |row| {
            Some(Frame {
                utc_ms: row.int(0)?,
                received_ms: row.int(1)?,
            })
        },
    )?;
    Ok(late_frames(&frames))
}

/// A frame lasts until the next one begins; neighbours that are late are one stretch.
fn late_frames(frames: &[Frame]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut next_ms, mut earliest_later_ms) = (None, i64::MAX);
    for frame in frames.iter().rev() {
        let is_overtaken = frame.received_ms.saturating_sub(OVERTAKEN_MS) > earliest_later_ms;
        let is_late = is_overtaken || frame.received_ms.saturating_sub(frame.utc_ms) > LATE_MS;
        let end_ms = frame.utc_ms.saturating_add(FRAME_MS_MAX);
        let to_ms = next_ms.map_or(frame.utc_ms + 1, |next_ms: i64| next_ms.min(end_ms));
        if is_late {
            match stretches.last_mut() {
                Some(stretch) if stretch.from_ms == to_ms => stretch.from_ms = frame.utc_ms,
                _ => stretches.push(Stretch {
                    from_ms: frame.utc_ms,
                    to_ms,
                }),
            }
        }
        next_ms = Some(frame.utc_ms);
        earliest_later_ms = earliest_later_ms.min(frame.received_ms);
    }
    stretches.reverse();
    stretches
}

/// Stretches within what was asked for, in their order, those that touch made one.
fn joined(mut stretches: Vec<Stretch>, request: &Request) -> Vec<Stretch> {
    stretches.retain(|stretch| stretch.to_ms > request.from_ms && stretch.from_ms < request.to_ms);
    stretches.sort_by_key(|stretch| stretch.from_ms);
    let mut whole: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        let (from_ms, to_ms) = (
            stretch.from_ms.max(request.from_ms),
            stretch.to_ms.min(request.to_ms),
        );
        match whole.last_mut() {
            // What lies between two of them and is no longer than a step is not to be told apart.
            Some(before) if from_ms <= before.to_ms.saturating_add(request.step_ms) => {
                before.to_ms = before.to_ms.max(to_ms);
            }
            _ => whole.push(Stretch { from_ms, to_ms }),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(first_ms: i64, last_ms: i64, value: f64) -> Bucket {
        Bucket {
            count: 1,
            faults: 0,
            min: Some(value),
            max: Some(value),
            sum: value,
            first_ms,
            last_ms,
            score: 0,
        }
    }

    fn filled(buckets: &[(i64, Bucket)], from_ms: i64, to_ms: i64) -> Series {
        let mut series = Series {
            from_ms,
            to_ms,
            ..Series::default()
        };
        fill(&mut series, &buckets.iter().copied().collect(), 1_000);
        series
    }

    #[test]
    fn a_stretch_without_readings_is_a_gap_at_both_ends_and_in_between() {
        let series = filled(
            &[
                (1, bucket(20_000, 39_000, 1.0)),
                (5, bucket(100_000, 119_000, 1.0)),
            ],
            0,
            200_000,
        );
        let gaps: Vec<(i64, i64)> = series.gaps.iter().map(|g| (g.from_ms, g.to_ms)).collect();
        assert_eq!(gaps, [(0, 20_000), (39_000, 100_000), (119_000, 200_000)]);
    }

    #[test]
    fn readings_that_follow_each_other_are_no_gap() {
        let series = filled(
            &[
                (0, bucket(500, 9_500, 1.0)),
                (1, bucket(10_500, 19_500, 1.0)),
            ],
            0,
            20_000,
        );
        assert_eq!(series.gaps, []);
    }

    #[test]
    fn the_usual_range_knows_only_what_came_before() {
        let mut buckets: Vec<(i64, Bucket)> = (-20..0)
            .map(|n| (n, bucket(n * 1_000, n * 1_000, 4.0 + 0.01 * (n % 3) as f64)))
            .collect();
        buckets.push((0, bucket(0, 0, 12.0)));
        buckets.push((1, bucket(1_000, 1_000, 4.0)));
        let series = filled(&buckets, 0, 2_000);
        let high = series.usual_high.first().copied().flatten().unwrap();
        assert!(high < 4.5, "the jump itself is not usual: {high}");
        let after = series.usual_high.get(1).copied().flatten().unwrap();
        assert!(
            after < 4.5,
            "one jump does not make the next usual: {after}"
        );
        assert_eq!(
            filled(&buckets[18..], 0, 2_000).usual_low.first(),
            Some(&None)
        );
    }

    #[test]
    fn a_bucket_of_two_process_starts_keeps_both_extremes() {
        let mut one = bucket(0, 10, 1.0);
        one.merge(&bucket(5, 20, 9.0));
        assert_eq!(
            (one.min, one.max, one.mean()),
            (Some(1.0), Some(9.0), Some(5.0))
        );
        assert_eq!((one.first_ms, one.last_ms, one.count), (0, 20, 2));
        let mut fault = Bucket {
            faults: 1,
            min: None,
            max: None,
            sum: 0.0,
            ..one
        };
        fault.count = 1;
        assert_eq!(fault.mean(), None);
    }

    fn frame(utc_ms: i64, received_ms: i64) -> Frame {
        Frame {
            utc_ms,
            received_ms,
        }
    }

    #[test]
    fn what_a_later_reading_overtook_is_late_and_what_came_in_time_is_not() {
        // The third to the fifth wait for the link, behind the sixth.
        let frames = [
            frame(0, 2_000),
            frame(10_000, 12_000),
            frame(20_000, 62_000),
            frame(30_000, 63_000),
            frame(40_000, 64_000),
            frame(50_000, 52_000),
            frame(60_000, 62_000),
        ];
        let late = late_frames(&frames);
        assert_eq!(
            late,
            [Stretch {
                from_ms: 20_000,
                to_ms: 50_000
            }]
        );
    }

    #[test]
    fn a_reading_that_comes_an_hour_after_its_time_is_late_although_nothing_overtook_it() {
        let frames = [
            frame(0, 3_600_000),
            frame(10_000, 3_600_000),
            frame(3_590_000, 3_600_500),
        ];
        assert_eq!(
            late_frames(&frames),
            [Stretch {
                from_ms: 0,
                to_ms: 310_000
            }]
        );
    }
}
