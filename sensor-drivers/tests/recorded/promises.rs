//! What the driver promises about recorded logs.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use sensor_drivers::gnss::epoch::{EpochRules, EpochTracker};
use sensor_drivers::gnss::stream::{Frame, StreamSplitter};
use sensor_drivers::gnss::{Fix, GnssEvent};
use sensor_drivers::sim::truth::TruthFile;
use sensor_drivers::sim::{Scenario, SimBus, SimBusError, SimChip, SimWorld};
use sensor_drivers::ublox::{DrainStats, Ublox, UbloxConfig, UbloxMode};

use super::oracle::{self, OracleFix, OracleFrame};

type Outcome = Result<(), Failed>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition { return Err(format!($($message)+).into()); }
    };
}

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
    let SimWorld { bus, clock } = Scenario::load(&scenario, 5000)?;
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

fn logs(data: &Path) -> Result<Vec<PathBuf>, Failed> {
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

const RULES: EpochRules = EpochRules {
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

fn owned(frame: &Frame<'_>) -> OracleFrame {
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

/// A receiver that hands out prepared bytes through DDC registers, in bursts, with false counts.
#[derive(Debug)]
struct Bursts {
    stream: Vec<u8>,
    at: usize,
    state: u64,
    /// Bytes that may be read before the receiver seems empty.
    burst_left: usize,
    pointer: u8,
    counts_read: u32,
}

impl Bursts {
    fn random(&mut self, below: usize) -> usize {
        self.state = next_random(self.state);
        (self.state >> 33) as usize % below
    }
}

fn next_random(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

impl SimChip for Bursts {
    fn write(&mut self, _now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        if let [register] = bytes {
            self.pointer = *register;
        }
        Ok(())
    }

    fn read(
        &mut self,
        _now_ms: u64,
        into: &mut [u8],
        _truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        if self.pointer == 0xfd {
            self.counts_read += 1;
            let left = self.stream.len() - self.at;
            if self.burst_left == 0 {
                let burst = 1 + self.random(700);
                self.burst_left = burst.min(left);
            }
            let seems_empty = self.counts_read.is_multiple_of(3);
            let count = match self.random(12) {
                _ if seems_empty => 0,
                0 => 13_666,
                1 => self.burst_left | 0x8000,
                // Too few, as when more arrives while the count is read.
                2 => self.burst_left.div_ceil(2),
                _ => self.burst_left,
            };
            into.copy_from_slice(&u16::try_from(count).unwrap_or(0).to_be_bytes());
        } else {
            let len = into.len().min(self.burst_left);
            into.fill(0xff);
            into[..len].copy_from_slice(&self.stream[self.at..self.at + len]);
            self.at += len;
            self.burst_left -= len;
        }
        self.pointer = 0xff;
        Ok(())
    }
}

/// Filler bursts between frames, lost bytes, flipped bits and noise, seeded.
fn damage(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = next_random(seed ^ 0x9e37_79b9);
    let mut random = |below: usize| {
        state = next_random(state);
        (state >> 33) as usize % below
    };
    let mut damaged = Vec::new();
    let mut since_frame = 0;
    for byte in bytes {
        if matches!(byte, b'$' | 0xb5) && since_frame > 40 && random(4) == 0 {
            let filler = [1, 3, 40, 127, 200][random(5)];
            damaged.resize(damaged.len() + filler, 0xff);
            since_frame = 0;
        }
        since_frame += 1;
        match random(3000) {
            0 => {}
            1 => damaged.push(byte ^ (1 << random(8))),
            2 => damaged.extend([*byte, 0xb5, 0x62, 1, 7, 90, 0]),
            3 => damaged.extend(b"$GPRMC,"),
            _ => damaged.push(*byte),
        }
    }
    damaged
}

const SEEDS: u64 = 300;

pub(crate) fn damaged(data: &Path) -> Outcome {
    let mut pool = Vec::new();
    for path in logs(data)? {
        pool.push(oracle::receiver_output(&path));
    }
    let (mut expected_total, mut damaged_total) = (0, 0);
    for seed in 0..SEEDS {
        let log = &pool[usize::try_from(seed)? % pool.len()];
        let start = usize::try_from(next_random(seed) >> 33)? % log.len();
        let piece = &log[start..log.len().min(start + 12_000)];
        let stream = damage(piece, seed);
        let expected = oracle::frames(&stream);
        let found = through_ddc(stream.clone(), seed);
        ensure!(
            found == expected,
            "seed {seed}: {} frames of {}, first difference {:?}",
            found.len(),
            expected.len(),
            found
                .iter()
                .zip(&expected)
                .find(|(found, expected)| found != expected)
        );
        expected_total += expected.len();
        damaged_total += oracle::frames(piece).len().saturating_sub(expected.len());
    }
    ensure!(
        expected_total > 10_000,
        "only {expected_total} frames in all runs"
    );
    ensure!(
        damaged_total > 100,
        "only {damaged_total} frames were damaged"
    );
    Ok(())
}

/// The bytes as the driver's transactions deliver them, split into frames.
fn through_ddc(stream: Vec<u8>, seed: u64) -> Vec<OracleFrame> {
    let bus = SimBus::new(0, TruthFile::none());
    let stream_len = stream.len();
    let chip = Bursts {
        stream,
        at: 0,
        state: seed,
        burst_left: 0,
        pointer: 0xff,
        counts_read: 0,
    };
    bus.attach(0x42, Box::new(chip), Vec::new());
    let chunk_len = 8 + usize::try_from(next_random(seed ^ 77) >> 33).unwrap_or(0) % 249;
    let config = UbloxConfig {
        chunk_len,
        ..UbloxConfig::default()
    };
    let mut tap = Tap {
        bus,
        delivered: Vec::new(),
    };
    let mut frames_counted = 0;
    {
        let mut driver = Ublox::with_config(&mut tap, 0x42, config).unwrap();
        driver.start(0).unwrap();
        let mut now_ms = 0;
        let mut idle = 0;
        while idle < 60 {
            now_ms += 500;
            let stats = driver.poll(now_ms, &mut |_| {}).unwrap();
            frames_counted += stats.nmea + stats.ubx;
            idle = if stats.bytes == 0 { idle + 1 } else { 0 };
        }
    }
    let mut splitter = StreamSplitter::new();
    let mut frames = Vec::new();
    for chunk in &tap.delivered {
        splitter.push(chunk, &mut |frame| frames.push(owned(&frame)));
    }
    while splitter.unfinished_len() > 0 {
        splitter.give_up_unfinished(&mut |frame| frames.push(owned(&frame)));
    }
    let bytes: usize = tap.delivered.iter().map(Vec::len).sum();
    assert!(
        bytes >= stream_len,
        "{bytes} of {stream_len} bytes were read"
    );
    let unfinished_in_driver = frames.len().abs_diff(frames_counted as usize);
    assert_eq!(
        unfinished_in_driver, 0,
        "the driver's own count, seed {seed}"
    );
    frames
}

/// Listens to what the stream register delivers.
struct Tap {
    bus: SimBus,
    delivered: Vec<Vec<u8>>,
}

impl embedded_hal::i2c::ErrorType for Tap {
    type Error = SimBusError;
}

impl embedded_hal::i2c::I2c for Tap {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [embedded_hal::i2c::Operation<'_>],
    ) -> Result<(), Self::Error> {
        self.bus.transaction(address, operations)?;
        if let [embedded_hal::i2c::Operation::Read(bytes)] = operations {
            self.delivered.push(bytes.to_vec());
        }
        Ok(())
    }
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
