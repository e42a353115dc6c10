//! Power cuts at random moments, one after the other, on one disk.
//!
//! Promises: the moments are a function of the seed; every other life has no link, so that only the disk
//! can keep its readings; after the last cut a life with a link delivers what is left and stops cleanly,
//! and every reading of every life is accounted for.

use anyhow::Context;

use crate::clock::{Stopwatch, wait_for};
use crate::oracle::Life;
use crate::rig::{Bench, Measured, PATIENCE, Rig};
use crate::world::Truth;

/// A life lasts so long behind the gateway's start, at most.
const LIFE_MS_MAX: u64 = 6000;
/// A life without a link lasts so much longer: the first conversion, and more than may be lost at its end,
/// so that something in it must have been durable.
const ONLY_DISK_MS: u64 = 9000;
const SEED: u64 = 20;

/// Cuts the power `count` times; what was measured, one sentence each.
///
/// # Errors
/// When a promise does not hold.
pub fn run(bench: &Bench<'_>, count: u32) -> anyhow::Result<Measured> {
    let mut rig = Rig::prepare(bench)?;
    let mut moments = Moments(SEED);
    let mut lives = Vec::new();
    let mut before = Truth::default();
    for number in 0..count {
        let without_link = number % 2 == 1;
        let life_ms = moments.next_ms() + if without_link { ONLY_DISK_MS } else { 0 };
        let after =
            cut_life(&rig, life_ms, without_link).with_context(|| format!("cut {number}"))?;
        lives.push(Life::cut(&before, &after));
        before = after;
    }
    let (mut board, _) = rig.power_on()?;
    let target = before.temperatures.len() + 5;
    wait_for("readings behind the last cut", PATIENCE, || {
        Ok((rig.world.truth()?.temperatures.len() >= target).then_some(()))
    })?;
    rig.check_memory(&mut board)?;
    wait_for("the drain of what the cuts left", rig.drain_max(), || {
        rig.centre.check_children()?;
        let running = Life::running(&before, &rig.world.truth()?);
        let all = lives.iter().cloned().chain([running]).collect::<Vec<_>>();
        Ok(rig.compare(&all).ok())
    })
    // What is still missing when patience ends is told by the comparison below.
    .ok();
    rig.stop(board)?;
    lives.push(Life::stopped(&before, &rig.world.truth()?));
    rig.note(format!("{count} power cuts"));
    rig.judge(&lives)?;
    Ok(rig.into_measured())
}

/// One life of so many milliseconds behind the gateway's start; the truth when it ended.
fn cut_life(rig: &Rig<'_>, life_ms: u64, without_link: bool) -> anyhow::Result<Truth> {
    let (mut board, _) = rig.power_on()?;
    if without_link {
        board.qmp().set_link("n0", false)?;
    }
    let watch = Stopwatch::start();
    wait_for("the moment of the cut", PATIENCE, || {
        Ok((watch.elapsed_ms() >= life_ms).then_some(()))
    })?;
    board.cut_power()?;
    rig.world.truth()
}

/// Moments within a life, the same for the same seed.
struct Moments(u64);

impl Moments {
    fn next_ms(&mut self) -> u64 {
        // Knuth's MMIX generator; its upper bits are good enough for moments.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % LIFE_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_repeat_with_the_seed_and_spread_over_a_life() {
        let series = |seed| {
            let mut moments = Moments(seed);
            (0..20).map(|_| moments.next_ms()).collect::<Vec<_>>()
        };
        assert_eq!(series(20), series(20));
        assert_ne!(series(20), series(21));
        assert!(series(20).iter().any(|ms| *ms < 2000) && series(20).iter().any(|ms| *ms > 4000));
    }
}
