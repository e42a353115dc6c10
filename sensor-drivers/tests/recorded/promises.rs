//! What the driver promises about recorded logs.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use sensor_drivers::gnss::epoch::{EpochRules, EpochTracker};
use sensor_drivers::gnss::stream::{Frame, StreamSplitter};
use sensor_drivers::gnss::{Fix, GnssEvent};
use sensor_drivers::sim::{Scenario, SimWorld};
use sensor_drivers::ublox::{DrainStats, Ublox, UbloxConfig, UbloxMode};

use super::oracle::{self, OracleFix, OracleFrame};

pub(crate) type Outcome = Result<(), Failed>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition { return Err(format!($($message)+).into()); }
    };
}
pub(crate) use ensure;

/// What a replay through the driver gave.
struct Replayed {
    events: Vec<(u64, GnssEvent)>,
    totals: DrainStats,
    mode: UbloxMode,
    truth: String,
}

impl Replayed {
    fn fixes(&self) -> Vec<Fix> {
        let fix = |(_, event): &(u64, GnssEvent)| match event {
            GnssEvent::Fix(fix) => Some(*fix),
            _ => None,
        };
        self.events.iter().filter_map(fix).collect()
    }

    fn missing(&self) -> usize {
        self.events
            .iter()
            .filter(|(_, event)| matches!(event, GnssEvent::NoFix(_)))
            .count()
    }
}

/// Plays a log at 1 Hz until it is over, with the clock of the scenario file.
fn replay(log: &Path, chunk_len: usize) -> Result<Replayed, Failed> {
    let folder = tempfile::tempdir()?;
    let scenario = folder.path().join("scenario.toml");
    let text = format!(
        "truth_file = 'truth.jsonl'\n[[chip]]\nkind = 'ublox'\naddress = 0x42\nreplay = '{}'\n",
        log.display()
    );
    fs::write(&scenario, text)?;
    let SimWorld { bus, clock, .. } = Scenario::load(&scenario, 5000)?;
    let config = UbloxConfig {
        chunk_len,
        not_before_utc_ms: 0,
        ..UbloxConfig::default()
    };
    let mut driver = Ublox::with_config(bus.clone(), 0x42, config)?;
    let mut now_ms = clock.virtual_ms(5000);
    driver.start(now_ms)?;
    let mut events = Vec::new();
    let mut totals = DrainStats::default();
    let mut quiet_s = 0;
    let mut mode = UbloxMode::Configuring;
    while quiet_s < 40 {
        bus.advance_to(now_ms);
        let stats = driver.poll(now_ms, &mut |event| events.push((now_ms, event)))?;
        totals.bytes += stats.bytes;
        totals.nmea += stats.nmea;
        totals.ubx += stats.ubx;
        quiet_s = if stats.bytes == 0 { quiet_s + 1 } else { 0 };
        if stats.epochs > 0 {
            mode = driver.mode();
        }
        now_ms += 1000;
    }
    let truth = fs::read_to_string(folder.path().join("truth.jsonl"))?;
    Ok(Replayed {
        events,
        totals,
        mode,
        truth,
    })
}

/// Equal to the log's own resolution, which is at least 1e-7 degree, a millimetre, 1e-5 degree.
fn compare(name: &str, found: &[Fix], expected: &[OracleFix]) -> Outcome {
    ensure!(
        found.len() == expected.len(),
        "{name}: {} fixes, the log has {}",
        found.len(),
        expected.len()
    );
    let close = |found: f64, expected: f64| (found - expected).abs() <= 0.5001;
    for (n, (fix, log)) in found.iter().zip(expected).enumerate() {
        let optional = |found: Option<i32>, expected: Option<f64>| match (found, expected) {
            (Some(found), Some(expected)) => close(f64::from(found), expected),
            (None, None) => true,
            _ => false,
        };
        let equal = close(f64::from(fix.lat_1e7_deg), log.lat_deg * 1e7)
            && close(f64::from(fix.lon_1e7_deg), log.lon_deg * 1e7)
            && optional(fix.height_mm, log.height_m.map(|height| height * 1e3))
            && optional(fix.speed_mm_s, log.speed_m_s.map(|speed| speed * 1e3))
            && optional(
                fix.course_1e5_deg,
                log.course_deg.map(|course| course * 1e5),
            )
            && fix.satellites.map(u32::from) == log.satellites;
        ensure!(equal, "{name}: fix {n} is {fix:?}, the log says {log:?}");
    }
    Ok(())
}

fn valid(epochs: &[Option<OracleFix>]) -> Vec<OracleFix> {
    epochs.iter().flatten().copied().collect()
}

pub(crate) fn nmea1(data: &Path) -> Outcome {
    let path = data.join("nmea-crate/nmea1.log");
    let frames = oracle::frames(&oracle::receiver_output(&path));
    let expected = valid(&oracle::epochs(&frames));
    let replayed = replay(&path, 128)?;
    ensure!(replayed.mode == UbloxMode::Nmea, "mode {:?}", replayed.mode);
    ensure!(
        replayed.totals.nmea as usize == frames.len(),
        "{} sentences",
        replayed.totals.nmea
    );
    ensure!(
        replayed.totals.nmea == 14_255,
        "{} sentences",
        replayed.totals.nmea
    );
    ensure!(
        replayed.fixes().len() == 993,
        "{} fixes",
        replayed.fixes().len()
    );
    ensure!(
        replayed.missing() == 314,
        "{} epochs without",
        replayed.missing()
    );
    compare("nmea1", &replayed.fixes(), &expected)
}

pub(crate) fn ublox_glo(data: &Path) -> Outcome {
    let path = data.join("gpsd/ublox-glo.log");
    let frames = oracle::frames(&oracle::receiver_output(&path));
    let untrusted = frames
        .iter()
        .filter(|frame| match frame {
            OracleFrame::Ubx(bytes) => {
                bytes[2..4] == [1, 7] && matches!(bytes[26], 2 | 3) && bytes[27] & 1 == 0
            }
            OracleFrame::Nmea(_) => false,
        })
        .count();
    ensure!(untrusted == 275, "{untrusted} untrusted frames in the log");
    let replayed = replay(&path, 128)?;
    ensure!(replayed.mode == UbloxMode::Ubx, "mode {:?}", replayed.mode);
    ensure!(
        replayed.fixes().len() == 16,
        "{} fixes",
        replayed.fixes().len()
    );
    // 275 untrusted and 8 without any solution.
    ensure!(
        replayed.missing() == 283,
        "{} epochs without",
        replayed.missing()
    );
    compare(
        "ublox-glo",
        &replayed.fixes(),
        &valid(&oracle::epochs(&frames)),
    )
}

pub(crate) fn logs(data: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut paths = Vec::new();
    for folder in ["gpsd", "nmea-crate", "pyubx2"] {
        for entry in fs::read_dir(data.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    ensure!(paths.len() >= 20, "only {} logs", paths.len());
    Ok(paths)
}

pub(crate) const RULES: EpochRules = EpochRules {
    accept_dead_reckoning: false,
    not_before_utc_ms: 0,
};

/// The codecs without a bus, over every log, cut at odd places.
pub(crate) fn all_logs(data: &Path) -> Outcome {
    for path in logs(data)? {
        let name = path.display().to_string();
        let bytes = oracle::receiver_output(&path);
        let mut splitter = StreamSplitter::new();
        let mut tracker = EpochTracker::new(RULES);
        let (mut fixes, mut found) = (Vec::new(), Vec::new());
        let mut sink = |frame: Frame<'_>| {
            found.push(owned(&frame));
            tracker.hear(&frame, None, &mut |event| {
                if let GnssEvent::Fix(fix) = event {
                    fixes.push(fix);
                }
            });
        };
        for chunk in bytes.chunks(61) {
            splitter.push(chunk, &mut sink);
        }
        while splitter.unfinished_len() > 0 {
            splitter.give_up_unfinished(&mut sink);
        }
        tracker.finish(&mut |event| {
            if let GnssEvent::Fix(fix) = event {
                fixes.push(fix);
            }
        });
        let frames = oracle::frames(&bytes);
        ensure!(
            found == frames,
            "{name}: {} frames of {}",
            found.len(),
            frames.len()
        );
        compare(&name, &fixes, &valid(&oracle::epochs(&frames)))?;
    }
    Ok(())
}

pub(crate) fn owned(frame: &Frame<'_>) -> OracleFrame {
    match frame {
        Frame::Nmea { body } => OracleFrame::Nmea(String::from_utf8_lossy(body).into_owned()),
        Frame::Ubx { class, id, payload } => {
            let mut bytes = vec![0xb5, 0x62, *class, *id];
            bytes.extend(u16::try_from(payload.len()).unwrap_or(0).to_le_bytes());
            bytes.extend(*payload);
            let sums = sensor_drivers::ubx::checksum(&bytes[2..]);
            bytes.extend(sums);
            OracleFrame::Ubx(bytes)
        }
    }
}

pub(crate) fn traps(data: &Path) -> Outcome {
    let coldboot = replay(&data.join("gpsd/gp-320fw-2019-04-07-coldboot.log"), 128)?;
    ensure!(
        coldboot.fixes().len() == 1,
        "{} fixes",
        coldboot.fixes().len()
    );
    let haicom = replay(&data.join("gpsd/haicom-305N.log"), 128)?;
    ensure!(haicom.fixes().len() == 68, "{} fixes", haicom.fixes().len());
    ensure!(haicom.missing() == 6, "{} epochs without", haicom.missing());
    let rollover = oracle::receiver_output(&data.join("gpsd/april6_2019.log"));
    let not_before_utc_ms = sensor_drivers::ublox::NOT_BEFORE_UTC_MS;
    for (not_before_utc_ms, times) in [(0, 1), (not_before_utc_ms, 0)] {
        let mut splitter = StreamSplitter::new();
        let mut tracker = EpochTracker::new(EpochRules {
            not_before_utc_ms,
            ..RULES
        });
        let mut events = Vec::new();
        splitter.push(&rollover, &mut |frame| {
            tracker.hear(&frame, Some(0), &mut |event| events.push(event));
        });
        tracker.finish(&mut |event| events.push(event));
        let found = events
            .iter()
            .filter(|event| matches!(event, GnssEvent::Time(_)))
            .count();
        // The date "2208-1" is impossible; 22 August 1999 is a week-number rollover.
        ensure!(found == times, "{found} times after {not_before_utc_ms}");
        let fixes = events
            .iter()
            .filter(|event| matches!(event, GnssEvent::Fix(_)))
            .count();
        ensure!(fixes == 2, "{fixes} fixes");
    }
    Ok(())
}

pub(crate) fn truth(data: &Path) -> Outcome {
    for log in [
        "nmea-crate/nmea1.log",
        "gpsd/ublox-glo.log",
        "gpsd/neo-m8n.log",
    ] {
        let replayed = replay(&data.join(log), 128)?;
        let mut truth = Vec::new();
        for line in replayed.truth.lines() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            if line["chip"] == "ublox" {
                let position = line["lat_1e7"].as_i64().zip(line["lon_1e7"].as_i64());
                truth.push((
                    line["t_ms"].as_u64(),
                    line["epoch"].as_str().map(String::from),
                    position,
                ));
            }
        }
        let mut reported = Vec::new();
        for (t_ms, event) in &replayed.events {
            match event {
                GnssEvent::Fix(fix) => {
                    let position = (i64::from(fix.lat_1e7_deg), i64::from(fix.lon_1e7_deg));
                    reported.push((Some(*t_ms), Some(fix.epoch.to_string()), Some(position)));
                }
                GnssEvent::NoFix(_) => reported.push((Some(*t_ms), None, None)),
                GnssEvent::Time(_) => {}
            }
        }
        // The reason of a missing fix has no epoch; its stamp and its place must agree.
        for (_, label, position) in &mut truth {
            *label = label.take().filter(|_| position.is_some());
        }
        ensure!(
            truth == reported,
            "{log}: {} epochs, {} reported",
            truth.len(),
            reported.len()
        );
    }
    Ok(())
}

pub(crate) fn chunk_lengths(data: &Path) -> Outcome {
    let path = data.join("gpsd/neo-m8n.log");
    let whole = replay(&path, 128)?;
    ensure!(whole.fixes().len() == 23, "{} fixes", whole.fixes().len());
    for chunk_len in [8, 9, 31, 32, 127, 255, 256] {
        let other = replay(&path, chunk_len)?;
        ensure!(
            other.events == whole.events,
            "chunks of {chunk_len} bytes differ"
        );
    }
    Ok(())
}
