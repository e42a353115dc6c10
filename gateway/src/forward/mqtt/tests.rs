mod broker;
mod front;
mod hostile;
mod stop;
mod ways;

use std::time::Duration;

use broker::{Broker, CONNECT, DISCONNECT, Manner, PINGREQ, PUBLISH, SUBSCRIBE};
use crossbeam_channel::{Receiver, bounded};
use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::{Message, Will};
use firmware_shared::topic::Topic;

use super::*;
use crate::deliver::tests::centre::{Centre, frame};
use crate::deliver::tests::world::{config, epoch_of_start, identity};
use crate::deliver::{Deliver, DeliverConfig};
use crate::spool::sim::SimDisk;

/// A gateway's core and rim, a scripted broker and a centre, with a clock that the loop turns.
struct Bench {
    deliver: Deliver,
    link: Option<MqttLink>,
    events: Receiver<LinkEvent>,
    broker: Broker,
    centre: Centre,
    now_ms: u64,
    next_seq: u64,
    ack_topic: Topic,
    /// Acknowledgements that the centre has said.
    heard: Vec<Vec<u8>>,
}

fn rim_config(broker: &Broker, keep_alive_s: u16) -> MqttConfig {
    let identity = identity(epoch_of_start(1));
    let host = broker.address.ip().to_string();
    let mut config =
        MqttConfig::new(host, broker.address.port(), "fleet/v1", &identity, 9).unwrap();
    config.keep_alive_s = keep_alive_s;
    config.backoff_ms_min = 1;
    config.backoff_ms_max = 20;
    config.spread_ms = 5;
    config
}

/// The core never gives a connection up by itself: its clock runs ahead of a busy machine.
fn patient() -> DeliverConfig {
    DeliverConfig {
        puback_ms_max: u64::MAX / 2,
        ..config()
    }
}

impl Bench {
    fn new(manners: Vec<Manner>, alert_too: bool) -> Self {
        Self::with(manners, alert_too, patient(), 30)
    }

    fn with(
        manners: Vec<Manner>,
        alert_too: bool,
        config: DeliverConfig,
        keep_alive_s: u16,
    ) -> Self {
        let broker = Broker::start(manners, alert_too);
        let rim = rim_config(&broker, keep_alive_s);
        Self::over(broker, rim, config)
    }

    fn over(broker: Broker, rim: MqttConfig, config: DeliverConfig) -> Self {
        let ack_topic = rim.ack_topic.clone();
        let (send, events) = bounded(64);
        let disk = Box::new(SimDisk::default());
        Self {
            deliver: Deliver::open(config, identity(epoch_of_start(1)), disk, 0),
            link: Some(MqttLink::start(rim, send).unwrap()),
            events,
            broker,
            centre: Centre::new(5),
            now_ms: 0,
            next_seq: 0,
            ack_topic,
            heard: Vec::new(),
        }
    }

    fn stream(lane: Lane) -> StreamId {
        StreamId {
            epoch: epoch_of_start(1),
            lane,
        }
    }

    fn accept(&mut self, count: u64) {
        for _ in 0..count {
            let range = SeqRange::from_count(self.next_seq, 3).unwrap();
            self.next_seq = range.next_seq();
            self.deliver
                .note_next_seq(Lane::Telemetry, range.next_seq());
            let stream = Self::stream(Lane::Telemetry);
            self.deliver.accept(self.now_ms, frame(stream, range));
        }
        self.deliver.sync(self.now_ms);
    }

    /// Turns the loop until a condition holds. The clock advances only when nothing happens.
    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("{what}: {:?}", self.deliver.stats());
    }

    fn turn(&mut self) {
        while let Some(command) = self.deliver.poll(self.now_ms) {
            self.link.as_ref().unwrap().send(command).unwrap();
        }
        match self.events.recv_timeout(Duration::from_millis(10)) {
            Ok(event) => self.deliver.handle(self.now_ms, event),
            Err(_) => {
                self.now_ms += 500;
                let had = self.broker.passed.len();
                while let Ok(passed) = self.broker.passed.try_recv() {
                    assert!(passed.topic.starts_with("fleet/v1/"), "{}", passed.topic);
                    self.centre.receive(&passed.payload);
                }
                if had > 0 {
                    for payload in self.centre.acks() {
                        self.broker.publish(&self.ack_topic, &payload);
                        self.heard.push(payload);
                    }
                }
            }
        }
        // Nothing is freed that the centre has not committed or heard to be lost.
        let freed = self.deliver.stats().lanes.telemetry.acked;
        let stream = Self::stream(Lane::Telemetry);
        assert!(freed <= self.centre.database.explained(stream).count());
    }

    /// Everything arrives and is freed.
    fn finish(mut self) -> Broker {
        let all = SeqRange::from_count(0, self.next_seq).unwrap();
        self.run_until("delivered and freed", |bench| {
            bench.centre.has(Self::stream(Lane::Telemetry), all)
                && bench.deliver.stats().lanes.telemetry.unacked == 0
        });
        assert_eq!(self.deliver.stats().open_losses, 0);
        self.deliver.close(self.now_ms);
        self.run_until("closed", |bench| bench.deliver.is_closed());
        self.link.take().unwrap().stop();
        self.broker
    }
}

/// How many main connections the broker saw.
fn main_connections(broker: &Broker) -> usize {
    broker
        .seen()
        .iter()
        .filter(|(id, _)| id.ends_with("-m"))
        .count()
}

fn survives(manners: Vec<Manner>) {
    let bad = manners.len();
    let mut bench = Bench::new(manners, false);
    bench.accept(40);
    let broker = bench.finish();
    assert_eq!(
        main_connections(&broker),
        bad + 1,
        "each bad connection was really made"
    );
}

#[test]
fn a_quiet_day_delivers_everything_over_one_connection_each() {
    let mut bench = Bench::new(Vec::new(), false);
    bench.accept(100);
    let stream = Bench::stream(Lane::Alert);
    bench
        .deliver
        .accept(0, frame(stream, SeqRange::new(0, 0).unwrap()));
    bench.run_until("the alert", |bench| {
        bench.centre.has(stream, SeqRange::new(0, 0).unwrap())
    });
    let goodbyes = |bench: &Bench| bench.centre.goodbyes.len();
    assert_eq!(goodbyes(&bench), 0);
    let broker = bench.finish();
    broker.wait_for_ends(2);
    let seen = broker.seen();
    assert_eq!(seen.len(), 2);
    for (id, kinds) in seen {
        let epoch = epoch_of_start(1);
        assert!(id == format!("truck-001-{epoch}-m") || id == format!("truck-001-{epoch}-a"));
        assert_eq!(kinds.last(), Some(&DISCONNECT), "{id}");
        assert_eq!(kinds.contains(&SUBSCRIBE), id.ends_with("-m"));
    }
    let will = Will {
        epoch: epoch_of_start(1),
    };
    assert_eq!(
        broker
            .wills()
            .iter()
            .map(|w| Will::decode(w))
            .collect::<Vec<_>>(),
        [Ok(will)]
    );
}

#[test]
fn a_connection_that_ends_at_any_packet_kind_loses_nothing() {
    survives(vec![
        Manner::CloseAt(CONNECT, 1),
        Manner::CloseAt(SUBSCRIBE, 1),
        Manner::CloseAt(PUBLISH, 1),
        Manner::CloseAt(PUBLISH, 2),
        Manner::CloseAt(PUBLISH, 9),
        Manner::CloseAt(PUBLISH, 30),
    ]);
}

#[test]
fn a_broker_that_forgets_what_it_acknowledged_loses_nothing() {
    survives(vec![
        Manner::Forgets(1),
        Manner::Forgets(10),
        Manner::Forgets(25),
    ]);
}

#[test]
fn slow_answers_that_fill_the_window_lose_nothing() {
    let mut bench = Bench::new(vec![Manner::SlowAcks(8)], false);
    bench.accept(200);
    bench.run_until("most of it", |bench| {
        bench
            .centre
            .database
            .stored
            .values()
            .any(|s| s.count() > 400)
    });
    assert!(bench.deliver.stats().in_flight <= 24);
}

#[test]
fn garbage_and_answers_to_unknown_packets_end_the_life_and_lose_nothing() {
    survives(vec![
        Manner::Garbage,
        Manner::UnknownAck,
        Manner::RefusesSubscription,
        Manner::Garbage,
    ]);
}

#[test]
fn a_half_open_link_is_given_up_within_two_keep_alives() {
    // One second is the shortest keep-alive that there is.
    let mut bench = Bench::with(vec![Manner::Silent], false, patient(), 1);
    bench.accept(20);
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 2);
    let silent = broker
        .seen()
        .into_iter()
        .find(|(id, _)| id.ends_with("-m"))
        .unwrap();
    assert!(silent.1.iter().filter(|kind| **kind == PINGREQ).count() <= 2);
}

#[test]
fn a_broker_that_pings_but_answers_no_publish_is_given_up_by_the_core() {
    let mut bench = Bench::with(vec![Manner::SlowAcks(1_000)], false, config(), 30);
    bench.accept(40);
    let broker = bench.finish();
    assert!(main_connections(&broker) >= 2);
}

#[test]
fn alerts_survive_the_same_on_their_own_connection() {
    let manners = vec![
        Manner::CloseAt(PUBLISH, 1),
        Manner::CloseAt(PUBLISH, 1),
        Manner::Forgets(1),
        Manner::Forgets(1),
    ];
    let mut bench = Bench::new(manners, true);
    bench.accept(5);
    let stream = Bench::stream(Lane::Alert);
    for seq in 0..6 {
        bench
            .deliver
            .accept(0, frame(stream, SeqRange::new(seq, seq).unwrap()));
    }
    bench.run_until("the alerts", |bench| {
        bench.centre.has(stream, SeqRange::new(0, 5).unwrap())
            && bench.deliver.stats().lanes.alert.unacked == 0
    });
    bench.finish();
}

#[test]
fn a_message_above_the_limit_is_refused_and_the_connection_lives() {
    let broker = Broker::start(Vec::new(), false);
    let mut config = rim_config(&broker, 30);
    config.packet_len_max = 1_000;
    let topic = config.status_topic.clone();
    let (send, events) = bounded(64);
    let link = MqttLink::start(config, send).unwrap();
    let limit = Duration::from_secs(10);
    let mut session = None;
    while session.is_none() {
        if let LinkEvent::Connected(s) = events.recv_timeout(limit).unwrap()
            && s.connection == Connection::Main
        {
            session = Some(s);
        }
    }
    let session = session.unwrap();
    for (token, len) in [(1, 2_000), (2, 100)] {
        let (topic, payload) = (topic.clone(), vec![0xF2; len]);
        link.send(LinkCommand::Publish {
            session,
            token,
            topic,
            payload,
        })
        .unwrap();
    }
    // What belongs to another life is not sent.
    let stale = Session {
        number: session.number + 1,
        ..session
    };
    link.send(LinkCommand::Publish {
        session: stale,
        token: 3,
        topic: topic.clone(),
        payload: vec![1],
    })
    .unwrap();
    link.send(LinkCommand::Publish {
        session,
        token: 4,
        topic,
        payload: vec![1; 10],
    })
    .unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        match events.recv_timeout(limit).unwrap() {
            LinkEvent::Connected(_) => {}
            event => told.push(event),
        }
    }
    assert_eq!(
        told,
        [
            LinkEvent::TooLarge { session, token: 1 },
            LinkEvent::PubAck { session, token: 2 },
            LinkEvent::PubAck { session, token: 4 },
        ]
    );
    link.stop();
    assert_eq!(main_connections(&broker), 1);
}
