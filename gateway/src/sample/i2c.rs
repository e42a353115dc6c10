//! The bus under a driver: a character device of Linux, or a simulated one.
//!
//! Promises: each device has its own handle, because every change of address reopens the device file; a
//! device file that cannot be opened is a bus error like any other, tried again at the next transfer;
//! errors are classified by their number. Never: a decision taken from `embedded_hal::i2c::ErrorKind`,
//! in which an absent chip on a Raspberry Pi is `Other`.

use std::path::PathBuf;

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, Operation};
use linux_embedded_hal::I2cdev;
use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
use sensor_drivers::sim::{SimBus, SimBusError};
use sensor_drivers::{BusClass, ClassifyBus};

/// A handle of a bus.
#[derive(Debug)]
pub enum BusHandle {
    /// Of the kernel.
    Linux(LinuxBus),
    /// Of a simulated world.
    Sim(SimBus),
}

/// A device file, opened when it is needed.
pub struct LinuxBus {
    path: PathBuf,
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
    /// Of the kernel, with its number.
    Errno(i32),
    /// Of a simulated world.
    Sim(SimBusError),
}

/// EIO, for an error of the adapter's library that carries no number.
const ERRNO_UNKNOWN: i32 = 5;

impl LinuxBus {
    /// A handle that is not open.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn transfer(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), i32> {
        let device = match &mut self.open {
            Some(device) => device,
            closed => closed.insert(I2cdev::new(&self.path).map_err(|error| errno(&error))?),
        };
        I2c::<u8>::transaction(device, address, operations).map_err(|error| {
            let number = errno(error.inner());
            if BusClass::from_errno(number) != BusClass::NoAck {
                // A file of an adapter that was pulled out stays dead after it is plugged in again.
                self.open = None;
            }
            number
        })
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
            Self::Linux(bus) => bus
                .transfer(address, operations)
                .map_err(HandleError::Errno),
            Self::Sim(bus) => bus
                .transaction(address, operations)
                .map_err(HandleError::Sim),
        }
    }
}

impl ClassifyBus for HandleError {
    fn class(&self) -> BusClass {
        match self {
            Self::Errno(number) => BusClass::from_errno(*number),
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
        let mut bus = BusHandle::Linux(LinuxBus::new(folder.path().join("i2c-1")));
        for _ in 0..2 {
            let error = bus.write(0x48, &[0]).unwrap_err();
            assert!(matches!(error, HandleError::Errno(2)), "{error:?}");
            assert_eq!(error.class(), BusClass::Other(2));
        }
    }

    #[test]
    fn a_file_that_is_no_bus_is_an_error_with_its_number() {
        let mut bus = BusHandle::Linux(LinuxBus::new("/dev/null".into()));
        let error = bus.write(0x48, &[0]).unwrap_err();
        assert!(matches!(error, HandleError::Errno(25)), "{error:?}");
    }
}
