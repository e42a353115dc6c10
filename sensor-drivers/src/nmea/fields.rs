//! The fields of a sentence as numbers.
//!
//! Promises: integer arithmetic, correctly rounded, halves away from zero; what cannot be read is
//! `None`. Never: a meaning; that is the sentence's.

use crate::gnss::utc::Date;

/// The comma-separated fields; past the end they are empty.
pub(super) struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: Some(body) }
    }

    pub(super) fn next(&mut self) -> &'a [u8] {
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

pub(super) fn dop_x100(field: &[u8]) -> Option<u16> {
    let dop = Decimal::parse(field)?.times(100, 1)?;
    u16::try_from(dop).ok()
}

/// `Some(None)` for an empty field, `None` for a malformed one.
pub(super) fn time_of_day_ms(field: &[u8]) -> Option<Option<u32>> {
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

pub(super) fn date(field: &[u8]) -> Option<Date> {
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
pub(super) fn digits(field: &[u8]) -> Option<u32> {
    if field.is_empty() || field.len() > 9 || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        field
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
    )
}

pub(super) fn position(fields: &mut Fields<'_>) -> Option<(i32, i32)> {
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
pub(super) fn knots_to_mm_s(field: &[u8]) -> Option<i32> {
    Decimal::parse(field)
        .filter(|speed| !speed.negative)?
        .times(4630, 9)
}

pub(super) fn course_1e5_deg(field: &[u8]) -> Option<i32> {
    let course = Decimal::parse(field)
        .filter(|course| !course.negative)?
        .times(100_000, 1)?;
    (course <= 36_000_000).then_some(course)
}

/// A decimal number with at most seven digits before and seven after the point.
pub(super) struct Decimal {
    negative: bool,
    mantissa: u64,
    places: u32,
}

impl Decimal {
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
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
    pub(super) fn times(&self, factor: u64, divisor: u64) -> Option<i32> {
        let scaled = divide_rounded(self.mantissa * factor, self.unit() * divisor);
        let scaled = i32::try_from(scaled).ok()?;
        Some(if self.negative { -scaled } else { scaled })
    }
}

/// Rounds to nearest, halves up; the sign is applied afterwards, so halves go away from zero.
fn divide_rounded(dividend: u64, divisor: u64) -> u64 {
    (dividend + divisor / 2) / divisor
}
