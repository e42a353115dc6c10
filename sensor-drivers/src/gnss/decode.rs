//! A recorded or piped receiver log, bytes in and epochs out.
//!
//! Promises: one report for each navigation epoch, in the order of the log, as soon as it is complete
//! (NAV-PVT at once, sentences with their GSA, or when the next epoch begins); NMEA, UBX and both
//! mixed, with damaged parts; lines at the beginning that start with
//! `#` are comments and no receiver output, whatever they quote. State is bounded by that of
//! [`GnssFeed`]. Never: a position from a void epoch, or the one before again; a date refused for
//! its age, because recordings are old.
//!
//! ```
//! use sensor_drivers::gnss::decode::GnssDecoder;
//! let mut decoder = GnssDecoder::new();
//! let mut valid = Vec::new();
//! let log = b"# recorded on a ramp\n$GPRMC,120000,A,4800.0,N,00900.0,E,1.0,2.0,300127,,*1A\n";
//! for piece in log.chunks(7) {
//!     decoder.push(piece, &mut |report| valid.push(report.outcome.is_ok()));
//! }
//! decoder.finish(&mut |report| valid.push(report.outcome.is_ok()));
//! ```

use super::epoch::EpochRules;
use super::feed::GnssFeed;
use super::health::ReceiverHealth;
use super::stream::StreamCounts;
use super::{EpochReport, Said};

/// The decoder.
#[derive(Debug, Clone)]
pub struct GnssDecoder {
    feed: GnssFeed,
    beginning: Beginning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// At the first byte of a line, and no receiver output was seen.
    LineStart,
    /// Inside a comment.
    Comment,
    /// Over.
    Passed,
}

impl Default for GnssDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl GnssDecoder {
    /// A decoder that takes no dead reckoning for a fix.
    #[must_use]
    pub fn new() -> Self {
        Self::with_rules(EpochRules {
            accept_dead_reckoning: false,
            not_before_utc_ms: i64::MIN,
        })
    }

    /// The same with rules of its own.
    #[must_use]
    pub fn with_rules(rules: EpochRules) -> Self {
        Self {
            feed: GnssFeed::patient(rules),
            beginning: Beginning::LineStart,
        }
    }

    /// Takes the next bytes and reports the epochs that they complete.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(EpochReport)) {
        let output = self.behind_comments(bytes);
        self.feed
            .hear_framed(output, None, &mut |_| {}, &mut epochs_only(sink));
    }

    /// The log is over: reports the epoch that was still open.
    pub fn finish(&mut self, sink: &mut dyn FnMut(EpochReport)) {
        self.feed.finish(&mut epochs_only(sink));
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.feed.counts()
    }

    /// What the receiver said about itself.
    #[must_use]
    pub fn health(&self) -> ReceiverHealth {
        self.feed.health()
    }

    fn behind_comments<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let [first, rest @ ..] = bytes {
            self.beginning = match (self.beginning, first) {
                (Beginning::LineStart, b'#') => Beginning::Comment,
                (Beginning::Comment, b'\n') => Beginning::LineStart,
                (Beginning::Comment, _) => Beginning::Comment,
                (Beginning::LineStart | Beginning::Passed, _) => {
                    self.beginning = Beginning::Passed;
                    break;
                }
            };
            bytes = rest;
        }
        bytes
    }
}

fn epochs_only(sink: &mut dyn FnMut(EpochReport)) -> impl FnMut(Said) {
    move |said| {
        if let Said::Epoch(report) = said {
            sink(report);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;
    use crate::gnss::{EpochTime, FixKind, NoFixReason};

    fn sentence(body: &str) -> String {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    }

    fn epoch(second: u32, status: char) -> String {
        let quality = u8::from(status == 'A');
        let rmc = format!("GPRMC,1200{second:02},{status},4800.5,N,00900.0,E,1.0,2.0,300127,,,A");
        let gga = format!("GPGGA,1200{second:02},4800.5,N,00900.0,E,{quality},07,1.1,7.5,M,,M,,");
        sentence(&rmc) + &sentence(&gga)
    }

    fn decode(log: &[u8], piece_len: usize) -> Vec<EpochReport> {
        let mut decoder = GnssDecoder::new();
        let mut reports = Vec::new();
        for piece in log.chunks(piece_len) {
            decoder.push(piece, &mut |report| reports.push(report));
        }
        decoder.finish(&mut |report| reports.push(report));
        reports
    }

    #[test]
    fn every_epoch_is_reported_once_with_its_time_whether_it_has_a_fix_or_not() {
        let log = epoch(1, 'A') + &epoch(2, 'V') + "\u{7}damage$GPRMC,1" + &epoch(3, 'A');
        for piece_len in [1, 2, 7, 64, 4096] {
            let reports = decode(log.as_bytes(), piece_len);
            let times: Vec<_> = reports.iter().map(EpochReport::utc_ms).collect();
            let first = 1_801_310_401_000;
            assert_eq!(times, [0, 1000, 2000].map(|ms| Some(first + ms)));
            let valid: Vec<_> = reports
                .iter()
                .map(|report| report.fix().is_some())
                .collect();
            assert_eq!(valid, [true, false, true], "pieces of {piece_len}");
            assert_eq!(reports[1].outcome, Err(NoFixReason::Searching));
            assert_eq!(reports[1].satellites, Some(7));
        }
    }

    #[test]
    fn an_epoch_is_reported_with_its_gsa_and_without_one_when_the_next_begins() {
        let gsa = sentence("GPGSA,A,2,20,16,09,,,,,,,,,,1.64,0.98,1.31");
        let mut decoder = GnssDecoder::new();
        let mut reported = Vec::new();
        for (piece, count) in [
            (epoch(1, 'A'), 0),
            (gsa.clone(), 1),
            (gsa.clone(), 1),
            (epoch(2, 'A'), 1),
            (epoch(3, 'A'), 2),
            (gsa, 3),
        ] {
            decoder.push(piece.as_bytes(), &mut |report| {
                reported.push(report.fix().map(|fix| fix.kind));
            });
            assert_eq!(reported.len(), count, "{piece}");
        }
        let (two, three) = (Some(FixKind::TwoD), Some(FixKind::ThreeD));
        assert_eq!(reported, [two, three, two]);
    }

    #[test]
    fn comments_at_the_beginning_are_no_receiver_output_even_when_they_quote_some() {
        let log = format!("# {}#{}{}", epoch(1, 'A'), epoch(2, 'A'), epoch(3, 'A'));
        // Each quoted epoch has two lines, and only the first is behind the mark.
        for piece_len in [1, 5, 1000] {
            let reports = decode(log.as_bytes(), piece_len);
            assert_eq!(reports.len(), 3, "{reports:?}");
            assert!(matches!(reports[0].outcome, Err(NoFixReason::Incomplete)));
        }
        let only_comments = decode(b"# $GPRMC\n#\n# no end", 3);
        assert!(only_comments.is_empty());
    }

    #[test]
    fn the_last_epoch_is_reported_at_the_end_of_the_log() {
        let rmc = sentence("GPRMC,,V,,,,,,,,,,N");
        let reports = decode(rmc.as_bytes(), 9);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].epoch, None::<EpochTime>);
        let half = decode(&epoch(1, 'A').as_bytes()[..50], 9);
        assert!(half.is_empty());
    }
}
