//! What runs inside the emulated board: kernel modules, the gateway, and an init that obeys the console.
//!
//! Promises: the gateway's binary and configuration are those that were handed in; only the number of the
//! I2C bus is filled in, because the kernel gives it. Lines for the harness begin with [`MARK`]. Never: a
//! clean shutdown that was not asked for, so a power cut finds what a power cut finds.
//!
//! Commands on the console, one a line: `stop` (SIGTERM, then the exit code), `memory`, `bound` (its cgroup),
//! `status`, `doctor`, `date`, `spent` (processor time of each thread, ns), `fill` (the disk) and `empty`.

use std::path::Path;

use anyhow::Context;

use crate::archive::Parts;
use crate::cpio::Archive;
use crate::machine::Machine;
use crate::modules::ModuleTree;

/// Begins each line of the console that is meant for the harness.
pub const MARK: &str = "HIL ";

/// Stands in the configuration where the kernel's name of the I2C bus belongs.
pub const BUS_PLACE: &str = "@I2C@";

/// What runs on a board.
#[derive(Debug)]
pub struct Load<'a> {
    /// The board.
    pub machine: Machine,
    /// The ARM binary under test.
    pub gateway: &'a Path,
    /// Its configuration.
    pub configuration: &'a str,
    /// Where its spool is.
    pub spool: Spool,
}

/// Where the guest keeps its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spool {
    /// On the disk, as on a vehicle.
    Disk,
    /// In the guest's memory: nothing survives a power cut, so a scenario that cuts the power must fail.
    Memory,
    /// On the disk, with every sync of the gateway answered and not done: such a scenario must fail, too.
    Unsynced,
}

impl Spool {
    /// For init.
    fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Unsynced => "unsynced",
        }
    }

    /// The folder in the guest.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Disk => "/data/spool",
            Self::Memory => "/run/spool",
            Self::Unsynced => "/spool/spool",
        }
    }
}

/// The applets that init calls.
const APPLETS: [&str; 19] = [
    "sh", "mount", "mkdir", "insmod", "ip", "cat", "grep", "sed", "sleep", "cut", "kill", "sync",
    "test", "dd", "df", "rm", "date", "tr", "tail",
];

/// Uses `disk` and `spool` (`disk`, `memory` or `unsynced`) of /etc/board. Whatever waits for hardware that
/// the gateway can do without waits beside it.
const INIT: &str = r#"#!/bin/sh
export PATH=/bin
mkdir -p /proc /sys /run /data /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
say() { echo "HIL $*"; }
. /etc/board
say init at $(cut -d' ' -f1 /proc/uptime) s
for module in $(cat /modules/order); do
    insmod /modules/$module.ko || say cannot load $module
done
mount -t cgroup2 none /sys/fs/cgroup || say cannot mount cgroups
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/gateway
echo 67108864 > /sys/fs/cgroup/gateway/memory.max || say cannot bound the memory
connect() {
    tries=0
    while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 600 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    ip link set lo up
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
    say network at $(cut -d' ' -f1 /proc/uptime) s
}
connect &
tries=0
while [ ! -e $disk ] && [ $tries -lt 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
mount -t ext4 $disk /data || say cannot mount the disk
if [ $spool = unsynced ]; then
    mkdir -p /run/below /data/upper /spool
    rm -rf /data/work
    mkdir -p /data/work
    mount -t overlay -o volatile,lowerdir=/run/below,upperdir=/data/upper,workdir=/data/work overlay /spool ||
        say cannot switch syncing off
fi
bus=
tries=0
while [ -z "$bus" ] && [ $tries -lt 600 ]; do
    for adapter in /sys/class/i2c-dev/i2c-*; do
        if grep -q i2c-tiny-usb $adapter/name 2>/dev/null; then bus=${adapter##*/}; fi
    done
    tries=$((tries + 1))
    [ -n "$bus" ] || sleep 0.05
done
[ -n "$bus" ] || say no i2c bus
sed "s|@I2C@|/dev/$bus|" /etc/gateway.toml > /run/gateway.toml
start() {
    say start at $(cut -d' ' -f1 /proc/uptime) s on $bus
    sh -c 'echo $$ > /sys/fs/cgroup/gateway/cgroup.procs; exec fleet-gateway run --config /run/gateway.toml' > /dev/console 2>&1 &
    gateway=$!
}
start
while read -r command; do
    case $command in
    memory) say memory $(grep VmHWM /proc/$gateway/status) ;;
    bound) say bound $(grep oom_kill /sys/fs/cgroup/gateway/memory.events) peak $(cat /sys/fs/cgroup/gateway/memory.peak) ;;
    status) say status $(fleet-gateway status --config /run/gateway.toml --json 2>&1) ;;
    doctor) say doctor $(fleet-gateway doctor --json --config /run/gateway.toml 2>&1) ;;
    spent) say spent $(cat /proc/$gateway/task/*/schedstat | cut -d' ' -f1) ;;
    date) say date $(date +%s) ;;
    fill)
        dd if=/dev/zero of=/data/filler bs=1048576 > /run/fill 2>&1
        dd if=/dev/zero of=/data/filler2 bs=512 > /run/fill 2>&1
        say filled $(df /data | tail -n 1)
        ;;
    empty)
        rm -f /data/filler /data/filler2
        say emptied $(df /data | tail -n 1)
        ;;
    stop)
        kill -TERM $gateway
        wait $gateway
        say stopped $?
        sync
        ;;
    esac
done
say console closed
sleep 3600
"#;

/// The initramfs of a board.
///
/// # Errors
/// When a part cannot be read.
pub fn initramfs(parts: &Parts, load: &Load<'_>) -> anyhow::Result<Vec<u8>> {
    let modules = ModuleTree::open(&parts.modules()?)?.load_order(load.machine.modules())?;
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "etc", "modules"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("init", 0o755, INIT.as_bytes());
    let busybox = parts.busybox()?;
    archive.file("bin/busybox", 0o755, &read(&busybox)?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.file("bin/fleet-gateway", 0o755, &read(load.gateway)?);
    archive.file("etc/gateway.toml", 0o644, load.configuration.as_bytes());
    let board = format!(
        "disk={}\nspool={}\n",
        load.machine.disk(),
        load.spool.word()
    );
    archive.file("etc/board", 0o644, board.as_bytes());
    let mut order = String::new();
    for module in modules {
        order.push_str(&module.name);
        order.push('\n');
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_fills_in_the_bus_and_marks_its_lines_as_the_harness_reads_them() {
        assert!(INIT.contains(&format!("sed \"s|{BUS_PLACE}|")));
        assert!(INIT.contains(&format!("say() {{ echo \"{MARK}$*\"; }}")));
    }

    #[test]
    fn every_program_that_init_calls_is_in_the_archive() {
        let shell = [
            "for", "do", "done", "if", "then", "fi", "while", "case", "esac", "export", "read",
            "wait", "echo", ".", "}",
        ];
        for line in INIT.lines().skip(1).filter(|line| !line.contains("$*")) {
            let word = line
                .trim()
                .split([' ', '=', ';', '"', ')', '('])
                .next()
                .unwrap_or_default();
            let known = word.is_empty()
                || shell.contains(&word)
                || APPLETS.contains(&word)
                || [
                    "say",
                    "fleet-gateway",
                    "[",
                    "tries",
                    "bus",
                    "gateway",
                    "memory",
                    "bound",
                    "status",
                    "spent",
                    "doctor",
                    "fill",
                    "empty",
                    "stop",
                    "connect",
                    "start",
                ]
                .contains(&word);
            assert!(known, "init calls {word:?}");
        }
    }
}
