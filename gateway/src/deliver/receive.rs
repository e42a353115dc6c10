//! What the link tells, and what the centre says.
//!
//! Promises: the broker's acknowledgement frees nothing (except with [`AckLevel::Puback`]); the centre's is
//! judged before it is believed, and applied before anything is freed; a refused frame is checked, sent
//! again at most three times, then lost on record; a clash is kept, told, and blocks nobody. Never: a panic
//! or a release on arbitrary bytes.

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::{Ack, AckEntry, Message, MessageKind, Nack, NackReason, Pacing};

use super::{AckLevel, AlarmKind, BirthPlan, Closing, Deliver};
use crate::forward::budget::PACKET_OVERHEAD_LEN;
use crate::forward::centre::Verdict;
use crate::forward::flow::{Cargo, Item, Sent};
use crate::forward::link::{Connection, LinkEvent, Session};
use crate::forward::pace::ACK_PERIOD_MS;
use crate::spool::disk::Site;
use crate::spool::{Ending, PerLane, Place};

/// How often an intact frame that the centre refuses is sent again.
const REFUSALS_MAX: u8 = 3;
/// Refused frames that are remembered; the oldest is forgotten first and starts over.
const REFUSED_MAX: usize = 256;

impl Deliver {
    /// Takes what the link tells.
    pub fn handle(&mut self, now_ms: u64, event: LinkEvent) {
        self.tick(now_ms);
        match event {
            LinkEvent::Connected(session) => self.connected(session),
            LinkEvent::Disconnected(session) => self.disconnected(session),
            LinkEvent::Unreachable(connection) => self.unreachable(connection),
            LinkEvent::Limited {
                session,
                in_flight_max,
            } => {
                let flow = self.flow_mut(session.connection);
                if flow.is_session(session) {
                    flow.limit_in_flight(in_flight_max);
                }
            }
            LinkEvent::PubAck { session, token } => self.puback(session, token),
            LinkEvent::Refused {
                session,
                token,
                reason,
            } => self.refused_by_broker(session, token, &reason),
            LinkEvent::TooLarge { session, token } => self.too_large(session, token),
            LinkEvent::Received { payload } => self.received(&payload),
            // Not for delivery, but for the trip.
            LinkEvent::Profile { payload } => {
                self.budget
                    .receive(payload.len() as u64 + PACKET_OVERHEAD_LEN);
            }
        }
        // What was freed or begins to wait counts from this moment.
        self.tick(now_ms);
    }

    fn connected(&mut self, session: Session) {
        self.hand_back_readings(session.connection);
        self.flow_mut(session.connection).connect(session.number);
        match session.connection {
            Connection::Alert => {
                self.counts.alert_connections += 1;
                self.cursors.alert = Place::default();
            }
            Connection::Main => {
                self.counts.connections += 1;
                self.offline_since_ms = None;
                self.centre.expect_nothing();
                // The alerts, too: without a connection of their own they go over this one.
                self.cursors = PerLane::default();
                self.birth = BirthPlan {
                    due_ms: Some(self.now_ms),
                    gate_ms: Some(self.now_ms.saturating_add(self.config.backlog_wait_ms)),
                    ..BirthPlan::default()
                };
                self.losses.restart();
                if !self.spool.book().boots.is_empty() {
                    self.anchors_next = Some(0);
                }
            }
        }
    }

    /// Readings that went out over the connection of the alerts are backlog again when that ends; what the
    /// main one carried is looked for from the beginning when it is back.
    fn hand_back_readings(&mut self, connection: Connection) {
        for item in self.flow_mut(connection).items_of(Lane::Telemetry) {
            if connection == Connection::Alert {
                self.hand_back(&item);
            }
        }
        self.look_again();
    }

    fn disconnected(&mut self, session: Session) {
        if !self.flow_mut(session.connection).is_session(session) {
            return;
        }
        self.hand_back_readings(session.connection);
        self.flow_mut(session.connection).disconnect();
        if session.connection == Connection::Main {
            self.offline_since_ms = Some(self.now_ms);
            self.birth = BirthPlan::default();
            if self.closing == Closing::Said {
                self.closing = Closing::Goodbye;
            }
        }
    }

    /// A stop has nobody to say its last word to; the next process says it.
    fn unreachable(&mut self, connection: Connection) {
        let is_alone = connection == Connection::Main && self.main.session().is_none();
        if is_alone && self.closing != Closing::No {
            self.closing = Closing::Done;
        }
    }

    fn puback(&mut self, session: Session, token: u64) {
        let Some(cargo) = self.landed(session, token) else {
            return;
        };
        self.alarms.clear(
            AlarmKind::BrokerRefuses,
            "the broker takes what we publish again",
        );
        let by_broker = self.config.ack_level == AckLevel::Puback;
        match cargo {
            Cargo::Frame(sent) if by_broker => {
                self.take_range(sent.item.stream, sent.item.range);
                self.settle();
            }
            Cargo::Frame(mut sent) => {
                sent.resend_ms = self.now_ms.saturating_add(self.wait_ms(sent.resends));
                if let Some(fallen) = self.flow_mut(session.connection).await_centre(sent) {
                    self.hand_back(&fallen.item);
                }
            }
            Cargo::Losses(losses) if by_broker => {
                for loss in losses {
                    match loss.range() {
                        Some(range) => self.take_range(loss.stream(), range),
                        None => self.take_tail(loss.stream()),
                    }
                }
                self.settle();
            }
            Cargo::Goodbye => self.closing = Closing::Done,
            Cargo::Nothing | Cargo::Report | Cargo::Losses(_) => {}
        }
    }

    fn landed(&mut self, session: Session, token: u64) -> Option<Cargo> {
        let now_ms = self.now_ms;
        let flow = self.flow_mut(session.connection);
        if !flow.is_session(session) {
            return None;
        }
        flow.landed(now_ms, token)
    }

    /// The broker has not taken it, whatever level of acknowledgement counts: a frame is sent again when its
    /// time has come, anything else is said again anyway.
    fn refused_by_broker(&mut self, session: Session, token: u64, reason: &str) {
        let Some(cargo) = self.landed(session, token) else {
            return;
        };
        self.counts.refused += 1;
        let text = format!("the broker refuses a message: {reason}");
        self.alarms.raise(AlarmKind::BrokerRefuses, text);
        match cargo {
            Cargo::Frame(mut sent) => {
                sent.resend_ms = self.now_ms.saturating_add(self.wait_ms(sent.resends));
                if let Some(fallen) = self.flow_mut(session.connection).await_centre(sent) {
                    self.hand_back(&fallen.item);
                }
            }
            Cargo::Goodbye => self.closing = Closing::Done,
            Cargo::Nothing | Cargo::Report | Cargo::Losses(_) => {}
        }
    }

    /// How long a frame waits for the centre; a clean stop cannot wait as long as a drive.
    fn wait_ms(&self, resends: u32) -> u64 {
        let wait_ms = self.pace.wait_ms(resends);
        if self.closing == Closing::No {
            wait_ms
        } else {
            wait_ms.min(ACK_PERIOD_MS)
        }
    }

    fn too_large(&mut self, session: Session, token: u64) {
        if let Some(Cargo::Frame(sent)) = self.landed(session, token) {
            // It would end every connection that tries to send it.
            self.spool.lose_damaged(sent.item.stream, sent.item.range);
        }
    }

    fn received(&mut self, payload: &[u8]) {
        self.budget
            .receive(payload.len() as u64 + PACKET_OVERHEAD_LEN);
        let kind = firmware_shared::message::open(payload).map(|(kind, _)| kind);
        match kind {
            Ok(kind) if kind == MessageKind::Ack as u8 => match Ack::decode(payload) {
                Ok(ack) => self.ack(&ack),
                Err(_) => self.counts.garbage += 1,
            },
            Ok(kind) if kind == MessageKind::Nack as u8 => match Nack::decode(payload) {
                Ok(nack) => self.nack(&nack),
                Err(_) => self.counts.garbage += 1,
            },
            Ok(kind) if kind == MessageKind::Pacing as u8 => match Pacing::decode(payload) {
                Ok(pacing) => self.pacing(&pacing),
                Err(_) => self.counts.garbage += 1,
            },
            _ => self.counts.garbage += 1,
        }
    }

    /// Our centre asks for less or more of the backlog. It can slow us for ten minutes at most.
    fn pacing(&mut self, pacing: &Pacing) {
        if self.spool.book().central_id != Some(pacing.central_id) {
            self.counts.acks_ignored += 1;
            return;
        }
        let bytes_per_s = pacing.backlog_bytes_per_s.map(u64::from);
        let for_ms = u64::from(pacing.valid_s).saturating_mul(1_000);
        self.budget.hint(self.now_ms, bytes_per_s, for_ms);
    }

    fn ack(&mut self, ack: &Ack) {
        let foreign = |pinned| pinned != ack.central_id;
        if self.spool.book().central_id.is_some_and(foreign) {
            return self.ignore_foreign(ack.central_id);
        }
        if let Some(entry) = ack.entries.iter().find(|entry| self.is_beyond(entry)) {
            let text = format!(
                "an acknowledgement of {} of epoch {} names numbers that were never issued",
                entry.lane, entry.epoch
            );
            self.counts.acks_ignored += 1;
            return self.alarms.raise(AlarmKind::AckBeyondSent, text);
        }
        let book = self.spool.book_unwritten_mut();
        let (pinned, runs) = (book.central_id, book.runs_left.len());
        let verdict = self
            .centre
            .judge(ack, &mut book.central_id, &mut book.runs_left);
        if book.central_id != pinned || book.runs_left.len() != runs {
            self.spool.write_cursor(Site::Cursor);
        }
        match verdict {
            Verdict::Foreign => return self.ignore_foreign(ack.central_id),
            Verdict::Old => {
                self.counts.acks_ignored += 1;
                return;
            }
            Verdict::Unproven => {
                self.counts.acks_ignored += 1;
                return self.plan_birth();
            }
            Verdict::Advance { unknown_run } => {
                if unknown_run {
                    self.plan_birth();
                }
                ack.entries.iter().for_each(|entry| self.advance(entry));
            }
            Verdict::Answer => {
                self.birth.was_answered = true;
                ack.entries.iter().for_each(|entry| self.replace(entry));
                if self.birth.unnamed.is_empty() {
                    self.birth.unanswered = 0;
                    self.birth.due_ms = None;
                }
            }
        }
        self.counts.acks += 1;
        if self.silence.note_ack(self.now_ms) {
            let text = "the centre acknowledges again";
            self.alarms.clear(AlarmKind::CentreSilent, text);
            let until_ms = self.now_ms.saturating_add(self.pace.wait_ms(0));
            self.main.postpone_resends(until_ms);
        }
        self.settle();
    }

    fn ignore_foreign(&mut self, central_id: u64) {
        self.counts.acks_ignored += 1;
        let text = format!("centre {central_id:016x} is not ours and acknowledges our records");
        self.alarms.raise(AlarmKind::ForeignCentral, text);
    }

    /// Whether the entry names numbers that were never issued. Of a crashed epoch nobody knows how far
    /// it came: a clone of this card may have gone on with it.
    fn is_beyond(&self, entry: &AckEntry) -> bool {
        let Some(known) = self.spool.book().epoch(entry.epoch) else {
            return false;
        };
        let stream = known.lanes.get(entry.lane);
        let end = match known.ending {
            Ending::Crashed => return false,
            Ending::Clean => stream.known_next_seq,
            Ending::Unknown => stream.issued_next_seq,
        };
        entry.acknowledged().any(|range| range.next_seq() > end)
    }

    fn advance(&mut self, entry: &AckEntry) {
        let Some(stream) = self.spool.book_unwritten_mut().stream_mut(entry.stream()) else {
            return;
        };
        let before = stream.acked.count();
        stream.advance(entry);
        let added = stream.acked.count().saturating_sub(before);
        stream.note_acked();
        let passed_seq = stream.acked.next_seq();
        let sent_before_ms = self.now_ms.saturating_sub(self.pace.passed_ms());
        let now_ms = self.now_ms;
        for flow in [&mut self.main, &mut self.alert] {
            flow.hasten(entry.stream(), passed_seq, sent_before_ms, now_ms);
        }
        *self.acked.get_mut(entry.lane) += added;
    }

    /// The centre's answer replaces what was known: what it no longer has is sent again or lost.
    fn replace(&mut self, entry: &AckEntry) {
        let id = entry.stream();
        self.birth.unnamed.remove(&id);
        self.advance(entry);
        let Some(rewound) = self.spool.rewind(entry) else {
            return;
        };
        *self.cursors.get_mut(id.lane) = Place::default();
        let text = format!(
            "the centre asks again for {} records of {} that it had; {} are gone here",
            rewound.asked, id.lane, rewound.lost
        );
        self.alarms.raise(AlarmKind::CentreRestored, text);
    }

    fn take_range(&mut self, id: StreamId, range: SeqRange) {
        let Some(stream) = self.spool.book_mut().stream_mut(id) else {
            return;
        };
        let added = stream.take(range);
        stream.note_acked();
        *self.acked.get_mut(id.lane) += added;
    }

    fn take_tail(&mut self, id: StreamId) {
        if let Some(stream) = self.spool.book_mut().stream_mut(id)
            && let Some(tail) = &mut stream.tail
        {
            tail.acked = true;
        }
    }

    /// Frees what is done.
    fn settle(&mut self) {
        let (now_ms, pace) = (self.now_ms, &mut self.pace);
        for flow in [&mut self.main, &mut self.alert] {
            let book = self.spool.book();
            flow.settle(
                |item| book.is_done(item.stream, item.range),
                // A frame that was sent twice does not say which one was heard.
                |sent: &Sent| {
                    if sent.resends == 0 {
                        pace.note_latency(now_ms.saturating_sub(sent.sent_ms));
                    }
                },
            );
        }
        let open_epochs = self.open_epochs();
        self.spool.settle();
        if self.birth.left_out && self.open_epochs() < open_epochs {
            self.plan_birth();
        }
        let book = self.spool.book();
        if let Some(running) = book.epoch(self.identity.epoch) {
            for lane in Lane::ALL {
                let upto = running.lanes.get(lane).acked.upto();
                self.ages.get_mut(lane).forget_below(upto);
            }
        }
        self.refusals.retain(|(stream, first_seq, _)| {
            let acked = |s: &crate::spool::Stream| s.acked.contains(*first_seq);
            !book.stream(*stream).is_none_or(acked)
        });
    }

    fn nack(&mut self, nack: &Nack) {
        let ours = self.spool.book().central_id == Some(nack.central_id);
        let Some((stream, range)) = nack.frame.filter(|_| ours) else {
            self.counts.acks_ignored += u64::from(!ours);
            self.counts.nacks += u64::from(ours);
            return;
        };
        self.counts.nacks += 1;
        if self.spool.book().is_done(stream, range) {
            return;
        }
        match nack.reason {
            NackReason::Clash => self.clash(stream, range),
            NackReason::Corrupt | NackReason::Undecodable => self.refused(stream, range),
        }
    }

    /// Somebody else used our numbers. The frame stays, unsent; everything else goes on.
    fn clash(&mut self, stream: StreamId, range: SeqRange) {
        if self.spool.find(stream, range).is_none() {
            return;
        }
        if let Some(numbers) = self.spool.book_unwritten_mut().stream_mut(stream) {
            numbers.clash(range);
        }
        self.counts.clashes += 1;
        let text = format!(
            "the centre has other records under {} {range} of epoch {}",
            stream.lane, stream.epoch
        );
        self.alarms.raise(AlarmKind::IdentityClash, text);
        self.settle();
    }

    fn refused(&mut self, stream: StreamId, range: SeqRange) {
        let Some(place) = self.spool.find(stream, range) else {
            return;
        };
        if self.spool.read_again(place, stream, range).is_err() {
            return self.settle();
        }
        if self.count_refusal(stream, range.first_seq) > REFUSALS_MAX {
            self.spool.lose_damaged(stream, range);
            return self.settle();
        }
        for flow in [&mut self.main, &mut self.alert] {
            flow.settle(|item| item.stream == stream && item.range == range, |_| ());
        }
        self.hand_back(&Item {
            stream,
            range,
            place,
        });
    }

    fn count_refusal(&mut self, stream: StreamId, first_seq: u64) -> u8 {
        let mut known = self.refusals.iter_mut();
        if let Some((_, _, count)) = known.find(|(s, first, _)| *s == stream && *first == first_seq)
        {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.refusals.len() >= REFUSED_MAX {
            self.refusals.remove(0);
        }
        self.refusals.push((stream, first_seq, 1));
        1
    }
}
