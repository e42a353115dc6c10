//! Draining and configuring, over any bus.
//!
//! Promises: those of the driver. Never: a bus of its own.

use super::port::{Action, Port};
use super::{
    BUFFER_LEN, CHUNK_LEN_MAX, DrainStats, REG_AVAILABLE, REG_STREAM, ROUNDS_MAX, UbloxConfig,
    UbloxMode,
};
use crate::error::SensorError;
use crate::gnss::epoch::EpochRules;
use crate::gnss::feed::GnssFeed;
use crate::gnss::health::ReceiverHealth;
use crate::gnss::stream::StreamCounts;
use crate::gnss::watch::{PositionState, PositionWatch};
use crate::gnss::{Arrival, GnssEvent};
use crate::transfer::Transfer;
use crate::ubx::Message;

/// From the epoch to its message in the buffer, as receivers take for the computation.
const SOLUTION_LATENCY_MS: u32 = 200;
/// Without a host for so long the receiver stops the stream.
const HOST_SILENT_MS: u64 = 1500;
/// With less room than this the receiver may have dropped messages: the longest burst of one epoch
/// in NAV-PVT with all that the receiver says about itself.
const ROOM_LEN_MIN: usize = 300;

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
