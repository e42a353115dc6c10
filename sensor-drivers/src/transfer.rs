//! The three transactions that drivers use, on a blocking bus or on one that waits.
//!
//! Promises: a driver's logic is written once, as futures over [`Transfer`]; on a blocking bus
//! every such future is finished at its first poll. A failure names the register. Never: a
//! transaction other than write, read and write-then-read, an empty one, or a decision.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};

/// A bus, for the logic of a driver.
pub(crate) trait Transfer {
    type Error: ClassifyBus;

    async fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Self::Error>;

    async fn read(&mut self, address: u8, into: &mut [u8]) -> Result<(), Self::Error>;

    async fn write_read(
        &mut self,
        address: u8,
        bytes: &[u8],
        into: &mut [u8],
    ) -> Result<(), Self::Error>;
}

/// A bus whose calls return when they are done.
#[derive(Debug)]
pub(crate) struct Blocking<'a, I>(pub(crate) &'a mut I);

impl<I> Transfer for Blocking<'_, I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    type Error = I::Error;

    async fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(address, bytes)
    }

    async fn read(&mut self, address: u8, into: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(address, into)
    }

    async fn write_read(
        &mut self,
        address: u8,
        bytes: &[u8],
        into: &mut [u8],
    ) -> Result<(), Self::Error> {
        self.0.write_read(address, bytes, into)
    }
}

/// A bus whose calls wait.
#[cfg(feature = "async")]
#[derive(Debug)]
pub(crate) struct Waiting<'a, I>(pub(crate) &'a mut I);

#[cfg(feature = "async")]
impl<I> Transfer for Waiting<'_, I>
where
    I: embedded_hal_async::i2c::I2c,
    I::Error: ClassifyBus,
{
    type Error = I::Error;

    async fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(address, bytes).await
    }

    async fn read(&mut self, address: u8, into: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(address, into).await
    }

    async fn write_read(
        &mut self,
        address: u8,
        bytes: &[u8],
        into: &mut [u8],
    ) -> Result<(), Self::Error> {
        self.0.write_read(address, bytes, into).await
    }
}

/// The output of a future over [`Blocking`], which never waits: the first poll finishes it.
pub(crate) fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// One part on a bus: access to its registers.
pub(crate) struct Registers<'a, B> {
    pub(crate) bus: &'a mut B,
    pub(crate) address: u8,
}

impl<B: Transfer> Registers<'_, B> {
    /// Reads a big-endian word.
    pub(crate) async fn word(&mut self, register: u8) -> Result<u16, SensorError<B::Error>> {
        self.bytes(register).await.map(u16::from_be_bytes)
    }

    /// Reads a big-endian word that tells which part it is.
    pub(crate) async fn expect(
        &mut self,
        register: u8,
        mask: u16,
        expected: u16,
    ) -> Result<u16, SensorError<B::Error>> {
        let found = self.word(register).await?;
        if found & mask != expected {
            return Err(SensorError::WrongDevice { found });
        }
        Ok(found)
    }

    /// Reads `N` bytes from `register` on.
    pub(crate) async fn bytes<const N: usize>(
        &mut self,
        register: u8,
    ) -> Result<[u8; N], SensorError<B::Error>> {
        let mut bytes = [0; N];
        self.bus
            .write_read(self.address, &[register], &mut bytes)
            .await
            .map_err(|source| SensorError::bus(register, source))?;
        Ok(bytes)
    }

    /// Writes a big-endian word.
    pub(crate) async fn set_word(
        &mut self,
        register: u8,
        word: u16,
    ) -> Result<(), SensorError<B::Error>> {
        let [high, low] = word.to_be_bytes();
        self.write(register, &[register, high, low]).await
    }

    /// Writes one byte.
    pub(crate) async fn set_byte(
        &mut self,
        register: u8,
        byte: u8,
    ) -> Result<(), SensorError<B::Error>> {
        self.write(register, &[register, byte]).await
    }

    async fn write(&mut self, register: u8, bytes: &[u8]) -> Result<(), SensorError<B::Error>> {
        self.bus
            .write(self.address, bytes)
            .await
            .map_err(|source| SensorError::bus(register, source))
    }
}
