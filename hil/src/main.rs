//! `cargo hil`: builds both sides, fetches the board, runs the scenarios and says how they ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;
use hil::archive::{Fetched, Parts, on_path, provide};
use hil::clock::Stopwatch;
use hil::outcome::{Outcome, exit_code};
use hil::tier1::{self, Bench};

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
    /// Which tier to run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    tier: u8,
    /// The ARM binary under test, instead of building it.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// The host's fleet-central, instead of building it.
    #[arg(long, value_name = "FILE")]
    central: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let watch = Stopwatch::start();
    let outcome = outcome(&cli);
    for line in outcome.lines("tier 1, virt board") {
        println!("{line}");
    }
    println!("{} s", watch.elapsed().as_secs());
    exit_code(&[outcome], std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

fn outcome(cli: &Cli) -> Outcome {
    match scenario(cli) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(error),
    }
}

fn scenario(cli: &Cli) -> anyhow::Result<Outcome> {
    // Processes of the scenario run in other folders.
    let target = std::path::absolute(target_folder())?;
    if let Some(reason) = missing(cli) {
        return Ok(Outcome::Skipped(reason));
    }
    let cache = target.join("hil/board");
    fs::create_dir_all(&cache)?;
    let parts = match provide(&cache)? {
        Fetched::Ready(parts) => parts,
        Fetched::Unavailable(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let gateway = cli
        .gateway
        .clone()
        .map_or_else(|| build_gateway(&target), Ok)?;
    let central = cli
        .central
        .clone()
        .map_or_else(|| build_central(&target), Ok)?;
    run_tier1(&parts, &gateway, &central, &target.join("hil/run"))
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

fn run_tier1(
    parts: &Parts,
    gateway: &Path,
    central: &Path,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let bench = Bench {
        parts,
        gateway,
        central,
        folder,
    };
    let mut values = vec![format!("kernel {}", parts.kernel_release())];
    values.extend(tier1::run(&bench).with_context(|| format!("logs are in {}", folder.display()))?);
    Ok(Outcome::Passed(values))
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
