//! The SQLite sink: one file, WAL, every commit on disk before it counts.
//!
//! Promises: `apply` is one transaction; what it cannot commit it leaves undone, and says whether trying
//! again can help; one process writes a database at a time. Never: a judgement about frames; a row that is
//! not in the have-set of the same transaction.

mod apply;
mod date;
mod facts;
mod feed;
mod load;
mod quarantine;
mod rows;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
mod views;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange, StreamId};
use firmware_shared::time::{BootId, TimeAnchor};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::ingest::{
    DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, RawBatch, Sink, SinkError,
    StreamKey, StreamRecord, Write,
};
pub(crate) use feed::SqliteFeed;
pub(crate) use load::{have_set, key_params, ledger, ranges};
use schema::SchemaError;

/// Enough for the working set of a few thousand streams.
const CACHE_KIB: i64 = 16 * 1024;
/// The write-ahead log is folded into the file at 16 MiB.
const WAL_PAGES: i64 = 4_000;
/// A reader may hold the file for a moment; ingest waits instead of failing.
const BUSY_MS: u64 = 5_000;
/// How many prepared statements are kept: one per kind of write and load.
const STATEMENTS_MAX: usize = 64;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot open {path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("another fleet-central writes {path}")]
    InUse { path: PathBuf },
    #[error("cannot use {path}: {source}")]
    Schema { path: PathBuf, source: SchemaError },
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Connection,
    central_id: u64,
    /// Numbers of the streams in `streams`; emptied when a transaction is undone.
    streams: HashMap<StreamKey, i64>,
    quarantine: quarantine::Bounds,
    /// Holds the lock that keeps a second writer out.
    _lock: File,
}

impl Sqlite {
    /// Opens or creates the database, brings its schema up to date, and locks others out.
    pub(crate) fn open(path: &Path, now_ms: i64, new_id: u64) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let place = |source: SchemaError| OpenError::Schema {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(|error| place(error.into()))?;
        prepare(&connection).map_err(|error| place(error.into()))?;
        schema::migrate(&mut connection).map_err(place)?;
        let central_id =
            central_id(&connection, now_ms, new_id).map_err(|error| place(error.into()))?;
        Ok(Self {
            connection,
            central_id,
            streams: HashMap::new(),
            quarantine: quarantine::Bounds::default(),
            _lock: lock,
        })
    }

    /// Names this database for good.
    pub(crate) fn central_id(&self) -> u64 {
        self.central_id
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Fewer, larger checkpoints: rows of many streams touch the same pages again and again.
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// Keeps every ingest out as long as the file lives.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|source| OpenError::File { path: name, source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
    }
}

fn central_id(connection: &Connection, now_ms: i64, new_id: u64) -> rusqlite::Result<u64> {
    connection.execute(
        "INSERT OR IGNORE INTO meta (id, central_id, created_ms) VALUES (1, ?1, ?2)",
        (number(new_id >> 1), now_ms),
    )?;
    connection.query_row("SELECT central_id FROM meta", [], |row| unsigned(row, 0))
}

/// A number for a column; the core lets nothing through that does not fit.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number from a column; a negative one is nobody's.
pub(crate) fn unsigned(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}

/// A value that is text in a column.
pub(crate) fn parsed<T>(
    row: &rusqlite::Row<'_>,
    index: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(index)?.as_str()?;
    parse(text).ok_or_else(|| {
        let what = format!("{text:?} is not a value of this column");
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, what.into())
    })
}

pub(crate) fn lane_from_name(name: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| lane.name() == name)
}

/// Device, epoch and lane from three columns that begin at `index`.
pub(crate) fn stream_key(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<StreamKey> {
    let out_of_range = rusqlite::Error::IntegralValueOutOfRange(index + 1, -1);
    Ok(StreamKey {
        device: parsed(row, index, |text| text.parse().ok())?,
        stream: StreamId {
            epoch: Epoch::from_number(unsigned(row, index + 1)?).ok_or(out_of_range)?,
            lane: parsed(row, index + 2, lane_from_name)?,
        },
    })
}

/// A range from two columns of inclusive ends.
pub(crate) fn range(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<SeqRange> {
    let (first, last) = (unsigned(row, index)?, unsigned(row, index + 1)?);
    SeqRange::new(first, last)
        .ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(index + 1, number(last)))
}

fn sink_error(error: rusqlite::Error) -> SinkError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
            SinkError::Refused(text)
        }
        Some(_) => SinkError::Unavailable(text),
        // Not SQLite's own word: a value in the file or of ours that does not fit its column.
        None => SinkError::Refused(text),
    }
}

impl Sink for Sqlite {
    fn stream(&mut self, key: &StreamKey) -> Result<StreamRecord, SinkError> {
        load::stream(&self.connection, key).map_err(sink_error)
    }

    fn frame_at(
        &mut self,
        key: &StreamKey,
        first_seq: u64,
    ) -> Result<Option<FramePrint>, SinkError> {
        load::frame_at(&self.connection, key, first_seq).map_err(sink_error)
    }

    fn expired_in(&mut self, key: &StreamKey, range: SeqRange) -> Result<u64, SinkError> {
        load::expired_in(&self.connection, key, range).map_err(sink_error)
    }

    fn device(&mut self, device: &DeviceId) -> Result<DeviceRecord, SinkError> {
        load::device(&self.connection, device).map_err(sink_error)
    }

    fn epoch(&mut self, device: &DeviceId, epoch: Epoch) -> Result<EpochRecord, SinkError> {
        load::epoch(&self.connection, device, epoch).map_err(sink_error)
    }

    fn anchors(&mut self, device: &DeviceId, boot: BootId) -> Result<Vec<TimeAnchor>, SinkError> {
        load::anchors(&self.connection, device, boot).map_err(sink_error)
    }

    fn frames_to_date(
        &mut self,
        task: &DateTask,
        behind: Option<&FramePlace>,
        limit: usize,
    ) -> Result<Vec<FramePlace>, SinkError> {
        load::frames_to_date(&self.connection, task, behind, limit).map_err(sink_error)
    }

    fn to_date(&mut self) -> Result<Vec<DateTask>, SinkError> {
        load::to_date(&self.connection).map_err(sink_error)
    }

    fn raw_batches(&mut self, codecs: &[u8], limit: usize) -> Result<Vec<RawBatch>, SinkError> {
        load::raw_batches(&self.connection, codecs, limit).map_err(sink_error)
    }

    fn frames_before(
        &mut self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(StreamKey, SeqRange)>, SinkError> {
        load::frames_before(&self.connection, before_ms, limit).map_err(sink_error)
    }

    fn apply(&mut self, writes: &[Write]) -> Result<(), SinkError> {
        let result = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                apply::writes(
                    &transaction,
                    &mut self.streams,
                    &mut self.quarantine,
                    writes,
                )?;
                transaction.commit()
            });
        // A dropped transaction is rolled back; what was remembered from inside it goes, too.
        result.map_err(|error| {
            self.streams.clear();
            self.quarantine = quarantine::Bounds::default();
            sink_error(error)
        })
    }
}
