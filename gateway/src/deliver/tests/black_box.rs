//! Readings around a critical alert go out with its priority.
use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{Lane, SeqRange};

use super::world::{Message, World, config};
use crate::forward::link::Connection;
use crate::spool::Frame;

/// Telemetry frames among the messages: the connection and the first number.
fn readings(messages: &[Message]) -> Vec<(Connection, u64)> {
    let frames = messages
        .iter()
        .filter_map(|m| Some((m.session.connection, m.frame()?)));
    frames
        .filter(|(_, (stream, _))| stream.lane == Lane::Telemetry)
        .map(|(connection, (_, range))| (connection, range.first_seq))
        .collect()
}

fn alert(world: &World, state: AlertState, severity: Severity, window: (u64, u64)) -> Alert {
    Alert {
        id: "truck-001-1-0".try_into().unwrap(),
        device: "truck-001".parse().unwrap(),
        epoch: world.epoch,
        seq: 0,
        state,
        severity,
        kind: "runaway".try_into().unwrap(),
        sensor: "load".try_into().unwrap(),
        value: None,
        unit: Default::default(),
        expected: None,
        low: None,
        high: None,
        boottime_ms: 0,
        utc: None,
        late: false,
        window: SeqRange::new(window.0, window.1),
        text: Default::default(),
        score: None,
        duration_ms: None,
        heads: Default::default(),
        load_id: None,
        profile_version: None,
    }
}

/// A vehicle with a backlog of hundreds of frames of two readings, and a critical alert in its middle.
fn with_backlog() -> World {
    let mut world = World::new(config());
    for _ in 0..200 {
        world.accept(Lane::Telemetry, 2);
    }
    world.sync();
    raise(&mut world, (391, 405));
    for _ in 0..200 {
        world.accept(Lane::Telemetry, 2);
    }
    world.sync();
    world
}

fn raise(world: &mut World, window: (u64, u64)) {
    let alert = alert(world, AlertState::Raised, Severity::Critical, window);
    let (stream, range) = super::super::black_box(&alert).unwrap();
    world.deliver.promote(stream, range);
    world.accept(Lane::Alert, 1);
}

/// Everything is stored, and the centre refuses nothing twice: what is sent again has the same bytes.
fn all_is_stored(world: &World) {
    assert_eq!(world.deliver.stats().lanes.telemetry.unacked, 0);
    for (stream, next_seq) in &world.issued {
        let all = SeqRange::new(0, next_seq - 1).unwrap();
        assert!(world.centre.has(*stream, all), "{stream:?}");
    }
}

/// What goes out until nothing does, with a broker that takes all.
fn flow(world: &mut World) -> Vec<Message> {
    let mut all = Vec::new();
    for _ in 0..100 {
        let out = world.poll();
        if out.is_empty() {
            break;
        }
        for message in &out {
            world.puback(message);
        }
        all.extend(out);
    }
    all
}

#[test]
fn only_a_critical_alert_that_begins_or_gets_worse_has_a_black_box() {
    let world = World::new(config());
    let has = |state, severity| {
        let alert = alert(&world, state, severity, (1, 2));
        super::super::black_box(&alert).is_some()
    };
    assert!(has(AlertState::Raised, Severity::Critical));
    assert!(has(AlertState::Escalated, Severity::Critical));
    assert!(!has(AlertState::Cleared, Severity::Critical));
    assert!(!has(AlertState::Raised, Severity::Warning));
}

#[test]
fn a_black_box_overtakes_a_backlog_over_the_connection_of_the_alerts() {
    let mut world = with_backlog();
    world.connect(Connection::Alert);
    let sent = readings(&flow(&mut world));
    let expected: Vec<_> = (390..=404)
        .step_by(2)
        .map(|seq| (Connection::Alert, seq))
        .collect();
    assert_eq!(sent, expected, "before and after, and nothing else");
    world.connect(Connection::Main);
    world.wait(6_000);
    let rest = readings(&flow(&mut world));
    assert!(
        rest.iter()
            .all(|(connection, _)| *connection == Connection::Main)
    );
    assert!(
        !rest.iter().any(|(_, seq)| (390..=404).contains(seq)),
        "once"
    );
    world.settle();
    all_is_stored(&world);
}

#[test]
fn without_a_connection_of_the_alerts_it_goes_before_everything_else_on_the_main_one() {
    let mut world = with_backlog();
    world.connect(Connection::Main);
    let sent = readings(&flow(&mut world));
    let first: Vec<u64> = sent.iter().take(8).map(|(_, seq)| *seq).collect();
    assert_eq!(
        first,
        (390..=404).step_by(2).collect::<Vec<_>>(),
        "not even after the birth's answer"
    );
    world.settle();
    all_is_stored(&world);
}

#[test]
fn half_of_the_window_stays_free_for_alerts() {
    let mut world = with_backlog();
    world.connect(Connection::Alert);
    let out = world.poll();
    assert_eq!(
        readings(&out).len(),
        7,
        "and the alert itself are half of 16"
    );
    for _ in 0..8 {
        world.accept(Lane::Alert, 1);
    }
    assert_eq!(world.poll().len(), 8);
}

#[test]
fn a_black_box_whose_connection_breaks_is_backlog_again() {
    let mut world = with_backlog();
    world.connect(Connection::Main);
    world.connect(Connection::Alert);
    let out = world.poll();
    assert!(
        readings(&out)
            .iter()
            .any(|(connection, _)| *connection == Connection::Alert)
    );
    // The main connection lives on; what was in flight over the other one is lost on its way.
    world.disconnect(Connection::Alert);
    world.settle();
    all_is_stored(&world);
}

#[test]
fn the_next_process_finds_the_black_box_in_its_alert() {
    let mut world = with_backlog();
    let said = alert(&world, AlertState::Raised, Severity::Critical, (391, 405));
    let frame = Frame {
        stream: world.stream(Lane::Alert),
        range: world.issue(Lane::Alert, 1),
        bytes: serde_json::to_vec(&said).unwrap(),
    };
    world.deliver.accept(world.now_ms, frame);
    world.restart();
    world.accept(Lane::Telemetry, 1);
    world.sync();
    world.connect(Connection::Alert);
    let sent = readings(&flow(&mut world));
    let expected: Vec<_> = (390..=404)
        .step_by(2)
        .map(|seq| (Connection::Alert, seq))
        .collect();
    assert_eq!(sent, expected);
}
