//! `cargo hil`: builds both sides, fetches the board, runs the scenarios and says how they ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use hil::archive::{Fetched, Parts, on_path, provide};
use hil::clock::Stopwatch;
use hil::debian::{self, Image};
use hil::guest::Spool;
use hil::machine::Machine;
use hil::outcome::{Outcome, exit_code};
use hil::remote::{self, Remote, Visit};
use hil::rig::{Bench, Measured};
use hil::site::{self, Packages};
use hil::{arm, cuts, faults, packaged, pi, tier1, walk};

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
    /// 1: a minute on the quick board, for every change; 2: the emulated Raspberry Pi, then its power cuts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    tier: u8,
    /// How many power cuts tier 2 makes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cuts: u32,
    /// Run this scenario alone.
    #[arg(long, value_enum, conflicts_with = "tier")]
    only: Option<Scenario>,
    /// The machine does other work: times are told and not judged.
    #[arg(long)]
    busy: bool,
    /// Run on a real board over ssh: user@host.
    #[arg(long, value_name = "USER@HOST", conflicts_with_all = ["tier", "only", "cuts"])]
    target: Option<String>,
    /// The I2C bus of that board.
    #[arg(
        long,
        value_name = "BUS",
        default_value = "/dev/i2c-1",
        requires = "target"
    )]
    bus: String,
    /// Another configuration file for ssh.
    #[arg(long, value_name = "FILE", requires = "target")]
    ssh_config: Option<PathBuf>,
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
    /// A silent chip, and the adapter pulled out and plugged in, on the quick board.
    Faults,
    /// A Raspberry Pi 3B: heat, clock, outage, silent chip, pulled adapter, full card.
    Pi,
    /// Power cuts at random moments on the SD card of a Raspberry Pi.
    Cuts,
    /// The same with syncing switched off: passes when the cuts find readings missing.
    ProveCuts,
    /// Power cuts on the quick board.
    VirtCuts,
    /// Figures on ARM for target/bench/arm.json: instructions per reading, start with a spool of 1 GB.
    Arm,
    /// The Debian package on a Debian with systemd: start, kill, watchdog, upgrade, purge.
    Packaged,
    /// The README's way to install it, command by command, on the same Debian.
    Walk,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if let Some(host) = &cli.target {
        let outcome = visit(&cli, host).map_or_else(Outcome::Failed, |measured| {
            Outcome::Passed(measured.sentences)
        });
        return exit_code(&[told(&format!("on {host}"), outcome)], in_ci);
    }
    let outcomes = match provided(&cli) {
        Ok(Ok(tools)) => run_all(&cli, &tools),
        Ok(Err(reason)) => vec![told("emulated board", Outcome::Skipped(reason))],
        Err(error) => vec![told("emulated board", Outcome::Failed(error))],
    };
    exit_code(&outcomes, in_ci)
}

/// The scenario on a real board.
fn visit(cli: &Cli, host: &str) -> anyhow::Result<Measured> {
    let target = std::path::absolute(target_folder())?;
    let remote = Remote {
        host: host.to_owned(),
        ssh_config: cli.ssh_config.clone(),
        bus: cli.bus.clone(),
    };
    let machine = remote.run("uname -m")?;
    let build = |triple: &str| build_gateway(triple, &target);
    let gateway = match (&cli.gateway, machine.as_str()) {
        (Some(file), _) => file.clone(),
        (None, "aarch64") => build(TARGET)?,
        (None, "armv7l") => build("armv7-unknown-linux-gnueabihf")?,
        (None, "armv6l") => build("arm-unknown-linux-musleabihf")?,
        (None, other) => bail!("{host} is a {other}; give --gateway FILE for it"),
    };
    let central = cli
        .central
        .clone()
        .map_or_else(|| build_central(&target), Ok)?;
    let folder = target.join("hil/remote");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    remote::run(&Visit::new(&remote, &gateway, &central, &folder))
}

/// What every scenario needs.
struct Tools {
    parts: Parts,
    gateway: PathBuf,
    central: PathBuf,
    /// Each scenario writes below it.
    folder: PathBuf,
    is_busy: bool,
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
        .map_or_else(|| build_gateway(TARGET, &target), Ok)?;
    let central = cli
        .central
        .clone()
        .map_or_else(|| build_central(&target), Ok)?;
    Ok(Ok(Tools {
        parts,
        gateway,
        central,
        folder: target.join("hil/run"),
        is_busy: cli.busy,
    }))
}

fn run_all(cli: &Cli, tools: &Tools) -> Vec<Outcome> {
    let all: &[Scenario] = match cli.tier {
        1 => &[Scenario::Tier1],
        _ => &[Scenario::Pi, Scenario::Cuts],
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
    let with = |name, machine, scenario: &dyn Fn(&Bench<'_>) -> anyhow::Result<Measured>| {
        run_one(name, tools, (machine, Spool::Disk), scenario)
    };
    let (virt, pi3) = (Machine::Virt, Machine::Pi3);
    match scenario {
        Scenario::Tier1 => with("tier 1, virt board", virt, &tier1::run),
        Scenario::Faults => with("faults of the I2C side, virt board", virt, &faults::run),
        Scenario::Pi => with("tier 2, Raspberry Pi 3B", pi3, &pi::run),
        Scenario::Cuts => with("tier 2, power cuts of a Raspberry Pi 3B", pi3, &|bench| {
            cuts::run(bench, cli.cuts)
        }),
        Scenario::VirtCuts => with("power cuts, virt board", virt, &|bench| {
            cuts::run(bench, cli.cuts)
        }),
        Scenario::Arm => with("figures on ARM", virt, &|bench| {
            arm::run(bench, &fill_spool)
        }),
        Scenario::Packaged => {
            packaged_scenario("the package on Debian with systemd", tools, &packaged::run)
        }
        Scenario::Walk => packaged_scenario("the README on Debian with systemd", tools, &walk::run),
        Scenario::ProveCuts => run_one(
            "power cuts with syncing switched off",
            tools,
            (pi3, Spool::Unsynced),
            |bench| prove(bench, cli.cuts),
        ),
    }
}

/// Makes a spool of so many MiB.
fn fill_spool(folder: &Path, mib: u64) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "gateway",
            "--example",
            "fill_spool",
            "--",
        ])
        .arg(folder)
        .arg(mib.to_string())
        .current_dir(repository())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the spool could not be filled");
    Ok(())
}

/// What is done with the packages.
type Installation<'a> = &'a dyn Fn(&Packages<'_>) -> anyhow::Result<Measured>;

fn packaged_scenario(name: &str, tools: &Tools, scenario: Installation<'_>) -> Outcome {
    match install_and_run(name, tools, scenario) {
        Ok(outcome) => outcome,
        Err(error) => told(name, Outcome::Failed(error)),
    }
}

fn install_and_run(
    name: &str,
    tools: &Tools,
    scenario: Installation<'_>,
) -> anyhow::Result<Outcome> {
    let target = std::path::absolute(target_folder())?;
    let image = match debian::provide(&tools.parts, &target.join("hil/board"))? {
        Image::Ready(image) => image,
        Image::Unavailable(reason) => return Ok(told(name, Outcome::Skipped(reason))),
    };
    let package = repository().join("cross/package.sh");
    for revision in [&[][..], &["--revision", "2"]] {
        let mut command = Command::new(&package);
        let status = command.args(revision).arg("arm64").status()?;
        ensure!(status.success(), "the package could not be made");
    }
    let [first, second] = site::debs(&target.join("cross"));
    let gateway = cargo_built("gateway", "fleet-gateway", &target)?;
    Ok(run_one(
        name,
        tools,
        (Machine::Virt, Spool::Disk),
        |bench| {
            scenario(&Packages {
                parts: bench.parts,
                image: &image,
                debs: [&first, &second],
                gateway: &gateway,
                central: bench.central,
                folder: bench.folder,
            })
        },
    ))
}

/// The cuts must find out that nothing is durable.
fn prove(bench: &Bench<'_>, count: u32) -> anyhow::Result<Measured> {
    let Err(error) = cuts::run(bench, count) else {
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
}

fn run_one(
    name: &str,
    tools: &Tools,
    place: (Machine, Spool),
    scenario: impl FnOnce(&Bench<'_>) -> anyhow::Result<Measured>,
) -> Outcome {
    let watch = Stopwatch::start();
    let outcome = in_folder(tools, place, scenario).map_or_else(Outcome::Failed, |measured| {
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

/// Adds the numbers to `target/bench/arm.json`.
fn write_report(measured: &Measured, bench: &Bench<'_>) -> anyhow::Result<()> {
    let folder = std::path::absolute(target_folder())?.join("bench");
    fs::create_dir_all(&folder)?;
    let file = folder.join("arm.json");
    let mut values: BTreeMap<String, u64> = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => BTreeMap::new(),
    };
    values.insert(
        "binary_bytes_aarch64".to_owned(),
        fs::metadata(bench.gateway)?.len(),
    );
    for (name, value) in &measured.values {
        values.insert((*name).to_owned(), *value);
    }
    fs::write(file, serde_json::to_vec_pretty(&values)?)?;
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
    (machine, spool): (Machine, Spool),
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
    let bench = Bench {
        parts,
        gateway,
        central,
        folder,
        spool,
        machine,
        is_busy: tools.is_busy,
    };
    let measured = scenario(&bench).with_context(|| format!("logs are in {}", folder.display()))?;
    write_report(&measured, &bench)?;
    Ok(measured)
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

fn build_gateway(triple: &str, target: &Path) -> anyhow::Result<PathBuf> {
    let script = repository().join("cross/build.sh");
    let status = Command::new(&script)
        .arg(triple)
        .status()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(status.success(), "the ARM build failed");
    Ok(target.join("cross").join(triple).join("fleet-gateway"))
}

fn build_central(target: &Path) -> anyhow::Result<PathBuf> {
    cargo_built("central", "fleet-central", target)
}

fn cargo_built(package: &str, program: &str, target: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", package])
        .current_dir(repository())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "{program} does not build");
    Ok(target.join("debug").join(program))
}
