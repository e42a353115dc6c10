//! What goes out next.
//!
//! Promises: the birth is the first message of a main connection; then reports, then live frames, with the
//! backlog at every fourth publish at the latest; the backlog begins when the birth is answered or after
//! its wait, oldest first; while the centre is silent only live frames and one probe at a time go out; when
//! what the centre has is in too many pieces, the lowest hole comes first; alerts go over the main connection
//! while they have none of their own; the data plan holds back everything but alerts, their black boxes,
//! births and the last word. Never: publishes a frame that is acknowledged, lost, in flight or awaiting.

use firmware_shared::id::{Lane, StreamId};
use firmware_shared::message::Birth;
use firmware_shared::topic::Topic;

use super::compose::encoded;
use super::{Closing, Deliver};
use crate::forward::budget::PACKET_OVERHEAD_LEN;
use crate::forward::flow::{Cargo, Flow, Item, Sent};
use crate::forward::link::{Connection, LinkCommand};
use crate::spool::Unread;

/// Where a frame to be sent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Live,
    Backlog { resends: u32 },
}

/// Bytes of a message and of its answer, an estimate of the headers included.
fn message_len(topic: &Topic, payload: &[u8]) -> u64 {
    topic.len() as u64 + payload.len() as u64 + PACKET_OVERHEAD_LEN
}

fn listed(birth: &Birth) -> impl Iterator<Item = StreamId> + '_ {
    birth.epochs.iter().flat_map(|open| {
        open.lanes.iter().map(|lane| StreamId {
            epoch: open.epoch,
            lane: lane.lane,
        })
    })
}

impl Deliver {
    /// What the link should do next; call until there is nothing.
    pub fn poll(&mut self, now_ms: u64) -> Option<LinkCommand> {
        self.tick(now_ms);
        let command = self.poll_alert().or_else(|| self.poll_main());
        self.hear_spool();
        command
    }

    fn poll_alert(&mut self) -> Option<LinkCommand> {
        self.alert.session()?;
        if let Some(command) = self.give_up_stalled(Connection::Alert) {
            return Some(command);
        }
        self.poll_frames(Connection::Alert)
            .or_else(|| self.poll_promised(Connection::Alert))
    }

    fn poll_main(&mut self) -> Option<LinkCommand> {
        self.main.session()?;
        if let Some(command) = self.give_up_stalled(Connection::Main) {
            return Some(command);
        }
        if let Some(command) = self.poll_birth() {
            return Some(command);
        }
        self.birth.sent_ms?;
        if let Some(command) = self.poll_carried() {
            return Some(command);
        }
        if self.alert.session().is_none()
            && let Some(command) = self.poll_promised(Connection::Main)
        {
            return Some(command);
        }
        let reports = if self.budget.is_open() {
            let reports = self.poll_losses().or_else(|| self.poll_anchors());
            reports.or_else(|| self.poll_status())
        } else {
            None
        };
        reports
            .or_else(|| self.poll_frames(Connection::Main))
            .or_else(|| self.poll_goodbye())
    }

    /// An alert that has no connection of its own. The window does not hold it back.
    fn poll_carried(&mut self) -> Option<LinkCommand> {
        if self.alert.session().is_some() {
            return None;
        }
        while self.main.takes_report() {
            let item = self.next_of_backlog(Lane::Alert)?;
            let source = Source::Backlog { resends: 0 };
            if let Some(command) = self.publish_frame(Connection::Main, item, source) {
                return Some(command);
            }
        }
        None
    }

    /// A broker that answers pings but no publish would stop us for ever.
    fn give_up_stalled(&mut self, connection: Connection) -> Option<LinkCommand> {
        let (limit_ms, now_ms) = (self.config.puback_ms_max, self.now_ms);
        let flow = self.flow_mut(connection);
        let since_ms = flow.oldest_in_flight_ms()?;
        let session = flow.session()?;
        (since_ms.saturating_add(limit_ms) <= now_ms).then(|| {
            flow.ask_reconnect();
            LinkCommand::Reconnect { session }
        })
    }

    fn poll_birth(&mut self) -> Option<LinkCommand> {
        let due = self
            .birth
            .due_ms
            .is_some_and(|due_ms| due_ms <= self.now_ms);
        if !due || self.closing != Closing::No && self.birth.sent_ms.is_some() {
            return None;
        }
        if !self.main.takes_report() {
            return None;
        }
        let nonce = self.random.next_u64();
        let birth = self.birth(nonce);
        let payload = encoded(&birth)?;
        self.centre.expect_answer(nonce);
        self.counts.births += 1;
        self.birth.left_out = birth.epochs.len() < self.open_epochs();
        self.birth.unnamed = listed(&birth).collect();
        self.birth.sent_ms = Some(self.now_ms);
        let again_ms = self
            .now_ms
            .saturating_add(self.pace.wait_ms(self.birth.unanswered));
        self.birth.due_ms = Some(again_ms);
        self.birth.unanswered = self.birth.unanswered.saturating_add(1);
        let topic = self.topics.status.clone();
        self.publish(Connection::Main, topic, payload, Cargo::Report)
    }

    /// Asks the centre for an answer, but not more often than allowed.
    pub(super) fn plan_birth(&mut self) {
        let least_ms = self.birth.sent_ms.map_or(0, |sent_ms| {
            sent_ms.saturating_add(self.config.birth_ms_min)
        });
        let planned_ms = self.birth.due_ms.unwrap_or(u64::MAX);
        self.birth.due_ms = Some(planned_ms.min(least_ms));
    }

    /// When the backlog begins: the centre has answered the birth, or has had its time to.
    fn backlog_ms(&self) -> Option<u64> {
        self.birth.sent_ms?;
        if self.birth.was_answered {
            Some(0)
        } else {
            self.birth.gate_ms
        }
    }

    fn is_backlog_open(&self) -> bool {
        self.backlog_ms().is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    fn poll_losses(&mut self) -> Option<LinkCommand> {
        let due_ms = self.losses.due_ms(self.spool.book())?;
        let free = self.main.takes_report() && !self.main.has_losses_in_flight();
        if due_ms > self.now_ms || !free || !self.is_backlog_open() {
            return None;
        }
        let pace = &self.pace;
        let wait_ms = |rounds| pace.wait_ms(rounds);
        let (losses, message) = self.losses.next(self.spool.book(), self.now_ms, wait_ms)?;
        let topic = self.topics.health.clone();
        self.publish(
            Connection::Main,
            topic,
            encoded(&message)?,
            Cargo::Losses(losses),
        )
    }

    fn poll_anchors(&mut self) -> Option<LinkCommand> {
        let index = self.anchors_next.filter(|_| self.main.takes_report())?;
        let Some(anchors) = self.anchors_of(index) else {
            self.anchors_next = None;
            return None;
        };
        self.anchors_next = Some(index + 1);
        let topic = self.topics.health.clone();
        self.publish(Connection::Main, topic, encoded(&anchors)?, Cargo::Report)
    }

    fn poll_status(&mut self) -> Option<LinkCommand> {
        let silent = self.closing != Closing::No;
        if self.status_ms > self.now_ms || silent || !self.main.takes_report() {
            return None;
        }
        self.status_ms = self.now_ms.saturating_add(self.config.status_ms);
        let status = self.status();
        let topic = self.topics.status.clone();
        self.publish(Connection::Main, topic, encoded(&status)?, Cargo::Report)
    }

    fn poll_goodbye(&mut self) -> Option<LinkCommand> {
        let last = self.main.live_count() == 0 && self.main.takes_report();
        if self.closing != Closing::Goodbye || !last {
            return None;
        }
        self.closing = Closing::Said;
        let goodbye = self.goodbye();
        let topic = self.topics.status.clone();
        self.publish(Connection::Main, topic, encoded(&goodbye)?, Cargo::Goodbye)
    }

    fn poll_frames(&mut self, connection: Connection) -> Option<LinkCommand> {
        let is_allowed = connection == Connection::Alert || self.budget.is_open();
        if !is_allowed || !self.flow_mut(connection).takes_frame() {
            return None;
        }
        let is_holed = connection == Connection::Main && self.is_holed();
        if is_holed || self.flow_mut(connection).is_backlog_turn() {
            if let Some(command) = self.poll_backlog(connection) {
                return Some(command);
            }
            self.flow_mut(connection).note_turn(false);
            if is_holed && self.is_backlog_open() && !self.silence.is_silent() {
                // A live frame would be one more piece; the hole is on its way or waits for its turn.
                return self.poll_live_behind_holes();
            }
        }
        self.poll_live(connection)
            .or_else(|| self.poll_backlog(connection))
    }

    /// Whether what the centre has of a stream of this process is in so many pieces that an
    /// acknowledgement will soon not name them all.
    fn is_holed(&self) -> bool {
        [Lane::Telemetry, Lane::Health].into_iter().any(|lane| {
            let epoch = self.identity.epoch;
            let stream = self.spool.book().stream(StreamId { epoch, lane });
            stream.is_some_and(|stream| stream.acked.ranges().len() >= self.config.holes_first)
        })
    }

    /// Live frames go on when nothing is left that could fill a hole.
    fn poll_live_behind_holes(&mut self) -> Option<LinkCommand> {
        if self.main.is_quiet() {
            self.poll_live(Connection::Main)
        } else {
            None
        }
    }

    fn poll_live(&mut self, connection: Connection) -> Option<LinkCommand> {
        loop {
            let item = self.flow_mut(connection).pop_live()?;
            if let Some(command) = self.publish_frame(connection, item, Source::Live) {
                return Some(command);
            }
        }
    }

    fn poll_backlog(&mut self, connection: Connection) -> Option<LinkCommand> {
        // A clean stop sends what is live, again what did not arrive, its goodbye, and then as much of the
        // backlog as its time allows; the rest is the next process's.
        if self.closing != Closing::No && connection == Connection::Main {
            let again = self.poll_resend(connection, false);
            return match self.closing {
                Closing::Goodbye => again,
                _ => again.or_else(|| self.poll_oldest(connection)),
            };
        }
        let probing = connection == Connection::Main && self.silence.is_silent();
        let is_open = self.is_backlog_open() && self.budget.is_backlog_open();
        if connection == Connection::Main && !is_open {
            return None;
        }
        if probing
            && self
                .silence
                .probe_ms()
                .is_some_and(|at_ms| at_ms > self.now_ms)
        {
            return None;
        }
        let command = self
            .poll_resend(connection, probing)
            .or_else(|| self.poll_oldest(connection));
        if command.is_some() && probing {
            self.silence.note_probe(self.now_ms, &self.pace);
        }
        command
    }

    fn poll_resend(&mut self, connection: Connection, probing: bool) -> Option<LinkCommand> {
        // A probe is whatever is due next, even before its time.
        let due_ms = if probing { u64::MAX } else { self.now_ms };
        loop {
            let flow = self.flow_mut(connection);
            if !flow.takes_frame() {
                return None;
            }
            let sent = flow.take_due(due_ms)?;
            let resends = sent.resends.saturating_add(1);
            let source = Source::Backlog { resends };
            if let Some(command) = self.publish_frame(connection, sent.item, source) {
                self.counts.resent += 1;
                return Some(command);
            }
        }
    }

    /// The oldest frame of the backlog, the lanes of the main connection in turn.
    fn poll_oldest(&mut self, connection: Connection) -> Option<LinkCommand> {
        if !self.flow_mut(connection).takes_backlog() {
            return None;
        }
        let lanes: &[Lane] = match (connection, self.health_turn) {
            (Connection::Alert, _) => &[Lane::Alert],
            (Connection::Main, false) => &[Lane::Telemetry, Lane::Health],
            (Connection::Main, true) => &[Lane::Health, Lane::Telemetry],
        };
        for lane in lanes {
            while let Some(item) = self.next_of_backlog(*lane) {
                let source = Source::Backlog { resends: 0 };
                if let Some(command) = self.publish_frame(connection, item, source) {
                    self.health_turn = *lane == Lane::Telemetry;
                    return Some(command);
                }
            }
        }
        None
    }

    fn next_of_backlog(&mut self, lane: Lane) -> Option<Item> {
        let mut cursor = *self.cursors.get(lane);
        let item = loop {
            let Some(found) = self.spool.next_frame(lane, &mut cursor) else {
                break None;
            };
            let item = Item {
                stream: found.stream,
                range: found.range,
                place: found.place,
            };
            if self.is_to_be_sent(&item) {
                break Some(item);
            }
        };
        *self.cursors.get_mut(lane) = cursor;
        item
    }

    /// Whether a frame is neither done nor under way.
    pub(super) fn is_to_be_sent(&self, item: &Item) -> bool {
        let busy = |flow: &Flow| flow.is_busy(item.stream, item.range.first_seq);
        let done = self.spool.book().is_done(item.stream, item.range);
        !done && !busy(&self.main) && !busy(&self.alert)
    }

    pub(super) fn publish_promised(
        &mut self,
        connection: Connection,
        item: Item,
    ) -> Option<LinkCommand> {
        self.publish_frame(connection, item, Source::Backlog { resends: 0 })
    }

    fn publish_frame(
        &mut self,
        connection: Connection,
        item: Item,
        source: Source,
    ) -> Option<LinkCommand> {
        let lane = item.stream.lane;
        if self.spool.book().is_done(item.stream, item.range) {
            return None;
        }
        let payload = match self.spool.read(item.place, item.stream, item.range) {
            Ok(payload) => payload,
            Err(Unread::Gone | Unread::Damaged | Unread::Unreadable) => return None,
        };
        let (is_live, resends) = match source {
            Source::Live => (true, 0),
            Source::Backlog { resends } => (false, resends),
        };
        self.flow_mut(connection).note_turn(is_live);
        let sent = Sent {
            item,
            sent_ms: self.now_ms,
            resends,
            resend_ms: u64::MAX,
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        };
        let is_backlog = !is_live && connection == Connection::Main && lane != Lane::Alert;
        let topic = self.topics.of_lane(lane).clone();
        let len = message_len(&topic, &payload);
        let command = self.publish(connection, topic, payload, Cargo::Frame(sent));
        if command.is_some() && is_backlog {
            self.budget.spend_hint(len);
        }
        command
    }

    fn publish(
        &mut self,
        connection: Connection,
        topic: Topic,
        payload: Vec<u8>,
        cargo: Cargo,
    ) -> Option<LinkCommand> {
        let session = self
            .flow_mut(connection)
            .session()
            .filter(|_| !topic.is_empty())?;
        self.token += 1;
        let (token, now_ms) = (self.token, self.now_ms);
        self.counts.published += 1;
        self.counts.published_bytes += payload.len() as u64;
        let len = message_len(&topic, &payload);
        self.budget.spend(len);
        self.flow_mut(connection)
            .published(token, now_ms, len, cargo);
        Some(LinkCommand::Publish {
            session,
            token,
            topic,
            payload,
        })
    }

    /// Times at which something of the main connection becomes due.
    pub(super) fn main_deadlines(&self) -> [Option<u64>; 7] {
        if self.main.session().is_none() {
            return [None; 7];
        }
        let silent = self.silence.is_silent();
        [
            self.birth.due_ms,
            self.backlog_ms(),
            self.losses.due_ms(self.spool.book()),
            Some(self.status_ms),
            self.main.resend_ms().filter(|_| !silent),
            self.silence.probe_ms(),
            self.stall_ms(&self.main),
        ]
    }

    /// Times at which something of the alert connection becomes due.
    pub(super) fn alert_deadlines(&self) -> [Option<u64>; 2] {
        if self.alert.session().is_none() {
            return [None; 2];
        }
        [self.alert.resend_ms(), self.stall_ms(&self.alert)]
    }

    fn stall_ms(&self, flow: &Flow) -> Option<u64> {
        let since_ms = flow.oldest_in_flight_ms()?;
        Some(since_ms.saturating_add(self.config.puback_ms_max))
    }
}
