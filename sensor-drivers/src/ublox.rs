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
use crate::gnss::epoch::EpochRules;
use crate::gnss::feed::GnssFeed;
use crate::gnss::health::ReceiverHealth;
use crate::gnss::stream::StreamCounts;
use crate::gnss::watch::{PositionState, PositionWatch};
use crate::gnss::{Arrival, GnssEvent};
use crate::transfer::{Blocking, Transfer, finish};
use crate::ubx::Message;

mod port;
use port::{Action, Port};

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
/// From the epoch to its message in the buffer, as receivers take for the computation.
const SOLUTION_LATENCY_MS: u32 = 200;
/// Without a host for so long the receiver stops the stream.
const HOST_SILENT_MS: u64 = 1500;
/// With less room than this the receiver may have dropped messages: the longest burst of one epoch
/// in NAV-PVT with all that the receiver says about itself.
const ROOM_LEN_MIN: usize = 300;
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

/// What the driver knows about its receiver; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    chunk_len: usize,
    feed: GnssFeed,
    watch: PositionWatch,
    port: Port,
    arrival: Arrival,
    /// When the receiver last heard of its host.
    host_at_ms: Option<u64>,
}

impl Logic {
    pub(crate) fn new(address: u8, config: UbloxConfig) -> Self {
        let rules = EpochRules {
            accept_dead_reckoning: config.accept_dead_reckoning,
            not_before_utc_ms: config.not_before_utc_ms,
        };
        Self {
            address,
            chunk_len: config.chunk_len,
            feed: GnssFeed::new(rules),
            watch: PositionWatch::new(0),
            port: Port::new(address),
            arrival: Arrival::new(SOLUTION_LATENCY_MS),
            host_at_ms: None,
        }
    }

    pub(crate) async fn start<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
    ) -> Result<(), SensorError<B::Error>> {
        self.feed.interrupt();
        self.watch = PositionWatch::new(now_ms);
        self.arrival.forget();
        self.port.restart();
        self.read_available(bus).await?;
        self.host_at_ms = Some(now_ms);
        self.configure(bus, now_ms, &mut DrainStats::default())
            .await
    }

    pub(crate) async fn poll<B: Transfer, S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
        sink: &mut S,
    ) -> Result<DrainStats, SensorError<B::Error>> {
        let before = self.feed.counts();
        let silent = |at_ms: u64| now_ms > at_ms.saturating_add(HOST_SILENT_MS);
        let mut stats = DrainStats {
            late: self.host_at_ms.is_some_and(silent),
            ..DrainStats::default()
        };
        let mut result = self.drain(bus, now_ms, &mut stats, sink).await;
        if result.is_ok() {
            result = self.configure(bus, now_ms, &mut stats).await;
        }
        let after = self.feed.counts();
        stats.nmea = after.nmea.wrapping_sub(before.nmea);
        stats.ubx = after.ubx.wrapping_sub(before.ubx);
        stats.filler_bytes = after.filler_bytes.wrapping_sub(before.filler_bytes);
        stats.junk_bytes = after.junk_bytes.wrapping_sub(before.junk_bytes);
        stats.bad_checksums = after.bad_checksums.wrapping_sub(before.bad_checksums);
        match result {
            Ok(()) => {
                self.host_at_ms = Some(now_ms);
                Ok(stats)
            }
            Err(error) => {
                // Whatever broke the bus may have reset the receiver, too.
                self.port.restart();
                self.arrival.forget();
                Err(error)
            }
        }
    }

    async fn drain<B: Transfer, S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
        stats: &mut DrainStats,
        sink: &mut S,
    ) -> Result<(), SensorError<B::Error>> {
        for _round in 0..ROUNDS_MAX {
            match self.read_available(bus).await? {
                Some(0) => {
                    stats.emptied = true;
                    self.give_up_noise(now_ms, stats, sink);
                    return Ok(());
                }
                Some(available) => {
                    stats.full |= available + ROOM_LEN_MIN > BUFFER_LEN;
                    self.drain_counted(bus, available, now_ms, stats, sink)
                        .await?;
                }
                None => stats.false_counts += 1,
            }
        }
        Ok(())
    }

    /// Reads `available` bytes, or up to the first piece that is filler and nothing else: then
    /// the count was false.
    async fn drain_counted<B: Transfer, S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        bus: &mut B,
        available: usize,
        now_ms: u64,
        stats: &mut DrainStats,
        sink: &mut S,
    ) -> Result<(), SensorError<B::Error>> {
        let lag_ms = self.arrival.lag_ms(now_ms);
        let mut left = available;
        let mut chunk = [0; CHUNK_LEN_MAX];
        while left > 0 {
            let Some(chunk) = chunk.get_mut(..left.min(self.chunk_len)) else {
                break;
            };
            bus.read(self.address, chunk)
                .await
                .map_err(|source| SensorError::bus(REG_STREAM, source))?;
            left -= chunk.len();
            stats.bytes += u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.hear(chunk, lag_ms, now_ms, stats, sink);
            if chunk.len() > 1 && chunk.iter().all(|byte| *byte == 0xff) {
                stats.false_counts += 1;
                break;
            }
        }
        Ok(())
    }

    fn hear<S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        bytes: &[u8],
        lag_ms: Option<u32>,
        now_ms: u64,
        stats: &mut DrainStats,
        sink: &mut S,
    ) {
        let Self {
            feed, watch, port, ..
        } = self;
        feed.hear_framed(
            bytes,
            lag_ms,
            &mut |frame| port.hear(frame, now_ms),
            &mut |said| hand_out(said.into(), now_ms, watch, stats, sink),
        );
    }

    pub(crate) fn counts(&self) -> StreamCounts {
        self.feed.counts()
    }

    pub(crate) fn health(&self) -> ReceiverHealth {
        self.feed.health()
    }

    pub(crate) fn clear_spoofing(&mut self) {
        self.feed.clear_spoofing();
    }

    pub(crate) fn position(&self, now_ms: u64) -> PositionState {
        self.watch.state(now_ms, &self.feed.health())
    }

    pub(crate) fn mode(&self) -> UbloxMode {
        self.port.mode()
    }

    fn give_up_noise<S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        now_ms: u64,
        stats: &mut DrainStats,
        sink: &mut S,
    ) {
        // A false count may have hidden the rest of the frame: that is no proof of an empty buffer.
        if stats.false_counts > 0 {
            return self.arrival.doubtful();
        }
        let Self {
            feed,
            watch,
            port,
            arrival,
            ..
        } = self;
        if arrival.dry(now_ms, feed.unfinished_len(), stats.bytes > 0) {
            feed.give_up_unfinished(&mut |frame| port.hear(frame, now_ms), &mut |said| {
                hand_out(said.into(), now_ms, watch, stats, sink)
            });
        }
    }

    /// The available count; `None` when it cannot be true.
    async fn read_available<B: Transfer>(
        &self,
        bus: &mut B,
    ) -> Result<Option<usize>, SensorError<B::Error>> {
        let mut count = [0; 2];
        bus.write_read(self.address, &[REG_AVAILABLE], &mut count)
            .await
            .map_err(|source| SensorError::bus(REG_AVAILABLE, source))?;
        // The top bit is known to be set falsely while the rest of the count is right.
        let available = usize::from(u16::from_be_bytes(count) & 0x7fff);
        Ok((available <= BUFFER_LEN).then_some(available))
    }

    async fn configure<B: Transfer>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
        stats: &mut DrainStats,
    ) -> Result<(), SensorError<B::Error>> {
        let Action { messages } = self.port.advance(now_ms);
        for message in messages.iter().flatten() {
            self.write_message(bus, message).await?;
            stats.configured += 1;
        }
        Ok(())
    }

    async fn write_message<B: Transfer>(
        &self,
        bus: &mut B,
        message: &Message,
    ) -> Result<(), SensorError<B::Error>> {
        let mut rest = message.as_bytes();
        while !rest.is_empty() {
            let whole = rest.len().min(self.chunk_len);
            // A single byte left over would be taken as a register number.
            let piece_len = if rest.len() - whole == 1 {
                whole - 1
            } else {
                whole
            };
            let (piece, tail) = rest.split_at(piece_len);
            bus.write(self.address, piece)
                .await
                .map_err(|source| SensorError::bus(REG_STREAM, source))?;
            rest = tail;
        }
        Ok(())
    }
}

fn hand_out<S: FnMut(GnssEvent) + ?Sized>(
    event: GnssEvent,
    now_ms: u64,
    watch: &mut PositionWatch,
    stats: &mut DrainStats,
    sink: &mut S,
) {
    watch.hear(&event, now_ms);
    stats.epochs += u32::from(!matches!(event, GnssEvent::Time(_)));
    sink(event);
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
