//! `cargo demo`: a small fleet, an outage, a runaway temperature, `kill -9`, and the account.
//!
//! Promises: real drivers over simulated buses, real processes, real sockets; the verdict compares the
//! database with what the simulated buses wrote down; exit 0 only if exactly-once holds. Never: a result
//! that was not measured in this run.

mod fleet_of;
mod report;
mod story;
mod subscriber;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// The word before the arguments that makes this executable the gateway.
const GATEWAY: &str = "__gateway";
/// The word before the arguments that makes this executable the centre.
const CENTRAL: &str = "__central";

/// A fleet of simulated vehicles, an outage, a runaway temperature, kill -9, and the account.
///
/// Exit codes: 0 every reading that the buses handed out is stored exactly once or its loss is explained
/// by a kill; 1 it is not; 2 usage.
#[derive(Debug, Parser)]
#[command(
    name = "demo",
    after_help = "Examples:\n  cargo demo\n  cargo demo --json --vehicles 10\n  cargo demo --hold"
)]
struct Args {
    /// Print the report as one JSON object; the story goes to stderr.
    #[arg(long)]
    json: bool,
    /// How many vehicles drive.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    vehicles: u16,
    /// Keep the fleet running after the report, until Ctrl-C.
    #[arg(long)]
    hold: bool,
}

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        Some(GATEWAY) => {
            words.remove(1);
            gateway::main(words)
        }
        Some(CENTRAL) => {
            words.remove(1);
            central::main(words)
        }
        _ => run(&Args::parse()),
    }
}

fn run(args: &Args) -> ExitCode {
    match story::tell(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("demo: {e:#}");
            ExitCode::from(1)
        }
    }
}
