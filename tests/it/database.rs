//! PostgreSQL as the centre's database: found unsound when it is, one writer per bucket, restored from a backup.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use firmware_shared::batch::{self, SealParams};
use firmware_shared::id::{DeviceId, Epoch, Lane};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::topic::{self, Leaf};
use firmware_shared::units::Celsius128;
use libtest_mimic::Trial;
use tests::database::Postgres;
use tests::fleet::{Centre, CentreSetup, PATIENCE};
use tests::link::free_port;
use tests::store::Store;
use tests::wait;

use crate::bad_input::Publisher;
use crate::needs::{self, Peers};
use crate::world::{World, central, setup};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::postgres(
            "database::a_number_in_two_partitions_and_a_deleted_row_are_found_in_postgresql",
            tampered,
        ),
        needs::postgres(
            "database::a_second_ingest_of_the_same_buckets_is_fenced_off",
            fenced,
        ),
        needs::postgres("database::two_ingests_share_a_database_by_buckets", buckets),
        needs::postgres(
            "database::a_restored_postgresql_database_gets_again_what_is_held",
            restored,
        ),
        needs::postgres(
            "database::a_later_schema_and_foreign_tables_are_refused_untouched",
            refused,
        ),
    ]
}

fn peers(programs: &Path) -> Peers {
    Peers {
        postgres: Some(programs.to_owned()),
        ..Peers::default()
    }
}

/// Sixty readings in two frames.
pub(crate) fn frames(device: &str) -> anyhow::Result<(String, [Vec<u8>; 2])> {
    let device: DeviceId = device.parse()?;
    let seal = |first_seq: u64| -> anyhow::Result<Vec<u8>> {
        let params = SealParams {
            epoch: Epoch::from_random(7),
            lane: Lane::Telemetry,
            first_seq,
            anchor: None,
        };
        let readings: Vec<Reading> = (first_seq..first_seq + 30)
            .map(|seq| Reading {
                stamp_ms: 1000 * seq,
                sensor: 0,
                score: Score(0),
                value: Value::Temperature(Celsius128(seq as i32)),
            })
            .collect();
        let mut out = vec![0; batch::BATCH_LEN_MAX];
        let len =
            batch::seal(&params, &readings, &mut out).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        out.truncate(len);
        Ok(out)
    };
    let topic = topic::topic(topic::PREFIX_DEFAULT, &device, Leaf::Telemetry).unwrap();
    Ok((topic.to_string(), [seal(0)?, seal(30)?]))
}

fn tampered(programs: &Path) -> anyhow::Result<()> {
    let world = World::over(&peers(programs), &[], "", CentreSetup::default())?;
    let (topic, frames) = frames("truck-001")?;
    let mut publisher = Publisher::connect(world.centre.port())?;
    for frame in [&frames[0], &frames[1], &frames[0]] {
        publisher.publish(&topic, frame)?;
    }
    wait::until_true("sixty rows are stored", PATIENCE, || {
        Ok(world.stored("truck-001")? == 60)
    })?;
    let (report, clean) = world.centre.verify()?;
    anyhow::ensure!(clean && report["stored"] == 60, "{report}");
    let store = world.store()?;
    let partition = store
        .number("SELECT right(tableoid::regclass::text, 6)::bigint FROM reading WHERE seq = 7")?;
    anyhow::ensure!(partition > 202_000, "rows are in partition {partition}");
    // The same number once more, in another month: no constraint of the server sees that.
    store.tamper(
        "CREATE TABLE reading_197001 PARTITION OF reading FOR VALUES IN (197001);
         INSERT INTO reading (stream, seq, month, sensor, kind, score, boottime_ms, raw)
             SELECT stream, seq, 197001, sensor, kind, score, boottime_ms + 1, raw
             FROM reading WHERE seq = 7;",
    )?;
    let (report, clean) = world.centre.verify()?;
    anyhow::ensure!(!clean && report["duplicates"] == 1, "{report}");
    anyhow::ensure!(report["unexplained_gaps"] == 0, "{report}");
    store.tamper("DELETE FROM reading WHERE seq = 7")?;
    let (report, clean) = world.centre.verify()?;
    anyhow::ensure!(!clean && report["unexplained_gaps"] == 1, "{report}");
    anyhow::ensure!(
        report["devices"][0]["gaps"][0]["first_seq"] == 7,
        "{report}"
    );
    Ok(())
}

fn fenced(programs: &Path) -> anyhow::Result<()> {
    let mut world = World::over(&peers(programs), &[setup(1)], "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 20)?;
    let second = CentreSetup {
        url: world.database.as_ref().map(Postgres::url),
        more: "[ingest]\nbuckets = \"10-1f\"\n".to_owned(),
        ..CentreSetup::default()
    };
    let folder = world.folder.path().join("second");
    let rival = Centre::new(central(), &folder, free_port()?, &second)?;
    let mut process = rival.launch()?;
    let status = process.wait(PATIENCE)?;
    anyhow::ensure!(status.code() == Some(1), "the rival ended with {status}");
    let log = process.log_tail();
    anyhow::ensure!(log.contains("another ingest serves bucket 10"), "{log}");
    // The first goes on undisturbed, and its place is free at once when it is gone.
    world.wait_for_rows("truck-001", 20)?;
    world.centre.kill_9()?;
    world.centre.start()?;
    world.wait_for_rows("truck-001", 20)?;
    world.stop_and_verify()?;
    anyhow::ensure!(world.judge()?.is_exactly_once(), "something is missing");
    Ok(())
}

fn buckets(programs: &Path) -> anyhow::Result<()> {
    let mosquitto = needs::mosquitto_program();
    let over = Peers {
        broker: mosquitto.map(|program| (tests::broker::Kind::Mosquitto, program)),
        ..peers(programs)
    };
    anyhow::ensure!(over.broker.is_some(), "mosquitto is not installed");
    let half = |buckets: &str| CentreSetup {
        more: format!("[ingest]\nbuckets = \"{buckets}\"\n"),
        ..CentreSetup::default()
    };
    // truck-001 to truck-006 fall on both sides.
    let setups: Vec<_> = (1..=6).map(setup).collect();
    let mut world = World::over(&over, &setups, "", half("00-1f"))?;
    let port = world.centre.port();
    let other = CentreSetup {
        broker: format!("mode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}\n"),
        url: world.database.as_ref().map(Postgres::url),
        ..half("20-3f")
    };
    let mut second = Centre::new(central(), &world.folder.path().join("second"), port, &other)?;
    second.start()?;
    world.start()?;
    let sides: std::collections::BTreeSet<bool> = world
        .vehicles
        .iter()
        .map(|vehicle| Ok(topic::bucket(&vehicle.device().parse()?) < 0x20))
        .collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(sides.len() == 2, "all vehicles are in one half");
    for number in 1..=6 {
        world.wait_for_rows(&format!("truck-{number:03}"), 20)?;
    }
    for _ in 0..2 {
        world.centre.kill_9()?;
        second.kill_9()?;
        second.start()?;
        world.centre.start()?;
        world.wait_for_rows("truck-001", 20)?;
    }
    world.stop_and_verify()?;
    anyhow::ensure!(world.judge()?.is_exactly_once(), "something is missing");
    Ok(())
}

fn refused(programs: &Path) -> anyhow::Result<()> {
    let server = Postgres::start(programs)?;
    let folder = tempfile::tempdir()?;
    let attempt = |name: &str, sql: &str| -> anyhow::Result<String> {
        let url = server.create(name)?;
        let setup = CentreSetup {
            url: Some(url.clone()),
            ..CentreSetup::default()
        };
        let mut centre = Centre::new(central(), &folder.path().join(name), free_port()?, &setup)?;
        if name == "later" {
            centre.start()?;
            centre.process()?.terminate(Duration::from_secs(20))?;
        }
        let store = Store::at(centre.place())?;
        store.tamper(sql)?;
        let before = store.number("SELECT count(*) FROM pg_class")?;
        let mut process = centre.launch()?;
        let status = process.wait(PATIENCE)?;
        anyhow::ensure!(status.code() == Some(1), "{name}: {status}");
        anyhow::ensure!(
            store.number("SELECT count(*) FROM pg_class")? == before,
            "{name} was touched"
        );
        Ok(process.log_tail())
    };
    let log = attempt("later", "UPDATE meta SET schema_version = 99")?;
    anyhow::ensure!(log.contains("schema version 99"), "{log}");
    let log = attempt("theirs", "CREATE TABLE streams (x int)")?;
    anyhow::ensure!(log.contains("another program"), "{log}");
    Ok(())
}

fn restored(programs: &Path) -> anyhow::Result<()> {
    let mut world = World::over(&peers(programs), &[setup(1)], "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 100)?;
    let file = world.folder.path().join("fleet.dump");
    let database = world.database.as_ref().context("no database")?;
    let run = |name: &str, args: &[&str]| -> anyhow::Result<()> {
        let output = database.tool(name).args(args).arg(&file).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{name}: {text}");
        Ok(())
    };
    let url = database.url();
    run("pg_dump", &["--format=custom", "--dbname", &url, "--file"])?;
    world.wait_for_rows("truck-001", 300)?;
    world.centre.kill_9()?;
    let (before, last_seq) = (world.stored("truck-001")?, world.last_seq("truck-001")?);
    world
        .store()?
        .tamper("DROP SCHEMA public CASCADE; CREATE SCHEMA public")?;
    run("pg_restore", &["--single-transaction", "--dbname", &url])?;
    anyhow::ensure!(world.stored("truck-001")? < before, "nothing went back");
    world.centre.start()?;
    world.wait_for_return("truck-001", before, last_seq)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(
        account.is_exactly_once(),
        "{:?} are missing",
        account.missing_ms
    );
    Ok(())
}
