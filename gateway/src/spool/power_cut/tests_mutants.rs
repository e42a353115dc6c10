use super::*;
use crate::spool::mutant::{self, Mutant};
use Mutant::*;

const MUTANTS: [Mutant; 32] = [
    CommitWithoutSync,
    CursorWithoutSync,
    FramesUnpadded,
    HeaderUnchecked,
    PayloadUnchecked,
    SeedWithoutGeneration,
    CursorInOneSlot,
    CursorOlderWins,
    CursorUnchecked,
    RecycleBeforeCursor,
    EvictBeforeLedger,
    NameNotSynced,
    ScanEndsAtHole,
    AppendAtFirstHole,
    EpochNotDurable,
    SyncRetried,
    QueueDroppedBeforeSync,
    LastNumberForgotten,
    RewindKeepsAcknowledged,
    RewindWithoutLoss,
    NoTail,
    SummaryShort,
    SummaryUnchecked,
    NewestEvicted,
    AlertsEvicted,
    ShortWriteIgnored,
    GenerationsRestart,
    CommitOutOfOrder,
    CommitShort,
    HeaderKept,
    HistoryOutOfOrder,
    LedgerNotStored,
];

/// How many cuts a defect survives.
fn survives(mutant: Mutant, cuts_max: u64) -> Option<(u64, String)> {
    mutant::switch(Some(mutant));
    let mut tally = Tally::default();
    let mut seed = tests::asked("SPOOL_SEED", 1);
    let mut killed = None;
    while tally.cuts < cuts_max && killed.is_none() {
        let before = tally.cuts;
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut mine = Tally::default();
            let wrong = play(seed, &mut mine);
            (mine, wrong)
        }));
        match run {
            Ok((mine, Ok(()))) => tally.add(&mine),
            Ok((_, Err(wrong))) => killed = Some((before + CUTS_PER_SEED, wrong)),
            Err(_) => killed = Some((before + CUTS_PER_SEED, "it panicked".to_owned())),
        }
        seed += 1;
    }
    mutant::switch(None);
    killed
}

#[test]
fn every_deliberate_defect_is_found_within_a_thousand_cuts() {
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        match survives(mutant, 1_000) {
            Some((cuts, wrong)) => println!("{mutant:?}: found within {cuts} cuts: {wrong}"),
            None => survivors.push(mutant),
        }
    }
    println!(
        "{} of {} found",
        MUTANTS.len() - survivors.len(),
        MUTANTS.len()
    );
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
