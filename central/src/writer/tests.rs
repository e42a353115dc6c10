use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use crossbeam_channel::{Sender, bounded};
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange};
use firmware_shared::message::{Ack, Message};
use firmware_shared::time::{BootId, TimeAnchor};
use firmware_shared::topic::Leaf;

use super::*;
use crate::ingest::{
    CoreConfig, DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, RawBatch, StreamKey,
    StreamRecord, Write,
};
use crate::sqlite::Sqlite;
use crate::testing::*;

/// A database whose disk is full for the next so many commits.
struct Full {
    sink: Sqlite,
    failures: Rc<Cell<u32>>,
}

impl Sink for Full {
    fn stream(&mut self, key: &StreamKey) -> Result<StreamRecord, SinkError> {
        self.sink.stream(key)
    }
    fn frame_at(&mut self, key: &StreamKey, at: u64) -> Result<Option<FramePrint>, SinkError> {
        self.sink.frame_at(key, at)
    }
    fn expired_in(&mut self, key: &StreamKey, range: SeqRange) -> Result<u64, SinkError> {
        self.sink.expired_in(key, range)
    }
    fn device(&mut self, device: &DeviceId) -> Result<DeviceRecord, SinkError> {
        self.sink.device(device)
    }
    fn epoch(&mut self, device: &DeviceId, epoch: Epoch) -> Result<EpochRecord, SinkError> {
        self.sink.epoch(device, epoch)
    }
    fn anchors(&mut self, device: &DeviceId, boot: BootId) -> Result<Vec<TimeAnchor>, SinkError> {
        self.sink.anchors(device, boot)
    }
    fn frames_to_date(
        &mut self,
        task: &DateTask,
        behind: Option<&FramePlace>,
        limit: usize,
    ) -> Result<Vec<FramePlace>, SinkError> {
        self.sink.frames_to_date(task, behind, limit)
    }
    fn to_date(&mut self) -> Result<Vec<DateTask>, SinkError> {
        self.sink.to_date()
    }
    fn raw_batches(&mut self, codecs: &[u8], limit: usize) -> Result<Vec<RawBatch>, SinkError> {
        self.sink.raw_batches(codecs, limit)
    }
    fn frames_before(
        &mut self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(StreamKey, SeqRange)>, SinkError> {
        self.sink.frames_before(before_ms, limit)
    }
    fn apply(&mut self, writes: &[Write]) -> Result<(), SinkError> {
        match self.failures.get() {
            0 => self.sink.apply(writes),
            left => {
                self.failures.set(left - 1);
                Err(SinkError::Unavailable("disk full".to_owned()))
            }
        }
    }
}

struct Rig {
    writer: Writer<Full>,
    inbox: Sender<Delivery>,
    stop: Sender<()>,
    said: mpsc::Receiver<Answer>,
    acked: watch::Receiver<Place>,
}

fn rig(folder: &Path) -> (Rig, Rc<Cell<u32>>) {
    let failures = Rc::new(Cell::new(0));
    let sink = Full {
        sink: Sqlite::open(&folder.join("fleet.sqlite"), 1, 2).unwrap(),
        failures: Rc::clone(&failures),
    };
    let core = CoreConfig {
        prefix: PREFIX.to_owned(),
        central_id: 1,
        run: 1,
        ack_period_ms: 1_000,
        keep_sealed_bytes: false,
        gap_ms: GAP_MS,
        backlog_bytes_per_s: 0,
    };
    let (inbox_in, inbox) = bounded(100);
    let (acked_in, acked) = watch::channel(Place::default());
    let (said_in, said) = mpsc::channel(100);
    let (stop_in, stop) = bounded(0);
    let config = WriterConfig {
        commit_ms_max: 20,
        retention_days: 0,
        state_topic: "fleet/v1/central/state".to_owned(),
        retry_ms_min: 1,
        retry_ms_max: 2,
        jitter_seed: 1,
    };
    let channels = Channels {
        inbox,
        acked: acked_in,
        said: said_in,
        stop,
        vitals: Default::default(),
    };
    let rig = Rig {
        writer: Writer::new(Committer::new(core, sink), config, channels),
        inbox: inbox_in,
        stop: stop_in,
        said,
        acked,
    };
    (rig, failures)
}

fn give(rig: &Rig, index: u64) {
    rig.inbox
        .send(Delivery {
            place: Place {
                connection: 1,
                index,
            },
            topic: topic_of(&device(), Leaf::Telemetry),
            payload: frame(stream(1, Lane::Telemetry), index * 10, 10),
        })
        .unwrap();
}

fn states(said: &mut mpsc::Receiver<Answer>) -> (Vec<String>, Vec<Ack>) {
    let (mut states, mut acks) = (Vec::new(), Vec::new());
    while let Ok(answer) = said.try_recv() {
        if answer.topic == "fleet/v1/central/state" {
            let state: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            states.push(state["state"].as_str().unwrap().to_owned());
        } else {
            acks.push(Ack::decode(&answer.payload).unwrap());
        }
    }
    (states, acks)
}

#[test]
fn what_is_in_the_inbox_when_it_closes_is_committed_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, _) = rig(folder.path());
    (0..80).for_each(|index| give(&rig, index));
    drop(rig.inbox);
    rig.writer.run();
    assert_eq!(rig.acked.borrow().index, 79);
    let (_, acks) = states(&mut rig.said);
    assert!((1..=2).contains(&acks.len()), "{}", acks.len());
    let connection = rusqlite::Connection::open(folder.path().join("fleet.sqlite")).unwrap();
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM readings", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 800);
}

#[test]
fn a_full_disk_holds_every_acknowledgement_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, failures) = rig(folder.path());
    failures.set(3);
    give(&rig, 1);
    drop(rig.inbox);
    rig.writer.run();
    let (states, acks) = states(&mut rig.said);
    assert_eq!(states, ["stalled", "stalled", "stalled", "running"]);
    assert_eq!(acks.len(), 1);
    assert_eq!(rig.acked.borrow().index, 1);
}

#[test]
fn a_stop_ends_a_writer_that_waits_for_its_disk_and_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, failures) = rig(folder.path());
    failures.set(u32::MAX);
    give(&rig, 1);
    drop(rig.stop);
    rig.writer.run();
    let (_, acks) = states(&mut rig.said);
    assert_eq!(acks, []);
    assert_eq!(*rig.acked.borrow(), Place::default());
}
