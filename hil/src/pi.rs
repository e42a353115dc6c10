//! Tier 2: a day on the road of an emulated Raspberry Pi 3B, within some minutes.
//!
//! The thermometer of the hold is a TMP105 on the BCM2835 controller, whose temperature the harness sets over
//! QMP; cargo thermometer and receiver hang on the adapter. The card is an SD card, the link USB, the clock
//! begins at 1970 and the receiver knows UTC late.
//!
//! Promises: 45 degC is an alert at the subscriber within 3 s; readings from before the first fix are dated by
//! it; nothing is lost or doubled by a minute without a link, by bursts of a silent chip, by an adapter that is
//! pulled out and plugged in, or by a card that is full. Never: a look at the gateway's own counters to find
//! out.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::board::Board;
use crate::clock::{Stopwatch, wait_for};
use crate::faults;
use crate::machine::BOARD_CHIP;
use crate::oracle::Life;
use crate::rig::{Bench, Measured, PATIENCE, Rig, Setting};
use crate::world::Truth;

/// The alert must be at the subscriber within this time.
const ALERT_MAX_MS: u64 = 3000;
/// From the start of the gateway, in the guest.
const FIRST_READING_MAX_MS: u64 = 1000;
const HOT_MILLI: i64 = 45_000;
const COOL_MILLI: i64 = 4_000;
/// Codes of the thermometers are 1/128 degC.
const CODE_PER_DEG: i64 = 128;
/// Without position and UTC at the beginning.
const COLD_START_S: u32 = 30;
/// The receiver's UTC when the world begins: 2027-01-04 08:00.
const WORLD_UTC_MS: i64 = 1_799_049_600_000;
/// A boot and the receiver's bound.
const UTC_SLACK_MS: i64 = 600_000;
const OUTAGE: Duration = Duration::from_secs(60);
const BURSTS: usize = 3;
/// Readings taken while the card is full.
const FULL_CARD_READINGS: usize = 10;

/// Runs the scenario; what was measured.
///
/// # Errors
/// When a promise does not hold.
pub fn run(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    let setting = Setting {
        cold_start_s: COLD_START_S,
        ..Setting::default()
    };
    let mut rig = Rig::prepare_with(bench, &setting)?;
    let watch = Stopwatch::start();
    let (mut board, started_ms) = rig.power_on()?;
    rig.note(format!(
        "gateway started {} ms after power on, wall time",
        watch.elapsed_ms()
    ));
    let undated = first_reading(&mut rig, started_ms)?;
    heat(&mut rig, &mut board).context("heat in the hold")?;
    date(&mut rig, &mut board, undated).context("a clock at 1970")?;
    outage(&mut rig, &mut board).context("a minute without a link")?;
    for burst in 0..BURSTS {
        faults::silent_chip(&rig).with_context(|| format!("burst {burst}"))?;
    }
    faults::pulled_adapter(&rig, &board)?;
    full_card(&mut rig, &mut board).context("a full card")?;
    rig.check_memory(&mut board)?;
    rig.stop(board)?;
    let faults = rig.centre.faults(faults::SENSOR)?.len();
    rig.note(format!(
        "{BURSTS} silences and a pulled adapter: {faults} fault records"
    ));
    let life = Life::stopped(&Truth::default(), &rig.world.truth()?);
    rig.judge(&[life])?;
    check_hold(&mut rig)?;
    Ok(rig.into_measured())
}

/// How many readings have no UTC of the receiver then.
fn first_reading(rig: &mut Rig<'_>, started_ms: u64) -> anyhow::Result<i64> {
    let first_ms = wait_for("the first reading", PATIENCE, || {
        rig.centre.check_children()?;
        rig.centre.first_stamp_ms()
    })?;
    let undated = rig.centre.dated()?.otherwise;
    rig.judge_time(
        "first_reading_pi3_ms",
        first_ms.saturating_sub(started_ms),
        FIRST_READING_MAX_MS,
        "from the gateway's start to the first reading, guest time",
    )?;
    Ok(undated)
}

/// The hold gets warm, an alert goes out, it gets cool, and the alert is over.
fn heat(rig: &mut Rig<'_>, board: &mut Board) -> anyhow::Result<()> {
    wait_for("readings of the hold", PATIENCE, || {
        rig.centre.check_children()?;
        Ok((rig.centre.board_temperatures()?.len() >= 3).then_some(()))
    })?;
    board.qmp().set_temperature(BOARD_CHIP, HOT_MILLI)?;
    let watch = Stopwatch::start();
    let alert = wait_for("the alert of the hold", PATIENCE, || {
        Ok(rig
            .centre
            .alerts()?
            .into_iter()
            .find(|a| is_of_hold(a, "raised")))
    })?;
    let elapsed_ms = watch.elapsed_ms();
    rig.judge_time(
        "alert_at_subscriber_pi3_ms",
        elapsed_ms,
        ALERT_MAX_MS,
        "from 45 degC on the BCM2835 bus to the subscriber, wall time",
    )?;
    rig.note(format!("alert: {alert}"));
    board.qmp().set_temperature(BOARD_CHIP, COOL_MILLI)?;
    wait_for("the end of the alert", PATIENCE, || {
        Ok(rig
            .centre
            .alerts()?
            .into_iter()
            .find(|a| is_of_hold(a, "cleared")))
    })?;
    Ok(())
}

fn is_of_hold(alert: &Value, state: &str) -> bool {
    let word = |key: &str| alert.get(key).and_then(Value::as_str);
    word("kind") == Some("limit_high")
        && word("sensor") == Some("hold")
        && word("state") == Some(state)
}

/// The guest's clock says 1970; the receiver's UTC dates what was measured before it.
fn date(rig: &mut Rig<'_>, board: &mut Board, undated: i64) -> anyhow::Result<()> {
    let guest_s: i64 = board.ask("date", "date", PATIENCE)?.parse()?;
    ensure!(
        guest_s < 86_400,
        "the guest's clock says {guest_s} s since 1970"
    );
    let dated = wait_for("the receiver's time for every reading", PATIENCE, || {
        let dated = rig.centre.dated()?;
        Ok((dated.by_receiver > 0 && dated.otherwise == 0).then_some(dated))
    })?;
    let first_ms = dated.first_utc_ms.context("no reading is dated")?;
    ensure!(
        (0..UTC_SLACK_MS).contains(&(first_ms - WORLD_UTC_MS)),
        "the first reading is dated {first_ms}, the world began {WORLD_UTC_MS}"
    );
    rig.note(format!(
        "{undated} readings without UTC at first, all {} dated by the receiver then, the guest's clock {guest_s} s",
        dated.by_receiver
    ));
    Ok(())
}

fn outage(rig: &mut Rig<'_>, board: &mut Board) -> anyhow::Result<()> {
    board.qmp().set_link("n0", false)?;
    let watch = Stopwatch::start();
    wait_for("the end of the outage", PATIENCE, || {
        Ok((watch.elapsed() >= OUTAGE).then_some(()))
    })?;
    rig.check_memory(board)?;
    let before = rig.world.truth()?.temperatures.len();
    board.qmp().set_link("n0", true)?;
    let watch = Stopwatch::start();
    wait_for("the backlog of the outage", PATIENCE, || {
        rig.centre.check_children()?;
        let stored = rig.centre.stored()?;
        Ok(stored
            .first()
            .is_some_and(|epoch| epoch.temperatures.len() >= before)
            .then_some(()))
    })?;
    rig.note(format!(
        "60 s without a link, {before} readings of the cargo all at the centre {} ms after its return",
        watch.elapsed_ms()
    ));
    rig.check_memory(board)
}

/// No block is free, then the link goes as well: what is measured is kept, and delivered when it is back.
fn full_card(rig: &mut Rig<'_>, board: &mut Board) -> anyhow::Result<()> {
    let full = board.ask("fill", "filled", PATIENCE)?;
    await_readings(rig)?;
    board.qmp().set_link("n0", false)?;
    await_readings(rig)?;
    let status = board.ask("status", "status", PATIENCE)?;
    let mode = serde_json::from_str::<Value>(&status)
        .ok()
        .and_then(|status| Some(status.get("mode")?.as_str()?.to_owned()));
    board.qmp().set_link("n0", true)?;
    await_readings(rig)?;
    board.ask("empty", "emptied", PATIENCE)?;
    await_readings(rig)?;
    rig.note(format!(
        "card full ({full}): the spool was on {}, readings went on",
        mode.as_deref().unwrap_or("?")
    ));
    Ok(())
}

fn await_readings(rig: &Rig<'_>) -> anyhow::Result<()> {
    let before = rig.world.truth()?.temperatures.len();
    wait_for("more readings", PATIENCE, || {
        let enough = rig.world.truth()?.temperatures.len() >= before + FULL_CARD_READINGS;
        Ok(enough.then_some(()))
    })
}

/// The hold was at 0, at 45 and at 4 degC, in this order and at nothing else.
fn check_hold(rig: &mut Rig<'_>) -> anyhow::Result<()> {
    let codes = rig.centre.board_temperatures()?;
    let mut phases = codes.clone();
    phases.dedup();
    let expected = [0, HOT_MILLI, COOL_MILLI].map(|milli| milli / 1000 * CODE_PER_DEG);
    ensure!(
        phases == expected,
        "the hold was at {phases:?} (1/128 degC), set were {expected:?}"
    );
    rig.note(format!("{} readings of the hold, in order", codes.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_limit_of_the_hold_counts() {
        let alert = |kind: &str, sensor: &str, state: &str| json!({ "kind": kind, "sensor": sensor, "state": state });
        assert!(is_of_hold(&alert("limit_high", "hold", "raised"), "raised"));
        for other in [
            alert("limit_high", "cargo", "raised"),
            alert("limit_high", "hold", "cleared"),
            alert("anomaly", "hold", "raised"),
        ] {
            assert!(!is_of_hold(&other, "raised"), "{other}");
        }
    }
}
