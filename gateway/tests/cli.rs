//! The program as people call it: answers, sentences, exit codes, a start and a stop.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it stands"
)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const CONFIG: &str = r#"
[device]
id = "truck-001"
[broker]
host = "127.0.0.1"
port = 1
[[bus]]
name = "i2c"
path = "sim:scenario.toml"
[[bus.sensor]]
name = "cargo"
driver = "tmp117"
address = 0x48
role = "load"
limit_high_deg_c = 8.0
"#;

const SCENARIO: &str = "speed_x = 20\ntruth_file = \"truth.jsonl\"\n[[chip]]\nkind = \"tmp117\"\n\
                        address = 0x48\nbase_deg_c = 9.0\n";

fn gateway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-gateway"));
    command.args(args).stdin(Stdio::null());
    command
}

fn answer(args: &[&str]) -> (Output, String, String) {
    let output = gateway(args).output().unwrap();
    let [out, err] =
        [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned());
    (output, out, err)
}

/// A folder with a configuration over a simulated bus.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("scenario.toml"), SCENARIO).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Asks again and again, until the answer is there or a minute is over.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let tick = crossbeam_channel::tick(Duration::from_millis(50));
    for _ in 0..1200 {
        if let Some(found) = look() {
            return found;
        }
        tick.recv().unwrap();
    }
    panic!("{what} did not happen within a minute");
}

struct Running(Child);

impl Running {
    fn start(config: &Path) -> Self {
        let log = std::fs::File::create(config.with_file_name("log")).unwrap();
        Self(
            gateway(&["run", "--config", text(config)])
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(&mut self) -> Option<i32> {
        until("the end", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

#[test]
fn version_and_help_are_answers() {
    let (output, out, _) = answer(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(out.starts_with("fleet-gateway "), "{out}");
    let (output, out, _) = answer(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for word in ["check-config", "spool inspect", "Exit codes", "  3  status"] {
        assert!(out.contains(word), "{word:?} is not in {out}");
    }
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_two_and_a_sentence() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    assert_eq!(answer(&["fly"]).0.status.code(), Some(2));
    assert_eq!(answer(&["status"]).0.status.code(), Some(2));
    std::fs::write(&config, CONFIG.replace("0x48", "\"0x48\"")).unwrap();
    for command in ["check-config", "run"] {
        let (output, out, err) = answer(&[command, "--config", text(&config)]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(out, "");
        assert_eq!(err.lines().count(), 1, "{err}");
        for word in [
            "gateway.toml",
            "bus[0].sensor[0].address",
            "\"0x48\"",
            "72 to 75",
        ] {
            assert!(err.contains(word), "{word:?} is not in {err}");
        }
    }
    let missing = folder.path().join("none");
    let (output, _, err) = answer(&["spool", "inspect", text(&missing), "--json"]);
    assert_eq!(output.status.code(), Some(2), "{err}");
    std::fs::write(&config, CONFIG).unwrap();
    let (output, _, err) = answer(&["run", "--config", text(&config), "--log", "gateway=="]);
    assert_eq!(output.status.code(), Some(2), "{err}");
}

#[test]
fn check_config_prints_what_is_in_effect_and_starts_nothing() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    let (output, out, _) = answer(&["check-config", "--config", text(&config)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        out.contains("keep_alive_s = 30") && out.contains("age_ms_max = 2000"),
        "{out}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_local_broker_that_is_not_installed_is_named_and_stops_nothing() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    let broker = "[local_broker]\nlisten = \"127.0.0.1:1884\"\nprogram = \"not-there\"\n";
    std::fs::write(&config, format!("{CONFIG}{broker}")).unwrap();
    let place = folder.path().join("not-there");
    let (output, _, err) = answer(&["check-config", "--config", text(&config)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        err.contains("warning") && err.contains(text(&place)),
        "{err}"
    );

    let mut running = Running::start(&config);
    let log = || std::fs::read_to_string(config.with_file_name("log")).unwrap_or_default();
    let line = until("a line of the log", || {
        let log = log();
        let line = log.lines().find(|line| line.contains("local broker"))?;
        Some(line.to_owned())
    });
    assert!(
        line.contains("ERROR") && line.contains(text(&place)),
        "{line}"
    );
    running.signal(Signal::TERM);
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_gateway_runs_answers_and_stops_cleanly_without_any_broker() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    let ask = || answer(&["status", "--config", text(&config), "--json"]);
    let (output, out, err) = ask();
    assert_eq!((output.status.code(), out.as_str()), (Some(3), ""), "{err}");

    let mut running = Running::start(&config);
    let status: serde_json::Value = until("twenty readings", || {
        let status: serde_json::Value = serde_json::from_str(&ask().1).ok()?;
        (status["lanes"]["telemetry"]["next_seq"].as_u64()? >= 20).then_some(status)
    });
    assert_eq!(status["sensors"][0]["state"], "online");
    assert_eq!(status["alerts_open"][0]["kind"], "limit_high");
    let rss = status["vm_hwm_bytes"].as_u64().unwrap();
    assert!(rss < 16 << 20, "{rss} bytes");
    let (_, page, _) = answer(&[
        "status",
        "--socket",
        text(&folder.path().join("status.sock")),
    ]);
    assert!(
        page.contains("ALERT    critical: cargo is too warm: 9.00 degC"),
        "{page}"
    );

    running.signal(Signal::TERM);
    assert_eq!(running.end(), Some(0));
    assert!(!folder.path().join("status.sock").exists());
    assert_eq!(ask().0.status.code(), Some(3));

    // Everything that the bus handed out is in the spool.
    let truth = std::fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
    let handed_out = truth.lines().filter(|line| line.contains("tmp117")).count() as u64;
    let spool = folder.path().join("spool");
    let (output, out, _) = answer(&["spool", "inspect", text(&spool), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let last_seq = |lane: &str| {
        let segments = found["segments"].as_array().unwrap();
        let mine = segments.iter().filter(|segment| segment["lane"] == lane);
        mine.map(|segment| segment["numbers"][0][1]["last_seq"].as_u64().unwrap())
            .max()
    };
    assert_eq!(last_seq("telemetry"), Some(handed_out - 1));
    assert_eq!(last_seq("alert"), Some(0));
    assert!(last_seq("health") >= Some(7), "opening and last report");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(
        log.contains("cargo is too warm"),
        "told without any uplink: {log}"
    );
}

#[test]
fn a_killed_gateway_starts_again_in_the_same_world() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    let next_seq = || {
        let (_, out, _) = answer(&["status", "--config", text(&config), "--json"]);
        let status: serde_json::Value = serde_json::from_str(&out).ok()?;
        let seq = status["lanes"]["telemetry"]["next_seq"].as_u64()?;
        (seq > 3).then(|| {
            (
                status["epoch"].clone(),
                status["stamp_ms"].as_u64().unwrap(),
            )
        })
    };
    let mut running = Running::start(&config);
    let before = until("readings", next_seq);
    running.signal(Signal::KILL);
    assert_eq!(running.end(), None);
    let mut running = Running::start(&config);
    let after = until("readings", next_seq);
    assert_ne!(before.0, after.0, "an epoch is never used twice");
    assert!(before.1 < after.1, "stamps go on");
    running.signal(Signal::INT);
    assert_eq!(running.end(), Some(0));
}

#[test]
fn the_doctor_names_what_is_there_and_its_exit_code_says_whether_all_is_well() {
    let folder = folder();
    let bus = format!("sim:{}", text(&folder.path().join("scenario.toml")));
    let (output, out, err) = answer(&["doctor", "--bus", &bus, "--sysfs", text(folder.path())]);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(
        out.contains("0x48 TMP117") && out.contains("9.00 degC"),
        "{out}"
    );
    assert!(!folder.path().join("truth.jsonl").exists(), "it only looks");
    let args = [
        "doctor",
        "--bus",
        "/dev/i2c-97",
        "--json",
        "--sysfs",
        text(folder.path()),
    ];
    let (output, out, _) = answer(&args);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["well"], false);
    let advice = report["buses"][0]["problems"][0]["advice"]
        .as_str()
        .unwrap();
    assert!(advice.contains("raspi-config"), "{advice}");
}

#[test]
fn a_receivers_output_is_decoded_while_it_comes() {
    use std::io::{BufRead, BufReader, Write};
    let sentence = |body: &str| {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    };
    let epoch = |second: u8| {
        sentence(&format!(
            "GPRMC,12000{second},A,4800.5,N,00900.0,E,1.0,2.0,300127,,,A"
        )) + &sentence(&format!(
            "GPGGA,12000{second},4800.5,N,00900.0,E,1,07,1.1,7.5,M,,M,,"
        ))
    };
    let mut child = gateway(&["gnss", "decode", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all((epoch(1) + &epoch(2)).as_bytes()).unwrap();
    // The end of the input is not needed for the first line.
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.contains("\"time\":\"2027-01-30T12:00:01.000Z\""),
        "{first}"
    );
    drop(input);
    assert_eq!(lines.count(), 1);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (output, _, err) = answer(&["gnss", "decode", "none.log"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("none.log"), "{err}");
}

#[test]
fn sensors_on_every_kind_of_source_are_read_by_one_gateway() {
    let folder = folder();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "sys/bus/w1/devices/28-0316a2794bff/w1_slave",
        "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=-18062\n",
    );
    write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
    write("sys/class/hwmon/hwmon0/temp1_input", "48500\n");
    write(
        "inputs.toml",
        "[[line]]\noffset = 4\nactive = true\ntoggle_at_s = [100000.0]\n",
    );
    let more = "[[bus.sensor]]\nname = \"air\"\ndriver = \"sht4x\"\nhumidity_name = \"humid\"\n\
        [host]\nsysfs = \"sys\"\n\
        [[sensor]]\nname = \"rear\"\ndriver = \"ds18b20\"\nrom = \"28-0316a2794bff\"\n\
        [[sensor]]\nname = \"board\"\ndriver = \"hwmon\"\nchip = \"cpu_thermal\"\n\
        [[sensor]]\nname = \"door\"\ndriver = \"gpio\"\nchip = \"sim:inputs.toml\"\nline = 4\n";
    write("gateway.toml", &format!("{CONFIG}{more}"));
    let chip = "[[chip]]\nkind = \"sht4x\"\naddress = 0x44\nbase_deg_c = 4.0\n";
    write("scenario.toml", &format!("{SCENARIO}{chip}"));
    let config = folder.path().join("gateway.toml");
    let mut running = Running::start(&config);
    let last = until("a value of every sensor", || {
        let (_, out, _) = answer(&["status", "--config", text(&config), "--json"]);
        let status: serde_json::Value = serde_json::from_str(&out).ok()?;
        let sensors = status["sensors"].as_array()?.clone();
        let online = sensors
            .iter()
            .all(|s| s["state"] == "online" && !s["last"].is_null());
        (online && sensors.len() == 6).then_some(sensors)
    });
    running.signal(Signal::TERM);
    assert_eq!(running.end(), Some(0));
    let value = |name: &str, key: &str| {
        let sensor = last.iter().find(|sensor| sensor["name"] == name).unwrap();
        sensor["last"][key].clone()
    };
    assert_eq!(value("rear", "deg_c"), -18.0625);
    assert_eq!(value("board", "deg_c"), 48.5);
    assert_eq!(value("door", "active"), true);
    assert_eq!(value("humid", "unit"), "%");
    assert!((value("air", "deg_c").as_f64().unwrap() - 4.0).abs() < 0.1);
}

#[test]
fn a_spool_is_verified_and_exported_while_nothing_is_changed() {
    let folder = folder();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let (output, out, _) = answer(&["spool", "verify", text(&spool), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["frames"], 0);
    let (output, out, _) = answer(&["spool", "export", text(&spool)]);
    assert_eq!((output.status.code(), out.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    let missing = folder.path().join("none");
    for command in ["verify", "export"] {
        let (output, _, err) = answer(&["spool", command, text(&missing)]);
        assert_eq!(output.status.code(), Some(2), "{err}");
    }
}

#[test]
fn score_writes_each_row_before_the_next_is_offered_even_through_a_pipe() {
    use std::io::{BufRead, BufReader, Write};
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleet-gateway"))
        .args(["score", "--profile", "small"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = crossbeam_channel::bounded(4);
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            send.send(line.unwrap()).unwrap();
        }
    });
    let mut exchange = |row: &str| {
        input.write_all(row.as_bytes()).unwrap();
        lines.recv_timeout(Duration::from_secs(60))
    };
    assert_eq!(
        exchange("timestamp,value\r\n").as_deref(),
        Ok("timestamp,value,anomaly_score,kind,expected,low,high")
    );
    for minute in 0..30 {
        let row = format!("2026-01-05 00:{minute:02}:00,{}.5", minute % 3);
        let line = exchange(&format!("{row}\n")).unwrap();
        assert!(line.starts_with(&format!("{row},0,,")), "{line}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn score_names_what_it_cannot_read() {
    let (output, _, err) = answer(&["score"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("\"timestamp\" is missing"), "{err}");
    let (output, _, err) = answer(&["score", "--profile", "huge"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("small") && err.contains("large"), "{err}");
}

#[test]
fn a_vehicle_is_named_once_from_a_folder_and_a_first_start_without_one_says_so() {
    let folder = folder();
    let config = folder.path().join("etc/gateway.toml");
    let issue = folder.path().join("issue");
    let named = ["--config", text(&config)];

    let (output, _, err) = answer(&[&["identify"], &named[..]].concat());
    assert_eq!(output.status.code(), Some(2), "no terminal: {err}");
    let first_boot = ["identify", "--first-boot", "--issue", text(&issue)];
    let (output, out, _) = answer(&[&first_boot, &named[..]].concat());
    assert!(
        output.status.success() && out.contains("no identity"),
        "{out}"
    );
    let above_login = std::fs::read_to_string(&issue).unwrap();
    assert!(above_login.contains("sudo fleet-gateway identify"));
    let (output, out, _) = answer(&["doctor", "--config", text(&config), "--bus", "/dev/i2c-97"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out.contains("has no identity"), "{out}");

    let from = [&["identify", "--from", text(folder.path())], &named[..]].concat();
    let (output, out, err) = answer(&from);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("this vehicle is truck-001"), "{out}");
    let (output, _, err) = answer(&from);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("has an identity"), "{err}");
}

#[test]
fn the_supervisor_hears_of_start_life_and_stop() {
    let folder = folder();
    let path = folder.path().join("notify");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let patience = Some(Duration::from_secs(60));
    supervisor.set_read_timeout(patience).unwrap();
    let config = folder.path().join("gateway.toml");
    let child = gateway(&["run", "--config", text(&config)])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hear = || {
        let mut bytes = [0; 512];
        let len = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(bytes.get(..len).unwrap()).into_owned()
    };
    let first = hear();
    assert!(first.starts_with("READY=1\nSTATUS=link "), "{first}");
    for _ in 0..5 {
        let sign = hear();
        assert!(sign.starts_with("WATCHDOG=1\n"), "{sign}");
    }
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    while !hear().starts_with("STOPPING=1") {}
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
}
