//! A centre, a link and vehicles, as most tests need them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tests::broker::Broker;
use tests::database::Postgres;
use tests::fleet::{Centre, CentreSetup, PATIENCE, Sensor, Setup, Vehicle, receiver, thermometer};
use tests::link::{Link, free_port};
use tests::oracle::{self, Account};
use tests::process::Program;
use tests::store::Store;
use tests::wait;

use crate::needs::Peers;

/// Virtual seconds per second in most tests.
pub(crate) const SPEED_X: u32 = 20;
/// What a kill may cost, ms of real time.
const ACCEPT_MS: u64 = 5000;
/// A goodbye that does not come so soon was not sent.
pub(crate) const GOODBYE_PATIENCE: Duration = Duration::from_secs(15);
/// Clean stops until a vehicle must have said its goodbye.
const STOPS_MAX: usize = 4;
/// Vehicles that stop at once: each has seconds for its last words.
const STOP_TOGETHER: usize = 10;

/// `fleet-gateway` as this package builds it.
pub(crate) fn gateway() -> Program {
    Program::new(env!("CARGO_BIN_EXE_it-gateway"))
}

/// `fleet-central` as this package builds it.
pub(crate) fn central() -> Program {
    Program::new(env!("CARGO_BIN_EXE_it-central"))
}

/// A centre, a link to its broker, and vehicles behind the link.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) centre: Centre,
    /// The broker, unless it is the centre's own.
    pub(crate) broker: Option<Broker>,
    /// The database server, unless it is a file.
    pub(crate) database: Option<Postgres>,
    pub(crate) link: Link,
    pub(crate) vehicles: Vec<Vehicle>,
    /// Per vehicle: the stamps at which it was killed.
    pub(crate) kills_ms: Vec<Vec<u64>>,
    /// What a kill may cost, virtual ms.
    pub(crate) accept_ms: u64,
    /// Per device: what was durable in its spool right after a kill.
    pub(crate) accepted: BTreeMap<String, BTreeSet<(i64, u64)>>,
    /// Vehicles that went on with a copy of another one's card, stopped.
    pub(crate) copies: Vec<Vehicle>,
}

/// A vehicle with two thermometers and a receiver on a generated route.
pub(crate) fn setup(number: usize) -> Setup {
    Setup {
        device: format!("truck-{number:03}"),
        speed_x: SPEED_X,
        seed: number as u64,
        sensors: vec![
            thermometer("load", 0x48, "", ""),
            thermometer("return", 0x49, "", ""),
            receiver(
                "[chip.route]\nstart_lat_deg = 52.5\nstart_lon_deg = 13.4\ncold_start_s = 3\n",
            ),
        ],
        broker: "status_period_s = 2\n".to_owned(),
        spool: String::new(),
        more: String::new(),
    }
}

/// The sensor index of each address of [`setup`].
pub(crate) fn sensors() -> BTreeMap<u8, u8> {
    BTreeMap::from([(0, 0x48), (1, 0x49), (2, 0x42)])
}

/// A thermometer whose load runs away from a given virtual second on.
pub(crate) fn runaway(name: &str, address: u8, at_s: u32) -> Sensor {
    let event = format!(
        "[[chip.event]]\nkind = \"runaway\"\nat_s = {at_s}\nuntil_s = {}\nrate_deg_c_per_min = 5.0\n",
        at_s + 300
    );
    thermometer(
        name,
        address,
        &event,
        "limit_high_deg_c = 8.0\nseverity = \"critical\"\n",
    )
}

/// `FLEET_KEEP=1` leaves spools, truth, logs and a SQLite database for a person to look at.
fn folder() -> anyhow::Result<TempDir> {
    let keep = std::env::var_os("FLEET_KEEP").is_some();
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("fleet").disable_cleanup(keep).tempdir()?)
}

impl World {
    /// A centre with its own broker, and these vehicles, not started.
    pub(crate) fn new(setups: &[Setup]) -> anyhow::Result<Self> {
        let folder = folder()?;
        let centre = Centre::embedded(central(), &folder.path().join("centre"))?;
        Self::with_centre(folder, centre, setups)
    }

    /// A centre with its broker and database as these peers say, and these vehicles, not started; `broker` and
    /// `centre` are further lines of their configurations.
    pub(crate) fn over(
        peers: &Peers,
        setups: &[Setup],
        broker: &str,
        mut centre: CentreSetup,
    ) -> anyhow::Result<Self> {
        let folder = folder()?;
        let database = peers.postgres.as_deref().map(Postgres::start).transpose()?;
        let broker = match &peers.broker {
            Some((kind, program)) => {
                let place = folder.path().join("broker");
                Some(Broker::start(*kind, program, &place, broker)?)
            }
            None => None,
        };
        let port = match &broker {
            Some(broker) => {
                let port = broker.port();
                centre.broker =
                    format!("mode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}\n");
                port
            }
            None => free_port()?,
        };
        centre.url = database.as_ref().map(Postgres::url);
        let centre = Centre::new(central(), &folder.path().join("centre"), port, &centre)?;
        let mut world = Self::with_centre(folder, centre, setups)?;
        world.broker = broker;
        world.database = database;
        Ok(world)
    }

    /// This centre, started, and these vehicles, not started.
    pub(crate) fn with_centre(
        folder: TempDir,
        mut centre: Centre,
        setups: &[Setup],
    ) -> anyhow::Result<Self> {
        centre.start()?;
        let link = Link::to(centre.port())?;
        let vehicle = |setup: &Setup| {
            Vehicle::new(
                gateway(),
                &folder.path().join(&setup.device),
                link.port(),
                setup,
            )
        };
        let vehicles = setups
            .iter()
            .map(vehicle)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let kills_ms = vec![Vec::new(); vehicles.len()];
        Ok(Self {
            folder,
            centre,
            broker: None,
            database: None,
            link,
            vehicles,
            kills_ms,
            accept_ms: ACCEPT_MS * setups.first().map_or(1, |setup| u64::from(setup.speed_x)),
            accepted: BTreeMap::new(),
            copies: Vec::new(),
        })
    }

    /// Starts every vehicle.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.vehicles.iter_mut().try_for_each(Vehicle::start)
    }

    /// `kill -9` of a vehicle, after it has handed out `readings` more; keeps what was durable then.
    pub(crate) fn kill_vehicle(&mut self, number: usize, readings: usize) -> anyhow::Result<()> {
        let vehicle = self.vehicles.get_mut(number).context("no such vehicle")?;
        wait_for_truth(vehicle, readings)?;
        vehicle.kill_9()?;
        let last_ms = vehicle.truth()?.last_ms();
        let held = held_telemetry(&vehicle.folder().join("spool"))?;
        self.accepted
            .entry(vehicle.device().to_owned())
            .or_default()
            .extend(held);
        self.kills_ms
            .get_mut(number)
            .context("no such vehicle")?
            .push(last_ms);
        Ok(())
    }

    /// A reader of the database.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Store::at(self.centre.place())
    }

    /// Telemetry rows of a device.
    pub(crate) fn stored(&self, device: &str) -> anyhow::Result<i64> {
        let sql = "SELECT count(*) FROM readings WHERE device = ?1 AND lane = 'telemetry'";
        self.store()?.number_of(sql, device)
    }

    /// Waits until so many further telemetry rows of a device are stored.
    pub(crate) fn wait_for_rows(&self, device: &str, rows: i64) -> anyhow::Result<()> {
        let before = self.stored(device)?;
        wait::until_true(&format!("{rows} more rows of {device}"), PATIENCE, || {
            Ok(self.stored(device)? >= before + rows)
        })
    }

    /// The last telemetry number of a device that never restarted.
    pub(crate) fn last_seq(&self, device: &str) -> anyhow::Result<i64> {
        let sql = "SELECT max(seq) FROM readings WHERE device = ?1 AND lane = 'telemetry'";
        self.store()?.number_of(sql, device)
    }

    /// Waits until a restored database has so many telemetry rows up to a number again. Rows behind it come from a
    /// vehicle that has not heard of the restore, and one that is stopped then sends again at its next start only.
    pub(crate) fn wait_for_return(
        &self,
        device: &str,
        rows: i64,
        last_seq: i64,
    ) -> anyhow::Result<()> {
        let sql = format!(
            "SELECT count(*) FROM readings WHERE device = ?1 AND lane = 'telemetry' AND seq <= {last_seq}"
        );
        wait::until_true("what went back comes again", PATIENCE, || {
            Ok(self.store()?.number_of(&sql, device)? >= rows)
        })
    }

    /// Waits until so many further telemetry rows of the whole fleet are stored.
    pub(crate) fn wait_for_any_rows(&self, rows: i64) -> anyhow::Result<()> {
        let count = || self.store()?.number("SELECT count(*) FROM reading");
        let before = wait::until("the database answers", PATIENCE, || Ok(count().ok()))?;
        wait::until_true(&format!("{rows} more rows"), PATIENCE, || {
            Ok(count()? >= before + rows)
        })
    }

    /// Waits until the vehicles' buses have handed out so many more readings together.
    pub(crate) fn wait_for_some_truth(&self, readings: usize) -> anyhow::Result<()> {
        let sizes = || -> u64 {
            let files = self.vehicles.iter().map(|v| v.folder().join("truth.jsonl"));
            files
                .flat_map(std::fs::metadata)
                .map(|file| file.len())
                .sum()
        };
        let before = sizes();
        // A line of the truth is about this long.
        let bytes = readings as u64 * 60;
        wait::until_true(&format!("{readings} more readings"), PATIENCE, || {
            Ok(sizes() >= before + bytes)
        })
    }

    /// A clean stop of every vehicle, and a centre in which every number is accounted for.
    pub(crate) fn stop_and_verify(&mut self) -> anyhow::Result<serde_json::Value> {
        self.stop()?;
        self.verify()
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.vehicles.len()).collect();
        all.chunks(STOP_TOGETHER)
            .try_for_each(|some| self.part_with(some))
    }

    /// A clean stop of these vehicles, while the rest goes on. A stop has five seconds for its last words; where a
    /// busy machine took them, the next process says what is left.
    pub(crate) fn part_with(&mut self, numbers: &[usize]) -> anyhow::Result<()> {
        let mut left = numbers.to_vec();
        for attempt in 1.. {
            for number in &left {
                self.centre.wait_for_drain(&self.vehicles[*number])?;
            }
            for number in &left {
                self.vehicles[*number].process()?.ask_to_stop()?;
            }
            for number in &left {
                self.vehicles[*number].stop()?;
            }
            let mute = self.without_goodbye(&left)?;
            if mute.is_empty() {
                break;
            }
            anyhow::ensure!(
                attempt < STOPS_MAX,
                "no goodbye of {mute:?} (counted from 0) in {attempt} clean stops"
            );
            for number in &mute {
                self.vehicles[*number].start()?;
            }
            left = mute;
        }
        Ok(())
    }

    /// Those whose goodbye does not come.
    fn without_goodbye(&self, numbers: &[usize]) -> anyhow::Result<Vec<usize>> {
        let sql = "SELECT count(*) FROM devices WHERE device = ?1 AND link = 'closed'";
        let mut mute = numbers.to_vec();
        let waited = wait::until_true("the goodbyes", GOODBYE_PATIENCE, || {
            let store = self.store()?;
            let mut still = Vec::new();
            for number in &mute {
                if store.number_of(sql, self.vehicles[*number].device())? != 1 {
                    still.push(*number);
                }
            }
            mute = still;
            Ok(mute.is_empty())
        });
        // In vain is an answer, too; what else went wrong would go wrong again.
        waited.ok();
        Ok(mute)
    }

    /// Waits until `verify` finds nothing wrong.
    pub(crate) fn verify(&self) -> anyhow::Result<serde_json::Value> {
        wait::until("verify finds nothing wrong", PATIENCE, || {
            let (report, clean) = self.centre.verify()?;
            Ok(clean.then_some(report))
        })
        .or_else(|_| {
            let (report, _) = self.centre.verify()?;
            let devices = report["devices"].as_array().into_iter().flatten();
            let gaps: Vec<_> = devices
                .map(|device| (&device["device"], &device["gaps"]))
                .collect();
            let duplicates = &report["duplicates"];
            anyhow::bail!(
                "verify finds gaps {gaps:?}, duplicates {duplicates}; killed at {:?}",
                self.kills_ms
            )
        })
    }

    /// Judges every vehicle: exactly once, but for what a kill excuses; accepted means stored.
    pub(crate) fn judge(&self) -> anyhow::Result<Account> {
        let store = self.store()?;
        let mut whole = Account::default();
        for (vehicle, kills_ms) in self.vehicles.iter().zip(&self.kills_ms) {
            let device = vehicle.device();
            let rows = store.telemetry(device)?;
            let mut truth = vehicle.truth()?;
            for copy in self.copies.iter().filter(|copy| copy.device() == device) {
                let other = copy.truth()?;
                truth.temperatures.extend(other.temperatures);
                truth.epochs.extend(other.epochs);
            }
            let account = oracle::account(&truth, &rows, &sensors());
            anyhow::ensure!(account.handed_out > 0, "{device} handed out nothing");
            check_excuses(device, &account, kills_ms, self.accept_ms)?;
            let stored: BTreeSet<(i64, u64)> =
                rows.iter().map(|row| (row.epoch, row.seq)).collect();
            let accepted = self.accepted.get(device).cloned().unwrap_or_default();
            let lost: Vec<_> = accepted.difference(&stored).take(10).collect();
            anyhow::ensure!(
                lost.is_empty(),
                "{device}: durable at a kill and not stored: {lost:?}"
            );
            whole.add(account);
        }
        Ok(whole)
    }
}

/// Nothing twice, nothing invented, and nothing missing but what a kill excuses.
pub(crate) fn check_excuses(
    device: &str,
    account: &Account,
    kills_ms: &[u64],
    accept_ms: u64,
) -> anyhow::Result<()> {
    let some = |list: &[String]| list.iter().take(5).cloned().collect::<Vec<_>>();
    let (twice, invented) = (some(&account.twice), some(&account.invented));
    anyhow::ensure!(
        account.is_honest(),
        "{device}: twice {twice:?}, invented {invented:?}"
    );
    let unexcused = account.missing_without_excuse(kills_ms, accept_ms);
    let (count, first) = (
        unexcused.len(),
        unexcused.iter().take(8).collect::<Vec<_>>(),
    );
    anyhow::ensure!(
        count == 0,
        "{device}: {count} missing at {first:?} ..., killed at {kills_ms:?}"
    );
    Ok(())
}

/// Every alert of the centre's SQLite database, in the words of `fleet-central alerts`.
pub(crate) fn stored_alerts(world: &World) -> anyhow::Result<Vec<serde_json::Value>> {
    let database = world.centre.database();
    let database = database.to_str().context("a path in UTF-8")?;
    let args = ["alerts", "--db", database, "--json"];
    let output = world.centre.command(&args).output()?;
    anyhow::ensure!(
        output.status.success(),
        "alerts: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Waits until a vehicle's buses have handed out so many more readings.
pub(crate) fn wait_for_truth(vehicle: &mut Vehicle, readings: usize) -> anyhow::Result<()> {
    // A line may be half written at this moment.
    let count = |vehicle: &Vehicle| vehicle.truth().map_or(0, |truth| truth.readings());
    let before = count(vehicle);
    let what = format!("{} hands out {readings} more readings", vehicle.device());
    let waited = wait::until_true(&what, PATIENCE, || {
        vehicle.process()?.assert_running()?;
        Ok(count(vehicle) >= before + readings)
    });
    waited.with_context(|| {
        let truth = vehicle.truth().map(|truth| truth.readings());
        let status = vehicle.status();
        let log = vehicle.process().map(|process| process.log_tail());
        format!("had {before}, has {truth:?}; status {status:?}; log {log:?}")
    })
}

/// The telemetry numbers that a spool holds, as `spool inspect` tells them: (epoch, seq).
pub(crate) fn held_telemetry(spool: &Path) -> anyhow::Result<BTreeSet<(i64, u64)>> {
    let args = [
        "spool".into(),
        "inspect".into(),
        spool.as_os_str().to_owned(),
        "--json".into(),
    ];
    let output = gateway().command::<std::ffi::OsString>(args).output()?;
    anyhow::ensure!(
        output.status.success(),
        "spool inspect: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let segments = report["segments"].as_array().context("no segments")?;
    let mut held = BTreeSet::new();
    for segment in segments
        .iter()
        .filter(|segment| segment["lane"] == "telemetry")
    {
        for numbers in segment["numbers"].as_array().context("no numbers")? {
            let epoch = i64::from_str_radix(numbers[0].as_str().context("no epoch")?, 16)?;
            let end = |key: &str| numbers[1][key].as_u64().context("no range");
            held.extend((end("first_seq")?..=end("last_seq")?).map(|seq| (epoch, seq)));
        }
    }
    Ok(held)
}
