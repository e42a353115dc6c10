//! The whole of fleet-central in one process: broker, link, writer, database.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, TrySendError, bounded};
use firmware_shared::alert::{Alert, Severity};
use firmware_shared::id::Lane;
use firmware_shared::message::{Ack, Message};
use firmware_shared::topic::Leaf;
use tokio::sync::{mpsc, watch};

use crate::broker;
use crate::committer::Delivery;
use crate::config::{Broker, Buckets, Config, Database, External, Ingest, Place};
use crate::ingest::Answer;
use crate::mqtt::{self, LinkConfig, Listener, Taken, Voice};
use crate::run::{End, Station, filters};
use crate::testing::*;

const T: Lane = Lane::Telemetry;
/// A step of a test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(folder: &Path, broker: Broker) -> Config {
    Config {
        database: Database {
            place: Place::Sqlite(folder.join("fleet.sqlite")),
            retention_days: 0,
            keep_sealed_bytes: false,
        },
        broker,
        prefix: PREFIX.to_owned(),
        ingest: Ingest {
            commit_ms_max: 20,
            ack_period_ms: 100,
            gap_s: 600,
            backlog_bytes_per_s: 0,
            buckets: Buckets::ALL,
        },
        desk: crate::config::Desk::with_path(folder.join("desk.sqlite")),
        groups: Vec::new(),
        routes: Vec::new(),
        http: None,
    }
}

fn embedded() -> Broker {
    Broker::Embedded {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow_remote: false,
    }
}

fn start(folder: &Path, broker: Broker) -> (Station, Receiver<End>) {
    let (ends, end) = bounded(8);
    (Station::start(&config(folder, broker), ends).unwrap(), end)
}

/// A client that publishes what it is given and hands out what it hears.
struct Client {
    say: Option<mpsc::Sender<Answer>>,
    heard: Receiver<Vec<u8>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Ear(crossbeam_channel::Sender<Vec<u8>>);

impl Listener for Ear {
    fn subscribed(&mut self) {
        // An empty payload: the subscription stands.
        self.0.send(Vec::new()).unwrap();
    }

    fn publish(&mut self, delivery: Delivery) -> Taken {
        match self.0.try_send(delivery.payload.clone()) {
            Ok(()) => Taken::Yes,
            Err(TrySendError::Full(_)) => Taken::Later(delivery),
            Err(TrySendError::Disconnected(_)) => Taken::Over,
        }
    }
}

impl Client {
    fn connect(reach: &External, name: &str, filter: &str) -> Self {
        Self::with_room(reach, name, filter, 10_000)
    }

    /// One that takes so many messages before somebody hears them.
    fn with_room(reach: &External, name: &str, filter: &str, room: usize) -> Self {
        let (say, mut said) = mpsc::channel(1_000);
        let (ear, heard) = bounded(room);
        let config = LinkConfig {
            reach: reach.clone(),
            client_id: name.to_owned(),
            is_persistent: false,
            filters: vec![filter.to_owned()],
            self_test: None,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let (_acked_in, mut acked) = watch::channel(crate::committer::Place::default());
            let voice = Voice {
                said: &mut said,
                acked: &mut acked,
            };
            runtime
                .block_on(mqtt::connection(&config, 1, &mut Ear(ear), voice))
                .unwrap();
        });
        let client = Self {
            say: Some(say),
            heard,
            thread: Some(thread),
        };
        assert!(client.hear().is_empty(), "the subscription comes first");
        client
    }

    fn device(reach: &External) -> Self {
        Self::connect(reach, "truck-001", &topic_of(&device(), Leaf::Ack))
    }

    fn publish(&self, leaf: Leaf<'_>, payload: Vec<u8>) {
        let topic = topic_of(&device(), leaf);
        let say = self.say.as_ref().unwrap();
        say.blocking_send(Answer { topic, payload }).unwrap();
    }

    fn hear(&self) -> Vec<u8> {
        self.heard.recv_timeout(PATIENCE).expect("nothing heard")
    }

    /// Waits until an ack says so much of the telemetry of epoch 1.
    fn wait_for_upto(&self, upto: u64) -> Ack {
        loop {
            let ack = Ack::decode(&self.hear()).unwrap();
            let entry = ack
                .entries
                .iter()
                .find(|entry| entry.stream() == stream(1, T));
            if entry.is_some_and(|entry| entry.upto >= upto) {
                return ack;
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.say.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn who_has_no_room_holds_the_broker_up_and_hears_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let (station, end) = start(folder.path(), embedded());
    let topic = format!("{PREFIX}/central/flood");
    let slow = Client::with_room(&station.reach, "slow", &topic, 1);
    let fast = Client::connect(&station.reach, "fast", "nothing");
    let say = fast.say.as_ref().unwrap();
    for number in 0..500_u32 {
        let (topic, payload) = (topic.clone(), number.to_be_bytes().to_vec());
        say.blocking_send(Answer { topic, payload }).unwrap();
    }
    for number in 0..500_u32 {
        assert_eq!(slow.hear(), number.to_be_bytes());
    }
    drop((slow, fast));
    station.stop(&end);
}

fn rows(folder: &Path) -> i64 {
    rusqlite::Connection::open(folder.join("fleet.sqlite"))
        .unwrap()
        .query_row("SELECT count(*) FROM readings", [], |row| row.get(0))
        .unwrap()
}

fn duplicates(folder: &Path) -> i64 {
    rusqlite::Connection::open(folder.join("fleet.sqlite"))
        .unwrap()
        .query_row(
            "SELECT value FROM counters WHERE name = 'duplicate_frames'",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

/// Says births until the centre answers one: only then does it listen for sure.
fn wait_for_centre(client: &Client) -> Ack {
    for nonce in 1..200 {
        client.publish(
            Leaf::Status,
            message(&birth(1, nonce, nonce, &[(stream(1, T), Some(0))])),
        );
        if let Ok(payload) = client.heard.recv_timeout(Duration::from_millis(100)) {
            return Ack::decode(&payload).unwrap();
        }
    }
    panic!("the centre does not answer");
}

#[test]
fn a_frame_that_is_published_is_stored_and_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (station, end) = start(folder.path(), embedded());
    let client = Client::device(&station.reach);
    let ack = wait_for_centre(&client);
    assert!(ack.nonce.is_some());
    for n in 0..300 {
        client.publish(Leaf::Telemetry, frame(stream(1, T), n * 10, 10));
    }
    let acks = client.wait_for_upto(3_000);
    assert_eq!(acks.central_id, ack.central_id);
    drop(client);
    station.stop(&end);
    assert_eq!(rows(folder.path()), 3_000);
}

#[test]
fn a_centre_that_was_away_takes_what_the_broker_kept_and_repeats_are_stored_once() {
    let (folder, end_of) = (tempfile::tempdir().unwrap(), "127.0.0.1:0".parse().unwrap());
    let broker = broker::start(end_of, &filters(PREFIX, Buckets::ALL)).unwrap();
    let reach = External {
        host: "127.0.0.1".to_owned(),
        port: broker.address.port(),
        login: None,
        tls: None,
    };
    let external = || Broker::External(reach.clone());
    let (station, end) = start(folder.path(), external());
    let client = Client::device(&reach);
    let first = wait_for_centre(&client);
    client.publish(Leaf::Telemetry, frame(stream(1, T), 0, 10));
    client.wait_for_upto(10);
    station.stop(&end);

    // The centre is away: only its session is there.
    client.publish(Leaf::Telemetry, frame(stream(1, T), 10, 10));
    client.publish(Leaf::Telemetry, frame(stream(1, T), 0, 10));
    let (station, end) = start(folder.path(), external());
    let ack = client.wait_for_upto(20);
    assert_eq!(ack.central_id, first.central_id);
    assert_ne!(ack.run, first.run);
    drop(client);
    station.stop(&end);
    assert_eq!(rows(folder.path()), 20);
    // The one that the device repeated: the broker repeats nothing that the first run acknowledged.
    assert_eq!(duplicates(folder.path()), 1);
}

#[test]
fn garbage_from_a_client_does_not_stop_the_centre() {
    let folder = tempfile::tempdir().unwrap();
    let (station, end) = start(folder.path(), embedded());
    let client = Client::device(&station.reach);
    wait_for_centre(&client);
    for leaf in [Leaf::Telemetry, Leaf::Health, Leaf::Alert, Leaf::Status] {
        for len in [0, 1, 7, 4_000, 100_000] {
            client.publish(leaf, vec![0xF2; len]);
        }
    }
    client.publish(Leaf::Telemetry, frame(stream(1, T), 0, 10));
    loop {
        // Refusals come first.
        let payload = client.hear();
        let Ok(ack) = Ack::decode(&payload) else {
            continue;
        };
        if ack.entries.iter().any(|entry| entry.upto == 10) {
            break;
        }
    }
    drop(client);
    station.stop(&end);
    assert_eq!(rows(folder.path()), 10);
}

/// Takes so many lines and then nobody reads any more.
struct Lines {
    left: usize,
    text: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.left -= 1;
        match self.left {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn followed_alerts_are_printed_once_each_and_late_ones_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (station, end) = start(folder.path(), embedded());
    let client = Client::device(&station.reach);
    wait_for_centre(&client);
    let target = crate::alerts::Target {
        reach: station.reach.clone(),
        prefix: PREFIX.to_owned(),
        source: crate::alerts::Source::Vehicles,
    };
    let selection = crate::alerts::Selection {
        device: "truck-0*".to_owned(),
        severity: Severity::Warning,
        kind: "*".to_owned(),
    };
    let follower = std::thread::spawn(move || {
        let mut lines = Lines {
            left: 3,
            text: Vec::new(),
        };
        crate::alerts::follow(&target, &selection, true, &mut lines).unwrap();
        String::from_utf8(lines.text).unwrap()
    });
    let mut seq = 10;
    let mut give = |severity, utc: Option<&str>| {
        let mut alert = alert(1, seq, severity);
        seq += 1;
        alert.utc = utc.map(|utc| utc.try_into().unwrap());
        serde_json::to_vec(&alert).unwrap()
    };
    let mild = give(Severity::Diagnostic, None);
    let soon = give(Severity::Warning, Some("2999-01-01T00:00:00Z"));
    let late = give(Severity::Critical, Some("2001-01-01T00:00:00Z"));
    let last = give(Severity::Critical, None);
    // The follower may not have subscribed yet: what it missed is sent again, and printed once.
    for _ in 0..400 {
        for payload in [&mild, &soon, &soon, &late, &last] {
            client.publish(Leaf::Alert, payload.clone());
        }
        if follower.is_finished() {
            break;
        }
        drop(client.heard.recv_timeout(Duration::from_millis(50)));
    }
    let text = follower.join().unwrap();
    let alerts: Vec<Alert> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut printed: Vec<_> = alerts.iter().map(|alert| (alert.seq, alert.late)).collect();
    printed.sort_unstable();
    assert_eq!(printed, [(11, false), (12, true), (13, false)]);
    drop(client);
    station.stop(&end);
}

/// The whole way, printed with `--ignored --nocapture` in a release build.
#[test]
#[ignore = "a measurement: cargo test --release -p central -- --ignored --nocapture through"]
fn rows_per_second_through_the_embedded_broker() {
    const FRAMES: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let (station, end) = start(folder.path(), embedded());
    let client = Client::device(&station.reach);
    wait_for_centre(&client);
    let frames: Vec<Vec<u8>> = (0..FRAMES)
        .map(|n| frame(stream(1, T), n * 60, 60))
        .collect();
    let start_ms = crate::clock::monotonic_ms();
    for frame in frames {
        client.publish(Leaf::Telemetry, frame);
    }
    client.wait_for_upto(FRAMES * 60);
    let took_ms = crate::clock::monotonic_ms() - start_ms;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!(
        "{} rows/s, {peak} (client and frames included)",
        FRAMES * 60_000 / took_ms.max(1)
    );
    drop(client);
    station.stop(&end);
}

#[test]
fn an_address_that_is_taken_is_a_failure_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let broker = Broker::Embedded {
        listen,
        allow_remote: false,
    };
    let (ends, _end) = bounded(8);
    let error = Station::start(&config(folder.path(), broker), ends).unwrap_err();
    assert!(
        format!("{error:#}").contains(&listen.to_string()),
        "{error:#}"
    );
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[database]\npath = 5\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, code) in [
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec![], 2),
        (vec!["run"], 2),
        (vec!["alerts"], 2),
        (vec!["run", "--config", file], 2),
        (vec!["check-config", "--config", file], 2),
        (vec!["verify", "--db", "/no/such/file"], 1),
    ] {
        let all = std::iter::once("fleet-central").chain(args.iter().copied());
        let exit = crate::main(all);
        let expected = std::process::ExitCode::from(code);
        assert_eq!(format!("{exit:?}"), format!("{expected:?}"), "{args:?}");
    }
}
