//! Damaged streams through the DDC registers: filler bursts, false counts, short reads, lost and
//! flipped bytes, from seeds.

use std::path::Path;

use libtest_mimic::Failed;
use sensor_drivers::gnss::stream::StreamSplitter;
use sensor_drivers::sim::truth::TruthFile;
use sensor_drivers::sim::{SimBus, SimBusError, SimChip};
use sensor_drivers::ublox::{Ublox, UbloxConfig};
use sensor_drivers::{BusClass, SensorError};

use super::oracle::{self, OracleFrame};
use super::promises::{Outcome, ensure, logs, owned};

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
        // A read that ends too early is reported as such and nothing of it arrives.
        if self.random(50) == 0 {
            return Err(SimBusError::Short);
        }
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

/// Runs in the ordinary suite. `FLEET_DDC_RUNS` asks for more.
const RUNS: u64 = 10_000;

fn runs() -> Result<u64, Failed> {
    match std::env::var("FLEET_DDC_RUNS") {
        Ok(text) => match text.parse() {
            Ok(runs) if runs >= RUNS => Ok(runs),
            _ => Err(format!(
                "FLEET_DDC_RUNS = {text} is not allowed: use a number from {RUNS} on"
            )
            .into()),
        },
        Err(_) => Ok(RUNS),
    }
}

pub(crate) fn damaged(data: &Path) -> Outcome {
    let mut pool = Vec::new();
    for path in logs(data)? {
        pool.push(oracle::receiver_output(&path));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = runs()?;
    let share = |first: usize| {
        let pool = &pool;
        move || {
            let (mut expected, mut damaged) = (0, 0);
            for seed in (first as u64..runs).step_by(threads) {
                let (intact, lost) = run(pool, seed)?;
                expected += intact;
                damaged += lost;
            }
            Ok::<_, String>((expected, damaged))
        }
    };
    let totals = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|first| scope.spawn(share(first)))
            .collect();
        let joined = spawned.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.map_err(|_| "a run panicked".to_string())?)
            .collect::<Result<Vec<_>, String>>()
    })?;
    let expected_total: usize = totals.iter().map(|(expected, _)| expected).sum();
    let damaged_total: usize = totals.iter().map(|(_, damaged)| damaged).sum();
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

/// How many frames were intact, and how many the damage has cost.
fn run(pool: &[Vec<u8>], seed: u64) -> Result<(usize, usize), String> {
    let log = &pool[seed as usize % pool.len()];
    let start = (next_random(seed) >> 33) as usize % log.len();
    let piece = &log[start..log.len().min(start + 12_000)];
    let stream = damage(piece, seed);
    let expected = oracle::frames(&stream);
    let found = through_ddc(stream, seed);
    if found != expected {
        let differs = found
            .iter()
            .zip(&expected)
            .find(|(found, expected)| found != expected);
        let (found, expected) = (found.len(), expected.len());
        return Err(format!(
            "seed {seed}: {found} frames of {expected}, first difference {differs:?}"
        ));
    }
    let intact = oracle::frames(piece).len();
    Ok((expected.len(), intact.saturating_sub(expected.len())))
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
        while driver.start(0).is_err() {}
        let mut now_ms = 0;
        let mut idle = 0;
        while idle < 60 {
            now_ms += 500;
            // What a poll moved before it failed shows in the driver's own count.
            match driver.poll(now_ms, &mut |_| {}) {
                Ok(stats) => idle = if stats.bytes == 0 { idle + 1 } else { 0 },
                Err(SensorError::Bus { class, .. }) => {
                    assert_eq!(class, BusClass::StretchOrLength);
                }
                Err(other) => panic!("seed {seed}: {other}"),
            }
            let counts = driver.counts();
            frames_counted = counts.nmea + counts.ubx;
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
