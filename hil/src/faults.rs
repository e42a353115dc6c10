//! Faults of the I2C side while the board runs: a silent chip, and the adapter pulled out.
//!
//! Promises: a chip that does not answer is a fault record, not a gap and not a stale value; readings go on
//! by themselves when it answers again, and when the adapter was pulled out and plugged in.

use anyhow::Context;

use crate::board::Board;
use crate::clock::wait_for;
use crate::oracle::Life;
use crate::rig::{Bench, Measured, PATIENCE, Rig};
use crate::world::Truth;

/// Index of the thermometer in the configuration.
pub const SENSOR: u8 = 0;
/// What shows that readings go on.
const READINGS: usize = 3;

/// Runs the scenario; what was measured.
///
/// # Errors
/// When a promise does not hold.
pub fn run(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    let mut rig = Rig::prepare(bench)?;
    let (board, _) = rig.power_on()?;
    expect_readings(&rig).context("before any fault")?;
    silent_chip(&rig)?;
    pulled_adapter(&rig, &board)?;
    rig.stop(board)?;
    let names = rig.centre.faults(SENSOR)?;
    rig.note(format!("faults of the thermometer: {}", names.join(", ")));
    let life = Life::stopped(&Truth::default(), &rig.world.truth()?);
    rig.judge(&[life])?;
    Ok(rig.into_measured())
}

/// The thermometer answers nothing for a while.
///
/// # Errors
/// When there is no fault record, or readings do not go on.
pub fn silent_chip(rig: &Rig<'_>) -> anyhow::Result<()> {
    let faults = rig.centre.faults(SENSOR)?.len();
    rig.world.silence(true);
    expect_faults(rig, faults + 1).context("silent thermometer")?;
    rig.world.silence(false);
    expect_readings(rig).context("behind the silence")
}

/// The adapter is pulled out and plugged in again.
///
/// # Errors
/// When there is no fault record, or readings do not go on.
pub fn pulled_adapter(rig: &Rig<'_>, board: &Board) -> anyhow::Result<()> {
    let faults = rig.centre.faults(SENSOR)?.len();
    await_quiet(rig)?;
    board.usb()?.unplug();
    expect_faults(rig, faults + 1).context("adapter pulled out")?;
    board.usb()?.plug_in()?;
    expect_readings(rig).context("adapter plugged in again")
}

/// Waits until the database holds some more temperatures.
fn expect_readings(rig: &Rig<'_>) -> anyhow::Result<()> {
    let count = || {
        anyhow::Ok(
            rig.centre
                .stored()?
                .iter()
                .map(|epoch| epoch.temperatures.len())
                .sum::<usize>(),
        )
    };
    let before = count()?;
    wait_for("more temperatures in the database", PATIENCE, || {
        Ok((count()? >= before + READINGS).then_some(()))
    })
}

/// Waits for the end of a navigation epoch: for most of a second nothing is on its way then, which the guest
/// would lose together with the adapter.
fn await_quiet(rig: &Rig<'_>) -> anyhow::Result<()> {
    let before = rig.world.truth()?.fixes.len();
    wait_for("the end of an epoch", PATIENCE, || {
        Ok((rig.world.truth()?.fixes.len() > before).then_some(()))
    })
}

fn expect_faults(rig: &Rig<'_>, count: usize) -> anyhow::Result<()> {
    wait_for("a fault record of the thermometer", PATIENCE, || {
        Ok((rig.centre.faults(SENSOR)?.len() >= count).then_some(()))
    })
}
