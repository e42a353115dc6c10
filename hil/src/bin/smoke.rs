//! `smoke FOLDER CENTRAL GATEWAY [EMULATOR...]`, called by `cross/smoke.sh`.

use std::path::Path;
use std::process::ExitCode;

use hil::outcome::{Outcome, exit_code};
use hil::smoke::Smoke;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, central, gateway, emulator @ ..] = words.as_slice() else {
        eprintln!("usage: smoke FOLDER CENTRAL GATEWAY [EMULATOR...]");
        return ExitCode::from(2);
    };
    let smoke = Smoke {
        emulator,
        gateway: Path::new(gateway),
        central: Path::new(central),
        folder: Path::new(folder),
    };
    let outcome = smoke.run().map_or_else(Outcome::Failed, Outcome::Passed);
    for line in outcome.lines(gateway) {
        println!("{line}");
    }
    exit_code(&[outcome], false)
}
