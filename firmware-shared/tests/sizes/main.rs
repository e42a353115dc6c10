//! What batches of 60 readings may take on the wire. Bytes do not depend on the machine, so these are
//! tests; times are measured by the bench.
//!
//! Recorded data are found through FLEET_TEST_DATA or beside the repository. Without them the tests that
//! need them are shown as ignored, and fail where CI=true.

#![expect(
    clippy::indexing_slicing,
    reason = "tests, though without the standard harness"
)]

#[path = "../series/mod.rs"]
mod series;

use std::process::ExitCode;

use firmware_shared::batch::{BATCH_LEN_MAX, Batch, seal};
use firmware_shared::reading::Reading;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut trials = vec![
        Trial::test("a_cold_box_takes_at_most_1_3_bytes_a_reading", || {
            (1..=3).try_for_each(|seed| at_most(1.3, &series::cold_box(seed, 21_600)))
        }),
        Trial::test(
            "an_invented_drive_round_trips_far_below_its_postcard_rows",
            || at_most(9.0, &series::invented_track(1, 3_600)),
        ),
    ];
    trials.push(on_recorded_track(
        "a_recorded_track_takes_at_most_5_5_bytes_a_reading",
        |track| at_most(5.5, &track),
    ));
    trials.push(on_recorded_track(
        "a_recorded_track_is_the_whole_log",
        |track| {
            let valid = 993;
            if track.len() == valid {
                Ok(())
            } else {
                Err(format!("{} fixes", track.len()).into())
            }
        },
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn on_recorded_track(
    name: &str,
    promise: impl FnOnce(Vec<Reading>) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match series::recorded_track() {
        Some(track) => Trial::test(name, move || promise(track)),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            Trial::test(name, || Err("no recorded data, and CI=true".into()))
        }
        None => Trial::test(name, || Err("skipped: no recorded data".into()))
            .with_kind("skipped: no recorded data")
            .with_ignored_flag(true),
    }
}

/// Mean length of whole sealed batches of 60, header and CRC included; each is read back.
fn at_most(bytes_per_reading: f64, readings: &[Reading]) -> Result<(), Failed> {
    let mut out = vec![0; BATCH_LEN_MAX];
    let (mut bytes, mut count) = (0, 0);
    for (index, batch) in readings.chunks_exact(series::BATCH).enumerate() {
        let params = series::params((index * series::BATCH) as u64, &batch[0]);
        let len = seal(&params, batch, &mut out).map_err(|error| error.to_string())?;
        let sealed = Batch::open(&out[..len]).map_err(|error| error.to_string())?;
        let read = sealed
            .readings()
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        if read.as_deref() != Ok(batch) {
            return Err(format!("batch {index} was not read back").into());
        }
        bytes += len;
        count += batch.len();
    }
    let found = bytes as f64 / count as f64;
    println!("{found:.4} bytes a reading, at most {bytes_per_reading}");
    if found <= bytes_per_reading {
        Ok(())
    } else {
        Err(format!("{found:.4} bytes a reading; at most {bytes_per_reading} are allowed").into())
    }
}
