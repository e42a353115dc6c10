//! What goes out, when, and in which order.
use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::{Birth, LossReason, Losses, Message as _};
use firmware_shared::time::{ClockSource, TimeAnchor};

use super::centre::frame;
use super::world::{Message, TAIL_AT_MOST, World, config};
use crate::deliver::AckLevel;
use crate::forward::link::{Connection, LinkCommand, LinkEvent};
use crate::spool::Frame;
use crate::spool::sim::Faults;

/// The first numbers of the frames among the messages.
fn firsts(messages: &[Message]) -> Vec<u64> {
    let frames = messages.iter().filter_map(Message::frame);
    frames.map(|(_, range)| range.first_seq).collect()
}

fn births(messages: &[Message]) -> usize {
    let births = messages
        .iter()
        .filter(|m| Birth::decode(&m.payload).is_ok());
    births.count()
}

/// A world whose main connection has said its birth and got its answer.
fn connected() -> World {
    let mut world = World::new(config());
    world.connect(Connection::Main);
    answer_birth(&mut world);
    world
}

fn answer_birth(world: &mut World) {
    for message in world.poll() {
        world.pass(&message);
    }
    world.ack();
}

fn accept_frames(world: &mut World, count: usize) {
    for _ in 0..count {
        world.accept(Lane::Telemetry, 1);
    }
    world.sync();
}

#[test]
fn the_birth_is_the_first_message_of_every_main_connection() {
    let mut world = World::new(config());
    accept_frames(&mut world, 3);
    let mut nonces = Vec::new();
    for _ in 0..2 {
        world.connect(Connection::Main);
        world.wait(6_000);
        let out = world.poll();
        let birth = Birth::decode(&out[0].payload).unwrap();
        assert!(out[0].topic.ends_with("/truck-001/status"));
        assert_eq!(births(&out), 1);
        assert_eq!(firsts(&out), [0, 1, 2]);
        let telemetry = birth.epochs[0]
            .lanes
            .iter()
            .find(|l| l.lane == Lane::Telemetry)
            .unwrap();
        assert_eq!(telemetry.next_seq, Some(3));
        assert_eq!(telemetry.held, [SeqRange::new(0, 2).unwrap()]);
        nonces.push(birth.nonce);
        world.disconnect(Connection::Main);
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn an_answer_to_the_birth_of_an_earlier_connection_does_not_replace_this_one() {
    let mut world = World::new(config());
    world.connect(Connection::Main);
    for message in world.poll() {
        world.pass(&message);
    }
    world.disconnect(Connection::Main);
    world.connect(Connection::Main);
    world.ack();
    assert_eq!(births(&world.poll()), 1);
}

#[test]
fn a_birth_is_said_again_when_a_part_of_its_answer_is_lost() {
    let mut world = World::new(config());
    for _ in 0..7 {
        world.accept(Lane::Telemetry, 1);
        world.restart();
    }
    world.connect(Connection::Main);
    for message in world.poll() {
        world.pass(&message);
    }
    let parts = world.centre.acks();
    assert_eq!(parts.len(), 2, "8 epochs of 3 lanes");
    world.tell(LinkEvent::Received {
        payload: parts[0].clone(),
    });
    let out = world.poll();
    assert_eq!(births(&out), 0);
    out.iter().for_each(|message| world.pass(message));
    world.wait(30_000);
    let again = world.poll();
    assert_eq!(births(&again), 1);
    for message in again {
        world.pass(&message);
    }
    world.ack();
    world.wait(300_000);
    assert_eq!(births(&world.poll()), 0);
}

#[test]
fn the_backlog_waits_for_the_answer_to_the_birth_or_five_seconds() {
    let mut world = World::new(config());
    accept_frames(&mut world, 2);
    world.connect(Connection::Main);
    assert_eq!(firsts(&world.poll()), [0_u64; 0]);
    // Live data do not wait.
    accept_frames(&mut world, 1);
    assert_eq!(firsts(&world.poll()), [2]);
    world.wait(4_999);
    assert_eq!(world.deliver.deadline(), Some(world.now_ms + 1));
    assert_eq!(firsts(&world.poll()), [0_u64; 0]);
    world.wait(1);
    assert_eq!(firsts(&world.poll()), [0, 1]);

    let mut world = World::new(config());
    accept_frames(&mut world, 2);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    assert_eq!(firsts(&world.poll()), [0, 1]);
}

#[test]
fn live_frames_go_first_and_the_backlog_has_every_fourth_turn() {
    let mut world = World::new(config());
    accept_frames(&mut world, 40);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    // The answered birth let the first part of the backlog go: answer it.
    for message in world.poll() {
        world.puback(&message);
    }
    let first_live = accept_many_without_sending(&mut world, 12);
    let order = firsts(&world.poll());
    let is_live: Vec<bool> = order.iter().map(|seq| *seq >= first_live).collect();
    assert_eq!(
        is_live[..8],
        [true, true, true, false, true, true, true, false]
    );
    let (live, backlog): (Vec<u64>, Vec<u64>) = order.iter().partition(|s| **s >= first_live);
    assert!(live.is_sorted() && backlog.is_sorted());
    assert_eq!(live.len(), 12);
}

fn accept_many_without_sending(world: &mut World, count: u64) -> u64 {
    let first = world.accept(Lane::Telemetry, 1).first_seq;
    for _ in 1..count {
        world.accept(Lane::Telemetry, 1);
    }
    first
}

#[test]
fn a_live_frame_that_the_queue_cannot_hold_goes_out_with_the_backlog() {
    let mut world = connected();
    accept_frames(&mut world, 60);
    // The backlog's turn looks past the frames that are queued live.
    let mut flying = world.poll();
    accept_frames(&mut world, 40);
    let mut sent = firsts(&flying);
    while !flying.is_empty() {
        for message in std::mem::take(&mut flying) {
            world.puback(&message);
            flying.extend(world.poll());
        }
        sent.extend(firsts(&flying));
    }
    sent.sort_unstable();
    assert_eq!(sent, (0..100).collect::<Vec<_>>(), "each once");
}

#[test]
fn a_frame_that_had_to_make_room_among_those_that_await_is_sent_again() {
    let mut config = config();
    config.awaiting_max = 4;
    let mut world = World::new(config);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    for _ in 0..12 {
        accept_frames(&mut world, 1);
        // The broker takes them and forgets them.
        for message in world.poll() {
            world.puback(&message);
        }
    }
    assert_eq!(world.deliver.stats().awaiting, 4);
    world.settle();
    let stream = world.stream(Lane::Telemetry);
    assert!(world.centre.has(stream, SeqRange::new(0, 11).unwrap()));
    assert_eq!(world.deliver.stats().counts.connections, 1);
}

#[test]
fn the_window_bounds_what_the_broker_has_not_answered() {
    let mut world = connected();
    accept_frames(&mut world, 50);
    let out = world.poll();
    assert_eq!(out.len(), world.config.window);
    assert!(world.poll().is_empty());
    world.puback(&out[0]);
    world.puback(&out[0]);
    assert_eq!(firsts(&world.poll()), [20]);
}

#[test]
fn a_full_window_of_backlog_leaves_room_for_a_live_frame() {
    let mut world = World::new(config());
    accept_frames(&mut world, 50);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    assert_eq!(world.poll().len(), world.config.window * 4 / 5);
    accept_frames(&mut world, 1);
    assert_eq!(firsts(&world.poll()), [50]);
}

#[test]
fn the_broker_alone_frees_nothing() {
    let mut world = connected();
    accept_frames(&mut world, 30);
    let files = world.disk.names();
    for _ in 0..5 {
        for message in world.poll() {
            world.puback(&message);
        }
    }
    assert_eq!(world.disk.names(), files);
    assert_eq!(world.deliver.stats().lanes.telemetry.unacked, 30);
    world
        .disk
        .crash(&mut crate::forward::random::Random::new(1));
    world.restart();
    world.settle();
    let stream = StreamId {
        epoch: super::world::epoch_of_start(1),
        lane: Lane::Telemetry,
    };
    assert!(world.centre.has(stream, SeqRange::new(0, 29).unwrap()));
    assert_eq!(world.deliver.stats().lanes.telemetry.unacked, 0);
}

#[test]
fn the_broker_frees_frames_and_losses_when_the_operator_chose_so() {
    let mut config = config();
    config.ack_level = AckLevel::Puback;
    let mut world = World::new(config);
    accept_frames(&mut world, 30);
    let lost = world.issue(Lane::Telemetry, 4);
    let stream = world.stream(Lane::Telemetry);
    world.deliver.lose(stream, lost, LossReason::Evicted);
    world.connect(Connection::Main);
    for _ in 0..10 {
        for message in world.poll() {
            world.puback(&message);
        }
        world.wait(5_000);
    }
    let stats = world.deliver.stats();
    assert_eq!((stats.lanes.telemetry.unacked, stats.open_losses), (0, 0));
    assert_eq!(stats.lanes.telemetry.acked, 34);
}

#[test]
fn an_unacknowledged_frame_is_sent_again_after_30_s_doubling_to_10_min() {
    let mut config = config();
    // Silence has its own test.
    config.centre_silent_ms = u64::MAX / 2;
    config.status_ms = u64::MAX / 2;
    let mut world = World::new(config);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    accept_frames(&mut world, 1);
    let mut sent_ms = Vec::new();
    while sent_ms.len() < 8 {
        for message in world.poll() {
            assert_eq!(message.frame().unwrap().1.first_seq, 0);
            sent_ms.push(world.now_ms);
            world.puback(&message);
        }
        world.now_ms = world.deliver.deadline().unwrap();
    }
    let waits: Vec<u64> = sent_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(
        waits[..6],
        [30_000, 60_000, 120_000, 240_000, 480_000, 600_000]
    );
    assert_eq!(world.deliver.stats().counts.resent, 7);
}

#[test]
fn a_slow_centre_gets_four_times_its_latency_before_a_frame_is_sent_again() {
    let mut world = connected();
    accept_frames(&mut world, 1);
    let out = world.poll();
    world.wait(20_000);
    world.pass(&out[0]);
    world.ack();
    assert_eq!(world.deliver.stats().ack_latency_ms, Some(20_000));
    accept_frames(&mut world, 1);
    for message in world.poll() {
        world.puback(&message);
    }
    world.wait(79_999);
    // The centre is silent by then: the one frame is the probe.
    assert_eq!(firsts(&world.poll()), [1]);
}

#[test]
fn a_frame_that_the_broker_lost_is_sent_again_when_later_ones_are_acknowledged() {
    let mut world = connected();
    accept_frames(&mut world, 3);
    let out = world.poll();
    world.pass(&out[0]);
    world.puback(&out[1]);
    world.pass(&out[2]);
    // Too early to say: it may still be on its way.
    world.ack();
    assert!(firsts(&world.poll()).is_empty());
    world.wait(2000);
    world.accept(Lane::Telemetry, 1);
    world.sync();
    let next = world.poll();
    assert_eq!(firsts(&next), [3]);
    world.pass(&next[0]);
    world.ack();
    let again = world.poll();
    assert_eq!(firsts(&again), [1]);
    world.puback(&again[0]);
    // Once: whoever loses it again waits for the timer.
    world.wait(2000);
    world.accept(Lane::Telemetry, 1);
    world.sync();
    for message in world.poll() {
        world.pass(&message);
    }
    world.ack();
    assert!(firsts(&world.poll()).is_empty());
}

#[test]
fn a_clean_stop_sends_again_what_did_not_arrive() {
    let mut world = connected();
    accept_frames(&mut world, 2);
    let out = world.poll();
    world.pass(&out[0]);
    world.puback(&out[1]);
    world.deliver.close(world.now_ms);
    for message in world.poll() {
        world.pass(&message);
    }
    world.ack();
    assert!(!world.deliver.is_closed());
    world.wait(2000);
    let again = world.poll();
    assert_eq!(firsts(&again), [1]);
    world.pass(&again[0]);
    world.ack();
    assert!(world.deliver.is_closed());
}

#[test]
fn what_was_in_flight_goes_out_again_after_a_reconnect_without_new_traffic() {
    let mut world = connected();
    accept_frames(&mut world, 5);
    let out = world.poll();
    assert_eq!(firsts(&out), [0, 1, 2, 3, 4]);
    world.puback(&out[0]);
    world.disconnect(Connection::Main);
    // Answers of the life before are void.
    world.puback(&out[1]);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    assert_eq!(firsts(&world.poll()), [0, 1, 2, 3, 4]);
}

#[test]
fn what_the_centre_has_is_not_sent_again_after_a_reconnect() {
    let mut world = connected();
    accept_frames(&mut world, 5);
    for message in world.poll() {
        world.pass(&message);
    }
    world.disconnect(Connection::Main);
    world.connect(Connection::Main);
    answer_birth(&mut world);
    assert_eq!(firsts(&world.poll()), [0_u64; 0]);
}

#[test]
fn an_alert_waits_neither_for_the_main_connection_nor_for_its_window() {
    let mut world = World::new(config());
    accept_frames(&mut world, 100);
    world.connect(Connection::Alert);
    world.accept(Lane::Alert, 1);
    let out = world.poll();
    assert_eq!(out.len(), 1);
    assert!(out[0].topic.ends_with("/truck-001/alert"));

    world.connect(Connection::Main);
    answer_birth(&mut world);
    world.wait(5_000);
    assert!(world.poll().len() >= 16);
    world.accept(Lane::Alert, 1);
    let out = world.poll();
    assert_eq!((out.len(), firsts(&out)), (1, vec![1]));
    assert_eq!(out[0].session.connection, Connection::Alert);
}

#[test]
fn an_alert_is_durable_when_it_is_accepted() {
    let mut world = World::new(config());
    let range = world.accept(Lane::Alert, 1);
    let stream = world.stream(Lane::Alert);
    world
        .disk
        .crash(&mut crate::forward::random::Random::new(3));
    world.restart();
    world.settle();
    assert!(world.centre.has(stream, range));
}

#[test]
fn an_alert_that_nobody_acknowledges_is_sent_again() {
    let mut world = World::new(config());
    world.connect(Connection::Alert);
    world.accept(Lane::Alert, 1);
    for message in world.poll() {
        world.puback(&message);
    }
    world.wait(30_000);
    assert_eq!(firsts(&world.poll()), [0]);
}

#[test]
fn a_silent_centre_gets_live_frames_and_one_probe_at_a_time() {
    let mut world = World::new(config());
    accept_frames(&mut world, 60);
    world.connect(Connection::Main);
    world.wait(5_000);
    for _ in 0..20 {
        for message in world.poll() {
            world.puback(&message);
        }
    }
    world.wait(60_001);
    let mut probes = firsts(&world.poll()).len();
    assert_eq!(world.alarms(), [("centre_silent", true)]);
    assert_eq!(probes, 1);
    accept_frames(&mut world, 3);
    assert_eq!(firsts(&world.poll()), [60, 61, 62]);
    // A quarter of an hour: 30 s, 1, 2, 4, 8 min after the first.
    for _ in 0..900 {
        world.wait(1_000);
        for message in world.poll() {
            probes += usize::from(message.frame().is_some());
            world.puback(&message);
        }
    }
    assert_eq!(probes, 5);
    // The birth that asked again is answered at last.
    world.wait(600_000);
    for message in world.poll() {
        world.pass(&message);
    }
    world.ack();
    assert_eq!(world.alarms(), [("centre_silent", false)]);
    world.settle();
    assert!(
        world
            .centre
            .has(world.stream(Lane::Telemetry), SeqRange::new(0, 62).unwrap())
    );
}

#[test]
fn a_broker_that_answers_nothing_is_given_up() {
    let mut world = connected();
    accept_frames(&mut world, 1);
    assert_eq!(world.poll().len(), 1);
    let session = world.main.unwrap();
    assert!(world.deliver.deadline().unwrap() <= world.now_ms + 60_000);
    world.wait(60_000);
    let command = std::iter::from_fn(|| world.deliver.poll(world.now_ms)).last();
    assert_eq!(command, Some(LinkCommand::Reconnect { session }));
    accept_frames(&mut world, 1);
    assert_eq!(world.deliver.poll(world.now_ms), None);
}

#[test]
fn status_goes_out_every_thirty_seconds() {
    let mut world = connected();
    accept_frames(&mut world, 2);
    for _ in 0..100 {
        world.wait(1_000);
        for message in world.poll() {
            world.puback(&message);
            if message.frame().is_none() {
                world.centre.receive(&message.payload);
            }
        }
    }
    assert_eq!(world.centre.statuses.len(), 3);
    let status = &world.centre.statuses[2];
    assert_eq!(status.next[1].next_seq, 2);
    assert!(!status.ram_mode && status.spool_bytes > 128);
    assert!(
        (80_000..=91_000).contains(&status.oldest_unacked_ms),
        "{status:?}"
    );
}

#[test]
fn a_clean_stop_says_its_final_numbers_last_and_leaves_no_open_tail() {
    let mut world = connected();
    accept_frames(&mut world, 2);
    world.accept(Lane::Alert, 1);
    world.deliver.close(world.now_ms);
    assert!(!world.deliver.is_closed());
    let out = world.poll();
    // The alert has no connection of its own: it goes first over this one.
    assert_eq!(firsts(&out), [0, 0, 1]);
    out.iter().for_each(|message| world.pass(message));
    assert!(out.last().unwrap().topic.ends_with("/status"));
    assert_eq!(
        world.centre.goodbyes[0]
            .next
            .iter()
            .map(|n| n.next_seq)
            .collect::<Vec<_>>(),
        [1, 2, 0]
    );
    assert!(!world.deliver.is_closed(), "nothing is committed yet");
    world.ack();
    assert!(world.deliver.is_closed());
    world.restart();
    world.settle();
    assert!(world.centre.database.tails.is_empty());
    let birth = world.centre.births.last().unwrap();
    let old = birth
        .epochs
        .iter()
        .find(|e| e.epoch != birth.epoch)
        .unwrap();
    assert_eq!(
        old.lanes.iter().map(|l| l.next_seq).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(0)]
    );
}

#[test]
fn a_crash_leaves_one_open_tail_per_lane_that_is_told_until_it_is_acknowledged() {
    let mut world = World::new(config());
    accept_frames(&mut world, 2);
    let old = world.epoch;
    world.restart();
    world.connect(Connection::Main);
    world.wait(5_000);
    let mut told = Vec::new();
    for _ in 0..200 {
        world.wait(1_000);
        for message in world.poll() {
            world.puback(&message);
            told.extend(
                Losses::decode(&message.payload)
                    .into_iter()
                    .map(|l| (world.now_ms, l)),
            );
        }
    }
    assert!(told.len() >= 3, "{}", told.len());
    assert_eq!(told[0].1.losses.len(), 3);
    for loss in &told[0].1.losses {
        let first_seq = if loss.lane == Lane::Telemetry { 2 } else { 0 };
        assert_eq!(
            (loss.epoch, loss.first_seq, loss.last_seq),
            (old, first_seq, None)
        );
        assert_eq!(loss.at_most, Some(TAIL_AT_MOST));
        assert_eq!(loss.reason, LossReason::NotAcceptedBeforeCrash);
    }
    world.settle();
    let messages = world.centre.loss_messages;
    assert_eq!(world.deliver.stats().open_losses, 0);
    world.wait(3_600_000);
    world.settle();
    assert_eq!(world.centre.loss_messages, messages);
}

#[test]
fn anchors_reach_the_centre_even_from_a_boot_that_never_was_online() {
    let mut world = World::new(config());
    let anchor = TimeAnchor {
        boottime_ms: 1_000,
        utc_ms: 1_700_000_000_000,
        error_ms: 50,
        source: ClockSource::Gnss,
    };
    world.deliver.anchor(anchor);
    accept_frames(&mut world, 1);
    world.deliver.close(world.now_ms);
    world.restart();
    world.settle();
    let anchors = &world.centre.anchors;
    assert!(
        anchors.iter().any(|a| a.anchors.contains(&anchor)),
        "{anchors:?}"
    );
}

#[test]
fn a_frame_that_is_too_long_is_a_loss_and_an_alarm() {
    let mut world = connected();
    let range = world.issue(Lane::Telemetry, 7);
    let stream = world.stream(Lane::Telemetry);
    let bytes = vec![0; crate::spool::PAYLOAD_LEN_MAX + 1];
    world.deliver.accept(
        world.now_ms,
        Frame {
            stream,
            range,
            bytes,
        },
    );
    assert_eq!(world.alarms(), [("frame_refused", true)]);
    // The broker of another day takes less than we do.
    let small = world.accept(Lane::Telemetry, 1);
    for message in world.poll() {
        let event = match message.frame() {
            Some(_) => LinkEvent::TooLarge {
                session: message.session,
                token: message.token,
            },
            None => LinkEvent::PubAck {
                session: message.session,
                token: message.token,
            },
        };
        world.tell(event);
    }
    world.settle();
    for seq in [0, 6, small.first_seq] {
        assert_eq!(
            world.centre.reason(stream, seq),
            Some(LossReason::Corrupt),
            "{seq}"
        );
    }
}

#[test]
fn a_frame_of_another_epoch_is_refused_with_an_alarm() {
    let mut world = connected();
    let stream = StreamId {
        epoch: super::world::epoch_of_start(99),
        lane: Lane::Telemetry,
    };
    let range = SeqRange::new(0, 0).unwrap();
    world.deliver.accept(world.now_ms, frame(stream, range));
    assert_eq!(world.alarms(), [("frame_refused", true)]);
    assert!(world.poll().is_empty());
}

#[test]
fn the_first_alert_of_a_start_does_not_wait_for_its_room() {
    let mut world = World::new(config());
    let segments = |world: &World| {
        let names = world.disk.names();
        names.iter().filter(|name| name.ends_with(".seg")).count()
    };
    world.accept(Lane::Telemetry, 1);
    assert_eq!(segments(&world), 0, "the first readings wait for nothing");
    world.wait(1_000);
    world.accept(Lane::Telemetry, 1);
    let before = world.disk.operations();
    assert_eq!(segments(&world), 1);
    world.accept(Lane::Alert, 1);
    assert_eq!(segments(&world), 1);
    assert_eq!(
        world.disk.operations(),
        before + 3,
        "its header, itself and one sync"
    );
}

#[test]
fn on_a_full_disk_room_is_not_tried_for_again_and_again() {
    let mut world = World::new(config());
    world.disk.set_faults(Faults {
        room: Some(world.disk.used()),
        ..Faults::default()
    });
    world.wait(1_000);
    world.accept(Lane::Telemetry, 1);
    world.disk.set_faults(Faults::default());
    for _ in 0..100 {
        world.wait(20);
        world.accept(Lane::Telemetry, 1);
    }
    let made = |world: &World| world.disk.names().iter().any(|n| n.ends_with(".seg"));
    assert!(!made(&world), "not within seconds");
    assert!(world.alarms().is_empty(), "nothing was lost by it");
}
