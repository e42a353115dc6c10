//! When a route may call somebody: windows of the week in a time zone.
//!
//! Promises: `next_open` is a moment at which the schedule is open. Never: a clock.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Some windows of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    windows: Vec<Window>,
    zone: TimeZone,
    zone_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    text: String,
    /// From Monday on.
    days: [bool; 7],
    from_min: i16,
    /// Less than `from_min`: on the next day.
    to_min: i16,
}

/// What is wrong with a schedule.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) allowed: &'static str,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MIN: i16 = 24 * 60;

impl Schedule {
    /// Reads windows such as `mon-fri 06:00-22:00` or `sat,sun 22:00-06:00`.
    pub(crate) fn parse(texts: &[String], zone: &str) -> Result<Self, Bad> {
        let windows = texts.iter().map(|text| {
            window(text).ok_or_else(|| Bad {
                key: "route.schedule",
                value: text.clone(),
                allowed: "windows such as \"mon-fri 06:00-22:00\" or \"sat,sun 22:00-06:00\"",
            })
        });
        Ok(Self {
            windows: windows.collect::<Result<_, _>>()?,
            zone: TimeZone::get(zone).map_err(|_| Bad {
                key: "route.timezone",
                value: zone.to_owned(),
                allowed: "a zone of this machine such as \"Europe/Berlin\", or \"UTC\"",
            })?,
            zone_name: zone.to_owned(),
        })
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.windows.iter().map(|w| w.text.clone()).collect()
    }

    pub(super) fn zone(&self) -> String {
        self.zone_name.clone()
    }

    /// Whether somebody may be called at this moment.
    pub(crate) fn is_open(&self, utc_ms: i64) -> bool {
        let Ok(at) = Timestamp::from_millisecond(utc_ms) else {
            return true;
        };
        let local = at.to_zoned(self.zone.clone());
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let today = day(local.weekday());
        self.windows.iter().any(|window| {
            let on = |day: usize| window.days.get(day % 7).copied().unwrap_or(false);
            match window.from_min < window.to_min {
                true => on(today) && (window.from_min..window.to_min).contains(&minute),
                false => {
                    (on(today) && minute >= window.from_min)
                        || (on(today + 6) && minute < window.to_min)
                }
            }
        })
    }

    /// The next moment at which it opens, or this one while it is open.
    pub(crate) fn next_open(&self, utc_ms: i64) -> i64 {
        if self.is_open(utc_ms) {
            return utc_ms;
        }
        let Ok(at) = Timestamp::from_millisecond(utc_ms) else {
            return utc_ms;
        };
        let local = at.to_zoned(self.zone.clone());
        let mut best: Option<i64> = None;
        for ahead in 0..=8 {
            let Ok(date) = local.date().checked_add(ahead.days()) else {
                continue;
            };
            for window in &self.windows {
                if !window
                    .days
                    .get(day(date.weekday()))
                    .copied()
                    .unwrap_or(false)
                {
                    continue;
                }
                let (hour, minute) = (window.from_min / 60, window.from_min % 60);
                let time = Time::new(
                    i8::try_from(hour).unwrap_or(0),
                    i8::try_from(minute).unwrap_or(0),
                    0,
                    0,
                );
                let opens = time
                    .and_then(|time| date.to_datetime(time).to_zoned(self.zone.clone()))
                    .map(|opens| opens.timestamp().as_millisecond());
                if let Ok(opens) = opens
                    && opens > utc_ms
                    && self.is_open(opens)
                {
                    best = Some(best.map_or(opens, |best| best.min(opens)));
                }
            }
        }
        // A window that the change to summer time swallows whole, week after week, is not there: call at once.
        best.unwrap_or(utc_ms)
    }
}

fn day(weekday: Weekday) -> usize {
    usize::try_from(weekday.to_monday_zero_offset()).unwrap_or(0)
}

fn window(text: &str) -> Option<Window> {
    let (days_text, hours) = text.split_once(' ')?;
    let mut days = [false; 7];
    for part in days_text.split(',') {
        let number = |name: &str| DAYS.iter().position(|day| *day == name);
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        let mut at = first;
        loop {
            *days.get_mut(at)? = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    let (from, to) = hours.split_once('-')?;
    let (from_min, to_min) = (minutes(from)?, minutes(to)?);
    (from_min != to_min && from_min < DAY_MIN).then(|| Window {
        text: text.to_owned(),
        days,
        from_min,
        to_min,
    })
}

/// `06:00` to `24:00`.
fn minutes(text: &str) -> Option<i16> {
    let (hour, minute) = text.split_once(':')?;
    let is_plain = hour.len() == 2 && minute.len() == 2;
    let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
    let total = hour * 60 + minute;
    (is_plain && (0..60).contains(&minute) && (0..=DAY_MIN).contains(&total)).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(texts: &[&str], zone: &str) -> Schedule {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Schedule::parse(&texts, zone).unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_open_and_close_by_the_clock_on_the_wall() {
        let desk = schedule(&["mon-fri 06:00-22:00", "sat 22:00-02:00"], "UTC");
        // 2026-11-30 is a Monday.
        for (at, open) in [
            ("2026-11-30T05:59:59Z", false),
            ("2026-11-30T06:00:00Z", true),
            ("2026-11-30T21:59:59Z", true),
            ("2026-11-30T22:00:00Z", false),
            ("2026-12-05T12:00:00Z", false),
            ("2026-12-05T23:00:00Z", true),
            ("2026-12-06T01:59:00Z", true),
            ("2026-12-06T02:00:00Z", false),
        ] {
            assert_eq!(desk.is_open(ms(at)), open, "{at}");
        }
        assert_eq!(
            desk.next_open(ms("2026-12-04T22:00:00Z")),
            ms("2026-12-05T22:00:00Z")
        );
    }

    #[test]
    fn what_is_not_a_window_is_refused() {
        for text in [
            "",
            "mon",
            "mon 6-22",
            "mon 06:00-06:00",
            "xyz 06:00-22:00",
            "mon 06:00-25:00",
            "mon 24:00-06:00",
            "mon 06:60-07:00",
            "mon  06:00-07:00",
        ] {
            assert!(window(text).is_none(), "{text}");
        }
        assert!(window("fri-mon 06:00-24:00").is_some());
    }

    proptest! {
        #[test]
        fn next_open_is_open_and_not_before(
            day in 0usize..7, from in 0i16..1440, len in 1i16..1440, at in 1_700_000_000_000i64..1_800_000_000_000
        ) {
            let to = (from + len) % 1440;
            prop_assume!(from != to);
            let text = format!(
                "{} {:02}:{:02}-{:02}:{:02}", DAYS[day], from / 60, from % 60, to / 60, to % 60
            );
            let desk = schedule(&[&text], "UTC");
            let next = desk.next_open(at);
            prop_assert!(next >= at);
            prop_assert!(desk.is_open(next));
            prop_assert!(next - at < 8 * 86_400_000);
            if next > at {
                prop_assert!(!desk.is_open(next - 1));
            }
        }
    }
}
