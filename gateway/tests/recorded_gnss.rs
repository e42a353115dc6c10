//! Recorded receiver logs before the position detector: silent on what was recorded, awake when it is forged.
//!
//! The logs are looked for where `FLEET_TEST_DATA` points, else beside the repository. Without them the tests
//! are shown as ignored, and fail where CI=true.

#![expect(
    clippy::unwrap_used,
    reason = "a test program: it stops at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use firmware_shared::detect::gnss::{Epoch, GnssDetector, GnssFault};
use firmware_shared::reading::{FixKind, Position};
use firmware_shared::units::{AccuracyMm, Course1e5, Degrees1e7, MillimetresPerSecond};
use libtest_mimic::{Arguments, Failed, Trial};
use sensor_drivers::gnss::decode::GnssDecoder;
use sensor_drivers::gnss::{EpochReport, EpochTime, Fix};

const DAY_MS: i64 = 86_400_000;
/// 300 m north, in 1e-7 degree.
const JUMP_1E7_DEG: i32 = 26_950;
/// 3 m north.
const DRAG_1E7_DEG: i32 = 270;

type Promise = fn(&Path) -> Result<(), Failed>;

const PROMISES: [(&str, Promise); 3] = [
    ("no_recorded_log_raises_an_alert", clean),
    (
        "a_jump_forged_into_a_recorded_drive_is_found_at_its_first_fix",
        jump,
    ),
    (
        "a_drag_off_forged_into_a_recorded_drive_is_found_within_a_minute",
        drag,
    ),
];

fn main() -> ExitCode {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FLEET_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("gnss");
    let must_run = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let trials = PROMISES.into_iter().map(|(name, promise)| {
        let folder = folder.clone();
        if folder.is_dir() {
            return Trial::test(name, move || promise(&folder));
        }
        if must_run {
            return Trial::test(name, || Err("no recorded data, and CI=true".into()));
        }
        Trial::test(name, || Err("skipped: no recorded data".into()))
            .with_kind("skipped: no recorded data")
            .with_ignored_flag(true)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// What came at which time.
fn epochs(log: &Path) -> Vec<(u64, Epoch)> {
    let bytes = std::fs::read(log).unwrap();
    let mut decoder = GnssDecoder::new();
    let mut reports: Vec<EpochReport> = Vec::new();
    decoder.push(&bytes, &mut |report| reports.push(report));
    decoder.finish(&mut |report| reports.push(report));
    let (mut now_ms, mut last_ms) = (1_000_000_u64, None);
    let place = |report: EpochReport| {
        let time_ms = report.epoch.map(|time| match time {
            EpochTime::Utc { utc_ms } => utc_ms.rem_euclid(DAY_MS),
            EpochTime::TimeOfWeek { itow_ms } => i64::from(itow_ms) % DAY_MS,
            EpochTime::TimeOfDay { tod_ms } => i64::from(tod_ms),
        });
        // A log has no clock of its own: time goes on as the receiver says, else by a second.
        let on_ms = match (last_ms, time_ms) {
            (Some(last), Some(time)) => (time - last as i64).rem_euclid(DAY_MS),
            _ => 1000,
        };
        now_ms += u64::try_from(on_ms).unwrap().min(60_000);
        last_ms = time_ms.map(|time| time as u64).or(last_ms);
        let epoch = report.fix().map_or(Epoch::NoFix, |fix| Epoch::Fix {
            position: position(fix),
            time_of_day_ms: time_ms.map(|time| time as u32),
        });
        (now_ms, epoch)
    };
    reports.into_iter().map(place).collect()
}

fn position(fix: &Fix) -> Position {
    Position {
        lat: Degrees1e7(fix.lat_1e7_deg),
        lon: Degrees1e7(fix.lon_1e7_deg),
        height: None,
        speed: fix.speed_mm_s.map(MillimetresPerSecond),
        course: fix.course_1e5_deg.map(Course1e5),
        h_acc: fix.h_acc_mm.map(AccuracyMm),
        dop: None,
        satellites: fix.satellites,
        fix: FixKind::FIX_3D,
    }
}

fn judged(epochs: &[(u64, Epoch)]) -> Vec<(usize, GnssFault)> {
    let mut detector = GnssDetector::new(1000);
    let said = epochs.iter().enumerate();
    said.filter_map(|(at, (now_ms, epoch))| Some((at, detector.step(*now_ms, epoch)?)))
        .collect()
}

fn clean(folder: &Path) -> Result<(), Failed> {
    let (mut logs, mut fixes, mut said) = (0, 0, Vec::new());
    for source in ["gpsd", "nmea-crate", "pyubx2"] {
        for entry in std::fs::read_dir(folder.join(source)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "log") {
                continue;
            }
            let epochs = epochs(&path);
            logs += 1;
            fixes += epochs
                .iter()
                .filter(|epoch| matches!(epoch.1, Epoch::Fix { .. }))
                .count();
            let faults = judged(&epochs);
            if !faults.is_empty() {
                said.push(format!(
                    "{} of {}: {faults:?}",
                    path.display(),
                    epochs.len()
                ));
            }
        }
    }
    println!("{logs} logs, {fixes} fixes");
    if logs < 15 || fixes < 1400 {
        return Err(format!("only {logs} logs with {fixes} fixes were there").into());
    }
    if said.is_empty() {
        Ok(())
    } else {
        Err(said.join("\n").into())
    }
}

/// The recorded drive, moved north from an epoch on where reception was good.
fn forged(
    folder: &Path,
    by: impl Fn(usize) -> i32,
) -> Result<(usize, Vec<(usize, GnssFault)>), Failed> {
    const FROM: usize = 935;
    let mut epochs = epochs(&folder.join("nmea-crate/nmea1.log"));
    let last = (FROM + 60).min(epochs.len());
    for (since, (_, epoch)) in epochs.iter_mut().skip(FROM).enumerate() {
        if let Epoch::Fix { position, .. } = epoch {
            position.lat.0 += by(since);
        }
    }
    let fixes = epochs.iter().take(last).skip(FROM);
    if fixes
        .filter(|epoch| matches!(epoch.1, Epoch::Fix { .. }))
        .count()
        < 50
    {
        return Err("the log has too few fixes there".into());
    }
    Ok((FROM, judged(&epochs)))
}

fn jump(folder: &Path) -> Result<(), Failed> {
    let (from, said) = forged(folder, |_| JUMP_1E7_DEG)?;
    match said.as_slice() {
        [(at, GnssFault::Jump)] if *at == from => Ok(()),
        other => Err(format!("said {other:?}, forged at {from}").into()),
    }
}

fn drag(folder: &Path) -> Result<(), Failed> {
    let (from, said) = forged(folder, |since| DRAG_1E7_DEG * i32::try_from(since).unwrap())?;
    match said.first() {
        Some((at, GnssFault::DragOff)) if (from..=from + 60).contains(at) => Ok(()),
        other => Err(format!("said {other:?}, forged at {from}").into()),
    }
}
