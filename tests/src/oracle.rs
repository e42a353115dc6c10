//! Compares what the buses handed out with what the database holds.

use std::collections::BTreeMap;

use crate::store::Row;
use crate::truth::Truth;

/// What came of the readings of one vehicle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Readings that the buses handed out.
    pub handed_out: usize,
    /// Of these, stored exactly once.
    pub once: usize,
    /// Of these, stored more than once.
    pub twice: Vec<String>,
    /// Of these, not stored; their stamps.
    pub missing_ms: Vec<u64>,
    /// Stored without having been handed out.
    pub invented: Vec<String>,
}

impl Account {
    /// Whether every reading that was handed out is stored exactly once, and no other.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.is_honest() && self.missing_ms.is_empty()
    }

    /// Whether nothing is stored twice or invented; readings may be missing.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.twice.is_empty() && self.invented.is_empty()
    }

    /// The missing readings that no kill excuses: a kill may cost what was handed out in the last
    /// `accept_ms` of virtual time before it.
    #[must_use]
    pub fn missing_without_excuse(&self, kills_ms: &[u64], accept_ms: u64) -> Vec<u64> {
        let excused = |t: &u64| {
            kills_ms
                .iter()
                .any(|kill| *t <= *kill && kill.saturating_sub(*t) <= accept_ms)
        };
        self.missing_ms
            .iter()
            .copied()
            .filter(|t| !excused(t))
            .collect()
    }

    /// Adds another vehicle's account.
    pub fn add(&mut self, other: Self) {
        self.handed_out += other.handed_out;
        self.once += other.once;
        self.twice.extend(other.twice);
        self.missing_ms.extend(other.missing_ms);
        self.invented.extend(other.invented);
    }
}

/// What a reading is known by outside the gateway, but for its time: where, and what it says.
type Key = (u8, i64, i64);

/// A position may carry a stamp this much later than its last byte was handed out: several epochs found
/// in one look at the receiver are stamped apart, and an NMEA epoch is over when the next one begins.
const POSITION_LATE_MS_MAX: u64 = 2500;

/// Accounts for one vehicle. `sensors` maps the sensor index of a row to the address on the bus.
#[must_use]
pub fn account(truth: &Truth, rows: &[Row], sensors: &BTreeMap<u8, u8>) -> Account {
    let mut open = handed_out(truth);
    let mut account = Account {
        handed_out: truth.readings(),
        ..Account::default()
    };
    let all = open.clone();
    // First those that carry the very time, then those that are late: a parked vehicle says the same
    // position again and again.
    let mut late = Vec::new();
    for row in rows {
        let Some((key, late_ms_max)) = key(row, sensors) else {
            continue;
        };
        if take(&mut open, key, |t_ms| t_ms == row.boottime_ms) {
            account.once += 1;
        } else {
            late.push((row, key, late_ms_max));
        }
    }
    late.sort_by_key(|(row, ..)| row.boottime_ms);
    for (row, key, late_ms_max) in late {
        let fits = |t_ms: u64| t_ms <= row.boottime_ms && row.boottime_ms - t_ms <= late_ms_max;
        if take(&mut open, key, fits) {
            account.once += 1;
        } else if all
            .get(&key)
            .is_some_and(|times| times.iter().any(|t_ms| fits(*t_ms)))
        {
            account.twice.push(format!("{row:?}"));
        } else {
            account.invented.push(format!("{row:?}"));
        }
    }
    account.missing_ms.extend(open.into_values().flatten());
    account.missing_ms.sort_unstable();
    account
}

/// Takes the first time that fits; whether there was one.
fn take(open: &mut BTreeMap<Key, Vec<u64>>, key: Key, fits: impl Fn(u64) -> bool) -> bool {
    let Some(times) = open.get_mut(&key) else {
        return false;
    };
    let Some(at) = times.iter().position(|t_ms| fits(*t_ms)) else {
        return false;
    };
    times.remove(at);
    true
}

/// The times at which each thing was handed out, oldest first.
fn handed_out(truth: &Truth) -> BTreeMap<Key, Vec<u64>> {
    let mut open: BTreeMap<Key, Vec<u64>> = BTreeMap::new();
    for t in &truth.temperatures {
        open.entry((t.address, i64::from(t.raw), 0))
            .or_default()
            .push(t.t_ms);
    }
    for epoch in truth.fixes() {
        let (lat, lon) = (
            epoch.lat_1e7.unwrap_or(i64::MAX),
            epoch.lon_1e7.unwrap_or(i64::MAX),
        );
        open.entry((epoch.address, lat, lon))
            .or_default()
            .push(epoch.t_ms);
    }
    open.values_mut().for_each(|times| times.sort_unstable());
    open
}

/// What a row is known by, and how late its stamp may be; `None` for what no chip hands out.
fn key(row: &Row, sensors: &BTreeMap<u8, u8>) -> Option<(Key, u64)> {
    let address = sensors.get(&row.sensor).copied().unwrap_or(u8::MAX);
    match row.kind.as_str() {
        "temperature" => Some(((address, row.raw.unwrap_or(i64::MAX), 0), 0)),
        "position" => {
            let (lat, lon) = (row.lat.unwrap_or(i64::MAX), row.lon.unwrap_or(i64::MAX));
            Some(((address, lat, lon), POSITION_LATE_MS_MAX))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Temperature;

    fn row(boottime_ms: u64, raw: i64) -> Row {
        Row {
            sensor: 0,
            kind: "temperature".into(),
            boottime_ms,
            raw: Some(raw),
            ..Row::default()
        }
    }

    fn check(
        handed_out: &[(u64, i16)],
        rows: &[(u64, i64)],
        expected: (usize, usize, usize, usize),
    ) {
        let truth = Truth {
            temperatures: handed_out
                .iter()
                .map(|(t_ms, raw)| Temperature {
                    t_ms: *t_ms,
                    address: 72,
                    raw: *raw,
                })
                .collect(),
            epochs: Vec::new(),
        };
        let rows: Vec<Row> = rows.iter().map(|(t, raw)| row(*t, *raw)).collect();
        let account = account(&truth, &rows, &BTreeMap::from([(0, 72)]));
        let found = (
            account.once,
            account.twice.len(),
            account.missing_ms.len(),
            account.invented.len(),
        );
        assert_eq!(found, expected, "{account:?}");
    }

    #[test]
    fn the_oracle_sees_what_is_missing_doubled_or_invented() {
        check(&[(1, 5), (2, 6)], &[(1, 5), (2, 6)], (2, 0, 0, 0));
        check(&[(1, 5), (2, 6)], &[(2, 6)], (1, 0, 1, 0));
        check(&[(1, 5)], &[(1, 5), (1, 5)], (1, 1, 0, 0));
        check(&[(1, 5)], &[(1, 6)], (0, 0, 1, 1));
        check(&[(1, 5)], &[(3, 5)], (0, 0, 1, 1));
    }

    #[test]
    fn only_a_kill_shortly_after_excuses_a_missing_reading() {
        let account = Account {
            missing_ms: vec![1000, 5000, 9000],
            ..Account::default()
        };
        assert_eq!(
            account.missing_without_excuse(&[5500], 1000),
            vec![1000, 9000]
        );
        assert_eq!(
            account.missing_without_excuse(&[], 1000),
            vec![1000, 5000, 9000]
        );
    }
}
