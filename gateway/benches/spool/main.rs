//! What the spool costs the card and how fast it is, beside what others take on the same records.
//!
//! `cargo bench -p gateway --bench spool` prints a table and writes `bench/spool.json` below the target
//! folder: one flat object of numbers. Bytes and flushes that reach a device are counted by the kernel on a
//! loop-mounted ext4, which needs root; without it those keys are left out and the output says so. Everything
//! else happens in `SPOOL_BENCH_DIR`, by default below the target folder; `SPOOL_BENCH_SCALE=0.1` makes the
//! large backlogs a tenth of their size. Run as a test it measures nothing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

mod backlog;
mod device;
mod drain;
mod engines;
mod readings;
#[path = "../../../firmware-shared/tests/series/mod.rs"]
mod series;
mod stall;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Key and number.
pub(crate) type Report = BTreeMap<String, f64>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--child") {
        return backlog::child(&args[2..]);
    }
    if !args.iter().any(|argument| argument == "--bench") {
        println!("measures nothing unless run by cargo bench");
        return;
    }
    let folder = work_folder();
    let mut report = Report::new();
    readings::measure(&folder, &mut report);
    stall::measure(&folder, &mut report);
    drain::measure(&folder, &mut report);
    backlog::measure(&folder, &mut report);
    std::fs::remove_dir_all(&folder).ok();
    let path = target_folder().join("bench/spool.json");
    write_report(&path, &report);
    for (key, number) in &report {
        println!("{key:<44} {number:>14.2}");
    }
    println!("written: {}", path.display());
}

/// How large the large backlogs are, against the whole.
pub(crate) fn scale() -> f64 {
    std::env::var("SPOOL_BENCH_SCALE").map_or(1.0, |text| text.parse().unwrap())
}

fn work_folder() -> PathBuf {
    let asked = std::env::var_os("SPOOL_BENCH_DIR").map(PathBuf::from);
    let folder = asked.unwrap_or_else(target_folder).join("spool-bench");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn target_folder() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from)
}

/// One flat JSON object of numbers.
fn write_report(path: &PathBuf, report: &Report) {
    let rounded = |number: &f64| (number * 1e4).round() / 1e4;
    let report: BTreeMap<_, _> = report.iter().map(|(key, n)| (key, rounded(n))).collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
}

/// How long something takes, s.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let made = work();
    (start.elapsed().as_secs_f64(), made)
}
