//! The PostgreSQL sink: rows by COPY into partitions by month of receipt.
//!
//! Promises: `apply` is one transaction, in which the have-set row of every stream that changes is locked and
//! must be as it was when it was read; one process serves a bucket at a time; a lost connection is an error
//! before it is a new connection, so that the core never goes on with what another ingest may have changed.
//! Never: a judgement about frames; a row that is not in the have-set of the same transaction.

mod apply;
mod copy;
mod date;
mod facts;
mod feed;
mod load;
mod quarantine;
mod rows;
pub(crate) mod schema;
mod session;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange, StreamId};
use firmware_shared::time::{BootId, TimeAnchor};
use firmware_shared::topic::bucket;
use tokio::runtime::Runtime;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::config::{Buckets, Postgres as Reach};
use crate::ingest::{
    DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, RawBatch, Sink, SinkError,
    StreamKey, StreamRecord, Write,
};
pub(crate) use feed::PostgresFeed;
pub(crate) use load::{loss, multirange, range};
use session::Session;
pub(crate) use session::{connect, server};

/// A server that does not answer for so long is as good as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is known about a stream's row.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// `None` until the row is there.
    stream: Option<i64>,
    version: i64,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Postgres {
    reach: Reach,
    buckets: Buckets,
    runtime: Runtime,
    session: Option<Session>,
    central_id: u64,
}

impl Postgres {
    /// Connects, brings the schema up to date, and locks others out of these buckets.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] when the server cannot be reached or another ingest serves a bucket,
    /// [`SinkError::Refused`] when the database is not one of ours or of a later version.
    pub(crate) fn open(
        reach: &Reach,
        buckets: Buckets,
        now_ms: i64,
        new_id: u64,
    ) -> Result<Self, SinkError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SinkError::Unavailable(error.to_string()))?;
        let (session, central_id) = runtime.block_on(async {
            let mut session = in_time(Session::open(reach, buckets)).await?;
            let central_id = in_time(schema::migrate(&mut session, now_ms, new_id)).await?;
            Ok((session, central_id))
        })?;
        Ok(Self {
            reach: reach.clone(),
            buckets,
            runtime,
            session: Some(session),
            central_id,
        })
    }

    /// Names this database for good.
    pub(crate) fn central_id(&self) -> u64 {
        self.central_id
    }

    /// Does some work in the session. An error of any kind makes the caller forget what it remembers.
    fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let Self {
            runtime, session, ..
        } = self;
        let open = match session.as_mut().filter(|open| !open.client.is_closed()) {
            Some(open) => open,
            None => {
                let was_open = session.take().is_some();
                if was_open {
                    let text = "the connection to the database has ended".to_owned();
                    return Err(SinkError::Unavailable(text));
                }
                let open = runtime.block_on(in_time(Session::open(&self.reach, self.buckets)))?;
                session.insert(open)
            }
        };
        let result = runtime.block_on(in_time(work(&mut *open)));
        if result.is_err() && open.client.is_closed() {
            *session = None;
        }
        result
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, SinkError>>) -> Result<T, SinkError> {
    let limit = tokio::time::timeout(ANSWER_TIMEOUT, work).await;
    limit.unwrap_or_else(|_| {
        Err(SinkError::Unavailable(
            "the database does not answer".to_owned(),
        ))
    })
}

/// What an error means: data that the server refuses, or a server that cannot be had.
fn fault(error: tokio_postgres::Error) -> SinkError {
    let Some(told) = error.as_db_error() else {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        return SinkError::Unavailable(match source {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
    };
    let text = match told.detail() {
        Some(detail) => format!("{}: {detail}", told.message()),
        None => told.message().to_owned(),
    };
    // Class 22 is data that fits no column, 23 a broken constraint: both will be so for ever.
    let is_final = ["22", "23"]
        .iter()
        .any(|class| told.code().code().starts_with(class))
        && *told.code() != SqlState::T_R_DEADLOCK_DETECTED;
    match is_final {
        true => SinkError::Refused(text),
        false => SinkError::Unavailable(text),
    }
}

/// A value in a row that no program of ours wrote.
fn foreign(what: &str) -> SinkError {
    SinkError::Refused(format!(
        "the database holds {what:?}, which is not a value of that column"
    ))
}

/// A number for a column; the core lets nothing through that does not fit.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Text for a column: PostgreSQL has no character 0.
fn text(value: &str) -> Cow<'_, str> {
    match value.contains('\0') {
        true => Cow::Owned(value.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(value),
    }
}

/// The month of receipt, as 202611.
fn month(received_ms: i64) -> i32 {
    let date = jiff::Timestamp::from_millisecond(received_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    i32::from(date.year()) * 100 + i32::from(date.month())
}

pub(crate) fn unsigned(row: &Row, index: usize) -> Result<u64, SinkError> {
    let value: i64 = row.try_get(index).map_err(fault)?;
    u64::try_from(value).map_err(|_| foreign(&value.to_string()))
}

fn optional(row: &Row, index: usize) -> Result<Option<u64>, SinkError> {
    let value: Option<i64> = row.try_get(index).map_err(fault)?;
    Ok(value.map(i64::unsigned_abs))
}

/// A value that is text in a column.
pub(crate) fn parsed<T>(
    row: &Row,
    index: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, SinkError> {
    let text: &str = row.try_get(index).map_err(fault)?;
    parse(text).ok_or_else(|| foreign(text))
}

/// Device, epoch and lane from three columns that begin at `index`.
pub(crate) fn stream_key(row: &Row, index: usize) -> Result<StreamKey, SinkError> {
    let epoch = unsigned(row, index + 1)?;
    Ok(StreamKey {
        device: parsed(row, index, |text| text.parse().ok())?,
        stream: StreamId {
            epoch: Epoch::from_number(epoch).ok_or_else(|| foreign(&epoch.to_string()))?,
            lane: parsed(row, index + 2, |name| {
                Lane::ALL.into_iter().find(|lane| lane.name() == name)
            })?,
        },
    })
}

/// A range from its first number and its count.
fn counted(row: &Row, index: usize) -> Result<SeqRange, SinkError> {
    let (first, count) = (unsigned(row, index)?, unsigned(row, index + 1)?);
    SeqRange::from_count(first, count).ok_or_else(|| foreign(&count.to_string()))
}

impl Sink for Postgres {
    fn stream(&mut self, key: &StreamKey) -> Result<StreamRecord, SinkError> {
        self.with(async |session| load::stream(session, key).await)
    }

    fn frame_at(
        &mut self,
        key: &StreamKey,
        first_seq: u64,
    ) -> Result<Option<FramePrint>, SinkError> {
        self.with(async |session| load::frame_at(session, key, first_seq).await)
    }

    fn expired_in(&mut self, key: &StreamKey, range: SeqRange) -> Result<u64, SinkError> {
        self.with(async |session| load::expired_in(session, key, range).await)
    }

    fn device(&mut self, device: &DeviceId) -> Result<DeviceRecord, SinkError> {
        self.with(async |session| load::device(session, device).await)
    }

    fn epoch(&mut self, device: &DeviceId, epoch: Epoch) -> Result<EpochRecord, SinkError> {
        self.with(async |session| load::epoch(session, device, epoch).await)
    }

    fn anchors(&mut self, device: &DeviceId, boot: BootId) -> Result<Vec<TimeAnchor>, SinkError> {
        self.with(async |session| load::anchors(session, device, boot).await)
    }

    fn frames_to_date(
        &mut self,
        task: &DateTask,
        behind: Option<&FramePlace>,
        limit: usize,
    ) -> Result<Vec<FramePlace>, SinkError> {
        self.with(async |session| load::frames_to_date(session, task, behind, limit).await)
    }

    fn to_date(&mut self) -> Result<Vec<DateTask>, SinkError> {
        let buckets = self.buckets;
        let mut tasks = self.with(async |session| load::to_date(session).await)?;
        tasks.retain(|task| (buckets.first..=buckets.last).contains(&bucket(&task.device)));
        Ok(tasks)
    }

    fn raw_batches(&mut self, codecs: &[u8], limit: usize) -> Result<Vec<RawBatch>, SinkError> {
        self.with(async |session| load::raw_batches(session, codecs, limit).await)
    }

    fn frames_before(
        &mut self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(StreamKey, SeqRange)>, SinkError> {
        self.with(async |session| load::frames_before(session, before_ms, limit).await)
    }

    fn apply(&mut self, writes: &[Write]) -> Result<(), SinkError> {
        self.with(async |session| apply::transaction(session, writes).await)
    }
}
