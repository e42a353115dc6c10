//! One connection to PostgreSQL, and what is true as long as it lasts.
//!
//! Promises: the session holds the lock of every bucket that it serves, and everything is committed through
//! the very session that holds them, so that a second ingest of a bucket cannot write beside it; an answer that
//! does not come in time ends the session. Never: a session used again after it was lost.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::quarantine::Bounds;
use super::{Known, fault};
use crate::config::{Buckets, Postgres as Reach};
use crate::ingest::{SinkError, StreamKey};

/// "FlGw": the first half of every advisory lock of ours.
pub(super) const LOCK_CLASS: i32 = 0x466c_4777;
/// The second half of the lock that a change of tables takes; buckets are 0 to 63.
pub(super) const LOCK_TABLES: i32 = -1;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Data that the server does not take for so long means that it is gone.
const UNANSWERED_TIMEOUT: Duration = Duration::from_secs(20);
/// A COPY is handed over in pieces of this size, so that one group is not one allocation on both sides.
const COPY_PIECE: usize = 64 * 1024;

pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection, the statements prepared on it, and what was seen through it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    statements: HashMap<&'static str, StatementDebug>,
    pub(super) streams: HashMap<StreamKey, Known>,
    pub(super) months: BTreeSet<i32>,
    pub(super) quarantine: Bounds,
}

/// tokio-postgres keeps the statement alive on the server as long as this lives.
struct StatementDebug(Statement);

impl std::fmt::Debug for StatementDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Statement")
    }
}

/// Reads a URL or a list of `key=value`.
///
/// # Errors
/// What is wrong with it, as a phrase.
pub(crate) fn server(url: &str) -> Result<tokio_postgres::Config, String> {
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        source.unwrap_or_else(|| error.to_string())
    })?;
    if config.get_password().is_some() {
        return Err("it holds a password".to_owned());
    }
    Ok(config)
}

/// A connection without any lock.
pub(crate) async fn connect(reach: &Reach) -> Result<Client, SinkError> {
    let mut config = server(&reach.url).map_err(SinkError::Refused)?;
    if let Some(file) = &reach.password_file {
        let password = crate::config::read_secret(file).map_err(|error| {
            SinkError::Unavailable(format!("cannot read {}: {error}", file.display()))
        })?;
        config.password(password);
    }
    config
        .application_name("fleet-central")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNANSWERED_TIMEOUT);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(fault)?;
    tokio::spawn(async move {
        // The client hears of the end by itself.
        drop(connection.await);
    });
    Ok(client)
}

impl Session {
    /// Connects, and takes the lock of every bucket.
    pub(super) async fn open(reach: &Reach, buckets: Buckets) -> Result<Self, SinkError> {
        let client = connect(reach).await?;
        client
            .batch_execute("SET synchronous_commit = on; SET lock_timeout = '10s'")
            .await
            .map_err(fault)?;
        let (first, last) = (i32::from(buckets.first), i32::from(buckets.last));
        let taken = client
            .query(
                "SELECT bucket FROM generate_series($1::int, $2::int) AS bucket
                 WHERE NOT pg_try_advisory_lock($3::int, bucket)",
                &[&first, &last, &LOCK_CLASS],
            )
            .await
            .map_err(fault)?;
        if let Some(row) = taken.first() {
            let bucket: i32 = row.try_get(0).map_err(fault)?;
            return Err(SinkError::Fenced(format!(
                "another ingest serves bucket {bucket:02x} of this database"
            )));
        }
        Ok(Self {
            client,
            statements: HashMap::new(),
            streams: HashMap::new(),
            months: BTreeSet::new(),
            quarantine: Bounds::default(),
        })
    }

    async fn statement(&mut self, sql: &'static str) -> Result<Statement, SinkError> {
        if let Some(StatementDebug(statement)) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(fault)?;
        self.statements
            .insert(sql, StatementDebug(statement.clone()));
        Ok(statement)
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, SinkError> {
        let statement = self.statement(sql).await?;
        self.client.query(&statement, params).await.map_err(fault)
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<u64, SinkError> {
        let statement = self.statement(sql).await?;
        self.client.execute(&statement, params).await.map_err(fault)
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), SinkError> {
        self.client.batch_execute(sql).await.map_err(fault)
    }

    /// Hands over the rows of a COPY.
    pub(super) async fn copy(
        &mut self,
        sql: &'static str,
        mut data: Bytes,
    ) -> Result<u64, SinkError> {
        let statement = self.statement(sql).await?;
        let sink = self
            .client
            .copy_in::<_, Bytes>(&statement)
            .await
            .map_err(fault)?;
        let mut sink = std::pin::pin!(sink);
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(COPY_PIECE));
            sink.send(piece).await.map_err(fault)?;
        }
        sink.as_mut().finish().await.map_err(fault)
    }
}
