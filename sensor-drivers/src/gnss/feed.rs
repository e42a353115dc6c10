//! A receiver's byte stream, wherever it comes from, to events.
//!
//! Promises: NMEA, UBX and both mixed, in pieces of any length, with unknown binary and damage in
//! between; at most one event for each epoch; what the receiver says about itself. Never: a clock,
//! or more state than [`FEED_BYTES_MAX`].
//!
//! A serial port hands its reads to [`GnssFeed::hear`] as they come:
//! ```
//! use sensor_drivers::gnss::{GnssEvent, epoch::EpochRules, feed::GnssFeed};
//! let rules = EpochRules { accept_dead_reckoning: false, not_before_utc_ms: 0 };
//! let mut feed = GnssFeed::new(rules);
//! let mut fixes = 0;
//! let read = b"$GPRMC,120000,A,4800.0,N,00900.0,E,1.0,2.0,300127,,*1A\r\n";
//! feed.hear(read, None, &mut |event| fixes += u32::from(matches!(event, GnssEvent::Fix(_))));
//! ```

use super::epoch::{EpochRules, EpochTracker};
use super::health::ReceiverHealth;
use super::stream::{Frame, StreamCounts, StreamSplitter};
use super::{GnssEvent, Said};

/// The whole state fits.
pub const FEED_BYTES_MAX: usize = 4096;
const _: () = assert!(size_of::<GnssFeed>() <= FEED_BYTES_MAX);

/// The stream. Holds an unfinished frame and an open epoch.
#[derive(Debug, Clone)]
pub struct GnssFeed {
    splitter: StreamSplitter,
    tracker: EpochTracker,
    health: ReceiverHealth,
}

impl GnssFeed {
    /// A stream of which nothing was heard.
    #[must_use]
    pub fn new(rules: EpochRules) -> Self {
        Self {
            splitter: StreamSplitter::new(),
            tracker: EpochTracker::new(rules),
            health: ReceiverHealth::default(),
        }
    }

    /// The same for a receiver that never speaks UBX; see [`StreamSplitter::nmea_only`].
    #[must_use]
    pub fn nmea_only(rules: EpochRules) -> Self {
        Self {
            splitter: StreamSplitter::nmea_only(),
            ..Self::new(rules)
        }
    }

    /// The same for a recording; see [`EpochTracker::patient`].
    #[must_use]
    pub fn patient(rules: EpochRules) -> Self {
        Self {
            tracker: EpochTracker::patient(rules),
            ..Self::new(rules)
        }
    }

    /// Takes the next bytes. `lag_ms` bounds how long they may have waited since their epoch;
    /// without a bound no time is reported.
    pub fn hear(&mut self, bytes: &[u8], lag_ms: Option<u32>, sink: &mut dyn FnMut(GnssEvent)) {
        self.hear_framed(bytes, lag_ms, &mut |_| {}, &mut |said| sink(said.into()));
    }

    /// The same, with each frame before what comes of it, and all that is known of an epoch.
    pub fn hear_framed(
        &mut self,
        bytes: &[u8],
        lag_ms: Option<u32>,
        frames: &mut dyn FnMut(&Frame<'_>),
        sink: &mut dyn FnMut(Said),
    ) {
        let Self {
            splitter,
            tracker,
            health,
        } = self;
        splitter.push(bytes, &mut |frame| {
            frames(&frame);
            health.hear(&frame);
            tracker.hear_whole(&frame, lag_ms, sink);
        });
    }

    /// Takes the unfinished frame for noise and looks behind its first byte: nothing came for so
    /// long that it will not be completed. No time is reported from there.
    pub fn give_up_unfinished(
        &mut self,
        frames: &mut dyn FnMut(&Frame<'_>),
        sink: &mut dyn FnMut(Said),
    ) {
        let Self {
            splitter,
            tracker,
            health,
        } = self;
        splitter.give_up_unfinished(&mut |frame| {
            frames(&frame);
            health.hear(&frame);
            tracker.hear_whole(&frame, None, sink);
        });
    }

    /// The stream is over: what is unfinished is looked through, and the open epoch ends.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Said)) {
        while self.unfinished_len() > 0 {
            self.give_up_unfinished(&mut |_| {}, sink);
        }
        self.tracker.finish_whole(sink);
    }

    /// The stream was interrupted, and the receiver may have lost its state: forgets half a frame
    /// and the open epoch, but neither the epoch that was reported last nor a spoofing alarm.
    pub fn interrupt(&mut self) {
        self.splitter.discard_unfinished();
        self.tracker.interrupt();
        self.health.interrupt();
    }

    /// Bytes of the unfinished frame.
    #[must_use]
    pub fn unfinished_len(&self) -> usize {
        self.splitter.unfinished_len()
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.splitter.counts()
    }

    /// What the receiver says about itself.
    #[must_use]
    pub fn health(&self) -> ReceiverHealth {
        self.health
    }

    /// A person has looked at the spoofing alarm, which stays until then.
    pub fn clear_spoofing(&mut self) {
        self.health.clear_spoofing();
    }
}
