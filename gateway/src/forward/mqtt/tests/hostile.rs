//! Brokers that mean ill: slow-loris, mute, oversized, and words of others in the centre's place.
use firmware_shared::message::{Ack, AckEntry};

use super::*;

/// A rim that waits a second at most where it waits at all.
fn impatient(manners: Vec<Manner>) -> Bench {
    let broker = Broker::start(manners, false);
    let mut rim = rim_config(&broker, 1);
    rim.connect_s_max = 1;
    Bench::over(broker, rim, patient())
}

fn outlives(manner: Manner) {
    let mut bench = impatient(vec![manner]);
    bench.accept(20);
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 2, "{manner:?}");
}

#[test]
fn a_broker_that_never_answers_a_connect_is_left_for_another_attempt() {
    outlives(Manner::Mute);
}

#[test]
fn a_broker_that_keeps_half_of_its_answer_is_left_for_another_attempt() {
    outlives(Manner::HalfAnswer);
}

#[test]
fn a_broker_that_does_not_answer_the_subscription_is_left_for_another_attempt() {
    outlives(Manner::NoSubscription);
}

#[test]
fn a_broker_that_drips_a_packet_byte_by_byte_is_given_up_within_two_keep_alives() {
    outlives(Manner::Drips);
}

#[test]
fn a_message_that_is_too_long_to_take_ends_the_life_and_loses_nothing() {
    outlives(Manner::Oversize);
}

#[test]
fn a_connection_that_ends_after_any_answer_loses_nothing() {
    survives(vec![
        Manner::CloseAfter(CONNECT),
        Manner::CloseAfter(SUBSCRIBE),
        Manner::CloseAfter(PUBLISH),
    ]);
    let mut bench = impatient(vec![Manner::CloseAfter(PINGREQ)]);
    bench.accept(5);
    bench.run_until("the end after a ping", |bench| {
        main_connections(&bench.broker) == 2
    });
    bench.accept(5);
    bench.finish();
}

#[test]
fn mqtt_5_a_frame_above_the_limit_of_the_broker_is_lost_on_record_and_blocks_nobody() {
    let broker = Broker::start(vec![Manner::TakesAtMost(190)], false);
    let mut rim = rim_config(&broker, 30);
    rim.version = MqttVersion::V5;
    let mut bench = Bench::over(broker, rim, patient());
    // Frames are 64 to 160 bytes, and the topic is some 40.
    bench.accept(40);
    bench.run_until("settled", |bench| {
        let stats = bench.deliver.stats();
        stats.lanes.telemetry.unacked == 0 && stats.open_losses == 0
    });
    let stored = &bench.centre.database.stored[&Bench::stream(Lane::Telemetry)];
    let lost = &bench.centre.database.lost[&Bench::stream(Lane::Telemetry)];
    assert!(!lost.is_empty());
    assert_eq!(stored.count() + lost.len() as u64, bench.next_seq);
    assert_eq!(main_connections(&bench.broker), 1);
}

/// An acknowledgement of everything that was ever issued.
fn greedy(central_id: u64, nonce: Option<u64>) -> Vec<u8> {
    let mut ack = Ack {
        central_id,
        run: 1,
        n: u64::MAX,
        nonce,
        entries: heapless::Vec::new(),
    };
    let entry = AckEntry {
        epoch: epoch_of_start(1),
        lane: Lane::Telemetry,
        upto: 120,
        ranges: heapless::Vec::new(),
        tail_from: None,
    };
    ack.entries.push(entry).unwrap();
    let mut buffer = vec![0; 4_096];
    ack.encode(&mut buffer).unwrap().to_vec()
}

#[test]
fn words_of_a_foreign_centre_and_retained_replays_of_ours_free_nothing() {
    let mut bench = Bench::new(
        vec![Manner::CloseAt(PUBLISH, 12), Manner::Forgets(9)],
        false,
    );
    bench.accept(4);
    bench.run_until("our centre is known", |bench| {
        bench.deliver.stats().counts.acks > 0
    });
    let ours = bench.heard.clone();
    assert!(!ours.is_empty());
    let topic = bench.ack_topic.clone();
    for replayed in &ours {
        bench.broker.retain(&topic, replayed);
    }
    // The staging centre has heard the nonce of our birth, too.
    let nonce = bench.centre.births.last().map(|birth| birth.nonce);
    for foreign in [greedy(6, None), greedy(6, nonce)] {
        bench.broker.retain(&topic, &foreign);
        bench.broker.publish(&topic, &foreign);
    }
    bench.accept(36);
    bench.run_until("the foreign words have come", |bench| {
        bench.deliver.stats().counts.acks_ignored >= 4
    });
    // Each turn checks that nothing is freed which is not stored.
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 3);
}
