//! Figures of the ARM binary.
//!
//! Instructions: with `-icount shift=0` the guest's clock goes one nanosecond ahead with each instruction, so
//! that the processor time that Linux books to the gateway's threads is their instructions, those of the
//! kernel on their behalf included. What is divided is everything that the gateway does while it takes one
//! temperature and one position a second, delivers both and looks into the receiver's buffer; start and
//! stop are left out.
//!
//! Promises: the binary is the one that is shipped. Never: a time of the emulator called a time of a board.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::board::Board;
use crate::clock::{Stopwatch, wait_for};
use crate::oracle::Life;
use crate::rig::{Bench, Measured, PATIENCE, Rig, Setting};
use crate::world::Truth;

/// Readings before the count begins: identification and connection are over.
const SETTLED: usize = 10;
/// Readings that are counted.
const COUNTED: usize = 120;
const BACKLOG_MIB: u64 = 1024;
const DISK_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// With a backlog of a gigabyte, in the emulator.
const START_MS_MAX: u64 = 10_000;

/// Runs both measurements; `fill` makes a spool of so many MiB in a folder.
///
/// # Errors
/// When a promise does not hold.
pub fn run(
    bench: &Bench<'_>,
    fill: &dyn Fn(&Path, u64) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let mut all = instructions(bench).context("instructions")?;
    // A world and a centre of its own: what the first handed out would pass for its first reading.
    let folder = bench.folder.join("backlog");
    std::fs::create_dir_all(&folder)?;
    let bench = Bench {
        folder: &folder,
        ..*bench
    };
    let start = backlog(&bench, fill).context("a spool of 1 GB")?;
    all.sentences.extend(start.sentences);
    all.values.extend(start.values);
    Ok(all)
}

fn instructions(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    let setting = Setting {
        extra: &["-icount", "shift=0"],
        ..Setting::default()
    };
    let mut rig = Rig::prepare_with(bench, &setting)?;
    let (mut board, _) = rig.power_on()?;
    let settled = after(&rig, SETTLED)?;
    let before = spent(&mut board)?;
    let counted = after(&rig, settled + COUNTED)?;
    let instructions = spent(&mut board)?.saturating_sub(before);
    let each = instructions / (counted - settled) as u64;
    rig.check_memory(&mut board)?;
    rig.stop(board)?;
    rig.judge(&[Life::stopped(&Truth::default(), &rig.world.truth()?)])?;
    rig.values.insert("guest_instructions_per_reading", each);
    rig.note(format!(
        "{each} instructions a reading (-icount, user and kernel, {} readings)",
        counted - settled
    ));
    Ok(rig.into_measured())
}

/// Waits until so many readings are stored; how many there are.
fn after(rig: &Rig<'_>, count: usize) -> anyhow::Result<usize> {
    wait_for("stored readings", PATIENCE, || {
        let stored = rig.centre.stored()?;
        let readings = stored.iter().map(|epoch| epoch.readings()).sum::<usize>();
        Ok((readings >= count).then_some(readings))
    })
}

/// Instructions of all threads of the gateway so far.
fn spent(board: &mut Board) -> anyhow::Result<u64> {
    let line = board.ask("spent", "spent", PATIENCE)?;
    let times: Vec<u64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("the guest's processor times are {line:?}"))?;
    ensure!(!times.is_empty(), "the guest has no processor times");
    Ok(times.into_iter().sum())
}

fn backlog(
    bench: &Bench<'_>,
    fill: &dyn Fn(&Path, u64) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let content = bench.folder.join("content");
    fill(&content.join("spool"), BACKLOG_MIB)?;
    let setting = Setting {
        disk_bytes: DISK_BYTES,
        content: Some(content.clone()),
        spool_keys: "telemetry_max_bytes = 4294967296\n".to_owned(),
        ..Setting::default()
    };
    let mut rig = Rig::prepare_with(bench, &setting)?;
    std::fs::remove_dir_all(&content)?;
    // A life without a link: the centre would have to refuse a gigabyte of nothing first.
    let (mut board, _) = rig.power_on()?;
    let watch = Stopwatch::start();
    board.qmp().set_link("n0", false)?;
    wait_for("the first reading", PATIENCE, || {
        Ok((!rig.world.truth()?.temperatures.is_empty()).then_some(()))
    })?;
    let start_ms = watch.elapsed_ms();
    let status = board.ask("status", "status", PATIENCE)?;
    let status: serde_json::Value =
        serde_json::from_str(&status).with_context(|| format!("the status is {status:?}"))?;
    let held = status
        .pointer("/lanes/telemetry/held_bytes")
        .and_then(serde_json::Value::as_u64)
        .context("the status has no held_bytes")?;
    ensure!(
        held >= BACKLOG_MIB * 1024 * 1024 * 9 / 10,
        "the gateway holds {held} bytes"
    );
    rig.judge_time(
        "first_reading_ms_spool_1gb",
        start_ms,
        START_MS_MAX,
        "from start to the first reading with a spool of 1 GB, wall time",
    )?;
    rig.check_memory(&mut board)?;
    let peak_kib = rig.values.remove("vm_hwm_kib").unwrap_or_default();
    rig.values.insert("vm_hwm_kib_spool_1gb", peak_kib);
    rig.note(format!("{held} bytes were in the spool"));
    board.cut_power()?;
    Ok(rig.into_measured())
}
