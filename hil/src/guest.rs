//! What runs inside the emulated board: kernel modules, the gateway, and an init that obeys the console.
//!
//! Promises: the gateway's binary and configuration are those that were handed in; only the number of the
//! I2C bus is filled in, because the kernel gives it. Lines for the harness begin with [`MARK`]. Never: a
//! clean shutdown that was not asked for, so a power cut finds what a power cut finds.
//!
//! Commands on the console, one a line: `stop` (SIGTERM, then the exit code), `memory`, `status`.

use std::path::Path;

use anyhow::Context;

use crate::archive::Parts;
use crate::cpio::Archive;
use crate::modules::ModuleTree;

/// Begins each line of the console that is meant for the harness.
pub const MARK: &str = "HIL ";

/// Stands in the configuration where the kernel's name of the I2C bus belongs.
pub const BUS_PLACE: &str = "@I2C@";

/// Network, disk, USB and I2C of the `virt` board.
const VIRT_MODULES: [&str; 9] = [
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

/// The applets that init calls.
const APPLETS: [&str; 13] = [
    "sh", "mount", "mkdir", "insmod", "ip", "cat", "grep", "sed", "sleep", "cut", "kill", "sync",
    "test",
];

const INIT: &str = r#"#!/bin/sh
export PATH=/bin
mkdir -p /proc /sys /run /data /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
say() { echo "HIL $*"; }
say init at $(cut -d' ' -f1 /proc/uptime) s
for module in $(cat /modules/order); do
    insmod /modules/$module.ko || say cannot load $module
done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
mount -t ext4 /dev/vda /data || say cannot mount the disk
bus=
tries=0
while [ -z "$bus" ] && [ $tries -lt 200 ]; do
    for adapter in /sys/class/i2c-dev/i2c-*; do
        if grep -q i2c-tiny-usb $adapter/name 2>/dev/null; then bus=${adapter##*/}; fi
    done
    tries=$((tries + 1))
    [ -n "$bus" ] || sleep 0.05
done
[ -n "$bus" ] || say no i2c bus
sed "s|@I2C@|/dev/$bus|" /etc/gateway.toml > /run/gateway.toml
say start at $(cut -d' ' -f1 /proc/uptime) s on $bus
fleet-gateway run --config /run/gateway.toml > /dev/console 2>&1 &
gateway=$!
while read -r command; do
    case $command in
    memory) say memory $(grep VmHWM /proc/$gateway/status) ;;
    status) say status $(fleet-gateway status --config /run/gateway.toml --json 2>&1) ;;
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

/// The initramfs of the `virt` board.
///
/// # Errors
/// When a part cannot be read.
pub fn initramfs(parts: &Parts, gateway: &Path, configuration: &str) -> anyhow::Result<Vec<u8>> {
    let modules = ModuleTree::open(&parts.modules()?)?.load_order(&VIRT_MODULES)?;
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
    archive.file("bin/fleet-gateway", 0o755, &read(gateway)?);
    archive.file("etc/gateway.toml", 0o644, configuration.as_bytes());
    let mut order = String::new();
    for module in modules {
        order.push_str(&module.name);
        order.push('\n');
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
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
            "wait", "echo",
        ];
        for line in INIT.lines().skip(1).filter(|line| !line.contains("$*")) {
            let word = line
                .trim()
                .split([' ', '=', ';', '"', ')'])
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
                    "status",
                    "stop",
                ]
                .contains(&word);
            assert!(known, "init calls {word:?}");
        }
    }
}
