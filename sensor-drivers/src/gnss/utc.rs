//! Civil dates and milliseconds since 1970, without a clock and without leap seconds.
//!
//! Promises: exact for the years 1 to 9999; an impossible date is `None`. Never: a look at the
//! system's time.

use core::fmt;

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// A calendar date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Date {
    /// Full year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// A date that exists in the calendar.
    #[must_use]
    #[inline]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid = (1..=9999).contains(&year) && (1..=days_in_month(year, month)).contains(&day);
        valid.then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01.
    #[must_use]
    #[inline]
    pub fn days(self) -> i64 {
        // Years start in March, so that the leap day is the last of its year.
        let before_march = i64::from(self.month < 3);
        let year = i64::from(self.year) - before_march;
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
    }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

/// Writes milliseconds since 1970 as `2017-03-31T11:01:24.000Z`.
#[derive(Debug, Clone, Copy)]
pub struct Iso(
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub i64,
);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tod_ms = self.0.rem_euclid(DAY_MS);
        let (year, month, day) = civil(self.0.div_euclid(DAY_MS));
        let (hour, minute) = (tod_ms / 3_600_000, tod_ms / 60_000 % 60);
        let (second, ms) = (tod_ms / 1000 % 60, tod_ms % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month < 3), month, day)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_day_from_1970_to_2100_counts_on_by_one_and_prints_as_itself() {
        let mut expected = 0;
        for year in 1970..2100 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    let date = Date::new(year, month, day).unwrap();
                    assert_eq!(date.days(), expected);
                    let text = std::format!("{year}-{month:02}-{day:02}T23:59:59.999Z");
                    assert_eq!(Iso(expected * DAY_MS + DAY_MS - 1).to_string(), text);
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, 47_482);
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 13, 1), (2024, 0, 1)] {
            assert_eq!(Date::new(year, month, day), None);
        }
        assert!(Date::new(2000, 2, 29).is_some());
        assert_eq!(Date::new(2024, 4, 31), None);
        assert_eq!(Date::new(2024, 4, 0), None);
    }
}
