use super::*;

fn world(chips: &str) -> BusReport {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, format!("truth_file = \"truth.jsonl\"\n{chips}")).unwrap();
    let report = examine_bus(
        &format!("sim:{}", file.display()),
        folder.path(),
        &InUse::default(),
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is written"
    );
    report
}

fn chip(kind: &str, address: u8, more: &str) -> String {
    format!("[[chip]]\nkind = \"{kind}\"\naddress = {address}\nbase_deg_c = 4.0\n{more}\n")
}

#[test]
fn every_known_part_is_named_and_read_once() {
    let mut chips = String::new();
    for (kind, address) in [
        ("tmp117", 0x48),
        ("tmp102", 0x49),
        ("lm75b", 0x4f),
        ("mcp9808", 0x18),
        ("sht4x", 0x44),
        ("mcp9600", 0x67),
    ] {
        chips.push_str(&chip(kind, address, ""));
    }
    chips.push_str(
        "[[chip]]\nkind = \"ublox\"\naddress = 0x42\n[chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\n",
    );
    let report = world(&chips);
    let found: Vec<_> = report
        .parts
        .iter()
        .map(|part| (part.address.as_str(), part.part.split(' ').next().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("0x18", "MCP9808"),
            ("0x42", "u-blox"),
            ("0x44", "SHT4x"),
            ("0x48", "TMP117"),
            ("0x49", "TMP102"),
            ("0x4f", "a"),
            ("0x67", "MCP9600"),
        ],
        "{}",
        report.text()
    );
    assert!(report.is_well(), "{}", report.text());
    let text = report.text();
    assert!(
        text.contains("4.00 degC") && text.contains("60.0 %"),
        "{text}"
    );
    assert!(text.contains("position 52.5"), "{text}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let table = [
        ("noack", "no address answers", "3.3 V"),
        ("hang", "the bus hangs", "one by one"),
        ("short", "stretches the clock", "i2c-gpio"),
    ];
    for (event, what, advice) in table {
        let event = format!("event = [{{ kind = \"{event}\", at_s = 0.0, for_s = 900.0 }}]");
        let report = world(&chip("mcp9808", 0x1a, &event));
        let text = report.text();
        assert!(!report.is_well(), "{text}");
        assert!(text.contains(what) && text.contains(advice), "{text}");
    }
    let report = world(&chip(
        "mcp9601",
        0x60,
        "event = [{ kind = \"wireopen\", at_s = 0.0, for_s = 900.0 }]",
    ));
    let text = report.text();
    assert!(text.contains("wires of its probe"), "{text}");
}

#[test]
fn a_receiver_without_a_sky_works() {
    let report = world(
        "[[chip]]\nkind = \"ublox\"\naddress = 0x42\n[chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\n\
         cold_start_s = 600\n",
    );
    assert!(report.is_well(), "{}", report.text());
    assert!(
        report.text().contains("view of the sky"),
        "{}",
        report.text()
    );
}

#[test]
fn what_a_receiver_doubts_about_itself_is_a_problem_beside_its_position() {
    for (event, what) in [
        ("antennaopen", "antenna is not connected"),
        ("jamming", "jammed"),
        ("spoofing", "forged"),
    ] {
        let report = world(&format!(
            "[[chip]]\nkind = \"ublox\"\naddress = 0x42\n\
             event = [{{ kind = \"{event}\", at_s = 0.0, for_s = 900.0 }}]\n\
             [chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\n"
        ));
        let text = report.text();
        assert!(!report.is_well(), "{event}: {text}");
        assert!(text.contains(what), "{event}: {text}");
        assert!(text.contains("position 52.5"), "{event}: {text}");
    }
}

#[test]
fn a_file_that_is_no_bus_is_called_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let report = examine_bus(
        &file.path().display().to_string(),
        Path::new("/none"),
        &InUse::default(),
    );
    let text = report.text();
    assert!(text.contains("this is no I2C bus"), "{text}");
}

#[test]
fn a_part_that_does_not_say_what_it_is_is_only_read() {
    // The simulated part counts what is written to it: its settings are those of power-on afterwards.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, chip("lm75", 0x4c, "")).unwrap();
    let world = Scenario::read(&file).unwrap().build(0).unwrap();
    let mut bus = world.bus.clone();
    let mut report = examine_bus("sim:none", folder.path(), &InUse::default());
    report.problems.clear();
    let pace = Pace {
        world: Some(world.bus.clone()),
        now_ms: 0,
    };
    let handle = || BusHandle::Sim(world.bus.clone(), Duration::ZERO);
    examine(&handle, pace, &mut report);
    assert!(
        report.text().contains("look at its marking"),
        "{}",
        report.text()
    );
    let mut settings = [0xff; 1];
    embedded_hal::i2c::I2c::write_read(&mut bus, 0x4c, &[1], &mut settings).unwrap();
    assert_eq!(settings, [0], "as after power-on");
}

#[test]
fn what_a_running_gateway_reads_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    let two = chip("tmp117", 0x48, "") + &chip("tmp117", 0x49, "");
    std::fs::write(&file, format!("truth_file = \"truth.jsonl\"\n{two}")).unwrap();
    let world = Scenario::read(&file).unwrap().build(0).unwrap();
    let mut report = examine_bus("sim:none", folder.path(), &InUse::default());
    report.problems.clear();
    report.parts.push(words::read(0x48, "cargo"));
    let pace = Pace {
        world: Some(world.bus.clone()),
        now_ms: 0,
    };
    let handle = || BusHandle::Sim(world.bus.clone(), Duration::ZERO);
    examine(&handle, pace, &mut report);
    let text = report.text();
    assert!(text.contains("0x48 cargo: left to the gateway"), "{text}");
    assert!(text.contains("0x49 TMP117") && report.is_well(), "{text}");
    let truth = std::fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
    assert!(
        truth.contains("\"address\":73") && !truth.contains("\"address\":72"),
        "{truth}"
    );
}

#[test]
fn a_missing_bus_and_an_owned_address_are_explained() {
    let sysfs = tempfile::tempdir().unwrap();
    let missing = examine_bus("/dev/i2c-97", sysfs.path(), &InUse::default());
    assert!(
        missing.text().contains("raspi-config"),
        "{}",
        missing.text()
    );
    let device = sysfs.path().join("bus/i2c/devices/7-0048");
    std::fs::create_dir_all(device.join("driver")).unwrap();
    std::fs::write(device.join("name"), "lm75\n").unwrap();
    assert_eq!(
        claimed("i2c-7", sysfs.path()),
        BTreeMap::from([(0x48, "lm75".to_owned())])
    );
    assert_eq!(claimed("i2c-1", sysfs.path()), BTreeMap::new());
    let owned = words::owned(0x48, "lm75");
    assert!(owned.problem.unwrap().advice.contains("hwmon"));
}

#[test]
fn the_machine_lists_what_the_configuration_can_name() {
    let sysfs = tempfile::tempdir().unwrap();
    for folder in [
        "bus/w1/devices/28-0316a2794bff",
        "bus/w1/devices/w1_bus_master1",
    ] {
        std::fs::create_dir_all(sysfs.path().join(folder)).unwrap();
    }
    let chip = sysfs.path().join("class/hwmon/hwmon0");
    std::fs::create_dir_all(&chip).unwrap();
    std::fs::write(chip.join("name"), "cpu_thermal\n").unwrap();
    let report = examine_host(sysfs.path());
    assert_eq!(report.ds18b20, ["28-0316a2794bff"]);
    assert_eq!(report.hwmon, ["cpu_thermal"]);
    assert!(report.text().contains("28-0316a2794bff"));
}

#[test]
fn a_bus_that_this_user_must_not_open_is_a_matter_of_groups() {
    let denied = std::io::Error::from_raw_os_error(13);
    let problem = words::cannot_open(Path::new("/dev/i2c-1"), &denied);
    assert!(problem.advice.contains("usermod -aG i2c"), "{problem:?}");
    let claimed = words::bus(&firmware_shared::reading::Fault {
        kind: FaultKind::UNSUPPORTED,
        register: 0,
        code: 95,
    });
    assert!(
        claimed.what.contains("write followed by a read"),
        "{claimed:?}"
    );
}
