//! The two series that sizes are promised for: a cold box at 1 Hz, and a recorded track.
//!
//! Promises: the same seed gives the same series; the track is the recorded log's, converted with integers,
//! or there is none. Never: copies recorded data into the repository.
#![allow(dead_code, reason = "every test binary and the bench use a part of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test data, though not all of its users run under the standard harness"
)]

use std::path::PathBuf;

use firmware_shared::batch::SealParams;
use firmware_shared::id::{Epoch, Lane};
use firmware_shared::reading::{FixKind, Position, Reading, Score, Value};
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, Millimetres, MillimetresPerSecond,
};

/// Readings per batch that the promises are about.
pub(crate) const BATCH: usize = 60;
/// Three days of uptime.
const START_MS: u64 = 259_200_000;

/// A small generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Mean 0, variance 1.
    fn gauss(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Uniform jitter of `width` different milliseconds (5: +-2 ms) around second `index`.
    fn stamp_ms(&mut self, index: usize, width: u64) -> u64 {
        START_MS + index as u64 * 1000 + self.next() % width
    }
}

/// A cold box at 1 Hz: hysteresis cycles of 18 to 45 min, door events, 1 LSB rms of noise at 1/128 degC,
/// +-2 ms of jitter, one score in 500 above zero.
pub(crate) fn cold_box(seed: u64, count: usize) -> Vec<Reading> {
    let mut random = Random::new(seed);
    let (mut cycle_s, mut phase_s) = (random.between(18.0, 45.0) * 60.0, 0.0);
    let (mut door_s, mut door_lsb) = (0.0, 0.0);
    (0..count)
        .map(|index| {
            phase_s += 1.0;
            if phase_s >= cycle_s {
                (cycle_s, phase_s) = (random.between(18.0, 45.0) * 60.0, 0.0);
            }
            let phase = phase_s / cycle_s;
            let saw = if phase < 0.65 {
                phase / 0.65
            } else {
                (1.0 - phase) / 0.35
            };
            if random.unit() < 1.0 / 3600.0 {
                door_s = random.between(60.0, 300.0);
            }
            door_s -= 1.0;
            // An open door pulls the box towards 12 degC above; the cooler wins it back in ten minutes.
            door_lsb += if door_s > 0.0 {
                (1536.0 - door_lsb) / 400.0
            } else {
                -door_lsb / 600.0
            };
            let lsb = -2688.0 + 384.0 * saw + door_lsb + random.gauss();
            let score = if random.unit() < 0.002 {
                300 + (random.next() % 700) as u16
            } else {
                0
            };
            Reading {
                stamp_ms: random.stamp_ms(index, 5),
                sensor: 3,
                score: Score(score),
                value: Value::Temperature(Celsius128(lsb.round() as i32)),
            }
        })
        .collect()
}

/// Where the recorded data are, if they are there.
pub(crate) fn recorded(file: &str) -> Option<PathBuf> {
    let beside = || {
        Some(PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/data"
        )))
    };
    let root = std::env::var_os("FLEET_TEST_DATA")
        .map(PathBuf::from)
        .or_else(beside)?;
    Some(root.join(file)).filter(|path| path.is_file())
}

/// The recorded track, one position per valid fix of its RMC and GGA sentences.
///
/// The log tells no accuracy: it is taken as 5 m times HDOP. Stamps are the epochs that the log tells, to
/// the second.
pub(crate) fn recorded_track() -> Option<Vec<Reading>> {
    recorded_track_read_within(1)
}

/// The recorded track as a reader sees it that takes up to `width - 1` ms for an epoch.
pub(crate) fn recorded_track_read_within(width: u64) -> Option<Vec<Reading>> {
    let text = std::fs::read(recorded("gnss/nmea-crate/nmea1.log")?).expect("the log can be read");
    let text = String::from_utf8_lossy(&text);
    let mut random = Random::new(1);
    let mut track: Vec<Reading> = Vec::new();
    let mut rmc: Option<Vec<&str>> = None;
    for line in text.lines().filter(|line| line.starts_with('$')) {
        let fields: Vec<&str> = line.split('*').next().unwrap_or("").split(',').collect();
        match fields.first().and_then(|name| name.get(3..)) {
            Some("RMC") => rmc = Some(fields).filter(|f| f.len() > 8 && f[2] == "A"),
            Some("GGA") if fields.len() > 9 && fields[6] != "0" => {
                let Some(rmc) = rmc.take().filter(|rmc| rmc[1] == fields[1]) else {
                    continue;
                };
                let second = seconds_of_day(rmc[1]).expect("a time of day");
                track.push(fix(&rmc, &fields, random.stamp_ms(second, width)));
            }
            _ => {}
        }
    }
    Some(track)
}

/// A made-up drive for machines without the log: stops, turns, a wandering error of about a metre.
pub(crate) fn invented_track(seed: u64, count: usize) -> Vec<Reading> {
    let mut random = Random::new(seed);
    let (mut lat, mut lon, mut speed, mut course) =
        (550_000_000.0, 380_000_000.0, 0.0_f64, 90.0_f64);
    (0..count)
        .map(|index| {
            let wanted = if index % 300 < 60 { 0.0 } else { 15_000.0 };
            speed += (wanted - speed) / 12.0 + random.gauss() * 80.0;
            speed = speed.max(0.0);
            course = (course + random.gauss() * 1.5).rem_euclid(360.0);
            lat += speed * course.to_radians().cos() * 0.0898 + random.gauss() * 20.0;
            lon += speed * course.to_radians().sin() * 0.156 + random.gauss() * 35.0;
            let position = Position {
                lat: Degrees1e7(lat as i32),
                lon: Degrees1e7(lon as i32),
                height: Some(Millimetres(120_000 + (random.gauss() * 300.0) as i32)),
                speed: Some(MillimetresPerSecond(speed as i32)),
                course: Some(Course1e5((course * 1e5) as i32)),
                h_acc: Some(AccuracyMm(2_500)),
                dop: None,
                satellites: Some(11),
                fix: FixKind::FIX_3D,
            };
            let stamp_ms = random.stamp_ms(index, 5);
            Reading {
                stamp_ms,
                sensor: 7,
                score: Score(0),
                value: Value::Position(position),
            }
        })
        .collect()
}

fn fix(rmc: &[&str], gga: &[&str], stamp_ms: u64) -> Reading {
    let position = Position {
        lat: Degrees1e7(degrees_1e7(rmc[3], rmc[4]).expect("a latitude")),
        lon: Degrees1e7(degrees_1e7(rmc[5], rmc[6]).expect("a longitude")),
        height: decimal(gga[9], 3).map(|mm| Millimetres(mm as i32)),
        // A knot is 1852 m an hour; thousandths of a knot are exact integers.
        speed: decimal(rmc[7], 3)
            .map(|milliknots| MillimetresPerSecond(((milliknots * 1852 + 1800) / 3600) as i32)),
        course: decimal(rmc[8], 5).map(|course| Course1e5(course as i32)),
        h_acc: decimal(gga[8], 3).map(|hdop| AccuracyMm((hdop * 5) as u32)),
        dop: None,
        satellites: gga[7].parse().ok(),
        fix: FixKind::FIX_3D,
    };
    Reading {
        stamp_ms,
        sensor: 7,
        score: Score(0),
        value: Value::Position(position),
    }
}

/// A decimal number with this many digits behind the point, cut or filled up.
fn decimal(text: &str, digits: usize) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part
        .chars()
        .chain(std::iter::repeat('0'))
        .take(digits)
        .collect();
    format!("{whole}{part}").parse().ok()
}

/// `dddmm.mmmmmm` in 1e-7 degree, rounded to the nearest.
fn degrees_1e7(text: &str, hemisphere: &str) -> Option<i32> {
    let point = text.find('.')?;
    let (degrees, minutes) = text.split_at(point - 2);
    let microminutes = degrees.parse::<i64>().ok()? * 60_000_000 + decimal(minutes, 6)?;
    let units = ((microminutes + 3) / 6) as i32;
    Some(if matches!(hemisphere, "S" | "W") {
        -units
    } else {
        units
    })
}

fn seconds_of_day(text: &str) -> Option<usize> {
    let number: usize = text.get(..6)?.parse().ok()?;
    Some(number / 10_000 * 3600 + number / 100 % 100 * 60 + number % 100)
}

/// What stands in the header of a batch in the field: an epoch, a number in the hundred thousands, an
/// anchor ten minutes old.
pub(crate) fn params(first_seq: u64, first: &Reading) -> SealParams {
    let boottime_ms = first.stamp_ms - 600_123;
    let anchor = TimeAnchor {
        boottime_ms,
        utc_ms: 1_790_000_000_000 + boottime_ms as i64,
        error_ms: 150,
        source: ClockSource::Gnss,
    };
    SealParams {
        epoch: Epoch::from_random(0x5EED_0123_4567_89AB),
        lane: Lane::Telemetry,
        first_seq: 100_000 + first_seq,
        anchor: Some(anchor),
    }
}
