//! A GNSS receiver on a serial port: NMEA, UBX or both.
//!
//! Promises: the port is set to the configured speed, raw, whenever it is opened; what waited in the
//! kernel's buffer for an unknown time gives positions but no UTC; the bound of a UTC is how long ago its
//! burst began. Never: a write, or a wait for bytes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use sensor_drivers::gnss::epoch::EpochRules;
use sensor_drivers::gnss::feed::GnssFeed;
use sensor_drivers::ublox::NOT_BEFORE_UTC_MS;

use super::super::chip::{ReceiverNotes, hear};
use super::super::source::{Failure, Heard, Source};
use super::{ENODEV, failure, failure_of};

/// A receiver says something every second.
pub(super) const SILENT_MS: u64 = 5000;
/// From the epoch to the first byte of its burst, as receivers take for the computation.
const SOLUTION_LATENCY_MS: u64 = 500;
/// A turn that comes so late leaves open when the bytes came.
const HELD_UP_MS: u64 = 1000;
/// What the kernel keeps of a port, several times over: a turn ends.
const READS_MAX: usize = 32;

#[derive(Debug)]
pub(in super::super) struct SerialReceiver {
    path: PathBuf,
    baud: u32,
    period_ms: u64,
    port: Option<File>,
    feed: GnssFeed,
    notes: ReceiverNotes,
    looked_ms: u64,
    /// No byte of the burst that is arriving came before this; unknown until the line was quiet once.
    burst_from_ms: Option<u64>,
}

impl SerialReceiver {
    pub(super) fn new(path: &Path, baud: u32, period_ms: u64) -> Self {
        Self {
            path: path.to_owned(),
            baud,
            period_ms,
            port: None,
            feed: GnssFeed::new(EpochRules {
                accept_dead_reckoning: false,
                not_before_utc_ms: NOT_BEFORE_UTC_MS,
            }),
            notes: ReceiverNotes::default(),
            looked_ms: 0,
            burst_from_ms: None,
        }
    }

    fn open(&self) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let port = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let mut settings = tcgetattr(port.as_fd())?;
        settings.make_raw();
        settings.set_speed(self.baud)?;
        tcsetattr(port.as_fd(), OptionalActions::Flush, &settings)?;
        Ok(File::from(port))
    }

    /// How long ago the epoch of what arrives may have been.
    fn lag_ms(&self, now_ms: u64) -> Option<u32> {
        let burst_ms = now_ms.saturating_sub(self.burst_from_ms?);
        u32::try_from(burst_ms.saturating_add(SOLUTION_LATENCY_MS)).ok()
    }
}

impl Source for SerialReceiver {
    fn start(&mut self, now_ms: u64) -> Result<u64, Failure> {
        self.feed.interrupt();
        self.burst_from_ms = None;
        self.looked_ms = now_ms;
        self.port = None;
        self.port = Some(
            self.open()
                .map_err(|error| failure_of(error.raw_os_error()))?,
        );
        Ok(self.period_ms)
    }

    fn fetch(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        if now_ms.saturating_sub(self.looked_ms) > HELD_UP_MS {
            self.burst_from_ms = None;
        }
        let mut buffer = [0; 512];
        for turn in 0..READS_MAX {
            let port = self.port.as_mut().ok_or_else(|| failure_of(ENODEV))?;
            match port.read(&mut buffer) {
                // A port that was pulled out reads as its end.
                Ok(0) => return Err(failure_of(ENODEV)),
                Ok(len) => {
                    let lag_ms = self.lag_ms(now_ms);
                    let bytes = buffer.get(..len).unwrap_or_default();
                    self.feed
                        .hear(bytes, lag_ms, &mut |event| hear(&event, heard));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if turn == 0 {
                        self.burst_from_ms = Some(now_ms);
                    }
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&error)),
            }
        }
        self.looked_ms = now_ms;
        self.notes.look(&self.feed.health(), heard);
        Ok(())
    }

    fn silent_ms(&self, _period_ms: u64) -> u64 {
        SILENT_MS
    }
}
