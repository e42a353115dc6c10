//! `score`: judges a series of readings on standard input, row by row.
//!
//! Promises: each row is written before the next one is needed, also through a pipe; the detector is that of
//! the device and sees nothing but rows. Never: looks ahead, knows a file, a name or a length.

use std::io::{self, Read, Write};

use clap::ValueEnum;
use firmware_shared::detect::{Detector, Input, Large, Small, Verdict};

use super::Failure;
use crate::series::Series;

/// What is written above the rows.
const HEADER: &str = "timestamp,value,anomaly_score,kind,expected,low,high\n";

/// How much memory the detector may take.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Profile {
    /// At most 4 KiB for each stream
    Small,
    /// At most 48 KiB for each stream
    #[default]
    Large,
}

pub(super) fn perform(profile: Profile) -> Result<(), Failure> {
    score(profile, io::stdin().lock(), io::stdout().lock())
}

/// Whoever closes the other end of a pipe has seen enough.
fn score(profile: Profile, input: impl Read, out: impl Write) -> Result<(), Failure> {
    let mut detector: Box<dyn Judge> = match profile {
        Profile::Small => Box::new(Small::new()),
        Profile::Large => Box::new(Large::new()),
    };
    let mut series = Series::open(input).map_err(|error| Failure::Running(error.into()))?;
    match write_all(&mut *detector, &mut series, out) {
        Err(Stopped::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stopped::Write(error)) => Err(Failure::Running(error.into())),
        Err(Stopped::Read(error)) => Err(Failure::Running(error.into())),
        Ok(()) => Ok(()),
    }
}

enum Stopped {
    Read(crate::series::SeriesError),
    Write(io::Error),
}

fn write_all<R: Read>(
    detector: &mut dyn Judge,
    series: &mut Series<R>,
    mut out: impl Write,
) -> Result<(), Stopped> {
    let mut line = HEADER.to_owned();
    loop {
        out.write_all(line.as_bytes()).map_err(Stopped::Write)?;
        out.flush().map_err(Stopped::Write)?;
        let Some(row) = series.next_row().map_err(Stopped::Read)? else {
            return Ok(());
        };
        let said = detector.judge(row.now_ms, &row.input);
        let kind = said.kind.map_or("", |kind| kind.name());
        line = format!(
            "{},{},{},{kind},{},{},{}\n",
            row.timestamp, row.value, said.score, said.expected, said.low, said.high
        );
    }
}

/// A detector of either profile.
trait Judge {
    fn judge(&mut self, now_ms: u64, input: &Input) -> Verdict;
}

impl<const M: usize, const P: usize, const T: usize, const B: usize> Judge
    for Detector<M, P, T, B>
{
    fn judge(&mut self, now_ms: u64, input: &Input) -> Verdict {
        self.step(now_ms, input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(text: &str) -> (Result<(), Failure>, String) {
        let mut out = Vec::new();
        let result = score(Profile::Small, text.as_bytes(), &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    /// A calm box with a jump; a value is missing before it.
    fn series() -> String {
        let rows = (0..1000_u64).map(|i| {
            let value = match i {
                500 => "NaN".to_owned(),
                700.. => "-9".to_owned(),
                _ => format!("{}", -18.0 + f64::from((i % 7) as u32) / 16.0),
            };
            format!("{},{value}\n", 1_767_571_200 + 60 * i)
        });
        "timestamp,value\n".to_owned() + &rows.collect::<String>()
    }

    #[test]
    fn every_row_comes_back_with_its_texts_and_a_score() {
        let (result, out) = scored(&series());
        assert!(result.is_ok());
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 1001);
        assert_eq!(format!("{}\n", lines[0]), HEADER);
        assert!(lines[501].contains(",NaN,0,,"), "{}", lines[501]);
        let score = |at: usize| -> f32 { lines[at].split(',').nth(2).unwrap().parse().unwrap() };
        // The jump is judged one reading late; nothing before it is as strange.
        let strange: Vec<usize> = (1..lines.len()).filter(|at| score(*at) > 0.8).collect();
        assert_eq!(strange.first(), Some(&702));
        assert!(lines[702].contains(",step,"), "{}", lines[702]);
    }

    #[test]
    fn rows_before_a_bad_one_are_out_and_the_error_names_its_line() {
        let mut text = series();
        text.push_str("1767700000,cold\n1767700060,1\n");
        let (result, out) = scored(&text);
        assert_eq!(out.lines().count(), 1001);
        let Err(Failure::Running(error)) = result else {
            panic!("{result:?}");
        };
        assert!(
            error.to_string().starts_with("line 1002: value = \"cold\""),
            "{error}"
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(score(Profile::Large, series().as_bytes(), Closed).is_ok());
    }
}
