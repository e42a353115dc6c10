//! `papers`: what lies beside a binary in its package, made from the program itself.
//!
//! Promises: manual pages and completions come from the very command line that the binary parses; the same
//! sources give the same bytes: no clock, no random number, no path of this machine. Never: a network access.

mod manual;
mod materials;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Writes what lies beside a binary in its package.
#[derive(Debug, Parser)]
#[command(name = "papers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One manual page for the program and one for each of its commands
    Manual {
        /// The program
        program: Program,
        /// Where the pages go
        folder: PathBuf,
        /// Sections in roff that are put behind the first page
        #[arg(long, value_name = "FILE")]
        more: Option<PathBuf>,
    },
    /// Completions for bash, zsh and fish
    Completions {
        /// The program
        program: Program,
        /// Where they go
        folder: PathBuf,
    },
    /// A bill of materials as CycloneDX 1.5, from `cargo metadata` on standard input
    Materials {
        /// The program
        program: Program,
        /// `Cargo.lock`, for the checksums
        #[arg(long, value_name = "FILE")]
        lock: PathBuf,
    },
}

/// The programs that are packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// On the vehicle
    FleetGateway,
    /// At the centre
    FleetCentral,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::FleetGateway => "fleet-gateway",
            Self::FleetCentral => "fleet-central",
        }
    }

    /// The cargo packages of what is packaged with it, its own first.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::FleetGateway => &["gateway", "gateway-broker"],
            Self::FleetCentral => &["central"],
        }
    }

    fn command(self) -> clap::Command {
        match self {
            Self::FleetGateway => gateway::command(),
            Self::FleetCentral => central::command(),
        }
    }
}

fn main() -> ExitCode {
    match perform(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("papers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Manual {
            program,
            folder,
            more,
        } => {
            let more = more.map(std::fs::read_to_string).transpose()?;
            manual::write(program.command(), &folder, more.as_deref().unwrap_or(""))
        }
        Command::Completions { program, folder } => {
            std::fs::create_dir_all(&folder)?;
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let mut command = program.command();
                clap_complete::generate_to(shell, &mut command, program.name(), &folder)?;
            }
            Ok(())
        }
        Command::Materials { program, lock } => {
            let metadata = std::io::read_to_string(std::io::stdin())?;
            let lock =
                std::fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
            let bill = materials::bill(program.packages(), &metadata, &lock)?;
            println!("{bill:#}");
            Ok(())
        }
    }
}
