//! The promises, as tests over real processes. Modules are named by promise.
//!
//! libtest-mimic, so that a test whose server or data is missing is shown as ignored with the reason; with
//! `CI=true` it fails instead.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "all of this is test code, which clippy cannot see because of the own harness"
)]

mod access;
mod alerts;
mod bad_input;
mod chaos;
mod clones;
mod database;
mod demo;
mod desk;
mod detector;
mod driver;
mod mishaps;
mod needs;
mod no_loss;
mod ops;
mod page;
mod quiet;
mod real_input;
mod trip;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let trials = [
        no_loss::trials(),
        clones::trials(),
        database::trials(),
        access::trials(),
        chaos::trials(),
        alerts::trials(),
        detector::trials(),
        driver::trials(),
        trip::trials(),
        real_input::trials(),
        bad_input::trials(),
        quiet::trials(),
        page::trials(),
        demo::trials(),
        desk::trials(),
        ops::trials(),
    ];
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
