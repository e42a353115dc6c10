//! One vehicle: alerts and live data on an idle link and behind a backlog, bytes on the wire, memory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use tests::bottleneck::Bottleneck;
use tests::fleet::{Centre, Sensor, Setup, Vehicle, receiver, thermometer};
use tests::link::Link;
use tests::store::Store;
use tests::wait;

use super::{Report, central, gateway, percentile};

const DEVICE: &str = "truck-001";
const PATIENCE: Duration = Duration::from_secs(60);
const ALERTS: usize = 200;
const ALERTS_IDLE: usize = 100;
/// Readings of a day, four a second.
const DAY_READINGS: u64 = 345_600;
/// Every tooth begins in the cold: the alerts of the first moments come all at once, and do not count.
const SETTLE: Duration = Duration::from_secs(20);
/// It must outlast the alerts.
const BACKLOG_DEFAULT: usize = 2_400_000;
/// Virtual seconds per second while the backlog is made.
const HASTE_X: u32 = 2_000;

/// CLOCK_BOOTTIME, which is what a stamp is when the world runs at its own speed.
fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

fn setup(speed_x: u32, sensors: Vec<Sensor>) -> Setup {
    Setup {
        device: DEVICE.to_owned(),
        speed_x,
        seed: 7,
        sensors,
        // The defaults of the product; the kit would be quicker.
        broker: "backoff_ms_min = 500\n".to_owned(),
        spool: String::new(),
        more: String::new(),
    }
}

/// Parts on each bus of the restless vehicle: kind, first address, how many.
const PARTS: [(&str, u8, u8); 4] = [
    ("lm75", 0x48, 8),
    ("mcp9808", 0x18, 8),
    ("mcp9601", 0x60, 8),
    ("sht4x", 0x44, 3),
];

/// A warning before each critical limit: an escalation is an alert, too.
const WARNINGS: &str = "[[limit]]\nrole = \"load\"\nhigh_deg_c = 5.0\nlow_deg_c = 3.0\nhysteresis_deg_c = 0.1\n\
                        severity = \"warning\"\n";

/// Sensors that are too warm and too cold once in each tooth. A condition is cleared a minute after it is gone and
/// raised again hourly: many alerts in a short time take many sensors. Teeth of 70 s to 123 s, each of another
/// length, let the alerts come one by one.
fn restless(bus: &str, shortest_s: usize) -> Vec<Sensor> {
    let addresses = PARTS.into_iter().flat_map(|(kind, first, count)| {
        (first..first + count).map(move |address| (kind, address))
    });
    let one = |(at, (kind, address)): (usize, (&str, u8))| Sensor {
        chip: format!(
            "kind = \"{kind}\"\naddress = {address}\nbase_deg_c = 4.0\namplitude_deg_c = 3.0\n\
             period_s = {}\n",
            shortest_s + 2 * at
        ),
        sensor: format!(
            "name = \"{bus}-{address:02x}\"\ndriver = \"{kind}\"\naddress = {address}\nrole = \"load\"\n\
             period_ms = 1000\nlimit_high_deg_c = 6.0\nlimit_low_deg_c = 2.0\nlimit_hysteresis_deg_c = 0.1\n\
             severity = \"critical\"\n"
        ),
    };
    addresses.enumerate().map(one).collect()
}

/// A vehicle with three buses of restless sensors, almost as many as a gateway has, and what else is on the first bus.
fn restless_vehicle(place: &Path, port: u16, more: Option<Sensor>) -> anyhow::Result<Vehicle> {
    let mut setup = setup(1, restless("a", 70).into_iter().chain(more).collect());
    setup.more += WARNINGS;
    let mut scenarios = Vec::new();
    for (bus, seed, shortest_s, count) in [("b", 8, 71, 27), ("c", 9, 72, 6)] {
        let mut scenario =
            format!("speed_x = 1\nseed = {seed}\ntruth_file = \"truth-{bus}.jsonl\"\n");
        setup.more += &format!("[[bus]]\nname = \"{bus}\"\npath = \"sim:{bus}.toml\"\n");
        for sensor in restless(bus, shortest_s).into_iter().take(count) {
            scenario += &format!("\n[[chip]]\n{}", sensor.chip);
            setup.more += &format!("\n[[bus.sensor]]\n{}", sensor.sensor);
        }
        scenarios.push((bus, scenario));
    }
    let vehicle = Vehicle::new(gateway(), place, port, &setup)?;
    for (bus, scenario) in scenarios {
        std::fs::write(place.join(format!("{bus}.toml")), scenario)?;
    }
    Ok(vehicle)
}

/// Thermometers that are read once a second.
fn calm() -> Vec<Sensor> {
    let one = |address: u8| thermometer(&format!("t{address}"), address, "", "");
    (72..76).map(one).collect()
}

fn route() -> Sensor {
    receiver("[chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\ncold_start_s = 1\n")
}

/// Alerts as a desk sees them: how old each is.
struct Desk {
    child: Child,
    ages_ms: Receiver<f64>,
}

impl Desk {
    fn start(port: u16) -> anyhow::Result<Self> {
        let port = port.to_string();
        let args = ["alerts", "--follow", "--json", "--port", &port];
        let mut child = central()
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, ages_ms) = sync_channel(100_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let alert: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                let is_limit = alert["kind"] == "limit_high" || alert["kind"] == "limit_low";
                if let (Some(at), true) = (alert["boottime_ms"].as_u64(), is_limit) {
                    sender.send(boottime_ms().saturating_sub(at) as f64).ok();
                }
            }
        });
        Ok(Self { child, ages_ms })
    }
}

impl Desk {
    /// Lets the first moments pass, with what they bring.
    fn settle(&self) -> anyhow::Result<()> {
        wait::pass(SETTLE, |_| Ok(()))?;
        while self.ages_ms.try_recv().is_ok() {}
        Ok(())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Alerts over an idle loopback link.
pub(super) fn idle(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut centre = Centre::embedded(central(), &folder.path().join("centre"))?;
    centre.start()?;
    let desk = Desk::start(centre.port())?;
    let place = folder.path().join(DEVICE);
    let mut vehicle = restless_vehicle(&place, centre.port(), None)?;
    vehicle.start()?;
    desk.settle()?;
    let mut ages = Vec::new();
    while ages.len() <= ALERTS_IDLE {
        ages.push(
            desk.ages_ms
                .recv_timeout(PATIENCE)
                .context("no alert comes")?,
        );
    }
    // The first one waits for the connection.
    ages.remove(0);
    report.insert("alert_latency_ms_p50".to_owned(), percentile(&mut ages, 50));
    report.insert("alert_latency_ms_p99".to_owned(), percentile(&mut ages, 99));
    Ok(())
}

/// Bytes on the wire at ten readings a second (four thermometers twice, another and a position once), acknowledgements
/// and MQTT included, connecting excluded.
pub(super) fn wire(report: &mut Report) -> anyhow::Result<()> {
    for (key, seal) in [
        ("wire_bytes_per_reading", ""),
        (
            "wire_bytes_per_reading_10s",
            "[seal]\nage_ms_max = 10000\ncount_max = 120\n",
        ),
    ] {
        let folder = tempfile::tempdir()?;
        let mut centre = Centre::embedded(central(), &folder.path().join("centre"))?;
        centre.start()?;
        let link = Link::to(centre.port())?;
        let mut sensors = calm();
        for sensor in &mut sensors {
            // The shortest period of a sensor.
            sensor.sensor = sensor.sensor.replace("period_ms = 1000", "period_ms = 500");
        }
        let mut fifth = thermometer("t24", 0x18, "", "");
        for text in [&mut fifth.chip, &mut fifth.sensor] {
            *text = text.replace("tmp117", "mcp9808");
        }
        sensors.extend([fifth, route()]);
        let mut setup = setup(1, sensors);
        setup.more = seal.to_owned();
        let mut vehicle =
            Vehicle::new(gateway(), &folder.path().join(DEVICE), link.port(), &setup)?;
        vehicle.start()?;
        let sql = "SELECT count(*) FROM readings WHERE lane = 'telemetry'";
        let rows = || Store::at(centre.place())?.number(sql);
        wait::until_true("the vehicle delivers", PATIENCE, || Ok(rows()? > 100))?;
        let before = (rows()?, link.bytes_up() + link.bytes_down());
        wait::until_true("600 readings", PATIENCE * 3, || {
            Ok(rows()? >= before.0 + 600)
        })?;
        let after = (rows()?, link.bytes_up() + link.bytes_down());
        let bytes = (after.1 - before.1) as f64 / (after.0 - before.0) as f64;
        report.insert(key.to_owned(), bytes);
    }
    Ok(())
}

/// A backlog made in haste with the link down, then drained over a slow link while alerts and positions come.
pub(super) fn backlog(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join(DEVICE);
    let made = outage(&place, report)?;
    let mut centre = Centre::embedded(central(), &folder.path().join("centre"))?;
    centre.start()?;
    let link = Bottleneck::to(centre.port(), super::SLOW)?;
    let desk = Desk::start(centre.port())?;
    let mut vehicle = restless_vehicle(&place, link.port(), Some(route()))?;
    vehicle.start()?;
    drain(&centre, &desk, made, report)?;
    vehicle.note_memory();
    let rss_mb = vehicle.vm_hwm_bytes() as f64 / 1e6;
    report.insert("rss_mb_drain".to_owned(), rss_mb);
    let most = report.entry("rss_mb_max".to_owned()).or_default();
    *most = most.max(rss_mb);
    Ok(())
}

/// Days without a link in simulated time; how many readings were taken.
fn outage(place: &Path, report: &mut Report) -> anyhow::Result<usize> {
    let wanted =
        std::env::var("FLEET_BENCH_READINGS").map_or(Ok(BACKLOG_DEFAULT), |text| text.parse())?;
    // Nobody listens there.
    let nowhere = tests::link::free_port()?;
    let mut vehicle = Vehicle::new(gateway(), place, nowhere, &setup(HASTE_X, calm()))?;
    vehicle.start()?;
    let truth = place.join("truth.jsonl");
    let begin = wait::now();
    let stages = [
        ("rss_mb_outage_1h", DAY_READINGS / 24),
        ("rss_mb_outage_24h", DAY_READINGS),
        ("rss_mb_max", wanted as u64),
    ];
    for (key, readings) in stages {
        wait::until_true("the backlog is made", PATIENCE * 15, || {
            vehicle.process()?.assert_running()?;
            // A line is some 60 bytes.
            Ok(std::fs::metadata(&truth).map_or(0, |file| file.len()) >= readings * 60)
        })?;
        vehicle.note_memory();
        report.insert(key.to_owned(), vehicle.vm_hwm_bytes() as f64 / 1e6);
    }
    vehicle.process()?.terminate(PATIENCE)?;
    let made = vehicle.truth()?.readings();
    report.insert("backlog_readings".to_owned(), made as f64);
    report.insert("backlog_made_s".to_owned(), begin.elapsed().as_secs_f64());
    std::fs::remove_file(&truth)?;
    Ok(made)
}

/// Listens until enough alerts have come; the backlog must outlast them.
fn drain(centre: &Centre, desk: &Desk, made: usize, report: &mut Report) -> anyhow::Result<()> {
    desk.settle()?;
    let (mut ages, mut live) = (Vec::new(), Vec::new());
    let begin = wait::now();
    let newest = "SELECT max(boottime_ms) FROM readings WHERE kind = 'position'";
    let stored = "SELECT coalesce(sum(count), 0) FROM batches";
    let mut rows = 0;
    while ages.len() < ALERTS {
        anyhow::ensure!(
            begin.elapsed() < PATIENCE * 8,
            "{} alerts came in time",
            ages.len()
        );
        if let Ok(age) = desk.ages_ms.recv_timeout(Duration::from_millis(500)) {
            ages.push(age);
        }
        let store = Store::at(centre.place())?;
        if let Ok(stamp) = store.number(newest) {
            live.push(boottime_ms().saturating_sub(stamp.unsigned_abs()) as f64);
        }
        rows = store.number(stored)?;
        anyhow::ensure!(
            rows < made as i64,
            "the backlog is drained before the alerts have come"
        );
    }
    let seconds = begin.elapsed().as_secs_f64();
    report.insert("alerts_behind_backlog".to_owned(), ages.len() as f64);
    for (key, percent) in [
        ("alert_latency_ms_p50_backlog", 50),
        ("alert_latency_ms_p99_backlog", 99),
    ] {
        report.insert(key.to_owned(), percentile(&mut ages, percent));
    }
    report.insert(
        "live_age_ms_p99_drain".to_owned(),
        percentile(&mut live, 99),
    );
    report.insert(
        "drain_readings_per_s_32kB".to_owned(),
        rows as f64 / seconds,
    );
    Ok(())
}
