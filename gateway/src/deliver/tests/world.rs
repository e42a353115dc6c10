//! A vehicle on a simulated disk, a broker that may forget, and a centre.
use std::collections::BTreeMap;

use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::SoftwareVersion;
use firmware_shared::time::BootId;
use firmware_shared::topic::Topic;

use super::centre::{Centre, frame, frame_of};
use crate::deliver::{Deliver, DeliverConfig, ProcessIdentity};
use crate::forward::link::{Connection, LinkCommand, LinkEvent, Session};
use crate::spool::PerLane;
use crate::spool::sim::SimDisk;

pub(crate) const TAIL_AT_MOST: u64 = 1_000;

/// A message on its way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) session: Session,
    pub(crate) token: u64,
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn frame(&self) -> Option<(StreamId, SeqRange)> {
        frame_of(&self.payload)
    }
}

pub(crate) struct World {
    pub(crate) config: DeliverConfig,
    pub(crate) disk: SimDisk,
    pub(crate) deliver: Deliver,
    pub(crate) epoch: Epoch,
    /// How many process starts there were.
    pub(crate) starts: u64,
    pub(crate) now_ms: u64,
    pub(crate) next_seq: PerLane<u64>,
    sessions: u64,
    pub(crate) main: Option<Session>,
    pub(crate) alert: Option<Session>,
    pub(crate) centre: Centre,
    /// Every stream's issued numbers.
    pub(crate) issued: BTreeMap<StreamId, u64>,
}

pub(crate) fn identity(epoch: Epoch) -> ProcessIdentity {
    ProcessIdentity {
        device: "truck-001".parse().unwrap(),
        epoch,
        boot_id: BootId([7; 16]),
        software: SoftwareVersion::try_from("test").unwrap(),
        catalogue: Catalogue::default(),
        details: Details::default(),
        tail_at_most: [TAIL_AT_MOST; 3],
    }
}

pub(crate) fn epoch_of_start(start: u64) -> Epoch {
    Epoch::from_random(0x1000_0000 + start * 0x0101_0101)
}

/// Small segments, so that they are full, used again and evicted within a few frames.
pub(crate) fn config() -> DeliverConfig {
    let mut config = DeliverConfig::new(42);
    config.window = 20;
    config.spool.segment_bytes = 4 * 1_024;
    config.spool.align = 512;
    config.spool.slot_bytes = 4 * 1_024;
    config.spool.history_ms = 0;
    config.spool.max_bytes = PerLane::from_fn(|_| 1 << 20);
    config.spool.total_bytes = 3 << 20;
    config
}

impl World {
    pub(crate) fn new(config: DeliverConfig) -> Self {
        Self::on(config, SimDisk::default(), 1)
    }

    pub(crate) fn on(config: DeliverConfig, disk: SimDisk, start: u64) -> Self {
        let epoch = epoch_of_start(start);
        let opened = Box::new(disk.clone());
        Self {
            deliver: Deliver::open(config.clone(), identity(epoch), opened, 1_000),
            config,
            disk,
            epoch,
            starts: start,
            now_ms: 1_000,
            next_seq: PerLane::default(),
            sessions: 0,
            main: None,
            alert: None,
            centre: Centre::new(77),
            issued: BTreeMap::new(),
        }
    }

    pub(crate) fn stream(&self, lane: Lane) -> StreamId {
        StreamId {
            epoch: self.epoch,
            lane,
        }
    }

    /// Issues `count` numbers.
    pub(crate) fn issue(&mut self, lane: Lane, count: u64) -> SeqRange {
        let next = self.next_seq.get_mut(lane);
        let range = SeqRange::from_count(*next, count).unwrap();
        *next = range.next_seq();
        self.deliver.note_next_seq(lane, range.next_seq());
        self.issued.insert(self.stream(lane), range.next_seq());
        range
    }

    /// Seals and accepts a frame of `count` numbers.
    pub(crate) fn accept(&mut self, lane: Lane, count: u64) -> SeqRange {
        let range = self.issue(lane, count);
        self.deliver
            .accept(self.now_ms, frame(self.stream(lane), range));
        range
    }

    pub(crate) fn sync(&mut self) {
        self.deliver.sync(self.now_ms);
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    pub(crate) fn tell(&mut self, event: LinkEvent) {
        self.deliver.handle(self.now_ms, event);
    }

    pub(crate) fn connect(&mut self, connection: Connection) -> Session {
        self.sessions += 1;
        let session = Session {
            connection,
            number: self.sessions,
        };
        *self.session_of(connection) = Some(session);
        self.tell(LinkEvent::Connected(session));
        session
    }

    pub(crate) fn disconnect(&mut self, connection: Connection) {
        if let Some(session) = self.session_of(connection).take() {
            self.tell(LinkEvent::Disconnected(session));
        }
    }

    fn session_of(&mut self, connection: Connection) -> &mut Option<Session> {
        match connection {
            Connection::Main => &mut self.main,
            Connection::Alert => &mut self.alert,
        }
    }

    /// Everything that goes out now.
    pub(crate) fn poll(&mut self) -> Vec<Message> {
        let mut out = Vec::new();
        while let Some(command) = self.deliver.poll(self.now_ms) {
            assert!(out.len() < 10_000, "poll never ends");
            match command {
                LinkCommand::Publish {
                    session,
                    token,
                    topic,
                    payload,
                } => out.push(Message {
                    session,
                    token,
                    topic,
                    payload,
                }),
                LinkCommand::Reconnect { session } => {
                    self.disconnect(session.connection);
                    self.connect(session.connection);
                }
            }
        }
        out
    }

    pub(crate) fn puback(&mut self, message: &Message) {
        self.tell(LinkEvent::PubAck {
            session: message.session,
            token: message.token,
        });
    }

    /// The broker takes a message and passes it on.
    pub(crate) fn pass(&mut self, message: &Message) {
        self.puback(message);
        self.centre.receive(&message.payload);
    }

    /// The centre's acknowledgements reach the device.
    pub(crate) fn ack(&mut self) {
        for payload in self.centre.acks() {
            self.tell(LinkEvent::Received { payload });
        }
    }

    /// Everything works for a while: until nothing more goes out for two minutes.
    pub(crate) fn settle(&mut self) {
        if self.main.is_none() {
            self.connect(Connection::Main);
        }
        if self.alert.is_none() {
            self.connect(Connection::Alert);
        }
        let mut quiet_ms = 0;
        let mut rounds = 0;
        while quiet_ms < 700_000 {
            rounds += 1;
            assert!(rounds < 20_000, "it never settles");
            let out = self.poll();
            for message in &out {
                self.pass(message);
            }
            let news = out.iter().any(|m| !m.topic.ends_with("/status"));
            self.ack();
            let step_ms = if news || quiet_ms < 20_000 {
                1_000
            } else {
                30_000
            };
            quiet_ms = if news { 0 } else { quiet_ms + step_ms };
            self.wait(step_ms);
        }
    }

    /// The process dies; the disk keeps what it keeps; another process starts.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.epoch = epoch_of_start(self.starts);
        self.main = None;
        self.alert = None;
        self.next_seq = PerLane::default();
        self.now_ms += 1;
        let disk = Box::new(self.disk.clone());
        let config = DeliverConfig {
            seed: self.config.seed + self.starts,
            ..self.config.clone()
        };
        self.deliver = Deliver::open(config, identity(self.epoch), disk, self.now_ms);
    }

    pub(crate) fn alarms(&mut self) -> Vec<(&'static str, bool)> {
        let alarms = self.deliver.take_alarms();
        alarms.iter().map(|a| (a.kind.name(), a.raised)).collect()
    }
}
