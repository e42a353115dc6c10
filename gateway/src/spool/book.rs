//! What is known of every stream: numbers issued, durable, acknowledged and lost.
//!
//! Promises: for each number below a stream's `known_next_seq` it can say whether it is acknowledged, lost
//! or open; an epoch stays until everything in it is acknowledged. Never: touches a disk, reads a clock.

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{Loss, LossReason};
use firmware_shared::time::{BootId, TimeAnchor};
use serde::{Deserialize, Serialize};

use super::format::EpochNote;
use super::mutant::{Mutant, is_on};
use super::stream::{Stream, Tail};

/// Time anchors that are kept of one boot: the first and the latest.
pub(crate) const ANCHORS_MAX: usize = 16;

/// Settled epochs that are kept: a centre restored from a backup may ask for them again, and then it
/// must be told what is gone.
const SETTLED_MAX: usize = 16;

/// One value per lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PerLane<T> {
    /// Of the alert lane.
    pub alert: T,
    /// Of the telemetry lane.
    pub telemetry: T,
    /// Of the health lane.
    pub health: T,
}

impl<T> PerLane<T> {
    /// The value of this lane.
    pub fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Alert => &self.alert,
            Lane::Telemetry => &self.telemetry,
            Lane::Health => &self.health,
        }
    }

    /// The value of this lane.
    pub fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Alert => &mut self.alert,
            Lane::Telemetry => &mut self.telemetry,
            Lane::Health => &mut self.health,
        }
    }

    /// A value made for each lane.
    pub fn from_fn(mut make: impl FnMut(Lane) -> T) -> Self {
        Self {
            alert: make(Lane::Alert),
            telemetry: make(Lane::Telemetry),
            health: make(Lane::Health),
        }
    }
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Not that anybody wrote it down: it runs, or its process died.
    Unknown,
    /// A clean stop: the numbers are final.
    Clean,
    /// Its process died: each lane has an open tail.
    Crashed,
}

/// One process start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochEntry {
    /// Its name.
    pub(crate) epoch: Epoch,
    /// Boot and tail bounds.
    pub(crate) note: EpochNote,
    /// How it ended.
    pub(crate) ending: Ending,
    /// Its lanes.
    pub(crate) lanes: PerLane<Stream>,
}

impl EpochEntry {
    fn is_settled(&self) -> bool {
        let mut lanes = Lane::ALL.iter();
        self.ending != Ending::Unknown && lanes.all(|lane| self.lanes.get(*lane).is_settled())
    }

    pub(crate) fn new(epoch: Epoch, note: EpochNote) -> Self {
        Self {
            epoch,
            note,
            ending: Ending::Unknown,
            lanes: PerLane::from_fn(|_| Stream::default()),
        }
    }
}

/// The time anchors of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootAnchors {
    /// The boot.
    pub(crate) boot_id: BootId,
    /// At most [`ANCHORS_MAX`], oldest first.
    pub(crate) anchors: Vec<TimeAnchor>,
}

/// Everything the spool knows apart from the frames themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Book {
    /// Random, drawn when the spool was created.
    pub(crate) spool_id: u64,
    /// How many times a process has opened the spool.
    pub(crate) incarnation: u32,
    /// The centre that this spool trusts.
    pub(crate) central_id: Option<u64>,
    /// Ingest runs that were left behind, oldest first: they are never believed again.
    pub(crate) runs_left: Vec<u64>,
    /// The epochs that still hold something, oldest first; the running one is the last.
    pub(crate) epochs: Vec<EpochEntry>,
    /// The anchors of the boots of these epochs.
    pub(crate) boots: Vec<BootAnchors>,
    /// Bytes that went to the device since the spool was made.
    pub(crate) device_bytes: u64,
    loss_version: u64,
}

impl Book {
    /// The book of a spool that is created.
    pub(crate) fn new(spool_id: u64) -> Self {
        Self {
            spool_id,
            ..Self::default()
        }
    }

    /// A book read from a state file.
    pub(crate) fn stored(
        spool_id: u64,
        incarnation: u32,
        central_id: Option<u64>,
        runs_left: Vec<u64>,
        epochs: Vec<EpochEntry>,
        boots: Vec<BootAnchors>,
    ) -> Self {
        Self {
            spool_id,
            incarnation,
            central_id,
            runs_left,
            epochs,
            boots,
            device_bytes: 0,
            loss_version: 0,
        }
    }

    /// Changes whenever there is a loss to tell that was not there before.
    pub(crate) fn loss_version(&self) -> u64 {
        self.loss_version
    }

    /// There is a loss to tell that was not there before.
    pub(crate) fn note_loss(&mut self) {
        self.loss_version += 1;
    }

    /// Whether the centre has yet to acknowledge a loss.
    pub(crate) fn has_open_losses(&self) -> bool {
        self.epochs.iter().any(|entry| {
            Lane::ALL.iter().any(|lane| {
                let stream = entry.lanes.get(*lane);
                !stream.losses.entries().is_empty() || stream.tail.is_some_and(|t| !t.acked)
            })
        })
    }

    pub(crate) fn epoch(&self, epoch: Epoch) -> Option<&EpochEntry> {
        self.epochs.iter().rev().find(|entry| entry.epoch == epoch)
    }

    pub(crate) fn epoch_mut(&mut self, epoch: Epoch) -> Option<&mut EpochEntry> {
        self.epochs
            .iter_mut()
            .rev()
            .find(|entry| entry.epoch == epoch)
    }

    /// Adds an older epoch: the running one stays the last.
    pub(crate) fn insert_before_last(&mut self, entry: EpochEntry) {
        let at = self.epochs.len().saturating_sub(1);
        self.epochs.insert(at, entry);
    }

    /// Takes over what the book of an older spool knows and this one does not.
    pub(crate) fn adopt(&mut self, older: Self, running: Epoch) {
        self.central_id = self.central_id.or(older.central_id);
        for run in older.runs_left {
            if !self.runs_left.contains(&run) {
                self.runs_left.push(run);
            }
        }
        for entry in older.epochs {
            if entry.epoch != running && self.epoch(entry.epoch).is_none() {
                self.insert_before_last(entry);
            }
        }
        for boot in older.boots {
            if !self.boots.iter().any(|known| known.boot_id == boot.boot_id) {
                self.boots.push(boot);
            }
        }
        self.note_loss();
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.epoch(id.epoch).map(|entry| entry.lanes.get(id.lane))
    }

    pub(crate) fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let mut newest_first = self.epochs.iter_mut().rev();
        newest_first
            .find(|entry| entry.epoch == id.epoch)
            .map(|entry| entry.lanes.get_mut(id.lane))
    }

    /// Whether a frame with these numbers need not be sent (any more).
    pub(crate) fn is_done(&self, id: StreamId, range: SeqRange) -> bool {
        self.stream(id)
            .is_none_or(|stream| stream.is_done(range) || stream.clashed.count_in(range) > 0)
    }

    /// Writes down a loss of numbers that are not acknowledged; how many were not known before.
    pub(crate) fn lose(&mut self, id: StreamId, range: SeqRange, reason: LossReason) -> u64 {
        let Some(stream) = self.stream_mut(id) else {
            return 0;
        };
        // Not `known_next_seq`: numbers below may still be on their way to the spool.
        stream.issued_next_seq = stream.issued_next_seq.max(range.next_seq());
        let open: Vec<SeqRange> = stream.acked.missing_in(range).collect();
        let numbers = open.into_iter().map(|r| stream.losses.add(r, reason)).sum();
        if numbers > 0 {
            self.note_loss();
        }
        numbers
    }

    /// Opens the tails of every older epoch whose process died.
    pub(crate) fn end_crashed_epochs(&mut self, running: Epoch) {
        self.loss_version += 1;
        if is_on(Mutant::NoTail) {
            return;
        }
        for entry in &mut self.epochs {
            if entry.epoch == running || entry.ending != Ending::Unknown {
                continue;
            }
            entry.ending = Ending::Crashed;
            for (lane, at_most) in Lane::ALL.into_iter().zip(entry.note.tail_at_most) {
                let stream = entry.lanes.get_mut(lane);
                stream.tail = Some(Tail {
                    first_seq: stream.known_next_seq,
                    at_most,
                    acked: false,
                });
            }
        }
    }

    /// Every loss that the centre has not yet acknowledged, oldest epoch first.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        for entry in &self.epochs {
            for lane in Lane::ALL {
                let stream = entry.lanes.get(lane);
                let closed = stream.losses.entries().iter().map(|(range, reason)| Loss {
                    epoch: entry.epoch,
                    lane,
                    first_seq: range.first_seq,
                    last_seq: Some(range.last_seq),
                    at_most: None,
                    reason: *reason,
                });
                losses.extend(closed);
                losses.extend(stream.tail.filter(|tail| !tail.acked).map(|tail| Loss {
                    epoch: entry.epoch,
                    lane,
                    first_seq: tail.first_seq,
                    last_seq: None,
                    at_most: Some(tail.at_most),
                    reason: LossReason::NotAcceptedBeforeCrash,
                }));
            }
        }
        losses
    }

    /// Whether an epoch still has something to say: it runs, or not everything in it is acknowledged.
    pub(crate) fn is_open(&self, entry: &EpochEntry, running: Epoch) -> bool {
        entry.epoch == running || !entry.is_settled()
    }

    /// Forgets ended epochs in which everything is acknowledged and of which no frame is stored, except
    /// the latest [`SETTLED_MAX`], and the anchors of boots without an epoch; whether any went.
    pub(crate) fn forget_settled(
        &mut self,
        running: Epoch,
        stored: impl Fn(Epoch) -> bool,
    ) -> bool {
        let before = self.epochs.len();
        let gone = |entry: &EpochEntry| {
            entry.epoch != running && entry.is_settled() && !stored(entry.epoch)
        };
        let settled = self.epochs.iter().filter(|entry| gone(entry)).count();
        let mut surplus = settled.saturating_sub(SETTLED_MAX);
        self.epochs.retain(|entry| {
            let goes = surplus > 0 && gone(entry);
            surplus -= usize::from(goes);
            !goes
        });
        let epochs = &self.epochs;
        self.boots
            .retain(|boot| epochs.iter().any(|e| e.note.boot_id == boot.boot_id));
        self.epochs.len() != before
    }

    /// Keeps an anchor of a boot: the first ever and the latest.
    pub(crate) fn anchor(&mut self, boot_id: BootId, anchor: TimeAnchor) {
        if !self.boots.iter().any(|boot| boot.boot_id == boot_id) {
            self.boots.push(BootAnchors {
                boot_id,
                anchors: Vec::new(),
            });
        }
        for boot in self.boots.iter_mut().filter(|boot| boot.boot_id == boot_id) {
            if boot.anchors.len() >= ANCHORS_MAX {
                boot.anchors.remove(1);
            }
            boot.anchors.push(anchor);
        }
    }
}
