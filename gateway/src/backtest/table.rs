//! Rows of readings from a CSV file with a header.
//!
//! Promises: what is wrong is told with its line, its value and what is allowed; an empty value and NaN are rows
//! without a valid value. Never: more than one row in memory.

use std::io::BufRead;

use firmware_shared::detect::Channels;

use super::channels;

/// The columns, in the order of [`Row`].
const COLUMNS: [&str; 7] = [
    "timestamp",
    "value",
    "sensor",
    "set_point",
    "door",
    "defrost",
    "ambient",
];
const LINE_LEN_MAX: usize = 4096;
/// Larger numbers are milliseconds.
const SECONDS_MAX: f64 = 1e11;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It cannot be read.
    #[error("line {line}: {reason}; allowed is text in UTF-8 that can be read")]
    Unreadable {
        /// Counted from 1.
        line: usize,
        /// What the system says.
        reason: String,
    },
    /// The header.
    #[error(
        "line 1: {found} is not allowed; allowed are timestamp, value and optionally sensor, set_point, door, defrost, ambient"
    )]
    Header {
        /// What stands there.
        found: String,
    },
    /// A cell.
    #[error("line {line}: {column} = {found:?} is not allowed; allowed is {allowed}")]
    Cell {
        /// Counted from 1.
        line: usize,
        /// The column.
        column: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        allowed: &'static str,
    },
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) line: usize,
    /// UTC, ms since 1970-01-01.
    pub(super) at_ms: u64,
    pub(super) value: Option<f64>,
    pub(super) sensor: Option<String>,
    pub(super) channels: Channels,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Table<R> {
    file: R,
    line: usize,
    /// Where each of [`COLUMNS`] stands.
    places: [Option<usize>; COLUMNS.len()],
    text: String,
}

impl<R: BufRead> Table<R> {
    pub(super) fn open(file: R) -> Result<Self, TableError> {
        let mut table = Self {
            file,
            line: 0,
            places: [None; COLUMNS.len()],
            text: String::new(),
        };
        table.read_line()?;
        let header = table.text.trim().trim_start_matches('\u{feff}').to_owned();
        for (at, name) in header.split(',').map(str::trim).enumerate() {
            let place = COLUMNS.iter().position(|known| *known == name);
            let slot = place.and_then(|place| table.places.get_mut(place));
            match slot {
                Some(slot) if slot.is_none() => *slot = Some(at),
                _ => {
                    let found = format!("the column {name:?}");
                    return Err(TableError::Header { found });
                }
            }
        }
        let [timestamp, value, ..] = table.places;
        if timestamp.is_none() || value.is_none() {
            let found = format!("the header {header:?}");
            return Err(TableError::Header { found });
        }
        Ok(table)
    }

    /// Whether each row says whose it is.
    pub(super) fn names_sensors(&self) -> bool {
        let [_, _, sensor, ..] = self.places;
        sensor.is_some()
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            if !self.text.trim().is_empty() {
                return self.row().map(Some);
            }
        }
    }

    /// One more line; `false` at the end.
    fn read_line(&mut self) -> Result<bool, TableError> {
        self.text.clear();
        self.line += 1;
        let unreadable = |line, reason: String| TableError::Unreadable { line, reason };
        let mut limited = std::io::Read::take(&mut self.file, LINE_LEN_MAX as u64);
        let read = limited
            .read_line(&mut self.text)
            .map_err(|error| unreadable(self.line, error.to_string()))?;
        if read == LINE_LEN_MAX && !self.text.ends_with('\n') {
            let reason = format!("it is longer than {LINE_LEN_MAX} bytes");
            return Err(unreadable(self.line, reason));
        }
        Ok(read > 0)
    }

    fn row(&self) -> Result<Row, TableError> {
        let cells: Vec<&str> = self.text.split(',').map(str::trim).collect();
        let cell = |place: Option<usize>| {
            let cell = place.and_then(|place| cells.get(place)).copied();
            cell.filter(|cell| !cell.is_empty())
        };
        let [timestamp, value, sensor, set_point, door, defrost, ambient] = self.places.map(cell);
        let refuse = |column, found: &str, allowed| TableError::Cell {
            line: self.line,
            column,
            found: found.to_owned(),
            allowed,
        };
        let number = |column, cell: Option<&str>| match cell {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(number) => Ok(number.is_finite().then_some(number)),
                Err(_) => Err(refuse(column, text, "a number, NaN or nothing")),
            },
        };
        let flag = |column, cell: Option<&str>| match cell {
            None => Ok(None),
            Some("0" | "false" | "0.0") => Ok(Some(false)),
            Some("1" | "true" | "1.0") => Ok(Some(true)),
            Some(text) => Err(refuse(column, text, "0, 1 or nothing")),
        };
        let allowed =
            "a time such as 2027-01-04T08:00:00Z, 2027-01-04 08:00:00 or seconds since 1970";
        let text = timestamp.unwrap_or_default();
        let at_ms = time(text).ok_or_else(|| refuse("timestamp", text, allowed))?;
        if self.names_sensors() && sensor.is_none() {
            return Err(refuse("sensor", "", "the name of a sensor"));
        }
        Ok(Row {
            line: self.line,
            at_ms,
            value: number("value", value)?,
            sensor: sensor.map(str::to_owned),
            channels: channels(
                number("set_point", set_point)?,
                flag("door", door)?,
                flag("defrost", defrost)?,
                number("ambient", ambient)?,
            ),
        })
    }
}

/// UTC in ms; a time without a zone is UTC.
fn time(text: &str) -> Option<u64> {
    let ms = if let Ok(number) = text.parse::<f64>() {
        let ms = if number.abs() < SECONDS_MAX {
            number * 1000.0
        } else {
            number
        };
        let is_time = ms.is_finite() && ms.abs() < 1e15;
        #[expect(clippy::cast_possible_truncation, reason = "below 10^15")]
        is_time.then_some(ms as i64)?
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time.as_millisecond()
    } else {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
        zoned.as_millisecond()
    };
    u64::try_from(ms).ok()
}
