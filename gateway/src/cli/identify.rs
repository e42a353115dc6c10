//! `fleet-gateway identify`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::{CONFIG_DEFAULT, Failure, print};
use crate::enrol::{self, BOOT_FOLDERS, EnrolError};

#[derive(Debug, Args)]
pub(super) struct IdentifyArgs {
    /// Where the configuration goes
    #[arg(long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// Take gateway.toml and the files beside it from this folder instead of asking
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Take them from the boot partition; where there are none, say so at the login prompt
    #[arg(long, conflicts_with = "from")]
    first_boot: bool,
    /// Where the login prompt finds its text
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/issue.d/fleet-gateway.issue",
        hide = true
    )]
    issue: PathBuf,
}

/// What stands above the login prompt of a vehicle without a name.
const ISSUE: &str = "\nThis vehicle has no identity, so nothing is measured or sent.\n\
                     Log in and run: sudo fleet-gateway identify\n\n";

pub(super) fn perform(args: &IdentifyArgs) -> Result<(), Failure> {
    let device = if let Some(folder) = &args.from {
        enrol::take(folder, &args.config)
    } else if args.first_boot {
        let folders = BOOT_FOLDERS.map(PathBuf::from);
        match enrol::find(&folders) {
            Some(folder) => enrol::take(&folder, &args.config),
            None => return tell(args),
        }
    } else if std::io::stdin().is_terminal() {
        enrol::ask(
            &args.config,
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        )
    } else {
        return Err(Failure::Usage(
            "identify asks on a terminal; without one give --from DIR".to_owned(),
        ));
    };
    let device = device.map_err(failure)?;
    print(&format!(
        "this vehicle is {device}; {} is written\nnext: fleet-gateway doctor, then sudo systemctl start \
         fleet-gateway\n",
        args.config.display()
    ))
}

/// Nobody is at the console of a vehicle that starts: the question waits at the login prompt.
fn tell(args: &IdentifyArgs) -> Result<(), Failure> {
    enrol::check_unnamed(&args.config).map_err(failure)?;
    let written = args
        .issue
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&args.issue, ISSUE));
    if let Err(error) = written {
        // The sentence below is in the journal all the same.
        writeln!(std::io::stderr(), "{}: {error}", args.issue.display()).ok();
    }
    print("this vehicle has no identity: run `sudo fleet-gateway identify`\n")
}

fn failure(error: EnrolError) -> Failure {
    match error {
        EnrolError::System { .. } => Failure::Running(error.into()),
        EnrolError::Named { .. } | EnrolError::Refused(_) => Failure::Usage(error.to_string()),
    }
}
