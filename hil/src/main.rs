//! `cargo hil`: builds both sides, fetches the board, runs the scenarios and says how they ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use hil::archive::{Fetched, Parts, on_path, provide};
use hil::clock::Stopwatch;
use hil::outcome::{Outcome, exit_code};
use hil::rig::{Bench, Measured, Spool};
use hil::{cuts, faults, tier1};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Nothing of the scenario was run: the command line is wrong.
const EXIT_USAGE: u8 = 2;

/// Runs the promises on an emulated ARM board.
#[derive(Debug, Parser)]
#[command(
    name = "cargo hil",
    after_help = "Exit codes:\n  0   passed\n  1   failed; with CI=true, skipped as well\n  2   wrong usage\n  77  skipped, and why"
)]
struct Cli {
    /// 1: a minute, for every change; 2: the same, then power cuts at random moments.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    tier: u8,
    /// How many power cuts tier 2 makes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cuts: u32,
    /// Run this scenario alone.
    #[arg(long, value_enum, conflicts_with = "tier")]
    only: Option<Scenario>,
    /// The ARM binary under test, instead of building it.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// The host's fleet-central, instead of building it.
    #[arg(long, value_name = "FILE")]
    central: Option<PathBuf>,
}

/// What can be run.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scenario {
    /// Sensors, alert, outage, power cut, exactly once.
    Tier1,
    /// A silent chip, and the adapter pulled out and plugged in.
    Faults,
    /// Power cuts at random moments.
    Cuts,
    /// The same with the spool in the guest's memory: passes when the cuts find readings missing.
    ProveCuts,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let outcomes = match provided(&cli) {
        Ok(Ok(tools)) => run_all(&cli, &tools),
        Ok(Err(reason)) => vec![told("emulated board", Outcome::Skipped(reason))],
        Err(error) => vec![told("emulated board", Outcome::Failed(error))],
    };
    exit_code(&outcomes, std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

/// What every scenario needs.
struct Tools {
    parts: Parts,
    gateway: PathBuf,
    central: PathBuf,
    /// Each scenario writes below it.
    folder: PathBuf,
}

/// The tools, or why the scenarios are skipped.
fn provided(cli: &Cli) -> anyhow::Result<Result<Tools, String>> {
    // Processes of the scenario run in other folders.
    let target = std::path::absolute(target_folder())?;
    if let Some(reason) = missing(cli) {
        return Ok(Err(reason));
    }
    let cache = target.join("hil/board");
    fs::create_dir_all(&cache)?;
    let parts = match provide(&cache)? {
        Fetched::Ready(parts) => parts,
        Fetched::Unavailable(reason) => return Ok(Err(reason)),
    };
    let gateway = cli
        .gateway
        .clone()
        .map_or_else(|| build_gateway(&target), Ok)?;
    let central = cli
        .central
        .clone()
        .map_or_else(|| build_central(&target), Ok)?;
    Ok(Ok(Tools {
        parts,
        gateway,
        central,
        folder: target.join("hil/run"),
    }))
}

fn run_all(cli: &Cli, tools: &Tools) -> Vec<Outcome> {
    let all: &[Scenario] = match cli.tier {
        1 => &[Scenario::Tier1],
        _ => &[Scenario::Tier1, Scenario::Faults, Scenario::Cuts],
    };
    match cli.only {
        Some(one) => vec![run_scenario(one, cli, tools)],
        None => all
            .iter()
            .map(|one| run_scenario(*one, cli, tools))
            .collect(),
    }
}

fn run_scenario(scenario: Scenario, cli: &Cli, tools: &Tools) -> Outcome {
    match scenario {
        Scenario::Tier1 => run_one("tier 1, virt board", tools, Spool::Disk, |bench| {
            let measured = tier1::run(bench)?;
            write_report(&measured, bench)?;
            Ok(measured)
        }),
        Scenario::Faults => run_one(
            "tier 2, faults of the I2C side",
            tools,
            Spool::Disk,
            faults::run,
        ),
        Scenario::Cuts => run_one(
            "tier 2, power cuts on the virt board",
            tools,
            Spool::Disk,
            |bench| cuts::run(bench, cli.cuts),
        ),
        Scenario::ProveCuts => {
            run_one("power cuts without a disk", tools, Spool::Memory, |bench| {
                let Err(error) = cuts::run(bench, cli.cuts) else {
                    bail!("the power cuts did not notice that nothing was durable");
                };
                let text = format!("{error:#}");
                ensure!(
                    text.contains("are missing at the end"),
                    "failed, but for another reason: {text}"
                );
                let sentences = vec![format!("found out: {text}")];
                Ok(Measured {
                    sentences,
                    ..Measured::default()
                })
            })
        }
    }
}

fn run_one(
    name: &str,
    tools: &Tools,
    spool: Spool,
    scenario: impl FnOnce(&Bench<'_>) -> anyhow::Result<Measured>,
) -> Outcome {
    let watch = Stopwatch::start();
    let outcome = in_folder(tools, spool, scenario).map_or_else(Outcome::Failed, |measured| {
        Outcome::Passed(measured.sentences)
    });
    let outcome = told(name, outcome);
    println!(
        "  {} s on kernel {}",
        watch.elapsed().as_secs(),
        tools.parts.kernel_release()
    );
    outcome
}

/// Leaves the numbers in `target/bench/arm.json`.
fn write_report(measured: &Measured, bench: &Bench<'_>) -> anyhow::Result<()> {
    let mut values = measured.values.clone();
    values.insert("binary_bytes", fs::metadata(bench.gateway)?.len());
    let folder = std::path::absolute(target_folder())?.join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("arm.json"), serde_json::to_vec_pretty(&values)?)?;
    Ok(())
}

/// Prints how a scenario ended.
fn told(name: &str, outcome: Outcome) -> Outcome {
    for line in outcome.lines(name) {
        println!("{line}");
    }
    outcome
}

fn in_folder(
    tools: &Tools,
    spool: Spool,
    scenario: impl FnOnce(&Bench<'_>) -> anyhow::Result<Measured>,
) -> anyhow::Result<Measured> {
    let folder = tools.folder.as_path();
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let Tools {
        parts,
        gateway,
        central,
        ..
    } = tools;
    scenario(&Bench {
        parts,
        gateway,
        central,
        folder,
        spool,
    })
    .with_context(|| format!("logs are in {}", folder.display()))
}

/// Programs of this machine that cannot be fetched and unpacked.
fn missing(cli: &Cli) -> Option<String> {
    let mut needed = vec![("mkfs.ext4", "e2fsprogs")];
    if cli.gateway.is_none() {
        needed.push(("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"));
    }
    let (program, package) = needed.into_iter().find(|(program, _)| !on_path(program))?;
    Some(format!(
        "{program} is not installed (Debian package {package})"
    ))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

fn build_gateway(target: &Path) -> anyhow::Result<PathBuf> {
    let script = repository().join("cross/build.sh");
    let status = Command::new(&script)
        .arg(TARGET)
        .status()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(status.success(), "the ARM build failed");
    Ok(target.join("cross").join(TARGET).join("fleet-gateway"))
}

fn build_central(target: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "central"])
        .current_dir(repository())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the centre does not build");
    Ok(target.join("debug/fleet-central"))
}
