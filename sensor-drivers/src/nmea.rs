//! NMEA 0183 sentences: RMC, GGA, GNS, GSA and ZDA of any talker.
//!
//! Promises: integer arithmetic, correctly rounded (halves away from zero); a field that is empty
//! is `None`, one that is malformed is `None` as well and never a zero; a sentence whose time is
//! malformed is [`Sentence::Malformed`]. Never: a decision about validity (that is
//! `gnss::epoch`), a float, or an allocation.
//!
//! Works on the text between `$` and `*`; the checksum was checked by `gnss::stream`.

use crate::gnss::utc::{DAY_MS, Date};

mod fields;
use fields::{
    Decimal, Fields, course_1e5_deg, date, digits, dop_x100, knots_to_mm_s, position,
    time_of_day_ms,
};

/// A decoded sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// Recommended minimum: validity, position, speed, course, date.
    Rmc(Rmc),
    /// Fix data: quality, position, satellites, height.
    Gga(Gga),
    /// The same as GGA from a receiver of several constellations.
    Gns(Gga),
    /// Dimensions of the solution.
    Gsa(Gsa),
    /// Date with a year of four digits.
    Zda(Zda),
    /// Another sentence (GSV, VTG, proprietary ...), which carries nothing that is needed here.
    Other,
    /// One of these whose time field, status or quality cannot be read, so that it belongs to no
    /// epoch.
    Malformed,
}

/// RMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rmc {
    /// Milliseconds since midnight UTC.
    pub tod_ms: Option<u32>,
    /// Status A.
    pub active: bool,
    /// Latitude and longitude in 1e-7 degree.
    pub position: Option<(i32, i32)>,
    /// Speed over ground.
    pub speed_mm_s: Option<i32>,
    /// Course over ground in 1e-5 degree.
    pub course_1e5_deg: Option<i32>,
    /// Two-digit years 80 to 99 are 19xx.
    pub date: Option<Date>,
    /// The FAA mode letter, absent before NMEA 2.3.
    pub mode: Option<u8>,
}

/// GGA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gga {
    /// Milliseconds since midnight UTC.
    pub tod_ms: Option<u32>,
    /// Latitude and longitude in 1e-7 degree.
    pub position: Option<(i32, i32)>,
    /// 0 none, 1 GNSS, 2 differential, 3 PPS, 4 RTK fixed, 5 RTK float, 6 estimated, 7 manual,
    /// 8 simulated.
    pub quality: u8,
    /// Satellites used.
    pub satellites: Option<u8>,
    /// Horizontal dilution of precision in 1/100.
    pub hdop_x100: Option<u16>,
    /// Height above mean sea level.
    pub height_mm: Option<i32>,
}

/// GSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gsa {
    /// 1 none, 2 2D, 3 3D.
    pub mode: u8,
    /// Position dilution of precision in 1/100.
    pub pdop_x100: Option<u16>,
}

/// ZDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zda {
    /// Milliseconds since midnight UTC.
    pub tod_ms: Option<u32>,
    /// As written: a receiver after a week-number rollover is 1024 weeks back.
    pub date: Option<Date>,
}

impl Zda {
    /// UTC, when both date and time of day are known.
    #[must_use]
    pub fn utc_ms(&self) -> Option<i64> {
        Some(self.date?.days() * DAY_MS + i64::from(self.tod_ms?))
    }
}

impl Rmc {
    /// UTC of the epoch, when both date and time of day are known.
    #[must_use]
    pub fn utc_ms(&self) -> Option<i64> {
        Some(self.date?.days() * DAY_MS + i64::from(self.tod_ms?))
    }
}

/// Decodes the text between `$` and `*`.
#[must_use]
pub fn parse(body: &[u8]) -> Sentence {
    let mut fields = Fields::new(body);
    let sentence = match fields.next() {
        // The first two letters are the talker; P is proprietary.
        [first, _, kind @ ..] if *first != b'P' => match kind {
            b"RMC" => rmc(&mut fields).map(Sentence::Rmc),
            b"GGA" => gga(&mut fields).map(Sentence::Gga),
            b"GNS" => gns(&mut fields).map(Sentence::Gns),
            b"GSA" => gsa(&mut fields).map(Sentence::Gsa),
            b"ZDA" => zda(&mut fields).map(Sentence::Zda),
            _ => Some(Sentence::Other),
        },
        _ => Some(Sentence::Other),
    };
    sentence.unwrap_or(Sentence::Malformed)
}

fn rmc(fields: &mut Fields<'_>) -> Option<Rmc> {
    let tod_ms = time_of_day_ms(fields.next())?;
    let active = match fields.next() {
        b"A" => true,
        b"V" | b"" => false,
        _ => return None,
    };
    let position = position(fields);
    let speed_mm_s = knots_to_mm_s(fields.next());
    let course_1e5_deg = course_1e5_deg(fields.next());
    let date = date(fields.next());
    let (_variation, _direction) = (fields.next(), fields.next());
    let mode = fields.next().first().copied();
    Some(Rmc {
        tod_ms,
        active,
        position,
        speed_mm_s,
        course_1e5_deg,
        date,
        mode,
    })
}

fn gga(fields: &mut Fields<'_>) -> Option<Gga> {
    let tod_ms = time_of_day_ms(fields.next())?;
    let position = position(fields);
    let quality = match fields.next() {
        b"" => 0,
        [digit @ b'0'..=b'8'] => digit - b'0',
        _ => return None,
    };
    let satellites = digits(fields.next()).and_then(|count| u8::try_from(count).ok());
    let hdop_x100 = dop_x100(fields.next());
    let height = Decimal::parse(fields.next());
    // Any other unit would need another factor.
    let height_mm = match fields.next() {
        b"M" => height.and_then(|height| height.times(1000, 1)),
        _ => None,
    };
    Some(Gga {
        tod_ms,
        position,
        quality,
        satellites,
        hdop_x100,
        height_mm,
    })
}

fn gns(fields: &mut Fields<'_>) -> Option<Gga> {
    let tod_ms = time_of_day_ms(fields.next())?;
    let position = position(fields);
    let quality = gns_quality(fields.next())?;
    let satellites = digits(fields.next()).and_then(|count| u8::try_from(count).ok());
    let hdop_x100 = dop_x100(fields.next());
    // Always metres.
    let height_mm = Decimal::parse(fields.next()).and_then(|height| height.times(1000, 1));
    Some(Gga {
        tod_ms,
        position,
        quality,
        satellites,
        hdop_x100,
        height_mm,
    })
}

/// One letter for each constellation, as the quality of a GGA: the best that is measured, else
/// what is not.
fn gns_quality(modes: &[u8]) -> Option<u8> {
    let mut best = 0;
    for mode in modes {
        let quality = match mode {
            b'N' => 0,
            b'A' => 1,
            b'D' => 2,
            b'P' => 3,
            b'F' => 5,
            b'R' => 4,
            b'E' => 6,
            b'M' => 7,
            b'S' => 8,
            _ => return None,
        };
        best = match (best, quality) {
            (0, quality) => quality,
            (best, 0) => best,
            // RTK: fixed beats floating.
            (4, 5) | (5, 4) => 4,
            (best @ 1..=5, quality @ 1..=5) => best.max(quality),
            (best @ 1..=5, _) => best,
            (_, quality @ 1..=5) => quality,
            (best, quality) => best.max(quality),
        };
    }
    Some(best)
}

fn gsa(fields: &mut Fields<'_>) -> Option<Gsa> {
    let _selection = fields.next();
    let mode = match fields.next() {
        [digit @ b'1'..=b'3'] => digit - b'0',
        _ => return None,
    };
    for _satellite in 0..12 {
        fields.next();
    }
    let pdop_x100 = dop_x100(fields.next());
    Some(Gsa { mode, pdop_x100 })
}

fn zda(fields: &mut Fields<'_>) -> Option<Zda> {
    let tod_ms = time_of_day_ms(fields.next())?;
    let [day, month, year] = [(); 3].map(|()| digits(fields.next()));
    let date = || {
        let (day, month) = (u8::try_from(day?).ok()?, u8::try_from(month?).ok()?);
        Date::new(u16::try_from(year?).ok()?, month, day)
    };
    let date = date();
    Some(Zda { tod_ms, date })
}

#[cfg(test)]
mod tests;
