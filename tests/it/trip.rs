//! The profile of a trip: from the vehicle and from the centre, without a restart.

use std::path::Path;
use std::process::Output;

use libtest_mimic::Trial;
use tests::fleet::{PATIENCE, Vehicle};
use tests::wait;

use crate::needs;
use crate::world::{World, gateway, setup, stored_alerts};

pub(crate) fn trials() -> Vec<Trial> {
    vec![needs::nothing(
        "trip::a_profile_changes_limits_without_a_restart_over_both_ways",
        profile_changes,
    )]
}

/// Warm by this profile: the load is between 2.5 and 5.5 degC.
const COLD: &str = "version = 3\nload_id = \"L-1\"\n[[limit]]\nrole = \"load\"\nhigh_deg_c = 1.0\n";
const WARM: &str = r#"{"version": 9, "load_id": "L-2", "limit": [{"role": "load", "high_deg_c": 20}],
    "compartment": [{"set_point_deg_c": 4}]}"#;

fn on_vehicle(vehicle: &Vehicle, args: &[&str]) -> anyhow::Result<Output> {
    let config = vehicle.config();
    let config = config.to_str().unwrap_or_default();
    let args = [&["profile"], args, &["--config", config]].concat();
    Ok(gateway().command(args).output()?)
}

fn set(vehicle: &Vehicle, file: &Path) -> anyhow::Result<Output> {
    on_vehicle(vehicle, &["set", file.to_str().unwrap_or_default()])
}

fn words(output: &Output) -> String {
    let all = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Whether the limit of the load is open.
fn is_too_warm(vehicle: &Vehicle) -> anyhow::Result<bool> {
    let status = vehicle.status()?.unwrap_or_default();
    let open = status["alerts_open"].as_array().cloned();
    let mut open = open.into_iter().flatten();
    Ok(open.any(|alert| alert["kind"] == "limit_high" && alert["sensor"] == "load"))
}

fn profile_changes() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 10)?;
    let (cold, warm) = (
        world.folder.path().join("cold"),
        world.folder.path().join("warm"),
    );
    std::fs::write(&cold, COLD)?;
    std::fs::write(&warm, WARM)?;
    let pid = world.vehicles[0].process()?.id();

    // Somebody on the vehicle.
    let answer = set(&world.vehicles[0], &cold)?;
    anyhow::ensure!(answer.status.success(), "{}", words(&answer));
    anyhow::ensure!(words(&answer).contains("profile 3"), "{}", words(&answer));
    wait::until_true("the load is too warm by its profile", PATIENCE, || {
        is_too_warm(&world.vehicles[0])
    })?;
    let told = wait::until("the centre sees the profile", PATIENCE, || {
        let alerts = stored_alerts(&world)?;
        let mut told = alerts
            .into_iter()
            .filter(|alert| alert["kind"] == "profile");
        Ok(told.next())
    })?;
    anyhow::ensure!(
        told["profile_version"] == 3 && told["state"] == "closed",
        "{told}"
    );
    wait::until_true("the alert names the load", PATIENCE, || {
        let alerts = stored_alerts(&world)?;
        let is_it =
            |alert: &serde_json::Value| alert["kind"] == "limit_high" && alert["load_id"] == "L-1";
        Ok(alerts.iter().any(is_it))
    })?;

    // A mistake is refused with a reason, and changes nothing.
    std::fs::write(&cold, COLD.replace("version = 3", "version = 4\nspeed = 1"))?;
    let answer = set(&world.vehicles[0], &cold)?;
    anyhow::ensure!(answer.status.code() == Some(1), "{}", words(&answer));
    anyhow::ensure!(
        words(&answer).contains("speed = 1 is not a known key"),
        "{}",
        words(&answer)
    );

    // The centre.
    let port = world.centre.port().to_string();
    let warm = warm.to_str().unwrap_or_default();
    let send = [
        "profile",
        "send",
        "--port",
        &port,
        "--device",
        "truck-001",
        warm,
    ];
    let answer = world.centre.command(&send).output()?;
    anyhow::ensure!(answer.status.success(), "{}", words(&answer));
    anyhow::ensure!(
        words(&answer).contains("profile 9 for load L-2 is accepted"),
        "{}",
        words(&answer)
    );
    wait::until_true("the load is no longer too warm", PATIENCE, || {
        Ok(!is_too_warm(&world.vehicles[0])?)
    })?;
    std::fs::write(world.folder.path().join("warm"), WARM.replace('9', "8"))?;
    let answer = world.centre.command(&send).output()?;
    anyhow::ensure!(answer.status.code() == Some(1), "{}", words(&answer));
    anyhow::ensure!(
        words(&answer).contains("older than 9"),
        "{}",
        words(&answer)
    );
    anyhow::ensure!(
        world.vehicles[0].process()?.id() == pid,
        "that was a restart"
    );

    // It outlives the process.
    world.vehicles[0].kill_9()?;
    world.vehicles[0].start()?;
    let shown = wait::until("the next process shows it", PATIENCE, || {
        let answer = on_vehicle(&world.vehicles[0], &["show", "--json"])?;
        Ok(answer.status.success().then_some(answer))
    })?;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    anyhow::ensure!(shown["version"] == 9, "{shown}");
    Ok(())
}
