//! The central side on this machine: `fleet-central` with its embedded broker, and an alert subscription.
//!
//! Promises: the port is free when it is chosen and on loopback; both processes are ended by their own id.
//! Never: a write to the database.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::clock::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);
/// The index of the thermometer on the board's own controller; the chips of the adapter come before it.
const BOARD_SENSOR: u8 = 2;

/// A running centre.
#[derive(Debug)]
pub struct Centre {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Ended in this order when the scenario ends.
    children: Vec<Ended>,
}

/// A process that is ended with its owner.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

/// What one process start of the gateway left in the database, by sequence number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredEpoch {
    /// Its name.
    pub epoch: i64,
    /// Codes of the thermometer.
    pub temperatures: Vec<i64>,
    /// Latitude and longitude, 1e-7 degree.
    pub fixes: Vec<(i64, i64)>,
    /// Boot time of its first reading, ms.
    pub first_ms: u64,
}

/// How the readings of a database are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// Whose UTC comes from a receiver.
    pub by_receiver: i64,
    /// All others.
    pub otherwise: i64,
    /// The earliest, ms since 1970.
    pub first_utc_ms: Option<i64>,
    /// The latest.
    pub last_utc_ms: Option<i64>,
}

impl StoredEpoch {
    /// How many readings it holds.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.temperatures.len() + self.fixes.len()
    }
}

impl Centre {
    /// Starts the centre and an alert subscription at its broker.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let config = folder.join("central.toml");
        std::fs::write(
            &config,
            format!(
                "[database]\npath = \"{}\"\n\n[broker]\nmode = \"embedded\"\n\
                 listen = \"127.0.0.1:{port}\"\n",
                folder.join("fleet.sqlite").display()
            ),
        )?;
        let mut centre = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            port,
            children: Vec::new(),
        };
        centre.spawn("central", &["run"])?;
        wait_for("the centre's broker", PATIENCE, || {
            centre.check_children()?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        centre.spawn("alerts", &["alerts", "--follow", "--json"])?;
        Ok(centre)
    }

    fn spawn(&mut self, name: &str, words: &[&str]) -> anyhow::Result<()> {
        let child = Command::new(&self.program)
            .args(words)
            .arg("--config")
            .arg(self.folder.join("central.toml"))
            .stdin(Stdio::null())
            .stdout(File::create(self.folder.join(format!("{name}.out")))?)
            .stderr(File::create(self.folder.join(format!("{name}.log")))?)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.children.push(Ended(child));
        Ok(())
    }

    /// Fails when the centre or the subscription has ended by itself.
    ///
    /// # Errors
    /// When one has.
    pub fn check_children(&mut self) -> anyhow::Result<()> {
        for Ended(child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the centre or its subscription ended ({status}); see {}",
                    self.folder.display()
                );
            }
        }
        Ok(())
    }

    /// The broker's port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The alerts that the subscription has printed so far.
    ///
    /// # Errors
    /// When it printed something else.
    pub fn alerts(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.folder.join("alerts.out"))?;
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("an alert: {line}")))
            .collect()
    }

    /// What the database holds of each epoch, in the order in which they were born.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored(&self) -> anyhow::Result<Vec<StoredEpoch>> {
        let database = self.open()?;
        let mut epochs = database
            .prepare("SELECT epoch FROM epochs ORDER BY born_order, epoch")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        epochs.dedup();
        epochs
            .into_iter()
            .map(|epoch| stored_epoch(&database, epoch))
            .collect()
    }

    /// The names of the faults that a sensor has reported, in the order of their numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn faults(&self, sensor: u8) -> anyhow::Result<Vec<String>> {
        let database = self.open()?;
        let names = database
            .prepare("SELECT fault FROM readings WHERE kind = 'fault' AND sensor = ?1 ORDER BY epoch, seq")?
            .query_map([sensor], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(names)
    }

    /// The codes of the thermometer on the board's own controller, of each epoch in the order of their numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn board_temperatures(&self) -> anyhow::Result<Vec<i64>> {
        let database = self.open()?;
        let codes = database
            .prepare(
                "SELECT raw FROM readings WHERE sensor = ?1 AND kind = 'temperature' ORDER BY epoch, seq",
            )?
            .query_map([BOARD_SENSOR], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(codes)
    }

    /// The stamp of the earliest value of any sensor, ms of the guest's boot time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn first_stamp_ms(&self) -> anyhow::Result<Option<u64>> {
        let database = self.open()?;
        let first: Option<i64> = database.query_row(
            "SELECT min(boottime_ms) FROM readings WHERE kind IN ('temperature', 'position')",
            [],
            |row| row.get(0),
        )?;
        Ok(first.map(u64::try_from).transpose()?)
    }

    /// How many readings of vehicles have UTC from a receiver, and how many have another or none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dated(&self) -> anyhow::Result<Dated> {
        let database = self.open()?;
        let dated = database.query_row(
            "SELECT count(*) FILTER (WHERE utc_source = 'gnss'), count(*) FILTER (WHERE utc_source <> 'gnss'),
                    min(utc_ms), max(utc_ms) FROM readings WHERE lane = 'telemetry'",
            [],
            |row| {
                Ok(Dated {
                    by_receiver: row.get(0)?,
                    otherwise: row.get(1)?,
                    first_utc_ms: row.get(2)?,
                    last_utc_ms: row.get(3)?,
                })
            },
        )?;
        Ok(dated)
    }

    fn open(&self) -> anyhow::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = self.folder.join("fleet.sqlite");
        let database =
            Connection::open_with_flags(&file, flags).context("open the centre's database")?;
        database.busy_timeout(PATIENCE)?;
        Ok(database)
    }

    /// What `fleet-central verify --json` says, and fails unless it exits with 0.
    ///
    /// # Errors
    /// When it finds a duplicate or an unexplained gap.
    pub fn verify(&self) -> anyhow::Result<Value> {
        let output = Command::new(&self.program)
            .args(["verify", "--json", "--db"])
            .arg(self.folder.join("fleet.sqlite"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "verify failed: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).with_context(|| format!("verify printed {text:?}"))
    }
}

fn stored_epoch(database: &Connection, epoch: i64) -> anyhow::Result<StoredEpoch> {
    let mut stored = StoredEpoch {
        epoch,
        temperatures: Vec::new(),
        fixes: Vec::new(),
        first_ms: 0,
    };
    let mut rows = database.prepare(
        "SELECT kind, raw, lat, lon, boottime_ms FROM readings
         WHERE epoch = ?1 AND lane = 'telemetry' AND sensor < ?2 ORDER BY seq",
    )?;
    let mut rows = rows.query([epoch, i64::from(BOARD_SENSOR)])?;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_str()? {
            "temperature" => stored.temperatures.push(row.get(1)?),
            "position" => stored.fixes.push((row.get(2)?, row.get(3)?)),
            _ => continue,
        }
        if stored.first_ms == 0 {
            stored.first_ms = u64::try_from(row.get::<_, i64>(4)?)?;
        }
    }
    Ok(stored)
}
