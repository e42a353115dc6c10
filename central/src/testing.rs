//! The kit of this crate's tests: frames made by hand, a committer over a database in a temporary folder,
//! and the answers read back.

use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::batch::{self, CodecId, Header, SealParams};
use firmware_shared::catalogue::{Catalogue, Details, SensorDetail, SensorEntry};
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{
    Ack, AckEntry, Anchors, Birth, Losses, MESSAGE_LEN_MAX, Message, MessageKind, Nack, OpenEpoch,
    OpenLane, Opening, Pacing,
};
use firmware_shared::reading::{Kind, Reading, Score, Value};
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};
use firmware_shared::topic::{Leaf, topic};
use firmware_shared::units::{Celsius128, Unit};

use crate::committer::{Committer, Delivery, Place};
use crate::ingest::{CoreConfig, SinkError};
use crate::sqlite::Sqlite;

pub(crate) const PREFIX: &str = "fleet/v1";
pub(crate) const ACK_PERIOD_MS: u64 = 1_000;
pub(crate) const GAP_MS: u64 = 60_000;
pub(crate) const BACKLOG_BYTES_PER_S: u32 = 9_000;

pub(crate) fn device() -> DeviceId {
    "truck-001".parse().unwrap()
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::from_number(number).unwrap()
}

pub(crate) fn stream(number: u64, lane: Lane) -> StreamId {
    StreamId {
        epoch: epoch(number),
        lane,
    }
}

pub(crate) fn boot(number: u8) -> BootId {
    BootId([number; 16])
}

pub(crate) fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

pub(crate) fn topic_of(device: &DeviceId, leaf: Leaf<'_>) -> String {
    topic(PREFIX, device, leaf).unwrap().as_str().to_owned()
}

/// Readings whose stamps differ by number and epoch, so that no two share one.
pub(crate) fn readings(first_seq: u64, count: u64) -> Vec<Reading> {
    (first_seq..first_seq + count)
        .map(|seq| Reading {
            stamp_ms: 10_000 + seq * 1_000,
            sensor: 1,
            score: Score(0),
            value: Value::Temperature(Celsius128(512 + seq as i32 % 40)),
        })
        .collect()
}

pub(crate) fn seal(stream: StreamId, first_seq: u64, readings: &[Reading]) -> Vec<u8> {
    seal_anchored(stream, first_seq, readings, None)
}

pub(crate) fn seal_anchored(
    stream: StreamId,
    first_seq: u64,
    readings: &[Reading],
    anchor: Option<TimeAnchor>,
) -> Vec<u8> {
    let params = SealParams {
        epoch: stream.epoch,
        lane: stream.lane,
        first_seq,
        anchor,
    };
    let mut out = vec![0; batch::BATCH_LEN_MAX];
    let len = batch::seal(&params, readings, &mut out).unwrap();
    out.truncate(len);
    out.shrink_to_fit();
    out
}

/// A batch of ordinary readings.
pub(crate) fn frame(stream: StreamId, first_seq: u64, count: u64) -> Vec<u8> {
    seal(stream, first_seq, &readings(first_seq, count))
}

pub(crate) fn opaque(stream: StreamId, first_seq: u64, codec: CodecId, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        codec,
        epoch: stream.epoch,
        lane: stream.lane,
        first_seq,
        count: 1,
        base_ms: 5,
        anchor: None,
    };
    let mut out = vec![0; batch::BATCH_LEN_MAX];
    let len = batch::seal_opaque(&header, payload, &mut out).unwrap();
    out.truncate(len);
    out.shrink_to_fit();
    out
}

pub(crate) fn opening(stream: StreamId, boot_id: BootId) -> Vec<u8> {
    let opening = Opening {
        boot_id,
        software: "1.0.0".try_into().unwrap(),
        catalogue: catalogue(),
        details: details(),
    };
    let payload: Vec<u8> = postcard_bytes(&opening);
    opaque(stream, 0, CodecId::OPENING, &payload)
}

fn postcard_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    let mut out = vec![0; MESSAGE_LEN_MAX];
    postcard::to_slice(value, &mut out).unwrap().to_vec()
}

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::new([SensorEntry {
        index: 1,
        name: "cargo".try_into().unwrap(),
        kind: Kind::Temperature,
        unit: Unit::CELSIUS,
        role: "load".try_into().unwrap(),
        calibration: 0,
        period_ms: 1_000,
    }])
    .unwrap()
}

pub(crate) fn details() -> Details {
    let detail = SensorDetail {
        index: 1,
        compartment: "rear".try_into().unwrap(),
        // 2027-01-04
        calibration_until_day: Some(20_822),
    };
    Details([detail].into_iter().collect())
}

pub(crate) fn message(message: &impl Message) -> Vec<u8> {
    let mut out = vec![0; MESSAGE_LEN_MAX];
    message.encode(&mut out).unwrap().to_vec()
}

pub(crate) fn losses(losses: &[firmware_shared::message::Loss]) -> Vec<u8> {
    message(&Losses {
        losses: losses.iter().copied().collect(),
    })
}

pub(crate) fn anchors(boot_id: BootId, list: &[TimeAnchor]) -> Vec<u8> {
    message(&Anchors {
        boot_id,
        anchors: list.iter().copied().collect(),
    })
}

pub(crate) fn anchor(boottime_ms: u64, utc_ms: i64, source: ClockSource) -> TimeAnchor {
    TimeAnchor {
        boottime_ms,
        utc_ms,
        error_ms: 20,
        source,
    }
}

/// A birth of an epoch in boot 1 that lists these streams with their next numbers.
pub(crate) fn birth(
    number: u64,
    nonce: u64,
    boottime_ms: u64,
    open: &[(StreamId, Option<u64>)],
) -> Birth {
    let mut epochs: Vec<OpenEpoch> = Vec::new();
    for (stream, next_seq) in open {
        let lane = OpenLane {
            lane: stream.lane,
            next_seq: *next_seq,
            held: Default::default(),
        };
        match epochs.iter_mut().find(|e| e.epoch == stream.epoch) {
            Some(open) => open.lanes.push(lane).unwrap(),
            None => epochs.push(OpenEpoch {
                epoch: stream.epoch,
                boot_id: boot(1),
                lanes: [lane].into_iter().collect(),
            }),
        }
    }
    Birth {
        device: device(),
        nonce,
        spool_id: u64::MAX - 3,
        incarnation: number as u32,
        epoch: epoch(number),
        boot_id: boot(1),
        boottime_ms,
        software: "1.0.0".try_into().unwrap(),
        catalogue: catalogue(),
        epochs: epochs.into_iter().collect(),
        details: details(),
    }
}

pub(crate) fn alert(number: u64, seq: u64, severity: Severity) -> Alert {
    Alert {
        id: "truck-001-1-0".try_into().unwrap(),
        device: device(),
        epoch: epoch(number),
        seq,
        state: AlertState::Raised,
        severity,
        kind: "limit_high".try_into().unwrap(),
        sensor: "cargo".try_into().unwrap(),
        value: Some(9.5),
        unit: "degC".try_into().unwrap(),
        expected: Some(4.0),
        low: None,
        high: Some(8.0),
        boottime_ms: 77_000 + seq,
        utc: None,
        late: false,
        window: None,
        text: "The cargo is too warm.".try_into().unwrap(),
        score: None,
        duration_ms: None,
        heads: Default::default(),
        load_id: None,
        profile_version: None,
    }
}

/// What a device heard.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful of them, in tests")]
pub(crate) enum Heard {
    Ack(Ack),
    Nack(Nack),
}

/// A committer over a database in a folder of its own.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) committer: Committer<Sqlite>,
    pub(crate) now_ms: i64,
    pub(crate) mono_ms: u64,
    /// What the device was told about its backlog.
    pub(crate) paced: Vec<Pacing>,
    delivered: u64,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let committer = open(folder.path(), 1);
        Self {
            folder,
            committer,
            now_ms: 1_700_000_000_000,
            mono_ms: 0,
            paced: Vec::new(),
            delivered: 0,
        }
    }

    /// The process ends without a word, and another one takes its place.
    pub(crate) fn restart(self) -> Self {
        let Self {
            folder,
            committer,
            now_ms,
            mono_ms,
            paced,
            delivered,
        } = self;
        drop(committer);
        let committer = open(folder.path(), delivered + 2);
        Self {
            folder,
            committer,
            now_ms,
            mono_ms,
            paced,
            delivered,
        }
    }

    pub(crate) fn db(&self) -> std::path::PathBuf {
        self.folder.path().join("fleet.sqlite")
    }

    pub(crate) fn delivery(&mut self, leaf: Leaf<'_>, payload: &[u8]) -> Delivery {
        self.delivered += 1;
        Delivery {
            place: Place {
                connection: 1,
                index: self.delivered,
            },
            topic: topic_of(&device(), leaf),
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn try_give(&mut self, leaf: Leaf<'_>, payload: &[u8]) -> Result<(), SinkError> {
        let delivery = self.delivery(leaf, payload);
        self.committer.commit(self.now_ms, &[delivery])
    }

    pub(crate) fn give(&mut self, leaf: Leaf<'_>, payload: &[u8]) {
        self.try_give(leaf, payload).unwrap();
    }

    pub(crate) fn give_all(&mut self, leaf: Leaf<'_>, payloads: &[Vec<u8>]) {
        let group: Vec<Delivery> = payloads
            .iter()
            .map(|payload| self.delivery(leaf, payload))
            .collect();
        self.committer.commit(self.now_ms, &group).unwrap();
    }

    /// What goes to the device, after a whole period of waiting.
    pub(crate) fn hear(&mut self) -> Vec<Heard> {
        self.mono_ms += ACK_PERIOD_MS;
        self.hear_at_once()
    }

    /// So much time passes, and the gaps are looked at.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.mono_ms += ms;
        self.committer.watch_gaps(self.mono_ms);
    }

    pub(crate) fn hear_at_once(&mut self) -> Vec<Heard> {
        self.answers().0
    }

    /// As `hear`, with the alerts of the centre that go out.
    pub(crate) fn hear_with_alarms(&mut self) -> (Vec<Heard>, Vec<Alert>) {
        self.mono_ms += ACK_PERIOD_MS;
        self.answers()
    }

    fn answers(&mut self) -> (Vec<Heard>, Vec<Alert>) {
        let (mut heard, mut alarms) = (Vec::new(), Vec::new());
        for answer in self.committer.answers(self.mono_ms).unwrap() {
            if answer.topic == format!("{PREFIX}/central/alert") {
                alarms.push(serde_json::from_slice(&answer.payload).unwrap());
                continue;
            }
            assert_eq!(answer.topic, topic_of(&device(), Leaf::Ack));
            if answer.payload[1] == MessageKind::Pacing as u8 {
                self.paced.push(Pacing::decode(&answer.payload).unwrap());
            } else if answer.payload[1] == MessageKind::Ack as u8 {
                heard.push(Heard::Ack(Ack::decode(&answer.payload).unwrap()));
            } else {
                heard.push(Heard::Nack(Nack::decode(&answer.payload).unwrap()));
            }
        }
        (heard, alarms)
    }

    /// The one entry of the one acknowledgement that goes out.
    pub(crate) fn entry(&mut self) -> AckEntry {
        let heard = self.hear();
        let [Heard::Ack(ack)] = heard.as_slice() else {
            panic!("expected one ack: {heard:?}");
        };
        let [entry] = ack.entries.as_slice() else {
            panic!("expected one entry: {ack:?}");
        };
        entry.clone()
    }

    /// The first column of a query, all rows.
    pub(crate) fn column(&self, sql: &str) -> Vec<String> {
        let connection = self.committer.sink().connection();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok(match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                    rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                    rusqlite::types::ValueRef::Real(n) => n.to_string(),
                    rusqlite::types::ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
                    rusqlite::types::ValueRef::Blob(b) => format!("{} bytes", b.len()),
                })
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    pub(crate) fn value(&self, sql: &str) -> String {
        let column = self.column(sql);
        assert_eq!(column.len(), 1, "{sql}: {column:?}");
        column[0].clone()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let sql = format!("SELECT coalesce(sum(value), 0) FROM counters WHERE name = '{name}'");
        self.value(&sql).parse().unwrap()
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.committer
            .sink()
            .connection()
            .execute_batch(sql)
            .unwrap();
    }
}

pub(crate) fn open(folder: &std::path::Path, run: u64) -> Committer<Sqlite> {
    let sink = Sqlite::open(&folder.join("fleet.sqlite"), 1, 0xABCD_EF01_2345_6789).unwrap();
    let config = CoreConfig {
        prefix: PREFIX.to_owned(),
        central_id: sink.central_id(),
        run,
        ack_period_ms: ACK_PERIOD_MS,
        keep_sealed_bytes: false,
        gap_ms: GAP_MS,
        backlog_bytes_per_s: BACKLOG_BYTES_PER_S,
    };
    let mut committer = Committer::new(config, sink);
    committer.resume(1).unwrap();
    committer
}
