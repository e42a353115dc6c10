//! The data plan, the centre's hint, what the broker refuses, holes, and alerts without a connection.
use firmware_shared::id::{Lane, SeqRange};
use firmware_shared::message::Pacing;

use super::world::{Message, World, config};
use crate::deliver::AckLevel;
use crate::deliver::compose::encoded;
use crate::forward::budget::Month;
use crate::forward::link::{Connection, LinkEvent};

fn lanes(messages: &[Message]) -> Vec<(Lane, u64)> {
    let frames = messages.iter().filter_map(Message::frame);
    frames.map(|(s, range)| (s.lane, range.first_seq)).collect()
}

/// Everything that goes out reaches the centre, and the answers come back.
fn exchange(world: &mut World) -> Vec<Message> {
    let out = world.poll();
    out.iter().for_each(|message| world.pass(message));
    world.ack();
    out
}

fn connected(world: &mut World) {
    world.connect(Connection::Main);
    exchange(world);
}

#[test]
fn a_used_up_plan_lets_alerts_and_births_pass_and_says_so() {
    let mut config = config();
    config.plans.home.month_bytes = Some(4_000);
    let mut world = World::new(config);
    connected(&mut world);
    let mut sent = 0;
    for _ in 0..60 {
        world.accept(Lane::Telemetry, 1);
        world.sync();
        sent += exchange(&mut world).len();
        world.wait(1_000);
    }
    world.deliver.note_network(world.now_ms, false, None);
    assert!((10..40).contains(&sent), "{sent}");
    assert!(world.deliver.stats().plan.is_used_up);
    assert_eq!(world.alarms(), [("plan_used_up", true)]);
    world.connect(Connection::Alert);
    world.accept(Lane::Alert, 1);
    assert_eq!(lanes(&exchange(&mut world)), [(Lane::Alert, 0)]);
    world.disconnect(Connection::Main);
    world.connect(Connection::Main);
    assert_eq!(exchange(&mut world).len(), 1, "the birth alone");

    let used = world.deliver.plan_use();
    world.restart();
    world.deliver.restore_plan(used);
    connected(&mut world);
    world.accept(Lane::Telemetry, 1);
    world.sync();
    assert_eq!(lanes(&exchange(&mut world)), []);
    let month = Some(Month(24_322));
    world.deliver.note_network(world.now_ms, false, month);
    // The count began before the month was known: it stays until the next one.
    assert_eq!(lanes(&exchange(&mut world)), []);
    let month = Some(Month(24_323));
    world.deliver.note_network(world.now_ms, false, month);
    assert!(!lanes(&exchange(&mut world)).is_empty());
}

#[test]
fn our_centre_slows_the_backlog_and_no_other_centre_does() {
    let hint = |central_id, backlog_bytes_per_s| Pacing {
        central_id,
        backlog_bytes_per_s,
        valid_s: 60,
    };
    let tell = |world: &mut World, hint: Pacing| {
        world.tell(LinkEvent::Received {
            payload: encoded(&hint).unwrap(),
        });
    };
    let mut world = World::new(config());
    connected(&mut world);
    world.disconnect(Connection::Main);
    for _ in 0..200 {
        world.accept(Lane::Telemetry, 1);
    }
    world.sync();
    world.connect(Connection::Main);
    world.poll().iter().for_each(|m| world.pass(m));
    tell(&mut world, hint(77, Some(0)));
    world.ack();
    assert_eq!(lanes(&exchange(&mut world)), []);
    world.accept(Lane::Telemetry, 1);
    assert_eq!(lanes(&exchange(&mut world)), [(Lane::Telemetry, 200)]);
    assert_eq!(world.deliver.stats().plan.backlog_bytes_per_s, Some(0));
    world.wait(59_999);
    assert_eq!(lanes(&world.poll()), []);
    assert_eq!(world.deliver.deadline(), Some(world.now_ms + 1));
    world.wait(1);
    assert!(!lanes(&exchange(&mut world)).is_empty());
    // A stranger is not heard.
    tell(&mut world, hint(78, Some(0)));
    assert!(!lanes(&exchange(&mut world)).is_empty());
    // The limit is lifted at once.
    tell(&mut world, hint(77, Some(0)));
    assert_eq!(lanes(&exchange(&mut world)), []);
    tell(&mut world, hint(77, None));
    assert!(!lanes(&exchange(&mut world)).is_empty());
}

#[test]
fn what_the_broker_refuses_is_not_delivered_even_when_its_word_is_enough() {
    for ack_level in [AckLevel::Central, AckLevel::Puback] {
        let mut config = config();
        config.ack_level = ack_level;
        let mut world = World::new(config);
        connected(&mut world);
        world.accept(Lane::Telemetry, 1);
        world.sync();
        let out = world.poll();
        assert_eq!(lanes(&out), [(Lane::Telemetry, 0)]);
        world.tell(LinkEvent::Refused {
            session: out[0].session,
            token: out[0].token,
            reason: "quota exceeded".to_owned(),
        });
        assert_eq!(world.deliver.stats().lanes.telemetry.unacked, 1);
        assert_eq!(world.deliver.stats().counts.refused, 1);
        assert_eq!(world.alarms(), [("broker_refuses", true)]);
        world.wait(30_000);
        assert!(lanes(&world.poll()).contains(&(Lane::Telemetry, 0)));
    }
}

#[test]
fn a_broker_that_takes_few_messages_at_once_gets_few() {
    let mut world = World::new(config());
    for _ in 0..50 {
        world.accept(Lane::Telemetry, 1);
    }
    world.sync();
    let session = world.connect(Connection::Main);
    world.tell(LinkEvent::Limited {
        session,
        in_flight_max: 5,
    });
    exchange(&mut world);
    let out = world.poll();
    assert_eq!(out.len(), 4, "a fifth is kept free for live frames");
    world.accept(Lane::Telemetry, 1);
    world.accept(Lane::Telemetry, 1);
    assert_eq!(world.poll().len(), 1);
    world.puback(&out[0]);
    assert_eq!(world.poll().len(), 1);
}

#[test]
fn alerts_without_a_connection_of_their_own_go_over_the_main_one_and_arrive_once() {
    let mut world = World::new(config());
    connected(&mut world);
    for _ in 0..60 {
        world.accept(Lane::Telemetry, 1);
    }
    world.sync();
    let flying = world.poll();
    assert_eq!(flying.len(), world.config.window, "the window is full");
    world.accept(Lane::Alert, 1);
    let out = world.poll();
    assert_eq!(lanes(&out), [(Lane::Alert, 0)]);
    // The broker lost it; its own connection comes up meanwhile.
    world.puback(&out[0]);
    world.connect(Connection::Alert);
    assert_eq!(lanes(&world.poll()), []);
    world.disconnect(Connection::Main);
    world.connect(Connection::Main);
    world.accept(Lane::Alert, 1);
    let own: Vec<Message> = world.poll();
    let own: Vec<&Message> = own
        .iter()
        .filter(|m| m.session.connection == Connection::Alert)
        .collect();
    assert_eq!(own.len(), 2, "the one that was lost, too");
    world.settle();
    let alerts = world.stream(Lane::Alert);
    assert!(world.centre.has(alerts, SeqRange::new(0, 1).unwrap()));
    assert_eq!(world.deliver.stats().lanes.alert.unacked, 0);
}

#[test]
fn from_48_pieces_on_the_lowest_hole_is_filled_before_live_data_make_another() {
    let mut world = World::new(config());
    connected(&mut world);
    // Every second frame is held back by the broker: it took them and died.
    for seq in 0..100 {
        world.accept(Lane::Telemetry, 1);
        world.sync();
        let out = world.poll();
        assert_eq!(lanes(&out), [(Lane::Telemetry, seq)]);
        world.puback(&out[0]);
        if seq % 2 == 0 {
            world.centre.receive(&out[0].payload);
        }
    }
    world.ack();
    world.disconnect(Connection::Main);
    world.connect(Connection::Main);
    exchange(&mut world);
    world.accept(Lane::Telemetry, 1);
    let order = lanes(&world.poll());
    let firsts: Vec<u64> = order.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(firsts[..3], [1, 3, 5], "{order:?}");
    assert!(!firsts.contains(&100));
    world.settle();
    let all = SeqRange::new(0, 100).unwrap();
    assert!(world.centre.has(world.stream(Lane::Telemetry), all));
}
