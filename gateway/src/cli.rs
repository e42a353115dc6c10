//! The command line.
//!
//! Promises: answers go to stdout, logs to stderr; the exit code says which kind of failure it was; every
//! failure is one line. Never: a start with a configuration that a person must change.

mod backtest;
mod identify;
mod profile;
mod score;
mod spool;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::notify::find_program;
use crate::status::{self, AskError};
use crate::{doctor, gnss, run};

/// Something went wrong while running.
const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration must be changed.
const EXIT_USAGE: u8 = 2;
/// `status`: no gateway answers.
const EXIT_UNREACHABLE: u8 = 3;

/// Where the package's service looks for its configuration.
const CONFIG_DEFAULT: &str = "/etc/fleet-gateway/gateway.toml";

const HELP_AFTER: &str = "\
Examples:
  sudo fleet-gateway identify
  fleet-gateway check-config --config /etc/fleet-gateway/gateway.toml
  fleet-gateway run --config /etc/fleet-gateway/gateway.toml
  fleet-gateway status --config /etc/fleet-gateway/gateway.toml --watch
  fleet-gateway doctor --bus /dev/i2c-1
  fleet-gateway profile set trip.toml --config /etc/fleet-gateway/gateway.toml
  fleet-gateway backtest --config /etc/fleet-gateway/gateway.toml readings.csv
  fleet-gateway gnss decode drive.ubx | head
  fleet-gateway score --profile small < readings.csv
  fleet-gateway spool inspect /var/lib/fleet-gateway/spool --json
  fleet-gateway spool verify /var/lib/fleet-gateway/spool
  fleet-gateway spool export /var/lib/fleet-gateway/spool > backlog.jsonl

Exit codes:
  0  done
  1  failed while running; doctor: something should be changed; profile set: refused
  2  wrong usage or configuration
  3  status, profile: no gateway answers";

/// Samples sensors, scores and seals their readings, and delivers each exactly once.
#[derive(Debug, Parser)]
#[command(name = "fleet-gateway", version, after_help = HELP_AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// What is logged: error, warn, info, debug, trace, or a list such as "info,gateway=debug"
        #[arg(long, default_value = "info")]
        log: String,
    },
    /// Check a configuration and print what is in effect, defaults included
    CheckConfig {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Ask a running gateway how it is
    Status(StatusArgs),
    /// Look at identity and I2C buses: name every known part, read it once, say what is wrong and what to do
    Doctor(DoctorArgs),
    /// Give this vehicle its identity: name, broker and certificates
    Identify(identify::IdentifyArgs),
    /// Work with the output of GNSS receivers
    Gnss {
        #[command(subcommand)]
        command: GnssCommand,
    },
    /// Judge a series on standard input: CSV with timestamp and value, and set_point, door, defrost, ambient
    /// where they are known; each row is written with its score, kind and expected value before the next
    Score {
        /// How much memory the detector may take
        #[arg(long, value_enum, default_value_t)]
        profile: score::Profile,
    },
    /// Print the alerts that a configuration would have raised over recorded readings
    Backtest(backtest::BacktestArgs),
    /// The profile of the trip: set-points, limits, load
    Profile {
        #[command(subcommand)]
        command: profile::ProfileCommand,
    },
    /// Look at a spool
    Spool {
        #[command(subcommand)]
        command: spool::SpoolCommand,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Configuration file of the gateway
    #[arg(long, value_name = "FILE", required_unless_present = "socket")]
    config: Option<PathBuf>,
    /// Status socket of the gateway
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Refresh once a second
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Configuration file, for the identity [default: /etc/fleet-gateway/gateway.toml unless --bus is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A bus: /dev/i2c-N or sim:SCENARIO.toml; may be given several times [default: every /dev/i2c-*]
    #[arg(long, value_name = "BUS")]
    bus: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Where the kernel shows its devices
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    sysfs: PathBuf,
}

#[derive(Debug, Subcommand)]
enum GnssCommand {
    /// Print one JSON object for each epoch, as soon as it is complete
    Decode {
        /// What a receiver sent (NMEA, UBX or both), or - for standard input
        file: PathBuf,
    },
}

/// Why a command ended.
#[derive(Debug)]
enum Failure {
    Config(ConfigError),
    Unreachable(AskError),
    Usage(String),
    /// `doctor`: something should be changed, and was printed.
    Found,
    Running(anyhow::Error),
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Entry point of `fleet-gateway`; `args` begin with the name of the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers (code 0), the rest is usage (code 2); a closed pipe is neither.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    match perform(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Config(error) => (error.to_string(), EXIT_USAGE),
        Failure::Usage(text) => (text.clone(), EXIT_USAGE),
        Failure::Found => return ExitCode::from(EXIT_FAILURE),
        Failure::Unreachable(error) => (error.to_string(), EXIT_UNREACHABLE),
        Failure::Running(error) => (format!("{error:#}"), EXIT_FAILURE),
    };
    // Nobody is left to tell when stderr is closed.
    writeln!(std::io::stderr(), "fleet-gateway: {text}").ok();
    ExitCode::from(code)
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { config, log } => {
            let config = load(&config.config)?;
            start_log(&log)?;
            run::run(&config).map_err(Failure::Running)
        }
        Command::CheckConfig { config } => check_config(&load(&config.config)?),
        Command::Status(args) => status(&args),
        Command::Doctor(args) => examine(&args),
        Command::Identify(args) => identify::perform(&args),
        Command::Gnss {
            command: GnssCommand::Decode { file },
        } => decode(&file),
        Command::Score { profile } => score::perform(profile),
        Command::Backtest(args) => backtest::perform(&args),
        Command::Profile { command } => profile::perform(&command),
        Command::Spool { command } => spool::perform(&command),
    }
}

/// Prints what is in effect. What is not installed here may be where the file goes: it is told, and no error.
fn check_config(config: &Config) -> Result<(), Failure> {
    if let Some(Err(missing)) = config.notify.broker.as_ref().map(find_program) {
        // Nobody is left to tell when stderr is closed.
        writeln!(std::io::stderr(), "fleet-gateway: warning: {missing}").ok();
    }
    print(&config.effective_toml())
}

fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(Failure::Config)
}

fn start_log(directives: &str) -> Result<(), Failure> {
    let filter = directives.parse::<tracing_subscriber::EnvFilter>().map_err(|error| {
        Failure::Usage(format!(
            "--log = {directives:?} is not allowed ({error}); allowed is a level or target=level"
        ))
    })?;
    // A second call in the same process keeps the first logger.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .ok();
    Ok(())
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let socket = match (&args.socket, &args.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => Config::read(config).map_err(Failure::Config)?.status.socket,
        (None, None) => return Err(Failure::Usage("--config or --socket is missing".to_owned())),
    };
    loop {
        let report = status::ask(&socket).map_err(Failure::Unreachable)?;
        if args.json {
            return print(&format!("{report:#}\n"));
        }
        if args.watch {
            // Clears the screen and goes to its first corner.
            print("\x1b[2J\x1b[H")?;
        }
        print(&status::render(&report))?;
        if !args.watch {
            return Ok(());
        }
        crossbeam_channel::after(Duration::from_secs(1)).recv().ok();
    }
}

fn examine(args: &DoctorArgs) -> Result<(), Failure> {
    let buses = match args.bus.as_slice() {
        [] => doctor::buses(Path::new("/dev")).map_err(|error| {
            Failure::Running(anyhow::Error::from(error).context("/dev cannot be listed"))
        })?,
        given => given.to_vec(),
    };
    let file = args
        .config
        .clone()
        .unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT));
    let identity = doctor::examine_identity(&file);
    let reports: Vec<_> = buses
        .iter()
        .map(|bus| doctor::examine_bus(bus, &args.sysfs, &identity.in_use))
        .collect();
    let host = doctor::examine_host(&args.sysfs);
    let is_asked = args.config.is_some() || args.bus.is_empty();
    let identity = is_asked.then_some(identity);
    let is_well = !reports.is_empty()
        && reports.iter().all(doctor::BusReport::is_well)
        && identity
            .as_ref()
            .is_none_or(doctor::IdentityReport::is_well);
    if args.json {
        let object = serde_json::json!({
            "well": is_well, "identity": identity, "buses": reports, "host": host
        });
        print(&format!("{object:#}\n"))?;
    } else {
        let mut text = identity.map_or_else(String::new, |identity| identity.text());
        text.extend(reports.iter().map(doctor::BusReport::text));
        if reports.is_empty() {
            text.push_str(
                "no I2C bus: enable it with `sudo raspi-config`, Interface Options, I2C, or load i2c-dev\n",
            );
        }
        text.push_str(&host.text());
        print(&text)?;
    }
    if is_well { Ok(()) } else { Err(Failure::Found) }
}

fn decode(file: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::Running(anyhow::Error::from(error).context(file.display().to_string()))
    };
    let out = std::io::stdout().lock();
    if file == Path::new("-") {
        return gnss::decode(std::io::stdin().lock(), out).map_err(failed);
    }
    let input = std::fs::File::open(file).map_err(|error| {
        Failure::Usage(format!(
            "{}: {error}; allowed is a file, or - for standard input",
            file.display()
        ))
    })?;
    gnss::decode(input, out).map_err(failed)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::Running(error.into()))
}
