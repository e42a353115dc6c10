//! Alerts: the driver at once, the fleet desk before the backlog.

use libtest_mimic::Trial;
use tests::fleet::{CentreSetup, PATIENCE};
use tests::wait;

use crate::needs::{self, Peers};
use crate::world::{SPEED_X, World, runaway, setup};

pub(crate) fn trials() -> Vec<Trial> {
    let told = needs::nothing(
        "alerts::the_driver_is_told_without_an_uplink",
        driver_is_told,
    );
    let black_box = needs::nothing(
        "alerts::a_black_box_overtakes_the_backlog_and_is_stored_once",
        black_box_overtakes,
    );
    let overtaking = needs::each_broker("alerts::an_alert_overtakes_the_backlog", alert_overtakes);
    [told, black_box].into_iter().chain(overtaking).collect()
}

fn world_with_runaway(peers: &Peers, speed_x: u32) -> anyhow::Result<World> {
    let mut setup = setup(1);
    setup.speed_x = speed_x;
    setup.sensors[0] = runaway("load", 0x48, 60);
    let mut world = World::over(peers, &[setup], "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 10)?;
    world.link.cut();
    Ok(world)
}

fn open_alert(world: &World) -> anyhow::Result<Option<serde_json::Value>> {
    let status = world.vehicles[0].status()?;
    let open = status
        .as_ref()
        .and_then(|status| status["alerts_open"].as_array())
        .cloned();
    Ok(open
        .into_iter()
        .flatten()
        .find(|alert| alert["kind"] == "limit_high"))
}

fn driver_is_told() -> anyhow::Result<()> {
    let world = world_with_runaway(&Peers::default(), SPEED_X)?;
    let alert = wait::until("the driver is told", PATIENCE, || open_alert(&world))?;
    anyhow::ensure!(alert["severity"] == "critical", "{alert}");
    let text = alert["text"].as_str().unwrap_or_default();
    anyhow::ensure!(
        text.contains("load") && text.contains("degC"),
        "a driver cannot use {text:?}"
    );
    // The first reading above the limit raised it, not a later one.
    let truth = world.vehicles[0].truth()?;
    let first = truth
        .temperatures
        .iter()
        .find(|t| t.address == 0x48 && t.raw > 8 * 128);
    let first = first.map(|t| t.t_ms);
    anyhow::ensure!(
        alert["boottime_ms"].as_u64() == first,
        "{alert}, first above the limit at {first:?}"
    );
    Ok(())
}

fn alert_overtakes(peers: &Peers) -> anyhow::Result<()> {
    // The backlog is to be there in a few seconds.
    let mut world = world_with_runaway(peers, 4 * SPEED_X)?;
    wait::until("the driver is told", PATIENCE, || open_alert(&world))?;
    crate::world::wait_for_truth(&mut world.vehicles[0], 2000)?;
    world.link.throttle(4 * 1024);
    world.link.restore();
    let alerts = "SELECT count(*) FROM alerts WHERE kind = 'limit_high' AND state = 'raised'";
    wait::until_true("the alert is stored", PATIENCE, || {
        Ok(world.store()?.number(alerts)? > 0)
    })?;
    let truth = world.vehicles[0].truth()?.readings() as i64;
    let stored = world.stored("truck-001")?;
    anyhow::ensure!(
        stored + 500 < truth,
        "{stored} of {truth} readings were there before the alert"
    );
    world.link.throttle(0);
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(account.is_exactly_once(), "{account:?}");
    Ok(())
}

fn black_box_overtakes() -> anyhow::Result<()> {
    let mut world = world_with_runaway(&Peers::default(), 4 * SPEED_X)?;
    let alert = wait::until("the driver is told", PATIENCE, || open_alert(&world))?;
    // Much is measured after the window, too.
    crate::world::wait_for_truth(&mut world.vehicles[0], 3500)?;
    world.link.throttle(4 * 1024);
    world.link.restore();
    let window = wait::until("the alert is stored", PATIENCE, || {
        let alerts = crate::world::stored_alerts(&world)?;
        let found = alerts
            .into_iter()
            .find(|stored| stored["id"] == alert["id"]);
        Ok(found.map(|found| found["window"].clone()))
    })?;
    let end = |key: &str| window[key].as_u64().unwrap_or_default();
    let (first, last) = (end("first_seq"), end("last_seq"));
    anyhow::ensure!(last > first + 100, "{window}");
    let inside = format!(
        "SELECT count(*) FROM readings WHERE lane = 'telemetry' AND seq BETWEEN {first} AND {last}"
    );
    wait::until_true("the black box is stored", PATIENCE, || {
        Ok(world.store()?.number(&inside)? as u64 == last - first + 1)
    })?;
    let truth = world.vehicles[0].truth()?.readings() as i64;
    let stored = world.stored("truck-001")?;
    anyhow::ensure!(
        stored + 1000 < truth,
        "{stored} of {truth} readings were there before the black box was"
    );
    world.link.throttle(0);
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(account.is_exactly_once(), "{account:?}");
    Ok(())
}
