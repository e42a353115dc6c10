//! The two emulated machines: a quick one, and the Raspberry Pi.
//!
//! Promises: whatever differs between them stands here. Never: a thermometer of the board on `virt`, which
//! has no I2C controller of its own.

use std::path::Path;
use std::process::Command;

use crate::archive::Parts;

/// An emulated machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// QEMU's own, with virtio: boots within seconds.
    Virt,
    /// A Raspberry Pi 3B: BCM2835 I2C controller with a TMP105, SD card, USB network.
    Pi3,
}

/// QEMU's name of the thermometer on the board's own I2C controller.
pub const BOARD_CHIP: &str = "/machine/peripheral/board0";
/// Its address.
pub const BOARD_ADDRESS: u8 = 0x48;

/// Network, disk, USB and I2C of the `virt` board.
const VIRT_MODULES: [&str; 10] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "crc32c_generic",
    "ext4",
    "xhci_pci",
    "xhci_hcd",
    "i2c_dev",
    "i2c_tiny_usb",
    "overlay",
];
/// The same of the Raspberry Pi. Without `phy_generic` the USB controller waits for a quarter of a minute.
const PI3_MODULES: [&str; 15] = [
    // Without its generator the kernel has no random numbers for seconds, and an epoch waits for them.
    "bcm2835_rng",
    "i2c_bcm2835",
    "i2c_dev",
    "bcm2835",
    "sdhci_iproc",
    "crc32c_generic",
    "ext4",
    "phy_generic",
    "dwc2",
    "cdc_ether",
    "rndis_host",
    "usbnet",
    "i2c_tiny_usb",
    "bcm2835_wdt",
    "overlay",
];

impl Machine {
    /// What the kernel needs.
    #[must_use]
    pub fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Virt => &VIRT_MODULES,
            Self::Pi3 => &PI3_MODULES,
        }
    }

    /// The disk, as the guest calls it.
    #[must_use]
    pub fn disk(self) -> &'static str {
        match self {
            Self::Virt => "/dev/vda",
            Self::Pi3 => "/dev/mmcblk0",
        }
    }

    /// The serial console, as the guest calls it.
    #[must_use]
    pub fn console(self) -> &'static str {
        match self {
            Self::Virt => "ttyAMA0",
            Self::Pi3 => "ttyS1,115200",
        }
    }

    /// What else the kernel is told. The firmware of a Raspberry Pi hands the kernel random bytes; the emulator
    /// has none, so the generator of the chip must count.
    #[must_use]
    pub fn append(self) -> &'static str {
        match self {
            Self::Virt => "",
            Self::Pi3 => "rng_core.default_quality=1000",
        }
    }

    /// Whether there is a thermometer on a controller of the board's own.
    #[must_use]
    pub fn has_board_chip(self) -> bool {
        self == Self::Pi3
    }

    /// Gives QEMU the machine: processor, memory, disk, network, USB, console.
    pub fn describe(self, command: &mut Command, parts: &Parts, disks: &[&Path], memory_mib: u32) {
        match self {
            Self::Virt => {
                command.args(["-M", "virt", "-cpu", "cortex-a72", "-m"]);
                command.arg(memory_mib.to_string());
                command.args(["-serial", "stdio"]);
                for (number, disk) in disks.iter().enumerate() {
                    command.arg("-drive").arg(format!(
                        "if=none,id=disk{number},file={},format=raw,cache=writeback",
                        disk.display()
                    ));
                    let device = format!("virtio-blk-pci,drive=disk{number}");
                    command.arg("-device").arg(device);
                }
                command.args(["-device", "virtio-net-pci,netdev=n0,romfile="]);
                command.args(["-device", "qemu-xhci"]);
            }
            Self::Pi3 => {
                // Its memory is soldered on. The console is the second serial port.
                command
                    .args(["-M", "raspi3b", "-dtb"])
                    .arg(parts.pi3_tree());
                command.args(["-serial", "null", "-serial", "stdio"]);
                for disk in disks {
                    command.arg("-drive").arg(format!(
                        "if=sd,file={},format=raw,cache=writeback",
                        disk.display()
                    ));
                }
                command.arg("-device").arg(format!(
                    "tmp105,bus=i2c-bus.1,address={BOARD_ADDRESS:#x},id=board0"
                ));
                command.args(["-device", "usb-net,netdev=n0"]);
            }
        }
    }
}
