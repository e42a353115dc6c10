//! A centre that was restored from a backup asks again for what it had.
//!
//! Promises: what is still held is sent again, in its order; what is not is on record as released before the
//! restore. Never: more than the centre's own answer asks for.

use firmware_shared::id::{Lane, SeqRange};
use firmware_shared::message::{AckEntry, LossReason};

use super::disk::Site;
use super::mutant::{Mutant, is_on};
use super::{Mode, Spool};

/// What a restored centre asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewound {
    /// Numbers that it had, and has no more.
    pub(crate) asked: u64,
    /// How many of them are gone here, too.
    pub(crate) lost: u64,
}

impl Spool {
    /// Takes the centre's answer as the whole truth about a stream, as far as it reaches; `None` when it
    /// takes nothing back.
    pub(crate) fn rewind(&mut self, entry: &AckEntry) -> Option<Rewound> {
        let id = entry.stream();
        let stream = self.book_unwritten_mut().stream_mut(id)?;
        let (tail, acked) = (stream.tail, stream.acked.clone());
        let gone = stream.rewind(entry);
        if is_on(Mutant::RewindKeepsAcknowledged) {
            stream.acked = acked;
        }
        if stream.tail != tail {
            self.book_mut().note_loss();
        }
        let hull = SeqRange::new(gone.first()?.first_seq, gone.last()?.last_seq)?;
        let held = self.held(id, hull);
        let mut lost = 0;
        for range in &gone {
            for missing in held.missing_in(*range).collect::<Vec<_>>() {
                lost += missing.count();
                if !is_on(Mutant::RewindWithoutLoss) {
                    self.lose(id, missing, LossReason::ReleasedBeforeRestore);
                }
            }
        }
        self.reopen();
        self.write_cursor(Site::Rewind);
        Some(Rewound {
            asked: gone.iter().map(SeqRange::count).sum(),
            lost,
        })
    }

    /// What waits in RAM as history may have to be sent again.
    fn reopen(&mut self) {
        for lane in Lane::ALL {
            let book = &self.book;
            for queued in self.lanes.get_mut(lane).queue.iter_mut() {
                queued.is_done = book.is_done(queued.frame.stream, queued.frame.range);
            }
        }
        // What was written as history was not synced: from here on it is a frame like others.
        for lane in Lane::ALL {
            if self.mode == Mode::Disk
                && let Err(error) = self.sync_tail(lane)
            {
                self.give_up_tail(lane, &error);
            }
        }
        self.open_on_disk = self.count_open_on_disk();
    }
}
