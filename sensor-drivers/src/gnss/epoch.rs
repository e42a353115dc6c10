//! Turns frames into events: one `Fix` or `NoFix` for each navigation epoch.
//!
//! Promises, as rules:
//! 1. A UBX fix needs gnssFixOK and fixType 2, 3 or 4 (1, dead reckoning, only where accepted).
//! 2. An NMEA fix needs RMC status A and GGA quality 1 to 5 of the same time of day, and an FAA
//!    mode that is not N, M or S (E, quality 6, only where dead reckoning is accepted).
//! 3. An NMEA epoch ends with the first RMC or GGA of another time, or with a second one of the
//!    same kind. An epoch that ends with an RMC alone counts by the RMC: some receivers send no
//!    GGA, and status A is the receiver's own word. A GGA alone is never a fix.
//!    GNS takes the place of a missing GGA. A GSA of the epoch, received before the epoch is
//!    reported, has the last word on 2D and 3D; where it says 2D, a height is not reported.
//! 4. The same epoch is never reported twice, and NAV-PVT goes before NMEA: while NAV-PVT
//!    arrives, an NMEA epoch waits until it has ended, and is dropped when NAV-PVT covered it.
//!    Epochs of the two languages are the same when their UTC agrees within 20 ms; an NMEA epoch
//!    without a time is taken as covered.
//! 5. After two NMEA epochs without NAV-PVT, NMEA is reported at once, as soon as RMC and GGA are
//!    there.
//! 6. A date that a ZDA of the same receiver contradicts is no time: one of them has rolled over.
//!    Until NAV-TIMELS says that the leap seconds are known, time may be off by whole seconds, and
//!    its bound says so.
//! 7. A fix that no vehicle could have reached from the one before says so, and is reported.
//!
//! Never: a position from an epoch that failed a rule, whatever the coordinate fields say.

use super::gate::Place;
use super::stream::Frame;
use super::utc::DAY_MS;
use super::{EpochReport, EpochTime, Fix, GnssEvent, GnssTime, GnssTimeSource, NoFixReason, Said};
use crate::nmea::{self, Gga, Rmc, Sentence};
use crate::ubx::status::NavTimeLs;
use crate::ubx::{self, NavPvt};

mod judge;
use judge::{NmeaEpoch, judge_nmea, judge_pvt};

/// NMEA cuts what UBX rounds, so their times of one epoch differ by a few milliseconds.
const SAME_EPOCH_MS: i64 = 20;
/// So many NMEA epochs after the last NAV-PVT still wait for one.
const PVT_PATIENCE_EPOCHS: u8 = 2;
/// Receivers know the leap seconds only after minutes; their built-in guess is a few seconds old.
const LEAP_GUESS_ERROR_MS: u32 = 3000;
/// A date further from that of ZDA is a rollover in one of them.
const DATES_APART_MS_MAX: u64 = DAY_MS.unsigned_abs();
/// A receiver whose own time estimate is worse than this knows nothing worth an anchor.
const T_ACC_NS_MAX: u32 = 1_000_000_000;

/// What the tracker accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRules {
    /// Report dead reckoning without satellites as a fix of kind `DeadReckoning`.
    pub accept_dead_reckoning: bool,
    /// UTC before this moment is not believed: it is a week-number rollover.
    pub not_before_utc_ms: i64,
}

/// The tracker. Holds one epoch.
#[derive(Debug, Clone)]
pub struct EpochTracker {
    rules: EpochRules,
    open: Option<NmeaEpoch>,
    last_reported: Option<EpochTime>,
    last_pvt: Option<PvtTime>,
    last_place: Option<Place>,
    epochs_since_pvt: u8,
    leap_known: bool,
    /// UTC of the last ZDA.
    zda_utc_ms: Option<i64>,
    /// Dimensions by the last GSA of the open epoch.
    gsa: Option<u8>,
    /// The epoch before had a GGA, so one is waited for.
    gga_expected: bool,
    /// GSA is waited for.
    patient: bool,
}

/// Which epoch the last NAV-PVT was of.
#[derive(Debug, Clone, Copy)]
struct PvtTime {
    itow_ms: u32,
    utc_ms: Option<i64>,
}

/// Who is told; without the report in between where nobody wants it.
trait Listener {
    fn epoch(
        &mut self,
        epoch: Option<EpochTime>,
        satellites: Option<u8>,
        outcome: Result<Fix, NoFixReason>,
    );

    fn time(&mut self, time: GnssTime);
}

struct Events<'a, F: ?Sized>(&'a mut F);

impl<F: FnMut(GnssEvent) + ?Sized> Listener for Events<'_, F> {
    fn epoch(
        &mut self,
        _epoch: Option<EpochTime>,
        _satellites: Option<u8>,
        outcome: Result<Fix, NoFixReason>,
    ) {
        (self.0)(outcome.map_or_else(GnssEvent::NoFix, GnssEvent::Fix));
    }

    fn time(&mut self, time: GnssTime) {
        (self.0)(GnssEvent::Time(time));
    }
}

struct Whole<'a>(&'a mut dyn FnMut(Said));

impl Listener for Whole<'_> {
    fn epoch(
        &mut self,
        epoch: Option<EpochTime>,
        satellites: Option<u8>,
        outcome: Result<Fix, NoFixReason>,
    ) {
        (self.0)(Said::Epoch(EpochReport {
            epoch,
            satellites,
            outcome,
        }));
    }

    fn time(&mut self, time: GnssTime) {
        (self.0)(Said::Time(time));
    }
}

impl EpochTracker {
    /// A tracker that has seen nothing.
    #[must_use]
    pub fn new(rules: EpochRules) -> Self {
        let epochs_since_pvt = PVT_PATIENCE_EPOCHS;
        Self {
            rules,
            open: None,
            last_reported: None,
            last_pvt: None,
            last_place: None,
            epochs_since_pvt,
            leap_known: false,
            zda_utc_ms: None,
            gsa: None,
            gga_expected: true,
            patient: false,
        }
    }

    /// A tracker that waits for the GSA of an NMEA epoch, too, or until the next epoch begins: for
    /// recordings, where a second does not matter.
    #[must_use]
    pub fn patient(rules: EpochRules) -> Self {
        Self {
            patient: true,
            ..Self::new(rules)
        }
    }

    /// Takes a frame. `lag_ms` bounds how long it may have waited since its epoch; without a
    /// bound no time is reported.
    pub fn hear(
        &mut self,
        frame: &Frame<'_>,
        lag_ms: Option<u32>,
        sink: &mut (impl FnMut(GnssEvent) + ?Sized),
    ) {
        self.listen(frame, lag_ms, &mut Events(sink));
    }

    /// The same with all that is known of an epoch, whether it has a fix or not.
    pub fn hear_whole(
        &mut self,
        frame: &Frame<'_>,
        lag_ms: Option<u32>,
        sink: &mut dyn FnMut(Said),
    ) {
        self.listen(frame, lag_ms, &mut Whole(sink));
    }

    fn listen(&mut self, frame: &Frame<'_>, lag_ms: Option<u32>, sink: &mut impl Listener) {
        match frame {
            Frame::Ubx {
                class: ubx::CLASS_NAV,
                id: ubx::ID_NAV_PVT,
                payload,
            } => {
                if let Some(pvt) = NavPvt::decode(payload) {
                    self.hear_pvt(&pvt, lag_ms, sink);
                }
            }
            Frame::Ubx {
                class: ubx::CLASS_NAV,
                id: ubx::status::ID_NAV_TIMELS,
                payload,
            } => {
                if let Some(said) = NavTimeLs::decode(payload) {
                    self.leap_known = said.leap_s.is_some();
                }
            }
            Frame::Ubx { .. } => {}
            Frame::Nmea { body } => match nmea::parse(body) {
                Sentence::Rmc(rmc) => self.hear_rmc(rmc, lag_ms, sink),
                Sentence::Gga(gga) => self.hear_gga(gga, sink),
                Sentence::Gns(gns) => self.hear_gns(gns, sink),
                Sentence::Gsa(gsa) => {
                    self.gsa = Some(gsa.mode);
                    if self.patient
                        && let Some(open) = self.open.take()
                    {
                        self.keep(open, sink);
                    }
                }
                Sentence::Zda(zda) => self.zda_utc_ms = zda.utc_ms(),
                Sentence::Other | Sentence::Malformed => {}
            },
        }
    }

    /// Ends the open NMEA epoch: the stream is over.
    pub fn finish(&mut self, sink: &mut dyn FnMut(GnssEvent)) {
        self.end(&mut Events(sink));
    }

    /// The same with all that is known of the epoch.
    pub fn finish_whole(&mut self, sink: &mut dyn FnMut(Said)) {
        self.end(&mut Whole(sink));
    }

    fn end(&mut self, sink: &mut impl Listener) {
        if let Some(epoch) = self.open.take() {
            self.close(epoch, sink);
        }
    }

    /// Forgets the open epoch, but not which one was reported last: the stream was interrupted.
    pub fn interrupt(&mut self) {
        self.open = None;
        self.leap_known = false;
        self.zda_utc_ms = None;
        self.gsa = None;
    }

    fn hear_pvt(&mut self, pvt: &NavPvt, lag: Option<u32>, sink: &mut impl Listener) {
        if self
            .last_pvt
            .is_some_and(|last| last.itow_ms == pvt.itow_ms)
        {
            return;
        }
        // Before the receiver knows the time, an NMEA epoch and its NAV-PVT cannot be matched by
        // it. One missing fix is reported for both.
        let said_without_time = self
            .open
            .as_ref()
            .is_some_and(|open| open.reported && open.tod_ms.is_none());
        // An open NMEA epoch of an earlier time ended without its NAV-PVT. It is judged by the
        // NAV-PVT before, and reported first, because it is older.
        match (&self.open, pvt.utc_ms) {
            (Some(open), Some(utc_ms)) if open.is_at(utc_ms) => self.open = None,
            (Some(open), _) if !open.reported && open.tod_ms.is_some() => self.end(sink),
            _ => {}
        }
        self.last_pvt = Some(PvtTime {
            itow_ms: pvt.itow_ms,
            utc_ms: pvt.utc_ms,
        });
        self.epochs_since_pvt = 0;
        if let (Some(lag_ms), Some(utc_ms)) = (lag, pvt.utc_ms)
            && pvt.fully_resolved
            && pvt.t_acc_ns < T_ACC_NS_MAX
        {
            let accuracy_ms = lag_ms
                .saturating_add(pvt.t_acc_ns.div_ceil(1_000_000))
                .saturating_add(self.leap_error_ms());
            self.report_time(utc_ms, accuracy_ms, GnssTimeSource::NavPvt, sink);
        }
        let epoch = match pvt.utc_ms {
            Some(utc_ms) => EpochTime::Utc { utc_ms },
            None => EpochTime::TimeOfWeek {
                itow_ms: pvt.itow_ms,
            },
        };
        if !self.was_reported(epoch) {
            self.last_reported = Some(epoch);
            let outcome = judge_pvt(pvt, epoch, self.rules);
            if !(said_without_time && outcome.is_err()) {
                self.report(Some(epoch), Some(pvt.satellites), outcome, sink);
            }
        }
        if said_without_time {
            self.open = None;
        }
    }

    fn hear_rmc(&mut self, rmc: Rmc, lag_ms: Option<u32>, sink: &mut impl Listener) {
        let mut epoch = self.open_at(rmc.tod_ms, |open| open.rmc.is_none(), sink);
        epoch.rmc = Some(rmc);
        if let (true, Some(lag_ms), Some(utc_ms)) = (rmc.active, lag_ms, rmc.utc_ms())
            && !self.pvt_is_near()
            && !self.zda_contradicts(utc_ms)
        {
            let accuracy_ms = lag_ms.saturating_add(LEAP_GUESS_ERROR_MS);
            self.report_time(utc_ms, accuracy_ms, GnssTimeSource::Rmc, sink);
        }
        self.keep(epoch, sink);
    }

    fn hear_gga(&mut self, gga: Gga, sink: &mut impl Listener) {
        let mut epoch = self.open_at(gga.tod_ms, |open| open.gga.is_none(), sink);
        epoch.gga = Some(gga);
        self.keep(epoch, sink);
    }

    fn hear_gns(&mut self, gns: Gga, sink: &mut impl Listener) {
        let mut epoch = self.open_at(gns.tod_ms, |open| open.gns.is_none(), sink);
        epoch.gns = Some(gns);
        self.keep(epoch, sink);
    }

    fn leap_error_ms(&self) -> u32 {
        if self.leap_known {
            0
        } else {
            LEAP_GUESS_ERROR_MS
        }
    }

    fn zda_contradicts(&self, utc_ms: i64) -> bool {
        self.zda_utc_ms
            .is_some_and(|zda_utc_ms| zda_utc_ms.abs_diff(utc_ms) > DATES_APART_MS_MAX)
    }

    /// The open epoch if the sentence belongs to it, else a fresh one after closing the other.
    fn open_at(
        &mut self,
        tod_ms: Option<u32>,
        has_room: impl Fn(&NmeaEpoch) -> bool,
        sink: &mut impl Listener,
    ) -> NmeaEpoch {
        match self.open.take() {
            Some(open) if open.tod_ms == tod_ms && has_room(&open) => open,
            other => {
                if let Some(ended) = other {
                    self.close(ended, sink);
                }
                NmeaEpoch {
                    tod_ms,
                    rmc: None,
                    gga: None,
                    gns: None,
                    reported: false,
                }
            }
        }
    }

    fn keep(&mut self, mut epoch: NmeaEpoch, sink: &mut impl Listener) {
        let quality_known = epoch.gga.is_some() || epoch.gns.is_some() && !self.gga_expected;
        let dimensions_known = self.gsa.is_some() || !self.patient;
        let complete = epoch.rmc.is_some() && quality_known && dimensions_known;
        if complete && !epoch.reported && !self.pvt_is_near() {
            self.report_nmea(&epoch, sink);
            epoch.reported = true;
        }
        self.open = Some(epoch);
    }

    fn close(&mut self, epoch: NmeaEpoch, sink: &mut impl Listener) {
        let covered = self.pvt_is_near()
            && match (epoch.tod_ms, self.last_pvt.and_then(|pvt| pvt.utc_ms)) {
                (Some(_), Some(utc_ms)) => epoch.is_at(utc_ms),
                _ => true,
            };
        if !epoch.reported && !covered {
            self.report_nmea(&epoch, sink);
        }
        self.epochs_since_pvt = self.epochs_since_pvt.saturating_add(1);
        self.gga_expected = epoch.gga.is_some() || epoch.gns.is_none();
        self.gsa = None;
    }

    fn pvt_is_near(&self) -> bool {
        self.epochs_since_pvt < PVT_PATIENCE_EPOCHS
    }

    fn report_nmea(&mut self, epoch: &NmeaEpoch, sink: &mut impl Listener) {
        let time = epoch.time();
        if time.is_some_and(|time| self.was_reported(time)) {
            return;
        }
        self.last_reported = time.or(self.last_reported);
        let outcome = judge_nmea(epoch, self.gsa, self.rules);
        self.report(time, epoch.satellites(), outcome, sink);
    }

    fn report(
        &mut self,
        epoch: Option<EpochTime>,
        satellites: Option<u8>,
        mut outcome: Result<Fix, NoFixReason>,
        sink: &mut impl Listener,
    ) {
        if let Ok(fix) = &mut outcome {
            let place = Place::of(fix);
            let before = self.last_place.replace(place);
            fix.implied_speed_mm_s = before.and_then(|before| before.speed_to_mm_s(&place));
        }
        sink.epoch(epoch, satellites, outcome);
    }

    fn was_reported(&self, epoch: EpochTime) -> bool {
        self.last_reported
            .is_some_and(|last| same_epoch(last, epoch))
    }

    fn report_time(
        &self,
        utc_ms: i64,
        accuracy_ms: u32,
        source: GnssTimeSource,
        sink: &mut impl Listener,
    ) {
        if utc_ms >= self.rules.not_before_utc_ms {
            sink.time(GnssTime {
                utc_ms,
                accuracy_ms,
                source,
            });
        }
    }
}

fn same_epoch(a: EpochTime, b: EpochTime) -> bool {
    match (a, b) {
        (EpochTime::Utc { utc_ms: a }, EpochTime::Utc { utc_ms: b }) => {
            a.abs_diff(b) <= SAME_EPOCH_MS.unsigned_abs()
        }
        (EpochTime::TimeOfWeek { itow_ms: a }, EpochTime::TimeOfWeek { itow_ms: b }) => a == b,
        (EpochTime::TimeOfWeek { .. }, _) | (_, EpochTime::TimeOfWeek { .. }) => false,
        (EpochTime::TimeOfDay { tod_ms }, EpochTime::Utc { utc_ms })
        | (EpochTime::Utc { utc_ms }, EpochTime::TimeOfDay { tod_ms }) => {
            same_time_of_day(i64::from(tod_ms), utc_ms)
        }
        (EpochTime::TimeOfDay { tod_ms: a }, EpochTime::TimeOfDay { tod_ms: b }) => a == b,
    }
}

fn same_time_of_day(a_ms: i64, b_ms: i64) -> bool {
    let apart = (a_ms - b_ms).rem_euclid(DAY_MS);
    apart.min(DAY_MS - apart) <= SAME_EPOCH_MS
}

#[cfg(test)]
mod tests;
