//! The detector on the vehicle: a restart is not another warm-up.

use libtest_mimic::Trial;
use serde_json::Value;
use tests::fleet::{PATIENCE, Setup, Vehicle, thermometer};
use tests::wait;

use crate::needs;
use crate::world::{World, setup};

pub(crate) fn trials() -> Vec<Trial> {
    vec![needs::nothing(
        "detector::a_model_survives_kill_9_and_a_damaged_one_is_a_fresh_start",
        model_survives,
    )]
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
