//! The fleet desk in figures: `cargo bench -p central --bench desk` writes `target/bench/desk.json`.
//!
//! Real processes on loopback. Each part is a file beside this one and adds its keys; `FLEET_BENCH_PARTS=webhook` runs
//! some of them and keeps the other keys of the file. A part that fails says so and leaves its keys out. Run as a test
//! it measures nothing.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench stops at the first surprise, and reads the clock"
)]

#[path = "../../../tests/src/browser.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the kit of the tests, of which a part is enough"
)]
mod browser;
mod fleet;
#[path = "../../../tests/src/link.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the kit of the tests, of which a part is enough"
)]
mod link;
mod page;
#[path = "../../../tests/src/process.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the kit of the tests, of which a part is enough"
)]
mod process;
#[path = "../../../tests/src/wait.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the kit of the tests, of which a part is enough"
)]
mod wait;
#[path = "../../../tests/src/web.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the kit of the tests, of which a part is enough"
)]
mod web;
mod webhook;

use std::collections::BTreeMap;
use std::path::Path;

/// Figures by their key.
type Report = BTreeMap<String, f64>;
type Part = fn(&mut Report) -> anyhow::Result<()>;

const PARTS: [(&str, Part); 2] = [
    ("webhook", webhook::alert_to_webhook),
    ("page", page::measure),
];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("measures nothing unless run by cargo bench");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/desk.json");
    let wanted = std::env::var("FLEET_BENCH_PARTS").unwrap_or_default();
    let mut report = Report::new();
    if !wanted.is_empty() {
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        report = serde_json::from_str(&before).unwrap_or_default();
    }
    for (name, part) in PARTS {
        if !wanted.is_empty() && !wanted.split(',').any(|part| part == name) {
            continue;
        }
        let mut fresh = Report::new();
        match part(&mut fresh) {
            Ok(()) => report.extend(fresh.clone()),
            Err(error) => println!("{name}: not measured: {error:#}"),
        }
        for (key, value) in fresh {
            println!("{key:<40} {value:>14.3}");
        }
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    println!("written: {}", path.display());
}

/// The value below which so many of a thousand are.
fn permille(values: &mut [f64], permille: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * permille / 1000).min(values.len() - 1)]
}
