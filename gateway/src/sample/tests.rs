use firmware_shared::reading::{FaultKind, Reading, Value};
use firmware_shared::time::ClockSource;
use firmware_shared::units::Celsius128;
use sensor_drivers::lm75::Lm75Part;
use sensor_drivers::mcp960x::Thermocouple;
use sensor_drivers::sim::{Scenario, SimBus};

use super::*;
use crate::config::{Driver, SensorConfig, Source};

/// The index of the second quantity.
const COMPANION: u8 = 6;

fn config(driver: Driver, address: u8) -> SensorConfig {
    SensorConfig::of_part(5, "probe", driver, address)
}

/// A device on a simulated bus, and what it has said; virtual time starts at 0.
struct Scene {
    bus: SimBus,
    device: Device<Chip<SimBus>>,
    now_ms: u64,
    readings: Vec<Reading>,
    companions: Vec<Reading>,
    anchors: Vec<firmware_shared::time::TimeAnchor>,
    turns: u64,
}

impl Scene {
    fn new(chip: &str, config: &SensorConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scenario.toml");
        std::fs::write(&file, chip).unwrap();
        let bus = Scenario::load(&file, 0).unwrap().bus;
        let Source::Part { driver, address } = config.source else {
            panic!()
        };
        let chip = Chip::new(driver, bus.clone(), address);
        let device = Device::new(config, Some(COMPANION), chip, 0);
        Self {
            bus,
            device,
            now_ms: 0,
            readings: Vec::new(),
            companions: Vec::new(),
            anchors: Vec::new(),
            turns: 0,
        }
    }

    fn tmp117(events: &str) -> Self {
        let chip = "[[chip]]\nkind = \"tmp117\"\naddress = 0x48\nbase_deg_c = 4.0\n";
        Self::new(&format!("{chip}{events}"), &config(Driver::Tmp117, 0x48))
    }

    /// Gives the device its turns up to a moment, each exactly when it is due.
    fn run_until(&mut self, until_ms: u64) {
        while self.device.due_ms() < until_ms {
            self.now_ms = self.now_ms.max(self.device.due_ms());
            self.bus.advance_to(self.now_ms);
            let Self {
                device,
                readings,
                companions,
                anchors,
                now_ms,
                ..
            } = self;
            device.turn(*now_ms, &mut |output| match output {
                Output::Reading(reading) if reading.sensor == COMPANION => {
                    companions.push(reading);
                }
                Output::Reading(reading) => readings.push(reading),
                Output::Anchor(anchor) => anchors.push(anchor),
            });
            self.turns += 1;
            assert!(self.turns < 200_000, "turns without an end");
        }
        self.now_ms = until_ms;
    }

    /// Stamp and fault kind of every fault.
    fn faults(&self) -> Vec<(u64, &'static str)> {
        let fault = |reading: &Reading| match reading.value {
            Value::Fault(fault) => Some((reading.stamp_ms, fault.kind.name())),
            _ => None,
        };
        self.readings.iter().filter_map(fault).collect()
    }

    fn values_between(&self, from_ms: u64, to_ms: u64) -> usize {
        let inside = |reading: &&Reading| {
            (from_ms..to_ms).contains(&reading.stamp_ms)
                && !matches!(reading.value, Value::Fault(_))
        };
        self.readings.iter().filter(inside).count()
    }
}

#[test]
fn a_healthy_part_gives_a_value_each_period_and_nothing_else() {
    let mut scene = Scene::tmp117("");
    scene.run_until(60_000);
    assert_eq!(scene.device.state(), SensorState::Online);
    assert_eq!(scene.faults(), []);
    assert_eq!(scene.values_between(0, 60_000), 60);
    assert!(
        scene
            .readings
            .iter()
            .all(|r| r.sensor == 5 && r.value == Value::Temperature(Celsius128(512)))
    );
    let gaps: Vec<u64> = scene
        .readings
        .windows(2)
        .map(|w| w[1].stamp_ms - w[0].stamp_ms)
        .collect();
    assert!(gaps.iter().all(|gap| *gap == 1000), "{gaps:?}");
}

#[test]
fn calibration_is_added_to_each_value() {
    let chip = "[[chip]]\nkind = \"tmp117\"\naddress = 0x48\nbase_deg_c = 4.0\n";
    let sensor = SensorConfig {
        calibration: Celsius128(-64),
        ..config(Driver::Tmp117, 0x48)
    };
    let mut scene = Scene::new(chip, &sensor);
    scene.run_until(3000);
    assert_eq!(scene.readings[0].value, Value::Temperature(Celsius128(448)));
}

#[test]
fn an_absent_part_is_one_fault_a_minute_and_is_probed_all_the_time() {
    let chip = "[[chip]]\nkind = \"tmp117\"\naddress = 0x49\nbase_deg_c = 4.0\n";
    let mut scene = Scene::new(chip, &config(Driver::Tmp117, 0x48));
    scene.run_until(150_000);
    assert_eq!(scene.device.state(), SensorState::Absent);
    let faults = scene.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|(_, kind)| *kind == "no_ack"));
    assert!(
        faults.windows(2).all(|w| w[1].0 - w[0].0 >= 60_000),
        "{faults:?}"
    );
    assert!((70..90).contains(&scene.turns), "{} turns", scene.turns);
}

#[test]
fn a_burst_without_acknowledge_is_one_fault_and_the_part_is_back_within_five_seconds() {
    let mut scene = Scene::tmp117("event = [{ kind = \"noack\", at_s = 10.0, for_s = 30.0 }]\n");
    scene.run_until(80_000);
    let faults = scene.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].1, "no_ack");
    assert!((10_000..11_001).contains(&faults[0].0), "{faults:?}");
    assert_eq!(
        scene.values_between(faults[0].0, 40_000),
        0,
        "no value from before"
    );
    assert!(scene.values_between(40_000, 45_000) > 0);
    assert_eq!(scene.device.state(), SensorState::Online);
}

#[test]
fn a_brown_out_is_noticed_told_and_the_part_is_configured_again() {
    let mut scene = Scene::tmp117("event = [{ kind = \"brownout\", at_s = 10.2 }]\n");
    scene.run_until(30_000);
    let faults = scene.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].1, "configuration");
    assert!(scene.values_between(10_200, 30_000) >= 18);
    let values = scene.readings.iter().filter_map(|r| match r.value {
        Value::Temperature(value) => Some(value.0),
        _ => None,
    });
    assert!(
        values.into_iter().all(|value| value == 512),
        "no power-on code"
    );
    assert_eq!(scene.device.state(), SensorState::Online);
}

#[test]
fn a_frozen_part_is_read_on_and_its_values_are_what_the_bus_handed_out() {
    let events =
        "noise_lsb_rms = 3.0\nevent = [{ kind = \"freeze\", at_s = 10.0, for_s = 20.0 }]\n";
    let mut scene = Scene::tmp117(events);
    scene.run_until(40_000);
    assert_eq!(scene.faults(), []);
    assert_eq!(scene.values_between(0, 40_000), 40);
}

#[test]
fn another_part_at_the_address_is_told_and_left_alone_for_a_while() {
    let chip = "[[chip]]\nkind = \"ublox\"\naddress = 0x48\n[chip.route]\nstart_lat_deg = 1.0\nstart_lon_deg = 1.0\n";
    let mut scene = Scene::new(chip, &config(Driver::Tmp117, 0x48));
    scene.run_until(59_000);
    assert_eq!(scene.faults().len(), 1, "{:?}", scene.faults());
    assert_eq!(scene.faults()[0].1, "wrong_device");
    assert_eq!(scene.turns, 2);
}

#[test]
fn a_late_turn_does_not_make_up_for_the_missed_ones() {
    let mut scene = Scene::tmp117("");
    scene.run_until(5100);
    scene.now_ms = 17_300;
    let before = scene.readings.len();
    scene.run_until(17_500);
    assert_eq!(scene.readings.len() - before, 1);
    assert_eq!(scene.readings.last().unwrap().stamp_ms, 17_300);
    assert_eq!(scene.device.due_ms() % 1000, 500, "back on its grid");
}

const ROUTE: &str = "[[chip]]\nkind = \"ublox\"\naddress = 0x42\n";

fn gnss(options: &str) -> Scene {
    let route = format!(
        "{ROUTE}{options}[chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\ncold_start_s = 10\n\
         tunnel = [{{ at_s = 60.0, for_s = 30.0 }}]\n"
    );
    Scene::new(&route, &config(Driver::Ublox, 0x42))
}

#[test]
fn a_receiver_without_a_fix_is_a_fault_on_change_and_never_a_position() {
    let mut scene = gnss("");
    scene.run_until(120_000);
    let faults = scene.faults();
    let no_fix: Vec<_> = faults
        .iter()
        .filter(|(_, kind)| *kind == "no_fix")
        .collect();
    assert_eq!(no_fix.len(), 2, "{faults:?}");
    assert!(
        no_fix[0].0 < 10_000 && (60_000..63_000).contains(&no_fix[1].0),
        "{faults:?}"
    );
    assert_eq!(faults.len(), no_fix.len(), "{faults:?}");
    assert_eq!(scene.values_between(0, 10_000), 0);
    assert_eq!(scene.values_between(63_000, 90_000), 0);
    assert!(scene.values_between(11_000, 60_000) >= 47);
    let away = |reading: &Reading| match reading.value {
        Value::Position(p) => (p.lat.0 - 525_000_000).abs() > 1_000_000,
        _ => false,
    };
    assert!(!scene.readings.iter().any(away));
    assert_eq!(scene.device.state(), SensorState::Online);
}

#[test]
fn a_receiver_gives_time_anchors_with_the_stamp_of_their_poll() {
    let mut scene = gnss("");
    scene.run_until(30_000);
    let anchor = scene.anchors.last().unwrap();
    assert_eq!(anchor.source, ClockSource::Gnss);
    // The world begins at 2027-01-04T08:00:00Z.
    let error_ms = anchor.utc_ms_of(0).abs_diff(1_799_049_600_000);
    assert!(
        error_ms <= u64::from(anchor.error_ms),
        "{error_ms} {anchor:?}"
    );
}

#[test]
fn a_receiver_that_vanishes_is_found_and_configured_again() {
    let mut scene = gnss("event = [{ kind = \"noack\", at_s = 20.0, for_s = 15.0 }]\n");
    scene.run_until(55_000);
    let bus_faults: Vec<_> = scene
        .faults()
        .into_iter()
        .filter(|f| f.1 == "no_ack")
        .collect();
    assert_eq!(bus_faults.len(), 1, "{:?}", scene.faults());
    assert!(scene.values_between(35_000, 45_000) > 0);
}

#[test]
fn the_fault_of_a_missing_device_file_names_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let handle = BusHandle::Linux(LinuxBus::new(folder.path().join("i2c-1"), folder.path()));
    let chip = Chip::new(Driver::Tmp117, handle, 0x48);
    let mut device = Device::new(&config(Driver::Tmp117, 0x48), None, chip, 0);
    let mut said = Vec::new();
    device.turn(0, &mut |output| said.push(output));
    let Output::Reading(Reading {
        value: Value::Fault(fault),
        ..
    }) = said[0]
    else {
        panic!()
    };
    assert_eq!((fault.kind, fault.code), (FaultKind::BUS_OTHER, 2));
    assert!(device.due_ms() > 0);
}

#[test]
fn epochs_that_one_turn_finds_have_stamps_of_their_own() {
    let mut scene = gnss("");
    scene.run_until(20_950);
    // Held up for less than the receiver's patience: two epochs wait in its buffer.
    scene.now_ms = 22_250;
    let before = scene.readings.len();
    scene.run_until(22_260);
    let stamps: Vec<u64> = scene.readings[before..]
        .iter()
        .map(|r| r.stamp_ms)
        .collect();
    assert_eq!(stamps, [22_250, 22_251]);
}

#[test]
fn every_part_gives_a_value_each_period_and_nothing_else() {
    let table = [
        ("mcp9808", Driver::Mcp9808, 0x18),
        ("tmp102", Driver::Tmp102, 0x48),
        ("tmp112", Driver::Tmp102, 0x49),
        ("lm75", Driver::Lm75(Lm75Part::Lm75), 0x4f),
        ("lm75b", Driver::Lm75(Lm75Part::Lm75b), 0x4e),
        ("tmp75", Driver::Lm75(Lm75Part::Tmp75), 0x4d),
        ("tmp105", Driver::Lm75(Lm75Part::Tmp105), 0x4c),
        ("sht4x", Driver::Sht4x, 0x44),
        ("mcp9600", Driver::Mcp960x(Thermocouple::K), 0x60),
        ("mcp9601", Driver::Mcp960x(Thermocouple::K), 0x67),
    ];
    for (kind, driver, address) in table {
        let chip =
            format!("[[chip]]\nkind = \"{kind}\"\naddress = {address}\nbase_deg_c = -18.0\n");
        let mut scene = Scene::new(&chip, &config(driver, address));
        scene.run_until(61_000);
        assert_eq!(scene.faults(), [], "{kind}");
        let count = scene.values_between(0, 61_000);
        assert!((60..=61).contains(&count), "{kind}: {count}");
        for reading in &scene.readings {
            let Value::Temperature(value) = reading.value else {
                panic!("{kind}: {reading:?}")
            };
            assert!((value.0 + 18 * 128).abs() <= 2, "{kind}: {reading:?}");
        }
    }
}

#[test]
fn the_humidity_of_a_part_is_a_reading_of_its_own_with_the_same_stamp() {
    let chip = "[[chip]]\nkind = \"sht4x\"\naddress = 0x44\nbase_deg_c = 4.0\nhumidity_percent = 85.0\n\
                event = [{ kind = \"noack\", at_s = 20.5, for_s = 10.0 }]\n";
    let mut scene = Scene::new(chip, &config(Driver::Sht4x, 0x44));
    scene.run_until(60_000);
    let stamps = |readings: &[Reading]| -> Vec<u64> {
        readings.iter().map(|reading| reading.stamp_ms).collect()
    };
    assert_eq!(stamps(&scene.companions), stamps(&scene.readings));
    let scalars = scene.companions.iter().filter_map(|r| match r.value {
        Value::Scalar(scalar) => Some((scalar.value, scalar.scale)),
        _ => None,
    });
    let mut count = 0;
    for (value, scale) in scalars {
        count += 1;
        assert!((value - 85_000).abs() <= 100 && scale == -3, "{value}");
    }
    assert!(count >= 45, "{count}");
    let faults = scene.companions.len() - count;
    assert_eq!(faults, 1, "its part is at fault, and so is it");
}

#[test]
fn an_open_thermocouple_is_a_fault_of_the_wire_and_never_a_temperature() {
    let chip = "[[chip]]\nkind = \"mcp9601\"\naddress = 0x67\nbase_deg_c = 350.0\n\
                event = [{ kind = \"wireopen\", at_s = 20.0, for_s = 10.0 }]\n";
    let driver = Driver::Mcp960x(Thermocouple::K);
    let mut scene = Scene::new(chip, &config(driver, 0x67));
    scene.run_until(60_000);
    assert_eq!(scene.faults().len(), 1, "{:?}", scene.faults());
    assert_eq!(scene.faults()[0].1, "wire");
    assert_eq!(scene.values_between(21_000, 30_000), 0);
    assert!(scene.values_between(31_000, 60_000) >= 28);
}

#[test]
fn a_hung_bus_is_back_within_five_seconds_of_its_release() {
    for release_s in [70.0, 70.7, 71.3, 72.1, 72.9] {
        let for_s = release_s - 10.0;
        let chip = format!(
            "[[chip]]\nkind = \"mcp9600\"\naddress = 0x60\nbase_deg_c = 90.0\n\
             event = [{{ kind = \"hang\", at_s = 10.0, for_s = {for_s} }}]\n"
        );
        let driver = Driver::Mcp960x(Thermocouple::K);
        let mut scene = Scene::new(&chip, &config(driver, 0x60));
        scene.run_until(90_000);
        let release_ms = (release_s * 1000.0) as u64;
        assert!(
            scene.values_between(release_ms, release_ms + 5000) > 0,
            "{release_s}: {:?}",
            scene.faults()
        );
        assert_eq!(scene.faults()[0].1, "bus_timeout");
    }
}

#[test]
fn what_a_receiver_says_about_its_antenna_and_jammers_is_recorded_and_its_positions_go_on() {
    let mut scene = gnss(
        "event = [{ kind = \"antennaopen\", at_s = 20.0, for_s = 15.0 }, \
         { kind = \"jamming\", at_s = 40.0, for_s = 10.0 }, \
         { kind = \"spoofing\", at_s = 52.0, for_s = 15.0 }]\n",
    );
    scene.run_until(100_000);
    let notes: Vec<_> = scene
        .readings
        .iter()
        .filter_map(|reading| match reading.value {
            Value::Fault(fault) if fault.kind != FaultKind::NO_FIX => {
                Some((fault.kind.name(), fault.code != 0))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        notes,
        [
            ("antenna", true),
            ("antenna", false),
            ("jammed", true),
            ("jammed", false),
            ("spoofed", true),
        ],
        "spoofing stays until a person has looked"
    );
}
