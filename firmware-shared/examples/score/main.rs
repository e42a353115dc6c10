//! The detector on CSV: `score [--profile small|large]` scores each row; `backtest [--profile ...]
//! [--threshold N]` prints the alerts that the scores would have raised. Both read stdin.

mod backtest;
mod csv;
mod score;
mod stamp;

use std::io::{self, BufReader};
use std::process::ExitCode;

use firmware_shared::detect::{Large, Small};

/// What the arguments ask for.
struct Job {
    backtest: bool,
    large: bool,
    threshold: f32,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("score: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let job = parse(std::env::args().skip(1))?;
    let (input, output) = (BufReader::new(io::stdin().lock()), io::stdout().lock());
    let done = match (job.backtest, job.large) {
        (false, false) => score::run(input, output, &mut Small::new()),
        (false, true) => score::run(input, output, Box::new(Large::new()).as_mut()),
        (true, false) => backtest::run(input, output, &mut Small::new(), job.threshold),
        (true, true) => backtest::run(
            input,
            output,
            Box::new(Large::new()).as_mut(),
            job.threshold,
        ),
    };
    match done {
        // Who reads has seen enough.
        Err(csv::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| error.to_string()),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Job, String> {
    let mut job = Job {
        backtest: false,
        large: false,
        threshold: backtest::THRESHOLD,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "score" => job.backtest = false,
            "backtest" => job.backtest = true,
            "--profile" => {
                job.large = match args.next().as_deref() {
                    Some("small") => false,
                    Some("large") => true,
                    other => return Err(format!("--profile is {other:?}, allowed: small, large")),
                }
            }
            "--threshold" => {
                let text = args.next().unwrap_or_default();
                let allowed = |number: &f32| (0.0..1.0).contains(number);
                job.threshold =
                    text.parse().ok().filter(allowed).ok_or_else(|| {
                        format!("--threshold is {text:?}, allowed: 0 up to below 1")
                    })?;
            }
            other => {
                return Err(format!(
                    "{other:?} is not known, allowed: score, backtest, --profile, --threshold"
                ));
            }
        }
    }
    Ok(job)
}
