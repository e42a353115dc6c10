//! A series of readings as CSV, row by row: what `score` and `backtest` read.
//!
//! Promises: a row is out as soon as its line is complete; the order of columns, their case, quotes, blanks
//! and the kind of line end do not matter; a row that cannot be read is an error that names its line, its
//! column, the text and what is allowed. Never: takes a number for a missing one, skips a row in silence,
//! needs memory for more than one row.

use std::io::{self, BufRead, BufReader, Read};

use firmware_shared::detect::{Channels, Input, Invalid};

const TIMESTAMP: &str = "timestamp";
const VALUE: &str = "value";
const SET_POINT: &str = "set_point";
const DOOR: &str = "door";
const DEFROST: &str = "defrost";
const AMBIENT: &str = "ambient";
/// Only where several series share a file.
const SENSOR: &str = "sensor";
const COLUMNS: [&str; 7] = [TIMESTAMP, VALUE, SET_POINT, DOOR, DEFROST, AMBIENT, SENSOR];
/// Whole numbers from here on are milliseconds: as seconds they would be beyond the year 5100.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

const TIME_ALLOWED: &str =
    "a date and a time such as 2026-01-05 08:00:00, or seconds since 1970; not before 1970";
const NUMBER_ALLOWED: &str = "a finite number, or NaN or nothing for a reading without a value";
const SENSOR_ALLOWED: &str = "the name of a sensor";
const STATE_ALLOWED: &str = "1 or 0, true or false, open or closed, on or off, or nothing";

/// Why a series cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The first line names no series.
    #[error(
        "the header {found:?} is not allowed: {why}; allowed are timestamp and value, and set_point, door, defrost, ambient"
    )]
    Header {
        /// The header.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// A field is not what its column holds.
    #[error("line {line}: {column} = {found:?} is not allowed; allowed is {allowed}")]
    Field {
        /// Where, from 1.
        line: u64,
        /// Which column.
        column: &'static str,
        /// The text.
        found: String,
        /// What would be.
        allowed: &'static str,
    },
    /// A row has more or fewer fields than the header.
    #[error("line {line}: {found} fields are not allowed; the header has {expected}")]
    Length {
        /// Where, from 1.
        line: u64,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The input cannot be read, or is not text.
    #[error("the series cannot be read: {0}")]
    Read(csv::Error),
}

/// One reading, with the texts it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The timestamp as it was written.
    pub timestamp: String,
    /// The value as it was written.
    pub value: String,
    /// The timestamp, milliseconds since 1970; a time without a zone is UTC.
    pub now_ms: u64,
    /// The reading.
    pub input: Input,
    /// Whose it is, where the file says so.
    pub sensor: Option<String>,
}

/// A series that is being read.
#[derive(Debug)]
pub struct Series<R> {
    reader: csv::Reader<Lines<R>>,
    /// The place of each of [`COLUMNS`].
    places: [Option<usize>; COLUMNS.len()],
    record: csv::StringRecord,
}

impl<R: Read> Series<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// A header without `timestamp` and `value`, or with a column that is not known or there twice.
    pub fn open(input: R) -> Result<Self, SeriesError> {
        Self::open_as(input, false)
    }

    /// Reads the header of a file that may name a sensor in each row.
    ///
    /// # Errors
    /// As [`Series::open`].
    pub fn open_many(input: R) -> Result<Self, SeriesError> {
        Self::open_as(input, true)
    }

    fn open_as(input: R, may_name_sensors: bool) -> Result<Self, SeriesError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(Lines::new(input));
        let header = reader
            .headers()
            .map_err(|error| SeriesError::at(1, error))?
            .clone();
        Ok(Self {
            reader,
            places: places(&header, may_name_sensors)?,
            record: csv::StringRecord::new(),
        })
    }

    /// Whether each row says whose it is.
    #[must_use]
    pub fn names_sensors(&self) -> bool {
        let [.., sensor] = self.places;
        sensor.is_some()
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn next_row(&mut self) -> Result<Option<Row>, SeriesError> {
        let read = self.reader.read_record(&mut self.record);
        if !read.map_err(|error| SeriesError::at(self.line(), error))? {
            return Ok(None);
        }
        let channels = Channels {
            set_point: self.number(SET_POINT)?,
            door: self.state(DOOR)?,
            defrost: self.state(DEFROST)?,
            ambient: self.number(AMBIENT)?,
        };
        let input = self.number(VALUE)?.map_or(
            Input {
                value: Err(Invalid::NoReading),
                channels,
            },
            |value| Input::with_channels(value, channels),
        );
        let sensor = self.text(SENSOR);
        if self.names_sensors() && sensor.is_empty() {
            return Err(self.refused(SENSOR, SENSOR_ALLOWED));
        }
        let timestamp = self.text(TIMESTAMP);
        Ok(Some(Row {
            line: self.line(),
            now_ms: time_ms(timestamp).ok_or_else(|| self.refused(TIMESTAMP, TIME_ALLOWED))?,
            timestamp: timestamp.to_owned(),
            value: self.text(VALUE).to_owned(),
            input,
            sensor: self.names_sensors().then(|| sensor.to_owned()),
        }))
    }

    fn line(&self) -> u64 {
        self.reader.get_ref().count
    }

    /// The text of a column; empty where there is none.
    fn text(&self, column: &str) -> &str {
        let known = COLUMNS.iter().position(|name| *name == column);
        let place = known.and_then(|known| self.places.get(known).copied().flatten());
        place.and_then(|place| self.record.get(place)).unwrap_or("")
    }

    fn number(&self, column: &'static str) -> Result<Option<f64>, SeriesError> {
        let text = self.text(column);
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return Ok(None);
        }
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number
            .map(Some)
            .ok_or_else(|| self.refused(column, NUMBER_ALLOWED))
    }

    fn state(&self, column: &'static str) -> Result<Option<bool>, SeriesError> {
        match self.text(column).to_ascii_lowercase().as_str() {
            "" | "nan" => Ok(None),
            "1" | "1.0" | "true" | "open" | "on" => Ok(Some(true)),
            "0" | "0.0" | "false" | "closed" | "off" => Ok(Some(false)),
            _ => Err(self.refused(column, STATE_ALLOWED)),
        }
    }

    fn refused(&self, column: &'static str, allowed: &'static str) -> SeriesError {
        SeriesError::Field {
            line: self.line(),
            column,
            found: self.text(column).to_owned(),
            allowed,
        }
    }
}

impl SeriesError {
    fn at(line: u64, error: csv::Error) -> Self {
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => Self::Length {
                line,
                found: *len,
                expected: *expected_len,
            },
            _ => Self::Read(error),
        }
    }
}

/// Hands an input out line by line and counts the lines, so that a row knows its own although the reader of rows
/// passes over blank ones.
#[derive(Debug)]
struct Lines<R> {
    input: BufReader<R>,
    /// Lines that were begun.
    count: u64,
    /// The last line that was begun is over.
    over: bool,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input: BufReader::new(input),
            count: 0,
            over: true,
        }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.input.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let len = end.map_or(available.len(), |end| end + 1).min(out.len());
        let (Some(part), Some(place)) = (available.get(..len), out.get_mut(..len)) else {
            return Ok(0);
        };
        place.copy_from_slice(part);
        self.count += u64::from(self.over && len > 0);
        if let Some(last) = part.last() {
            self.over = *last == b'\n';
        }
        self.input.consume(len);
        Ok(len)
    }
}

fn places(
    header: &csv::StringRecord,
    may_name_sensors: bool,
) -> Result<[Option<usize>; COLUMNS.len()], SeriesError> {
    let refused = |why: String| SeriesError::Header {
        found: header.iter().collect::<Vec<_>>().join(","),
        why,
    };
    let mut places = [None; COLUMNS.len()];
    for (place, name) in header.iter().enumerate() {
        let known = COLUMNS
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known))
            .filter(|known| may_name_sensors || COLUMNS.get(*known) != Some(&SENSOR));
        let slot = known.and_then(|known| places.get_mut(known));
        match slot {
            None => return Err(refused(format!("column {name:?} is not known"))),
            Some(Some(_)) => return Err(refused(format!("column {name:?} is there twice"))),
            Some(slot) => *slot = Some(place),
        }
    }
    for (name, place) in [TIMESTAMP, VALUE].iter().zip(places) {
        if place.is_none() {
            return Err(refused(format!("column {name:?} is missing")));
        }
    }
    Ok(places)
}

/// Milliseconds since 1970 of a date and time (with or without a zone), or of a count of seconds.
fn time_ms(text: &str) -> Option<u64> {
    let ms = if let Ok(count) = text.parse::<i64>() {
        if count < MILLISECONDS_FROM {
            count.checked_mul(1000)?
        } else {
            count
        }
    } else if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        stamp.as_millisecond()
    } else {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        zoned.timestamp().as_millisecond()
    };
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let mut series = Series::open(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        while let Some(row) = series.next_row().map_err(|error| error.to_string())? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn columns_come_in_any_order_case_and_quoting() {
        let plain = rows("timestamp,value,door\n2026-01-05 00:00:00,-18.5,1\n").unwrap();
        assert_eq!(plain.len(), 1);
        assert_eq!(plain[0].now_ms, 1_767_571_200_000);
        assert_eq!(plain[0].input.value, Ok(-18.5));
        assert_eq!(plain[0].input.channels.door, Some(true));
        for same in [
            "Timestamp,Value,Door\r\n2026-01-05 00:00:00,-18.5,true\r\n",
            "\u{feff}timestamp , value, door\n2026-01-05 00:00:00, -18.5, open\n",
            "door,\"value\",\"timestamp\"\n1,\"-18.5\",\"2026-01-05 00:00:00\"",
            "timestamp,value,door,set_point,defrost,ambient\n2026-01-05 00:00:00,-18.5,1,,,\n",
        ] {
            assert_eq!(rows(same).unwrap()[0].input, plain[0].input, "{same:?}");
        }
    }

    #[test]
    fn times_are_read_in_the_usual_forms() {
        for (text, ms) in [
            ("1970-01-01 00:00:01", 1000),
            ("1970-01-01T00:00:01.25", 1250),
            ("1970-01-01T01:00:01+01:00", 1000),
            ("1970-01-01T00:00:01Z", 1000),
            ("1970-01-02", 86_400_000),
            ("1767571200", 1_767_571_200_000),
            ("1767571200123", 1_767_571_200_123),
        ] {
            assert_eq!(time_ms(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "soon",
            "2026-13-01 00:00:00",
            "1969-12-31 00:00:00",
            "-5",
        ] {
            assert_eq!(time_ms(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_and_nan_are_readings_without_a_value() {
        for none in ["", "NaN", "nan"] {
            let row = &rows(&format!("timestamp,value\n1767571200,{none}\n")).unwrap()[0];
            assert_eq!(row.input.value, Err(Invalid::NoReading), "{none:?}");
            assert_eq!(row.value, none);
        }
    }

    #[test]
    fn a_row_knows_its_line_behind_blank_ones_whatever_ends_a_line() {
        for end in ["\n", "\r\n"] {
            let text = ["timestamp,value", "", "1,4", "", "", "2,warm"].join(end);
            let error = rows(&text).unwrap_err().to_string();
            assert!(error.starts_with("line 6: value"), "{end:?}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let named = |text: &str, words: &[&str]| {
            let error = rows(text).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{error} lacks {word}");
            }
        };
        named("", &["\"timestamp\" is missing"]);
        named(
            "timestamp,temperature\n",
            &["\"temperature\" is not known", "set_point"],
        );
        named("timestamp,value,value\n", &["twice"]);
        named("value\n1\n", &["\"timestamp\" is missing"]);
        let head = "timestamp,value\n2026-01-05 00:00:00,1\n";
        named(
            &format!("{head}soon,1\n"),
            &["line 3", "timestamp", "\"soon\"", "1970"],
        );
        named(
            &format!("{head}2026-01-05 00:01:00,cold\n"),
            &["line 3", "value", "\"cold\"", "NaN"],
        );
        named(
            &format!("{head}2026-01-05 00:01:00,inf\n"),
            &["line 3", "\"inf\""],
        );
        named(
            &format!("{head}2026-01-05 00:01:00\n"),
            &["line 3", "1 fields", "has 2"],
        );
        named(
            "timestamp,value,door\n1767571200,1,ajar\n",
            &["line 2", "door", "\"ajar\"", "closed"],
        );
        let not_text = Series::open(&b"timestamp,value\n1767571200,\xff\n"[..])
            .unwrap()
            .next_row();
        assert!(not_text.unwrap_err().to_string().contains("cannot be read"));
    }
}
