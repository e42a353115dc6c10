//! A Debian of its own for the emulated board: systemd as init, packages installed as people install them.
//!
//! Promises: the image is Debian's, made by debootstrap from the machine's own mirror and configured inside
//! the emulator; it is made once and copied for each scenario; whatever is asked of the guest is a line for a
//! shell on its console and comes back with its exit code. Never: a program of the image run on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::archive::{Parts, machine_mirror, on_path};
use crate::board::{Board, Build};
use crate::cpio::Archive;
use crate::guest::read;
use crate::machine::Machine;
use crate::modules::ModuleTree;

/// What is on the image beside the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,kmod,iproute2,adduser,libpam-systemd";
const IMAGE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
const MEMORY_MIB: u32 = 512;
/// dpkg configures a hundred packages under emulation.
const STAGE_MAX: Duration = Duration::from_secs(3600);
/// A command in the guest.
const COMMAND_MAX: Duration = Duration::from_secs(300);
/// Debian's init on a busy machine.
const BOOT_MAX: Duration = Duration::from_secs(600);

const MODULES: [&str; 9] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "crc32c_generic",
    "ext4",
    "xhci_pci",
    "xhci_hcd",
    "i2c_dev",
    "i2c_tiny_usb",
];

const APPLETS: [&str; 5] = ["sh", "mount", "insmod", "cat", "switch_root"];

const INIT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
mount -t ext4 /dev/vda /root
next=/sbin/init
for word in $(cat /proc/cmdline); do
    case $word in stage=*) next=${word#stage=} ;; esac
done
mount --move /dev /root/dev
mount --move /proc /root/proc
mount --move /sys /root/sys
exec switch_root /root $next
";

/// Ends what debootstrap began: only an ARM machine can run the packages' own scripts.
const SECOND_STAGE: &str = "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
mount -t tmpfs run /run
cd /
if /debootstrap/debootstrap --second-stage; then echo HIL staged; else tail -n 20 /debootstrap/debootstrap.log; echo HIL cannot configure Debian; fi
systemctl enable hil-agent.service
rm -f /second-stage /var/cache/apt/archives/*.deb
sync
echo HIL synced
sleep 3600
";

const AGENT_UNIT: &str = "[Unit]
Description=Obeys the test bench
After=basic.target
[Service]
ExecStart=/bin/sh /usr/local/sbin/hil-agent
StandardInput=tty-force
StandardOutput=tty
StandardError=journal
TTYPath=/dev/ttyAMA0
[Install]
WantedBy=multi-user.target
";

const AGENT: &str = r#"export DEBIAN_FRONTEND=noninteractive HOME=/root
stty -echo 2>/dev/null
echo "HIL agent"
while read -r line; do
    text=$(sh -c "$line" 2>&1 </dev/null)
    code=$?
    echo "HIL answer $code $(printf %s "$text" | tr '\n' '|')"
done
"#;

/// What came of a look for the image.
#[derive(Debug)]
pub enum Image {
    /// It is there.
    Ready(PathBuf),
    /// It cannot be made on this machine, and why.
    Unavailable(String),
}

/// The image in `folder`; made when it is not there.
///
/// # Errors
/// When debootstrap or the second stage fails.
pub fn provide(parts: &Parts, folder: &Path) -> anyhow::Result<Image> {
    let image = folder.join("debian-arm64.ext4");
    if image.exists() {
        return Ok(Image::Ready(image));
    }
    if !on_path("debootstrap") {
        let reason = "debootstrap is not installed (Debian package debootstrap)";
        return Ok(Image::Unavailable(reason.to_owned()));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(Image::Unavailable(
            "debootstrap needs root to make the guest's files".to_owned(),
        ));
    }
    let work = folder.join("debian");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let root = work.join("root");
    first_stage(&root)?;
    prepare(&root)?;
    let draft = work.join("image");
    make_image(&draft, IMAGE_BYTES, Some(&root))?;
    let initramfs = work.join("initramfs");
    fs::write(&initramfs, self::initramfs(parts)?)?;
    second_stage(parts, &draft, &initramfs, &folder.join("debian.log"))?;
    fs::rename(&draft, &image)?;
    fs::remove_dir_all(&work)?;
    Ok(Image::Ready(image))
}

fn first_stage(root: &Path) -> anyhow::Result<()> {
    let (mirror, codename) = machine_mirror()?;
    let output = Command::new("debootstrap")
        .args(["--foreign", "--arch=arm64", "--variant=minbase"])
        .arg(format!("--include={PACKAGES}"))
        .arg(codename)
        .arg(root)
        .arg(mirror)
        .output()
        .context("start debootstrap")?;
    ensure!(
        output.status.success(),
        "debootstrap failed: {}",
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .last()
            .unwrap_or_default()
    );
    Ok(())
}

fn prepare(root: &Path) -> anyhow::Result<()> {
    let write = |path: &str, text: &str, mode: u32| -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(fs::set_permissions(
            &path,
            fs::Permissions::from_mode(mode),
        )?)
    };
    write("second-stage", SECOND_STAGE, 0o755)?;
    write("usr/local/sbin/hil-agent", AGENT, 0o755)?;
    write("etc/systemd/system/hil-agent.service", AGENT_UNIT, 0o644)?;
    write("etc/hostname", "board\n", 0o644)?;
    // The name of the host of the emulator, so that a name is looked up as on a vehicle.
    write(
        "etc/hosts",
        "127.0.0.1 localhost board\n10.0.2.2 broker.test\n",
        0o644,
    )?;
    Ok(())
}

fn second_stage(parts: &Parts, image: &Path, initramfs: &Path, log: &Path) -> anyhow::Result<()> {
    let mut board = Board::plain(&Build {
        parts,
        machine: Machine::Virt,
        initramfs,
        disks: &[image],
        append: "stage=/second-stage",
        extra: &[],
        log,
        memory_mib: MEMORY_MIB,
    })?;
    board.line("staged", STAGE_MAX)?;
    board.settle()
}

/// Modules, then Debian's own init.
///
/// # Errors
/// When a part cannot be read.
pub fn initramfs(parts: &Parts) -> anyhow::Result<Vec<u8>> {
    let modules = ModuleTree::open(&parts.modules()?)?.load_order(&MODULES)?;
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "proc", "sys", "root", "modules"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("init", 0o755, INIT.as_bytes());
    archive.file("bin/busybox", 0o755, &read(&parts.busybox()?)?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let mut order = String::new();
    for module in modules {
        order.push_str(&module.name);
        order.push('\n');
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

/// A file system of so many bytes with the files of a folder.
///
/// # Errors
/// When mkfs.ext4 fails.
pub fn make_image(image: &Path, bytes: u64, content: Option<&Path>) -> anyhow::Result<()> {
    fs::File::create(image)?.set_len(bytes)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-m", "0"]);
    if let Some(folder) = content {
        command.arg("-d").arg(folder);
    }
    let output = command
        .arg(image)
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

/// A running Debian.
#[derive(Debug)]
pub struct Debian(pub Board);

impl Debian {
    /// Waits until the shell on the console listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn boot(board: Board) -> anyhow::Result<Self> {
        let mut debian = Self(board);
        debian.0.line("agent", BOOT_MAX)?;
        Ok(debian)
    }

    /// What a line of shell prints; lines are joined by `|`.
    ///
    /// # Errors
    /// When it ends with another code than 0.
    pub fn run(&mut self, line: &str) -> anyhow::Result<String> {
        match self.code(line)? {
            (0, text) => Ok(text),
            (code, text) => bail!("in the guest, {line:?} ended with {code}: {text}"),
        }
    }

    /// The exit code of a line of shell, and what it prints.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn code(&mut self, line: &str) -> anyhow::Result<(i32, String)> {
        let answer = self.0.ask(line, "answer", COMMAND_MAX)?;
        let (code, text) = answer.split_once(' ').unwrap_or((&answer, ""));
        let code = code
            .parse()
            .with_context(|| format!("the guest's answer is {answer:?}"))?;
        Ok((code, text.to_owned()))
    }
}
