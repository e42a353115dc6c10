//! What people ask the database.
//!
//! Promises: one set of questions for SQLite and PostgreSQL; every question reads, is bounded in rows and in
//! time, and runs on a thread of its own, so that neither a slow question nor a slow reader of an answer holds
//! up the ingest. Never: a write; a row that is held while somebody reads it over a network.
//!
//! Reading order: [`Rows`] (the seam), `readers` (threads), `sqlite` and `postgres` (its two sides), `seek` (time
//! to numbers), then a file per question.

pub(crate) mod completeness;
pub(crate) mod export;
pub(crate) mod fleet;
pub(crate) mod losses;
mod postgres;
mod readers;
pub(crate) mod seek;
pub(crate) mod series;
mod sqlite;
#[cfg(test)]
mod tests;
pub(crate) mod track;
pub(crate) mod vehicle;

pub(crate) use readers::Readers;

/// A question may take so long; then it is given up.
pub(crate) const QUESTION_MS_MAX: u64 = 20_000;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

impl Cell {
    pub(crate) fn text(value: &str) -> Self {
        Self::Text(value.to_owned())
    }

    pub(crate) fn int(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// Why there is no answer, by what the asker can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// Too many ask at once: ask again soon.
    #[error("too many questions wait for an answer")]
    Busy,
    /// It took longer than [`QUESTION_MS_MAX`]: ask for less.
    #[error("the question took longer than {} s", QUESTION_MS_MAX / 1_000)]
    TooLong,
    /// The database cannot be read.
    #[error("the database cannot be read: {0}")]
    Unavailable(String),
}

/// A database that is read. SQL names parameters `$1`, `$2`, ... and says the type of each with a CAST.
pub(crate) trait Rows {
    /// Calls `row` for each row of the answer.
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Cell],
        row: &mut dyn FnMut(Row<'_>),
    ) -> Result<(), QueryError>;
}

/// A row, read from left to right by index; what is not there or of another type is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a>(pub(crate) &'a [Cell]);

impl Row<'_> {
    pub(crate) fn int(self, index: usize) -> Option<i64> {
        match self.0.get(index) {
            Some(Cell::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number that cannot be negative.
    pub(crate) fn unsigned(self, index: usize) -> Option<u64> {
        self.int(index).and_then(|value| u64::try_from(value).ok())
    }

    pub(crate) fn real(self, index: usize) -> Option<f64> {
        match self.0.get(index) {
            Some(Cell::Real(value)) => Some(*value),
            // A column of floats in SQLite may hold small integers.
            Some(Cell::Int(value)) => Some(*value as f64),
            _ => None,
        }
    }

    pub(crate) fn text(self, index: usize) -> Option<String> {
        match self.0.get(index) {
            Some(Cell::Text(value)) => Some(value.clone()),
            _ => None,
        }
    }
}

/// All rows of an answer, each as `make` reads it; rows that it refuses are left out.
pub(crate) fn list<T>(
    rows: &mut dyn Rows,
    sql: &'static str,
    params: &[Cell],
    make: impl Fn(Row<'_>) -> Option<T>,
) -> Result<Vec<T>, QueryError> {
    let mut found = Vec::new();
    rows.each(sql, params, &mut |row| found.extend(make(row)))?;
    Ok(found)
}

/// The first row of an answer.
pub(crate) fn first<T>(
    rows: &mut dyn Rows,
    sql: &'static str,
    params: &[Cell],
    make: impl Fn(Row<'_>) -> Option<T>,
) -> Result<Option<T>, QueryError> {
    let mut found = None;
    rows.each(sql, params, &mut |row| {
        if found.is_none() {
            found = make(row);
        }
    })?;
    Ok(found)
}

/// An epoch as people see it.
pub(crate) fn hex(epoch: u64) -> String {
    format!("{epoch:016x}")
}
