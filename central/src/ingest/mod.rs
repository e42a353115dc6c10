//! The ingest core: what a publish means for the database and for the device.
//!
//! Promises: a frame is stored once, whatever is repeated, reordered or restarted; the same key with other
//! bytes is set aside with an alarm; nothing is acknowledged before a sink has committed it; bytes of any
//! kind on any topic end as a row, a count or a quarantined frame. Never: names a database, a broker or a
//! clock; sorts, names or deduplicates anything by wall time; acknowledges an open tail's numbers.
//!
//! One group is `handle` for each publish and then `commit`; after an error of either, `forget` and begin
//! the group again: the core holds nothing that the sink does not.

mod alert;
mod answers;
mod batch;
mod gaps;
mod health;
mod ledger;
mod memory;
mod pacing;
mod sink;
mod status;
#[cfg(test)]
mod tests;
mod timeline;
mod timing;
mod upkeep;

use std::collections::HashMap;

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{DeviceId, Lane, SeqRange, StreamId};
use firmware_shared::message::{Nack, NackReason};
use firmware_shared::topic::{self, Leaf};

pub(crate) use answers::Answer;
use answers::Answers;
pub(crate) use ledger::{ClosedLoss, LossLedger, OpenTail, insert};
use memory::Memory;
pub(crate) use sink::{
    Alarm, BatchRecord, DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, Link,
    Quarantined, RawBatch, Sink, SinkError, StreamKey, StreamRecord, Write,
};
pub(crate) use timeline::{Dated, Timeline};
use timing::BootClock;
pub(crate) use upkeep::Upkeep;

/// The largest number, stamp or count that is taken: far above anything a device can reach, and with room
/// for sums in a signed SQL integer.
const NUMBER_MAX: u64 = 1 << 62;
/// The longest publish that is kept in quarantine whole; the broker's own limit is the same.
const PUBLISH_LEN_MAX: usize = 128 * 1024;

/// What the core needs to know about its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct CoreConfig {
    pub(crate) prefix: String,
    /// Names the database.
    pub(crate) central_id: u64,
    /// Random per ingest start.
    pub(crate) run: u64,
    pub(crate) ack_period_ms: u64,
    pub(crate) keep_sealed_bytes: bool,
    /// A gap that has not moved for so long makes the centre ask; 0: never.
    pub(crate) gap_ms: u64,
    /// What all devices together may send of their backlogs; 0: no limit.
    pub(crate) backlog_bytes_per_s: u32,
}

/// The ingest core.
#[derive(Debug)]
pub(crate) struct Core {
    config: CoreConfig,
    memory: Memory,
    answers: Answers,
    upkeep: Upkeep,
    gaps: gaps::Gaps,
    pacer: pacing::Pacer,
    writes: Vec<Write>,
    counts: HashMap<(String, &'static str), u64>,
}

impl Core {
    pub(crate) fn new(config: CoreConfig) -> Self {
        Self {
            answers: Answers::new(config.central_id, config.run, config.ack_period_ms),
            config,
            memory: Memory::default(),
            upkeep: Upkeep::default(),
            gaps: gaps::Gaps::default(),
            pacer: pacing::Pacer::default(),
            writes: Vec::new(),
            counts: HashMap::new(),
        }
    }

    /// Takes one publish into the current group.
    pub(crate) fn handle(
        &mut self,
        sink: &mut dyn Sink,
        now_ms: i64,
        topic_text: &str,
        payload: &[u8],
    ) -> Result<(), SinkError> {
        let mut publish = Publish {
            sink,
            now_ms,
            topic: topic_text,
            payload,
        };
        let Some((device, leaf)) = topic::parse(&self.config.prefix, topic_text) else {
            self.count("", "foreign_topics", 1);
            self.quarantine(&publish, None, "topic", "not a topic of this fleet");
            return Ok(());
        };
        match leaf {
            Leaf::Telemetry => self.batch(&mut publish, &device, Lane::Telemetry),
            Leaf::Health => self.health(&mut publish, &device),
            Leaf::Alert => self.alert(&mut publish, &device),
            Leaf::Status => self.status(&mut publish, &device),
            // The centre's own words, or those of whoever imitates it.
            Leaf::Ack | Leaf::Cmd(_) => {
                self.count(device.as_str(), "foreign_topics", 1);
                Ok(())
            }
        }
    }

    /// Commits the group; what it answers becomes due.
    pub(crate) fn commit(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        self.memory.write_changes(&mut self.writes);
        let counts = self.counts.drain();
        self.writes
            .extend(counts.map(|((device, name), by)| Write::Count { device, name, by }));
        if !self.writes.is_empty() {
            sink.apply(&self.writes)?;
        }
        self.writes.clear();
        self.memory.settle();
        self.answers.settle();
        Ok(())
    }

    /// Drops everything that is not committed, and all that was remembered of the sink.
    pub(crate) fn forget(&mut self) {
        self.memory = Memory::default();
        self.answers.forget();
        self.writes.clear();
        self.counts.clear();
    }

    /// What is to be published, all of it committed.
    pub(crate) fn answers(
        &mut self,
        sink: &mut dyn Sink,
        mono_ms: u64,
    ) -> Result<Vec<Answer>, SinkError> {
        self.answers
            .take(&mut self.memory, sink, mono_ms, &self.config.prefix)
    }

    /// When the next answer becomes due.
    pub(crate) fn deadline(&self, mono_ms: u64) -> Option<u64> {
        self.answers.deadline(mono_ms)
    }

    fn count(&mut self, device: &str, name: &'static str, by: u64) {
        *self.counts.entry((device.to_owned(), name)).or_default() += by;
    }

    fn quarantine(
        &mut self,
        publish: &Publish<'_>,
        device: Option<&DeviceId>,
        reason: &'static str,
        detail: impl Into<String>,
    ) {
        let device = device.map_or("", DeviceId::as_str);
        self.count(device, "quarantined", 1);
        let kept = publish
            .payload
            .get(..PUBLISH_LEN_MAX)
            .unwrap_or(publish.payload);
        self.writes.push(Write::Quarantine(Quarantined {
            device: device.to_owned(),
            topic: publish.topic.to_owned(),
            reason,
            detail: detail.into(),
            bytes: kept.to_vec(),
            received_ms: publish.now_ms,
        }));
    }

    /// Sets a frame aside and tells the device.
    fn refuse(
        &mut self,
        publish: &Publish<'_>,
        device: &DeviceId,
        frame: Option<(StreamId, SeqRange)>,
        reason: NackReason,
        detail: impl Into<String>,
    ) {
        self.count(device.as_str(), reason.name(), 1);
        self.quarantine(publish, Some(device), reason.name(), detail);
        let nack = Nack {
            central_id: self.config.central_id,
            frame,
            reason,
        };
        self.answers.nack(device, nack);
    }

    /// A publish that the database refused for a reason that will not go away.
    pub(crate) fn set_aside(
        &mut self,
        sink: &mut dyn Sink,
        now_ms: i64,
        topic_text: &str,
        payload: &[u8],
        detail: &str,
    ) {
        let publish = Publish {
            sink,
            now_ms,
            topic: topic_text,
            payload,
        };
        let device = topic::parse(&self.config.prefix, topic_text).map(|(device, _)| device);
        self.quarantine(&publish, device.as_ref(), "refused", detail);
    }

    fn clash(
        &mut self,
        publish: &Publish<'_>,
        key: &StreamKey,
        range: Option<SeqRange>,
        text: String,
    ) {
        self.count(key.device.as_str(), "clashes", 1);
        tracing::warn!(device = %key.device, text, "identity clash");
        self.answers
            .alarm(alert_of(key, range, publish.now_ms, &text));
        self.writes.push(Write::Alarm(Alarm {
            key: key.clone(),
            kind: "identity_clash",
            range,
            text,
            at_ms: publish.now_ms,
        }));
    }
}

/// A clash as an alert of the centre. It has no number of the device's, and is published on a topic of the
/// centre's own, so that nobody takes it for one of the device's alerts.
fn alert_of(key: &StreamKey, range: Option<SeqRange>, now_ms: i64, text: &str) -> Alert {
    let id = format!("{}-{}-identity_clash", key.device, key.stream.epoch);
    let utc = jiff::Timestamp::from_millisecond(now_ms)
        .ok()
        .and_then(|utc| utc.to_string().as_str().try_into().ok());
    Alert {
        id: cut(&id),
        device: key.device.clone(),
        epoch: key.stream.epoch,
        seq: range.map_or(0, |range| range.first_seq),
        state: AlertState::Raised,
        severity: Severity::Critical,
        kind: cut("identity_clash"),
        sensor: cut("centre"),
        value: None,
        unit: heapless::String::new(),
        expected: None,
        low: None,
        high: None,
        boottime_ms: 0,
        utc,
        late: false,
        window: range,
        text: cut(text),
        score: None,
        duration_ms: None,
        heads: heapless::Vec::new(),
        load_id: None,
        profile_version: None,
    }
}

/// As much of a text as fits.
fn cut<const N: usize>(text: &str) -> heapless::String<N> {
    let mut cut = heapless::String::new();
    for c in text.chars() {
        if cut.push(c).is_err() {
            break;
        }
    }
    cut
}

/// One publish on its way through the core.
struct Publish<'a> {
    sink: &'a mut dyn Sink,
    now_ms: i64,
    topic: &'a str,
    payload: &'a [u8],
}
