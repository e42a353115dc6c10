//! One connection's frames: waiting to go out live, in flight, waiting for the centre.
//!
//! Promises: a frame is in at most one of the three; what leaves them without being done is handed back, so
//! that the backlog finds it again; a token is answered once; every step but the overflow, an
//! acknowledgement and sending again costs the same however many frames wait. Never: holds bytes; more than its bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::Loss;

use super::link::{Connection, Session};
use super::window::{Window, WindowLimits};
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
    /// Bytes of its payload.
    pub(crate) len: u32,
}

/// What a frame is found by.
type Key = (StreamId, u64);

impl Item {
    fn key(&self) -> Key {
        (self.stream, self.range.first_seq)
    }
}

/// How much one connection may have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowLimits {
    /// Messages without an answer of the broker.
    pub(crate) in_flight_max: usize,
    /// Their bytes.
    pub(crate) window: WindowLimits,
    /// Frames that the broker took and the centre has not acknowledged.
    pub(crate) awaiting_max: usize,
    /// Their bytes: what a centre that forgot them all costs.
    pub(crate) awaiting_bytes_max: u64,
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
    len: u64,
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
    limits: FlowLimits,
    /// What the broker of this life allows, if that is less.
    broker_max: usize,
    window: Window,
    session: Option<u64>,
    live: VecDeque<Item>,
    /// In the order of publishing, which is almost that of the answers.
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: u64,
    /// The frames among them.
    flying: BTreeSet<Key>,
    awaiting: BTreeMap<Key, Sent>,
    awaiting_bytes: u64,
    /// None of them is to be sent again before: a bound, so that it costs nothing to keep.
    due_ms: u64,
    live_streak: u32,
    reconnect_asked: bool,
}

impl Flow {
    pub(crate) fn new(connection: Connection, limits: FlowLimits) -> Self {
        let limits = FlowLimits {
            in_flight_max: limits.in_flight_max.max(1),
            awaiting_max: limits.awaiting_max.max(2),
            ..limits
        };
        Self {
            connection,
            limits,
            broker_max: usize::MAX,
            window: Window::new(limits.window),
            session: None,
            live: VecDeque::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            flying: BTreeSet::new(),
            awaiting: BTreeMap::new(),
            awaiting_bytes: 0,
            due_ms: u64::MAX,
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
        self.broker_max = usize::MAX;
        self.window = Window::new(self.limits.window);
        self.live.clear();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.flying.clear();
        self.awaiting.clear();
        self.awaiting_bytes = 0;
        self.due_ms = u64::MAX;
        self.live_streak = 0;
        self.reconnect_asked = false;
    }

    /// The broker of this life takes at most so many messages unanswered.
    pub(crate) fn limit_in_flight(&mut self, in_flight_max: usize) {
        self.broker_max = in_flight_max.max(1);
    }

    fn in_flight_max(&self) -> usize {
        self.limits.in_flight_max.min(self.broker_max)
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
        let key = (stream, first_seq);
        self.flying.contains(&key)
            || self.awaiting.contains_key(&key)
            || self.live.iter().any(|item| item.key() == key)
    }

    /// Whether the window takes a frame: live ones may use a quarter more than the backlog.
    pub(crate) fn takes_frame(&mut self) -> bool {
        if self.in_flight.len() >= self.in_flight_max() {
            return false;
        }
        let bytes = self.window.bytes();
        self.in_flight.is_empty() || self.in_flight_bytes < bytes.saturating_add(bytes / 4)
    }

    /// Whether the window takes a frame of the backlog: a fifth of it is kept free for live frames, and
    /// a quarter of those that may await the centre.
    pub(crate) fn takes_backlog(&mut self) -> bool {
        let most = self.in_flight_max();
        let reserve = if most > 1 { (most / 5).max(1) } else { 0 };
        let limits = self.limits;
        let sent = self.flying.len() + self.awaiting.len();
        if self.in_flight.len() + reserve >= most
            || sent >= limits.awaiting_max - limits.awaiting_max / 4
            || self.awaiting_bytes >= limits.awaiting_bytes_max
        {
            return false;
        }
        let takes = self.in_flight.is_empty() || self.in_flight_bytes < self.window.bytes();
        if !takes {
            self.window.note_full();
        }
        takes
    }

    /// Whether a frame of a black box may go out: half of the places stay free for alerts.
    pub(crate) fn takes_promised(&mut self) -> bool {
        self.takes_frame() && self.in_flight.len() < (self.in_flight_max() / 2).max(1)
    }

    /// The frames of a lane that are queued, in flight or awaiting.
    pub(crate) fn items_of(&self, lane: Lane) -> Vec<Item> {
        let flying = self
            .in_flight
            .iter()
            .filter_map(|flying| match &flying.cargo {
                Cargo::Frame(sent) => Some(sent.item),
                _ => None,
            });
        let awaiting = self.awaiting.values().map(|sent| sent.item);
        let all = self.live.iter().copied().chain(flying).chain(awaiting);
        all.filter(|item| item.stream.lane == lane).collect()
    }

    /// Whether a report may go out.
    pub(crate) fn takes_report(&self) -> bool {
        self.in_flight.len() < self.in_flight_max() + REPORTS_ABOVE_WINDOW
    }

    pub(crate) fn is_backlog_turn(&self) -> bool {
        self.live_streak >= LIVE_STREAK_MAX
    }

    pub(crate) fn note_turn(&mut self, is_live: bool) {
        self.live_streak = if is_live { self.live_streak + 1 } else { 0 };
    }

    pub(crate) fn published(&mut self, token: u64, since_ms: u64, len: u64, cargo: Cargo) {
        if let Cargo::Frame(sent) = &cargo {
            self.flying.insert(sent.item.key());
        }
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(len);
        self.in_flight.push_back(InFlight {
            token,
            since_ms,
            len,
            cargo,
        });
    }

    /// Ends a message's flight.
    pub(crate) fn landed(&mut self, now_ms: u64, token: u64) -> Option<Cargo> {
        let index = self.in_flight.iter().position(|f| f.token == token)?;
        let flight = self.in_flight.remove(index)?;
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(flight.len);
        self.window.note_answer(now_ms, flight.since_ms);
        if let Cargo::Frame(sent) = &flight.cargo {
            self.flying.remove(&sent.item.key());
        }
        Some(flight.cargo)
    }

    /// A frame waits for the centre; one that had to make room for it is given back.
    pub(crate) fn await_centre(&mut self, sent: Sent) -> Option<Sent> {
        self.put_awaiting(sent);
        if self.awaiting.len() <= self.limits.awaiting_max {
            return None;
        }
        let oldest = self.awaiting.iter().min_by_key(|(_, sent)| sent.sent_ms);
        let key = oldest.map(|(key, _)| *key)?;
        self.take_awaiting(key)
    }

    fn put_awaiting(&mut self, sent: Sent) {
        let key = sent.item.key();
        self.take_awaiting(key);
        self.due_ms = self.due_ms.min(sent.resend_ms);
        self.awaiting_bytes += u64::from(sent.len);
        self.awaiting.insert(key, sent);
    }

    fn take_awaiting(&mut self, key: Key) -> Option<Sent> {
        let sent = self.awaiting.remove(&key)?;
        self.awaiting_bytes = self.awaiting_bytes.saturating_sub(u64::from(sent.len));
        Some(sent)
    }

    /// Takes out the frame that is to be sent again first, if its time has come.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Sent> {
        if now_ms < self.due_ms {
            return None;
        }
        let first = self
            .awaiting
            .iter()
            .map(|(key, sent)| (sent.resend_ms, sent.sent_ms, *key))
            .min();
        self.due_ms = first.map_or(u64::MAX, |(resend_ms, _, _)| resend_ms);
        let (resend_ms, _, key) = first?;
        (resend_ms <= now_ms)
            .then(|| self.take_awaiting(key))
            .flatten()
    }

    /// When to look for frames that are to be sent again: at that time or before it.
    pub(crate) fn resend_ms(&self) -> Option<u64> {
        (!self.awaiting.is_empty()).then_some(self.due_ms)
    }

    /// Sets the times of sending again anew.
    fn reschedule(&mut self, keys: &[Key], resend_ms_of: impl Fn(&Sent) -> u64) {
        for key in keys {
            if let Some(sent) = self.awaiting.get_mut(key) {
                sent.resend_ms = resend_ms_of(sent);
                self.due_ms = self.due_ms.min(sent.resend_ms);
            }
        }
    }

    fn awaiting_keys(&self) -> Vec<Key> {
        self.awaiting.keys().copied().collect()
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
        let below = self.awaiting.range((stream, 0)..(stream, below_seq));
        let passed = below.filter(|(_, sent)| {
            sent.item.range.last_seq < below_seq
                && sent.resends == 0
                && sent.sent_ms < sent_before_ms
                && sent.resend_ms > now_ms
        });
        let passed: Vec<Key> = passed.map(|(key, _)| *key).collect();
        self.reschedule(&passed, |_| now_ms);
    }

    /// Every frame that was sent before is due when it has waited for `wait_ms`.
    pub(crate) fn hasten_all(&mut self, wait_ms: u64) {
        self.reschedule(&self.awaiting_keys(), |sent| {
            sent.resend_ms.min(sent.sent_ms.saturating_add(wait_ms))
        });
    }

    /// No frame is sent again before this time.
    pub(crate) fn postpone_resends(&mut self, until_ms: u64) {
        self.reschedule(&self.awaiting_keys(), |sent| sent.resend_ms.max(until_ms));
    }

    /// Lets go of the frames for which `is_done` holds; calls `done` for each that was sent.
    pub(crate) fn settle(&mut self, is_done: impl Fn(&Item) -> bool, mut done: impl FnMut(&Sent)) {
        self.live.retain(|item| !is_done(item));
        let awaiting = self.awaiting.iter();
        let gone = awaiting.filter(|(_, sent)| is_done(&sent.item));
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(sent) = self.take_awaiting(key) {
                done(&sent);
            }
        }
        for flying in &mut self.in_flight {
            if let Cargo::Frame(sent) = &flying.cargo
                && is_done(&sent.item)
            {
                done(sent);
                self.flying.remove(&sent.item.key());
                flying.cargo = Cargo::Nothing;
            }
        }
    }

    /// No frame is in flight or awaits the centre.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flying.is_empty() && self.awaiting.is_empty()
    }

    /// When the oldest message in flight was published.
    pub(crate) fn oldest_in_flight_ms(&self) -> Option<u64> {
        self.in_flight.front().map(|flying| flying.since_ms)
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

    pub(crate) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    pub(crate) fn awaiting_bytes(&self) -> u64 {
        self.awaiting_bytes
    }

    /// Bytes of the backlog that may be under way.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.window.bytes()
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
