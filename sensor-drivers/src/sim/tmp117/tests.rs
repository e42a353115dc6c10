use super::*;
use crate::error::SensorError;
use crate::sim::{SimBus, Window};
use crate::tmp117::Tmp117;

fn profile() -> Profile {
    Profile {
        base_deg_c: -18.0,
        amplitude_deg_c: 2.0,
        period_s: 600.0,
        noise_lsb_rms: 1.0,
        disturbances: Vec::new(),
        frozen: Vec::new(),
        stalled: Vec::new(),
        seed: 3,
        stream: 0x48,
    }
}

fn bus_with(brown_outs_ms: Vec<u64>, silent: Vec<Window>, truth: TruthFile) -> SimBus {
    let bus = SimBus::new(1000, truth);
    let chip = SimTmp117::new(0x48, profile(), 1000, 1000, brown_outs_ms);
    bus.attach(0x48, Box::new(chip), silent);
    bus
}

fn word(bus: &SimBus, register: u8) -> u16 {
    let mut word = [0; 2];
    bus.message_write(0x48, &[register]).unwrap();
    bus.message_read(0x48, &mut word).unwrap();
    u16::from_be_bytes(word)
}

#[test]
fn defaults_identity_and_power_on_code_are_the_datasheets() {
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::none());
    assert_eq!(word(&bus, 0x00), 0x8000);
    assert_eq!(word(&bus, 0x01), 0x0220);
    assert_eq!((word(&bus, 0x02), word(&bus, 0x03)), (0x6000, 0x8000));
    assert_eq!(word(&bus, 0x0f), 0x0117);
    bus.advance_to(1999);
    assert_eq!(word(&bus, 0x00), 0x8000);
    bus.advance_to(2000);
    assert_eq!(word(&bus, 0x00), profile().raw_at(1000).cast_unsigned());
}

#[test]
fn reading_the_configuration_or_the_temperature_clears_data_ready() {
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::none());
    bus.advance_to(2000);
    assert_eq!(word(&bus, 0x01), 0x2220);
    assert_eq!(word(&bus, 0x01), 0x0220);
    bus.advance_to(3000);
    word(&bus, 0x00);
    assert_eq!(word(&bus, 0x01), 0x0220);
}

#[test]
fn shutdown_stops_and_one_shot_converts_once() {
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::none());
    bus.message_write(0x48, &[0x01, 0x06, 0x20]).unwrap();
    bus.advance_to(60_000);
    assert_eq!(word(&bus, 0x00), 0x8000);
    bus.message_write(0x48, &[0x01, 0x0e, 0x20]).unwrap();
    bus.advance_to(90_000);
    assert_eq!(word(&bus, 0x01), 0x2620, "back in shutdown, with a result");
    assert_eq!(word(&bus, 0x00), profile().raw_at(60_000).cast_unsigned());
}

#[test]
fn a_soft_reset_forgets_the_configuration_and_the_result() {
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::none());
    bus.message_write(0x48, &[0x01, 0x01, 0xc0]).unwrap();
    bus.advance_to(5000);
    bus.message_write(0x48, &[0x01, 0x00, 0x02]).unwrap();
    assert_eq!(word(&bus, 0x01), 0x0220);
    assert_eq!(word(&bus, 0x00), 0x8000);
}

#[test]
fn the_driver_reads_the_profile_once_a_second_and_the_truth_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::open(&path).unwrap().0);
    let mut driver = Tmp117::new(bus.clone(), 0x48);
    assert_eq!(driver.start(1000), Ok(500));
    assert_eq!(driver.fetch(1000), Err(SensorError::NotReady));
    let mut expected = String::new();
    for second in 2..200 {
        let now_ms = second * 1000;
        bus.advance_to(now_ms);
        let sample = driver.fetch(now_ms).unwrap();
        assert_eq!(sample.raw, profile().raw_at(now_ms - 1000));
        assert!(sample.ready_seen);
        let raw = sample.raw;
        expected +=
            &format!("{{\"t_ms\":{now_ms},\"chip\":\"tmp117\",\"address\":72,\"raw\":{raw}}}\n");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_brown_out_is_noticed_and_a_restart_brings_the_sensor_back() {
    let bus = bus_with(vec![10_300], Vec::new(), TruthFile::none());
    let mut driver = Tmp117::new(bus.clone(), 0x48);
    driver.start(1000).unwrap();
    bus.advance_to(10_000);
    assert!(driver.fetch(10_000).is_ok());
    bus.advance_to(11_000);
    let lost = SensorError::ConfigurationLost {
        found: 0x0220,
        expected: 0x01c0,
    };
    assert_eq!(driver.fetch(11_000), Err(lost));
    driver.start(11_000).unwrap();
    assert_eq!(driver.fetch(11_000), Err(SensorError::NotReady));
    bus.advance_to(11_500);
    assert_eq!(driver.fetch(11_500).unwrap().raw, profile().raw_at(10_500));
}

#[test]
fn a_part_that_did_not_answer_gives_no_value_for_that_time() {
    let silent = vec![Window {
        from_ms: 5000,
        to_ms: 7000,
    }];
    let bus = bus_with(Vec::new(), silent, TruthFile::none());
    let mut driver = Tmp117::new(bus.clone(), 0x48);
    driver.start(1000).unwrap();
    for (now_ms, answers) in [(4000, true), (5000, false), (6000, false), (7000, true)] {
        bus.advance_to(now_ms);
        assert_eq!(driver.fetch(now_ms).is_ok(), answers, "at {now_ms}");
    }
}

#[test]
fn the_power_on_code_is_no_line_in_the_truth_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let bus = bus_with(Vec::new(), Vec::new(), TruthFile::open(&path).unwrap().0);
    assert_eq!(word(&bus, 0x00), 0x8000);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    bus.advance_to(2000);
    word(&bus, 0x00);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
}
