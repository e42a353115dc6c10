//! The command line.
//!
//! Promises: stdout carries answers, stderr logs; 0 is success, 1 a failure at run time or an unsound
//! database, 2 a wrong command line or configuration. Never: a panic where a sentence would do.

mod args;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::alerts::{self, Selection, Target};
use crate::config::{self, ConfigError, Place, Postgres};
use crate::{backup, desk, http, profile, run, verify};
use args::{Cli, Command, DeskAction, ProfileArgs, ProfileCommand, RoleArg, ShowArgs, VerifyArgs};

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;
/// Shorter ones are guessed.
const PASSWORD_CHARS_MIN: usize = 10;

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
    let (reach, prefix) = args.broker.reach()?;
    let target = Target {
        reach,
        prefix,
        source,
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
