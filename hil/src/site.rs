//! Where packages are installed: a Debian with systemd on the quick board, sensors beside it, a centre on the host.
//!
//! Promises: the packages lie on a disk of their own under their own names, mounted at [`BENCH`]; the guest
//! reaches the host as `broker.test`. Never: a change to a package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::archive::Parts;
use crate::board::{Board, Build};
use crate::centre::Centre;
use crate::clock::Stopwatch;
use crate::debian::{Debian, initramfs, make_image};
use crate::machine::Machine;
use crate::usbredir::Adapter;
use crate::world::World;

/// Where the guest finds the packages.
pub const BENCH: &str = "/bench";
const MEMORY_MIB: u32 = 512;
const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// What a scenario is given.
#[derive(Debug)]
pub struct Packages<'a> {
    /// Emulator, kernel and tools.
    pub parts: &'a Parts,
    /// The image of Debian.
    pub image: &'a Path,
    /// The package, and the same one with a later version.
    pub debs: [&'a Path; 2],
    /// The gateway of this machine, to fill a spool with.
    pub gateway: &'a Path,
    /// The host's `fleet-central`.
    pub central: &'a Path,
    /// An empty folder for everything that is written.
    pub folder: &'a Path,
}

/// Where `cross/package.sh` leaves them: the first, and the one with a later version.
#[must_use]
pub fn debs(folder: &Path) -> [PathBuf; 2] {
    ["", "+r2"].map(|end| folder.join(format!("fleet-gateway_0.0.0{end}_arm64.deb")))
}

/// Everything of one scenario.
#[derive(Debug)]
pub struct Site {
    /// The sensors.
    pub world: World,
    /// The central side.
    pub centre: Centre,
    /// The guest.
    pub debian: Debian,
    /// From power on to a shell, s.
    pub boot_s: u64,
}

impl Site {
    /// Starts the centre, begins the world and boots Debian. `put` adds files to the disk of the packages,
    /// given the broker's port; `data` is what a third disk holds.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn open(
        given: &Packages<'_>,
        seed: u64,
        put: &dyn Fn(&Path, u16) -> anyhow::Result<()>,
        data: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = given.folder;
        let centre = Centre::start(given.central, folder)?;
        let world = World::begin(folder, seed, 0)?;
        let ramdisk = folder.join("initramfs");
        fs::write(&ramdisk, initramfs(given.parts)?)?;
        let system = copy_image(given.image, folder)?;
        let bench = folder.join("bench");
        fs::create_dir_all(&bench)?;
        for deb in given.debs {
            fs::copy(deb, bench.join(deb.file_name().context("a package")?))?;
        }
        put(&bench, centre.port())?;
        let mut disks = vec![system, folder.join("bench.ext4")];
        make_image(&folder.join("bench.ext4"), DISK_BYTES, Some(&bench))?;
        if let Some(data) = data {
            let image = folder.join("data.ext4");
            make_image(&image, DISK_BYTES, Some(data))?;
            disks.push(image);
        }
        let disks: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
        let build = Build {
            parts: given.parts,
            machine: Machine::Virt,
            initramfs: &ramdisk,
            disks: &disks,
            append: "systemd.show_status=false systemd.getty_auto=no",
            extra: &[],
            log: &folder.join("console.log"),
            memory_mib: MEMORY_MIB,
        };
        let watch = Stopwatch::start();
        let adapter = Adapter::new(world.bus());
        let board = Board::power_on(&build, adapter, world.since(), world.tick())?;
        let mut debian = Debian::boot(board)?;
        let boot_s = watch.elapsed().as_secs();
        debian.run(&format!(
            "mkdir -p {BENCH} && mount /dev/vdb {BENCH} && \
             for n in /sys/class/net/e*; do n=${{n##*/}}; ip addr replace 10.0.2.15/24 dev $n; ip link set $n up; done; \
             ip route replace default via 10.0.2.2"
        ))?;
        Ok(Self {
            world,
            centre,
            debian,
            boot_s,
        })
    }

    /// The kernel's name of the adapter's bus, such as `i2c-0`.
    ///
    /// # Errors
    /// When there is none.
    pub fn bus(&mut self) -> anyhow::Result<String> {
        let bus = self
            .debian
            .run("grep -l i2c-tiny-usb /sys/class/i2c-dev/*/name | head -n 1 | cut -d/ -f5")?;
        ensure!(bus.starts_with("i2c-"), "the adapter's bus is {bus:?}");
        Ok(bus)
    }
}

/// Sparse, so that a copy costs what it holds.
fn copy_image(image: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let system = folder.join("system");
    let copied = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([image, &system])
        .status()?;
    ensure!(copied.success(), "the image could not be copied");
    Ok(system)
}
