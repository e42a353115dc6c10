//! `fleet-gateway profile`: looks at the profile of the trip, and changes it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::config::{Config, PROFILE_LEN_MAX};
use crate::status::{self, Order, Outcome};

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// Give the running gateway another profile, without a restart
    Set {
        /// A profile in TOML or JSON
        file: PathBuf,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Print the profile in force, and the one that waits for its time
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: Gateway,
    },
}

#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// Configuration file of the gateway
    #[arg(long, value_name = "FILE", required_unless_present = "socket")]
    config: Option<PathBuf>,
    /// Control socket of the gateway
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

pub(super) fn perform(command: &ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::Set { file, gateway } => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let file = file.display();
                Failure::Usage(format!(
                    "{file}: {error}; allowed is a profile in TOML or JSON"
                ))
            })?;
            if text.len() > PROFILE_LEN_MAX {
                let file = file.display();
                return Err(Failure::Usage(format!(
                    "{file}: {} bytes; allowed are {PROFILE_LEN_MAX}",
                    text.len()
                )));
            }
            let outcome = gateway.order(&Order::ProfileSet { text })?;
            if outcome.state == "refused" {
                return Err(Failure::Running(anyhow::anyhow!(outcome.text)));
            }
            print(&format!("{}\n", outcome.text))
        }
        ProfileCommand::Show { json, gateway } => {
            let outcome = gateway.order(&Order::ProfileShow {})?;
            match json {
                true => {
                    let shown = serde_json::json!(outcome);
                    print(&format!("{shown:#}\n"))
                }
                false => print(&shown(&outcome)),
            }
        }
    }
}

impl Gateway {
    fn order(&self, order: &Order) -> Result<Outcome, Failure> {
        let socket = match (&self.socket, &self.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(config)) => {
                let config = Config::read(config).map_err(Failure::Config)?;
                config.status.control_socket
            }
            (None, None) => {
                return Err(Failure::Usage("--config or --socket is missing".to_owned()));
            }
        };
        status::order(&socket, order).map_err(Failure::Unreachable)
    }
}

fn shown(outcome: &Outcome) -> String {
    let mut text = format!("# {}\n", outcome.text);
    text.push_str(outcome.current.as_deref().unwrap_or_default());
    if let Some(next) = &outcome.next {
        text.push_str("\n# waits for its time\n");
        text.push_str(next);
    }
    text
}
