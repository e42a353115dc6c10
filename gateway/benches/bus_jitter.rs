//! One bus hangs for a minute: how punctual the others stay, on real threads in real time.
//!
//! Three buses with eight thermometers. A transfer on the one that hangs blocks its thread for a second, as a
//! transfer of i2c-bcm2835 does. The lateness of a reading is its stamp minus the grid of its period. Writes
//! `target/bench/bus_jitter.json`; takes 80 seconds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops when its world fails"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::bounded;
use firmware_shared::reading::Value;
use gateway::clock::{StampClock, boottime_ms};
use gateway::config::Config;
use gateway::sample::{BusHandle, BusWorker, SensorBoard, Workplace};
use gateway::sequencer::{Sampled, queue};
use sensor_drivers::sim::Scenario;

const HANG_FROM_MS: u64 = 10_000;
const HANG_TO_MS: u64 = 70_000;
const END_MS: u64 = 78_000;
const PERIOD_MS: u64 = 500;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "[device]\nid = \"bench\"\n[broker]\nhost = \"127.0.0.1\"\n".to_owned();
    for bus in 0..3 {
        let mut chips = String::new();
        text.push_str(&format!(
            "[[bus]]\nname = \"b{bus}\"\npath = \"sim:{bus}.toml\"\n"
        ));
        for (kind, address) in [("tmp117", 0x48), ("tmp117", 0x49), ("mcp9808", 0x18)] {
            text.push_str(&format!(
                "[[bus.sensor]]\nname = \"b{bus}-{address}\"\ndriver = \"{kind}\"\naddress = {address}\n\
                 period_ms = {PERIOD_MS}\n"
            ));
            chips.push_str(&format!(
                "[[chip]]\nkind = \"{kind}\"\naddress = {address}\nbase_deg_c = 4.0\n"
            ));
            if bus == 0 && address == 0x48 {
                chips.push_str("event = [{ kind = \"hang\", at_s = 10.0, for_s = 60.0 }]\n");
            }
        }
        std::fs::write(folder.path().join(format!("{bus}.toml")), chips).unwrap();
    }
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    let stamps = run(&config);
    report(&stamps);
}

/// The stamps of every sensor's values since the start.
fn run(config: &Config) -> BTreeMap<u8, Vec<u64>> {
    let begin_ms = boottime_ms();
    let (issuer, intake) = queue(4096);
    let board = SensorBoard::new(config.sensors().count());
    let (stop, stopped) = bounded(0);
    let mut first = 0;
    let mut threads = Vec::new();
    for (number, bus) in config.buses.iter().enumerate() {
        let gateway::config::BusPath::Scenario(path) = &bus.path else {
            panic!()
        };
        let world = Scenario::load(path, begin_ms).unwrap();
        let workplace = Workplace {
            clock: StampClock::World(world.clock),
            issuer: issuer.clone(),
            board: board.clone(),
        };
        let handle = move || BusHandle::Sim(world.bus.clone(), Duration::from_secs(1));
        let worker = BusWorker::new(number as u8, &bus.sensors, first, handle, workplace);
        first += bus.sensors.len();
        let stopped = stopped.clone();
        threads.push(std::thread::spawn(move || worker.run(&stopped)));
    }
    let mut stamps: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    loop {
        let Sampled::Reading { reading, .. } = intake.receiver().recv().unwrap() else {
            continue;
        };
        let at_ms = reading.stamp_ms - begin_ms;
        if !matches!(reading.value, Value::Fault(_)) {
            stamps.entry(reading.sensor).or_default().push(at_ms);
        }
        if at_ms >= END_MS {
            break;
        }
    }
    drop(stop);
    for thread in threads {
        thread.join().unwrap();
    }
    stamps
}

/// How late the readings of a sensor are within a span, against the best grid of its period.
fn lateness(stamps: &[u64], from_ms: u64, to_ms: u64) -> Vec<u64> {
    let inside: Vec<u64> = stamps
        .iter()
        .copied()
        .filter(|at| (from_ms..to_ms).contains(at))
        .collect();
    let late = |grid: u64| {
        inside
            .iter()
            .map(move |at| (at + PERIOD_MS - grid) % PERIOD_MS)
    };
    let grid = (0..PERIOD_MS).min_by_key(|grid| late(*grid).sum::<u64>());
    late(grid.unwrap()).collect()
}

fn quantile(mut values: Vec<u64>, part: f64) -> u64 {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * part).ceil() as usize]
}

fn report(stamps: &BTreeMap<u8, Vec<u64>>) {
    let others = || stamps.iter().filter(|(sensor, _)| **sensor >= 3);
    let all = |from_ms, to_ms| -> Vec<u64> {
        others()
            .flat_map(|(_, stamps)| lateness(stamps, from_ms, to_ms))
            .collect()
    };
    let (quiet, hung) = (all(1000, HANG_FROM_MS), all(HANG_FROM_MS, HANG_TO_MS));
    let expected = (HANG_TO_MS - HANG_FROM_MS) / PERIOD_MS * others().count() as u64;
    let back = |sensor: u8| {
        let first = stamps[&sensor].iter().find(|at| **at >= HANG_TO_MS);
        first.map_or(f64::NAN, |at| (at - HANG_TO_MS) as f64)
    };
    let figures = [
        ("bus_jitter_ms_p99", quantile(hung.clone(), 0.99) as f64),
        ("bus_jitter_ms_max", quantile(hung.clone(), 1.0) as f64),
        ("bus_jitter_ms_p99_before", quantile(quiet, 0.99) as f64),
        ("bus_rate_kept", hung.len() as f64 / expected as f64),
        ("bus_back_ms", (0..3).map(back).fold(0.0, f64::max)),
    ];
    for (name, value) in figures {
        println!("{name:26} {value}");
    }
    let object: serde_json::Map<String, serde_json::Value> = figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    let folder = target_folder().join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    let text = serde_json::to_string_pretty(&object).unwrap();
    std::fs::write(folder.join("bus_jitter.json"), text + "\n").unwrap();
}

fn target_folder() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from)
}
