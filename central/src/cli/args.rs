//! What can be said on the command line.
//!
//! Promises: every option says what it is for, and what it excludes is refused by name. Never: an answer.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use firmware_shared::alert::Severity;
use firmware_shared::id::DeviceId;
use firmware_shared::topic::{PREFIX_DEFAULT, is_valid_prefix};

use super::Failure;
use crate::config::{self, External};

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
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
pub(super) enum ProfileCommand {
    /// Leave it with the broker, and wait for what the vehicle says.
    Send(ProfileArgs),
}

#[derive(Debug, Args)]
pub(super) struct ProfileArgs {
    /// The vehicle.
    #[arg(long, value_name = "NAME")]
    pub(super) device: DeviceId,
    /// How long to wait for the vehicle; 0 does not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) wait: u64,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    /// The profile, TOML or JSON, with a version.
    pub(super) file: PathBuf,
}

/// Where the broker is.
#[derive(Debug, Args)]
pub(super) struct BrokerArgs {
    /// Take broker and prefix from this configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "port", "prefix"])]
    pub(super) config: Option<PathBuf>,
    /// The broker.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) host: String,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: u16,
    /// First levels of every topic.
    #[arg(long, value_name = "TOPIC", default_value = PREFIX_DEFAULT, value_parser = prefix)]
    pub(super) prefix: String,
}

impl BrokerArgs {
    /// How to reach it, and the prefix of topics.
    pub(super) fn reach(&self) -> Result<(External, String), Failure> {
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
pub(super) struct ConfigFile {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The SQLite database; it may be in use.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["url", "config"])]
    pub(super) db: Option<PathBuf>,
    /// The PostgreSQL database; it may be in use.
    #[arg(long, value_name = "URL", conflicts_with = "db")]
    pub(super) url: Option<String>,
    /// The file with the password for --url.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(super) password_file: Option<PathBuf>,
    /// Take the database from this configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["db", "url"])]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    pub(super) action: Option<DeskAction>,
    #[command(flatten)]
    pub(super) show: ShowArgs,
}

/// What people do at the desk of a centre on this machine.
#[derive(Debug, Subcommand)]
pub(super) enum DeskAction {
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
pub(super) struct At {
    /// Take the desk from this configuration.
    #[arg(long, value_name = "FILE", required_unless_present = "desk")]
    pub(super) config: Option<PathBuf>,
    /// The desk's own file.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(super) desk: Option<PathBuf>,
}

/// Who acts, and at which desk.
#[derive(Debug, Args)]
pub(super) struct By {
    /// Who you are; default: the name of your account.
    #[arg(long, value_name = "NAME")]
    pub(super) who: Option<String>,
    #[command(flatten)]
    pub(super) at: At,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) at: At,
    /// Only what lasts.
    #[arg(long)]
    pub(super) open: bool,
    /// Only what nobody has acknowledged.
    #[arg(long)]
    pub(super) unacknowledged: bool,
    /// Only devices that match; * is any text, ? one character.
    #[arg(long, value_name = "GLOB")]
    pub(super) device: Option<String>,
    /// Only kinds that match.
    #[arg(long, value_name = "GLOB")]
    pub(super) kind: Option<String>,
    /// Only devices of groups that match.
    #[arg(long, value_name = "GLOB")]
    pub(super) group: Option<String>,
    /// Only sensors with roles that match.
    #[arg(long, value_name = "GLOB")]
    pub(super) role: Option<String>,
    /// Only alerts with this text in them.
    #[arg(long, value_name = "TEXT")]
    pub(super) text: Option<String>,
    /// Only alerts that are at least so bad.
    #[arg(long, value_name = "MIN", value_enum, default_value = "diagnostic")]
    pub(super) severity: SeverityArg,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(super) limit: usize,
    /// Print one JSON object per line.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Subscribe at the broker and print each alert as it comes.
    #[arg(long, required_unless_present = "db")]
    pub(super) follow: bool,
    /// The database whose stored alerts are printed.
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    pub(super) db: Option<PathBuf>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub(super) json: bool,
    /// Only devices that match; * is any text, ? one character.
    #[arg(long, value_name = "GLOB", default_value = "*")]
    pub(super) device: String,
    /// Only alerts that are at least so bad.
    #[arg(long, value_name = "MIN", value_enum, default_value = "diagnostic")]
    pub(super) severity: SeverityArg,
    /// Only kinds that match.
    #[arg(long, value_name = "GLOB", default_value = "*")]
    pub(super) kind: String,
    /// Only devices of groups that match; listens to the desk, which needs a route of kind mqtt.
    #[arg(long, value_name = "GLOB", conflicts_with = "db")]
    pub(super) group: Option<String>,
    /// Only sensors with roles that match; listens to the desk, which needs a route of kind mqtt.
    #[arg(long, value_name = "GLOB", conflicts_with = "db")]
    pub(super) role: Option<String>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SeverityArg {
    Diagnostic,
    Warning,
    Critical,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum RoleArg {
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
    pub(super) fn path(self) -> Result<PathBuf, Failure> {
        match self {
            Self {
                config: Some(file), ..
            } => Ok(config::load(&file)?.desk.path),
            Self { desk, .. } => Ok(desk.unwrap_or_default()),
        }
    }
}

impl By {
    pub(super) fn who(&self) -> Result<String, Failure> {
        let account = || std::env::var("USER").ok().filter(|name| !name.is_empty());
        self.who
            .clone()
            .or_else(account)
            .ok_or_else(|| Failure::Usage("nobody knows who you are: say --who NAME".to_owned()))
    }
}
