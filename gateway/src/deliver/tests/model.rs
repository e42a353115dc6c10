//! Random lives of a vehicle against the model centre.
use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;

use super::centre::{Centre, Database};
use super::world::{Message, World, config};
use crate::forward::link::{Connection, LinkEvent};
use crate::forward::random::Random;
use crate::spool::sim::Faults;

/// What a life may contain besides accepting, sending and dying.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    restores: bool,
    failing_syncs: bool,
    lying_syncs: bool,
    small_disk: bool,
}

struct Life {
    world: World,
    random: Random,
    trouble: Trouble,
    /// Published, not yet answered by the broker.
    flying: Vec<Message>,
    /// Acks on their way, or kept by somebody who replays them.
    late_acks: Vec<Vec<u8>>,
    backup: Database,
    unsynced: Vec<(StreamId, SeqRange)>,
    durable: Vec<(StreamId, SeqRange)>,
    /// Per life of the main connection: what was published, to check the order.
    seen: BTreeSet<(StreamId, u64)>,
    backlog_before: BTreeMap<StreamId, u64>,
    backlog_at: BTreeMap<Lane, (u64, u64)>,
    crashes: u64,
    /// Epochs that were written down; one that lived in RAM alone dies with its process.
    known_epochs: BTreeSet<Epoch>,
}

impl Life {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let mut config = config();
        config.awaiting_max = 12;
        config.window = 6;
        if trouble.small_disk {
            config.spool.max_bytes.telemetry = 12 * 1024;
        }
        let world = World::new(config);
        world.disk.set_faults(Faults {
            lying_syncs: trouble.lying_syncs,
            ..Faults::default()
        });
        Self {
            world,
            random: Random::new(seed),
            trouble,
            flying: Vec::new(),
            late_acks: Vec::new(),
            backup: Database::default(),
            unsynced: Vec::new(),
            durable: Vec::new(),
            seen: BTreeSet::new(),
            backlog_before: BTreeMap::new(),
            backlog_at: BTreeMap::new(),
            crashes: 0,
            known_epochs: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        if self.on_disk() {
            self.known_epochs.insert(self.world.epoch);
        }
        match self.random.below(100) {
            0..=29 => self.accept(),
            30..=39 => self.sync(),
            40..=59 => self.send(),
            60..=69 => self.broker(),
            70..=79 => self.acknowledge(),
            80..=83 => self.world.wait(1 << self.random.below(17)),
            84..=87 => self.connect_or_cut(),
            88..=90 => self.power_cut(),
            91 => self.clean_stop(),
            92..=94 => self.replay(),
            95 => self.restore(),
            96 => self.lose(),
            97 => self.break_disk(),
            98 => self.strangers(),
            _ => self.backup = self.world.centre.database.clone(),
        }
        self.check_bounds();
    }

    fn accept(&mut self) {
        let lane = Lane::ALL[self.random.below(3) as usize];
        let count = if lane == Lane::Alert {
            1
        } else {
            1 + self.random.below(5)
        };
        let range = self.world.accept(lane, count);
        let frame = (self.world.stream(lane), range);
        // An alert is durable when accept returns, unless the disk is out of use.
        if lane == Lane::Alert && self.on_disk() {
            self.durable.push(frame);
        } else {
            self.unsynced.push(frame);
        }
    }

    fn on_disk(&self) -> bool {
        self.world.deliver.stats().mode == "disk"
    }

    fn sync(&mut self) {
        self.world.sync();
        if self.on_disk() {
            self.durable.append(&mut self.unsynced);
        }
    }

    fn send(&mut self) {
        let out = self.world.poll();
        for message in &out {
            self.check_order(message);
        }
        self.flying.extend(out);
    }

    /// The broker answers some; of those some reach the centre, others it forgets.
    fn broker(&mut self) {
        for _ in 0..1 + self.random.below(6) {
            if self.flying.is_empty() {
                return;
            }
            let at = self.random.below(self.flying.len() as u64) as usize;
            let message = self.flying.remove(at);
            match self.random.below(10) {
                0 => self.world.centre.receive(&message.payload),
                1 | 2 => self.world.puback(&message),
                _ => self.world.pass(&message),
            }
        }
    }

    fn acknowledge(&mut self) {
        for payload in self.world.centre.acks() {
            if self.random.below(3) > 0 {
                self.world.tell(LinkEvent::Received {
                    payload: payload.clone(),
                });
            }
            self.late_acks.push(payload);
        }
    }

    /// Late, doubled and old acknowledgements.
    fn replay(&mut self) {
        if !self.late_acks.is_empty() {
            let at = self.random.below(self.late_acks.len() as u64) as usize;
            let payload = self.late_acks[at].clone();
            self.world.tell(LinkEvent::Received { payload });
        }
    }

    fn connect_or_cut(&mut self) {
        let connection = if self.random.below(3) == 0 {
            Connection::Alert
        } else {
            Connection::Main
        };
        self.flying.retain(|m| m.session.connection != connection);
        let lives = match connection {
            Connection::Main => self.world.main.is_some(),
            Connection::Alert => self.world.alert.is_some(),
        };
        if lives {
            return self.world.disconnect(connection);
        }
        self.world.connect(connection);
        if connection == Connection::Main {
            self.seen.clear();
            self.backlog_at.clear();
            self.backlog_before = self.world.issued.clone();
        }
    }

    fn power_cut(&mut self) {
        self.crashes += 1;
        // Whoever was in the middle of an operation does not finish it.
        if self.random.below(2) == 0 {
            self.world.disk.cut_power_after(self.random.below(4));
            self.world.accept(Lane::Telemetry, 2);
            self.world.sync();
        }
        // A killed process leaves the page cache behind; a cut of the power does not.
        if self.random.below(3) > 0 {
            self.world.disk.crash(&mut self.random);
        }
        self.world.disk.power_is_back();
        self.unsynced.clear();
        self.begin_again();
    }

    fn clean_stop(&mut self) {
        self.world.deliver.close(self.world.now_ms);
        if self.on_disk() {
            self.durable.append(&mut self.unsynced);
        }
        self.send();
        self.unsynced.clear();
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.flying.clear();
        self.world.restart();
    }

    fn restore(&mut self) {
        if self.trouble.restores {
            self.world.centre.restart(self.backup.clone());
            // Nobody who could replay them had those acks before the backup was taken.
            self.flying.clear();
            let (main, alert) = (Connection::Main, Connection::Alert);
            self.world.disconnect(main);
            self.world.disconnect(alert);
        } else {
            let database = self.world.centre.database.clone();
            self.world.centre.restart(database);
        }
    }

    fn lose(&mut self) {
        let range = self.world.issue(Lane::Telemetry, 1 + self.random.below(3));
        let stream = self.world.stream(Lane::Telemetry);
        self.world.deliver.lose(stream, range, LossReason::Evicted);
    }

    fn break_disk(&mut self) {
        if self.trouble.failing_syncs {
            self.world.disk.set_faults(Faults {
                failing_syncs: 1 + self.random.below(4) as u32,
                ..Faults::default()
            });
        }
    }

    fn strangers(&mut self) {
        let mut stranger = Centre::new(666);
        stranger.database = self.world.centre.database.clone();
        let garbage: Vec<u8> = (0..self.random.below(60))
            .map(|_| self.random.next_u64() as u8)
            .collect();
        self.world.tell(LinkEvent::Received { payload: garbage });
        for payload in stranger.acks() {
            // Before our own centre has answered, nobody is believed anyway: it does not know the nonce.
            self.world.tell(LinkEvent::Received { payload });
        }
    }

    fn check_bounds(&self) {
        let stats = self.world.deliver.stats();
        let config = &self.world.config;
        let in_flight_max = config.window + config.alert_window + 8;
        assert!(stats.in_flight <= in_flight_max as u64);
        assert!(stats.awaiting <= 2 * config.awaiting_max as u64);
        for lane in Lane::ALL {
            let max = *config.spool.max_bytes.get(lane);
            assert!(stats.lanes.get(lane).bytes <= max, "{lane}");
        }
    }

    /// Frames from before this connection go out for the first time in their order.
    fn check_order(&mut self, message: &Message) {
        let Some((stream, range)) = message.frame().filter(|(s, _)| s.lane != Lane::Alert) else {
            return;
        };
        let is_backlog = self
            .backlog_before
            .get(&stream)
            .is_some_and(|next| range.first_seq < *next);
        // A restored centre sends the backlog back to its beginning.
        let is_backlog = is_backlog && !self.trouble.restores;
        if self.seen.insert((stream, range.first_seq)) && is_backlog {
            let here = (stream.epoch.number(), range.first_seq);
            let before = self.backlog_at.insert(stream.lane, here);
            assert!(
                before.is_none_or(|before| before < here),
                "{before:?} {here:?}"
            );
        }
    }

    /// In the end everything works, and every number must have its place.
    fn finish(mut self) {
        self.world.disk.set_faults(Faults::default());
        self.sync();
        self.world.settle();
        self.known_epochs.insert(self.world.epoch);
        for (stream, next_seq) in self.world.issued.clone() {
            if !self.known_epochs.contains(&stream.epoch) {
                assert!(self.trouble.failing_syncs, "{stream:?} has no place");
                continue;
            }
            let tail = self.world.centre.database.tails.get(&stream).copied();
            for seq in 0..next_seq {
                let one = SeqRange::new(seq, seq).unwrap();
                let explained = self.world.centre.has(stream, one)
                    || self.world.centre.reason(stream, seq).is_some()
                    || tail.is_some_and(|first_seq| seq >= first_seq);
                let running = stream.epoch == self.world.epoch;
                let place = explained || running && self.is_unsealed(stream, seq);
                assert!(place, "{stream:?} {seq} has no place");
            }
        }
        for (stream, range) in &self.durable {
            for seq in range.first_seq..=range.last_seq {
                let one = SeqRange::new(seq, seq).unwrap();
                let reason = self.world.centre.reason(*stream, seq);
                let known = match reason {
                    Some(LossReason::Evicted) => self.trouble.small_disk,
                    Some(LossReason::ReleasedBeforeRestore) => self.trouble.restores,
                    Some(_) => false,
                    None => self.world.centre.has(*stream, one),
                };
                assert!(
                    known,
                    "durable {stream:?} {seq} has no place but {reason:?}"
                );
            }
        }
        let stats = self.world.deliver.stats();
        for lane in Lane::ALL {
            assert_eq!(stats.lanes.get(lane).unacked, 0, "{lane} {stats:?}");
        }
        assert_eq!(stats.open_losses, 0);
        assert_eq!(stats.open_epochs, 1);
    }

    fn is_unsealed(&self, stream: StreamId, seq: u64) -> bool {
        let mut accepted = self.durable.iter().chain(&self.unsynced);
        !accepted.any(|(s, range)| *s == stream && range.contains(seq))
    }
}

fn live(seeds: std::ops::Range<u64>, trouble: Trouble) {
    let mut crashes = 0;
    for seed in seeds {
        let mut life = Life::new(seed, trouble);
        for _ in 0..250 {
            life.step();
        }
        crashes += life.crashes;
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life.finish()));
        if let Err(panic) = told {
            eprintln!("seed {seed} {trouble:?}");
            std::panic::resume_unwind(panic);
        }
    }
    assert!(crashes > 100, "the crashes must land: {crashes}");
}

#[test]
fn every_number_is_stored_or_explained_whatever_is_cut() {
    live(0..80, Trouble::default());
}

#[test]
fn every_number_is_stored_or_explained_when_the_centre_is_restored() {
    let trouble = Trouble {
        restores: true,
        ..Trouble::default()
    };
    live(1_000..1_080, trouble);
}

#[test]
fn every_number_is_stored_or_explained_when_syncs_fail() {
    let trouble = Trouble {
        failing_syncs: true,
        restores: true,
        ..Trouble::default()
    };
    live(2_000..2_080, trouble);
}

#[test]
fn every_number_is_stored_or_explained_when_the_disk_is_small() {
    let trouble = Trouble {
        small_disk: true,
        ..Trouble::default()
    };
    live(3_000..3_080, trouble);
}

#[test]
#[should_panic(expected = "has no place")]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let trouble = Trouble {
        lying_syncs: true,
        ..Trouble::default()
    };
    live(0..120, trouble);
}
