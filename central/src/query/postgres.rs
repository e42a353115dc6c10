//! Questions to a PostgreSQL server.
//!
//! Promises: a session of its own that cannot write and whose statements end in time; a lost connection is made
//! anew for the next question. Never: a lock that an ingest waits for.

use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::{Cell, QUESTION_MS_MAX, QueryError, Row, Rows};
use crate::config::Postgres as Reach;
use crate::postgres::connect;

/// The server has a little longer than the statement itself, for the way.
const ANSWER_MS_MAX: u64 = QUESTION_MS_MAX + 5_000;

/// A server, and the connection while there is one.
pub(super) struct PostgresRows {
    reach: Reach,
    runtime: Runtime,
    session: Option<(Client, HashMap<&'static str, Statement>)>,
}

impl PostgresRows {
    pub(super) fn new(reach: &Reach) -> Result<Self, QueryError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| QueryError::Unavailable(error.to_string()))?;
        Ok(Self {
            reach: reach.clone(),
            runtime,
            session: None,
        })
    }
}

fn fault(error: &tokio_postgres::Error) -> QueryError {
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => QueryError::TooLong,
        _ => {
            let source = error.source().map(ToString::to_string);
            QueryError::Unavailable(source.unwrap_or_else(|| error.to_string()))
        }
    }
}

async fn open(reach: &Reach) -> Result<Client, QueryError> {
    let client = connect(reach)
        .await
        .map_err(|error| QueryError::Unavailable(error.to_string()))?;
    let limits = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {QUESTION_MS_MAX}"
    );
    client
        .batch_execute(&limits)
        .await
        .map_err(|error| fault(&error))?;
    Ok(client)
}

impl ToSql for Cell {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Real(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        // A null fits everywhere; the others are checked by the CAST that every parameter stands in.
        matches!(*kind, Type::INT8 | Type::FLOAT8 | Type::TEXT)
    }

    to_sql_checked!();
}

fn cell(
    row: &tokio_postgres::Row,
    index: usize,
    kind: &Type,
) -> Result<Cell, tokio_postgres::Error> {
    let cell = match *kind {
        Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Cell::Int),
        Type::INT4 => row
            .try_get::<_, Option<i32>>(index)?
            .map(|value| Cell::Int(value.into())),
        Type::INT2 => row
            .try_get::<_, Option<i16>>(index)?
            .map(|value| Cell::Int(value.into())),
        Type::BOOL => row
            .try_get::<_, Option<bool>>(index)?
            .map(|value| Cell::Int(value.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.map(Cell::Real),
        _ => row.try_get::<_, Option<String>>(index)?.map(Cell::Text),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

async fn ask(
    client: &Client,
    statements: &mut HashMap<&'static str, Statement>,
    sql: &'static str,
    params: &[Cell],
    row: &mut dyn FnMut(Row<'_>),
) -> Result<(), tokio_postgres::Error> {
    let statement = match statements.get(sql) {
        Some(statement) => statement.clone(),
        None => {
            let statement = client.prepare(sql).await?;
            statements.insert(sql, statement.clone());
            statement
        }
    };
    let mut found = pin!(client.query_raw(&statement, params).await?);
    let mut cells = Vec::new();
    while let Some(next) = found.try_next().await? {
        cells.clear();
        for (index, column) in statement.columns().iter().enumerate() {
            cells.push(cell(&next, index, column.type_())?);
        }
        row(Row(&cells));
    }
    Ok(())
}

impl Rows for PostgresRows {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Cell],
        row: &mut dyn FnMut(Row<'_>),
    ) -> Result<(), QueryError> {
        let Self {
            reach,
            runtime,
            session,
        } = self;
        let result = runtime.block_on(async {
            if session
                .as_ref()
                .is_none_or(|(client, _)| client.is_closed())
            {
                *session = Some((open(reach).await?, HashMap::new()));
            }
            let Some((client, statements)) = session.as_mut() else {
                return Err(QueryError::Busy);
            };
            let limit = Duration::from_millis(ANSWER_MS_MAX);
            match tokio::time::timeout(limit, ask(client, statements, sql, params, row)).await {
                Ok(answer) => answer.map_err(|error| fault(&error)),
                Err(_) => Err(QueryError::TooLong),
            }
        });
        if result
            .as_ref()
            .is_err_and(|error| *error != QueryError::TooLong)
        {
            // Whatever was wrong with the session, the next question begins with another one.
            *session = None;
        }
        result
    }
}
