//! A centre and vehicles as real processes, each in its own folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::link::free_port;
use crate::process::{Process, Program};
use crate::store::{Place, Store};
use crate::truth::Truth;
use crate::wait;

/// How long a process may take to do what it was asked, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A centre: ingest with its broker and database.
#[derive(Debug)]
pub struct Centre {
    program: Program,
    folder: PathBuf,
    port: u16,
    place: Place,
    process: Option<Process>,
}

/// How a centre is set up: lines of its configuration.
#[derive(Debug, Clone, Default)]
pub struct CentreSetup {
    /// The `[broker]` section without its header; empty: an embedded broker on a free port.
    pub broker: String,
    /// A PostgreSQL database; without it a SQLite file in the centre's folder.
    pub url: Option<String>,
    /// Further lines of the `[database]` section.
    pub database: String,
    /// Further sections.
    pub more: String,
}

impl Centre {
    /// Writes the configuration of a centre with an embedded broker.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn embedded(program: Program, folder: &Path) -> anyhow::Result<Self> {
        Self::new(program, folder, free_port()?, &CentreSetup::default())
    }

    /// Writes the configuration of a centre beside a broker that runs already.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn external(program: Program, folder: &Path, port: u16) -> anyhow::Result<Self> {
        let setup = CentreSetup {
            broker: format!("mode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}\n"),
            ..CentreSetup::default()
        };
        Self::new(program, folder, port, &setup)
    }

    /// Writes the configuration of a centre whose broker is, or will be, at this port.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(
        program: Program,
        folder: &Path,
        port: u16,
        setup: &CentreSetup,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (place, database) = match &setup.url {
            Some(url) => (Place::Postgres(url.clone()), format!("url = \"{url}\"\n")),
            None => (
                Place::Sqlite(folder.join("fleet.sqlite")),
                "path = \"fleet.sqlite\"\n".to_owned(),
            ),
        };
        let broker = match setup.broker.as_str() {
            "" => format!("mode = \"embedded\"\nlisten = \"127.0.0.1:{port}\"\n"),
            lines => lines.to_owned(),
        };
        let config = format!(
            "[database]\n{database}{}\n[broker]\n{broker}\n{}",
            setup.database, setup.more
        );
        std::fs::write(folder.join("central.toml"), config)?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            port,
            place,
            process: None,
        })
    }

    /// Starts the process and waits until it has subscribed: what is published before that reaches nobody.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = self.log();
        let before = subscriptions(&log);
        let mut process = self.launch()?;
        wait::until_true("the centre has subscribed at its broker", PATIENCE, || {
            process.assert_running()?;
            Ok(subscriptions(&log) > before)
        })
        .map_err(|error| anyhow::anyhow!("{error:#}; its log ends:\n{}", process.log_tail()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts the process without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self) -> anyhow::Result<Process> {
        let config = self.folder.join("central.toml");
        let args = ["run".into(), "--config".into(), config.into_os_string()];
        self.program.start("centre", args, &self.log())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("central.log")
    }

    /// A command of `fleet-central` with these arguments.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        self.program.command(args.iter().copied())
    }

    /// The running process.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the centre was not started")
    }

    /// `kill -9`; fails when it was not running.
    ///
    /// # Errors
    /// When the kill did not land.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.process()?.kill_9()
    }

    /// The port of its broker.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its database file, were it one.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("fleet.sqlite")
    }

    /// Its database.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Makes another database its own, as after a restore to another server.
    pub fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// Its own folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until a vehicle is up, connected, and holds no backlog.
    ///
    /// # Errors
    /// When the spool does not drain in time.
    pub fn wait_for_drain(&self, vehicle: &Vehicle) -> anyhow::Result<()> {
        wait::until_true(
            &format!("the spool of {} drains", vehicle.device()),
            // A frame that got lost twice waits 90 s by default.
            PATIENCE * 3,
            || {
                let status = vehicle.status()?;
                status.map_or(Ok(false), |status| is_drained(&status))
            },
        )
    }

    /// Waits until the goodbye of a vehicle's clean stop is stored; everything else came before it.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn wait_for_goodbye(&self, device: &str) -> anyhow::Result<()> {
        let sql = "SELECT count(*) FROM devices WHERE device = ?1 AND link = 'closed'";
        wait::until_true(&format!("the goodbye of {device}"), PATIENCE, || {
            Ok(Store::at(&self.place)?.number_of(sql, device)? == 1)
        })
    }

    /// What `verify --json` prints, and whether it exited with 0.
    ///
    /// # Errors
    /// When it cannot be run or prints something else.
    pub fn verify(&self) -> anyhow::Result<(serde_json::Value, bool)> {
        let (option, database) = match &self.place {
            Place::Sqlite(path) => ("--db", path.clone().into_os_string()),
            Place::Postgres(url) => ("--url", url.into()),
        };
        let args = ["verify".into(), option.into(), database, "--json".into()];
        let output = self.program.command::<std::ffi::OsString>(args).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report = serde_json::from_str(&text).with_context(|| {
            format!(
                "verify printed {text:?} and {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        Ok((report, output.status.success()))
    }
}

/// How often a centre has told its log that it subscribed.
fn subscriptions(log: &Path) -> usize {
    std::fs::read_to_string(log)
        .unwrap_or_default()
        .matches("subscribed")
        .count()
}

/// Whether a vehicle speaks with its broker and owes nothing old. Right after a break nothing is old yet.
fn is_drained(status: &serde_json::Value) -> anyhow::Result<bool> {
    let is_connected = status
        .pointer("/link/main")
        .and_then(serde_json::Value::as_bool)
        .context("the status does not say whether the link is up")?;
    let oldest_ms = status
        .pointer("/deliver/oldest_unacked_ms")
        .and_then(serde_json::Value::as_u64)
        .context("the status does not say how old the oldest frame is")?;
    // A batch or two is always on its way; what is old is a backlog.
    Ok(is_connected && oldest_ms < 4000)
}

/// One chip of a vehicle, as lines of a scenario and of a configuration.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// The `[[chip]]` of the scenario, without its header.
    pub chip: String,
    /// The `[[bus.sensor]]` of the configuration, without its header.
    pub sensor: String,
}

impl Sensor {
    /// The same with another time between two readings.
    #[must_use]
    pub fn slower(mut self, period_ms: u32) -> Self {
        let period = format!("period_ms = {period_ms}");
        self.sensor = self.sensor.replace("period_ms = 1000", &period);
        self
    }
}

/// How a vehicle is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its name.
    pub device: String,
    /// Virtual seconds per second.
    pub speed_x: u32,
    /// Seed of its world.
    pub seed: u64,
    /// Its chips.
    pub sensors: Vec<Sensor>,
    /// Further lines of the configuration's `[broker]` section.
    pub broker: String,
    /// Further lines of the configuration's `[spool]` section.
    pub spool: String,
    /// Further sections of the configuration.
    pub more: String,
}

/// A temperature sensor with a seeded saw-tooth; `more_chip` and `more_sensor` are further lines. One that is called
/// after the air that it measures has that role, any other is at the load.
#[must_use]
pub fn thermometer(name: &str, address: u8, more_chip: &str, more_sensor: &str) -> Sensor {
    let role = match name {
        "supply" | "return" => name,
        _ => "load",
    };
    Sensor {
        chip: format!(
            "kind = \"tmp117\"\naddress = {address}\nbase_deg_c = 4.0\namplitude_deg_c = 1.5\n\
             period_s = 1500\nnoise_lsb_rms = 1.0\n{more_chip}"
        ),
        sensor: format!(
            "name = \"{name}\"\ndriver = \"tmp117\"\naddress = {address}\nrole = \"{role}\"\n\
             period_ms = 1000\n{more_sensor}"
        ),
    }
}

/// A u-blox receiver; `source` says what it receives.
#[must_use]
pub fn receiver(source: &str) -> Sensor {
    Sensor {
        chip: format!("kind = \"ublox\"\naddress = 66\n{source}"),
        sensor: "name = \"gnss\"\ndriver = \"ublox\"\naddress = 66\nrole = \"vehicle\"\n"
            .to_owned(),
    }
}

/// One vehicle.
#[derive(Debug)]
pub struct Vehicle {
    program: Program,
    folder: PathBuf,
    device: String,
    process: Option<Process>,
    vm_hwm_bytes: u64,
}

impl Vehicle {
    /// Writes scenario and configuration of a vehicle whose broker is at a port of this machine.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(program: Program, folder: &Path, port: u16, setup: &Setup) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut scenario = format!(
            "speed_x = {}\nseed = {}\ntruth_file = \"truth.jsonl\"\n",
            setup.speed_x, setup.seed
        );
        let backoff = match setup.broker.contains("backoff_ms_min") {
            true => "",
            false => "backoff_ms_min = 50\nbackoff_ms_max = 500\n",
        };
        let mut config = format!(
            "[device]\nid = \"{}\"\n\n[spool]\ndir = \"spool\"\n{}\n[status]\nsocket = \"status.sock\"\n\n\
             [broker]\nhost = \"127.0.0.1\"\nport = {port}\n{backoff}\
             {}\n{}\n[[bus]]\nname = \"i2c\"\npath = \"sim:scenario.toml\"\n",
            setup.device, setup.spool, setup.broker, setup.more
        );
        for sensor in &setup.sensors {
            write!(scenario, "\n[[chip]]\n{}", sensor.chip)?;
            write!(config, "\n[[bus.sensor]]\n{}", sensor.sensor)?;
        }
        std::fs::write(folder.join("scenario.toml"), scenario)?;
        std::fs::write(folder.join("gateway.toml"), config)?;
        let device = setup.device.clone();
        Ok(Self {
            program,
            folder: folder.to_owned(),
            device,
            process: None,
            vm_hwm_bytes: 0,
        })
    }

    /// Its name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Its own folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let args = [
            "run".into(),
            "--config".into(),
            self.config().into_os_string(),
        ];
        let log = self.folder.join("gateway.log");
        self.process = Some(self.program.start(&self.device, args, &log)?);
        Ok(())
    }

    /// The running process.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the vehicle was not started")
    }

    /// `kill -9`; fails when it was not running.
    ///
    /// # Errors
    /// When the kill did not land.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.note_memory();
        self.process()?.kill_9()
    }

    /// A clean stop, which must end with exit code 0.
    ///
    /// # Errors
    /// When it does not end in time or not with 0.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.note_memory();
        let status = self.process()?.terminate(PATIENCE)?;
        let log = self.process()?.log_tail();
        anyhow::ensure!(
            status.success(),
            "{} stopped with {status}; its log ends:\n{log}",
            self.device
        );
        Ok(())
    }

    /// Takes note of the largest resident memory.
    pub fn note_memory(&mut self) {
        if let Some(bytes) = self.process.as_ref().and_then(|p| p.vm_hwm_bytes().ok()) {
            self.vm_hwm_bytes = self.vm_hwm_bytes.max(bytes);
        }
    }

    /// The largest resident memory that was noted, bytes.
    #[must_use]
    pub fn vm_hwm_bytes(&self) -> u64 {
        self.vm_hwm_bytes
    }

    /// What its buses handed out so far.
    ///
    /// # Errors
    /// When the truth file is not there or damaged.
    pub fn truth(&self) -> anyhow::Result<Truth> {
        Truth::read(&self.folder.join("truth.jsonl"))
    }

    /// What `status --json` prints; `None` while it does not answer.
    ///
    /// # Errors
    /// When it prints something else.
    pub fn status(&self) -> anyhow::Result<Option<serde_json::Value>> {
        let args = [
            "status".into(),
            "--config".into(),
            self.config().into_os_string(),
            "--json".into(),
        ];
        let output = self.program.command::<std::ffi::OsString>(args).output()?;
        if !output.status.success() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&output.stdout)?))
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }
}
