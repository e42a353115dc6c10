use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::deliver::AckLevel;

const GOOD: &str = r#"
[device]
id = "truck-001"
[broker]
host = "127.0.0.1"
[[bus]]
name = "i2c1"
path = "/dev/i2c-1"
[[bus.sensor]]
name = "cargo"
driver = "tmp117"
address = 0x48
role = "load"
limit_high_deg_c = 8.0
[[bus.sensor]]
name = "gnss"
driver = "ublox"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/fleet/gateway.toml"), text)
}

/// The good file with one thing replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn part(driver: Driver, address: u8) -> Source {
    Source::Part { driver, address }
}

/// The good file with lines in front.
fn and(lines: &str) -> String {
    format!("{lines}\n{GOOD}")
}

#[test]
fn a_minimal_file_gets_every_default() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.device.as_str(), "truck-001");
    assert_eq!(config.spool.dir, Path::new("/etc/fleet/spool"));
    assert_eq!(config.status.socket, Path::new("/etc/fleet/status.sock"));
    assert_eq!((config.broker.port, config.broker.keep_alive_s), (1883, 30));
    assert_eq!(
        (config.broker.backoff_ms_min, config.broker.backoff_ms_max),
        (500, 57_000)
    );
    assert_eq!(
        (config.broker.resend_ms_min, config.broker.resend_ms_max),
        (30_000, 600_000)
    );
    assert_eq!(config.broker.prefix, "fleet/v1");
    assert_eq!(config.broker.ack, AckLevel::Central);
    assert_eq!(config.broker.keys, KeyFiles::default());
    assert!(config.broker.route.is_plain() && config.broker.fallbacks.is_empty());
    assert_eq!(
        config.seal,
        SealConfig {
            count_max: 60,
            age_ms_max: 2000
        }
    );
    assert_eq!(config.health.period_ms, 60_000);
    let sensors: Vec<_> = config.sensors().collect();
    assert_eq!(
        (sensors[0].index, sensors[0].period_ms, &sensors[0].source),
        (0, 1000, &part(Driver::Tmp117, 0x48))
    );
    let limits = sensors[0].limits[0].limits;
    assert_eq!((limits.high.unwrap().0, limits.low), (8 * 128, None));
    assert_eq!((sensors[0].limits.len(), limits.duration_ms), (1, 0));
    assert_eq!(sensors[0].detector, DetectorSize::Small);
    assert_eq!(
        (sensors[1].index, sensors[1].period_ms, &sensors[1].source),
        (1, 200, &part(Driver::Ublox, 0x42))
    );
    assert_eq!(sensors[1].role, "vehicle");
}

#[test]
fn the_printed_configuration_loads_to_the_same_configuration() {
    let text = with(
        "limit_high_deg_c = 8.0",
        "limit_high_deg_c = 8\nlimit_low_deg_c = 2.5\nlimit_duration_s = 60\nindex = 9\n\
         severity = \"warning\"\ncalibration_deg_c = -0.25\nperiod_ms = 5000",
    );
    let first = parse(&text).unwrap();
    let printed = first.effective_toml();
    let second = parse(&printed).unwrap();
    assert_eq!(second.effective_toml(), printed);
    assert_eq!(second.buses, first.buses);
    assert_eq!((second.broker, second.spool), (first.broker, first.spool));
    assert!(printed.contains("keep_alive_s = 30"), "{printed}");
    let sensor = &second.buses[0].sensors[0];
    assert_eq!(
        (sensor.index, sensor.calibration.0, sensor.period_ms),
        (9, -32, 5000)
    );
    assert_eq!(
        (
            sensor.limits[0].limits.duration_ms,
            sensor.limits[0].limits.severity,
        ),
        (60_000, Severity::Warning)
    );
}

use firmware_shared::alert::Severity;

#[test]
fn each_bad_input_is_one_sentence_with_key_value_and_what_is_allowed() {
    let table: &[(String, [&str; 3])] = &[
        // Wrong types.
        (
            and("[seal]\ncount_max = \"x\""),
            ["seal.count_max", "\"x\"", "1 to 256"],
        ),
        (
            with("\"127.0.0.1\"", "5"),
            ["broker.host", "5", "host name"],
        ),
        (
            with("\"truck-001\"", "{ a = 1 }"),
            ["device.id", "{...}", "a-z"],
        ),
        (
            with("8.0", "\"hot\""),
            ["bus[0].sensor[0].limit_high_deg_c", "\"hot\"", "-55 to 150"],
        ),
        ("device = 3\n".to_owned(), ["device", "3", "[device]"]),
        (
            and("[seal]\nage_ms_max = 1.5"),
            ["seal.age_ms_max", "1.5", "0 to 3600000"],
        ),
        // Unknown keys.
        (
            and("[seal]\ncuont_max = 5"),
            ["seal.cuont_max", "5", "count_max, age_ms_max"],
        ),
        (
            and("[sael]\ncount_max = 5"),
            ["sael", "{...}", "device, spool, broker"],
        ),
        (
            with("name = \"gnss\"", "name = \"gnss\"\nlimit_high_deg_c = 5"),
            [
                "bus[0].sensor[1].limit_high_deg_c",
                "5",
                "name, driver, index, address",
            ],
        ),
        // Out of range.
        (
            with("0x48", "0x50"),
            ["bus[0].sensor[0].address", "80", "72 to 75"],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nport = 0"),
            ["broker.port", "0", "1 to 65535"],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nkeep_alive_s = 1201"),
            ["broker.keep_alive_s", "1201", "1 to 1200"],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nport = 65536"),
            ["broker.port", "65536", "1 to 65535"],
        ),
        (
            with("\"load\"", "\"load\"\nperiod_ms = -1"),
            ["period_ms", "-1", "500 to 3600000"],
        ),
        (
            with("8.0", "nan"),
            ["limit_high_deg_c", "nan", "-55 to 150"],
        ),
        (
            and("[spool]\nalign = 1000"),
            ["spool.align", "1000", "512, 4096 or 16384"],
        ),
        (
            and("[spool]\ntotal_max_bytes = 10"),
            ["spool.total_max_bytes", "10", "25165824"],
        ),
        (
            and("[spool]\ntelemetry_max_bytes = 10"),
            ["spool.telemetry_max_bytes", "10", "8388608"],
        ),
        (
            and("[health]\nperiod_s = 0"),
            ["health.period_s", "0", "1 to 86400"],
        ),
        // Wrong words.
        (
            with("\"truck-001\"", "\"Truck 1\""),
            ["device.id", "\"Truck 1\"", "a-z"],
        ),
        (
            with("\"tmp117\"", "\"tmp999\""),
            ["driver", "\"tmp999\"", "\"tmp117\", \"mcp9808\""],
        ),
        (
            with("\"load\"", "\"roof\""),
            ["role", "\"roof\"", "\"supply\""],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nack = \"maybe\""),
            ["broker.ack", "\"maybe\"", "\"central\""],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nprefix = \"a/#\""),
            ["broker.prefix", "\"a/#\"", "slashes"],
        ),
        (
            with("/dev/i2c-1", "i2c-1"),
            ["bus[0].path", "\"i2c-1\"", "sim:SCENARIO.toml"],
        ),
        (
            with("\"cargo\"", "\"gateway\""),
            ["bus[0].sensor[0].name", "\"gateway\"", "no other sensor"],
        ),
        (
            with("\"cargo\"", "\"\""),
            ["bus[0].sensor[0].name", "\"\"", "1 to 32"],
        ),
        (
            with("\"load\"", "\"load\"\nseverity = \"bad\""),
            ["severity", "\"bad\"", "\"critical\""],
        ),
        // Missing.
        (
            with("id = \"truck-001\"", ""),
            ["device.id", "is missing", "a-z"],
        ),
        (
            with("host = \"127.0.0.1\"", ""),
            ["broker.host", "is missing", "host name"],
        ),
        (
            with("driver = \"tmp117\"", ""),
            ["bus[0].sensor[0].driver", "is missing", "\"tmp117\""],
        ),
        (
            "[device]\nid = \"a\"\n[broker]\nhost = \"b\"".to_owned(),
            ["bus", "[]", "[[bus]]"],
        ),
        // Contradictions.
        (
            with("\"gnss\"", "\"cargo\""),
            ["bus[0].sensor[1].name", "\"cargo\"", "no other sensor"],
        ),
        (
            with("driver = \"ublox\"", "driver = \"ublox\"\naddress = 0x48"),
            [
                "bus[0].sensor[1].address",
                "72",
                "no other sensor of this bus",
            ],
        ),
        (
            with("driver = \"ublox\"", "driver = \"ublox\"\nindex = 0"),
            ["bus[0].sensor[1].index", "0", "no other sensor"],
        ),
        (
            format!("{GOOD}\n[[bus]]\nname = \"i2c1\"\npath = \"/dev/i2c-2\""),
            ["bus[1].name", "\"i2c1\"", "no other bus"],
        ),
        (
            format!("{GOOD}\n[[bus]]\nname = \"i2c2\"\npath = \"/dev/i2c-1\""),
            ["bus[1].path", "\"/dev/i2c-1\"", "no other bus"],
        ),
        (
            format!("{GOOD}\n[[bus]]\nname = \"i2c2\"\npath = \"/dev/i2c-2\""),
            ["bus[1].sensor", "[]", "[[bus.sensor]]"],
        ),
        (
            with("8.0", "8.0\nlimit_low_deg_c = 9"),
            ["limit_low_deg_c", "9", "below limit_high_deg_c"],
        ),
        (
            with(
                "\"127.0.0.1\"",
                "\"b\"\nbackoff_ms_min = 500\nbackoff_ms_max = 100",
            ),
            [
                "broker.backoff_ms_max",
                "100",
                "backoff_ms_min, which is 500",
            ],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\nusername = \"u\""),
            ["broker.username", "\"u\"", "password_file"],
        ),
        (
            with("\"127.0.0.1\"", "\"b\"\npassword_file = \"p\""),
            ["broker.password_file", "p", "username"],
        ),
        (
            with(
                "\"127.0.0.1\"",
                "\"b\"\nusername = \"u\"\npassword_file = \"/none\"",
            ),
            ["broker.password_file", "/none", "can be read"],
        ),
        // Not TOML.
        (
            "[device]\nid = = 3".to_owned(),
            ["line 2", "not TOML", "key = value"],
        ),
    ];
    for (text, needles) in table {
        let sentence = parse(text).unwrap_err().to_string();
        let expected = ["/etc/fleet/gateway.toml", "allowed"];
        for needle in needles.iter().chain(&expected) {
            assert!(
                sentence.contains(needle),
                "{needle:?} is not in {sentence:?}"
            );
        }
        assert_eq!(sentence.lines().count(), 1, "{sentence:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = Config::load(&folder.path().join("none.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        sentence.contains("none.toml") && sentence.contains("allowed"),
        "{sentence}"
    );
}

#[test]
fn a_socket_path_that_the_system_cannot_take_is_refused() {
    let long = "s".repeat(120);
    let sentence = parse(&and(&format!("[status]\nsocket = \"{long}\"")))
        .unwrap_err()
        .to_string();
    assert!(
        sentence.contains("status.socket") && sentence.contains("107"),
        "{sentence}"
    );
}

#[test]
fn a_password_file_is_read_only_when_nobody_else_can() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let text = with(
        "\"127.0.0.1\"",
        "\"b\"\nusername = \"u\"\npassword_file = \"secret\"",
    );
    let load = || Config::parse(&folder.path().join("gateway.toml"), &text);
    std::fs::write(&secret, "hunter2\n").unwrap();
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).unwrap();
        let sentence = load().unwrap_err().to_string();
        assert!(sentence.contains("chmod 600"), "{mode:o} {sentence}");
    }
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let config = load().unwrap();
    assert_eq!(
        config.broker.keys.read().unwrap().login.unwrap().password,
        "hunter2"
    );
    for shown in [config.effective_toml(), format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn no_more_sensors_than_the_catalogue_holds() {
    let sensor = |at: usize| {
        format!(
            "[[bus.sensor]]\nname = \"s{at}\"\ndriver = \"ublox\"\naddress = {}\n",
            8 + at
        )
    };
    let file = |count: usize| {
        let sensors: String = (0..count).map(sensor).collect();
        let head =
            "[device]\nid = \"a\"\n[broker]\nhost = \"b\"\n[[bus]]\nname = \"n\"\npath = \"/d\"\n";
        format!("{head}{sensors}")
    };
    assert_eq!(parse(&file(63)).unwrap().sensors().count(), 63);
    let sentence = parse(&file(64)).unwrap_err().to_string();
    assert!(sentence.contains("at most 63 sensors"), "{sentence}");
}

/// A folder with a configuration over these buses; each scenario has the speed of its name.
fn load_with(buses: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "[device]\nid = \"a\"\n[broker]\nhost = \"b\"\n".to_owned();
    for (at, (path, scenario)) in buses.iter().enumerate() {
        text.push_str(&format!(
            "[[bus]]\nname = \"b{at}\"\npath = \"{path}\"\n[[bus.sensor]]\nname = \"s{at}\"\ndriver = \"tmp117\"\n"
        ));
        if let Some(file) = path.strip_prefix("sim:")
            && !scenario.is_empty()
        {
            std::fs::write(folder.path().join(file), scenario).unwrap();
        }
    }
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = Config::load(&file);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    let scenarios = buses
        .iter()
        .filter(|(_, scenario)| !scenario.is_empty())
        .count();
    assert_eq!(left, 1 + scenarios, "loading writes nothing");
    loaded
}

const CHIP: &str =
    "truth_file = \"truth.jsonl\"\n[[chip]]\nkind = \"tmp117\"\naddress = 0x48\nbase_deg_c = 4.0\n";

#[test]
fn scenarios_are_checked_before_the_start_and_must_share_one_time() {
    let (fast, slow) = (
        format!("speed_x = 60\n{CHIP}"),
        format!("speed_x = 1\n{CHIP}"),
    );
    let bad = "speed_y = 1\n";
    assert!(load_with(&[("sim:a.toml", &fast), ("sim:b.toml", &fast)]).is_ok());
    assert!(load_with(&[("sim:a.toml", CHIP), ("/dev/i2c-1", "")]).is_ok());
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let table: &[Case<'_>] = &[
        (&[("sim:a.toml", "")], "bus[0].path", "can be used"),
        (&[("sim:a.toml", bad)], "bus[0].path", "speed_y"),
        (
            &[("sim:a.toml", &fast), ("sim:b.toml", &slow)],
            "bus[1].path",
            "one speed_x",
        ),
        (
            &[("/dev/i2c-1", ""), ("sim:b.toml", &fast)],
            "bus[1].path",
            "beside a real bus",
        ),
    ];
    for (buses, key, allowed) in table {
        let sentence = load_with(buses).unwrap_err().to_string();
        assert!(
            sentence.contains(key) && sentence.contains(allowed),
            "{sentence}"
        );
        assert_eq!(sentence.lines().count(), 1, "{sentence:?}");
    }
}

const HOST_SENSORS: &str = r#"
[device]
id = "truck-001"
[broker]
host = "127.0.0.1"
[host]
sysfs = "/tmp/fake"
[[sensor]]
name = "rear"
driver = "ds18b20"
rom = "28-0316a2794bff"
compartment = "rear left"
calibration_deg_c = 0.25
calibration_until = 2027-05-31
limit_high_deg_c = 8.0
[[sensor]]
name = "board"
driver = "hwmon"
chip = "cpu_thermal"
[[sensor]]
name = "air"
driver = "iio"
chip = "bme280"
device = "1-0076"
input = "humidityrelative"
[[sensor]]
name = "gnss"
driver = "gnss_serial"
path = "/dev/ttyAMA0"
baud = 38400
[[sensor]]
name = "supply"
driver = "gpio"
chip = "/dev/gpiochip0"
line = 17
active_low = true
bias = "pull_up"
role = "power_good"
"#;

#[test]
fn sensors_without_a_bus_are_read_and_printed_and_need_no_bus() {
    let config = parse(HOST_SENSORS).unwrap();
    assert_eq!(config.host.sysfs, Path::new("/tmp/fake"));
    let sensors: Vec<_> = config.sensors().collect();
    let quantities: Vec<_> = sensors.iter().map(|sensor| sensor.quantity).collect();
    use Quantity::{Humidity, Input, Position, Temperature};
    assert_eq!(
        quantities,
        [Temperature, Temperature, Humidity, Position, Input]
    );
    assert_eq!(sensors[0].compartment, "rear left");
    assert_eq!(sensors[0].calibration.0, 32);
    assert_eq!(
        sensors[0].calibration_until.unwrap().to_string(),
        "2027-05-31"
    );
    assert_eq!(sensors[4].role, POWER_GOOD_ROLE);
    let printed = config.effective_toml();
    let again = parse(&printed).unwrap();
    assert_eq!(again.host_sensors, config.host_sensors, "{printed}");
}

#[test]
fn the_second_quantity_of_a_part_is_a_sensor_of_its_own() {
    let text = with(
        "driver = \"tmp117\"\naddress = 0x48",
        "driver = \"sht4x\"\naddress = 0x44\nhumidity_name = \"cargo air\"\ncompartment = \"front\"",
    );
    let config = parse(&text).unwrap();
    let sensors: Vec<_> = config.sensors().collect();
    assert_eq!(sensors.len(), 3);
    assert_eq!(sensors[1].name, "cargo air");
    assert_eq!(sensors[1].source, Source::Companion { of: 0 });
    assert_eq!((sensors[1].index, sensors[2].index), (1, 2));
    assert_eq!(sensors[1].compartment, "front");
    assert!(sensors[1].limits.is_empty(), "its limits are degrees");
    assert_eq!(parse(&config.effective_toml()).unwrap().buses, config.buses);
}

#[test]
fn each_bad_sensor_without_a_bus_is_one_sentence_with_key_value_and_what_is_allowed() {
    let table = [
        ("28-0316a2794bff", "28-12", ["sensor[0].rom", "28-12", "w1"]),
        ("\"28-0", "\"10-0", ["sensor[0].rom", "10-0", "DS18B20"]),
        (
            "2027-05-31",
            "\"soon\"",
            ["sensor[0].calibration_until", "soon", "a date"],
        ),
        (
            "baud = 38400",
            "baud = 38401",
            ["sensor[3].baud", "38401", "115200"],
        ),
        (
            "\"/dev/ttyAMA0\"",
            "\"COM1\"",
            ["sensor[3].path", "COM1", "/dev/ttyAMA0"],
        ),
        ("line = 17", "", ["sensor[4].line", "is missing", "65535"]),
        (
            "active_low = true",
            "active_low = 1",
            ["sensor[4].active_low", "1", "true or false"],
        ),
        (
            "\"pull_up\"",
            "\"pull\"",
            ["sensor[4].bias", "pull", "pull_down"],
        ),
        (
            "humidityrelative",
            "pressure",
            ["sensor[2].input", "pressure", "temp"],
        ),
        (
            "\"cpu_thermal\"",
            "\"cpu_thermal\"\ninput = \"temp0\"",
            ["sensor[1].input", "temp0", "temp99"],
        ),
        (
            "\"supply\"",
            "\"rear\"",
            ["sensor[4].name", "rear", "no other sensor"],
        ),
        (
            "chip = \"cpu_thermal\"",
            "chip = \"cpu_thermal\"\nrom = \"x\"",
            ["sensor[1].rom", "x", "chip"],
        ),
    ];
    for (from, to, expected) in table {
        assert!(HOST_SENSORS.contains(from), "{from}");
        let sentence = parse(&HOST_SENSORS.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        for part in expected {
            assert!(sentence.contains(part), "{part} in {sentence}");
        }
        assert_eq!(sentence.lines().count(), 1, "{sentence:?}");
    }
}

#[test]
fn every_driver_has_the_addresses_and_the_range_of_its_part() {
    let drivers = [
        ("tmp117", 0x48, 0x4b),
        ("mcp9808", 0x18, 0x1f),
        ("tmp102", 0x48, 0x4b),
        ("tmp112", 0x48, 0x4b),
        ("lm75", 0x48, 0x4f),
        ("lm75b", 0x48, 0x4f),
        ("tmp75", 0x48, 0x4f),
        ("tmp105", 0x48, 0x4f),
        ("sht4x", 0x44, 0x46),
        ("mcp9600", 0x60, 0x67),
        ("mcp9601", 0x60, 0x67),
    ];
    for (driver, first, last) in drivers {
        let at = |address: u8| {
            parse(&with(
                "driver = \"tmp117\"\naddress = 0x48",
                &format!("driver = \"{driver}\"\naddress = {address}"),
            ))
        };
        assert!(at(first).is_ok() && at(last).is_ok(), "{driver}");
        assert!(at(first - 1).is_err() && at(last + 1).is_err(), "{driver}");
    }
}

#[test]
fn limits_by_role_and_compartment_come_behind_a_sensors_own() {
    let text = and(
        "[[limit]]\nrole = \"load\"\nhigh_deg_c = 6.0\nduration_s = 600\nseverity = \"warning\"\n\
         from = \"22:00\"\nuntil = \"06:00\"\ndays = [\"sat\", \"sun\"]\nutc_offset_min = 60\n\
         [[limit]]\nlow_deg_c = -30",
    );
    let config = parse(&text).unwrap();
    let limits = &config.sensors().next().unwrap().limits;
    assert_eq!(limits.len(), 3);
    assert_eq!(limits[0].limits.high.unwrap().0, 8 * 128);
    let night = limits[1].schedule.as_ref().unwrap();
    assert_eq!(
        (night.from_min, night.until_min, night.utc_offset_min),
        (1320, 360, 60)
    );
    assert_eq!(night.days, [false, false, false, false, false, true, true]);
    assert_eq!(
        (&limits[2].schedule, limits[2].limits.low.unwrap().0),
        (&None, -30 * 128)
    );
    let receiver = config.sensors().nth(1).unwrap();
    assert!(receiver.limits.is_empty(), "a position has no temperature");
    assert_eq!(parse(&config.effective_toml()).unwrap().buses, config.buses);
}

#[test]
fn what_tells_people_on_the_vehicle_is_off_and_needs_a_password_beyond_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let file = folder.path().join("gateway.toml");
    assert_eq!(parse(&and("")).unwrap().notify, NotifyConfig::default());
    let all = and(
        "[local_broker]\nlisten = \"0.0.0.0:1884\"\nusername = \"display\"\npassword_file = \"secret\"\n\
         [hook]\ncommand = [\"/bin/tell\", \"driver\"]\ntimeout_s = 5\n\
         [buzzer]\nchip = \"sim:buzzer.jsonl\"\nline = 17\n[detector]\nprofile = \"large\"",
    );
    let config = Config::parse(&file, &all).unwrap();
    let (broker, hook) = (config.notify.broker.unwrap(), config.notify.hook.unwrap());
    assert!(broker.login.is_some() && !config.effective.to_string().contains("hunter2"));
    assert_eq!(broker.program, None, "the one that is installed");
    let other = and("[local_broker]\nlisten = \"127.0.0.1:1\"\nprogram = \"broker\"");
    let other = Config::parse(&file, &other).unwrap().notify.broker.unwrap();
    assert_eq!(other.program, Some(folder.path().join("broker")));
    assert_eq!(
        (hook.command.len(), hook.timeout_ms, hook.queue_count),
        (2, 5000, 16)
    );
    let buzzer = config.notify.buzzer.unwrap();
    assert_eq!(
        buzzer.chip,
        GpioChip::Scenario(folder.path().join("buzzer.jsonl"))
    );
    assert_eq!(
        (buzzer.severity, buzzer.on_ms),
        (Severity::Critical, 30_000)
    );
    assert_eq!(config.detector.size, DetectorSize::Large);
    let table = [
        (
            "[local_broker]\nlisten = \"0.0.0.0:1884\"",
            "local_broker.username is missing",
        ),
        (
            "[local_broker]\nlisten = \"here\"",
            "local_broker.listen = \"here\"",
        ),
        ("[local_broker]\nport = 3", "local_broker.port"),
        ("[hook]\ncommand = [\"tell\"]", "hook.command = \"tell\""),
        ("[hook]\ncommand = \"/bin/tell\"", "hook.command"),
        (
            "[hook]\ncommand = [\"/bin/tell\"]\ntimeout_s = 0",
            "hook.timeout_s = 0",
        ),
        (
            "[buzzer]\nchip = \"/dev/gpiochip0\"",
            "buzzer.line is missing",
        ),
        (
            "[detector]\nprofile = \"huge\"",
            "detector.profile = \"huge\"",
        ),
        ("[detector]\nalert_score = 2", "detector.alert_score = 2"),
        (
            "[[limit]]\nrole = \"load\"",
            "limit[0].high_deg_c is missing",
        ),
        (
            "[[limit]]\nrole = \"engine\"\nhigh_deg_c = 90",
            "limit[0] = nobody's",
        ),
        (
            "[[limit]]\nhigh_deg_c = 9\ndays = [\"someday\"]",
            "limit[0].days = \"someday\"",
        ),
        (
            "[[limit]]\nhigh_deg_c = 9\nuntil = \"7\"",
            "limit[0].until = \"7\"",
        ),
        (
            "[status]\ncontrol_socket = \"status.sock\"",
            "status.control_socket",
        ),
    ];
    for (more, expected) in table {
        let sentence = parse(&and(more)).unwrap_err().to_string();
        assert!(sentence.contains(expected), "{sentence}");
        assert!(sentence.contains("allowed"), "{sentence}");
    }
}

#[test]
fn figures_are_read_nowhere_by_default_and_by_other_machines_only_if_somebody_wants_it() {
    assert_eq!(parse(GOOD).unwrap().metrics.listen, None);
    let config = parse(&and("[metrics]\nlisten = \"127.0.0.1:9464\"")).unwrap();
    assert_eq!(
        config.metrics.listen,
        Some("127.0.0.1:9464".parse().unwrap())
    );
    let open = "[metrics]\nlisten = \"0.0.0.0:9464\"\nopen_to_network = true";
    assert!(parse(&and(open)).is_ok());
    for (lines, words) in [
        (
            "[metrics]\nlisten = \"0.0.0.0:9464\"",
            "metrics.listen = \"0.0.0.0:9464\"",
        ),
        (
            "[metrics]\nlisten = \"9464\"",
            "allowed is an address with a port",
        ),
        ("[metrics]\nport = 9464", "metrics.port"),
    ] {
        let error = parse(&and(lines)).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in {error}");
    }
}
