//! The `score` command: a row out for each row in, before the next is read.
//!
//! Promises: nothing but the rows so far decides a score; each row is flushed. Never: an option per file.

use std::io::{BufRead, Write};

use firmware_shared::detect::{Detector, Verdict};

use crate::csv::{Error, Row, Rows};

/// The columns of the answer.
pub(crate) const HEADER: &str = "timestamp,value,anomaly_score,kind,expected,low,high";

/// Scores all rows.
pub(crate) fn run<const M: usize, const P: usize, const T: usize, const B: usize>(
    input: impl BufRead,
    mut output: impl Write,
    detector: &mut Detector<M, P, T, B>,
) -> Result<(), Error> {
    let mut rows = Rows::new(input)?;
    writeln!(output, "{HEADER}")?;
    output.flush()?;
    while let Some(row) = rows.next()? {
        let verdict = detector.step(row.now_ms, &row.input);
        write_row(&mut output, &row, &verdict)?;
        output.flush()?;
    }
    Ok(())
}

fn write_row(output: &mut impl Write, row: &Row, verdict: &Verdict) -> Result<(), Error> {
    let kind = verdict.kind.map_or("", |kind| kind.name());
    let number = |number: f64| {
        if number.is_finite() {
            number.to_string()
        } else {
            String::new()
        }
    };
    writeln!(
        output,
        "{},{},{},{kind},{},{},{}",
        row.stamp,
        row.value,
        verdict.score,
        number(verdict.expected),
        number(verdict.low),
        number(verdict.high),
    )?;
    Ok(())
}
