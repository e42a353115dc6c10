//! A u-blox receiver over DDC, which is u-blox for I2C.
//!
//! Promises: each poll takes what the receiver has buffered, in bounded pieces, and hands out one
//! event for each epoch. The receiver is asked for NAV-PVT at 1 Hz, and NMEA is switched off only
//! once NAV-PVT has been seen, so that no epoch is missed on the way; a receiver that knows no
//! NAV-PVT is used through NMEA. What the receiver says about itself comes every tenth epoch, where
//! it has the message. A receiver that went back to its defaults is configured again.
//! The work of a poll is bounded ([`ROUNDS_MAX`]), whatever the count registers claim.
//!
//! Never: a zero-length transfer, a message cut so that one byte is left over (a one-byte write
//! moves the register pointer instead), a read followed by another message in one transaction, a
//! delay, or trust in a count above the receiver's buffer.
//!
//! Poll at least once a second: after 1.5 s without a host the receiver stops the stream, and its
//! buffer holds 4096 bytes.
//!
//! ```text
//! 0xfd 0xfe   bytes available, big-endian
//! 0xff        the stream; 0xff is also the filler when it is empty
//! ```

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, ConfigError, SensorError};
use crate::gnss::GnssEvent;
use crate::gnss::health::ReceiverHealth;
use crate::gnss::stream::StreamCounts;
use crate::gnss::watch::PositionState;
use crate::transfer::{Blocking, finish};

mod logic;
mod port;
pub(crate) use logic::Logic;

/// Register of the available count.
pub const REG_AVAILABLE: u8 = 0xfd;
/// Register of the stream.
pub const REG_STREAM: u8 = 0xff;
/// What the receiver's output buffer holds; a larger count is false.
pub const BUFFER_LEN: usize = 4096;
/// The largest piece that may be read or written at once.
pub const CHUNK_LEN_MAX: usize = 256;
/// How often one poll asks for the available count.
pub const ROUNDS_MAX: usize = 4;
/// 2026-01-01: no earlier UTC is believed unless the caller says otherwise.
pub const NOT_BEFORE_UTC_MS: i64 = 1_767_225_600_000;

/// Settings of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UbloxConfig {
    /// Bytes per transaction, 8 to [`CHUNK_LEN_MAX`].
    pub chunk_len: usize,
    /// Report dead reckoning without satellites as a fix.
    pub accept_dead_reckoning: bool,
    /// UTC before this moment is not reported as time; give the build date.
    pub not_before_utc_ms: i64,
}

impl Default for UbloxConfig {
    fn default() -> Self {
        Self {
            chunk_len: 128,
            accept_dead_reckoning: false,
            not_before_utc_ms: NOT_BEFORE_UTC_MS,
        }
    }
}

/// What one poll moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainStats {
    /// Bytes read from the stream.
    pub bytes: u32,
    /// NMEA sentences with a good checksum.
    pub nmea: u32,
    /// UBX frames with a good checksum.
    pub ubx: u32,
    /// Fixes and missing fixes handed out.
    pub epochs: u32,
    /// Filler bytes between frames.
    pub filler_bytes: u32,
    /// Bytes that belong to no frame.
    pub junk_bytes: u32,
    /// Frames with a wrong checksum.
    pub bad_checksums: u32,
    /// Available counts that were false: above the buffer, or nothing but filler behind them.
    pub false_counts: u32,
    /// Configuration messages sent.
    pub configured: u32,
    /// The poll before was so long ago that the receiver had stopped the stream: epochs are lost.
    pub late: bool,
    /// The receiver's buffer was so full that messages may have been dropped.
    pub full: bool,
    /// The buffer was read until it was empty.
    pub emptied: bool,
}

/// How the receiver is used at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UbloxMode {
    /// Not yet known; NMEA is already reported.
    Configuring,
    /// NAV-PVT.
    Ubx,
    /// The receiver does not give NAV-PVT.
    Nmea,
}

impl UbloxConfig {
    /// Refuses a chunk length outside 8 to 256.
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if (8..=CHUNK_LEN_MAX).contains(&self.chunk_len) {
            return Ok(self);
        }
        Err(ConfigError {
            key: "chunk_len",
            value: i64::try_from(self.chunk_len).unwrap_or(i64::MAX),
            allowed: "8 to 256",
        })
    }
}

/// The driver. Owns its handle of the bus until [`Ublox::release`].
#[derive(Debug)]
pub struct Ublox<I> {
    i2c: I,
    logic: Logic,
}

impl<I> Ublox<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the receiver at `address` (0x42 unless moved). Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        let logic = Logic::new(address, UbloxConfig::default());
        Self { i2c, logic }
    }

    /// The same with settings.
    ///
    /// # Errors
    /// [`SensorError::Config`] for a chunk length outside 8 to 256.
    pub fn with_config(
        i2c: I,
        address: u8,
        config: UbloxConfig,
    ) -> Result<Self, SensorError<I::Error>> {
        let config = config.check().map_err(SensorError::Config)?;
        let logic = Logic::new(address, config);
        Ok(Self { i2c, logic })
    }

    /// Makes sure that somebody answers, forgets half a frame from before, and begins to
    /// configure; the following polls go on with it. To be called first, and again after any bus
    /// error.
    ///
    /// # Errors
    /// A bus failure.
    pub fn start(&mut self, now_ms: u64) -> Result<(), SensorError<I::Error>> {
        finish(self.logic.start(&mut Blocking(&mut self.i2c), now_ms))
    }

    /// Takes what the receiver has buffered and goes on with the configuration.
    ///
    /// # Errors
    /// A bus failure. Events handed out before it are good; the receiver is configured again at
    /// the next poll.
    pub fn poll(
        &mut self,
        now_ms: u64,
        sink: &mut dyn FnMut(GnssEvent),
    ) -> Result<DrainStats, SensorError<I::Error>> {
        finish(self.logic.poll(&mut Blocking(&mut self.i2c), now_ms, sink))
    }

    /// What went through since the driver was made.
    pub fn counts(&self) -> StreamCounts {
        self.logic.counts()
    }

    /// What the receiver says about its antenna, jamming, spoofing and leap seconds.
    pub fn health(&self) -> ReceiverHealth {
        self.logic.health()
    }

    /// A person has looked at the spoofing alarm, which stays until then.
    pub fn clear_spoofing(&mut self) {
        self.logic.clear_spoofing();
    }

    /// Whether there is a position, and why not.
    pub fn position(&self, now_ms: u64) -> PositionState {
        self.logic.position(now_ms)
    }

    /// How the receiver is used at the moment.
    pub fn mode(&self) -> UbloxMode {
        self.logic.mode()
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
