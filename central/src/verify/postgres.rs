//! The facts of a PostgreSQL database.
//!
//! Promises: one consistent snapshot of a database that may be in use; a number that stands in two partitions is
//! two rows. Never: a write.

use firmware_shared::id::SeqRange;
use tokio_postgres::{Client, Row};

use super::facts::{Facts, StreamFacts};
use crate::config::Postgres as Reach;
use crate::ingest::{LossLedger, SinkError, StreamKey, insert};
use crate::postgres::{self, loss, parsed, range, schema, stream_key, unsigned};

pub(super) fn facts(reach: &Reach) -> anyhow::Result<Facts> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = postgres::connect(reach).await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        match schema::version(&client).await? {
            0 => anyhow::bail!("no fleet database; start `fleet-central run` once to make it one"),
            found => schema::check(found)?,
        }
        read(&client).await
    })
}

async fn read(client: &Client) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    let all = "SELECT device, epoch, lane FROM streams
         UNION SELECT device, epoch, lane FROM issued
         UNION SELECT device, epoch, lane FROM losses
         UNION SELECT DISTINCT device, epoch, 'alert' FROM alerts";
    for row in client.query(all, &[]).await? {
        facts
            .streams
            .insert(stream_key(&row, 0)?, StreamFacts::default());
    }
    for row in client
        .query("SELECT device, epoch, lane, have::text FROM streams", &[])
        .await?
    {
        stream(&mut facts, &row)?.have = parsed(&row, 3, postgres::multirange)?;
    }
    rows(client, &mut facts).await?;
    for row in client
        .query(
            "SELECT s.device, s.epoch, s.lane, e.first_seq, e.last_seq
             FROM expired AS e JOIN streams AS s USING (stream)",
            &[],
        )
        .await?
    {
        insert(&mut stream(&mut facts, &row)?.expired, range(&row, 3)?);
    }
    losses(client, &mut facts).await?;
    for row in client
        .query("SELECT device, epoch, lane, next_seq FROM issued", &[])
        .await?
    {
        stream(&mut facts, &row)?.reported_next_seq = unsigned(&row, 3)?;
    }
    for row in client.query(DUPLICATE_STAMPS, &[]).await? {
        facts
            .duplicate_stamps
            .push((row.try_get(0)?, unsigned(&row, 1)?));
    }
    let counters = "SELECT device, name, value FROM counters ORDER BY device, name";
    for row in client.query(counters, &[]).await? {
        let value = unsigned(&row, 2)?;
        facts
            .counters
            .push((row.try_get(0)?, row.try_get(1)?, value));
    }
    Ok(facts)
}

fn stream<'a>(facts: &'a mut Facts, row: &Row) -> Result<&'a mut StreamFacts, SinkError> {
    Ok(facts.streams.entry(stream_key(row, 0)?).or_default())
}

/// Runs of consecutive numbers over all partitions, with the count of rows in each.
const RUNS: &str = "SELECT s.device, s.epoch, s.lane, r.first_seq, r.last_seq, r.rows
     FROM (SELECT stream, min(seq) AS first_seq, max(seq) AS last_seq, count(*) AS rows
           FROM (SELECT stream, seq,
                     seq - dense_rank() OVER (PARTITION BY stream ORDER BY seq) AS run
                 FROM reading) AS numbered
           GROUP BY stream, run) AS r
     JOIN streams AS s USING (stream)";

/// Frames whose numbers have no rows: raw ones, and those that open an epoch.
const FRAMES: &str =
    "SELECT s.device, s.epoch, s.lane, f.first_seq, f.first_seq + f.count - 1, f.count
     FROM (SELECT stream, first_seq, count FROM raw_batches
           UNION ALL SELECT stream, first_seq, count FROM batches WHERE codec = 2) AS f
     JOIN streams AS s USING (stream)";

const ALERTS: &str = "SELECT device, epoch, 'alert', seq, seq, 1::bigint FROM alerts";

async fn rows(client: &Client, facts: &mut Facts) -> anyhow::Result<()> {
    for sql in [RUNS, FRAMES, ALERTS] {
        for row in client.query(sql, &[]).await? {
            let (range, rows): (SeqRange, u64) = (range(&row, 3)?, unsigned(&row, 5)?);
            let stream = stream(facts, &row)?;
            stream.duplicate_keys += rows - insert(&mut stream.stored, range).min(rows);
        }
    }
    Ok(())
}

async fn losses(client: &Client, facts: &mut Facts) -> anyhow::Result<()> {
    let sql = "SELECT device, epoch, lane, first_seq, last_seq, reason, at_most, told_first_seq
         FROM losses ORDER BY device, epoch, lane";
    let mut gathered: Option<(StreamKey, Vec<_>, Option<_>)> = None;
    let settle = |facts: &mut Facts, gathered| {
        if let Some((key, closed, tail)) = gathered {
            let ledger = LossLedger::restored(closed, tail);
            facts.streams.entry(key).or_default().ledger = ledger;
        }
    };
    for row in client.query(sql, &[]).await? {
        let key = stream_key(&row, 0)?;
        if gathered.as_ref().is_none_or(|(before, ..)| *before != key) {
            settle(facts, gathered.replace((key, Vec::new(), None)));
        }
        if let Some((_, closed, tail)) = &mut gathered {
            loss(&row, 3, closed, tail)?;
        }
    }
    settle(facts, gathered);
    Ok(())
}

const DUPLICATE_STAMPS: &str = "SELECT device, sum(extra)::bigint FROM (
         SELECT s.device AS device, count(*) - 1 AS extra
         FROM reading AS r
         JOIN streams AS s ON s.stream = r.stream
         LEFT JOIN epochs AS e ON e.device = s.device AND e.epoch = s.epoch
         GROUP BY s.device, coalesce(e.boot_id, s.epoch::text), s.lane, r.sensor, r.boottime_ms,
             CASE r.kind WHEN 5 THEN r.detail END
         HAVING count(*) > 1) AS doubled
     GROUP BY device";
