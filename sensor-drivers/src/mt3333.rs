//! A receiver of the MT3333 kind at 0x10 (PA1010D, L76, SL869), and others that stream NMEA from
//! there without registers (L76K, which mixes CASIC binary in).
//!
//! Promises: a poll reads one packet of 255 bytes, and never within 2 ms of the packet before, as
//! these receivers demand; what is not a sentence (0x0A padding, unknown binary) is skipped. The
//! receiver is used as it comes: these makers' commands differ, and nothing here identifies one.
//!
//! Never: a write, a delay, a fix from a void sentence. The receiver acknowledges whatever it has,
//! so only sentences show that it works: the caller watches for silence.
//!
//! ```text
//! read 255 bytes: 254 of the stream, padded with 0x0A, then 0x0A
//! ```

use embedded_hal::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::gnss::epoch::EpochRules;
use crate::gnss::feed::GnssFeed;
use crate::gnss::watch::{PositionState, PositionWatch};
use crate::gnss::{Arrival, GnssEvent};
use crate::transfer::{Blocking, Transfer, finish};
use crate::ublox::NOT_BEFORE_UTC_MS;

/// What one read gives.
pub const PACKET_LEN: usize = 255;
/// Between two reads.
pub const PAUSE_MS: u64 = 2;
/// The padding.
pub const PADDING: u8 = 0x0a;
/// From the epoch to its first byte, as these receivers take.
const SOLUTION_LATENCY_MS: u32 = 500;
/// The stream has no registers; errors name this.
const REG_STREAM: u8 = 0x00;

/// What one poll moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketStats {
    /// Bytes that are not padding.
    pub bytes: u32,
    /// Sentences with a good checksum.
    pub nmea: u32,
    /// Fixes and missing fixes handed out.
    pub epochs: u32,
    /// Bytes that belong to no sentence.
    pub junk_bytes: u32,
    /// Sentences with a wrong checksum.
    pub bad_checksums: u32,
    /// The receiver had nothing more. Otherwise poll again after [`PAUSE_MS`].
    pub emptied: bool,
}

/// What the driver knows about its receiver; the bus is lent to it.
#[derive(Debug)]
pub(crate) struct Logic {
    address: u8,
    feed: GnssFeed,
    watch: PositionWatch,
    arrival: Arrival,
    read_at_ms: Option<u64>,
}

impl Logic {
    pub(crate) fn new(address: u8, rules: EpochRules) -> Self {
        Self {
            address,
            feed: GnssFeed::nmea_only(rules),
            watch: PositionWatch::new(0),
            arrival: Arrival::new(SOLUTION_LATENCY_MS),
            read_at_ms: None,
        }
    }

    pub(crate) fn start(&mut self, now_ms: u64) {
        self.feed.interrupt();
        self.watch = PositionWatch::new(now_ms);
        self.arrival.forget();
    }

    pub(crate) async fn poll<B: Transfer, S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        bus: &mut B,
        now_ms: u64,
        sink: &mut S,
    ) -> Result<PacketStats, SensorError<B::Error>> {
        let too_soon = |at_ms: u64| now_ms < at_ms.saturating_add(PAUSE_MS);
        if self.read_at_ms.is_some_and(too_soon) {
            return Ok(PacketStats::default());
        }
        self.read_at_ms = Some(now_ms);
        let mut packet = [0; PACKET_LEN];
        if let Err(source) = bus.read(self.address, &mut packet).await {
            self.arrival.forget();
            return Err(SensorError::bus(REG_STREAM, source));
        }
        Ok(self.hear(&packet, now_ms, sink))
    }

    fn hear<S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        packet: &[u8],
        now_ms: u64,
        sink: &mut S,
    ) -> PacketStats {
        let mut stats = PacketStats::default();
        let before = self.feed.counts();
        let lag_ms = self.arrival.lag_ms(now_ms);
        let Self { feed, watch, .. } = self;
        // Padding falls into the middle of sentences; their own line ends are not needed.
        for bytes in packet.split(|byte| *byte == PADDING) {
            feed.hear(bytes, lag_ms, &mut |event| {
                watch.hear(&event, now_ms);
                stats.epochs += u32::from(!matches!(event, GnssEvent::Time(_)));
                sink(event);
            });
        }
        let after = self.feed.counts();
        stats.nmea = after.nmea.wrapping_sub(before.nmea);
        stats.junk_bytes = after.junk_bytes.wrapping_sub(before.junk_bytes);
        stats.bad_checksums = after.bad_checksums.wrapping_sub(before.bad_checksums);
        let said = packet.iter().filter(|byte| **byte != PADDING).count();
        stats.bytes = u32::try_from(said).unwrap_or(u32::MAX);
        // The last byte is padding in any case, and the one before it may end a line; one more
        // means that the stream ran dry.
        stats.emptied = matches!(packet, [.., PADDING, PADDING, PADDING]);
        if stats.emptied {
            // Half a sentence holds others back for no longer than the next of its kind.
            self.arrival
                .dry(now_ms, self.feed.unfinished_len(), stats.bytes > 0);
        }
        stats
    }

    pub(crate) fn position(&self, now_ms: u64) -> PositionState {
        self.watch.state(now_ms, &self.feed.health())
    }
}

/// Neither dead reckoning nor a date from before the build.
pub(crate) fn default_rules() -> EpochRules {
    EpochRules {
        accept_dead_reckoning: false,
        not_before_utc_ms: NOT_BEFORE_UTC_MS,
    }
}

/// The driver. Owns its handle of the bus until [`Mt3333::release`].
#[derive(Debug)]
pub struct Mt3333<I> {
    i2c: I,
    logic: Logic,
}

impl<I> Mt3333<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the receiver at `address` (0x10). Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        Self::with_rules(i2c, address, default_rules())
    }

    /// The same with rules of its own.
    pub fn with_rules(i2c: I, address: u8, rules: EpochRules) -> Self {
        let logic = Logic::new(address, rules);
        Self { i2c, logic }
    }

    /// Forgets half a sentence from before. To be called first, and again after any bus error.
    /// Nothing is sent: whether somebody answers shows at the first poll.
    pub fn start(&mut self, now_ms: u64) {
        self.logic.start(now_ms);
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// A bus failure.
    pub fn poll(
        &mut self,
        now_ms: u64,
        sink: &mut dyn FnMut(GnssEvent),
    ) -> Result<PacketStats, SensorError<I::Error>> {
        finish(self.logic.poll(&mut Blocking(&mut self.i2c), now_ms, sink))
    }

    /// Whether there is a position, and why not.
    pub fn position(&self, now_ms: u64) -> PositionState {
        self.logic.position(now_ms)
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
