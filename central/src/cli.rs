//! The command line.
//!
//! Promises: stdout carries answers, stderr logs; 0 is success, 1 a failure at run time or an unsound
//! database, 2 a wrong command line or configuration. Never: a panic where a sentence would do.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use firmware_shared::alert::Severity;
use firmware_shared::id::DeviceId;
use firmware_shared::topic::{PREFIX_DEFAULT, is_valid_prefix};

use crate::alerts::{self, Selection, Target};
use crate::config::{self, ConfigError, External, Place, Postgres};
use crate::{backup, desk, http, profile, run, verify};

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;
/// Shorter ones are guessed.
const PASSWORD_CHARS_MIN: usize = 10;

const HELP: &str = "\
Examples:
  fleet-central run --config fleet-central.toml
  fleet-central check-config --config fleet-central.toml
  fleet-central verify --db fleet.sqlite --json
  fleet-central verify --url postgresql://fleet@127.0.0.1/fleet --password-file fleet.password
  fleet-central backup --db fleet.sqlite --to fleet-backup.sqlite
  fleet-central restore --db fleet.sqlite --from fleet-backup.sqlite
  fleet-central alerts --follow --device 'truck-*' --severity warning
  fleet-central alerts --db fleet.sqlite --json
  fleet-central alerts list --config fleet-central.toml --open
  fleet-central alerts ack ID --config fleet-central.toml
  fleet-central profile send --config fleet-central.toml --device truck-001 trip.toml
  echo 'a long password' | fleet-central user anna --role operator >> users.toml

Exit codes:
  0  success
  1  a failure at run time; verify: a duplicate or an unexplained gap
  2  a wrong command line or configuration

Logs go to stderr; FLEET_LOG sets what is logged (default: info).";

/// Takes readings of a fleet from MQTT into a database, each exactly once.
#[derive(Debug, Parser)]
#[command(name = "fleet-central", version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take what comes, store it, acknowledge it.
    Run(ConfigFile),
    /// Check a configuration and print it with every default.
    CheckConfig(ConfigFile),
    /// Check that every issued number is stored once or explained.
    Verify(VerifyArgs),
    /// Copy a SQLite database that may be in use. For PostgreSQL use pg_dump.
    Backup {
        /// The database.
        #[arg(long, value_name = "FILE")]
        db: PathBuf,
        /// The copy; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup in the place of a SQLite database that nobody uses. For PostgreSQL use pg_restore.
    Restore {
        /// The database; what it holds is gone.
        #[arg(long, value_name = "FILE")]
        db: PathBuf,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Print an entry of a users file for the page; the password is the first line of stdin.
    User {
        /// The name.
        name: String,
        /// What the user may do: look, acknowledge, everything.
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleArg,
        /// For a user whom a proxy has asked: without a password.
        #[arg(long)]
        no_password: bool,
    },
    /// Print the OpenAPI document of the page's API.
    OpenApi,
    /// Print alerts: as they come with --follow, or the stored ones of --db.
    Alerts(Box<AlertsArgs>),
    /// Give a vehicle the profile of its trip: set-points, limits, load.
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// Leave it with the broker, and wait for what the vehicle says.
    Send(ProfileArgs),
}

#[derive(Debug, Args)]
struct ProfileArgs {
    /// The vehicle.
    #[arg(long, value_name = "NAME")]
    device: DeviceId,
    /// How long to wait for the vehicle; 0 does not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    #[command(flatten)]
    broker: BrokerArgs,
    /// The profile, TOML or JSON, with a version.
    file: PathBuf,
}

/// Where the broker is.
#[derive(Debug, Args)]
struct BrokerArgs {
    /// Take broker and prefix from this configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "port", "prefix"])]
    config: Option<PathBuf>,
    /// The broker.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// First levels of every topic.
    #[arg(long, value_name = "TOPIC", default_value = PREFIX_DEFAULT, value_parser = prefix)]
    prefix: String,
}

impl BrokerArgs {
    /// How to reach it, and the prefix of topics.
    fn reach(&self) -> Result<(External, String), Failure> {
        let Some(file) = &self.config else {
            let reach = External {
                host: self.host.clone(),
                port: self.port,
                login: None,
                tls: None,
            };
            return Ok((reach, self.prefix.clone()));
        };
        let config = config::load(file)?;
        Ok((config.broker.reach(), config.prefix))
    }
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The SQLite database; it may be in use.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["url", "config"])]
    db: Option<PathBuf>,
    /// The PostgreSQL database; it may be in use.
    #[arg(long, value_name = "URL", conflicts_with = "db")]
    url: Option<String>,
    /// The file with the password for --url.
    #[arg(long, value_name = "FILE", requires = "url")]
    password_file: Option<PathBuf>,
    /// Take the database from this configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["db", "url"])]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct AlertsArgs {
    #[command(subcommand)]
    action: Option<DeskAction>,
    #[command(flatten)]
    show: ShowArgs,
}

/// What people do at the desk of a centre on this machine.
#[derive(Debug, Subcommand)]
enum DeskAction {
    /// Say that you look after an alert.
    Ack {
        /// Its id.
        id: String,
        #[command(flatten)]
        by: By,
    },
    /// Write something about an alert.
    Note {
        /// Its id.
        id: String,
        /// What you have to say.
        text: String,
        #[command(flatten)]
        by: By,
    },
    /// List what the desk knows, the latest first.
    List(ListArgs),
}

/// Which desk.
#[derive(Debug, Args)]
struct At {
    /// Take the desk from this configuration.
    #[arg(long, value_name = "FILE", required_unless_present = "desk")]
    config: Option<PathBuf>,
    /// The desk's own file.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    desk: Option<PathBuf>,
}

/// Who acts, and at which desk.
#[derive(Debug, Args)]
struct By {
    /// Who you are; default: the name of your account.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    at: At,
    /// Only what lasts.
    #[arg(long)]
    open: bool,
    /// Only what nobody has acknowledged.
    #[arg(long)]
    unacknowledged: bool,
    /// Only devices that match; * is any text, ? one character.
    #[arg(long, value_name = "GLOB")]
    device: Option<String>,
    /// Only kinds that match.
    #[arg(long, value_name = "GLOB")]
    kind: Option<String>,
    /// Only devices of groups that match.
    #[arg(long, value_name = "GLOB")]
    group: Option<String>,
    /// Only sensors with roles that match.
    #[arg(long, value_name = "GLOB")]
    role: Option<String>,
    /// Only alerts with this text in them.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only alerts that are at least so bad.
    #[arg(long, value_name = "MIN", value_enum, default_value = "diagnostic")]
    severity: SeverityArg,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Subscribe at the broker and print each alert as it comes.
    #[arg(long, required_unless_present = "db")]
    follow: bool,
    /// The database whose stored alerts are printed.
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    db: Option<PathBuf>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Only devices that match; * is any text, ? one character.
    #[arg(long, value_name = "GLOB", default_value = "*")]
    device: String,
    /// Only alerts that are at least so bad.
    #[arg(long, value_name = "MIN", value_enum, default_value = "diagnostic")]
    severity: SeverityArg,
    /// Only kinds that match.
    #[arg(long, value_name = "GLOB", default_value = "*")]
    kind: String,
    /// Only devices of groups that match; listens to the desk, which needs a route of kind mqtt.
    #[arg(long, value_name = "GLOB", conflicts_with = "db")]
    group: Option<String>,
    /// Only sensors with roles that match; listens to the desk, which needs a route of kind mqtt.
    #[arg(long, value_name = "GLOB", conflicts_with = "db")]
    role: Option<String>,
    /// Take broker and prefix from this configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "port", "prefix"])]
    config: Option<PathBuf>,
    /// The broker.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// First levels of every topic.
    #[arg(long, value_name = "TOPIC", default_value = PREFIX_DEFAULT, value_parser = prefix)]
    prefix: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SeverityArg {
    Diagnostic,
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Viewer,
    Operator,
    Admin,
}

fn prefix(text: &str) -> Result<String, String> {
    match is_valid_prefix(text) {
        true => Ok(text.to_owned()),
        false => Err(
            "allowed are 1 to 4 levels of a-z, A-Z, 0-9, '_' and '-', together at most 48 bytes"
                .to_owned(),
        ),
    }
}

/// What a command ends with, apart from success.
enum Failure {
    /// The user must change something that was said.
    Usage(String),
    /// Something did not work.
    Runtime(anyhow::Error),
    /// The database is not sound; the report says how.
    Unsound,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs `fleet-central` with these arguments, the first being the program's name.
pub fn main(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not failures; clap knows which stream each belongs to.
            let is_answer = !error.use_stderr();
            drop(error.print());
            return match is_answer {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(EXIT_USAGE),
            };
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unsound) => ExitCode::from(EXIT_FAILURE),
        Err(Failure::Usage(sentence)) => {
            report(&sentence);
            ExitCode::from(EXIT_USAGE)
        }
        Err(Failure::Runtime(error)) => {
            report(&format!("{error:#}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// The one place that prints what went wrong.
fn report(sentence: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "fleet-central: {sentence}"));
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(file) => {
            let config = config::load(&file.config)?;
            log("info");
            Ok(run::run(&config)?)
        }
        Command::CheckConfig(file) => {
            let config = config::load(&file.config)?;
            let text = config::effective(&config).map_err(anyhow::Error::from)?;
            answer(&text)
        }
        Command::Verify(args) => check(args),
        Command::Backup { db, to } => Ok(backup::backup(&db, &to)?),
        Command::Restore { db, from } => Ok(backup::restore(&db, &from)?),
        Command::Alerts(args) => match args.action {
            Some(action) => at_desk(action),
            None => show_alerts(&args.show),
        },
        Command::Profile {
            command: ProfileCommand::Send(args),
        } => send_profile(args),
        Command::User {
            name,
            role,
            no_password,
        } => user(&name, role, no_password),
        Command::OpenApi => {
            let document = http::document();
            answer(&(serde_json::to_string_pretty(&document).map_err(anyhow::Error::from)? + "\n"))
        }
    }
}

fn check(args: VerifyArgs) -> Result<(), Failure> {
    let as_json = args.json;
    let place = match args {
        VerifyArgs {
            config: Some(file), ..
        } => config::load(&file)?.database.place,
        VerifyArgs {
            url: Some(url),
            password_file,
            ..
        } => {
            crate::postgres::server(&url)
                .map_err(|why| Failure::Usage(format!("--url cannot be used: {why}")))?;
            Place::Postgres(Postgres { url, password_file })
        }
        VerifyArgs { db, .. } => Place::Sqlite(db.unwrap_or_default()),
    };
    let report = verify::verify(&place)?;
    let text = match as_json {
        true => serde_json::to_string(&report).map_err(anyhow::Error::from)? + "\n",
        false => verify::table(&report),
    };
    answer(&text)?;
    match report.is_sound() {
        true => Ok(()),
        false => Err(Failure::Unsound),
    }
}

impl From<SeverityArg> for Severity {
    fn from(arg: SeverityArg) -> Self {
        match arg {
            SeverityArg::Diagnostic => Self::Diagnostic,
            SeverityArg::Warning => Self::Warning,
            SeverityArg::Critical => Self::Critical,
        }
    }
}

impl At {
    fn path(self) -> Result<PathBuf, Failure> {
        match self {
            Self {
                config: Some(file), ..
            } => Ok(config::load(&file)?.desk.path),
            Self { desk, .. } => Ok(desk.unwrap_or_default()),
        }
    }
}

impl By {
    fn who(&self) -> Result<String, Failure> {
        let account = || std::env::var("USER").ok().filter(|name| !name.is_empty());
        self.who
            .clone()
            .or_else(account)
            .ok_or_else(|| Failure::Usage("nobody knows who you are: say --who NAME".to_owned()))
    }
}

fn at_desk(action: DeskAction) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match action {
        DeskAction::Ack { id, by } => {
            let (alert, who) = (id, by.who()?);
            let order = desk::Command::Acknowledge { alert, who };
            Ok(alerts::order(&by.at.path()?, &order, &mut out)?)
        }
        DeskAction::Note { id, text, by } => {
            let (alert, who) = (id, by.who()?);
            let order = desk::Command::Note { alert, who, text };
            Ok(alerts::order(&by.at.path()?, &order, &mut out)?)
        }
        DeskAction::List(args) => {
            let filter = desk::Filter {
                open: args.open.then_some(true),
                acknowledged: args.unacknowledged.then_some(false),
                severity: Some(args.severity.into()),
                device: args.device,
                kind: args.kind,
                group: args.group,
                role: args.role,
                text: args.text,
                limit: args.limit,
                ..desk::Filter::default()
            };
            let path = args.at.path()?;
            Ok(alerts::list_desk(&path, &filter, args.json, &mut out)?)
        }
    }
}

fn user(name: &str, role: RoleArg, no_password: bool) -> Result<(), Failure> {
    if !http::is_user_name(name) {
        let allowed = "1 to 64 of a-z, A-Z, 0-9 and . _ - @ +";
        return Err(Failure::Usage(format!(
            "{name:?} is not possible; allowed are {allowed}"
        )));
    }
    let role = match role {
        RoleArg::Viewer => "viewer",
        RoleArg::Operator => "operator",
        RoleArg::Admin => "admin",
    };
    let mut text = format!("[[user]]\nname = \"{name}\"\nrole = \"{role}\"\n");
    if !no_password {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map_err(anyhow::Error::from)?;
        let password = line.trim_end_matches(['\r', '\n']);
        if password.chars().count() < PASSWORD_CHARS_MIN {
            let sentence = format!("the password has fewer than {PASSWORD_CHARS_MIN} characters");
            return Err(Failure::Usage(sentence));
        }
        let hash = http::hash(password).map_err(anyhow::Error::msg)?;
        text.push_str(&format!("password_hash = \"{hash}\"\n"));
    }
    answer(&text)
}

fn show_alerts(args: &ShowArgs) -> Result<(), Failure> {
    let selection = Selection {
        device: args.device.clone(),
        severity: args.severity.into(),
        kind: args.kind.clone(),
    };
    let glob = |given: &Option<String>| given.clone().unwrap_or_else(|| "*".to_owned());
    let source = match args.group.is_some() || args.role.is_some() {
        true => alerts::Source::Desk {
            group: glob(&args.group),
            role: glob(&args.role),
        },
        false => alerts::Source::Vehicles,
    };
    let mut out = std::io::stdout().lock();
    if let Some(db) = &args.db {
        return Ok(alerts::list(db, &selection, args.json, &mut out)?);
    }
    let target = match &args.config {
        Some(file) => {
            let config = config::load(file)?;
            Target {
                reach: config.broker.reach(),
                prefix: config.prefix,
                source,
            }
        }
        None => Target {
            reach: External {
                host: args.host.clone(),
                port: args.port,
                login: None,
                tls: None,
            },
            prefix: args.prefix.clone(),
            source,
        },
    };
    log("warn");
    Ok(alerts::follow(&target, &selection, args.json, &mut out)?)
}

fn send_profile(args: ProfileArgs) -> Result<(), Failure> {
    let (reach, prefix) = args.broker.reach()?;
    log("warn");
    let send = profile::Send {
        reach,
        prefix,
        device: args.device,
        file: args.file,
        wait: Duration::from_secs(args.wait),
    };
    let said = profile::send(&send)?;
    match said {
        Some(text) => answer(&format!("{text}\n")),
        None if args.wait == 0 => answer("the broker has it\n"),
        None => Err(Failure::Runtime(anyhow::anyhow!(
            "{} has said nothing within {} s; the broker keeps the profile for it",
            send.device,
            args.wait
        ))),
    }
}

fn answer(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Runtime(error.into()))
}

/// Logs to stderr. The embedded broker calls every disconnect an error, so it is heard only on request.
fn log(default: &str) {
    let filter = std::env::var("FLEET_LOG").unwrap_or_else(|_| default.to_owned());
    let filter =
        tracing_subscriber::EnvFilter::builder().parse_lossy(format!("rumqttd=off,{filter}"));
    // A second call in one process keeps the first.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .try_init(),
    );
}
