//! Black boxes: readings around a critical alert, which go out with the priority of alerts.
//!
//! Promises: a range that was promised overtakes the backlog, over the connection of the alerts, or before
//! everything else over the main one while alerts have none; half of the alerts' window stays free for
//! alerts; what a range names is sent once like any other frame; ranges of an earlier process are found again in
//! its alerts. Never: a frame held twice, or more than [`PROMISES_MAX`] ranges.

use std::collections::VecDeque;

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{Lane, SeqRange, StreamId};

use super::Deliver;
use crate::forward::flow::Item;
use crate::forward::link::{Connection, LinkCommand};
use crate::spool::Place;

/// Ranges that wait; the oldest goes on as ordinary backlog when there are more.
const PROMISES_MAX: usize = 16;

/// A range that was promised.
#[derive(Debug, Clone, Copy)]
struct Promise {
    stream: StreamId,
    range: SeqRange,
    /// Up to where the lane was looked through for it.
    cursor: Place,
    /// Frames of its epoch were met.
    is_met: bool,
    /// What lies behind is not of it: the lane is in the order of its numbers.
    is_passed: bool,
}

/// The ranges that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Promises {
    list: VecDeque<Promise>,
}

/// The black box of an alert, if it has one.
#[must_use]
pub fn black_box(alert: &Alert) -> Option<(StreamId, SeqRange)> {
    let is_begin = matches!(alert.state, AlertState::Raised | AlertState::Escalated);
    let stream = StreamId {
        epoch: alert.epoch,
        lane: Lane::Telemetry,
    };
    let is_critical = is_begin && alert.severity == Severity::Critical;
    alert
        .window
        .filter(|_| is_critical)
        .map(|range| (stream, range))
}

impl Deliver {
    /// Sends these readings before the backlog, those that are still to come included.
    pub fn promote(&mut self, stream: StreamId, range: SeqRange) {
        let list = &mut self.promises.list;
        if list.len() >= PROMISES_MAX {
            list.pop_front();
        }
        list.push_back(Promise {
            stream,
            range,
            cursor: self.spool.seek(stream, range),
            is_met: false,
            is_passed: false,
        });
    }

    /// What the alerts of earlier processes promised and nobody has acknowledged.
    pub(super) fn promote_earlier(&mut self) {
        let mut cursor = Place::default();
        let mut found = Vec::new();
        while let Some(frame) = self.spool.next_frame(Lane::Alert, &mut cursor) {
            if self.spool.book().is_done(frame.stream, frame.range) {
                continue;
            }
            let bytes = self.spool.read(frame.place, frame.stream, frame.range);
            let alert = bytes.ok().and_then(|b| serde_json::from_slice(&b).ok());
            found.extend(alert.as_ref().and_then(black_box));
        }
        for (stream, range) in found {
            self.promote(stream, range);
        }
    }

    /// Frames that were under way are looked for again.
    pub(super) fn look_again(&mut self) {
        for promise in &mut self.promises.list {
            promise.cursor = self.spool.seek(promise.stream, promise.range);
            (promise.is_met, promise.is_passed) = (false, false);
        }
    }

    /// The next frame of a black box.
    pub(super) fn poll_promised(&mut self, connection: Connection) -> Option<LinkCommand> {
        while !self.promises.list.is_empty() && self.flow_mut(connection).takes_promised() {
            let item = self.next_promised()?;
            if let Some(command) = self.publish_promised(connection, item) {
                return Some(command);
            }
        }
        None
    }

    fn next_promised(&mut self) -> Option<Item> {
        let book = self.spool.book();
        let is_open = |promise: &Promise| {
            book.stream(promise.stream).is_some() && !book.is_done(promise.stream, promise.range)
        };
        self.promises.list.retain(is_open);
        for at in 0..self.promises.list.len() {
            let mut promise = *self.promises.list.get(at)?;
            let item = self.next_of(&mut promise);
            if let Some(slot) = self.promises.list.get_mut(at) {
                *slot = promise;
            }
            if item.is_some() {
                return item;
            }
        }
        None
    }

    fn next_of(&mut self, promise: &mut Promise) -> Option<Item> {
        let lane = promise.stream.lane;
        while !promise.is_passed {
            let found = self.spool.next_frame(lane, &mut promise.cursor)?;
            if found.stream != promise.stream {
                promise.is_passed = promise.is_met;
                continue;
            }
            promise.is_met = true;
            promise.is_passed = found.range.first_seq > promise.range.last_seq;
            let item = Item {
                stream: found.stream,
                range: found.range,
                place: found.place,
            };
            let is_of_it = found.range.intersection(&promise.range).is_some();
            if is_of_it && self.is_to_be_sent(&item) {
                return Some(item);
            }
        }
        None
    }
}
