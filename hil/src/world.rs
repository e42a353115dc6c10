//! The sensors of the emulated board: the simulated chips of `sensor-drivers`, in real time.
//!
//! Promises: what the chips hand to the guest stands in the truth file before the guest has it; the
//! temperature leaps when the harness says so and at no other time. Never: a look at what the gateway made
//! of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;
use sensor_drivers::sim::profile::{Disturbance, Profile};
use sensor_drivers::sim::tmp117::SimTmp117;
use sensor_drivers::sim::truth::TruthFile;
use sensor_drivers::sim::{Scenario, SimBus, SimBusError, SimChip, SimClock};
use serde::Deserialize;

use crate::clock::Stopwatch;

/// Address of the thermometer.
pub const THERMOMETER: u8 = 0x48;
/// Address of the receiver.
pub const RECEIVER: u8 = 0x42;
/// The temperature before the leap.
pub const CALM_DEG_C: f64 = 4.0;
/// The temperature behind the leap.
pub const HOT_DEG_C: f64 = 45.0;

/// A door of the profile that opens long after any scenario: the leap goes behind it.
const DOOR_AT_S: f64 = 1.0e6;
/// Behind so many seconds an open door has its full effect (many time constants).
const LEAP_MS: u64 = 1_100_000_000;

/// The world of one scenario.
#[derive(Debug)]
pub struct World {
    bus: SimBus,
    clock: SimClock,
    since: Stopwatch,
    leap_ms: Arc<AtomicU64>,
    silent: Arc<AtomicBool>,
    truth_file: PathBuf,
}

/// A thermometer whose own time the harness can push forward: the profile is a function of time.
#[derive(Debug)]
struct Leaping {
    chip: SimTmp117,
    leap_ms: Arc<AtomicU64>,
    silent: Arc<AtomicBool>,
}

impl Leaping {
    /// The chip's own time; no acknowledge while it is silent.
    fn time_ms(&self, now_ms: u64) -> Result<u64, SimBusError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(SimBusError::NoAck);
        }
        Ok(now_ms + self.leap_ms.load(Ordering::Relaxed))
    }
}

impl SimChip for Leaping {
    fn write(&mut self, now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.chip.write(self.time_ms(now_ms)?, bytes)
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        self.chip.read(self.time_ms(now_ms)?, into, truth)
    }
}

impl World {
    /// A thermometer and a receiver on a drive, with their truth file in `folder`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(folder: &Path, seed: u64, cold_start_s: u32) -> anyhow::Result<Self> {
        let file = folder.join("scenario.toml");
        let scenario = format!(
            "speed_x = 1.0\nseed = {seed}\ntruth_file = \"truth.jsonl\"\n\n[[chip]]\nkind = \"ublox\"\n\
             address = {RECEIVER}\n[chip.route]\nstart_lat_deg = 52.52\nstart_lon_deg = 13.40\n\
             cold_start_s = {cold_start_s}\n"
        );
        std::fs::write(&file, scenario).with_context(|| format!("write {}", file.display()))?;
        let since = Stopwatch::start();
        let world = Scenario::load(&file, 0)?;
        let (leap_ms, silent) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let chip = SimTmp117::new(THERMOMETER, profile(seed), 0, 0, Vec::new());
        let chip = Leaping {
            chip,
            leap_ms: Arc::clone(&leap_ms),
            silent: Arc::clone(&silent),
        };
        world.bus.attach(THERMOMETER, Box::new(chip), Vec::new());
        let truth_file = folder.join("truth.jsonl");
        Ok(Self {
            bus: world.bus,
            clock: world.clock,
            since,
            leap_ms,
            silent,
            truth_file,
        })
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> SimBus {
        self.bus.clone()
    }

    /// When the world began.
    #[must_use]
    pub fn since(&self) -> Stopwatch {
        self.since
    }

    /// Sets the bus to the world's time, given the milliseconds since it began.
    pub fn tick(&self) -> impl Fn(u64) + Send + use<> {
        let (bus, clock) = (self.bus.clone(), self.clock);
        move |elapsed_ms| bus.advance_to(clock.virtual_ms(elapsed_ms))
    }

    /// From the next conversion on, it is [`HOT_DEG_C`].
    pub fn heat(&self) {
        self.leap_ms.store(LEAP_MS, Ordering::Relaxed);
    }

    /// Whether the thermometer keeps silent: it acknowledges nothing.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// What the chips have handed out so far.
    ///
    /// # Errors
    /// When the truth file cannot be read.
    pub fn truth(&self) -> anyhow::Result<Truth> {
        Truth::read(&self.truth_file)
    }
}

fn profile(seed: u64) -> Profile {
    Profile {
        base_deg_c: CALM_DEG_C,
        amplitude_deg_c: 0.0,
        period_s: 1800.0,
        // Enough noise to tell neighbours apart when the order is compared.
        noise_lsb_rms: 6.0,
        disturbances: vec![Disturbance::Door {
            at_s: DOOR_AT_S,
            for_s: 1.0e6,
            rise_deg_c: HOT_DEG_C - CALM_DEG_C,
        }],
        frozen: Vec::new(),
        stalled: Vec::new(),
        seed,
        stream: u64::from(THERMOMETER),
    }
}

/// What the chips handed out, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Codes of the thermometer.
    pub temperatures: Vec<i64>,
    /// Latitude and longitude of the fixes that the receiver vouched for, 1e-7 degree.
    pub fixes: Vec<(i64, i64)>,
}

#[derive(Deserialize)]
struct Line {
    raw: Option<i64>,
    valid: Option<bool>,
    lat_1e7: Option<i64>,
    lon_1e7: Option<i64>,
}

impl Truth {
    /// Reads a truth file.
    ///
    /// # Errors
    /// When it cannot be read or a line is not what the chips write.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut truth = Self::default();
        for line in text.lines() {
            let found: Line =
                serde_json::from_str(line).with_context(|| format!("truth file: {line}"))?;
            truth.temperatures.extend(found.raw);
            if found.valid == Some(true) {
                truth.fixes.push(
                    found
                        .lat_1e7
                        .zip(found.lon_1e7)
                        .context("a valid fix without a place")?,
                );
            }
        }
        Ok(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_code(world: &World, at_ms: u64) -> i16 {
        world.tick()(at_ms);
        let mut bytes = [0; 2];
        world.bus().message_write(THERMOMETER, &[0]).unwrap();
        world.bus().message_read(THERMOMETER, &mut bytes).unwrap();
        i16::from_be_bytes(bytes)
    }

    #[test]
    fn the_temperature_leaps_when_it_is_told_to_and_the_truth_has_both() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::begin(folder.path(), 1, 0).unwrap();
        let calm = read_code(&world, 2000);
        assert!((4 * 128 - 40..4 * 128 + 40).contains(&calm), "{calm}");
        world.heat();
        let hot = read_code(&world, 4000);
        assert!((45 * 128 - 40..45 * 128 + 40).contains(&hot), "{hot}");
        let truth = world.truth().unwrap();
        assert_eq!(truth.temperatures, [i64::from(calm), i64::from(hot)]);
    }

    #[test]
    fn a_silent_thermometer_acknowledges_nothing_and_the_receiver_does() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::begin(folder.path(), 1, 0).unwrap();
        world.silence(true);
        assert_eq!(
            world.bus().message_write(THERMOMETER, &[0]),
            Err(SimBusError::NoAck)
        );
        assert_eq!(world.bus().message_write(RECEIVER, &[0xff]), Ok(()));
        world.silence(false);
        assert_eq!(world.bus().message_write(THERMOMETER, &[0]), Ok(()));
    }

    #[test]
    fn a_world_of_another_seed_has_other_noise() {
        let codes = |seed| {
            let folder = tempfile::tempdir().unwrap();
            let world = World::begin(folder.path(), seed, 0).unwrap();
            (2..8)
                .map(|s| read_code(&world, s * 1000))
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(1), codes(1));
        assert_ne!(codes(1), codes(2));
    }

    #[test]
    fn only_fixes_that_the_receiver_vouched_for_are_expected() {
        let text = "{\"scenario\":1}\n{\"t_ms\":1,\"raw\":-5}\n\
                    {\"valid\":false,\"lat_1e7\":null,\"lon_1e7\":null}\n\
                    {\"valid\":true,\"lat_1e7\":1,\"lon_1e7\":2}\n";
        let truth = Truth::parse(text).unwrap();
        assert_eq!(
            truth,
            Truth {
                temperatures: vec![-5],
                fixes: vec![(1, 2)]
            }
        );
        assert!(Truth::parse("{\"valid\":true,\"lat_1e7\":1,\"lon_1e7\":null}").is_err());
        assert!(Truth::parse("torn").is_err());
    }
}
