//! Tier 1: one minute on the `virt` board.
//!
//! Promises: a temperature of 45 degC is an alert at the host's broker; what was spooled during an outage
//! and a power cut is delivered from the same disk; every reading that the chips handed out is stored
//! exactly once, but for the last seconds before the cut.

use anyhow::ensure;
use serde_json::Value;

use crate::clock::{Stopwatch, wait_for};
use crate::oracle::Life;
use crate::rig::{Bench, Measured, PATIENCE, Rig};
use crate::world::Truth;

/// The alert must be at the subscriber within this time.
const ALERT_MAX_MS: u64 = 3000;
/// How long the link is down before the power goes, in readings of the 1 Hz thermometer.
const OUTAGE_READINGS: usize = 10;
/// From start to the first reading in the guest: the gateway's second, and the first conversion, for which
/// the simulated thermometer takes a whole cycle of one second.
const FIRST_READING_MAX_MS: u64 = 2000;

/// Runs the scenario; what was measured, one sentence each.
///
/// # Errors
/// When a promise does not hold.
pub fn run(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    let mut rig = Rig::prepare(bench)?;
    let (truth, first) = first_life(&mut rig)?;
    let second = second_life(&mut rig, &truth)?;
    rig.judge(&[first, second])?;
    Ok(rig.into_measured())
}

/// Normal, hot, alert, link down, power cut.
fn first_life(rig: &mut Rig<'_>) -> anyhow::Result<(Truth, Life)> {
    let watch = Stopwatch::start();
    let (mut board, started_ms) = rig.power_on()?;
    rig.note(format!(
        "gateway started {} ms after power on",
        watch.elapsed_ms()
    ));
    let stored = wait_for("readings of both chips in the database", PATIENCE, || {
        rig.centre.check_children()?;
        let stored = rig.centre.stored()?;
        Ok(stored
            .into_iter()
            .find(|epoch| epoch.temperatures.len() >= 3 && epoch.fixes.len() >= 3))
    })?;
    let first_ms = stored.first_ms.saturating_sub(started_ms);
    rig.judge_time(
        "first_reading_ms",
        first_ms,
        FIRST_READING_MAX_MS,
        "from the gateway's start to the first reading, guest time",
    )?;

    expect_alert(rig)?;

    board.qmp().set_link("n0", false)?;
    let before = rig.world.truth()?.temperatures.len();
    wait_for("readings during the outage", PATIENCE, || {
        Ok((rig.world.truth()?.temperatures.len() >= before + OUTAGE_READINGS).then_some(()))
    })?;
    rig.check_memory(&mut board)?;
    let messages = board.cut_power()?;
    let truth = rig.world.truth()?;
    rig.note(format!(
        "power cut after {messages} I2C messages and {OUTAGE_READINGS} s without a link"
    ));
    let life = Life::cut(&Truth::default(), &truth);
    Ok((truth, life))
}

fn expect_alert(rig: &mut Rig<'_>) -> anyhow::Result<()> {
    let early = rig.centre.alerts()?;
    ensure!(
        early.is_empty(),
        "an alert before anything happened: {early:?}"
    );
    rig.world.heat();
    let watch = Stopwatch::start();
    let alert = wait_for("the alert at the subscriber", PATIENCE, || {
        Ok(rig.centre.alerts()?.into_iter().find(is_hot))
    })?;
    let elapsed_ms = watch.elapsed_ms();
    rig.judge_time(
        "alert_at_subscriber_ms",
        elapsed_ms,
        ALERT_MAX_MS,
        "from 45 degC to the alert at the subscriber, wall time",
    )?;
    let text = alert.get("text").unwrap_or(&Value::Null);
    rig.note(format!("alert: {text}"));
    Ok(())
}

/// Same disk: the backlog is delivered, life goes on, and a clean stop accepts everything.
fn second_life(rig: &mut Rig<'_>, before: &Truth) -> anyhow::Result<Life> {
    let (mut board, _) = rig.power_on()?;
    wait_for(
        "readings behind the power cut in the database",
        PATIENCE,
        || {
            rig.centre.check_children()?;
            let stored = rig.centre.stored()?;
            Ok(stored
                .get(1)
                .filter(|epoch| epoch.temperatures.len() >= 5)
                .map(drop))
        },
    )?;
    rig.check_memory(&mut board)?;
    rig.stop(board)?;
    Ok(Life::stopped(before, &rig.world.truth()?))
}

fn is_hot(alert: &Value) -> bool {
    let word = |key: &str| alert.get(key).and_then(Value::as_str);
    let value = alert.get("value").and_then(Value::as_f64);
    word("kind") == Some("limit_high")
        && word("state") == Some("raised")
        && value.is_some_and(|v| v > 44.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_raised_alert_of_the_hot_value_counts() {
        let alert = |kind: &str, state: &str, value: f64| json!({"kind": kind, "state": state, "value": value});
        assert!(is_hot(&alert("limit_high", "raised", 45.1)));
        assert!(!is_hot(&alert("limit_high", "raised", 9.0)));
        assert!(!is_hot(&alert("limit_high", "cleared", 45.0)));
        assert!(!is_hot(&alert("anomaly", "raised", 45.0)));
    }
}
