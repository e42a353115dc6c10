//! Delivery in figures, and Mosquitto's bridge on the same outage in the same run.
//!
//! `cargo bench -p tests --bench delivery` prints each figure as it is known and writes `target/bench/delivery.json`.
//! It takes some half an hour, most of it for the backlog; `FLEET_BENCH_READINGS` makes that smaller,
//! `FLEET_BENCH_PARTS` (bridge, drain, idle, wire, storm, backlog, comma between) measures some of it.
//! Real processes in their default configuration, sealing time included; the simulated chips run at the speed of the
//! world while latencies are measured, so that a stamp is CLOCK_BOOTTIME of this machine. A part whose server is
//! missing, or that fails, says so and leaves its keys out. Run as a test it measures nothing.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

mod bridge;
mod drain;
mod storm;
mod vehicle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::bottleneck::Quality;
use tests::process::Program;

/// Figures by their key.
type Report = BTreeMap<String, f64>;
type Part = fn(&mut Report) -> anyhow::Result<()>;

/// The slow link: both directions, both connections of a gateway in one queue.
const SLOW: Quality = Quality {
    bytes_per_s: 32_000,
    round_trip: Duration::from_millis(200),
    fifo_bytes: 64_000,
};

fn gateway() -> Program {
    Program::new(env!("CARGO_BIN_EXE_it-gateway"))
}

fn central() -> Program {
    Program::new(env!("CARGO_BIN_EXE_it-central"))
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("measures nothing unless run by cargo bench");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/delivery.json");
    let wanted = std::env::var("FLEET_BENCH_PARTS").unwrap_or_default();
    // A part that is measured alone joins what was measured before.
    let mut report = match std::fs::read(&path) {
        Ok(bytes) if !wanted.is_empty() => serde_json::from_slice(&bytes).unwrap(),
        _ => Report::new(),
    };
    let parts: [(&str, Part); 6] = [
        ("bridge", bridge::outage),
        ("drain", drain::into_both),
        ("idle", vehicle::idle),
        ("wire", vehicle::wire),
        ("storm", storm::reconnect),
        ("backlog", vehicle::backlog),
    ];
    for (name, part) in parts {
        if !wanted.is_empty() && !wanted.split(',').any(|part| part == name) {
            continue;
        }
        let mut figures = Report::new();
        if let Err(error) = part(&mut figures) {
            println!("{name}: not measured: {error:#}");
        }
        for (key, value) in &figures {
            println!("{key:<50} {value:>14.3}");
        }
        report.extend(figures);
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    println!("written: {}", path.display());
}

/// A program of this machine.
fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| anyhow::anyhow!("{program} is not installed"))
}

/// The value below which so many of a hundred are.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
