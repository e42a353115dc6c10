//! "Complete up to 14:32": from when on something may still come.
//!
//! Promises: up to that time every number that the vehicle is known to have issued is stored, or its loss is on
//! record. Never: a promise about process starts that the centre has not heard of.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::seek::{self, Stream};
use super::{Cell, QueryError, Rows, first, hex, list};

/// More are counted, not listed.
const GAPS_MAX: usize = 100;

/// Numbers that are neither stored nor explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Gap {
    /// 16 hex digits.
    pub(crate) epoch: String,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// How complete the telemetry of a vehicle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Completeness {
    pub(crate) device: String,
    /// UTC up to which nothing is missing; `null` when nothing is stored or nobody knows its time.
    pub(crate) complete_up_to_utc_ms: Option<i64>,
    /// Nothing that was issued is missing, as far as the vehicle has told.
    pub(crate) is_complete: bool,
    /// Numbers that the centre waits for.
    pub(crate) missing_count: u64,
    pub(crate) missing: Vec<Gap>,
    /// Numbers that are explained as lost.
    pub(crate) lost_count: u64,
}

type Ranges = BTreeMap<u64, Vec<(u64, u64)>>;

/// How complete a vehicle is.
pub(crate) fn completeness(rows: &mut dyn Rows, device: &str) -> Result<Completeness, QueryError> {
    let streams = seek::streams(rows, device, "telemetry")?;
    let have = ranges(
        rows,
        device,
        "SELECT epoch, first_seq, last_seq FROM have_set \
         WHERE device = CAST($1 AS TEXT) AND lane = 'telemetry' ORDER BY epoch, first_seq",
    )?;
    let lost = ranges(
        rows,
        device,
        "SELECT epoch, first_seq, coalesce(last_seq, 9223372036854775807) FROM losses \
         WHERE device = CAST($1 AS TEXT) AND lane = 'telemetry' ORDER BY epoch, first_seq",
    )?;
    let issued: BTreeMap<u64, u64> = list(
        rows,
        "SELECT epoch, next_seq FROM issued WHERE device = CAST($1 AS TEXT) AND lane = 'telemetry'",
        &[Cell::text(device)],
        |row| Some((row.unsigned(0)?, row.unsigned(1)?)),
    )?
    .into_iter()
    .collect();
    let mut answer = Completeness {
        device: device.to_owned(),
        complete_up_to_utc_ms: None,
        is_complete: true,
        missing_count: 0,
        missing: Vec::new(),
        lost_count: lost.values().flatten().map(|range| length(*range)).sum(),
    };
    // An epoch of which nothing is stored has no stream, and may be missing altogether.
    let mut epochs = streams.clone();
    let is_known = |epoch: u64| streams.iter().any(|stream| stream.epoch == epoch);
    epochs.extend(
        issued
            .keys()
            .filter(|epoch| !is_known(**epoch))
            .map(|epoch| Stream {
                number: -1,
                epoch: *epoch,
            }),
    );
    for stream in epochs {
        let empty = Vec::new();
        let have = have.get(&stream.epoch).unwrap_or(&empty);
        let lost = lost.get(&stream.epoch).unwrap_or(&empty);
        let next_seq = issued.get(&stream.epoch).copied().unwrap_or_default();
        let missing = missing(have, lost, next_seq);
        if answer.is_complete {
            let end_seq = missing.first().map(|gap| gap.0);
            let utc_ms = stored_before(rows, stream, end_seq.unwrap_or(u64::MAX))?;
            answer.complete_up_to_utc_ms = utc_ms.or(answer.complete_up_to_utc_ms);
        }
        answer.is_complete &= missing.is_empty();
        answer.missing_count += missing.iter().map(|range| length(*range)).sum::<u64>();
        let listed = missing.into_iter().map(|(first_seq, last_seq)| Gap {
            epoch: hex(stream.epoch),
            first_seq,
            last_seq,
        });
        answer.missing.extend(listed);
        answer.missing.truncate(GAPS_MAX);
    }
    Ok(answer)
}

fn ranges(rows: &mut dyn Rows, device: &str, sql: &'static str) -> Result<Ranges, QueryError> {
    let mut ranges = Ranges::new();
    rows.each(sql, &[Cell::text(device)], &mut |row| {
        if let (Some(epoch), Some(first), Some(last)) =
            (row.unsigned(0), row.unsigned(1), row.unsigned(2))
        {
            ranges.entry(epoch).or_default().push((first, last));
        }
    })?;
    Ok(ranges)
}

/// How many numbers; an open tail counts as none, because nobody knows.
fn length((first, last): (u64, u64)) -> u64 {
    match last {
        OPEN => 0,
        last => last.saturating_sub(first).saturating_add(1),
    }
}

/// The end of an open tail, as SQL has it.
const OPEN: u64 = i64::MAX as u64;

/// What is neither stored nor lost, below the next number and below what is stored.
fn missing(have: &[(u64, u64)], lost: &[(u64, u64)], next_seq: u64) -> Vec<(u64, u64)> {
    let end = have
        .last()
        .map_or(0, |(_, last)| last.saturating_add(1))
        .max(next_seq);
    let mut covered: Vec<(u64, u64)> = have.iter().chain(lost).copied().collect();
    covered.sort_unstable();
    let (mut gaps, mut at) = (Vec::new(), 0);
    for (first, last) in covered {
        if first > at && at < end {
            gaps.push((at, (first - 1).min(end - 1)));
        }
        at = at.max(last.saturating_add(1));
    }
    if at < end {
        gaps.push((at, end - 1));
    }
    gaps
}

fn stored_before(rows: &mut dyn Rows, stream: Stream, seq: u64) -> Result<Option<i64>, QueryError> {
    let sql = "SELECT utc_ms FROM reading WHERE stream = CAST($1 AS BIGINT) AND seq < CAST($2 AS BIGINT) \
               AND utc_ms IS NOT NULL ORDER BY seq DESC LIMIT 1";
    first(
        rows,
        sql,
        &[Cell::Int(stream.number), Cell::int(seq)],
        |row| row.int(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(have: &[(u64, u64)], lost: &[(u64, u64)], next: u64, expected: &[(u64, u64)]) {
        assert_eq!(missing(have, lost, next), expected);
    }

    #[test]
    fn missing_is_what_was_issued_and_is_neither_stored_nor_explained() {
        check(&[(0, 99)], &[], 100, &[]);
        check(&[(0, 99)], &[], 0, &[]);
        check(&[(0, 99)], &[], 120, &[(100, 119)]);
        check(&[(10, 19), (30, 39)], &[(20, 25)], 40, &[(0, 9), (26, 29)]);
        check(&[(0, 9)], &[(10, OPEN)], 50, &[]);
        check(&[], &[], 5, &[(0, 4)]);
        check(&[], &[], 0, &[]);
        check(&[(0, 9)], &[(5, 20)], 30, &[(21, 29)]);
        check(&[(0, 9)], &[(100, 120)], 30, &[(10, 29)]);
    }
}
