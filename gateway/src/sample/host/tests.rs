//! A fake tree of sysfs, a pseudo terminal and simulated contacts under the real sources.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use firmware_shared::catalogue::Name;
use firmware_shared::reading::{Reading, Value};
use firmware_shared::time::TimeAnchor;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;
use crate::config::{Bias, DetectorSize, GpioChip, KernelInterface, Quantity, Source as From};
use crate::sample::{Device, Output, SensorState};

struct Scene {
    folder: tempfile::TempDir,
    host: HostConfig,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sysfs = folder.path().to_owned();
        Self {
            folder,
            host: HostConfig { sysfs },
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn device(&self, source: HostSource, quantity: Quantity, period_ms: u64) -> Watched {
        let sensor = SensorConfig {
            index: 5,
            name: "probe".try_into().unwrap(),
            source: From::Host(source.clone()),
            quantity,
            role: "load".try_into().unwrap(),
            compartment: Name::new(),
            period_ms,
            calibration: Celsius128(0),
            calibration_until: None,
            detector: DetectorSize::Off,
            limits: Vec::new(),
        };
        let source = open(&source, &sensor, &self.host, 0);
        Watched {
            device: Device::new(&sensor, None, source, 0),
            now_ms: 0,
            readings: Vec::new(),
            anchors: Vec::new(),
        }
    }
}

struct Watched {
    device: Device<AnySource>,
    now_ms: u64,
    readings: Vec<Reading>,
    anchors: Vec<TimeAnchor>,
}

impl Watched {
    fn run_until(&mut self, until_ms: u64) {
        while self.device.due_ms() < until_ms {
            self.now_ms = self.now_ms.max(self.device.due_ms());
            let (readings, anchors) = (&mut self.readings, &mut self.anchors);
            self.device.turn(self.now_ms, &mut |output| match output {
                Output::Reading(reading) => readings.push(reading),
                Output::Anchor(anchor) => anchors.push(anchor),
            });
        }
        self.now_ms = until_ms;
    }

    fn said(&self) -> Vec<(u64, String)> {
        let word = |reading: &Reading| match reading.value {
            Value::Temperature(value) => format!("{}", value.as_degrees_f64()),
            Value::Scalar(scalar) => format!("{}e{}", scalar.value, scalar.scale),
            Value::State(state) => format!("state {state}"),
            Value::Position(p) => format!("{} {}", p.lat.0, p.lon.0),
            Value::Fault(fault) => format!("{} {}", fault.kind.name(), fault.code),
            Value::Health(_) => "health".to_owned(),
        };
        self.readings
            .iter()
            .map(|reading| (reading.stamp_ms, word(reading)))
            .collect()
    }

    fn words(&self) -> Vec<String> {
        self.said().into_iter().map(|(_, word)| word).collect()
    }
}

const ROM: &str = "28-0316a2794bff";

fn probe() -> HostSource {
    HostSource::OneWire {
        rom: ROM.to_owned(),
    }
}

fn w1(milli: i64) -> String {
    format!("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t={milli}\n")
}

#[test]
fn a_probe_is_read_by_its_rom_whatever_other_probes_there_are() {
    let scene = Scene::new();
    let file = |rom: &str| format!("bus/w1/devices/{rom}/w1_slave");
    scene.write(&file("28-000000000001"), &w1(99_000));
    scene.write(&file(ROM), &w1(-18_062));
    let mut probe = scene.device(probe(), Quantity::Temperature, 5000);
    probe.run_until(6000);
    assert_eq!(probe.words(), ["-18.0625", "-18.0625"]);
}

#[test]
fn a_probe_that_is_pulled_out_is_a_fault_and_back_within_seconds_without_its_power_on_value() {
    let scene = Scene::new();
    let file = format!("bus/w1/devices/{ROM}/w1_slave");
    scene.write(&file, &w1(4000));
    let mut probe = scene.device(probe(), Quantity::Temperature, 1000);
    probe.run_until(2500);
    std::fs::remove_file(scene.path(&file)).unwrap();
    probe.run_until(10_000);
    assert_eq!(probe.device.state(), SensorState::Absent);
    scene.write(&file, &w1(85_000));
    probe.run_until(14_500);
    scene.write(&file, &w1(4062));
    probe.run_until(20_000);
    let mut words = probe.words();
    words.dedup();
    assert_eq!(words, ["4", "no_ack 2", "implausible 85000", "4.0625"]);
    let back = probe.said().into_iter().find(|(_, word)| word == "4.0625");
    assert!(back.unwrap().0 <= 14_500 + 5000);
}

#[test]
fn a_chip_of_the_kernel_is_found_by_name_and_device_and_never_guessed() {
    let scene = Scene::new();
    for (number, device, milli) in [(0, "1-0048", "4250"), (1, "1-0049", "-12500")] {
        scene.write(&format!("devices/{device}/power"), "");
        let chip = format!("class/hwmon/hwmon{number}");
        scene.write(&format!("{chip}/name"), "lm75\n");
        scene.write(&format!("{chip}/temp1_input"), milli);
        symlink(
            scene.path(&format!("devices/{device}")),
            scene.path(&format!("{chip}/device")),
        )
        .unwrap();
    }
    let chip = |device: Option<&str>| HostSource::Kernel {
        interface: KernelInterface::Hwmon,
        chip: "lm75".to_owned(),
        device: device.map(str::to_owned),
        input: "temp1".to_owned(),
    };
    let first = |source| {
        let mut watched = scene.device(source, Quantity::Temperature, 1000);
        watched.run_until(1);
        watched.run_until(2);
        watched.words()
    };
    assert_eq!(first(chip(Some("1-0048"))), ["4.25"]);
    assert_eq!(first(chip(Some("1-0049"))), ["-12.5"]);
    assert_eq!(first(chip(Some("1-004a"))), ["no_ack 2"]);
    assert_eq!(first(chip(None)), ["configuration 1"], "one too many");
}

#[test]
fn the_fault_file_of_a_chip_is_heard_and_garbage_is_no_value() {
    let scene = Scene::new();
    let file = |name: &str| format!("class/hwmon/hwmon0/{name}");
    scene.write(&file("name"), "max31865\n");
    scene.write(&file("temp2_input"), "350000\n");
    scene.write(&file("temp2_fault"), "0\n");
    let source = HostSource::Kernel {
        interface: KernelInterface::Hwmon,
        chip: "max31865".to_owned(),
        device: None,
        input: "temp2".to_owned(),
    };
    let mut chip = scene.device(source, Quantity::Temperature, 1000);
    chip.run_until(500);
    scene.write(&file("temp2_fault"), "1\n");
    chip.run_until(2500);
    scene.write(&file("temp2_fault"), "0\n");
    scene.write(&file("temp2_input"), "hot");
    chip.run_until(3500);
    scene.write(&file("temp2_input"), "351000");
    chip.run_until(4500);
    assert_eq!(chip.words(), ["350", "wire 1", "implausible 0", "351"]);
}

#[test]
fn an_iio_chip_gives_temperature_and_humidity_scaled_or_not() {
    let scene = Scene::new();
    let chip = "devices/platform/i2c-1/1-0076/iio:device3";
    scene.write(&format!("{chip}/name"), "bme280\n");
    scene.write(&format!("{chip}/in_temp_input"), "-17390\n");
    scene.write(&format!("{chip}/in_humidityrelative_raw"), "5000\n");
    scene.write(&format!("{chip}/in_humidityrelative_scale"), "10.5\n");
    scene.write(&format!("{chip}/in_humidityrelative_offset"), "-1000\n");
    let folder = scene.path("bus/iio/devices");
    std::fs::create_dir_all(&folder).unwrap();
    symlink(scene.path(chip), folder.join("iio:device3")).unwrap();
    let source = |input: &str| HostSource::Kernel {
        interface: KernelInterface::Iio,
        chip: "bme280".to_owned(),
        device: Some("1-0076".to_owned()),
        input: input.to_owned(),
    };
    let mut temperature = scene.device(source("temp"), Quantity::Temperature, 1000);
    temperature.run_until(1);
    temperature.run_until(2);
    // -17.39 degC is -2225.92 counts.
    assert_eq!(
        temperature.words(),
        [format!("{}", Celsius128(-2226).as_degrees_f64())]
    );
    let mut humidity = scene.device(source("humidityrelative"), Quantity::Humidity, 1000);
    humidity.run_until(1);
    humidity.run_until(2);
    assert_eq!(humidity.words(), ["42000e-3"]);
}

#[test]
fn thousandths_become_the_nearest_count_on_both_sides_of_zero() {
    for milli in (-40_000..40_000).step_by(7) {
        let counts = f64::from(from_milli_deg_c(milli).0);
        let exact = milli as f64 * 0.128;
        assert!((counts - exact).abs() <= 0.5, "{milli}");
    }
}

/// A pseudo terminal: what is written to the one end arrives at the other like at a serial port.
fn terminal() -> (std::fs::File, PathBuf) {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let path = ptsname(&end, Vec::new()).unwrap().into_string().unwrap();
    (std::fs::File::from(end), PathBuf::from(path))
}

fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

fn epoch(second: u32) -> String {
    let rmc = format!("GPRMC,1200{second:02}.00,A,4800.5,N,00900.0,E,1.0,2.0,300127,,,A");
    let gga = format!("GPGGA,1200{second:02}.00,4800.5,N,00900.0,E,1,07,1.1,7.5,M,,M,,");
    sentence(&rmc) + &sentence(&gga)
}

#[test]
fn a_serial_receiver_gives_positions_and_utc_once_the_line_was_quiet() {
    let (mut line, path) = terminal();
    let scene = Scene::new();
    let source = HostSource::Serial { path, baud: 38_400 };
    let mut receiver = scene.device(source, Quantity::Position, 100);
    receiver.run_until(50);
    // Bytes that wait already: nobody knows since when.
    line.write_all(epoch(0).as_bytes()).unwrap();
    receiver.run_until(250);
    assert_eq!(receiver.anchors, []);
    for second in 1..4 {
        line.write_all(epoch(second).as_bytes()).unwrap();
        receiver.run_until(250 + u64::from(second) * 1000);
    }
    let words = receiver.words();
    assert!(words.len() >= 3, "{words:?}");
    assert!(
        words.iter().all(|word| word == "480083333 90000000"),
        "{words:?}"
    );
    let anchor = receiver.anchors.last().unwrap();
    // 2027-01-30T12:00:03Z was at about 2250 ms.
    assert!(anchor.utc_ms_of(2250).abs_diff(1_801_310_403_000) <= u64::from(anchor.error_ms));
}

#[test]
fn a_serial_port_that_vanishes_is_a_fault_and_tried_again() {
    let (line, path) = terminal();
    let scene = Scene::new();
    let source = HostSource::Serial { path, baud: 9600 };
    let mut receiver = scene.device(source, Quantity::Position, 100);
    receiver.run_until(500);
    drop(line);
    receiver.run_until(3000);
    assert_eq!(receiver.device.state(), SensorState::Absent);
    let words = receiver.words();
    assert_eq!(words.len(), 1, "{words:?}");
}

fn contact(scene: &Scene, text: &str) -> Watched {
    scene.write("inputs.toml", text);
    let source = HostSource::Gpio {
        chip: GpioChip::Scenario(scene.path("inputs.toml")),
        line: 17,
        active_low: false,
        bias: Bias::PullUp,
        debounce_ms: 5,
    };
    scene.device(source, Quantity::Input, 60_000)
}

#[test]
fn every_change_of_a_contact_is_told_at_once_and_its_level_once_a_minute() {
    let scene = Scene::new();
    let text =
        "[[line]]\noffset = 3\n[[line]]\noffset = 17\nactive = true\ntoggle_at_s = [30.0, 31.5]\n";
    let mut door = contact(&scene, text);
    door.run_until(100_000);
    let word = |at_ms: u64, state: u16| (at_ms, format!("state {state}"));
    assert_eq!(
        door.said(),
        [
            word(0, 1),
            word(30_000, 0),
            word(31_500, 1),
            word(60_000, 1)
        ]
    );
}

#[test]
fn a_contact_whose_chip_is_missing_is_a_fault() {
    let scene = Scene::new();
    let source = HostSource::Gpio {
        chip: GpioChip::Device(scene.path("gpiochip9")),
        line: 17,
        active_low: true,
        bias: Bias::AsIs,
        debounce_ms: 5,
    };
    let mut door = scene.device(source, Quantity::Input, 60_000);
    door.run_until(1000);
    assert_eq!(door.words(), ["no_ack 2"]);
    scene.write("gpiochip9", "no chip");
    door.run_until(20_000);
    assert_eq!(
        door.words().len(),
        2,
        "a file that is no chip: {:?}",
        door.words()
    );
}
