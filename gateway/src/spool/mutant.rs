//! Deliberate defects for the suite that must find them.
//!
//! Promises: outside of tests every question is answered with no, by a constant. Never: part of a build
//! that anybody runs.

/// A defect of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A commit is reported without a sync.
    CommitWithoutSync,
    /// The cursor is not synced.
    CursorWithoutSync,
    /// Frames are not padded to the alignment.
    FramesUnpadded,
    /// The checksum of a frame's header is not compared.
    HeaderUnchecked,
    /// The checksum of a frame's payload is not compared.
    PayloadUnchecked,
    /// The seed of a segment does not depend on its generation.
    SeedWithoutGeneration,
    /// The cursor is always written to the same slot.
    CursorInOneSlot,
    /// The older slot of the cursor is believed.
    CursorOlderWins,
    /// The checksum of a slot is not compared.
    CursorUnchecked,
    /// A segment of acknowledged frames is used again before that is durable.
    RecycleBeforeCursor,
    /// Frames are evicted before their loss is durable.
    EvictBeforeLedger,
    /// The names of created segments are not made durable.
    NameNotSynced,
    /// A scan ends at the first hole.
    ScanEndsAtHole,
    /// Frames behind the end that a scan found are overwritten.
    AppendAtFirstHole,
    /// Another process start is not written down.
    EpochNotDurable,
    /// A failed sync is tried again on the same segment.
    SyncRetried,
    /// Frames are let go of before their sync.
    QueueDroppedBeforeSync,
    /// A segment goes when all but its last number are acknowledged.
    LastNumberForgotten,
    /// A centre that was restored does not get again what is held.
    RewindKeepsAcknowledged,
    /// Of what a restored centre asks for, what is gone is not put on record.
    RewindWithoutLoss,
    /// A crashed epoch has no open tail.
    NoTail,
    /// The summary of a segment forgets its last range.
    SummaryShort,
    /// The checksum of a summary is not compared.
    SummaryUnchecked,
    /// The newest segment is evicted.
    NewestEvicted,
    /// The alert lane makes room for others.
    AlertsEvicted,
    /// A write that failed is taken for a success.
    ShortWriteIgnored,
    /// Generations begin again with each process.
    GenerationsRestart,
    /// A commit takes the latest frame first.
    CommitOutOfOrder,
    /// A commit writes all but its last frame.
    CommitShort,
    /// A recycled segment keeps its old header.
    HeaderKept,
    /// Frames are written into a recycled segment before its new header is durable.
    BeginningNotSynced,
    /// What a process wrote that was killed before its sync stays in the page cache. [`Self::BeginningNotSynced`] does
    /// so, too: its seeds are of a time before both were mended.
    CursorOfTheKilledInDoubt,
    /// Acknowledged frames are written behind those that are not.
    HistoryOutOfOrder,
    /// What was lost is forgotten when the cursor is written.
    LedgerNotStored,
}

#[cfg(not(test))]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// Switches a defect on in this thread, or all off.
#[cfg(test)]
pub(crate) fn switch(mutant: Option<Mutant>) {
    ON.set(mutant);
}
