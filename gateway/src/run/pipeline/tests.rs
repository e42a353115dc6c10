//! The whole way of a reading in one thread: simulated chips, real drivers, real stages, a real folder, and
//! a link and a centre that the test plays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use firmware_shared::alert::Alert;
use firmware_shared::batch::{Batch, CodecId};
use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{Epoch, Lane};
use firmware_shared::message::{
    self, Ack, AckEntry, Birth, Goodbye, Loss, Losses, Message, MessageKind, Opening,
};
use firmware_shared::reading::{Metric, Score, Value};
use firmware_shared::time::{BootId, ClockSource};
use firmware_shared::topic::{self, Leaf};
use firmware_shared::units::Celsius128;
use sensor_drivers::sim::{Scenario, SimBus};

use super::*;
use crate::config::Source;
use crate::forward::link::Session;
use crate::run::{Surroundings, setup};
use crate::sample::{Chip, Device, Output, SensorBoard};
use crate::sequencer::{Issuer, queue};
use crate::spool::disk::RealDisk;

const CONFIG: &str = r#"
[device]
id = "truck-001"
[broker]
host = "127.0.0.1"
[[bus]]
name = "i2c"
path = "sim:scenario.toml"
[[bus.sensor]]
name = "cargo"
driver = "tmp117"
address = 0x48
role = "load"
limit_high_deg_c = 8.0
[[bus.sensor]]
name = "gnss"
driver = "ublox"
"#;

const SCENARIO: &str = r#"
seed = 1
truth_file = "truth.jsonl"
[[chip]]
kind = "tmp117"
address = 0x48
base_deg_c = 4.0
amplitude_deg_c = 1.5
noise_lsb_rms = 1.0
[[chip.event]]
kind = "runaway"
at_s = 60.0
rate_deg_c_per_min = 12.0
until_s = 110.0
[[chip.event]]
kind = "noack"
at_s = 20.0
for_s = 8.0
[[chip]]
kind = "ublox"
address = 0x42
[chip.route]
start_lat_deg = 52.5
start_lon_deg = 13.4
cold_start_s = 5
tunnel = [{ at_s = 30.0, for_s = 10.0 }]
"#;

/// One vehicle with its buses, its pipeline and its links, in time that the test moves.
struct Vehicle {
    folder: tempfile::TempDir,
    bus: SimBus,
    devices: Vec<Device<Chip<SimBus>>>,
    issuer: Issuer,
    intake: Intake,
    pipeline: Pipeline,
    board: SensorBoard,
    sessions: BTreeMap<Connection, Session>,
    now_ms: u64,
}

/// What was published, in its order.
#[derive(Debug, Clone)]
struct Published {
    session: Session,
    token: u64,
    leaf: String,
    payload: Vec<u8>,
}

fn at(ms: u64) -> Now {
    Now {
        real_ms: ms,
        stamp_ms: ms,
    }
}

impl Vehicle {
    fn new(config: &str, scenario: &str, queue_count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scenario.toml"), scenario).unwrap();
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        let config = Config::load(&folder.path().join("gateway.toml")).unwrap();
        let bus = Scenario::load(&folder.path().join("scenario.toml"), 0)
            .unwrap()
            .bus;
        let devices = config
            .sensors()
            .filter_map(|s| {
                let Source::Part { driver, address } = s.source else {
                    return None;
                };
                let chip = Chip::new(driver, bus.clone(), address);
                Some(Device::new(s, None, chip, 0))
            })
            .collect();
        let (issuer, intake) = queue(queue_count);
        let pipeline = pipeline(&config, 7);
        let board = SensorBoard::new(2);
        let sessions = BTreeMap::new();
        Self {
            folder,
            bus,
            devices,
            issuer,
            intake,
            pipeline,
            board,
            sessions,
            now_ms: 0,
        }
    }

    /// Lets the sensors work up to a moment, without the pipeline.
    fn sample_until(&mut self, until_ms: u64) {
        let due =
            |devices: &[Device<Chip<SimBus>>]| devices.iter().map(Device::due_ms).min().unwrap();
        while due(&self.devices) < until_ms {
            self.now_ms = due(&self.devices).max(self.now_ms);
            self.bus.advance_to(self.now_ms);
            let (issuer, now_ms) = (&self.issuer, self.now_ms);
            for device in self.devices.iter_mut().filter(|d| d.due_ms() <= now_ms) {
                device.turn(now_ms, &mut |output| match output {
                    Output::Reading(reading) => {
                        issuer.issue(reading);
                    }
                    Output::Anchor(anchor) => {
                        issuer.anchor(anchor);
                    }
                });
            }
        }
        self.now_ms = until_ms;
    }

    /// One turn of the pipeline, and what it publishes.
    fn turn(&mut self) -> Vec<Published> {
        let now = at(self.now_ms);
        self.pipeline.drain(now, &mut self.intake);
        self.pipeline
            .turn(now, self.intake.next_seq(), Memory::default);
        self.speak()
    }

    fn speak(&mut self) -> Vec<Published> {
        let mut published = Vec::new();
        while let Some(command) = self.pipeline.poll(at(self.now_ms)) {
            let LinkCommand::Publish {
                session,
                token,
                topic,
                payload,
            } = command
            else {
                continue;
            };
            let (device, leaf) = topic::parse(topic::PREFIX_DEFAULT, &topic).unwrap();
            assert_eq!(device.as_str(), "truck-001");
            let leaf = match leaf {
                Leaf::Telemetry => "telemetry",
                Leaf::Alert => "alert",
                Leaf::Health => "health",
                Leaf::Status => "status",
                other => panic!("a device never publishes {other:?}"),
            };
            published.push(Published {
                session,
                token,
                leaf: leaf.to_owned(),
                payload,
            });
        }
        published
    }

    fn connect(&mut self, number: u64) {
        for connection in [Connection::Main, Connection::Alert] {
            let session = Session { connection, number };
            self.sessions.insert(connection, session);
            self.pipeline
                .link(at(self.now_ms), LinkEvent::Connected(session));
        }
    }

    fn disconnect(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            self.pipeline
                .link(at(self.now_ms), LinkEvent::Disconnected(session));
        }
    }

    /// Runs to a moment in steps of 100 ms with a centre at the other end, if the link is up.
    fn run_until(&mut self, until_ms: u64, centre: &mut Centre) {
        while self.now_ms < until_ms {
            self.sample_until((self.now_ms + 100).min(until_ms));
            for _ in 0..4 {
                let published = self.turn();
                self.deliver(published, centre);
            }
        }
    }

    fn deliver(&mut self, published: Vec<Published>, centre: &mut Centre) {
        let now = at(self.now_ms);
        for message in published {
            centre.take(&message);
            let Published { session, token, .. } = message;
            self.pipeline
                .link(now, LinkEvent::PubAck { session, token });
        }
        if self.sessions.contains_key(&Connection::Main)
            && let Some(payload) = centre.ack()
        {
            self.pipeline.link(now, LinkEvent::Received { payload });
        }
    }

    /// Stamp and raw value of every temperature that the bus handed out.
    fn truth(&self) -> Vec<(u64, i64)> {
        lines(self.folder.path())
            .filter(|line| line["chip"] == "tmp117")
            .map(|line| {
                (
                    line["t_ms"].as_u64().unwrap(),
                    line["raw"].as_i64().unwrap(),
                )
            })
            .collect()
    }

    /// Latitude and longitude of every valid epoch that the bus handed out.
    fn truth_positions(&self) -> Vec<(i64, i64)> {
        lines(self.folder.path())
            .filter(|line| line["chip"] == "ublox" && line["valid"] == true)
            .map(|line| {
                (
                    line["lat_1e7"].as_i64().unwrap(),
                    line["lon_1e7"].as_i64().unwrap(),
                )
            })
            .collect()
    }
}

fn pipeline(config: &Config, epoch: u64) -> Pipeline {
    let identity = setup::process_identity(config, Epoch::from_random(epoch), BootId([1; 16]));
    let disk = Box::new(RealDisk::new(&config.spool.dir));
    let deliver = Deliver::open(
        setup::deliver_config(config, epoch),
        identity.clone(),
        disk,
        0,
    );
    Pipeline::new(config, identity, deliver, at(0))
}

fn lines(folder: &Path) -> impl Iterator<Item = serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("truth.jsonl")).unwrap();
    let lines: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.into_iter()
}

/// The other end: takes everything, once, and says so.
#[derive(Default)]
struct Centre {
    readings: BTreeMap<(Epoch, Lane, u64), Reading>,
    alerts: BTreeMap<(Epoch, u64), Alert>,
    openings: Vec<Opening>,
    births: Vec<Birth>,
    goodbyes: Vec<Goodbye>,
    losses: Vec<Loss>,
    have: BTreeMap<StreamId, UnboundedHaveSet>,
    anchored: usize,
    n: u64,
    changed: bool,
}

impl Centre {
    fn take(&mut self, message: &Published) {
        self.changed = true;
        let payload = &message.payload;
        match (message.leaf.as_str(), message::open(payload)) {
            ("alert", _) => {
                let alert: Alert = serde_json::from_slice(payload).unwrap();
                let stream = StreamId {
                    epoch: alert.epoch,
                    lane: Lane::Alert,
                };
                self.store(stream, SeqRange::from_count(alert.seq, 1).unwrap());
                self.alerts.insert((alert.epoch, alert.seq), alert);
            }
            (_, Ok((kind, _))) => self.take_message(kind, payload),
            _ => self.take_batch(payload),
        }
    }

    fn take_message(&mut self, kind: u8, payload: &[u8]) {
        if kind == MessageKind::Birth as u8 {
            self.births.push(Birth::decode(payload).unwrap());
        } else if kind == MessageKind::Goodbye as u8 {
            self.goodbyes.push(Goodbye::decode(payload).unwrap());
        } else if kind == MessageKind::Losses as u8 {
            for loss in Losses::decode(payload).unwrap().losses {
                self.store(loss.stream(), loss.range().unwrap());
                self.losses.push(loss);
            }
        }
    }

    fn take_batch(&mut self, payload: &[u8]) {
        let batch = Batch::open(payload).unwrap();
        let header = batch.header();
        let stream = StreamId {
            epoch: header.epoch,
            lane: header.lane,
        };
        self.store(stream, header.range());
        self.anchored += usize::from(header.anchor.is_some());
        if header.codec == CodecId::OPENING {
            self.openings
                .push(postcard::from_bytes(batch.payload()).unwrap());
            return;
        }
        for (seq, reading) in (header.first_seq..).zip(batch.readings().unwrap()) {
            let reading = reading.unwrap();
            let before = self
                .readings
                .insert((header.epoch, header.lane, seq), reading);
            assert!(
                before.is_none_or(|before| before == reading),
                "one number, two readings"
            );
        }
    }

    fn store(&mut self, stream: StreamId, range: SeqRange) {
        self.have.entry(stream).or_default().insert(range).unwrap();
    }

    /// The acknowledgement of everything so far, if there is something new.
    fn ack(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.n += 1;
        let entry = |(stream, have): (&StreamId, &UnboundedHaveSet)| AckEntry {
            epoch: stream.epoch,
            lane: stream.lane,
            upto: have.upto(),
            ranges: have.ranges_above_upto().iter().copied().collect(),
            tail_from: None,
        };
        let ack = Ack {
            central_id: 1,
            run: 1,
            n: self.n,
            nonce: self.births.last().map(|birth| birth.nonce),
            entries: self.have.iter().map(entry).collect(),
        };
        let mut buffer = vec![0; message::MESSAGE_LEN_MAX];
        Some(ack.encode(&mut buffer).unwrap().to_vec())
    }

    fn telemetry(&self) -> impl Iterator<Item = &Reading> {
        let telemetry = self
            .readings
            .iter()
            .filter(|((_, lane, _), _)| *lane == Lane::Telemetry);
        telemetry.map(|(_, reading)| reading)
    }
}

#[test]
fn every_reading_that_a_bus_hands_out_reaches_the_centre_once_over_outages_and_a_clean_stop() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 4096);
    let mut centre = Centre::default();
    vehicle.run_until(15_000, &mut centre);
    assert!(
        centre.births.is_empty() && centre.readings.is_empty(),
        "no link yet"
    );
    vehicle.connect(1);
    vehicle.run_until(45_000, &mut centre);
    vehicle.disconnect();
    vehicle.run_until(80_000, &mut centre);
    vehicle.connect(2);
    vehicle.run_until(130_000, &mut centre);
    let now = at(vehicle.now_ms);
    vehicle
        .pipeline
        .stop(now, vehicle.intake.next_seq(), Memory::default());
    for _ in 0..10 {
        let published = vehicle.speak();
        vehicle.deliver(published, &mut centre);
    }
    assert!(vehicle.pipeline.is_closed());

    let stored: Vec<(u64, i64)> = centre
        .telemetry()
        .filter_map(|reading| match reading.value {
            Value::Temperature(value) => Some((reading.stamp_ms, i64::from(value.0))),
            _ => None,
        })
        .collect();
    assert_eq!(stored, vehicle.truth());
    assert!(stored.len() > 110);
    let positions: Vec<(i64, i64)> = centre
        .telemetry()
        .filter_map(|reading| match reading.value {
            Value::Position(p) => Some((i64::from(p.lat.0), i64::from(p.lon.0))),
            _ => None,
        })
        .collect();
    assert_eq!(positions, vehicle.truth_positions());
    assert!(positions.len() > 100);
    let faults: Vec<&str> = centre
        .telemetry()
        .filter_map(|reading| match reading.value {
            Value::Fault(fault) => Some(fault.kind.name()),
            _ => None,
        })
        .collect();
    assert_eq!(
        faults,
        ["no_fix", "no_ack", "no_fix"],
        "cold start, burst, tunnel"
    );

    // Every issued number is stored, and the last word of the device says how many there were.
    let goodbye = centre.goodbyes.last().unwrap();
    for next in &goodbye.next {
        let stream = StreamId {
            epoch: goodbye.epoch,
            lane: next.lane,
        };
        let have = centre.have.get(&stream).map_or(0, UnboundedHaveSet::upto);
        assert_eq!(have, next.next_seq, "{}", next.lane);
    }
    assert_eq!(vehicle.pipeline.stats().lanes.telemetry.unacked, 0);
    assert!(centre.losses.is_empty());
    let stamps: BTreeSet<(u8, u64)> = centre
        .readings
        .values()
        .map(|reading| (reading.sensor, reading.stamp_ms))
        .collect();
    assert_eq!(stamps.len(), centre.readings.len(), "a stamp is used once");
    assert!(centre.anchored > 0);
    assert_eq!(centre.births.len(), 2);
    assert_eq!(
        centre.openings.last().unwrap().catalogue,
        centre.births[0].catalogue
    );
}

#[test]
fn the_epoch_opens_with_the_catalogue_and_reports_on_itself() {
    let config = format!("{CONFIG}[health]\nperiod_s = 10\n");
    let mut vehicle = Vehicle::new(&config, SCENARIO, 4096);
    let mut centre = Centre::default();
    vehicle.connect(1);
    vehicle.run_until(25_000, &mut centre);
    let opening = &centre.openings[0];
    let names: Vec<&str> = opening
        .catalogue
        .sensors
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["cargo", "gnss", "gateway"]);
    let health: Vec<(u64, Metric)> = centre
        .readings
        .iter()
        .filter_map(|((_, _, seq), reading)| match reading.value {
            Value::Health(health) => Some((*seq, health.metric)),
            _ => None,
        })
        .collect();
    assert_eq!(health.len(), 14, "two reports");
    assert_eq!(health[0], (1, Metric::RSS_BYTES), "the opening is number 0");
    let connections = centre
        .readings
        .values()
        .find_map(|reading| match reading.value {
            Value::Health(health) if health.metric == Metric::CONNECTIONS => Some(health.value),
            _ => None,
        });
    assert_eq!(connections, Some(1));
}

#[test]
fn an_alert_is_durable_before_any_link_and_overtakes_the_backlog() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 4096);
    vehicle.run_until(110_000, &mut Centre::default());
    let open: Vec<String> = vehicle
        .pipeline
        .desk
        .open()
        .map(|alert| alert.kind.to_string())
        .collect();
    assert_eq!(open, ["limit_high"]);
    let mut disk = RealDisk::new(vehicle.folder.path().join("spool"));
    let found = crate::spool::inspect::inspect(&mut disk, &mut |_| ()).unwrap();
    let alerts = found
        .segments
        .iter()
        .find(|segment| segment.lane == Lane::Alert)
        .unwrap();
    assert_eq!(alerts.frames, 1);

    let backlog = vehicle.pipeline.stats().lanes.telemetry.unacked;
    assert!(backlog > 100, "{backlog}");
    vehicle.connect(1);
    let first = vehicle.turn();
    let alert = first
        .iter()
        .find(|message| message.leaf == "alert")
        .unwrap();
    assert_eq!(alert.session.connection, Connection::Alert);
    let alert: Alert = serde_json::from_slice(&alert.payload).unwrap();
    assert_eq!(
        (alert.kind.as_str(), alert.sensor.as_str()),
        ("limit_high", "cargo")
    );
    // Raised by the first reading above the limit: the one before it was not above.
    let truth = vehicle.truth();
    let crossing = truth.iter().find(|(_, raw)| *raw > 8 * 128).unwrap();
    assert_eq!(
        (alert.boottime_ms, alert.value),
        (crossing.0, Some(crossing.1 as f64 / 128.0))
    );
    assert!(
        alert
            .utc
            .is_some_and(|utc| utc.starts_with("2027-01-04T08:01:"))
    );
}

#[test]
fn after_an_outage_the_newest_reading_goes_out_first() {
    let config = format!("{CONFIG}[seal]\nage_ms_max = 600000\ncount_max = 30\n");
    let mut vehicle = Vehicle::new(&config, SCENARIO, 4096);
    vehicle.run_until(59_900, &mut Centre::default());
    let newest = vehicle.intake.next_seq() - 1;
    vehicle.connect(1);
    let first = vehicle.turn();
    assert_eq!(first[0].leaf, "status");
    assert!(Birth::decode(&first[0].payload).is_ok());
    let batch = first
        .iter()
        .find(|message| message.leaf == "telemetry")
        .unwrap();
    let header = *Batch::open(&batch.payload).unwrap().header();
    assert_eq!(header.range().last_seq, newest);
    assert!(header.count < 30, "closed before it was full");
}

#[test]
fn numbers_of_an_overflowing_queue_become_losses_at_the_centre() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 8);
    let mut centre = Centre::default();
    vehicle.connect(1);
    // The pipeline is held up for 10 s: eight readings fit, the others are numbers.
    vehicle.sample_until(10_000);
    let issued = vehicle.intake.next_seq();
    assert!(issued > 10, "{issued}");
    let published = vehicle.turn();
    vehicle.deliver(published, &mut centre);
    vehicle.run_until(40_000, &mut centre);
    let lost: Vec<(Option<u64>, &str)> = centre
        .losses
        .iter()
        .map(|l| (l.last_seq, l.reason.name()))
        .collect();
    assert_eq!(lost, [(Some(issued - 1), "evicted")]);
    // Eight fit; one or two of them were time anchors.
    let first_seq = centre.losses[0].first_seq;
    assert!((6..=8).contains(&first_seq), "{first_seq}");
    assert_eq!(vehicle.pipeline.lost, issued - first_seq);
    let stream = StreamId {
        epoch: Epoch::from_random(7),
        lane: Lane::Telemetry,
    };
    let upto = centre.have[&stream].upto();
    assert!(
        upto > issued && upto + 4 > vehicle.intake.next_seq(),
        "{upto} explained"
    );
}

#[test]
fn a_spool_that_cannot_be_written_is_an_alert_and_readings_flow_all_the_same() {
    let config = format!("{CONFIG}[spool]\ndir = \"gateway.toml\"\n");
    let mut vehicle = Vehicle::new(&config, SCENARIO, 4096);
    let mut centre = Centre::default();
    vehicle.connect(1);
    vehicle.run_until(18_000, &mut centre);
    let kinds: Vec<&str> = centre
        .alerts
        .values()
        .map(|alert| alert.kind.as_str())
        .collect();
    assert_eq!(kinds, ["spool_degraded"]);
    assert_eq!(vehicle.pipeline.stats().mode, "ram");
    assert!(centre.telemetry().count() > 20);
    let report = serde_json::to_value(status(&vehicle)).unwrap();
    assert_eq!(report["alerts_open"][0]["kind"], "spool_degraded");
    assert_eq!(report["mode"], "ram");
}

fn status(vehicle: &Vehicle) -> crate::status::StatusReport {
    let around = Surroundings {
        board: &vehicle.board,
        next_seq: vehicle.intake.next_seq(),
        queue_depth: vehicle.intake.depth(),
        memory: Memory {
            rss_bytes: 5,
            vm_hwm_bytes: 6,
        },
    };
    vehicle.pipeline.status(at(vehicle.now_ms), around)
}

#[test]
fn the_status_says_what_is_measured_held_and_wrong() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 4096);
    let mut centre = Centre::default();
    vehicle.connect(1);
    vehicle.run_until(35_500, &mut centre);
    let report = serde_json::to_value(status(&vehicle)).unwrap();
    assert_eq!(report["device"], "truck-001");
    assert_eq!(report["epoch"], "0000000000000007");
    assert_eq!(report["boot_id"], "01".repeat(16));
    assert_eq!(
        (&report["stamp_ms"], &report["uptime_ms"]),
        (&35_500.into(), &35_500.into())
    );
    assert_eq!(
        report["lanes"]["telemetry"]["next_seq"],
        vehicle.intake.next_seq()
    );
    assert_eq!(report["lanes"]["health"]["next_seq"], 1);
    assert_eq!(report["link"]["main"], true);
    assert_eq!(report["clock"]["source"], "gnss");
    assert!(
        report["clock"]["utc"]
            .as_str()
            .unwrap()
            .starts_with("2027-01-04T08:00:35")
    );
    let [cargo, gnss] = [0, 1].map(|at| &report["sensors"][at]);
    assert!(cargo["last"]["deg_c"].as_f64().unwrap() > 1.0 && cargo["fault"].is_null());
    assert!(cargo["age_ms"].as_u64().unwrap() <= 1000);
    assert_eq!(cargo["faults"], 1);
    assert_eq!(
        (&gnss["fault"], &gnss["faults"]),
        (&"no_fix".into(), &2.into())
    );
    assert!((gnss["last"]["lat"].as_f64().unwrap() - 52.5).abs() < 0.1);
    assert!(
        gnss["age_ms"].as_u64().unwrap() > 3000,
        "the tunnel began at 30 s"
    );
    assert_eq!(
        (&report["rss_bytes"], &report["vm_hwm_bytes"]),
        (&5.into(), &6.into())
    );
    assert_eq!(report["alerts_open"], serde_json::json!([]));
}

#[test]
fn the_deadline_is_never_later_than_the_next_thing_to_do() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 4096);
    let clock = StampClock::Boot;
    assert_eq!(vehicle.turn().len(), 0);
    assert!(
        vehicle.pipeline.deadline_real_ms(&clock) <= 60_000,
        "health report"
    );
    let reading = Reading {
        stamp_ms: 500,
        sensor: 0,
        score: Score::ORDINARY,
        value: Value::Temperature(Celsius128(0)),
    };
    vehicle.issuer.issue(reading);
    vehicle.turn();
    assert!(
        vehicle.pipeline.deadline_real_ms(&clock) <= 2500,
        "age of the batch"
    );
    let anchor = TimeAnchor {
        boottime_ms: 1,
        utc_ms: 1_800_000_000_000,
        error_ms: 1,
        source: ClockSource::Gnss,
    };
    vehicle.issuer.anchor(anchor);
    vehicle.turn();
    assert_eq!(vehicle.pipeline.keeper.best(), Some(anchor));
}

#[test]
fn numbers_lost_last_of_all_are_explained_at_the_stop() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 8);
    let mut centre = Centre::default();
    vehicle.connect(1);
    vehicle.run_until(3_000, &mut centre);
    vehicle.sample_until(15_000);
    let now = at(vehicle.now_ms);
    vehicle.pipeline.drain(now, &mut vehicle.intake);
    let issued = vehicle.intake.next_seq();
    vehicle.pipeline.stop(now, issued, Memory::default());
    for _ in 0..10 {
        let published = vehicle.speak();
        vehicle.deliver(published, &mut centre);
    }
    let stream = StreamId {
        epoch: Epoch::from_random(7),
        lane: Lane::Telemetry,
    };
    assert_eq!(centre.have[&stream].upto(), issued);
    assert!(vehicle.pipeline.lost > 2);
}

#[test]
fn a_sealed_reading_carries_its_score() {
    let mut vehicle = Vehicle::new(CONFIG, SCENARIO, 4096);
    let mut centre = Centre::default();
    vehicle.connect(1);
    for minute in 0..600_u64 {
        let counts = match minute {
            500 => 3000,
            _ => (minute % 7) as i32,
        };
        vehicle.issuer.issue(Reading {
            stamp_ms: minute * 60_000,
            sensor: 0,
            score: Score::ORDINARY,
            value: Value::Temperature(Celsius128(counts)),
        });
        vehicle.now_ms = minute * 60_000;
        let published = vehicle.turn();
        vehicle.deliver(published, &mut centre);
    }
    let jump = 500..=501;
    let scored = centre
        .telemetry()
        .filter(|reading| reading.score != Score::ORDINARY)
        .map(|reading| (reading.stamp_ms / 60_000, reading.score));
    let scored: Vec<_> = scored.collect();
    let first = scored.first().map(|(minute, _)| *minute);
    assert!(
        first.is_some_and(|minute| jump.contains(&minute)),
        "{scored:?}"
    );
    // Whether a jump is a spike or a step shows in the reading behind it.
    let of_jump = scored.iter().filter(|(minute, _)| jump.contains(minute));
    let highest = of_jump.map(|(_, score)| *score).max();
    assert!(highest > Some(Score(500)), "{scored:?}");
}

#[test]
fn when_the_supply_goes_everything_is_sealed_and_durable_at_once() {
    let supply = "[[sensor]]\nname = \"supply\"\ndriver = \"gpio\"\nchip = \"/dev/gpiochip0\"\nline = 4\n\
                  role = \"power_good\"\n";
    let mut vehicle = Vehicle::new(&format!("{CONFIG}{supply}"), SCENARIO, 4096);
    let frames = |vehicle: &Vehicle| {
        let mut disk = RealDisk::new(vehicle.folder.path().join("spool"));
        let found = crate::spool::inspect::inspect(&mut disk, &mut |_| ()).unwrap();
        let telemetry = found.segments.iter().filter(|s| s.lane == Lane::Telemetry);
        telemetry.map(|segment| segment.frames).sum::<u64>()
    };
    let state = |stamp_ms, state| Reading {
        stamp_ms,
        sensor: 2,
        score: Score::ORDINARY,
        value: Value::State(state),
    };
    let drain = |vehicle: &mut Vehicle, stamp_ms| {
        let Vehicle {
            pipeline, intake, ..
        } = vehicle;
        pipeline.drain(at(stamp_ms), intake);
    };
    vehicle.issuer.issue(state(100, 1));
    drain(&mut vehicle, 100);
    assert_eq!(
        frames(&vehicle),
        0,
        "an ordinary reading waits for its batch"
    );
    vehicle.issuer.issue(state(200, 0));
    drain(&mut vehicle, 200);
    assert_eq!(frames(&vehicle), 1, "before the turn ends");
    vehicle.issuer.issue(state(300, 0));
    drain(&mut vehicle, 300);
    assert_eq!(frames(&vehicle), 1, "it is gone already");
    let kinds: Vec<_> = vehicle
        .pipeline
        .desk
        .open()
        .map(|alert| alert.kind.to_string())
        .collect();
    assert_eq!(kinds, ["power_lost"]);
    vehicle.issuer.issue(state(400, 1));
    drain(&mut vehicle, 400);
    assert_eq!(vehicle.pipeline.desk.open().count(), 0);
}

#[test]
fn a_calibration_that_is_out_of_date_is_told_once_utc_is_known() {
    // The world begins at 2027-01-04.
    let told = |until: &str| {
        let config = CONFIG.replace(
            "role = \"load\"",
            &format!("role = \"load\"\ncalibration_until = {until}"),
        );
        let mut vehicle = Vehicle::new(&config, SCENARIO, 4096);
        vehicle.run_until(50_000, &mut Centre::default());
        let open = vehicle.pipeline.desk.open();
        open.filter(|alert| alert.kind == "calibration_expired")
            .map(|alert| alert.text.to_string())
            .collect::<Vec<_>>()
    };
    let expired = told("2027-01-03");
    assert_eq!(expired.len(), 1);
    assert!(expired[0].contains("cargo"), "{expired:?}");
    assert_eq!(told("2027-01-04"), [""; 0], "its last day counts");
}
