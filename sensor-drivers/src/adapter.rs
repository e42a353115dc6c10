//! What a Linux error number means, by the adapter that reported it.
//!
//! Promises: pure; one table, each row an adapter and a number; what an adapter's rows leave out
//! is read from the rows of every adapter, and a number in neither is kept as
//! [`BusClass::Other`]. Never: a number that the kernel's driver does not use for that.
//!
//! The same fault has another number on another board: an address that nobody acknowledges is
//! 121 on the adapters of a Raspberry Pi and 6 where the kernel or a USB stick moves the pins by
//! itself, and 5 is a stretched clock on one and a data byte without acknowledge on the other.

use crate::error::BusClass;

/// The kind of an adapter, as far as its error numbers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adapter {
    /// i2c-bcm2835: Raspberry Pi up to 4.
    Bcm2835,
    /// i2c-designware: Raspberry Pi 5 and many others.
    DesignWare,
    /// i2c-gpio: pins moved by the kernel, which is the way around clock stretching.
    BitBang,
    /// i2c-tiny-usb: a USB stick.
    TinyUsb,
    /// Another one.
    Other,
}

const ENXIO: i32 = 6;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const EOPNOTSUPP: i32 = 95;
const ETIMEDOUT: i32 = 110;
const EREMOTEIO: i32 = 121;

/// `None` stands for every adapter.
const CLASSES: [(Option<Adapter>, i32, BusClass); 14] = [
    (Some(Adapter::Bcm2835), EREMOTEIO, BusClass::NoAck),
    // The stretch time ran out, or the lengths differ.
    (Some(Adapter::Bcm2835), EIO, BusClass::StretchOrLength),
    (Some(Adapter::DesignWare), EREMOTEIO, BusClass::NoAck),
    (Some(Adapter::DesignWare), EAGAIN, BusClass::Arbitration),
    (Some(Adapter::BitBang), ENXIO, BusClass::NoAck),
    // A data byte was not acknowledged.
    (Some(Adapter::BitBang), EIO, BusClass::NoAck),
    (Some(Adapter::TinyUsb), ENXIO, BusClass::NoAck),
    (None, EREMOTEIO, BusClass::NoAck),
    (None, ENXIO, BusClass::NoAck),
    (None, EIO, BusClass::StretchOrLength),
    (None, ETIMEDOUT, BusClass::Timeout),
    (None, EAGAIN, BusClass::Arbitration),
    (None, EBUSY, BusClass::ClaimedByKernel),
    (None, EOPNOTSUPP, BusClass::Unsupported),
];

/// How the names in `/sys/class/i2c-dev/i2c-N/name` begin.
const NAMES: [(&str, Adapter); 6] = [
    ("bcm2835", Adapter::Bcm2835),
    ("bcm2708", Adapter::Bcm2835),
    ("Synopsys DesignWare", Adapter::DesignWare),
    ("i2c-gpio", Adapter::BitBang),
    ("i2c_gpio", Adapter::BitBang),
    ("i2c-tiny-usb", Adapter::TinyUsb),
];

impl Adapter {
    /// The adapter with the name that the kernel gives it, as in `/sys/class/i2c-dev/i2c-1/name`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let name = name.trim();
        NAMES
            .iter()
            .find(|(begins, _)| name.starts_with(begins))
            .map_or(Self::Other, |(_, adapter)| *adapter)
    }

    /// The class of an error number of this adapter.
    #[must_use]
    pub fn class(self, errno: i32) -> BusClass {
        let row = |whose: Option<Self>| {
            let fits = |row: &&(Option<Self>, i32, BusClass)| row.0 == whose && row.1 == errno;
            CLASSES.iter().find(fits).map(|(_, _, class)| *class)
        };
        row(Some(self))
            .or_else(|| row(None))
            .unwrap_or(BusClass::Other(errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_means_what_the_adapter_means_by_it() {
        use BusClass::{
            Arbitration, ClaimedByKernel, NoAck, StretchOrLength, Timeout, Unsupported,
        };
        for (adapter, expected) in [
            (Adapter::Bcm2835, [NoAck, NoAck, StretchOrLength]),
            (Adapter::DesignWare, [NoAck, NoAck, StretchOrLength]),
            (Adapter::BitBang, [NoAck, NoAck, NoAck]),
            (Adapter::TinyUsb, [NoAck, NoAck, StretchOrLength]),
            (Adapter::Other, [NoAck, NoAck, StretchOrLength]),
        ] {
            assert_eq!([121, 6, 5].map(|errno| adapter.class(errno)), expected);
            let common = [110, 11, 16, 95].map(|errno| adapter.class(errno));
            assert_eq!(
                common,
                [Timeout, Arbitration, ClaimedByKernel, Unsupported],
                "{adapter:?}"
            );
            assert_eq!(adapter.class(19), BusClass::Other(19));
        }
    }

    #[test]
    fn an_adapter_is_known_by_the_name_the_kernel_gives_it() {
        for (name, adapter) in [
            ("bcm2835 (i2c@7e804000)\n", Adapter::Bcm2835),
            ("Synopsys DesignWare I2C adapter", Adapter::DesignWare),
            ("i2c-gpio0", Adapter::BitBang),
            ("i2c-tiny-usb at bus 001 device 004", Adapter::TinyUsb),
            ("SMBus I801 adapter at efa0", Adapter::Other),
            ("", Adapter::Other),
        ] {
            assert_eq!(Adapter::from_name(name), adapter, "{name}");
        }
    }
}
