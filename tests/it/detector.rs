//! The detector on the vehicle: a restart is not another warm-up, and what was learned raises alerts.

use anyhow::Context;
use libtest_mimic::Trial;
use serde_json::Value;
use tests::fleet::{PATIENCE, Setup, Vehicle, thermometer};
use tests::wait;

use crate::needs;
use crate::world::{World, setup, stored_alerts};

/// Virtual seconds per second while days are learned, and while the fault is looked at.
const LEARNING_SPEED_X: u32 = 7200;
const WATCHING_SPEED_X: u32 = 1800;
/// Two days of minutes: the records no longer grow freely.
const TAUGHT_READINGS: u64 = 3000;
/// When the runaway begins and ends, virtual seconds after the second start, and how steep it is. It begins when
/// the compressor's cycle has been placed again.
const RUNAWAY: &str = "\n[[chip.event]]\nkind = \"runaway\"\nat_s = 36000\nuntil_s = 46800\n\
                       rate_deg_c_per_min = 0.3\n";
const RUNAWAY_AT_MS: u64 = 36_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::nothing(
            "detector::a_model_survives_kill_9_and_a_damaged_one_is_a_fresh_start",
            model_survives,
        ),
        needs::nothing(
            "detector::a_runaway_without_any_limit_configured_is_alerted",
            runaway_is_alerted,
        ),
    ]
}

/// A vehicle with one slow thermometer, so that hours pass in seconds.
fn slow(speed_x: u32, more: &str) -> Setup {
    Setup {
        speed_x,
        sensors: vec![thermometer("load", 0x48, "", "").slower(60_000)],
        more: more.to_owned(),
        ..setup(1)
    }
}

/// Whether the model of the only sensor judges, and how many readings this process has seen.
fn model(vehicle: &Vehicle) -> anyhow::Result<Option<(Value, u64)>> {
    let Some(status) = vehicle.status()? else {
        return Ok(None);
    };
    let sensor = &status["sensors"][0];
    let readings = sensor["readings"].as_u64().unwrap_or_default();
    Ok((readings > 0).then(|| (sensor["detector"].clone(), readings)))
}

fn model_survives() -> anyhow::Result<()> {
    let mut world = World::new(&[slow(600, "[detector]\nsnapshot_s = 1\n")])?;
    world.start()?;
    let vehicle = &mut world.vehicles[0];
    let (young, _) = wait::until("a reading", PATIENCE, || model(vehicle))?;
    anyhow::ensure!(young == "cold", "a fresh model is {young}");
    wait::until_true("the model judges", PATIENCE, || {
        vehicle.process()?.assert_running()?;
        Ok(model(vehicle)?.is_some_and(|(model, _)| model == "ready"))
    })?;
    let file = vehicle.folder().join("spool.models/load.model");
    let written = std::fs::metadata(&file)?.modified()?;
    wait::until_true("a ready model is kept", PATIENCE, || {
        Ok(std::fs::metadata(&file)?.modified()? > written)
    })?;
    vehicle.kill_9()?;
    vehicle.start()?;
    let (kept, readings) = wait::until("a reading after the kill", PATIENCE, || model(vehicle))?;
    anyhow::ensure!(
        kept == "ready" && readings < 100,
        "after kill -9 the model is {kept} with {readings} readings"
    );
    vehicle.kill_9()?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes)?;
    vehicle.start()?;
    let (fresh, _) = wait::until("a reading of a fresh start", PATIENCE, || model(vehicle))?;
    anyhow::ensure!(fresh == "cold", "a damaged model is {fresh}");
    let log = std::fs::read_to_string(vehicle.folder().join("gateway.log"))?;
    anyhow::ensure!(log.contains("the model begins anew"), "no line in the log");
    Ok(())
}

/// Days are learned in half a minute; then the vehicle stops, starts into a world of its own, slower, and the
/// unit fails.
fn runaway_is_alerted() -> anyhow::Result<()> {
    let mut world = World::new(&[slow(LEARNING_SPEED_X, "[detector]\nsnapshot_s = 1\n")])?;
    let vehicle = &mut world.vehicles[0];
    let config = std::fs::read_to_string(vehicle.config())?;
    anyhow::ensure!(!config.contains("limit"), "a limit: {config}");
    vehicle.start()?;
    wait::until_true("the model is taught", PATIENCE, || {
        vehicle.process()?.assert_running()?;
        Ok(model(vehicle)?.is_some_and(|(_, readings)| readings >= TAUGHT_READINGS))
    })?;
    vehicle.stop()?;
    let truth = vehicle.folder().join("truth.jsonl");
    std::fs::rename(&truth, vehicle.folder().join("learned.jsonl"))?;
    let scenario = vehicle.folder().join("scenario.toml");
    let learned = std::fs::read_to_string(&scenario)?;
    let speed = |speed_x: u32| format!("speed_x = {speed_x}\n");
    let slower = learned.replace(&speed(LEARNING_SPEED_X), &speed(WATCHING_SPEED_X));
    anyhow::ensure!(slower != learned, "no speed in {learned}");
    std::fs::write(&scenario, slower + RUNAWAY)?;
    vehicle.start()?;
    let (kept, _) = wait::until("a reading", PATIENCE, || model(vehicle))?;
    anyhow::ensure!(kept == "ready", "the model is {kept}");
    let mut seen = Vec::new();
    let told = wait::until("the driver is told", PATIENCE, || {
        vehicle.process()?.assert_running()?;
        let status = vehicle.status()?.unwrap_or_default();
        let open = status["alerts_open"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for alert in &open {
            if !seen.contains(&alert["text"]) {
                seen.push(alert["text"].clone());
            }
        }
        Ok(open.into_iter().find(|alert| alert["kind"] == "runaway"))
    });
    let alert = told.with_context(|| format!("only these were told: {seen:?}"))?;
    let text = alert["text"].as_str().unwrap_or_default();
    anyhow::ensure!(
        text.contains("load") && text.contains("expected") && text.contains("moving away"),
        "a driver cannot use {text:?}"
    );
    anyhow::ensure!(alert["severity"] == "critical", "{alert}");
    let begun_ms = first_stamp_ms(&std::fs::read_to_string(&truth)?)? + RUNAWAY_AT_MS;
    anyhow::ensure!(
        alert["boottime_ms"].as_u64() > Some(begun_ms),
        "{alert} before the runaway at {begun_ms}"
    );
    // It was told as an open door at first, where the rise began like one.
    let at_desk = wait::until("the desk is told", PATIENCE, || {
        let alerts = stored_alerts(&world)?;
        let is_same = |stored: &Value| stored["id"] == alert["id"] && stored["kind"] == "runaway";
        Ok(alerts.into_iter().find(is_same))
    })?;
    anyhow::ensure!(
        at_desk["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{at_desk}"
    );
    world.vehicles[0].stop()
}

/// Virtual time at the beginning of a truth file.
fn first_stamp_ms(truth: &str) -> anyhow::Result<u64> {
    let header: Value = serde_json::from_str(truth.lines().next().unwrap_or_default())?;
    let stamp_ms = header["t0_virtual_ms"].as_u64();
    stamp_ms.ok_or_else(|| anyhow::anyhow!("no start in {header}"))
}
