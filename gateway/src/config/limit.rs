//! `[[limit]]`: absolute limits by role and compartment, with a schedule.
//!
//! Promises: a limit that no thermometer of this device has to keep is refused; while UTC is not known a
//! schedule counts as in force. Never: a time zone database; local time is a distance from UTC.

use firmware_shared::alert::Severity;
use firmware_shared::catalogue::Name;
use firmware_shared::units::Celsius128;
use toml::Value;

use super::sensor::{ROLES, SEVERITIES, counts};
use super::{ConfigError, Quantity, Section, SensorConfig};

/// Limits that one sensor may have to keep, its own included.
pub const LIMITS_PER_SENSOR_MAX: usize = 8;

/// What is allowed for a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above this is too high.
    pub high: Option<Celsius128>,
    /// Below this is too low.
    pub low: Option<Celsius128>,
    /// How long it must last before it is an alert, ms of stamps; 0 = the first reading.
    pub duration_ms: u64,
    /// How far inside the limit a value must be again before the alert may clear.
    pub hysteresis: Celsius128,
    /// How bad it is.
    pub severity: Severity,
}

impl Limits {
    /// Everything is allowed.
    pub const NONE: Self = Self {
        high: None,
        low: None,
        duration_ms: 0,
        hysteresis: Celsius128(0),
        severity: Severity::Warning,
    };

    /// Whether anything is forbidden.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.high.is_none() && self.low.is_none()
    }
}

/// A limit and when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// What is allowed.
    pub limits: Limits,
    /// Always, without one.
    pub schedule: Option<Schedule>,
}

impl LimitRule {
    /// A limit that always holds.
    #[must_use]
    pub fn always(limits: Limits) -> Self {
        Self {
            limits,
            schedule: None,
        }
    }

    /// Whether it holds at this time; an unknown time counts as one at which it does.
    #[must_use]
    pub fn holds_at(&self, utc_ms: Option<u64>) -> bool {
        match (&self.schedule, utc_ms) {
            (Some(schedule), Some(utc_ms)) => schedule.holds_at(utc_ms),
            _ => true,
        }
    }
}

/// Hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Minute of the day at which it begins.
    pub from_min: u32,
    /// Minute of the day at which it ends; at or before the beginning: on the next day.
    pub until_min: u32,
    /// Days on which it begins, Monday first.
    pub days: [bool; 7],
    /// Local time is UTC and so many minutes.
    pub utc_offset_min: i32,
}

const DAY_MIN: i64 = 1440;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEKDAY: i64 = 3;

impl Schedule {
    fn holds_at(&self, utc_ms: u64) -> bool {
        let utc_min = i64::try_from(utc_ms / 60_000).unwrap_or(i64::MAX);
        let local_min = utc_min.saturating_add(i64::from(self.utc_offset_min));
        let (day, minute) = (local_min.div_euclid(DAY_MIN), local_min.rem_euclid(DAY_MIN));
        let begins_on = |day: i64| {
            let weekday = usize::try_from((day + EPOCH_WEEKDAY).rem_euclid(7)).unwrap_or(0);
            self.days.get(weekday).copied().unwrap_or(true)
        };
        let (from, until) = (i64::from(self.from_min), i64::from(self.until_min));
        if from < until {
            return begins_on(day) && (from..until).contains(&minute);
        }
        (begins_on(day) && minute >= from) || (begins_on(day - 1) && minute < until)
    }
}

/// A limit for every thermometer of a role and compartment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedLimit {
    /// Only for sensors of this role.
    pub role: Option<Name>,
    /// Only for sensors in this compartment.
    pub compartment: Option<Name>,
    /// What is allowed.
    pub rule: LimitRule,
}

impl PlacedLimit {
    /// Whether a sensor has to keep it.
    #[must_use]
    pub fn is_for(&self, sensor: &SensorConfig) -> bool {
        let is =
            |wanted: &Option<Name>, has: &Name| wanted.as_ref().is_none_or(|wanted| wanted == has);
        sensor.quantity == Quantity::Temperature
            && is(&self.role, &sensor.role)
            && is(&self.compartment, &sensor.compartment)
    }
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DEG_C: std::ops::RangeInclusive<f64> = -200.0..=1800.0;

/// Reads the sections `[[limit]]`.
pub(super) fn read(root: &mut Section<'_>) -> Result<Vec<PlacedLimit>, ConfigError> {
    let (mut limits, mut tables) = (Vec::new(), Vec::new());
    for mut section in root.sections("limit")? {
        limits.push(read_limit(&mut section)?);
        tables.push(section.finish()?);
    }
    root.adopt_all("limit", tables);
    Ok(limits)
}

fn read_limit(section: &mut Section<'_>) -> Result<PlacedLimit, ConfigError> {
    let names: Vec<(&'static str, &'static str)> = ROLES.to_vec();
    let role = section.choice_if_any("role", &names)?;
    let role = role.and_then(|role| Name::try_from(role).ok());
    let compartment = read_compartment(section, "compartment")?;
    let high = section.number_if_any("high_deg_c", DEG_C)?.map(counts);
    let low = section.number_if_any("low_deg_c", DEG_C)?.map(counts);
    if high.is_none() && low.is_none() {
        let allowed = "a number, here or in low_deg_c";
        return Err(section.missing("high_deg_c", allowed));
    }
    check_order(section, low, high, ["low_deg_c", "high_deg_c"])?;
    let duration_s = section.integer("duration_s", 0_u32, 0..=86_400)?;
    let hysteresis = section.number("hysteresis_deg_c", 0.5, 0.0..=20.0)?;
    let severity = section.choice("severity", Some("critical"), &SEVERITIES)?;
    let limits = Limits {
        high,
        low,
        duration_ms: u64::from(duration_s) * 1000,
        hysteresis: counts(hysteresis),
        severity,
    };
    let schedule = read_schedule(section)?;
    Ok(PlacedLimit {
        role,
        compartment,
        rule: LimitRule { limits, schedule },
    })
}

/// The name of a compartment, if there is one.
pub(super) fn read_compartment(
    section: &mut Section<'_>,
    key: &'static str,
) -> Result<Option<Name>, ConfigError> {
    let allowed = "a text of 1 to 32 bytes";
    let Some(text) = section.text_if_any(key, allowed)? else {
        return Ok(None);
    };
    match Name::try_from(text.as_str()) {
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(section.refuse(key, Value::String(text), allowed)),
    }
}

/// The lower limit must be below the upper one.
pub(super) fn check_order(
    section: &Section<'_>,
    low: Option<Celsius128>,
    high: Option<Celsius128>,
    [low_key, high_key]: [&'static str; 2],
) -> Result<(), ConfigError> {
    match (low, high) {
        (Some(low), Some(high)) if low >= high => {
            let allowed = format!("below {high_key}, which is {}", high.as_degrees_f64());
            Err(section.refuse(low_key, low.as_degrees_f64(), allowed))
        }
        _ => Ok(()),
    }
}

fn read_schedule(section: &mut Section<'_>) -> Result<Option<Schedule>, ConfigError> {
    let from_min = read_time(section, "from")?;
    let until_min = read_time(section, "until")?;
    let days = section.list("days", "mon, tue, wed, thu, fri, sat or sun", |text| {
        WEEKDAYS.iter().position(|day| *day == text)
    })?;
    let utc_offset_min = section.integer("utc_offset_min", 0_i32, -840..=840)?;
    if from_min.is_none() && until_min.is_none() && days.is_empty() {
        return Ok(None);
    }
    let mut on = [days.is_empty(); 7];
    for day in days {
        if let Some(slot) = on.get_mut(day) {
            *slot = true;
        }
    }
    Ok(Some(Schedule {
        from_min: from_min.unwrap_or(0),
        until_min: until_min.unwrap_or(1440),
        days: on,
        utc_offset_min,
    }))
}

/// A time of day in minutes.
fn read_time(section: &mut Section<'_>, key: &'static str) -> Result<Option<u32>, ConfigError> {
    let allowed = "a time of day from \"00:00\" to \"24:00\"";
    let Some(text) = section.text_if_any(key, allowed)? else {
        return Ok(None);
    };
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let is_two = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        if !is_two(hours) || !is_two(minutes) {
            return None;
        }
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let sum = hours * 60 + minutes;
        (minutes < 60 && sum <= 1440).then_some(sum)
    });
    match parsed {
        Some(minutes) => Ok(Some(minutes)),
        None => Err(section.refuse(key, Value::String(text), allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes after 2027-01-04T00:00Z, a Monday.
    fn at(minutes: i64) -> u64 {
        (1_799_020_800_000 + minutes * 60_000) as u64
    }

    fn schedule(from_min: u32, until_min: u32, days: [bool; 7], utc_offset_min: i32) -> Schedule {
        Schedule {
            from_min,
            until_min,
            days,
            utc_offset_min,
        }
    }

    #[test]
    fn a_schedule_holds_in_its_hours_on_its_days_and_over_midnight() {
        let monday = [true, false, false, false, false, false, false];
        let day = schedule(360, 1320, monday, 0);
        for (minutes, holds) in [(359, false), (360, true), (1319, true), (1320, false)] {
            assert_eq!(day.holds_at(at(minutes)), holds, "{minutes}");
            assert!(!day.holds_at(at(minutes + 1440)), "not on a Tuesday");
        }
        let night = schedule(1320, 360, monday, 0);
        for (minutes, holds) in [
            (0, false),
            (1320, true),
            (1440 + 359, true),
            (1440 + 360, false),
        ] {
            assert_eq!(night.holds_at(at(minutes)), holds, "{minutes}");
        }
        // An hour east of Greenwich the day begins earlier.
        let east = schedule(0, 1440, monday, 60);
        assert!(east.holds_at(at(-60)) && !east.holds_at(at(-61)) && !east.holds_at(at(1380)));
    }

    #[test]
    fn without_utc_a_schedule_is_in_force() {
        let rule = LimitRule {
            limits: Limits::NONE,
            schedule: Some(schedule(0, 1, [false; 7], 0)),
        };
        assert!(rule.holds_at(None) && !rule.holds_at(Some(at(0))));
    }
}
