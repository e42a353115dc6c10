//! The story, step by step.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use tests::fleet::{Centre, CentreSetup, PATIENCE, Vehicle};
use tests::link::{Link, free_port};
use tests::oracle::{self, Account};
use tests::process::Program;
use tests::store::Store;
use tests::{wait, web};

use crate::fleet_of::{self, LIMIT_DEG_C, RUNAWAY_AT_S, SPEED_X};
use crate::report::Report;
use crate::subscriber::{Received, Subscriber};
use crate::{Args, CENTRAL, GATEWAY};

/// When the link is cut, after the start: before the runaway begins.
const CUT_AT: Duration = Duration::from_secs(12);
/// How long the outage lasts.
const OUTAGE: Duration = Duration::from_secs(12);
/// What each connection carries after the outage: a mobile link at the edge of coverage.
const LINK_BYTES_PER_S: u64 = 16 * 1024;
/// A reading may be this old, in real time, when a kill makes it lost.
const ACCEPT_MS: u64 = 5000 * SPEED_X as u64;

struct Story {
    begin: Instant,
    json: bool,
    link: Link,
    centre: Centre,
    page_port: u16,
    vehicles: Vec<Vehicle>,
    desk: Subscriber,
    alerts: Vec<Received>,
    report: Report,
    /// Per vehicle: the stamps at which it was killed.
    kills_ms: Vec<Vec<u64>>,
}

/// Tells the story and says whether exactly-once held.
pub(crate) fn tell(args: &Args) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let mut story = Story::begin(args, folder.path())?;
    story.drive()?;
    story.outage()?;
    story.reconnect()?;
    story.kill_gateway()?;
    story.kill_centre()?;
    story.end()?;
    let report = &story.report;
    if args.json {
        report.print_json()?;
    } else {
        report.print_table(std::io::stdout().lock())?;
    }
    let holds = report.holds();
    if args.hold {
        story.hold(folder.path())?;
    }
    Ok(holds)
}

fn program(word: &str) -> anyhow::Result<Program> {
    Ok(Program {
        executable: std::env::current_exe()?,
        prefix: vec![word.into()],
    })
}

impl Story {
    fn begin(args: &Args, folder: &Path) -> anyhow::Result<Self> {
        let page_port = free_port()?;
        let setup = CentreSetup {
            more: format!("[http]\nlisten = \"127.0.0.1:{page_port}\"\n"),
            ..CentreSetup::default()
        };
        let mut centre = Centre::new(
            program(CENTRAL)?,
            &folder.join("centre"),
            free_port()?,
            &setup,
        )?;
        centre.start()?;
        let link = Link::to(centre.port())?;
        let desk = Subscriber::start(&program(CENTRAL)?, centre.port())?;
        let gateway = program(GATEWAY)?;
        let vehicles = (0..args.vehicles)
            .map(|number| fleet_of::vehicle(&gateway, folder, link.port(), number))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let kills_ms = vec![Vec::new(); vehicles.len()];
        let report = Report {
            vehicles: vehicles.len(),
            ..Report::default()
        };
        let begin = wait::now();
        let alerts = Vec::new();
        let mut story = Self {
            begin,
            json: args.json,
            link,
            centre,
            page_port,
            vehicles,
            desk,
            alerts,
            report,
            kills_ms,
        };
        story.say(&format!("the page: {}", story.page()))?;
        story.say(
            "a centre with its broker and database, and vehicles with simulated I2C buses, start",
        )?;
        for vehicle in &mut story.vehicles {
            vehicle.start()?;
        }
        Ok(story)
    }

    fn drive(&mut self) -> anyhow::Result<()> {
        self.say("normal driving; an hour of the vehicles is a minute here")?;
        let first = self
            .vehicles
            .first()
            .context("no vehicle")?
            .device()
            .to_owned();
        wait::until_true("the first readings are stored", PATIENCE, || {
            Ok(self.stored_of(&first)? > 0)
        })?;
        self.pass_until(CUT_AT)
    }

    fn outage(&mut self) -> anyhow::Result<()> {
        self.link.cut();
        let minutes = OUTAGE.as_secs() * u64::from(SPEED_X) / 60;
        self.say(&format!(
            "the link is cut, for {minutes} minutes of the vehicles"
        ))?;
        let over_limit = (LIMIT_DEG_C * 128.0) as i16;
        let vehicle = self.vehicles.first().context("no vehicle")?;
        anyhow::ensure!(
            self.begin.elapsed() < Duration::from_secs(u64::from(RUNAWAY_AT_S / SPEED_X)),
            "the runaway began before the outage: this machine is too slow for the story"
        );
        let read_at = wait::until("the load runs warm", PATIENCE, || {
            let truth = vehicle.truth()?;
            let over = truth
                .temperatures
                .iter()
                .any(|t| t.address == 0x4a && t.raw > over_limit);
            Ok(over.then(wait::now))
        })?;
        let text = wait::until("the driver is told", PATIENCE, || local_alert(vehicle))?;
        self.report.alert_local_ms = millis(read_at.elapsed());
        self.say(&format!(
            "the driver is told after {} ms, without any uplink: {text}",
            self.report.alert_local_ms
        ))?;
        self.collect_alerts();
        let told = self.raised_at_desk().is_some();
        self.check(
            !told,
            "the fleet desk heard of the alert through a link that was cut",
        );
        self.pass_until(CUT_AT + OUTAGE)
    }

    fn reconnect(&mut self) -> anyhow::Result<()> {
        let backlog = self.handed_out()?.saturating_sub(self.stored()?);
        self.say(&format!(
            "the link is back, {LINK_BYTES_PER_S} bytes/s; backlog {backlog} readings"
        ))?;
        let target = self.handed_out()?;
        self.link.throttle(LINK_BYTES_PER_S);
        self.link.restore();
        let back = wait::now();
        let received = wait::until("the alert reaches the fleet desk", PATIENCE, || {
            self.collect_alerts();
            Ok(self.raised_at_desk())
        })?;
        self.report.alert_after_outage_ms = millis(received.saturating_duration_since(back));
        self.report.backlog_behind_alert = target.saturating_sub(self.stored()?);
        self.say(&format!(
            "the fleet desk has the alert after {} ms; {} readings of the outage still wait behind it",
            self.report.alert_after_outage_ms, self.report.backlog_behind_alert
        ))?;
        let ahead = self.report.backlog_behind_alert > 0;
        self.check(ahead, "the alert did not overtake the backlog");
        wait::until_true("the backlog is drained", PATIENCE, || {
            self.progress("draining")?;
            Ok(self.stored()? >= target)
        })?;
        self.report.drain_ms = millis(back.elapsed());
        self.link.throttle(0);
        self.say(&format!(
            "the backlog is drained after {} ms",
            self.report.drain_ms
        ))
    }

    fn kill_gateway(&mut self) -> anyhow::Result<()> {
        let number = 1;
        let vehicle = self.vehicles.get_mut(number).context("no second vehicle")?;
        let before = vehicle.truth()?.readings();
        wait::until_true("readings flow", PATIENCE, || {
            Ok(vehicle.truth()?.readings() > before)
        })?;
        vehicle.kill_9()?;
        let died_ms = vehicle.truth()?.last_ms();
        let device = vehicle.device().to_owned();
        self.kills_ms
            .get_mut(number)
            .context("no second vehicle")?
            .push(died_ms);
        self.report.kills += 1;
        self.say(&format!("kill -9 of the gateway of {device}, mid-stream"))?;
        self.pass_until(self.begin.elapsed() + Duration::from_secs(1))?;
        let stored = self.stored_of(&device)?;
        self.vehicles
            .get_mut(number)
            .context("no second vehicle")?
            .start()?;
        wait::until_true("its readings are stored again", PATIENCE, || {
            Ok(self.stored_of(&device)? > stored)
        })?;
        self.say("it is back, with another epoch, and goes on")
    }

    fn kill_centre(&mut self) -> anyhow::Result<()> {
        let before = self.stored()?;
        wait::until_true("readings flow", PATIENCE, || Ok(self.stored()? > before))?;
        self.centre.kill_9()?;
        self.report.kills += 1;
        self.say("kill -9 of the centre, broker and ingest, mid-stream")?;
        self.pass_until(self.begin.elapsed() + Duration::from_secs(2))?;
        let stored = self.stored()?;
        self.centre.start()?;
        wait::until_true("readings are stored again", PATIENCE, || {
            Ok(self.stored()? > stored)
        })?;
        self.say("the centre is back; what it had not committed is sent again")?;
        self.pass_until(self.begin.elapsed() + Duration::from_secs(5))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.say("a clean stop of every vehicle")?;
        self.collect_alerts();
        for vehicle in &mut self.vehicles {
            vehicle.note_memory();
            self.centre.wait_for_drain(vehicle)?;
            vehicle.process()?.ask_to_stop()?;
        }
        for vehicle in &mut self.vehicles {
            vehicle.stop()?;
            self.centre.wait_for_goodbye(vehicle.device())?;
        }
        let (verdict, clean) = wait::until("every number is accounted for", PATIENCE, || {
            let (verdict, clean) = self.centre.verify()?;
            Ok(clean.then_some((verdict, clean)))
        })
        .or_else(|_| self.centre.verify())?;
        self.account(&verdict, clean)
    }

    fn account(&mut self, verdict: &serde_json::Value, clean: bool) -> anyhow::Result<()> {
        let total = |key: &str| verdict.get(key).and_then(serde_json::Value::as_u64);
        self.report.issued = total("issued").context("verify: no issued")?;
        self.report.stored = total("stored").context("verify: no stored")?;
        self.report.duplicates = total("duplicates").context("verify: no duplicates")?;
        self.report.lost = total("lost").context("verify: no lost")?;
        self.report.unexplained_gaps = total("unexplained_gaps").context("verify: no gaps")?;
        self.check(
            clean,
            "`fleet-central verify` found a duplicate or an unexplained gap",
        );

        let store = Store::open(&self.centre.database())?;
        let sensors = fleet_of::sensors();
        let (mut whole, mut unexcused) = (Account::default(), Vec::new());
        let (mut json_bytes, mut rows) = (0, 0);
        for (vehicle, kills_ms) in self.vehicles.iter().zip(&self.kills_ms) {
            let telemetry = store.telemetry(vehicle.device())?;
            let account = oracle::account(&vehicle.truth()?, &telemetry, &sensors);
            let missing = account.missing_without_excuse(kills_ms, ACCEPT_MS);
            unexcused.extend(
                missing
                    .into_iter()
                    .map(|t_ms| format!("{} at {t_ms}", vehicle.device())),
            );
            whole.add(account);
            rows += telemetry.len();
            json_bytes += telemetry
                .iter()
                .map(|row| json_message_bytes(vehicle.device(), row))
                .sum::<usize>();
        }
        self.check(
            whole.is_honest(),
            "a reading is stored twice or was never handed out",
        );
        let some: Vec<&String> = unexcused.iter().take(8).collect();
        let what = format!(
            "{} readings are missing that no kill excuses: {some:?}; kills {:?}",
            unexcused.len(),
            self.kills_ms
        );
        self.check(unexcused.is_empty(), &what);
        self.check(self.report.alerts > 0, "no alert reached the fleet desk");
        let shown = self.shown()?;
        let all = shown == self.vehicles.len();
        self.check(all, &format!("the page shows {shown} vehicles"));
        let report = &mut self.report;
        report.handed_out = whole.handed_out as u64;
        report.handed_out_stored_once = whole.once as u64;
        report.not_accepted_before_kill = whole.missing_ms.len() as u64;
        report.invented = whole.invented.len() as u64;
        let wire = self.link.bytes_up() + self.link.bytes_down();
        report.wire_bytes_per_reading = round(wire as f64 / rows.max(1) as f64);
        report.json_bytes_per_reading = round(json_bytes as f64 / rows.max(1) as f64);
        let rss = self
            .vehicles
            .iter()
            .map(Vehicle::vm_hwm_bytes)
            .max()
            .unwrap_or(0);
        report.gateway_rss_mb = round(rss as f64 / 1e6);
        Ok(())
    }

    fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.page_port)
    }

    /// How many vehicles the page shows with a value.
    fn shown(&self) -> anyhow::Result<usize> {
        let list = web::get(self.page_port, "/api/v1/vehicles")?;
        let vehicles = list.get("vehicles").and_then(serde_json::Value::as_array);
        let has_values = |vehicle: &&serde_json::Value| {
            let values = vehicle.get("values").and_then(serde_json::Value::as_array);
            values.is_some_and(|values| !values.is_empty())
        };
        Ok(vehicles.into_iter().flatten().filter(has_values).count())
    }

    fn hold(&mut self, folder: &Path) -> anyhow::Result<()> {
        for vehicle in &mut self.vehicles {
            vehicle.start()?;
        }
        self.say(&format!(
            "the fleet keeps running in {} (broker on port {}); look at it: {}  Ctrl-C ends it",
            folder.display(),
            self.centre.port(),
            self.page()
        ))?;
        open_browser(&self.page());
        loop {
            self.pass_until(self.begin.elapsed() + Duration::from_secs(1))?;
            self.centre.process()?.assert_running()?;
        }
    }

    fn stored(&self) -> anyhow::Result<u64> {
        let sql = "SELECT count(*) FROM readings WHERE lane = 'telemetry' AND kind IN ('temperature', 'position')";
        Ok(Store::open(&self.centre.database())?
            .number(sql)?
            .unsigned_abs())
    }

    fn stored_of(&self, device: &str) -> anyhow::Result<u64> {
        let sql = "SELECT count(*) FROM readings WHERE device = ?1 AND lane = 'telemetry'";
        Ok(Store::open(&self.centre.database())?
            .number_of(sql, device)?
            .unsigned_abs())
    }

    fn handed_out(&self) -> anyhow::Result<u64> {
        self.vehicles
            .iter()
            .map(|vehicle| Ok(vehicle.truth()?.readings() as u64))
            .sum()
    }

    fn collect_alerts(&mut self) {
        self.alerts.extend(self.desk.take());
        self.report.alerts = self.alerts.len() as u64;
    }

    fn raised_at_desk(&self) -> Option<Instant> {
        let is_ours = |alert: &serde_json::Value| {
            alert.get("kind").is_some_and(|kind| kind == "limit_high")
                && alert.get("state").is_some_and(|state| state == "raised")
        };
        self.alerts
            .iter()
            .find(|received| is_ours(&received.alert))
            .map(|received| received.at)
    }

    fn check(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.report.broken.push(otherwise.to_owned());
        }
    }

    fn pass_until(&mut self, since_begin: Duration) -> anyhow::Result<()> {
        while self.begin.elapsed() < since_begin {
            self.collect_alerts();
            self.progress("driving")?;
            for vehicle in &mut self.vehicles {
                vehicle.note_memory();
            }
            let left = since_begin.saturating_sub(self.begin.elapsed());
            wait::pass(left.min(Duration::from_millis(500)), |_| Ok(()))?;
        }
        Ok(())
    }

    fn progress(&self, what: &str) -> anyhow::Result<()> {
        let mut err = std::io::stderr().lock();
        if err.is_terminal() {
            let (stored, out) = (self.stored()?, self.handed_out()?);
            write!(
                err,
                "\r  {:5.1} s  {what}: {out} readings taken, {stored} stored, {} on the way   ",
                self.begin.elapsed().as_secs_f64(),
                out.saturating_sub(stored)
            )?;
            err.flush()?;
        }
        Ok(())
    }

    fn say(&self, text: &str) -> anyhow::Result<()> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let lead = if std::io::stderr().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        if self.json {
            writeln!(std::io::stderr(), "{lead}[{seconds:5.1} s] {text}")?;
        } else {
            write!(std::io::stderr(), "{lead}")?;
            writeln!(std::io::stdout(), "[{seconds:5.1} s] {text}")?;
        }
        Ok(())
    }
}

/// Shows the page where there is a screen; a machine without one has the address.
fn open_browser(url: &str) {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if has_screen && std::io::stdout().is_terminal() {
        let quiet = std::process::Stdio::null;
        std::process::Command::new("xdg-open")
            .arg(url)
            .stdin(quiet())
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
            .ok();
    }
}

/// The text of the open critical alert, as the vehicle itself tells it.
fn local_alert(vehicle: &Vehicle) -> anyhow::Result<Option<String>> {
    let status = vehicle.status()?;
    let open = status
        .as_ref()
        .and_then(|status| status.get("alerts_open")?.as_array());
    let alert = open
        .into_iter()
        .flatten()
        .find(|alert| alert.get("kind").is_some_and(|kind| kind == "limit_high"));
    Ok(alert.and_then(|alert| Some(alert.get("text")?.as_str()?.to_owned())))
}

/// What one reading costs as one JSON message: topic, payload, MQTT header and PUBACK.
fn json_message_bytes(device: &str, row: &tests::store::Row) -> usize {
    const MQTT_HEADERS_AND_PUBACK_LEN: usize = 2 + 2 + 2 + 4;
    let topic_len = format!("fleet/v1/00/{device}/telemetry").len();
    let payload = serde_json::json!({
        "device": device,
        "sensor": row.sensor,
        "ts": row.utc_ms.unwrap_or_default(),
        "value": row.raw.map(|raw| raw as f64 / 128.0),
        "lat": row.lat.map(|lat| lat as f64 / 1e7),
        "lon": row.lon.map(|lon| lon as f64 / 1e7),
    });
    let without_nulls: serde_json::Map<String, serde_json::Value> = payload
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    MQTT_HEADERS_AND_PUBACK_LEN
        + topic_len
        + serde_json::Value::Object(without_nulls).to_string().len()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
