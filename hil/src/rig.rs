//! The bench of a scenario: world, centre, board and disk, and what is measured of them.
//!
//! Promises: each check is made from outside the gateway. Never: a change to the ARM binary under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::archive::Parts;
use crate::board::{Board, Build};
use crate::centre::Centre;
use crate::clock::wait_for;
use crate::debian::make_image;
use crate::guest::{BUS_PLACE, Load, Spool, initramfs};
use crate::machine::{BOARD_ADDRESS, Machine};
use crate::oracle::{self, Life, Tally};
use crate::usbredir::Adapter;
use crate::world::{RECEIVER, THERMOMETER, World};

/// Wall time for a boot or a drain: seconds on a quiet machine, minutes on one that compiles.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The gateway's largest resident memory.
const RSS_MAX_KIB: u64 = 16 * 1024;
/// Long enough to see that nothing comes.
const VAIN: Duration = Duration::from_secs(20);
const DISK_BYTES: u64 = 64 * 1024 * 1024;
const GUEST_MEMORY_MIB: u32 = 192;
const SEED: u64 = 2027;

/// What a scenario is given.
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
    /// Where the spool is.
    pub spool: Spool,
    /// The board.
    pub machine: Machine,
    /// The machine does other work, so that times are told and not judged.
    pub is_busy: bool,
}

/// What a scenario may have otherwise than others.
#[derive(Debug, Clone)]
pub struct Setting {
    /// So long the receiver knows neither position nor UTC.
    pub cold_start_s: u32,
    /// Of the disk, a power of two.
    pub disk_bytes: u64,
    /// What is on the disk at the beginning.
    pub content: Option<PathBuf>,
    /// More keys of `[spool]`.
    pub spool_keys: String,
    /// More words for QEMU.
    pub extra: &'static [&'static str],
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            cold_start_s: 0,
            disk_bytes: DISK_BYTES,
            content: None,
            spool_keys: String::new(),
            extra: &[],
        }
    }
}

/// Everything of one scenario.
#[derive(Debug)]
pub struct Rig<'a> {
    bench: &'a Bench<'a>,
    /// The sensors.
    pub world: World,
    /// The central side.
    pub centre: Centre,
    initramfs: PathBuf,
    disk: PathBuf,
    extra: &'static [&'static str],
    /// What was measured, one sentence each.
    pub measured: Vec<String>,
    /// The same as numbers, by name with unit.
    pub values: BTreeMap<&'static str, u64>,
}

/// What a scenario hands back.
#[derive(Debug, Default)]
pub struct Measured {
    /// One sentence each.
    pub sentences: Vec<String>,
    /// By name with unit.
    pub values: BTreeMap<&'static str, u64>,
}

impl<'a> Rig<'a> {
    /// Starts the centre, begins the world and makes disk and initramfs.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn prepare(bench: &'a Bench<'a>) -> anyhow::Result<Self> {
        Self::prepare_with(bench, &Setting::default())
    }

    /// The same with a world or a configuration that is not the usual one.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn prepare_with(bench: &'a Bench<'a>, setting: &Setting) -> anyhow::Result<Self> {
        let centre = Centre::start(bench.central, bench.folder)?;
        let world = World::begin(bench.folder, SEED, setting.cold_start_s)?;
        let image = bench.folder.join("initramfs");
        let configuration = configuration(centre.port(), bench, &setting.spool_keys);
        let load = Load {
            machine: bench.machine,
            gateway: bench.gateway,
            configuration: &configuration,
            spool: bench.spool,
        };
        fs::write(&image, initramfs(bench.parts, &load)?)?;
        let disk = bench.folder.join("disk");
        make_image(&disk, setting.disk_bytes, setting.content.as_deref())?;
        Ok(Self {
            bench,
            world,
            centre,
            initramfs: image,
            disk,
            extra: setting.extra,
            measured: Vec::new(),
            values: BTreeMap::new(),
        })
    }

    /// Powers the board on and waits for the gateway's start; the guest's uptime then, ms.
    ///
    /// # Errors
    /// When the board does not come up.
    pub fn power_on(&self) -> anyhow::Result<(Board, u64)> {
        let build = Build {
            parts: self.bench.parts,
            machine: self.bench.machine,
            initramfs: &self.initramfs,
            disks: &[self.disk.as_path()],
            append: "",
            extra: self.extra,
            log: &self.bench.folder.join("console.log"),
            memory_mib: GUEST_MEMORY_MIB,
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

    /// Stops the gateway cleanly, then cuts the power.
    ///
    /// # Errors
    /// When it does not stop with code 0.
    pub fn stop(&self, mut board: Board) -> anyhow::Result<()> {
        let code = board.ask("stop", "stopped", PATIENCE)?;
        ensure!(code == "0", "the gateway stopped with code {code}");
        board.cut_power().map(drop)
    }

    /// The gateway's largest resident memory so far.
    ///
    /// # Errors
    /// When it is more than allowed.
    pub fn check_memory(&mut self, board: &mut Board) -> anyhow::Result<()> {
        let line = board.ask("memory", "memory", PATIENCE)?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("the guest's memory line is {line:?}"))?;
        self.note(format!("largest resident memory {kib} KiB"));
        let peak_kib = self.values.entry("vm_hwm_kib").or_insert(kib);
        *peak_kib = kib.max(*peak_kib);
        let bound = board.ask("bound", "bound oom_kill", PATIENCE)?;
        ensure!(
            bound.starts_with("0 "),
            "the guest's cgroup of 64 MB says oom_kill {bound}"
        );
        ensure!(
            kib < RSS_MAX_KIB,
            "the gateway uses {kib} KiB, less than {RSS_MAX_KIB} are allowed"
        );
        Ok(())
    }

    /// How long a drain may take. A spool in memory has nothing to drain, and waiting for it is vain.
    #[must_use]
    pub fn drain_max(&self) -> Duration {
        match self.bench.spool {
            Spool::Disk => PATIENCE,
            Spool::Memory | Spool::Unsynced => VAIN,
        }
    }

    /// Compares every life with the database, when the centre has committed the last of it.
    ///
    /// # Errors
    /// When a reading is missing, doubled or changed, or `verify` finds what it should not.
    pub fn judge(&mut self, lives: &[Life]) -> anyhow::Result<()> {
        let tally = wait_for("the last commit", self.drain_max(), || {
            self.centre.check_children()?;
            Ok(self.compare(lives).ok())
        })
        .or_else(|_| self.compare(lives))?;
        let report = self.centre.verify()?;
        for key in ["duplicates", "unexplained_gaps", "clashes", "quarantined"] {
            let count = report.get(key).and_then(Value::as_u64);
            ensure!(count == Some(0), "verify says {key}: {count:?}");
        }
        let Tally { stored, cut } = tally;
        self.note(format!(
            "{stored} readings handed out and stored once, {cut} not yet accepted at a cut"
        ));
        Ok(())
    }

    /// Compares every life with what the database holds at this moment.
    ///
    /// # Errors
    /// When they differ.
    pub fn compare(&self, lives: &[Life]) -> anyhow::Result<Tally> {
        oracle::compare(lives, self.centre.stored()?)
    }

    /// What was measured.
    #[must_use]
    pub fn into_measured(self) -> Measured {
        Measured {
            sentences: self.measured,
            values: self.values,
        }
    }

    /// Takes note of a time, and judges it where the machine does nothing else.
    ///
    /// # Errors
    /// When it is longer than allowed.
    pub fn judge_time(
        &mut self,
        name: &'static str,
        ms: u64,
        max_ms: u64,
        what: &str,
    ) -> anyhow::Result<()> {
        self.values.insert(name, ms);
        let is_well = ms <= max_ms;
        let busy = if is_well {
            ""
        } else {
            "; NOT judged, the machine does other work"
        };
        ensure!(
            is_well || self.bench.is_busy,
            "{what}: {ms} ms, {max_ms} are allowed"
        );
        self.note(format!("{what}: {ms} ms of {max_ms}{busy}"));
        Ok(())
    }

    /// Takes note of something that was measured.
    pub fn note(&mut self, sentence: String) {
        self.measured.push(sentence);
    }
}

fn configuration(port: u16, bench: &Bench<'_>, spool_keys: &str) -> String {
    let spool = bench.spool.folder();
    let mut text = format!(
        "[device]\nid = \"board-1\"\n\n[spool]\ndir = \"{spool}\"\n{spool_keys}\n[status]\n\
         socket = \"/run/status.sock\"\n\n[broker]\nhost = \"10.0.2.2\"\nport = {port}\n\
         backoff_ms_min = 100\nbackoff_ms_max = 1000\n\n[[bus]]\nname = \"usb\"\npath = \"{BUS_PLACE}\"\n\n\
         [[bus.sensor]]\nname = \"cargo\"\ndriver = \"tmp117\"\naddress = {THERMOMETER}\nrole = \"load\"\n\
         period_ms = 1000\nlimit_high_deg_c = 8.0\n\n[[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\n\
         address = {RECEIVER}\nrole = \"vehicle\"\n"
    );
    if bench.machine.has_board_chip() {
        text.push_str(&format!(
            "\n[[bus]]\nname = \"header\"\npath = \"/dev/i2c-1\"\n\n[[bus.sensor]]\nname = \"hold\"\n\
             driver = \"tmp105\"\naddress = {BOARD_ADDRESS}\nrole = \"load\"\nperiod_ms = 1000\n\
             limit_high_deg_c = 8.0\n"
        ));
    }
    text
}
