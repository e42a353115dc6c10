//! NMEA 0183 sentences: RMC and GGA of any talker.
//!
//! Promises: integer arithmetic, correctly rounded (halves away from zero); a field that is empty
//! is `None`, one that is malformed is `None` as well and never a zero; a sentence whose time is
//! malformed is [`Sentence::Malformed`]. Never: a decision about validity (that is
//! `gnss::epoch`), a float, or an allocation.
//!
//! Works on the text between `$` and `*`; the checksum was checked by `gnss::stream`.

use crate::gnss::utc::{DAY_MS, Date};

/// A decoded sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// Recommended minimum: validity, position, speed, course, date.
    Rmc(Rmc),
    /// Fix data: quality, position, satellites, height.
    Gga(Gga),
    /// Another sentence (GNS, ZDA, GSA, GSV, proprietary ...), which carries nothing that is
    /// needed here.
    Other,
    /// RMC or GGA whose time field, status or quality cannot be read, so that it belongs to no
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
    let mut fields = Fields { rest: Some(body) };
    let sentence = match fields.next() {
        // The first two letters are the talker; P is proprietary.
        [first, _, kind @ ..] if *first != b'P' => match kind {
            b"RMC" => rmc(&mut fields).map(Sentence::Rmc),
            b"GGA" => gga(&mut fields).map(Sentence::Gga),
            _ => Some(Sentence::Other),
        },
        _ => Some(Sentence::Other),
    };
    sentence.unwrap_or(Sentence::Malformed)
}

/// The comma-separated fields; past the end they are empty.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> &'a [u8] {
        let Some(rest) = self.rest else { return &[] };
        match rest.iter().position(|byte| *byte == b',') {
            Some(comma) => {
                self.rest = rest.get(comma + 1..);
                rest.get(..comma).unwrap_or_default()
            }
            None => {
                self.rest = None;
                rest
            }
        }
    }
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
    let hdop_x100 = Decimal::parse(fields.next())
        .and_then(|hdop| hdop.times(100, 1))
        .and_then(|hdop| u16::try_from(hdop).ok());
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

/// `Some(None)` for an empty field, `None` for a malformed one.
fn time_of_day_ms(field: &[u8]) -> Option<Option<u32>> {
    if field.is_empty() {
        return Some(None);
    }
    let (whole, fraction) = field.split_at_checked(6)?;
    let [hour, minute, second] = three_pairs(whole)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let ms = match fraction {
        [] => 0,
        [b'.', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            let place =
                |index, weight| u32::from(digits.get(index).map_or(0, |d| d - b'0')) * weight;
            place(0, 100) + place(1, 10) + place(2, 1)
        }
        _ => return None,
    };
    Some(Some(((hour * 60 + minute) * 60 + second) * 1000 + ms))
}

fn date(field: &[u8]) -> Option<Date> {
    let [day, month, year] = three_pairs(field)?;
    let century = if year >= 80 { 1900 } else { 2000 };
    Date::new(
        u16::try_from(century + year).ok()?,
        u8::try_from(month).ok()?,
        u8::try_from(day).ok()?,
    )
}

fn three_pairs(field: &[u8]) -> Option<[u32; 3]> {
    let [a, b, c, d, e, f] = field else {
        return None;
    };
    Some([digits(&[*a, *b])?, digits(&[*c, *d])?, digits(&[*e, *f])?])
}

/// Up to nine decimal digits.
fn digits(field: &[u8]) -> Option<u32> {
    if field.is_empty() || field.len() > 9 || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        field
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
    )
}

fn position(fields: &mut Fields<'_>) -> Option<(i32, i32)> {
    let lat = coordinate(fields.next(), 90);
    let north = fields.next();
    let lon = coordinate(fields.next(), 180);
    let east = fields.next();
    let lat = match north {
        b"N" => lat?,
        b"S" => -lat?,
        _ => return None,
    };
    match east {
        b"E" => Some((lat, lon?)),
        b"W" => Some((lat, -lon?)),
        _ => None,
    }
}

/// `dddmm.mmmm` in 1e-7 degree.
fn coordinate(field: &[u8], limit_deg: u64) -> Option<i32> {
    let value = Decimal::parse(field).filter(|value| !value.negative)?;
    let unit = value.unit();
    let degrees = value.mantissa / (unit * 100);
    let minutes = value.mantissa % (unit * 100);
    if minutes >= unit * 60 {
        return None;
    }
    let scaled = degrees * 10_000_000 + divide_rounded(minutes * 10_000_000, unit * 60);
    i32::try_from(scaled)
        .ok()
        .filter(|_| scaled <= limit_deg * 10_000_000)
}

/// One knot is 1852 m/h, that is 4630/9 mm/s.
fn knots_to_mm_s(field: &[u8]) -> Option<i32> {
    Decimal::parse(field)
        .filter(|speed| !speed.negative)?
        .times(4630, 9)
}

fn course_1e5_deg(field: &[u8]) -> Option<i32> {
    let course = Decimal::parse(field)
        .filter(|course| !course.negative)?
        .times(100_000, 1)?;
    (course <= 36_000_000).then_some(course)
}

/// A decimal number with at most seven digits before and seven after the point.
struct Decimal {
    negative: bool,
    mantissa: u64,
    places: u32,
}

impl Decimal {
    fn parse(field: &[u8]) -> Option<Self> {
        let (negative, field) = match field {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, field),
        };
        let point = field.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(point) => (field.get(..point)?, field.get(point + 1..)?),
            None => (field, &[][..]),
        };
        if whole.len() + fraction.len() == 0 || whole.len() > 7 {
            return None;
        }
        // Places beyond the seventh are far below every unit here.
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let fraction = fraction.get(..fraction.len().min(7))?;
        let mut mantissa = 0;
        for digit in whole.iter().chain(fraction) {
            if !digit.is_ascii_digit() {
                return None;
            }
            mantissa = mantissa * 10 + u64::from(digit - b'0');
        }
        Some(Self {
            negative,
            mantissa,
            places: u32::try_from(fraction.len()).ok()?,
        })
    }

    fn unit(&self) -> u64 {
        10u64.pow(self.places)
    }

    /// The value times `factor / divisor`, rounded.
    fn times(&self, factor: u64, divisor: u64) -> Option<i32> {
        let scaled = divide_rounded(self.mantissa * factor, self.unit() * divisor);
        let scaled = i32::try_from(scaled).ok()?;
        Some(if self.negative { -scaled } else { scaled })
    }
}

/// Rounds to nearest, halves up; the sign is applied afterwards, so halves go away from zero.
fn divide_rounded(dividend: u64, divisor: u64) -> u64 {
    (dividend + divisor / 2) / divisor
}

#[cfg(test)]
mod tests;
