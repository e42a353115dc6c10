//! Random histories against a set.

use std::collections::{BTreeMap, BTreeSet};

use firmware_shared::id::{Lane, SeqRange};
use firmware_shared::message::{AckEntry, Loss, LossReason};
use firmware_shared::topic::Leaf;
use proptest::prelude::*;

use crate::testing::*;

const T: Lane = Lane::Telemetry;
const FRAME: u64 = 4;
const FRAMES: u64 = 24;

#[derive(Debug, Clone)]
enum Event {
    Frame(u64, u64),
    /// The same numbers with other bytes.
    Forged(u64, u64),
    Overlapping(u64, u64),
    Corrupt(u64, u64),
    Loss(u64, u64, u64, usize),
    Tail(u64, u64),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let epoch = 1..=2_u64;
    let slot = 0..FRAMES;
    prop_oneof![
        12 => (epoch.clone(), slot.clone()).prop_map(|(e, s)| Event::Frame(e, s)),
        2 => (epoch.clone(), slot.clone()).prop_map(|(e, s)| Event::Forged(e, s)),
        1 => (epoch.clone(), slot.clone()).prop_map(|(e, s)| Event::Overlapping(e, s)),
        1 => (epoch.clone(), slot.clone()).prop_map(|(e, s)| Event::Corrupt(e, s)),
        4 => (epoch.clone(), 0..FRAMES * FRAME, 0..12_u64, 0..4_usize)
            .prop_map(|(e, first, len, reason)| Event::Loss(e, first, first + len, reason)),
        1 => (epoch, 0..FRAMES * FRAME).prop_map(|(e, first)| Event::Tail(e, first)),
        2 => Just(Event::Restart),
    ]
}

/// What must be true, in the plainest words.
#[derive(Debug, Default)]
struct Model {
    stored: BTreeMap<u64, BTreeSet<u64>>,
    /// Whose bytes a slot holds: the true ones or the forged ones.
    first: BTreeMap<(u64, u64), bool>,
    lost: BTreeMap<u64, BTreeSet<u64>>,
    tail: BTreeMap<u64, u64>,
    clashes: u64,
}

fn numbers(slot: u64) -> std::ops::Range<u64> {
    slot * FRAME..(slot + 1) * FRAME
}

impl Model {
    fn frame(&mut self, epoch: u64, slot: u64, is_true: bool) {
        match self.first.get(&(epoch, slot)) {
            Some(first) => self.clashes += u64::from(*first != is_true),
            None => {
                self.first.insert((epoch, slot), is_true);
                let stored = self.stored.entry(epoch).or_default();
                stored.extend(numbers(slot));
                let lost = self.lost.entry(epoch).or_default();
                lost.retain(|seq| !numbers(slot).contains(seq));
                self.close_tail(epoch);
            }
        }
    }

    fn loss(&mut self, epoch: u64, first_seq: u64, last_seq: u64) {
        let stored = self.stored.entry(epoch).or_default();
        let lost = self.lost.entry(epoch).or_default();
        lost.extend((first_seq..=last_seq).filter(|seq| !stored.contains(seq)));
        self.close_tail(epoch);
    }

    fn tail(&mut self, epoch: u64, first_seq: u64) {
        let tail = self.tail.entry(epoch).or_insert(first_seq);
        *tail = first_seq.min(*tail);
        self.close_tail(epoch);
    }

    /// Everything behind the start of a tail that lies before something known is lost.
    fn close_tail(&mut self, epoch: u64) {
        let stored = self.stored.entry(epoch).or_default();
        let lost = self.lost.entry(epoch).or_default();
        if let Some(tail) = self.tail.get(&epoch) {
            let end = stored.last().max(lost.last()).map_or(0, |last| last + 1);
            lost.extend((*tail..end).filter(|seq| !stored.contains(seq)));
        }
    }

    fn explained(&self, epoch: u64) -> BTreeSet<u64> {
        let empty = BTreeSet::new();
        let stored = self.stored.get(&epoch).unwrap_or(&empty);
        stored
            .union(self.lost.get(&epoch).unwrap_or(&empty))
            .copied()
            .collect()
    }
}

fn acknowledged(entry: &AckEntry) -> BTreeSet<u64> {
    entry
        .acknowledged()
        .flat_map(
            |SeqRange {
                 first_seq,
                 last_seq,
             }| first_seq..=last_seq,
        )
        .collect()
}

fn forged(epoch: u64, slot: u64) -> Vec<u8> {
    let mut list = readings(slot * FRAME, FRAME);
    list[0].stamp_ms += 7;
    seal(stream(epoch, T), slot * FRAME, &list)
}

fn apply(desk: &mut Desk, model: &mut Model, event: &Event) {
    match *event {
        Event::Frame(e, slot) => {
            desk.give(Leaf::Telemetry, &frame(stream(e, T), slot * FRAME, FRAME));
            model.frame(e, slot, true);
        }
        Event::Forged(e, slot) => {
            desk.give(Leaf::Telemetry, &forged(e, slot));
            model.frame(e, slot, false);
        }
        Event::Overlapping(e, slot) => {
            // Half of two slots: stored only where neither is, which the model does not follow.
            let touched = [slot, slot + 1]
                .iter()
                .any(|slot| model.first.contains_key(&(e, *slot)));
            if touched {
                desk.give(
                    Leaf::Telemetry,
                    &frame(stream(e, T), slot * FRAME + 2, FRAME),
                );
                model.clashes += 1;
            }
        }
        Event::Corrupt(e, slot) => {
            let mut bytes = frame(stream(e, T), slot * FRAME, FRAME);
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            desk.give(Leaf::Telemetry, &bytes);
        }
        Event::Loss(e, first_seq, last_seq, reason) => {
            let loss = Loss {
                epoch: epoch(e),
                lane: T,
                first_seq,
                last_seq: Some(last_seq),
                at_most: None,
                reason: LossReason::ALL[reason],
            };
            desk.give(Leaf::Health, &losses(&[loss]));
            model.loss(e, first_seq, last_seq);
        }
        Event::Tail(e, first_seq) => {
            let loss = Loss {
                epoch: epoch(e),
                lane: T,
                first_seq,
                last_seq: None,
                at_most: None,
                reason: LossReason::NotAcceptedBeforeCrash,
            };
            desk.give(Leaf::Health, &losses(&[loss]));
            model.tail(e, first_seq);
        }
        Event::Restart => {}
    }
}

fn check(desk: &mut Desk, model: &Model) {
    for e in [1, 2] {
        let stored: BTreeSet<u64> = desk
            .column(&format!("SELECT seq FROM readings WHERE epoch = {e}"))
            .iter()
            .map(|seq| seq.parse().unwrap())
            .collect();
        assert_eq!(&stored, model.stored.get(&e).unwrap_or(&BTreeSet::new()));
    }
    assert_eq!(desk.counter("clashes"), model.clashes);
    let open = [(stream(1, T), None), (stream(2, T), None)];
    desk.give(Leaf::Status, &message(&birth(9, 1, 1, &open)));
    let heard = desk.hear_at_once();
    let answer = heard
        .iter()
        .find_map(|heard| match heard {
            Heard::Ack(ack) if ack.nonce == Some(1) => Some(ack),
            _ => None,
        })
        .unwrap();
    for entry in &answer.entries {
        let e = entry.epoch.number();
        assert_eq!(acknowledged(entry), model.explained(e), "epoch {e}");
        assert_eq!(entry.tail_from, model.tail.get(&e).copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_acks_equal_the_set_model_whatever_comes(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut desk = Desk::new();
        let mut model = Model::default();
        for event in &events {
            apply(&mut desk, &mut model, event);
            if matches!(event, Event::Restart) {
                desk = desk.restart();
            }
        }
        check(&mut desk, &model);
        desk = desk.restart();
        check(&mut desk, &model);
    }

    #[test]
    fn arbitrary_bytes_on_any_topic_never_stop_ingest(
        publishes in prop::collection::vec(
            (0..5_usize, prop::collection::vec(any::<u8>(), 0..200), any::<bool>()),
            1..40,
        ),
    ) {
        let mut desk = Desk::new();
        let leaves = [Leaf::Telemetry, Leaf::Health, Leaf::Alert, Leaf::Status, Leaf::Ack];
        let mut group = Vec::new();
        for (leaf, bytes, with_crc) in &publishes {
            let mut bytes = bytes.clone();
            if *with_crc {
                // Past the checksum, into the parsers.
                let crc = firmware_shared::checksum::crc32c(&bytes);
                bytes.extend(crc.to_le_bytes());
            }
            group.push(desk.delivery(leaves[*leaf], &bytes));
        }
        desk.committer.commit(1, &group).unwrap();
        desk.hear();
        desk.give(Leaf::Telemetry, &frame(stream(77, T), 0, 4));
        prop_assert_eq!(desk.entry().upto, 4);
    }

    #[test]
    fn arbitrary_topics_never_stop_ingest(topic in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut desk = Desk::new();
        let mut delivery = desk.delivery(Leaf::Telemetry, &bytes);
        delivery.topic = topic;
        desk.committer.commit(1, &[delivery]).unwrap();
        desk.give(Leaf::Telemetry, &frame(stream(77, T), 0, 4));
        prop_assert_eq!(desk.value("SELECT count(*) FROM readings"), "4");
    }
}
