//! Tier 1: one minute on the `virt` board.
//!
//! Promises, each checked from outside the gateway: a temperature of 45 degC is an alert at the host's
//! broker; what was spooled during an outage and a power cut is delivered from the same disk; every reading
//! that the chips handed out is stored exactly once, but for the last seconds before the cut. Never: a
//! change to the ARM binary under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::archive::Parts;
use crate::board::{Board, Build};
use crate::centre::Centre;
use crate::clock::{Stopwatch, wait_for};
use crate::guest::{BUS_PLACE, initramfs};
use crate::oracle::Life;
use crate::usbredir::Adapter;
use crate::world::{RECEIVER, THERMOMETER, Truth, World};

/// Wall time for a boot or a drain on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The alert must be at the subscriber within this time.
const ALERT_MAX: Duration = Duration::from_secs(3);
/// How long the link is down before the power goes, in readings of the 1 Hz thermometer.
const OUTAGE_READINGS: usize = 10;
/// What is not yet durable when the power goes: readings of 5 s and one on the way, at 1 Hz.
const TAIL_MAX: usize = 6;
/// The gateway's largest resident memory.
const RSS_MAX_KIB: u64 = 16 * 1024;
/// From start to the first reading in the guest: the gateway's second, and the first conversion, for which
/// the simulated thermometer takes a whole cycle of one second.
const FIRST_READING_MAX_MS: u64 = 2000;
const DISK_BYTES: u64 = 64 * 1024 * 1024;
const SEED: u64 = 20_27;

/// What the scenario is given.
#[derive(Debug)]
pub struct Bench<'a> {
    /// Emulator, kernel and tools.
    pub parts: &'a Parts,
    /// The ARM binary under test.
    pub gateway: &'a Path,
    /// The host's `fleet-central`.
    pub central: &'a Path,
    /// An empty folder for everything that is written.
    pub folder: &'a Path,
}

/// Runs the scenario; what was measured, one sentence each.
///
/// # Errors
/// When a promise does not hold.
pub fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<String>> {
    let mut scenario = Scenario::prepare(bench)?;
    let (first, first_life) = scenario.first_life()?;
    let second = scenario.second_life(&first)?;
    scenario.judge(&[first_life, second])?;
    Ok(scenario.measured)
}

struct Scenario<'a> {
    bench: &'a Bench<'a>,
    world: World,
    centre: Centre,
    initramfs: PathBuf,
    disk: PathBuf,
    measured: Vec<String>,
}

impl<'a> Scenario<'a> {
    fn prepare(bench: &'a Bench<'a>) -> anyhow::Result<Self> {
        let centre = Centre::start(bench.central, bench.folder)?;
        let world = World::begin(bench.folder, SEED)?;
        let image = bench.folder.join("initramfs");
        fs::write(
            &image,
            initramfs(bench.parts, bench.gateway, &configuration(centre.port()))?,
        )?;
        let disk = bench.folder.join("disk");
        make_disk(&disk)?;
        Ok(Self {
            bench,
            world,
            centre,
            initramfs: image,
            disk,
            measured: Vec::new(),
        })
    }

    fn power_on(&self) -> anyhow::Result<(Board, u64)> {
        let build = Build {
            parts: self.bench.parts,
            initramfs: &self.initramfs,
            disk: &self.disk,
            log: &self.bench.folder.join("console.log"),
            memory_mib: 192,
        };
        let adapter = Adapter::new(self.world.bus());
        let mut board = Board::power_on(&build, adapter, self.world.since(), self.world.tick())?;
        let started = board.line("start at", PATIENCE)?;
        let uptime_s: f64 = started
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .context("the guest's uptime")?;
        // Never negative and below a day.
        Ok((board, (uptime_s * 1000.0) as u64))
    }

    /// Normal, hot, alert, link down, power cut.
    fn first_life(&mut self) -> anyhow::Result<(Truth, Life)> {
        let watch = Stopwatch::start();
        let (mut board, started_ms) = self.power_on()?;
        self.note(format!(
            "gateway started {} ms after power on",
            watch.elapsed_ms()
        ));
        let stored = wait_for("readings of both chips in the database", PATIENCE, || {
            self.centre.check_children()?;
            let stored = self.centre.stored()?;
            Ok(stored
                .into_iter()
                .find(|e| e.temperatures.len() >= 3 && e.fixes.len() >= 3))
        })?;
        let first_ms = stored.first_ms.saturating_sub(started_ms);
        self.note(format!(
            "first reading {first_ms} ms after the gateway's start, guest time"
        ));
        ensure!(
            first_ms <= FIRST_READING_MAX_MS,
            "the first reading took {first_ms} ms, {FIRST_READING_MAX_MS} are allowed"
        );

        self.alarm()?;

        board.qmp().set_link("n0", false)?;
        let before = self.world.truth()?.temperatures.len();
        wait_for("readings during the outage", PATIENCE, || {
            Ok((self.world.truth()?.temperatures.len() >= before + OUTAGE_READINGS).then_some(()))
        })?;
        self.check_memory(&mut board)?;
        let messages = board.cut_power()?;
        let truth = self.world.truth()?;
        self.note(format!(
            "power cut after {messages} I2C messages and {OUTAGE_READINGS} s without a link"
        ));
        let life = Life::between(&Truth::default(), &truth, TAIL_MAX);
        Ok((truth, life))
    }

    fn alarm(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.centre.alerts()?.is_empty(),
            "an alert before anything happened: {:?}",
            self.centre.alerts()?
        );
        self.world.heat();
        let watch = Stopwatch::start();
        let alert = wait_for("the alert at the subscriber", ALERT_MAX, || {
            Ok(self.centre.alerts()?.into_iter().find(is_hot))
        })?;
        self.note(format!(
            "alert at the subscriber {} ms after 45 degC: {}",
            watch.elapsed_ms(),
            alert.get("text").unwrap_or(&Value::Null)
        ));
        Ok(())
    }

    /// Same disk: the backlog is delivered, life goes on, and a clean stop accepts everything.
    fn second_life(&mut self, before: &Truth) -> anyhow::Result<Life> {
        let (mut board, _) = self.power_on()?;
        let watch = Stopwatch::start();
        wait_for(
            "readings behind the power cut in the database",
            PATIENCE,
            || {
                self.centre.check_children()?;
                Ok(self
                    .centre
                    .stored()?
                    .get(1)
                    .filter(|epoch| epoch.temperatures.len() >= 5)
                    .map(|_| ()))
            },
        )?;
        self.check_memory(&mut board)?;
        let code = board.ask("stop", "stopped", PATIENCE)?;
        ensure!(code == "0", "the gateway stopped with code {code}");
        board.cut_power()?;
        self.note(format!(
            "second life {} ms, stopped cleanly",
            watch.elapsed_ms()
        ));
        Ok(Life::between(before, &self.world.truth()?, 0))
    }

    fn judge(&mut self, lives: &[Life]) -> anyhow::Result<()> {
        // The stop has flushed everything to the broker; the centre may still be committing.
        wait_for("the last commit", PATIENCE, || {
            let stored = self.centre.stored()?;
            let last = lives.last().zip(stored.last());
            Ok(last
                .filter(|(life, epoch)| life.compare(epoch).is_ok())
                .map(|_| ()))
        })
        .or_else(|late| self.compare(lives).map(drop).and(Err(late)))?;
        let (stored, cut) = self.compare(lives)?;
        let report = self.centre.verify()?;
        for key in ["duplicates", "unexplained_gaps", "clashes", "quarantined"] {
            let count = report.get(key).and_then(Value::as_u64);
            ensure!(count == Some(0), "verify says {key}: {count:?}");
        }
        self.note(format!(
            "{stored} readings handed out and stored once, {cut} not yet accepted at the cut"
        ));
        Ok(())
    }

    fn compare(&self, lives: &[Life]) -> anyhow::Result<(usize, usize)> {
        let stored = self.centre.stored()?;
        ensure!(
            stored.len() == lives.len(),
            "{} epochs for {} lives",
            stored.len(),
            lives.len()
        );
        let (mut readings, mut cut) = (0, 0);
        for (number, (life, epoch)) in lives.iter().zip(&stored).enumerate() {
            cut += life
                .compare(epoch)
                .with_context(|| format!("life {number}"))?;
            readings += epoch.temperatures.len() + epoch.fixes.len();
        }
        Ok((readings, cut))
    }

    fn check_memory(&mut self, board: &mut Board) -> anyhow::Result<()> {
        let line = board.ask("memory", "memory", PATIENCE)?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("the guest's memory line is {line:?}"))?;
        self.note(format!("largest resident memory {kib} KiB"));
        ensure!(
            kib < RSS_MAX_KIB,
            "the gateway uses {kib} KiB, less than {RSS_MAX_KIB} are allowed"
        );
        Ok(())
    }

    fn note(&mut self, sentence: String) {
        self.measured.push(sentence);
    }
}

fn is_hot(alert: &Value) -> bool {
    let word = |key: &str| alert.get(key).and_then(Value::as_str);
    let value = alert.get("value").and_then(Value::as_f64);
    word("kind") == Some("limit_high")
        && word("state") == Some("raised")
        && value.is_some_and(|v| v > 44.0)
}

fn configuration(port: u16) -> String {
    format!(
        "[device]\nid = \"board-1\"\n\n[spool]\ndir = \"/data/spool\"\n\n[status]\n\
         socket = \"/run/status.sock\"\n\n[broker]\nhost = \"10.0.2.2\"\nport = {port}\n\
         backoff_ms_min = 100\nbackoff_ms_max = 1000\n\n[[bus]]\nname = \"usb\"\npath = \"{BUS_PLACE}\"\n\n\
         [[bus.sensor]]\nname = \"cargo\"\ndriver = \"tmp117\"\naddress = {THERMOMETER}\nrole = \"load\"\n\
         period_ms = 1000\nlimit_high_deg_c = 8.0\n\n[[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\n\
         address = {RECEIVER}\nrole = \"vehicle\"\n"
    )
}

fn make_disk(disk: &Path) -> anyhow::Result<()> {
    fs::File::create(disk)?.set_len(DISK_BYTES)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(disk)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .context("start mkfs.ext4")?;
    ensure!(
        output.status.success(),
        "mkfs.ext4 failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_raised_alert_of_the_hot_value_counts() {
        let alert = |kind: &str, state: &str, value: f64| json!({"kind": kind, "state": state, "value": value});
        assert!(is_hot(&alert("limit_high", "raised", 45.1)));
        assert!(!is_hot(&alert("limit_high", "raised", 9.0)));
        assert!(!is_hot(&alert("limit_high", "cleared", 45.0)));
        assert!(!is_hot(&alert("anomaly", "raised", 45.0)));
    }
}
