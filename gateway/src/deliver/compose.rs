//! The messages that the gateway writes itself: birth, status, goodbye, losses, time anchors.

use firmware_shared::id::{Epoch, Lane, StreamId};
use firmware_shared::message::{
    Anchors, Birth, EPOCHS_MAX, Goodbye, HELD_RANGES_MAX, LOSSES_MAX, LaneNext, Loss, Losses,
    MESSAGE_LEN_MAX, Message, More, OpenEpoch, OpenLane, Status, Will,
};
use firmware_shared::time::ClockSource;
use firmware_shared::topic::{Leaf, Topic, topic};

use super::{Deliver, ProcessIdentity};
use crate::spool::{Book, Ending, EpochEntry};

/// The topics that a gateway publishes to.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) telemetry: Topic,
    pub(crate) health: Topic,
    pub(crate) alert: Topic,
    pub(crate) status: Topic,
}

impl Topics {
    /// `None` when the prefix makes them too long.
    pub(crate) fn new(prefix: &str, identity: &ProcessIdentity) -> Option<Self> {
        let of = |leaf| topic(prefix, &identity.device, leaf);
        Some(Self {
            telemetry: of(Leaf::Telemetry)?,
            health: of(Leaf::Health)?,
            alert: of(Leaf::Alert)?,
            status: of(Leaf::Status)?,
        })
    }

    /// No topics: nothing can be published.
    pub(crate) fn none() -> Self {
        Self {
            telemetry: Topic::new(),
            health: Topic::new(),
            alert: Topic::new(),
            status: Topic::new(),
        }
    }

    pub(crate) fn of_lane(&self, lane: Lane) -> &Topic {
        match lane {
            Lane::Alert => &self.alert,
            Lane::Telemetry => &self.telemetry,
            Lane::Health => &self.health,
        }
    }
}

/// The bytes of a message; `None` never happens, as the largest of each kind is tested to fit.
pub(crate) fn encoded(message: &impl Message) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MESSAGE_LEN_MAX];
    message.encode(&mut buffer).ok().map(<[u8]>::to_vec)
}

/// The last will of the main connection.
#[must_use]
pub fn will(identity: &ProcessIdentity) -> Vec<u8> {
    let will = Will {
        epoch: identity.epoch,
    };
    encoded(&will).unwrap_or_default()
}

impl Deliver {
    /// What this process is and what it holds: its own epoch first, then the oldest.
    pub(super) fn birth(&self, nonce: u64) -> Birth {
        let book = self.spool.book();
        let listed = self.epochs_to_list().into_iter().take(EPOCHS_MAX);
        let epochs = listed.map(|entry| OpenEpoch {
            epoch: entry.epoch,
            boot_id: entry.note.boot_id,
            lanes: Lane::ALL
                .into_iter()
                .map(|lane| self.open_lane(entry.epoch, entry.ending, lane))
                .collect(),
        });
        Birth {
            device: self.identity.device.clone(),
            nonce,
            spool_id: book.spool_id,
            incarnation: book.incarnation,
            epoch: self.identity.epoch,
            boot_id: self.identity.boot_id,
            boottime_ms: self.now_ms,
            software: self.identity.software.clone(),
            catalogue: self.identity.catalogue.clone(),
            epochs: epochs.collect(),
            details: self.identity.details.clone(),
        }
    }

    /// The running epoch, the oldest open ones, then the latest settled ones: a restored centre may
    /// have lost those.
    fn epochs_to_list(&self) -> Vec<&EpochEntry> {
        let (book, running) = (self.spool.book(), self.identity.epoch);
        let older = book.epochs.iter().filter(|entry| entry.epoch != running);
        let (open, settled): (Vec<_>, Vec<_>) =
            older.partition(|entry| book.is_open(entry, running));
        let current = book.epoch(running).into_iter();
        current
            .chain(open)
            .chain(settled.into_iter().rev())
            .collect()
    }

    /// Epochs that still have something to say.
    pub(super) fn open_epochs(&self) -> usize {
        let (book, running) = (self.spool.book(), self.identity.epoch);
        let open = book
            .epochs
            .iter()
            .filter(|entry| book.is_open(entry, running));
        open.count()
    }

    fn open_lane(&self, epoch: Epoch, ending: Ending, lane: Lane) -> OpenLane {
        let id = StreamId { epoch, lane };
        let stream = self.spool.book().stream(id);
        let next_seq = match ending {
            Ending::Crashed => None,
            Ending::Clean => stream.map(|s| s.known_next_seq),
            Ending::Unknown => stream.map(|s| s.issued_next_seq),
        };
        let held = self.spool.held_open(id);
        OpenLane {
            lane,
            next_seq,
            held: held.into_iter().take(HELD_RANGES_MAX).collect(),
        }
    }

    fn next_seqs(&self) -> heapless::Vec<LaneNext, 3> {
        let epoch = self.identity.epoch;
        let next = |lane| {
            let stream = self.spool.book().stream(StreamId { epoch, lane });
            LaneNext {
                lane,
                next_seq: stream.map_or(0, |s| s.issued_next_seq),
            }
        };
        Lane::ALL.into_iter().map(next).collect()
    }

    pub(super) fn status(&self) -> Status {
        Status {
            epoch: self.identity.epoch,
            boottime_ms: self.now_ms,
            next: self.next_seqs(),
            spool_bytes: Lane::ALL
                .into_iter()
                .map(|lane| self.spool.bytes(lane))
                .sum(),
            oldest_unacked_ms: self.oldest_unacked_ms(),
            ram_mode: self.spool.is_in_ram(),
            more: Some(self.more()),
        }
    }

    fn more(&self) -> More {
        let plan = self.budget.stats();
        let evicted = Lane::ALL
            .into_iter()
            .map(|lane| self.lane_stats(lane).evicted)
            .sum();
        let clock = self.surroundings.clock;
        More {
            spool_max_bytes: self.config.spool.total_bytes,
            evicted,
            // More than the whole life is possible.
            card_life_used_permille: (self.card_life_used_percent() * 10.0) as u32,
            clock_source: clock.map_or(ClockSource::None, |(source, _)| source),
            clock_error_ms: clock.map(|(_, error_ms)| error_ms),
            certificate_until_s: self.surroundings.certificate_until_s,
            ack_latency_ms: self.pace.ack_latency_ms(),
            plan_used_bytes: match plan.is_roaming {
                true => plan.used.roaming_bytes,
                false => plan.used.home_bytes,
            },
            plan_max_bytes: plan.month_bytes.unwrap_or(0),
        }
    }

    pub(super) fn goodbye(&self) -> Goodbye {
        Goodbye {
            epoch: self.identity.epoch,
            boottime_ms: self.now_ms,
            next: self.next_seqs(),
        }
    }

    /// The anchors of the n-th boot with an epoch that still has something to say.
    pub(super) fn anchors_of(&self, index: usize) -> Option<Anchors> {
        let (book, running) = (self.spool.book(), self.identity.epoch);
        let mut boots = book.boots.iter().filter(|boot| {
            let mut epochs = book.epochs.iter();
            epochs.any(|e| e.note.boot_id == boot.boot_id && book.is_open(e, running))
        });
        let boot = boots.nth(index)?;
        Some(Anchors {
            boot_id: boot.boot_id,
            anchors: boot.anchors.iter().copied().take(16).collect(),
        })
    }
}

/// Where the next message with losses begins, and when it may go out.
#[derive(Debug, Default)]
pub(crate) struct LossRound {
    from: usize,
    rounds: u32,
    version: Option<u64>,
    sent_ms: Option<u64>,
    due_ms: u64,
}

/// Least time between two messages about losses that come in one by one, ms.
const LOSS_MS_MIN: u64 = 1_000;

impl LossRound {
    /// Begins from the first loss, at once: a connection began.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// When the next message is due; `None` while there is nothing to tell.
    pub(crate) fn due_ms(&self, book: &Book) -> Option<u64> {
        if !book.has_open_losses() {
            return None;
        }
        Some(if self.version == Some(book.loss_version()) {
            self.due_ms
        } else {
            self.sent_ms
                .map_or(0, |at_ms| at_ms.saturating_add(LOSS_MS_MIN))
        })
    }

    /// The next losses to send; `wait_ms` gives the pause after a whole round.
    pub(crate) fn next(
        &mut self,
        book: &Book,
        now_ms: u64,
        wait_ms: impl Fn(u32) -> u64,
    ) -> Option<(Vec<Loss>, Losses)> {
        let version = book.loss_version();
        if self.version != Some(version) {
            self.version = Some(version);
            self.from = 0;
            self.rounds = 0;
        }
        let all = book.losses();
        let chunk: Vec<Loss> = all
            .iter()
            .skip(self.from)
            .take(LOSSES_MAX)
            .copied()
            .collect();
        self.from += chunk.len();
        self.sent_ms = Some(now_ms);
        if self.from < all.len() {
            self.due_ms = now_ms;
        } else {
            self.due_ms = now_ms.saturating_add(wait_ms(self.rounds));
            self.rounds = self.rounds.saturating_add(1);
            self.from = 0;
        }
        let losses = Losses {
            losses: chunk.iter().copied().collect(),
        };
        (!chunk.is_empty()).then_some((chunk, losses))
    }
}
