//! One connection's frames: waiting to go out live, in flight, waiting for the centre.
//!
//! Promises: a frame is in at most one of the three; what leaves them without being done is handed back, so
//! that the backlog finds it again; a token is answered once. Never: holds bytes; more than its bounds.

use std::collections::VecDeque;

use firmware_shared::id::{SeqRange, StreamId};
use firmware_shared::message::Loss;

use super::link::{Connection, Session};
use crate::spool::Place;

/// A stored frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// Whose numbers.
    pub(crate) stream: StreamId,
    /// The numbers.
    pub(crate) range: SeqRange,
    /// Where its bytes are.
    pub(crate) place: Place,
}

/// A frame that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The frame.
    pub(crate) item: Item,
    /// When it was published last.
    pub(crate) sent_ms: u64,
    /// How many times before that.
    pub(crate) resends: u32,
    /// When to publish it again.
    pub(crate) resend_ms: u64,
}

/// What a message in flight is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// A frame.
    Frame(Sent),
    /// A frame that is done or was handed back: only its place in the window is left.
    Nothing,
    /// A birth, status or anchors: if it is lost, the next one says the same.
    Report,
    /// Losses.
    Losses(Vec<Loss>),
    /// The last word.
    Goodbye,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct InFlight {
    token: u64,
    since_ms: u64,
    cargo: Cargo,
}

/// Live frames that wait for the window; more fall back into the backlog.
pub(crate) const LIVE_MAX: usize = 64;
/// After so many live frames in a row the backlog has its turn.
const LIVE_STREAK_MAX: u32 = 3;
/// Reports may exceed the window by this much, so that a full window cannot silence them.
const REPORTS_ABOVE_WINDOW: usize = 4;

/// The frames of one connection.
#[derive(Debug)]
pub(crate) struct Flow {
    connection: Connection,
    window: usize,
    awaiting_max: usize,
    session: Option<u64>,
    live: VecDeque<Item>,
    in_flight: Vec<InFlight>,
    awaiting: Vec<Sent>,
    live_streak: u32,
    reconnect_asked: bool,
}

impl Flow {
    pub(crate) fn new(connection: Connection, window: usize, awaiting_max: usize) -> Self {
        Self {
            connection,
            window: window.max(1),
            awaiting_max: awaiting_max.max(2),
            session: None,
            live: VecDeque::new(),
            in_flight: Vec::new(),
            awaiting: Vec::new(),
            live_streak: 0,
            reconnect_asked: false,
        }
    }

    /// The life that takes publishes.
    pub(crate) fn session(&self) -> Option<Session> {
        let number = self.session.filter(|_| !self.reconnect_asked)?;
        Some(Session {
            connection: self.connection,
            number,
        })
    }

    pub(crate) fn is_session(&self, session: Session) -> bool {
        self.connection == session.connection && self.session == Some(session.number)
    }

    pub(crate) fn connect(&mut self, number: u64) {
        self.disconnect();
        self.session = Some(number);
    }

    /// Everything that was sent and is not acknowledged goes back to the backlog.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
        self.live.clear();
        self.in_flight.clear();
        self.awaiting.clear();
        self.live_streak = 0;
        self.reconnect_asked = false;
    }

    /// Queues a frame that was just accepted; a frame that fell out of the queue is given back.
    pub(crate) fn push_live(&mut self, item: Item) -> Option<Item> {
        self.live.push_back(item);
        if self.live.len() > LIVE_MAX {
            self.live.pop_front()
        } else {
            None
        }
    }

    pub(crate) fn pop_live(&mut self) -> Option<Item> {
        self.live.pop_front()
    }

    pub(crate) fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Whether a frame is queued, in flight or awaiting.
    pub(crate) fn is_busy(&self, stream: StreamId, first_seq: u64) -> bool {
        let same = |item: &Item| item.range.first_seq == first_seq && item.stream == stream;
        self.frames_in_flight().any(|sent| same(&sent.item))
            || self.awaiting.iter().any(|sent| same(&sent.item))
            || self.live.iter().any(same)
    }

    fn frames_in_flight(&self) -> impl Iterator<Item = &Sent> {
        self.in_flight
            .iter()
            .filter_map(|flying| match &flying.cargo {
                Cargo::Frame(sent) => Some(sent),
                _ => None,
            })
    }

    /// Whether the window takes a frame.
    pub(crate) fn takes_frame(&self) -> bool {
        self.in_flight.len() < self.window
    }

    /// Whether the window takes a frame of the backlog: a fifth of it is kept free for live frames, and
    /// a quarter of those that may await the centre.
    pub(crate) fn takes_backlog(&self) -> bool {
        let reserve = if self.window > 1 {
            (self.window / 5).max(1)
        } else {
            0
        };
        let sent = self.frames_in_flight().count() + self.awaiting.len();
        self.in_flight.len() + reserve < self.window
            && sent < self.awaiting_max - self.awaiting_max / 4
    }

    /// Whether a report may go out.
    pub(crate) fn takes_report(&self) -> bool {
        self.in_flight.len() < self.window + REPORTS_ABOVE_WINDOW
    }

    pub(crate) fn is_backlog_turn(&self) -> bool {
        self.live_streak >= LIVE_STREAK_MAX
    }

    pub(crate) fn note_turn(&mut self, is_live: bool) {
        self.live_streak = if is_live { self.live_streak + 1 } else { 0 };
    }

    pub(crate) fn published(&mut self, token: u64, since_ms: u64, cargo: Cargo) {
        self.in_flight.push(InFlight {
            token,
            since_ms,
            cargo,
        });
    }

    /// Ends a message's flight.
    pub(crate) fn landed(&mut self, token: u64) -> Option<Cargo> {
        let index = self.in_flight.iter().position(|f| f.token == token)?;
        Some(self.in_flight.remove(index).cargo)
    }

    /// A frame waits for the centre; one that had to make room for it is given back.
    pub(crate) fn await_centre(&mut self, sent: Sent) -> Option<Sent> {
        self.awaiting.push(sent);
        if self.awaiting.len() <= self.awaiting_max {
            return None;
        }
        let oldest = self.awaiting.iter().enumerate();
        let (index, _) = oldest.min_by_key(|(_, sent)| sent.sent_ms)?;
        Some(self.awaiting.swap_remove(index))
    }

    /// Takes out the frame that is to be sent again first, if its time has come.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Sent> {
        let (index, sent) = self.soonest()?;
        (sent.resend_ms <= now_ms).then(|| self.awaiting.swap_remove(index))
    }

    fn soonest(&self) -> Option<(usize, &Sent)> {
        let awaiting = self.awaiting.iter().enumerate();
        awaiting.min_by_key(|(_, sent)| (sent.resend_ms, sent.sent_ms))
    }

    /// When the first frame is to be sent again.
    pub(crate) fn resend_ms(&self) -> Option<u64> {
        self.soonest().map(|(_, sent)| sent.resend_ms)
    }

    /// Frames of the stream below `below_seq` that were sent once, before `sent_before_ms`, are due: what
    /// was sent behind them has arrived.
    pub(crate) fn hasten(
        &mut self,
        stream: StreamId,
        below_seq: u64,
        sent_before_ms: u64,
        now_ms: u64,
    ) {
        for sent in &mut self.awaiting {
            let is_passed = sent.item.stream == stream && sent.item.range.last_seq < below_seq;
            if is_passed && sent.resends == 0 && sent.sent_ms < sent_before_ms {
                sent.resend_ms = sent.resend_ms.min(now_ms);
            }
        }
    }

    /// Every frame that was sent before is due when it has waited for `wait_ms`.
    pub(crate) fn hasten_all(&mut self, wait_ms: u64) {
        for sent in &mut self.awaiting {
            sent.resend_ms = sent.resend_ms.min(sent.sent_ms.saturating_add(wait_ms));
        }
    }

    /// No frame is sent again before this time.
    pub(crate) fn postpone_resends(&mut self, until_ms: u64) {
        for sent in &mut self.awaiting {
            sent.resend_ms = sent.resend_ms.max(until_ms);
        }
    }

    /// Lets go of the frames for which `is_done` holds; calls `done` for each that was sent.
    pub(crate) fn settle(&mut self, is_done: impl Fn(&Item) -> bool, mut done: impl FnMut(&Sent)) {
        self.live.retain(|item| !is_done(item));
        self.awaiting.retain(|sent| {
            let gone = is_done(&sent.item);
            if gone {
                done(sent);
            }
            !gone
        });
        for flying in &mut self.in_flight {
            if let Cargo::Frame(sent) = &flying.cargo
                && is_done(&sent.item)
            {
                done(sent);
                flying.cargo = Cargo::Nothing;
            }
        }
    }

    /// When the oldest message in flight was published.
    pub(crate) fn oldest_in_flight_ms(&self) -> Option<u64> {
        self.in_flight.iter().map(|flying| flying.since_ms).min()
    }

    /// The core gives this life up; nothing more is published in it.
    pub(crate) fn ask_reconnect(&mut self) {
        self.reconnect_asked = true;
    }

    pub(crate) fn awaiting_count(&self) -> usize {
        self.awaiting.len()
    }

    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Nothing waits for the window or the broker.
    pub(crate) fn is_idle(&self) -> bool {
        self.live.is_empty() && self.in_flight.is_empty()
    }

    pub(crate) fn has_losses_in_flight(&self) -> bool {
        let mut flying = self.in_flight.iter();
        flying.any(|flying| matches!(flying.cargo, Cargo::Losses(_)))
    }
}
