//! What the centre says, and what is believed of it.
use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::{Ack, AckEntry, LossReason, Message as _, NackReason};

use super::centre::Centre;
use super::world::{Message, World, config, epoch_of_start};
use crate::deliver::compose::encoded;
use crate::forward::link::{Connection, LinkEvent};
use crate::forward::random::Random;

fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

/// A world that has delivered and released `count` frames of one number each.
fn delivered(count: usize) -> World {
    let mut world = World::new(config());
    for _ in 0..count {
        world.accept(Lane::Telemetry, 1);
    }
    world.sync();
    world.settle();
    assert_eq!(world.deliver.stats().lanes.telemetry.unacked, 0);
    world
}

/// Frames that the broker took and the centre did not store.
fn unstored(world: &mut World, count: usize) -> Vec<Message> {
    let mut sent = Vec::new();
    for _ in 0..count {
        world.accept(Lane::Telemetry, 1);
        world.sync();
        for message in world.poll() {
            world.puback(&message);
            sent.push(message);
        }
    }
    sent
}

fn unacked(world: &World) -> u64 {
    world.deliver.stats().lanes.telemetry.unacked
}

#[test]
fn another_centre_is_ignored_with_an_alarm() {
    let mut world = delivered(1);
    unstored(&mut world, 3);
    let mut stranger = Centre::new(666);
    stranger.n = 1_000;
    stranger
        .database
        .stored
        .entry(world.stream(Lane::Telemetry))
        .or_default()
        .insert(range(0, 3))
        .unwrap();
    for payload in stranger.acks() {
        world.tell(LinkEvent::Received { payload });
    }
    assert_eq!(unacked(&world), 3);
    assert_eq!(world.alarms(), [("foreign_central", true)]);
    // Also by the next process: the first centre is remembered.
    world.restart();
    world.connect(Connection::Main);
    for message in world.poll() {
        stranger.receive(&message.payload);
    }
    for payload in stranger.acks() {
        world.tell(LinkEvent::Received { payload });
    }
    assert!(world.alarms().contains(&("foreign_central", true)));
    world.settle();
}

#[test]
fn an_acknowledgement_beyond_what_was_issued_is_ignored_with_an_alarm() {
    let mut world = delivered(1);
    unstored(&mut world, 3);
    let stream = world.stream(Lane::Telemetry);
    world
        .centre
        .database
        .stored
        .entry(stream)
        .or_default()
        .insert(range(0, 4))
        .unwrap();
    world.ack();
    assert_eq!(unacked(&world), 3);
    assert_eq!(world.alarms(), [("ack_beyond_sent", true)]);
}

#[test]
fn an_entry_of_an_unknown_epoch_frees_nothing_and_harms_nothing() {
    let mut world = delivered(1);
    unstored(&mut world, 1);
    let entry = |epoch, upto| AckEntry {
        epoch,
        lane: Lane::Telemetry,
        upto,
        ranges: heapless::Vec::new(),
        tail_from: None,
    };
    let ack = Ack {
        central_id: 77,
        run: 1,
        n: 9_999,
        nonce: None,
        entries: [entry(epoch_of_start(50), 700), entry(world.epoch, 2)]
            .into_iter()
            .collect(),
    };
    world.tell(LinkEvent::Received {
        payload: encoded(&ack).unwrap(),
    });
    assert_eq!(unacked(&world), 0);
    assert!(world.alarms().is_empty());
}

#[test]
fn damaged_and_arbitrary_bytes_free_nothing() {
    let mut world = delivered(1);
    unstored(&mut world, 1);
    let stream = world.stream(Lane::Telemetry);
    world
        .centre
        .database
        .stored
        .entry(stream)
        .or_default()
        .insert(range(0, 1))
        .unwrap();
    let whole = world.centre.acks().remove(0);
    for bit in 0..whole.len() * 8 {
        let mut payload = whole.clone();
        payload[bit / 8] ^= 1 << (bit % 8);
        world.tell(LinkEvent::Received { payload });
        assert_eq!(unacked(&world), 1, "bit {bit}");
    }
    world.tell(LinkEvent::Received { payload: whole });
    assert_eq!(unacked(&world), 0);
}

#[test]
fn a_restarted_ingest_is_asked_for_an_answer_and_old_runs_are_over() {
    let mut world = delivered(1);
    let old_ack = |n: u64, upto: u64, epoch| {
        let entry = AckEntry {
            epoch,
            lane: Lane::Telemetry,
            upto,
            ranges: heapless::Vec::new(),
            tail_from: None,
        };
        let ack = Ack {
            central_id: 77,
            run: 1,
            n,
            nonce: None,
            entries: [entry].into_iter().collect(),
        };
        encoded(&ack).unwrap()
    };
    let database = world.centre.database.clone();
    world.centre.restart(database);
    world.wait(10_000);
    world.ack();
    let out = world.poll();
    assert!(
        out.iter()
            .any(|m| firmware_shared::message::Birth::decode(&m.payload).is_ok())
    );
    out.iter().for_each(|message| world.pass(message));
    world.ack();
    unstored(&mut world, 2);
    let payload = old_ack(99_999, 3, world.epoch);
    world.tell(LinkEvent::Received { payload });
    assert_eq!(unacked(&world), 2);
    // Births are not sent again and again.
    assert!(world.poll().is_empty());
}

#[test]
fn a_restored_centre_gets_again_what_is_held_and_a_loss_for_what_is_not() {
    let mut config = config();
    config.spool.max_bytes.telemetry = 8 * 1_024;
    let mut world = World::new(config);
    // Frames of which nothing was ever stored are gone when they are acknowledged; what was stored is
    // kept until its room is needed.
    for _ in 0..40 {
        world.accept(Lane::Telemetry, 1);
        world.sync();
        world.settle();
    }
    let stream = world.stream(Lane::Telemetry);
    let mut backup = world.centre.database.clone();
    backup.stored.get_mut(&stream).map(std::mem::take);
    backup
        .stored
        .get_mut(&stream)
        .unwrap()
        .insert(range(0, 9))
        .unwrap();
    world.centre.restart(backup);
    world.ack();
    assert!(
        !world.alarms().contains(&("centre_restored", true)),
        "no echo, no way back"
    );
    world.settle();
    assert!(world.alarms().contains(&("centre_restored", true)));
    assert!(world.centre.has(stream, range(0, 9)));
    assert!(world.centre.has(stream, range(39, 39)), "still held");
    for seq in 10..39 {
        let one = range(seq, seq);
        let lost = world.centre.reason(stream, seq) == Some(LossReason::ReleasedBeforeRestore);
        assert!(lost != world.centre.has(stream, one), "{seq}");
    }
    assert_eq!(
        world.centre.reason(stream, 10),
        Some(LossReason::ReleasedBeforeRestore)
    );
}

#[test]
fn a_restored_centre_hears_of_an_epoch_that_was_settled_long_ago() {
    let mut world = World::new(config());
    let before = world.centre.database.clone();
    let stream = world.stream(Lane::Telemetry);
    world.accept(Lane::Telemetry, 5);
    world.deliver.close(world.now_ms);
    for _ in 0..3 {
        world.restart();
        world.settle();
        world.deliver.close(world.now_ms);
    }
    assert!(world.centre.has(stream, range(0, 4)));
    world.centre.restart(before);
    world.restart();
    world.settle();
    let explained = |seq| {
        world.centre.has(stream, range(seq, seq)) || world.centre.reason(stream, seq).is_some()
    };
    assert!((0..5).all(explained));
}

#[test]
fn an_intact_frame_that_is_refused_is_sent_three_times_more_and_then_lost_on_record() {
    let mut world = delivered(1);
    unstored(&mut world, 2);
    let stream = world.stream(Lane::Telemetry);
    for attempt in 0..4 {
        let payload = world
            .centre
            .nack(stream, range(1, 1), NackReason::Undecodable);
        world.tell(LinkEvent::Received { payload });
        let again: Vec<_> = world.poll().iter().filter_map(Message::frame).collect();
        let expected = if attempt < 3 {
            vec![(stream, range(1, 1))]
        } else {
            vec![]
        };
        assert_eq!(again, expected, "attempt {attempt}");
    }
    world.settle();
    assert_eq!(world.centre.reason(stream, 1), Some(LossReason::Corrupt));
    assert!(world.centre.has(stream, range(2, 2)));
}

#[test]
fn a_damaged_frame_that_is_refused_is_lost_at_once_and_nothing_else() {
    let mut world = delivered(1);
    unstored(&mut world, 3);
    let stream = world.stream(Lane::Telemetry);
    let place = world.deliver.spool.find(stream, range(2, 2)).unwrap();
    let file = world.deliver.spool.file_at(Lane::Telemetry, place).unwrap();
    world.disk.damage(&file, place.offset + 80);
    let payload = world.centre.nack(stream, range(2, 2), NackReason::Corrupt);
    world.tell(LinkEvent::Received { payload });
    assert!(world.alarms().contains(&("spool_corrupt", true)));
    world.settle();
    assert_eq!(world.centre.reason(stream, 2), Some(LossReason::Corrupt));
    assert!(world.centre.has(stream, range(1, 1)) && world.centre.has(stream, range(3, 3)));
}

#[test]
fn a_clash_is_kept_and_told_and_blocks_nobody() {
    let mut world = delivered(1);
    unstored(&mut world, 2);
    let stream = world.stream(Lane::Telemetry);
    let payload = world.centre.nack(stream, range(1, 1), NackReason::Clash);
    world.tell(LinkEvent::Received { payload });
    assert_eq!(world.alarms(), [("identity_clash", true)]);
    world.accept(Lane::Telemetry, 1);
    for _ in 0..100 {
        world.wait(20_000);
        for message in world.poll() {
            assert_ne!(message.frame(), Some((stream, range(1, 1))));
            world.pass(&message);
        }
        world.ack();
    }
    assert!(world.centre.has(stream, range(2, 3)));
    assert_eq!(
        unacked(&world),
        1,
        "the clashed frame is neither released nor lost"
    );
    assert_eq!(world.deliver.stats().open_losses, 0);
}

#[test]
fn a_cloned_card_sends_what_it_holds_and_is_acknowledged() {
    let mut world = World::new(config());
    for _ in 0..10 {
        world.accept(Lane::Telemetry, 2);
    }
    world.sync();
    let clone = world.disk.image();
    world.accept(Lane::Telemetry, 2);
    world.sync();
    world.settle();
    let stream = world.stream(Lane::Telemetry);
    assert!(world.centre.has(stream, range(0, 21)));

    // The clone starts in another vehicle, in its own epoch; it knows nothing of the last frame.
    let mut other = World::on(config(), clone, 500);
    std::mem::swap(&mut other.centre, &mut world.centre);
    other.accept(Lane::Telemetry, 3);
    other.sync();
    other.settle();
    assert_eq!(other.deliver.stats().lanes.telemetry.unacked, 0);
    assert!(other.alarms().is_empty());
    assert!(other.centre.has(other.stream(Lane::Telemetry), range(0, 2)));
    assert!(other.centre.has(stream, range(0, 21)));
}

#[test]
fn a_card_restored_from_an_older_image_loses_nothing_by_reused_numbers() {
    let mut world = delivered(5);
    let image = world.disk.image();
    let mut streams = vec![(world.stream(Lane::Telemetry), 5)];
    world.restart();
    world.accept(Lane::Telemetry, 4);
    world.sync();
    world.settle();
    streams.push((world.stream(Lane::Telemetry), 4));
    world.disk = image;
    world.restart();
    world.accept(Lane::Telemetry, 6);
    world.sync();
    world.settle();
    streams.push((world.stream(Lane::Telemetry), 6));
    for (stream, count) in streams {
        assert!(world.centre.has(stream, range(0, count - 1)), "{stream:?}");
    }
    let epochs: std::collections::BTreeSet<StreamId> = world.issued.keys().copied().collect();
    assert_eq!(epochs.len(), 3);
    world.disk.crash(&mut Random::new(1));
}
