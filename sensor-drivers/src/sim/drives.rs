//! Each thermometer driver on its simulated chip, in a scenario, restarted by the advice of its
//! errors as a supervisor would do it; the truth file is the oracle.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Scenario, SimBus, SimBusError, SimWorld};
use crate::error::{Advice, BusClass, SensorError};
use crate::lm75::{Lm75, Lm75Part};
use crate::mcp960x::{Mcp960x, Thermocouple, ThermocoupleFault};
use crate::mcp9808::Mcp9808;
use crate::sht4x::Sht4x;
use crate::tmp102::Tmp102;
use crate::tmp117::Tmp117;

mod receivers;

type Failure = SensorError<SimBusError>;

/// What the drivers have in common, in 1/128 degC.
trait Thermometer {
    fn start(&mut self, now_ms: u64) -> Result<u32, Failure>;
    fn fetch(&mut self, now_ms: u64) -> Result<i32, Failure>;
}

macro_rules! thermometer {
    ($driver:ty, $sample:ident => $deg_c_128:expr) => {
        impl Thermometer for $driver {
            fn start(&mut self, now_ms: u64) -> Result<u32, Failure> {
                Self::start(self, now_ms)
            }

            fn fetch(&mut self, now_ms: u64) -> Result<i32, Failure> {
                let $sample = Self::fetch(self, now_ms)?;
                Ok($deg_c_128)
            }
        }
    };
}

/// What stands for a broken wire where only numbers fit.
const OPEN: i32 = i32::MAX;
const SHORT: i32 = i32::MAX - 1;

thermometer!(Tmp117<SimBus>, sample => i32::from(sample.raw));
thermometer!(Mcp9808<SimBus>, sample => sample.deg_c_128);
thermometer!(Tmp102<SimBus>, sample => sample.deg_c_128);
thermometer!(Lm75<SimBus>, sample => sample.deg_c_128);
thermometer!(Sht4x<SimBus>, sample => sample.deg_c_128);
thermometer!(Mcp960x<SimBus>, sample => match sample.hot_deg_c_128 {
    Ok(deg_c_128) => deg_c_128,
    Err(ThermocoupleFault::Open) => OPEN,
    Err(ThermocoupleFault::Short) => SHORT,
});

/// Kind, address, and half of the part's last digit in 1/128 degC.
const PARTS: [(&str, u8, i32); 11] = [
    ("tmp117", 0x48, 0),
    ("mcp9808", 0x18, 4),
    ("tmp102", 0x49, 4),
    ("tmp112", 0x4a, 4),
    ("lm75", 0x4c, 32),
    ("lm75b", 0x4d, 8),
    ("tmp75", 0x4e, 4),
    ("tmp105", 0x4f, 4),
    ("sht4x", 0x44, 1),
    ("mcp9600", 0x60, 4),
    ("mcp9601", 0x67, 4),
];

fn driver(kind: &str, bus: SimBus, address: u8) -> Box<dyn Thermometer> {
    let lm75 = |part| Lm75::new(bus.clone(), address, part);
    match kind {
        "tmp117" => Box::new(Tmp117::new(bus, address)),
        "mcp9808" => Box::new(Mcp9808::new(bus, address)),
        "tmp102" | "tmp112" => Box::new(Tmp102::new(bus, address)),
        "lm75" => Box::new(lm75(Lm75Part::Lm75)),
        "lm75b" => Box::new(lm75(Lm75Part::Lm75b)),
        "tmp75" => Box::new(lm75(Lm75Part::Tmp75)),
        "tmp105" => Box::new(lm75(Lm75Part::Tmp105)),
        "sht4x" => Box::new(Sht4x::new(bus, address)),
        _ => Box::new(Mcp960x::new(bus, address, Thermocouple::K)),
    }
}

#[derive(Debug, Default)]
struct Log {
    /// When, and 1/128 degC.
    values: Vec<(u64, i32)>,
    failures: Vec<(u64, Failure)>,
    /// What the chip handed out.
    truth: BTreeSet<(u64, i32)>,
}

impl Log {
    fn values_within(&self, from_ms: u64, to_ms: u64) -> Vec<i32> {
        let within = |(at_ms, _): &&(u64, i32)| (from_ms..to_ms).contains(at_ms);
        self.values
            .iter()
            .filter(within)
            .map(|(_, value)| *value)
            .collect()
    }

    fn classes(&self) -> BTreeSet<String> {
        let class = |(_, failure): &(u64, Failure)| match failure {
            SensorError::Bus { class, .. } => format!("{class:?}"),
            SensorError::WrongDevice { .. } => "WrongDevice".into(),
            SensorError::ConfigurationLost { .. } => "ConfigurationLost".into(),
            SensorError::Implausible { .. } => "Implausible".into(),
            SensorError::Crc { .. } => "Crc".into(),
            other => format!("{other:?}"),
        };
        self.failures.iter().map(class).collect()
    }
}

fn scenario(folder: &Path, kind: &str, address: u8, event: &str) -> SimWorld {
    let text = format!(
        "seed = 5\ntruth_file = 'truth.jsonl'\n[[chip]]\nkind = '{kind}'\naddress = {address}\n\
         base_deg_c = -3.0\namplitude_deg_c = 20.0\nperiod_s = 90.0\nnoise_lsb_rms = 2.0\n\
         event = [{event}]\n"
    );
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    Scenario::load(&path, 0).unwrap()
}

/// Samples once a second for two minutes.
fn run(kind: &str, address: u8, event: &str) -> Log {
    let folder = tempfile::tempdir().unwrap();
    let SimWorld { bus, .. } = scenario(folder.path(), kind, address, event);
    let mut sensor = driver(kind, bus.clone(), address);
    let mut log = Log::default();
    let mut started = false;
    let mut due_ms = 1000;
    while due_ms < 120_000 {
        let now_ms = due_ms;
        bus.advance_to(now_ms);
        let next_second_ms = now_ms - now_ms % 1000 + 1000;
        let result = if started {
            sensor.fetch(now_ms).map(Some)
        } else {
            sensor.start(now_ms).map(|wait_ms| {
                due_ms = now_ms + u64::from(wait_ms);
                None
            })
        };
        match result {
            Ok(None) => {
                started = true;
                continue;
            }
            Ok(Some(value)) => {
                log.values.push((now_ms, value));
                due_ms = next_second_ms;
            }
            Err(SensorError::NotReady) => due_ms = now_ms + 100,
            Err(failure) => {
                let again = matches!(failure.advice(), Advice::RetryNow | Advice::RetryLater);
                started &= again;
                log.failures.push((now_ms, failure));
                due_ms = next_second_ms;
            }
        }
    }
    let text = std::fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
    for line in text.lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["address"], address);
        let raw = line["raw"].as_i64().and_then(|raw| i32::try_from(raw).ok());
        log.truth
            .insert((line["t_ms"].as_u64().unwrap(), raw.unwrap()));
    }
    log
}

fn all_from_the_chip(kind: &str, log: &Log) {
    for value in &log.values {
        assert!(
            log.truth.contains(value),
            "{kind}: {value:?} is not the chip's"
        );
    }
}

#[test]
fn each_part_is_read_once_a_second_as_its_chip_said_it() {
    for (kind, address, half_digit) in PARTS {
        let log = run(kind, address, "");
        assert!(log.failures.is_empty(), "{kind}: {:?}", log.failures);
        assert!(
            log.values.len() >= 115,
            "{kind}: {} values",
            log.values.len()
        );
        all_from_the_chip(kind, &log);
        // The world goes down to -23 degC and up to 17; the noise adds a tenth of a degree.
        let slack = half_digit + 16;
        let (low, high) = (-23 * 128 - slack, 17 * 128 + slack);
        assert!(
            log.values
                .iter()
                .all(|(_, value)| (low..=high).contains(value)),
            "{kind}"
        );
        for (sign, name) in [(-1, "below"), (1, "above")] {
            let some = log
                .values
                .iter()
                .filter(|(_, value)| value.signum() == sign)
                .count();
            assert!(some > 20, "{kind}: {some} values {name} zero");
        }
    }
}

#[test]
fn each_loss_has_its_class_gives_no_value_and_is_over_within_three_seconds() {
    let losses = [
        ("noack", "NoAck"),
        ("unplug", "NoAck"),
        ("hang", "Timeout"),
        ("short", "StretchOrLength"),
    ];
    for (kind, address, _) in PARTS {
        for (event, class) in losses {
            let event = format!("{{ kind = '{event}', at_s = 20.0, for_s = 10.0 }}");
            let log = run(kind, address, &event);
            assert!(
                log.values_within(20_000, 30_000).is_empty(),
                "{kind} {event}"
            );
            assert!(
                log.values_within(30_000, 33_000).len() >= 2,
                "{kind} {event}"
            );
            assert!(
                log.classes().contains(class),
                "{kind} {event}: {:?}",
                log.classes()
            );
            let others = log.failures.iter().filter(|(at_ms, _)| *at_ms >= 32_000);
            assert_eq!(others.count(), 0, "{kind} {event}");
            all_from_the_chip(kind, &log);
        }
    }
}

#[test]
fn a_brown_out_of_any_part_gives_no_value_from_its_defaults() {
    for (kind, address, _) in PARTS {
        for at_s in ["20.0", "20.05", "20.5", "20.95"] {
            let event = format!("{{ kind = 'brownout', at_s = {at_s} }}");
            let log = run(kind, address, &event);
            all_from_the_chip(kind, &log);
            assert!(
                log.values_within(24_000, 120_000).len() >= 94,
                "{kind} {event}"
            );
            // An SHT4x has no settings to lose; only a measurement under way is lost.
            let lost = log.classes().contains("ConfigurationLost");
            assert_eq!(lost, kind != "sht4x", "{kind} {event}: {:?}", log.classes());
        }
    }
}

#[test]
fn another_part_at_the_address_never_becomes_a_temperature_after_a_restart() {
    for (kind, address, _) in PARTS {
        // Unplugged, and something else plugged in for ten seconds.
        let event = "{ kind = 'noack', at_s = 20.0, for_s = 1.0 }, \
                     { kind = 'wrongid', at_s = 21.0, for_s = 10.0 }";
        let log = run(kind, address, event);
        assert!(log.values_within(20_000, 31_000).is_empty(), "{kind}");
        assert!(log.values_within(31_000, 35_000).len() >= 2, "{kind}");
        all_from_the_chip(kind, &log);
        let named = log.classes();
        let expected = match kind {
            // No identity and no checksum of it: the settings do not stick.
            "lm75" | "lm75b" | "tmp75" | "tmp105" => "ConfigurationLost",
            "sht4x" => "Crc",
            _ => "WrongDevice",
        };
        assert!(named.contains(expected), "{kind}: {named:?}");
    }
}

#[test]
fn parts_with_a_checksum_or_a_majority_survive_bit_errors_and_garbage() {
    for (kind, address) in [("sht4x", 0x44), ("mcp9600", 0x60), ("mcp9601", 0x67)] {
        // Two errors in the same bit of two readings in a row are beyond a majority of three.
        for (fault, one_in) in [("biterror", 20), ("stretch", 8)] {
            let event =
                format!("{{ kind = '{fault}', at_s = 10.0, for_s = 90.0, one_in = {one_in} }}");
            let log = run(kind, address, &event);
            let (values, wrong): (Vec<(u64, i32)>, Vec<_>) = log
                .values
                .iter()
                .partition(|value| log.truth.contains(value));
            assert_eq!(wrong, Vec::new(), "{kind} {fault}");
            assert!(values.len() > 80, "{kind} {fault}: {}", values.len());
        }
    }
}

#[test]
fn while_every_read_is_garbage_no_part_gives_a_value() {
    for (kind, address, _) in PARTS {
        let event = "{ kind = 'stretch', at_s = 20.0, for_s = 20.0 }";
        let log = run(kind, address, event);
        // The settings are read with each value, and do not look like garbage.
        assert!(log.values_within(20_000, 40_000).is_empty(), "{kind}");
        assert!(log.values_within(40_000, 44_000).len() >= 2, "{kind}");
        all_from_the_chip(kind, &log);
    }
}

#[test]
fn a_frozen_part_repeats_itself_and_nothing_is_made_up() {
    for (kind, address, _) in PARTS {
        let log = run(
            kind,
            address,
            "{ kind = 'freeze', at_s = 20.0, for_s = 30.0 }",
        );
        let frozen = log.values_within(22_000, 50_000);
        assert!(frozen.len() >= 26, "{kind}");
        assert!(frozen.iter().all(|value| *value == frozen[0]), "{kind}");
        all_from_the_chip(kind, &log);
    }
}

#[test]
fn a_part_that_stops_converting_is_told_by_those_that_can_see_it() {
    for (kind, address, _) in PARTS {
        let log = run(
            kind,
            address,
            "{ kind = 'stall', at_s = 20.0, for_s = 30.0 }",
        );
        let stalled = log.values_within(23_000, 50_000);
        match kind {
            // Nothing is repeated: no conversion, no value.
            "tmp117" | "mcp9600" | "mcp9601" | "sht4x" => {
                assert!(stalled.is_empty(), "{kind}: {stalled:?}");
            }
            // They say nothing about their conversions.
            _ => assert!(stalled.len() >= 26, "{kind}"),
        }
        assert!(log.values_within(50_000, 60_000).len() >= 8, "{kind}");
        all_from_the_chip(kind, &log);
    }
}

#[test]
fn a_broken_wire_is_told_as_such_and_only_an_mcp9601_knows_a_short() {
    for (kind, event, expected) in [
        ("mcp9600", "wireopen", vec![OPEN; 9]),
        ("mcp9601", "wireopen", vec![OPEN; 9]),
        ("mcp9601", "wireshort", vec![SHORT; 9]),
    ] {
        let event = format!("{{ kind = '{event}', at_s = 20.0, for_s = 10.0 }}");
        let log = run(kind, 0x65, &event);
        assert_eq!(
            log.values_within(21_000, 30_000),
            expected,
            "{kind} {event}"
        );
        assert!(
            log.values_within(31_000, 40_000)
                .iter()
                .all(|value| *value < SHORT)
        );
        assert!(log.failures.is_empty());
    }
    let blind = run(
        "mcp9600",
        0x65,
        "{ kind = 'wireshort', at_s = 20.0, for_s = 10.0 }",
    );
    assert!(blind.values.iter().all(|(_, value)| *value < SHORT));
}

#[test]
fn a_hung_chip_takes_its_whole_bus_with_it_and_lets_it_go() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
        [[chip]]
        kind = 'mcp9808'
        address = 0x18
        base_deg_c = 4.0
        [[chip]]
        kind = 'sht4x'
        address = 0x44
        base_deg_c = 4.0
        event = [{ kind = 'hang', at_s = 10.0, for_s = 60.0 }]
    ";
    let path = folder.path().join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    let SimWorld { bus, .. } = Scenario::load(&path, 0).unwrap();
    let mut neighbour = Mcp9808::new(bus.clone(), 0x18);
    neighbour.start(0).unwrap();
    for (now_ms, expected) in [
        (9999, None),
        (10_000, Some(BusClass::Timeout)),
        (69_999, Some(BusClass::Timeout)),
        (70_000, None),
    ] {
        bus.advance_to(now_ms);
        let class = match neighbour.fetch(now_ms) {
            Ok(_) => None,
            Err(SensorError::Bus { class, .. }) => Some(class),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(class, expected, "at {now_ms}");
        if let Some(class) = class {
            assert_eq!(class.advice(), Advice::RecoverBus);
        }
    }
}

#[test]
fn who_is_plugged_in_again_has_its_defaults_and_who_only_fell_silent_keeps_its_settings() {
    for (event, expected) in [("unplug", [0, 0]), ("noack", [2, 0])] {
        let folder = tempfile::tempdir().unwrap();
        let event = format!("{{ kind = '{event}', at_s = 20.0, for_s = 10.0 }}");
        let SimWorld { bus, .. } = scenario(folder.path(), "mcp9808", 0x18, &event);
        Mcp9808::new(bus.clone(), 0x18).start(0).unwrap();
        bus.advance_to(30_000);
        let mut configuration = [9; 2];
        bus.message_write(0x18, &[1]).unwrap();
        bus.message_read(0x18, &mut configuration).unwrap();
        assert_eq!(configuration, expected, "{event}");
    }
}
