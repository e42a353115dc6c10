//! What this machine's own clocks say about UTC: NTP through chrony or timesyncd, and the RTC.
//!
//! Promises: the wall clock counts only while an NTP client vouches for it, and with the bound that the
//! client gives; an RTC counts as an RTC; a UTC from before this software is nobody's. Never: a change to a
//! clock; anything in a simulated world, whose time is its own.

mod chrony;
mod rtc;
mod timesyncd;

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use firmware_shared::time::{ClockSource, TimeAnchor};
use sensor_drivers::ublox::NOT_BEFORE_UTC_MS;

use crate::clock::{self, WallPair};
use crate::config::TimeConfig;
use crate::sequencer::Issuer;

/// Asks the clocks of this machine.
#[derive(Debug)]
pub struct AnchorWatch {
    config: TimeConfig,
    issuer: Issuer,
}

impl AnchorWatch {
    /// A watch that has asked nobody.
    #[must_use]
    pub fn new(config: TimeConfig, issuer: Issuer) -> Self {
        Self { config, issuer }
    }

    /// Asks once a period until the channel is closed.
    pub fn run(self, stop: &Receiver<()>) {
        loop {
            for anchor in anchors(&self.config) {
                // Dropped when the queue is full; another one comes with the next period.
                self.issuer.anchor(anchor);
            }
            let wait = Duration::from_millis(self.config.period_ms);
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// What every clock says at the moment.
fn anchors(config: &TimeConfig) -> Vec<TimeAnchor> {
    let rtc = config.rtc.as_deref().and_then(|file| {
        let pair = clock::wall_pair();
        let utc_ms = rtc::read(file)?;
        // The file counts whole seconds.
        let error_ms = config.rtc_error_ms.saturating_add(1000);
        Some((pair.boottime_ms, utc_ms, error_ms, ClockSource::Rtc))
    });
    let ntp = ntp_error_ms(config).map(|error_ms| {
        let WallPair {
            boottime_ms,
            utc_ms,
            apart_ms,
        } = clock::wall_pair();
        let error_ms = error_ms.saturating_add(apart_ms);
        (boottime_ms, utc_ms, error_ms, ClockSource::Ntp)
    });
    [rtc, ntp]
        .into_iter()
        .flatten()
        .filter(|(_, utc_ms, ..)| *utc_ms >= NOT_BEFORE_UTC_MS)
        .map(|(boottime_ms, utc_ms, error_ms, source)| TimeAnchor {
            boottime_ms,
            utc_ms,
            error_ms: u32::try_from(error_ms).unwrap_or(u32::MAX),
            source,
        })
        .collect()
}

/// How wrong the wall clock may be, if an NTP client vouches for it.
fn ntp_error_ms(config: &TimeConfig) -> Option<u64> {
    let chrony = config.chrony.and_then(chrony::error_ms);
    chrony.or_else(|| {
        let file = config.timesyncd.as_deref()?;
        timesyncd::error_ms(file, clock::wall_pair().utc_ms)
    })
}

#[cfg(test)]
mod tests;
