//! Each receiver driver on its simulated receiver under every fault of the script; the truth file
//! is the oracle.

use std::collections::BTreeMap;

use super::super::{Scenario, SimBus, SimBusError, SimWorld};
use crate::error::{Advice, SensorError};
use crate::gnss::GnssEvent;
use crate::gnss::watch::PositionState;
use crate::mt3333::Mt3333;
use crate::ublox::Ublox;

type Failure = SensorError<SimBusError>;

trait Receiver {
    fn start(&mut self, now_ms: u64) -> Result<(), Failure>;
    /// Whether there is more.
    fn poll(&mut self, now_ms: u64, sink: &mut dyn FnMut(GnssEvent)) -> Result<bool, Failure>;
    fn position(&self, now_ms: u64) -> PositionState;
}

impl Receiver for Ublox<SimBus> {
    fn start(&mut self, now_ms: u64) -> Result<(), Failure> {
        Self::start(self, now_ms)
    }

    fn poll(&mut self, now_ms: u64, sink: &mut dyn FnMut(GnssEvent)) -> Result<bool, Failure> {
        Self::poll(self, now_ms, sink).map(|_| false)
    }

    fn position(&self, now_ms: u64) -> PositionState {
        Self::position(self, now_ms)
    }
}

impl Receiver for Mt3333<SimBus> {
    fn start(&mut self, now_ms: u64) -> Result<(), Failure> {
        Self::start(self, now_ms);
        Ok(())
    }

    fn poll(&mut self, now_ms: u64, sink: &mut dyn FnMut(GnssEvent)) -> Result<bool, Failure> {
        Self::poll(self, now_ms, sink).map(|stats| !stats.emptied)
    }

    fn position(&self, now_ms: u64) -> PositionState {
        Self::position(self, now_ms)
    }
}

/// Kind, and the lines beside it.
const RECEIVERS: [(&str, &str); 5] = [
    ("ublox", "generation = 'm10'"),
    ("ublox", "generation = 'm9'"),
    ("ublox", "generation = 'm8'"),
    ("mt3333", ""),
    ("l76k", ""),
];

/// From this second on the scenario has its fault, for ten seconds.
const FAULT_S: u64 = 60;
const END_S: u64 = 150;
/// Packets in a full buffer, and one to see that it is empty.
const POLLS_MAX: usize = 18;

struct Log {
    /// By second: what was reported.
    reported: BTreeMap<u64, Vec<(i64, i64)>>,
    /// The same as the receiver handed it out.
    truth: BTreeMap<u64, Vec<(i64, i64)>>,
    failures: usize,
    /// The state at the end of each second.
    states: BTreeMap<u64, PositionState>,
}

impl Log {
    fn positions(&self, from_s: u64, to_s: u64) -> usize {
        self.reported
            .range(from_s..to_s)
            .map(|(_, all)| all.len())
            .sum()
    }
}

fn run((kind, more): (&str, &str), event: &str) -> Log {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.toml");
    let text = format!(
        "seed = 11\ntruth_file = 'truth.jsonl'\n[[chip]]\nkind = '{kind}'\naddress = 0x42\n{more}\n\
         event = [{event}]\n[chip.route]\nstart_lat_deg = -33.9\nstart_lon_deg = 151.2\n\
         cold_start_s = 3\n"
    );
    std::fs::write(&path, text).unwrap();
    let SimWorld { bus, .. } = Scenario::load(&path, 0).unwrap();
    let mut receiver: Box<dyn Receiver> = match kind {
        "ublox" => Box::new(Ublox::new(bus.clone(), 0x42)),
        _ => Box::new(Mt3333::new(bus.clone(), 0x42)),
    };
    let mut log = Log {
        reported: BTreeMap::new(),
        truth: BTreeMap::new(),
        failures: 0,
        states: BTreeMap::new(),
    };
    let mut started = false;
    for second in 1..END_S {
        let mut now_ms = second * 1000;
        let mut more = true;
        for _ in 0..POLLS_MAX {
            if !more {
                break;
            }
            bus.advance_to(now_ms);
            let mut events = Vec::new();
            let result = if started {
                receiver.poll(now_ms, &mut |event| events.push(event))
            } else {
                receiver.start(now_ms).map(|()| true)
            };
            for event in events {
                if let GnssEvent::Fix(fix) = event {
                    let place = (i64::from(fix.lat_1e7_deg), i64::from(fix.lon_1e7_deg));
                    log.reported.entry(second).or_default().push(place);
                }
            }
            match result {
                Ok(again) => (started, more) = (true, again),
                Err(failure) => {
                    log.failures += 1;
                    let again = matches!(failure.advice(), Advice::RetryNow | Advice::RetryLater);
                    (started, more) = (started && again, false);
                }
            }
            now_ms += 2;
        }
        log.states.insert(second, receiver.position(now_ms));
    }
    let text = std::fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let (Some(lat), Some(lon)) = (line["lat_1e7"].as_i64(), line["lon_1e7"].as_i64()) {
            assert_eq!(line["chip"], kind);
            let second = line["t_ms"].as_u64().unwrap() / 1000;
            log.truth.entry(second).or_default().push((lat, lon));
        }
    }
    log
}

/// Nothing is reported that the receiver did not hand out. What follows an epoch's last sentence
/// (binary, padding) may still be in the receiver for another second.
fn nothing_invented(receiver: (&str, &str), event: &str, log: &Log) {
    let mut known: Vec<_> = log.truth.get(&1).into_iter().flatten().collect();
    for second in 1..END_S {
        known.extend(log.truth.get(&(second + 1)).into_iter().flatten());
        for place in log.reported.get(&second).into_iter().flatten() {
            assert!(
                known.contains(&place),
                "{receiver:?} {event}: {place:?} at {second} s"
            );
        }
    }
}

#[test]
fn without_a_fault_each_receiver_gives_each_epoch_in_its_second() {
    for receiver in RECEIVERS {
        let log = run(receiver, "");
        assert_eq!(log.reported, log.truth, "{receiver:?}");
        assert_eq!(log.positions(1, END_S), 147, "{receiver:?}");
        assert_eq!(log.failures, 0);
    }
}

#[test]
fn every_fault_ends_in_positions_again_and_none_is_invented() {
    for receiver in RECEIVERS {
        for fault in [
            "noack", "hang", "short", "biterror", "stretch", "wrongid", "unplug", "filler",
        ] {
            let event = format!("{{ kind = '{fault}', at_s = {FAULT_S}.0, for_s = 10.0 }}");
            let log = run(receiver, &event);
            nothing_invented(receiver, fault, &log);
            let before = log.positions(30, FAULT_S);
            assert_eq!(before, 30, "{receiver:?} {fault}");
            // Back within five seconds; what follows is complete, whatever the receiver buffered.
            let after = log.positions(FAULT_S + 15, FAULT_S + 75);
            assert!(after >= 60, "{receiver:?} {fault}: {after}");
            let during = log.positions(FAULT_S + 1, FAULT_S + 10);
            match fault {
                "filler" => assert_eq!(during, 9, "{receiver:?}"),
                // Each read is hit, in one bit of up to 255 bytes.
                "biterror" => assert!(during <= 9, "{receiver:?}"),
                _ => assert_eq!(during, 0, "{receiver:?} {fault}"),
            }
            let answers = matches!(fault, "biterror" | "stretch" | "wrongid" | "filler");
            assert_eq!(log.failures == 0, answers, "{receiver:?} {fault}");
        }
    }
}

#[test]
fn a_reset_receiver_is_brought_back_to_its_configuration() {
    for receiver in RECEIVERS {
        let event = format!("{{ kind = 'reset', at_s = {FAULT_S}.5 }}");
        let log = run(receiver, &event);
        nothing_invented(receiver, "reset", &log);
        assert!(log.positions(FAULT_S, FAULT_S + 60) >= 59, "{receiver:?}");
    }
}

#[test]
fn a_position_is_stale_five_seconds_after_the_last_epoch() {
    for receiver in RECEIVERS {
        let event = format!("{{ kind = 'wrongid', at_s = {FAULT_S}.0, for_s = 10.0 }}");
        let log = run(receiver, &event);
        let state = |second: u64| log.states[&second];
        assert!(matches!(
            state(FAULT_S - 1),
            PositionState::Fix { age_ms: 0..100 }
        ));
        assert!(matches!(state(FAULT_S + 9), PositionState::NoData { .. }));
        assert!(
            matches!(state(END_S - 1), PositionState::Fix { .. }),
            "{receiver:?}"
        );
    }
}
