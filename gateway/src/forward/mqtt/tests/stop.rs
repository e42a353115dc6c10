//! The end of a process: the last words find their way, or it is told at once that there is none.
use super::*;

/// A rim whose back-off would outlast every test.
fn patient_rim(broker: &Broker) -> MqttConfig {
    let mut rim = rim_config(broker, 30);
    rim.backoff_ms_min = 3_600_000;
    rim.backoff_ms_max = 3_600_000;
    rim.spread_ms = 3_600_000;
    rim
}

#[test]
fn a_clean_stop_in_back_off_dials_at_once_and_says_its_last_words() {
    // The first life is over before its first message; the next would begin in up to an hour.
    let broker = Broker::start(vec![Manner::CloseAt(SUBSCRIBE, 1)], false);
    let rim = patient_rim(&broker);
    let mut bench = Bench::over(broker, rim, patient());
    bench.accept(20);
    bench.broker.wait_for_ends(1);
    bench.deliver.close(bench.now_ms);
    bench.link.as_ref().unwrap().hurry();
    bench.run_until("closed", |bench| bench.deliver.is_closed());
    assert_eq!(bench.centre.goodbyes.len(), 1);
    assert_eq!(bench.deliver.stats().lanes.telemetry.unacked, 0);
    assert_eq!(main_connections(&bench.broker), 2);
}

#[test]
fn a_clean_stop_that_reaches_nobody_is_told_at_once() {
    let (gone, other) = (
        Broker::start(Vec::new(), false),
        Broker::start(Vec::new(), false),
    );
    let rim = patient_rim(&gone);
    drop(gone);
    let mut bench = Bench::over(other, rim, patient());
    bench.deliver.close(bench.now_ms);
    bench.link.as_ref().unwrap().hurry();
    bench.run_until("closed", |bench| bench.deliver.is_closed());
    assert!(bench.centre.goodbyes.is_empty());
    assert_eq!(bench.deliver.stats().counts.connections, 0);
}

#[test]
fn a_stop_ends_although_nobody_reads_the_events_and_no_broker_is_there() {
    let broker = Broker::start(Vec::new(), false);
    let mut config = rim_config(&broker, 30);
    drop(broker);
    config.connect_s_max = 1;
    let (send, events) = bounded(1);
    let link = MqttLink::start(config, send).unwrap();
    link.stop();
    assert!(events.is_empty());

    let broker = Broker::start(Vec::new(), false);
    let (send, events) = bounded(1);
    let link = MqttLink::start(rim_config(&broker, 30), send).unwrap();
    // One of the two connections fills the channel; the other waits at it.
    while events.is_empty() {
        std::thread::yield_now();
    }
    link.stop();
}
