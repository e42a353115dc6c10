//! The tables, their versions, and the views that people query.
//!
//! Promises: a database of any earlier version is brought to [`VERSION`] in one transaction, by one process at a
//! time; one of a later version, or with tables of somebody else's, is refused untouched. Never: an existing
//! migration edited.

use firmware_shared::id::DeviceId;
use firmware_shared::topic::bucket;
use tokio_postgres::Client;

use super::session::{LOCK_CLASS, LOCK_TABLES, Session};
use super::{fault, foreign, number, unsigned};
use crate::columns::names::{self, Words};
use crate::ingest::SinkError;

/// The version that this program writes.
pub(crate) const VERSION: i32 = 2;
const WORDS: Words = Words {
    greatest: "greatest",
    least: "least",
    batches: "frames",
};
const V1: &str = include_str!("schema/v1.sql");
const V2: &str = include_str!("schema/v2.sql");

/// The version of the schema, 0 for an empty database.
///
/// # Errors
/// When the tables are another program's.
pub(crate) async fn version(client: &Client) -> Result<i32, SinkError> {
    let has = |table: &'static str| async move {
        let row = client
            .query_one(
                "SELECT to_regclass(quote_ident(current_schema()) || '.' || $1::text) IS NOT NULL",
                &[&table],
            )
            .await
            .map_err(fault)?;
        row.try_get::<_, bool>(0).map_err(fault)
    };
    let (has_meta, has_streams) = (has("meta").await?, has("streams").await?);
    match (has_meta, has_streams) {
        (false, false) => Ok(0),
        (true, true) => {
            let rows = client
                .query("SELECT schema_version FROM meta", &[])
                .await
                .map_err(|_| SinkError::Refused("the tables are another program's".to_owned()))?;
            let row = rows
                .first()
                .ok_or_else(|| SinkError::Refused("the table meta is empty".to_owned()))?;
            row.try_get(0).map_err(fault)
        }
        _ => Err(SinkError::Refused(
            "the tables are another program's".to_owned(),
        )),
    }
}

/// Refuses a schema of a later version.
///
/// # Errors
/// When it is one.
pub(crate) fn check(found: i32) -> Result<(), SinkError> {
    match found > VERSION {
        true => Err(SinkError::Refused(format!(
            "schema version {found}; this program knows versions up to {VERSION}"
        ))),
        false => Ok(()),
    }
}

/// Brings the database to [`VERSION`] and its views up to date; tells the database's name.
pub(super) async fn migrate(
    session: &mut Session,
    now_ms: i64,
    new_id: u64,
) -> Result<u64, SinkError> {
    session.batch("BEGIN").await?;
    let result = steps(session, now_ms, new_id).await;
    let end = match result {
        Ok(_) => "COMMIT",
        Err(_) => "ROLLBACK",
    };
    session.batch(end).await?;
    result
}

async fn steps(session: &mut Session, now_ms: i64, new_id: u64) -> Result<u64, SinkError> {
    session
        .execute(
            "SELECT pg_advisory_xact_lock($1::int, $2::int)",
            &[&LOCK_CLASS, &LOCK_TABLES],
        )
        .await?;
    let found = version(&session.client).await?;
    check(found)?;
    if found < 1 {
        session.batch(V1).await?;
        session
            .execute(
                "INSERT INTO meta (id, schema_version, central_id, created_ms) VALUES (1, 1, $1, $2)",
                &[&number(new_id >> 1), &now_ms],
            )
            .await?;
    }
    if found < 2 {
        session.batch(V2).await?;
        fill_feed(session).await?;
        session
            .execute("UPDATE meta SET schema_version = 2", &[])
            .await?;
    }
    for (name, sql) in [
        ("readings", names::readings()),
        ("readings_named", names::named()),
        ("boots", names::boots(WORDS)),
        ("readings_timed", names::timed()),
    ] {
        // Replacing a view in its own words is free; in other words it keeps its columns and their order.
        let create = sql.replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1);
        tracing::debug!(name, "view");
        session.batch(&create).await?;
    }
    let rows = session.query("SELECT central_id FROM meta", &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| SinkError::Refused("the table meta is empty".to_owned()))?;
    unsigned(row, 0)
}

/// The alerts of before have an order, too.
async fn fill_feed(session: &mut Session) -> Result<(), SinkError> {
    let rows = session
        .query(
            "SELECT device, epoch, seq FROM alerts ORDER BY received_ms, device, epoch, seq",
            &[],
        )
        .await?;
    for row in &rows {
        let device: String = row.try_get(0).map_err(fault)?;
        let (epoch, seq): (i64, i64) = (
            row.try_get(1).map_err(fault)?,
            row.try_get(2).map_err(fault)?,
        );
        let id: DeviceId = device.parse().map_err(|_| foreign(&device))?;
        session
            .execute(
                "INSERT INTO alert_feed (bucket, device, epoch, seq) VALUES ($1, $2, $3, $4)",
                &[&i16::from(bucket(&id)), &device, &epoch, &seq],
            )
            .await?;
    }
    Ok(())
}
