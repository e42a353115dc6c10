//! Recorded receiver logs, played through the simulated receiver and the real driver, compared
//! with an independent reading of the same files.
//!
//! The logs are not part of the repository: they are looked for where `FLEET_TEST_DATA` points,
//! else in `../shared/data` beside the repository. Without them every test here is reported as
//! ignored, and fails where `CI=true`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code, which clippy cannot tell because the binary has a harness of its own"
)]

mod crates;
mod ddc;
mod gpsd;
mod oracle;
mod promises;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

type Promise = fn(&Path) -> Result<(), Failed>;

const PROMISES: [(&str, Promise); 9] = [
    (
        "every_valid_fix_of_nmea1_is_reported_once_and_nothing_else",
        promises::nmea1,
    ),
    (
        "untrusted_nav_pvt_of_ublox_glo_give_no_fix",
        promises::ublox_glo,
    ),
    (
        "all_logs_give_the_fixes_of_an_independent_reading",
        promises::all_logs,
    ),
    (
        "void_sentences_and_rollover_dates_give_no_position_and_no_time",
        promises::traps,
    ),
    (
        "the_truth_file_says_what_the_driver_reports",
        promises::truth,
    ),
    (
        "the_crates_ublox_and_nmea_read_the_same_from_the_same_frames",
        crates::agree,
    ),
    ("gpsd_reads_the_same_from_the_same_logs", gpsd::agrees),
    (
        "damaged_replay_gives_each_intact_frame_once_and_invents_none",
        ddc::damaged,
    ),
    (
        "the_state_of_the_stream_does_not_depend_on_chunk_lengths",
        promises::chunk_lengths,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = data_folder();
    let must_run = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let trials = PROMISES
        .into_iter()
        .map(|(name, promise)| match folder.clone() {
            Some(folder) => Trial::test(name, move || promise(&folder)),
            None if must_run => Trial::test(name, || Err("no recorded data, and CI=true".into())),
            None => Trial::test(name, || Err("skipped: no recorded data".into()))
                .with_kind("skipped: no recorded data")
                .with_ignored_flag(true),
        });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn data_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FLEET_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("gnss");
    folder.is_dir().then_some(folder)
}
