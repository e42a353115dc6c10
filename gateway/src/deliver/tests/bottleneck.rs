//! A vehicle behind one slow link, in virtual time: both connections share one queue of bounded bytes.
use std::collections::{BTreeMap, VecDeque};

use firmware_shared::id::{Lane, SeqRange};

use super::centre::frame_of;
use super::world::{Message, World};
use crate::deliver::DeliverConfig;
use crate::forward::link::{Connection, LinkEvent};
use crate::forward::random::Random;
use crate::spool::PerLane;

/// What the link is like.
#[derive(Debug, Clone, Copy)]
struct Line {
    bytes_per_s: u64,
    /// There and back without a queue, ms.
    round_trip_ms: u64,
    /// What the shared queue holds; more waits in the sockets behind it.
    queue_bytes: u64,
}

/// What the slow link of the field is like.
const FIELD: Line = Line {
    bytes_per_s: 32_000,
    round_trip_ms: 200,
    queue_bytes: 64_000,
};
/// Readings in a frame: two seconds of ten a second.
const READINGS: u64 = 20;
/// Time between two acknowledgements of the centre, ms.
const ACK_MS: u64 = 1_000;

struct Bottleneck {
    world: World,
    line: Line,
    /// In the queue, the next to leave first: message, bytes.
    queue: VecDeque<(Message, u64)>,
    /// When the queue has carried what it was given.
    free_ms: f64,
    /// Under way to the broker, by arrival.
    arriving: BTreeMap<(u64, u64), Message>,
    /// Answers under way to the vehicle, by arrival.
    answers: BTreeMap<(u64, u64), LinkEvent>,
    count: u64,
    ack_ms: u64,
    born_ms: BTreeMap<(Lane, u64), u64>,
    alert_ages_ms: Vec<u64>,
    live_ages_ms: Vec<u64>,
    backlog_next: u64,
    backlog_arrived: u64,
    bytes_carried: u64,
    deepest_bytes: u64,
}

impl Bottleneck {
    /// A vehicle that comes back after an outage with so many frames of backlog.
    fn new(line: Line, backlog: u64) -> Self {
        let mut config = DeliverConfig::new(42);
        config.spool.max_bytes = PerLane::from_fn(|_| 64 << 20);
        let mut world = World::new(config);
        for _ in 0..backlog {
            world.accept(Lane::Telemetry, READINGS);
        }
        world.sync();
        world.connect(Connection::Main);
        world.connect(Connection::Alert);
        Self {
            backlog_next: *world.next_seq.get(Lane::Telemetry),
            ack_ms: world.now_ms,
            free_ms: world.now_ms as f64,
            world,
            line,
            queue: VecDeque::new(),
            arriving: BTreeMap::new(),
            answers: BTreeMap::new(),
            count: 0,
            born_ms: BTreeMap::new(),
            alert_ages_ms: Vec::new(),
            live_ages_ms: Vec::new(),
            backlog_arrived: 0,
            bytes_carried: 0,
            deepest_bytes: 0,
        }
    }

    fn key(&mut self, at_ms: u64) -> (u64, u64) {
        self.count += 1;
        (at_ms, self.count)
    }

    fn accept(&mut self, lane: Lane, count: u64) {
        let now_ms = self.world.now_ms;
        let range = self.world.accept(lane, count);
        self.world.sync();
        self.born_ms.insert((lane, range.first_seq), now_ms);
    }

    /// One millisecond.
    fn step(&mut self) {
        let now_ms = self.world.now_ms;
        for message in self.world.poll() {
            let len = message.payload.len() + message.topic.len() + 60;
            self.queue.push_back((message, len as u64));
        }
        let waiting = self.queue.iter().map(|(_, len)| len).sum();
        self.deepest_bytes = self.deepest_bytes.max(waiting);
        self.carry(now_ms);
        while let Some(entry) = self.arriving.first_entry()
            && entry.key().0 <= now_ms
        {
            let message = entry.remove();
            self.arrive(now_ms, &message);
        }
        if self.ack_ms <= now_ms {
            self.ack_ms = now_ms + ACK_MS;
            for payload in self.world.centre.acks() {
                let key = self.key(now_ms + self.line.round_trip_ms / 2);
                self.answers.insert(key, LinkEvent::Received { payload });
            }
        }
        while let Some(entry) = self.answers.first_entry()
            && entry.key().0 <= now_ms
        {
            let event = entry.remove();
            self.world.tell(event);
        }
        self.world.wait(1);
    }

    /// The queue gives to the line what it can carry in this millisecond.
    fn carry(&mut self, now_ms: u64) {
        self.free_ms = self.free_ms.max(now_ms as f64);
        while self.free_ms < (now_ms + 1) as f64
            && let Some((message, len)) = self.queue.pop_front()
        {
            self.bytes_carried += len;
            self.free_ms += len as f64 * 1_000.0 / self.line.bytes_per_s as f64;
            let key = self.key(self.free_ms as u64 + self.line.round_trip_ms / 2);
            self.arriving.insert(key, message);
        }
    }

    fn arrive(&mut self, now_ms: u64, message: &Message) {
        self.world.centre.receive(&message.payload);
        let answer = LinkEvent::PubAck {
            session: message.session,
            token: message.token,
        };
        let key = self.key(now_ms + self.line.round_trip_ms / 2);
        self.answers.insert(key, answer);
        let Some((stream, range)) = frame_of(&message.payload) else {
            return;
        };
        match self.born_ms.remove(&(stream.lane, range.first_seq)) {
            Some(born_ms) if stream.lane == Lane::Alert => {
                self.alert_ages_ms.push(now_ms - born_ms)
            }
            Some(born_ms) => self.live_ages_ms.push(now_ms - born_ms),
            None if stream.lane == Lane::Telemetry && range.first_seq < self.backlog_next => {
                self.backlog_arrived += 1;
            }
            None => {}
        }
    }

    /// Runs with a live frame every two seconds and an alert at random times, one in `alert_ms` on average.
    fn run(&mut self, for_ms: u64, alert_ms: u64, random: &mut Random) {
        let end_ms = self.world.now_ms + for_ms;
        while self.world.now_ms < end_ms {
            if self.world.now_ms.is_multiple_of(2_000) {
                self.accept(Lane::Telemetry, READINGS);
            }
            if random.below(alert_ms) == 0 {
                self.accept(Lane::Alert, 1);
            }
            self.step();
        }
    }
}

fn p99(ages_ms: &mut [u64]) -> u64 {
    ages_ms.sort_unstable();
    ages_ms[ages_ms.len() * 99 / 100]
}

#[test]
fn alerts_and_live_data_overtake_a_backlog_that_fills_a_slow_link() {
    let mut field = Bottleneck::new(FIELD, 60_000);
    field.run(240_000, 1_000, &mut Random::new(7));
    assert!(field.alert_ages_ms.len() >= 200);
    assert!(field.live_ages_ms.len() >= 115);
    let alert_ms = p99(&mut field.alert_ages_ms);
    let live_ms = p99(&mut field.live_ages_ms);
    println!(
        "alerts {alert_ms} ms, live {live_ms} ms, deepest {} bytes, {} frames",
        field.deepest_bytes, field.backlog_arrived
    );
    // What the reading waits before it is sealed comes on top: two seconds for live ones.
    assert!(alert_ms < 700, "{alert_ms}");
    assert!(live_ms < 1_000, "{live_ms}");
    assert!(field.deepest_bytes < field.line.queue_bytes / 3);
    let could = field.line.bytes_per_s * 240;
    let used = field.bytes_carried * 100 / could;
    assert!(used >= 90, "{used} % of the link");
    assert!(field.backlog_arrived > 30_000);
}

#[test]
fn the_backlog_adapts_when_the_link_becomes_slow_and_fast_again() {
    let fast = Line {
        bytes_per_s: 400_000,
        round_trip_ms: 60,
        ..FIELD
    };
    let mut field = Bottleneck::new(fast, 60_000);
    let mut random = Random::new(8);
    field.run(5_000, 1_000, &mut random);
    assert!(field.bytes_carried > 1_500_000, "{}", field.bytes_carried);
    field.line = FIELD;
    // One window of the fast link drains before the slow one is known.
    field.run(5_000, 1_000, &mut random);
    field.alert_ages_ms.clear();
    field.run(60_000, 1_000, &mut random);
    let alert_ms = p99(&mut field.alert_ages_ms);
    assert!(alert_ms < 700, "{alert_ms}");
    field.line = fast;
    field.run(3_000, 1_000, &mut random);
    let before = field.bytes_carried;
    field.run(2_000, 1_000, &mut random);
    let carried = field.bytes_carried - before;
    assert!(carried >= 2 * 360_000, "{carried}");
}

#[test]
fn alerts_pass_a_plan_that_holds_the_backlog_back() {
    let mut field = Bottleneck::new(FIELD, 0);
    field.world.config.plans.home.bytes_per_s = Some(2_000);
    let disk = field.world.disk.clone();
    field.world = World::on(field.world.config.clone(), disk, 2);
    for _ in 0..2_000 {
        field.world.accept(Lane::Telemetry, READINGS);
    }
    field.world.sync();
    field.backlog_next = *field.world.next_seq.get(Lane::Telemetry);
    field.world.connect(Connection::Main);
    field.world.connect(Connection::Alert);
    field.free_ms = 0.0;
    field.run(60_000, 2_000, &mut Random::new(9));
    let alert_ms = p99(&mut field.alert_ages_ms);
    assert!(alert_ms < 300, "{alert_ms}");
    // Alerts are counted, too; what is left of the plan carries the rest.
    assert!(field.bytes_carried < 2_000 * 66, "{}", field.bytes_carried);
    assert!(field.backlog_arrived > 100, "{}", field.backlog_arrived);
    let range = SeqRange::new(0, 0).unwrap();
    assert!(
        field
            .world
            .centre
            .has(field.world.stream(Lane::Alert), range)
    );
}
