//! `fleet-gateway backtest`: what a configuration would have told.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, load};
use crate::backtest::{Backtest, BacktestError, line};
use crate::config::TripProfile;

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Configuration file of the gateway
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A profile of a trip that is in force all the time
    #[arg(long, value_name = "FILE")]
    trip: Option<PathBuf>,
    /// The sensor of a file without the column "sensor"
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Readings with the header timestamp,value and optionally sensor,set_point,door,defrost,ambient; or -
    readings: PathBuf,
}

pub(super) fn perform(args: &BacktestArgs) -> Result<(), Failure> {
    let config = load(&args.config)?;
    let sensors: Vec<_> = config.sensors().cloned().collect();
    let trip = args.trip.as_ref().map(|file| {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let file = file.display();
            Failure::Usage(format!(
                "{file}: {error}; allowed is a profile in TOML or JSON"
            ))
        })?;
        TripProfile::parse(file, &text, Some(1), &sensors).map_err(Failure::Config)
    });
    let trip = trip.transpose()?;
    let backtest = Backtest {
        config: &config,
        sensor: args.sensor.as_deref(),
        trip: trip.as_ref(),
    };
    let mut alerts = Vec::new();
    let mut out = std::io::stdout().lock();
    let summary = backtest.run(open(&args.readings)?, |alert| {
        if args.json {
            alerts.push(alert.clone());
            return Ok(());
        }
        out.write_all(line(alert).as_bytes())
    });
    let summary = summary.map_err(|error| match error {
        BacktestError::Output(error) => Failure::Running(error.into()),
        error => Failure::Usage(format!("{}: {error}", args.readings.display())),
    })?;
    let printed = match args.json {
        true => {
            let object = serde_json::json!({ "alerts": alerts, "summary": summary });
            writeln!(out, "{object:#}")
        }
        false => summary.print(&mut out),
    };
    printed.map_err(|error| Failure::Running(error.into()))
}

fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = File::open(file).map_err(|error| {
        let file = file.display();
        Failure::Usage(format!(
            "{file}: {error}; allowed is a CSV file, or - for standard input"
        ))
    })?;
    Ok(Box::new(opened))
}
