//! The `backtest` command: the alerts that these readings would have raised, in words.
//!
//! Promises: at most one alert an hour; alerts per day at the end. Never: looks at later readings to
//! decide an earlier alert.

use std::io::{BufRead, Write};

use firmware_shared::detect::{Detector, Share};

use crate::csv::{Error, Rows};

/// The score from which an alert is raised unless told otherwise.
pub(crate) const THRESHOLD: f32 = 0.5;
const RERAISE_MS: u64 = 3_600_000;
const DAY_MS: f64 = 86_400_000.0;

/// Prints the alerts and how many there are in a day.
pub(crate) fn run<const M: usize, const P: usize, const T: usize, const B: usize>(
    input: impl BufRead,
    mut output: impl Write,
    detector: &mut Detector<M, P, T, B>,
    threshold: f32,
) -> Result<(), Error> {
    let mut rows = Rows::new(input)?;
    let (mut alerts, mut raised_ms) = (0_u32, None::<u64>);
    let (mut first_ms, mut last_ms) = (None, 0);
    while let Some(row) = rows.next()? {
        let verdict = detector.step(row.now_ms, &row.input);
        first_ms.get_or_insert(row.now_ms);
        last_ms = row.now_ms;
        let quiet = raised_ms.is_some_and(|raised| row.now_ms.saturating_sub(raised) < RERAISE_MS);
        if verdict.score <= threshold || quiet {
            continue;
        }
        (alerts, raised_ms) = (alerts + 1, Some(row.now_ms));
        let kind = verdict.kind.map_or("", |kind| kind.name());
        let heads: Vec<String> = verdict.heads.iter().flatten().map(share).collect();
        let (stamp, score) = (&row.stamp, verdict.score);
        let (words, heads) = (verdict.sentence(), heads.join(", "));
        writeln!(output, "{stamp} {kind} {score:.2}: {words} ({heads})")?;
    }
    let days = last_ms.saturating_sub(first_ms.unwrap_or(last_ms)) as f64 / DAY_MS;
    let per_day = if days > 0.0 {
        f64::from(alerts) / days
    } else {
        0.0
    };
    writeln!(
        output,
        "{alerts} alerts in {days:.1} days, {per_day:.3} a day"
    )?;
    Ok(())
}

fn share(share: &Share) -> String {
    format!("{} {:.0} %", share.head.name(), 100.0 * share.share)
}
