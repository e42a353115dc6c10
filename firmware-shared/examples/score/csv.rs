//! Rows of readings from CSV with a header.
//!
//! Promises: columns are found by name; an empty or NaN value is an invalid reading; any other text that
//! is no number stops with the line, the text and what is allowed. Never: reads ahead of the row that is
//! asked for (beyond the reader's own buffer).

use std::fmt;
use std::io::{self, BufRead};

use firmware_shared::detect::{Channels, Input, Invalid};

use crate::stamp;

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Error {
    /// The input or output failed.
    Io(io::Error),
    /// A cell is not what it has to be.
    Cell {
        line: u64,
        column: &'static str,
        text: String,
        allowed: &'static str,
    },
    /// A column is missing.
    Header { missing: &'static str },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Cell {
                line,
                column,
                text,
                allowed,
            } => {
                write!(f, "line {line}: {column} is {text:?}, allowed: {allowed}")
            }
            Self::Header { missing } => write!(f, "the header has no column {missing}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One row.
pub(crate) struct Row {
    /// The texts as they were.
    pub(crate) stamp: String,
    pub(crate) value: String,
    pub(crate) now_ms: u64,
    pub(crate) input: Input,
}

/// Rows, one by one.
pub(crate) struct Rows<R> {
    reader: R,
    columns: [Option<usize>; 6],
    line: u64,
    buffer: String,
}

const COLUMNS: [&str; 6] = [
    "timestamp",
    "value",
    "set_point",
    "door",
    "defrost",
    "ambient",
];

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    pub(crate) fn new(mut reader: R) -> Result<Self, Error> {
        let mut buffer = String::new();
        reader.read_line(&mut buffer)?;
        let names: Vec<&str> = buffer.trim_end().split(',').map(str::trim).collect();
        let columns = COLUMNS.map(|column| names.iter().position(|name| *name == column));
        for (column, missing) in columns.iter().zip(COLUMNS).take(2) {
            if column.is_none() {
                return Err(Error::Header { missing });
            }
        }
        Ok(Self {
            reader,
            columns,
            line: 1,
            buffer,
        })
    }

    /// The next row; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            self.buffer.clear();
            if self.reader.read_line(&mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !self.buffer.trim().is_empty() {
                return self.row().map(Some);
            }
        }
    }

    fn row(&self) -> Result<Row, Error> {
        let cells: Vec<&str> = self.buffer.trim_end().split(',').map(str::trim).collect();
        let [stamp, value, set_point, door, defrost, ambient] = self
            .columns
            .map(|at| at.and_then(|at| cells.get(at).copied()).unwrap_or(""));
        let now_ms = stamp::parse_ms(stamp)
            .ok_or_else(|| self.bad("timestamp", stamp, "YYYY-MM-DD HH:MM:SS"))?;
        let channels = Channels {
            set_point: self.number("set_point", set_point)?,
            door: self.state("door", door)?,
            defrost: self.state("defrost", defrost)?,
            ambient: self.number("ambient", ambient)?,
        };
        let input = match self.number("value", value)? {
            Some(number) => Input::with_channels(number, channels),
            None => Input::invalid(Invalid::NoReading),
        };
        Ok(Row {
            stamp: stamp.to_owned(),
            value: value.to_owned(),
            now_ms,
            input,
        })
    }

    fn number(&self, column: &'static str, text: &str) -> Result<Option<f64>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let number: f64 = text
            .parse()
            .map_err(|_| self.bad(column, text, "a number, NaN or nothing"))?;
        Ok((!number.is_nan()).then_some(number))
    }

    fn state(&self, column: &'static str, text: &str) -> Result<Option<bool>, Error> {
        match text {
            "" => Ok(None),
            "0" | "false" => Ok(Some(false)),
            "1" | "true" => Ok(Some(true)),
            _ => Err(self.bad(column, text, "0, 1, false, true or nothing")),
        }
    }

    fn bad(&self, column: &'static str, text: &str, allowed: &'static str) -> Error {
        Error::Cell {
            line: self.line,
            column,
            text: text.to_owned(),
            allowed,
        }
    }
}
