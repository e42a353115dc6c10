//! The bus under a driver: a character device of Linux, or a simulated one.
//!
//! Promises: each device has its own handle, because every change of address reopens the device file; a
//! device file that cannot be opened is a bus error like any other, tried again at the next transfer;
//! errors are classified by their number. Never: a decision taken from `embedded_hal::i2c::ErrorKind`,
//! in which an absent chip on a Raspberry Pi is `Other`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, Operation};
use linux_embedded_hal::I2cdev;
use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
use sensor_drivers::adapter::Adapter;
use sensor_drivers::sim::{SimBus, SimBusError};
use sensor_drivers::{BusClass, ClassifyBus};

/// A handle of a bus.
#[derive(Debug)]
pub enum BusHandle {
    /// Of the kernel.
    Linux(LinuxBus),
    /// Of a simulated world.
    Sim(SimBus, HangTime),
}

/// How long a transfer of a simulated bus that hangs keeps its caller: the kernel's second, in real time.
pub type HangTime = Duration;

/// A device file, opened when it is needed.
pub struct LinuxBus {
    path: PathBuf,
    /// Where the kernel says what the adapter is.
    name_file: Option<PathBuf>,
    adapter: Adapter,
    open: Option<I2cdev>,
}

impl std::fmt::Debug for LinuxBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinuxBus")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A failed transfer.
#[derive(Debug)]
pub enum HandleError {
    /// Of the kernel, with its number and what that means on this adapter.
    Errno(i32, BusClass),
    /// Of a simulated world.
    Sim(SimBusError),
}

/// EIO, for an error of the adapter's library that carries no number.
const ERRNO_UNKNOWN: i32 = 5;

impl LinuxBus {
    /// A handle that is not open.
    #[must_use]
    pub fn new(path: PathBuf, sysfs: &Path) -> Self {
        let name_file = path
            .file_name()
            .map(|bus| sysfs.join("class/i2c-dev").join(bus).join("name"));
        Self {
            path,
            name_file,
            adapter: Adapter::Other,
            open: None,
        }
    }

    /// What the kernel says the adapter is, asked whenever the file is opened.
    fn recognise(&mut self) {
        let name = self
            .name_file
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok());
        self.adapter = Adapter::from_name(&name.unwrap_or_default());
    }

    fn transfer(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), HandleError> {
        if self.open.is_none() {
            self.recognise();
        }
        let adapter = self.adapter;
        let failed = |error: &LinuxI2CError| {
            let number = errno(error);
            HandleError::Errno(number, adapter.class(number))
        };
        let device = match &mut self.open {
            Some(device) => device,
            closed => closed.insert(I2cdev::new(&self.path).map_err(|error| failed(&error))?),
        };
        let result = I2c::<u8>::transaction(device, address, operations)
            .map_err(|error| failed(error.inner()));
        if let Err(HandleError::Errno(_, class)) = result
            && class != BusClass::NoAck
        {
            // A file of an adapter that was pulled out stays dead after it is plugged in again.
            self.open = None;
        }
        result
    }
}

fn errno(error: &LinuxI2CError) -> i32 {
    match error {
        LinuxI2CError::Errno(number) => *number,
        LinuxI2CError::Io(error) => error.raw_os_error().unwrap_or(ERRNO_UNKNOWN),
    }
}

impl ErrorType for BusHandle {
    type Error = HandleError;
}

impl I2c for BusHandle {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), HandleError> {
        match self {
            Self::Linux(bus) => bus.transfer(address, operations),
            Self::Sim(bus, hang) => {
                let result = bus.transaction(address, operations);
                if matches!(&result, Err(error) if error.class() == BusClass::Timeout) {
                    // Nobody can end it, as nobody can end a transfer in the kernel.
                    crossbeam_channel::after(*hang).recv().ok();
                }
                result.map_err(HandleError::Sim)
            }
        }
    }
}

impl ClassifyBus for HandleError {
    fn class(&self) -> BusClass {
        match self {
            Self::Errno(_, class) => *class,
            Self::Sim(error) => error.class(),
        }
    }
}

impl Error for HandleError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_file_that_is_not_there_is_an_error_with_its_number_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut bus = BusHandle::Linux(LinuxBus::new(folder.path().join("i2c-1"), folder.path()));
        for _ in 0..2 {
            let error = bus.write(0x48, &[0]).unwrap_err();
            assert!(matches!(error, HandleError::Errno(2, _)), "{error:?}");
            assert_eq!(error.class(), BusClass::Other(2));
        }
    }

    #[test]
    fn the_kernel_says_what_the_adapter_is() {
        let sysfs = tempfile::tempdir().unwrap();
        let folder = sysfs.path().join("class/i2c-dev/i2c-7");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, adapter) in [
            ("bcm2835 (i2c@7e804000)\n", Adapter::Bcm2835),
            ("i2c-tiny-usb at bus 001 device 004\n", Adapter::TinyUsb),
            ("something\n", Adapter::Other),
        ] {
            std::fs::write(folder.join("name"), name).unwrap();
            let mut bus = LinuxBus::new("/dev/i2c-7".into(), sysfs.path());
            bus.recognise();
            assert_eq!(bus.adapter, adapter, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_bus_is_an_error_with_its_number() {
        let mut bus = BusHandle::Linux(LinuxBus::new("/dev/null".into(), Path::new("/sys")));
        let error = bus.write(0x48, &[0]).unwrap_err();
        assert!(matches!(error, HandleError::Errno(25, _)), "{error:?}");
    }
}
