//! Lives of a spool on a disk whose power goes, judged after every cut.
//!
//! Promises: a seed plays the same life byte for byte; every cut is followed by a whole look at what is held,
//! acknowledged and lost. Never: asks the spool what should be there.

mod life;
mod oracle;
mod tests;
mod tests_mutants;

use std::collections::BTreeMap;

use super::disk::Site;
use life::{Habit, Life};

/// Cuts by the site at which they hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) cuts: u64,
    /// Cuts during a recovery among them.
    pub(crate) in_recovery: u64,
    /// Records that were held, acknowledged or lost when they were looked for.
    pub(crate) judged: u64,
    pub(crate) by_site: BTreeMap<&'static str, u64>,
    /// Of the disk after each seed.
    pub(crate) fingerprint: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, site: Option<Option<Site>>) {
        self.cuts += 1;
        let name = site.map_or("idle", |site| site.map_or("idle", Site::name));
        *self.by_site.entry(name).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.in_recovery += other.in_recovery;
        self.judged += other.judged;
        for (site, cuts) in &other.by_site {
            *self.by_site.entry(site).or_default() += cuts;
        }
        self.fingerprint ^= other.fingerprint;
    }

    pub(crate) fn print(&self) {
        println!(
            "{} cuts, {} of them during a recovery; {} records judged",
            self.cuts, self.in_recovery, self.judged
        );
        for (site, cuts) in &self.by_site {
            let percent = *cuts as f64 * 100.0 / self.cuts.max(1) as f64;
            println!("  {site:<10} {cuts:>9}  {percent:>5.1} %");
        }
    }
}

/// Cuts of one seed, after which another disk begins.
const CUTS_PER_SEED: u64 = 12;

/// Plays a seed; what was wrong.
pub(crate) fn play(seed: u64, tally: &mut Tally) -> Result<(), String> {
    play_as(seed, Habit::of(seed), tally)
}

/// Plays a seed with a habit.
pub(crate) fn play_as(seed: u64, habit: Habit, tally: &mut Tally) -> Result<(), String> {
    let mut life = Life::new(seed, habit);
    let mut mine = Tally::default();
    while mine.cuts < CUTS_PER_SEED {
        life.live_and_die(&mut mine)
            .map_err(|wrong| format!("seed {seed}, cut {}: {wrong}", mine.cuts))?;
    }
    mine.fingerprint = life.disk.fingerprint().rotate_left((seed % 64) as u32);
    tally.add(&mine);
    Ok(())
}
