use firmware_shared::id::Lane;
use firmware_shared::topic::Leaf;
use rusqlite::Connection;

use super::*;
use crate::testing::*;

const T: Lane = Lane::Telemetry;

/// Version 1 as it was, with a row in every table. Never edited.
const V1: &str = include_str!("tests/v1.sql");

fn schema_of(path: &Path) -> Vec<(String, String)> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

fn v1_file(folder: &Path) -> PathBuf {
    let path = folder.join("fleet.sqlite");
    Connection::open(&path).unwrap().execute_batch(V1).unwrap();
    path
}

#[test]
fn version_1_becomes_the_schema_of_a_fresh_database_and_keeps_its_data() {
    let (old, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    v1_file(old.path());
    drop(open(old.path(), 1));
    drop(open(fresh.path(), 1));
    assert_eq!(
        schema_of(&old.path().join("fleet.sqlite")),
        schema_of(&fresh.path().join("fleet.sqlite"))
    );
    let connection = Connection::open(old.path().join("fleet.sqlite")).unwrap();
    let one = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("PRAGMA user_version"), schema::VERSION);
    assert_eq!(one("SELECT central_id FROM meta"), 81985529216486895);
    assert_eq!(
        one("SELECT count(*) FROM readings WHERE device = 'truck-001'"),
        2
    );
    assert_eq!(one("SELECT error_ms FROM anchors"), 4_294_967_295);
    assert_eq!(
        one("SELECT crc FROM quarantine"),
        i64::from(firmware_shared::checksum::crc32c(&[1, 2, 3]))
    );
    assert_eq!(one("SELECT count FROM quarantine"), 1);
}

#[test]
fn a_migrated_database_goes_on_where_it_was() {
    let mut desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    v1_file(folder.path());
    desk.committer = open(folder.path(), 1);
    // Numbers 0 and 1 are in the version 1 file, numbers 2 to 9 are not.
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 2, 8));
    assert_eq!(desk.entry().upto, 10);
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
}

#[test]
fn a_later_version_and_another_program_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = v1_file(folder.path());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let before = schema_of(&path);
    let error = Sqlite::open(&path, 1, 1).unwrap_err().to_string();
    assert!(
        error.contains("schema version 99") && error.contains(&schema::VERSION.to_string()),
        "{error}"
    );
    assert_eq!(schema_of(&path), before);

    let foreign = folder.path().join("foreign.sqlite");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = Sqlite::open(&foreign, 1, 1).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(schema_of(&foreign).len(), 1);
}

#[test]
fn a_database_has_one_writer_and_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.sqlite");
    let first = Sqlite::open(&path, 1, 42).unwrap();
    assert_eq!(first.central_id(), 21);
    assert!(matches!(
        Sqlite::open(&path, 1, 7),
        Err(OpenError::InUse { .. })
    ));
    drop(first);
    assert_eq!(Sqlite::open(&path, 1, 7).unwrap().central_id(), 21);
}

#[test]
fn a_full_disk_commits_and_acknowledges_nothing_and_ingest_resumes_when_there_is_space() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    assert_eq!(desk.entry().upto, 10);
    let pages = desk.value("PRAGMA page_count");
    desk.execute(&format!("PRAGMA max_page_count = {pages}"));
    let group: Vec<_> = (0..40)
        .map(|n| desk.delivery(Leaf::Telemetry, &frame(s, 10 + n * 200, 200)))
        .collect();
    for _ in 0..3 {
        let error = desk.committer.commit(desk.now_ms, &group).unwrap_err();
        assert!(matches!(error, SinkError::Unavailable(_)), "{error:?}");
        assert!(desk.hear().is_empty());
        assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
        assert_eq!(desk.value("SELECT last_seq FROM have_set"), "9");
    }
    desk.execute("PRAGMA max_page_count = 1000000");
    desk.committer.commit(desk.now_ms, &group).unwrap();
    assert_eq!(desk.entry().upto, 8_010);
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "8010");
    assert_eq!(desk.counter("duplicate_frames"), 0);
}

#[test]
fn a_connection_dropped_before_its_commit_leaves_nothing_behind() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    // What a killed process leaves: a transaction in the WAL without its commit.
    desk.execute("BEGIN IMMEDIATE; DELETE FROM reading; DELETE FROM have_set;");
    desk = desk.restart();
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "10");
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    assert_eq!(desk.counter("duplicate_frames"), 1);
    assert_eq!(desk.entry().upto, 10);
}

#[test]
fn a_frame_that_the_database_refuses_is_set_aside_alone() {
    let mut desk = Desk::new();
    let s = stream(1, T);
    desk.give(Leaf::Telemetry, &frame(s, 0, 10));
    // Somebody made the have-set forget what the rows know.
    desk.execute("DELETE FROM have_set; DELETE FROM batches;");
    desk = desk.restart();
    desk.give_all(
        Leaf::Telemetry,
        &[frame(s, 20, 10), frame(s, 0, 10), frame(s, 30, 10)],
    );
    assert_eq!(desk.value("SELECT count(*) FROM readings"), "30");
    assert_eq!(desk.value("SELECT reason FROM quarantine"), "refused");
    assert_eq!(
        desk.entry().ranges.as_slice(),
        [crate::testing::range(20, 39)]
    );
}

#[test]
fn every_kind_of_value_is_read_back_through_the_view() {
    use firmware_shared::reading::*;
    use firmware_shared::units::*;
    let values = [
        Value::Scalar(Scalar {
            value: 215,
            unit: Unit::PERCENT,
            scale: -1,
        }),
        Value::State(3),
        Value::Fault(Fault {
            kind: FaultKind::NO_FIX,
            register: 7,
            code: -5,
        }),
        Value::Health(Health {
            metric: Metric::RSS_BYTES,
            value: 1 << 40,
        }),
        Value::Position(Position {
            lat: Degrees1e7(491_234_567),
            lon: Degrees1e7(-81_234_567),
            height: None,
            speed: Some(MillimetresPerSecond(13_900)),
            course: Some(Course1e5(35_999_999)),
            h_acc: Some(AccuracyMm(1_500)),
            dop: None,
            satellites: Some(11),
            fix: FixKind::FIX_3D,
        }),
        Value::Fault(Fault {
            kind: FaultKind(200),
            register: 0,
            code: 0,
        }),
    ];
    let list: Vec<Reading> = (0..)
        .zip(values)
        .map(|(n, value)| Reading {
            stamp_ms: n,
            sensor: n as u8,
            score: Score(1000),
            value,
        })
        .collect();
    let mut desk = Desk::new();
    desk.give(Leaf::Telemetry, &seal(stream(1, T), 0, &list));
    let show = "SELECT concat_ws(' ', kind, value, raw, unit, scale, lat, lon, height_mm, speed_mm_s,
        course_1e5_deg, h_acc_mm, dop_centi, satellites, fix, fault, fault_register, fault_code, metric, score)
        FROM readings ORDER BY seq";
    assert_eq!(
        desk.column(show),
        [
            "scalar 21.5 215 % -1 1000",
            "state 3.0 3 1000",
            "fault no_fix 7 -5 1000",
            "health 1099511627776.0 1099511627776 rss_bytes 1000",
            "position 491234567 -81234567 13900 35999999 1500 11 3d 1000",
            "fault #200 0 0 1000",
        ]
    );

    // The view is written like a table: what is copied out and in again is the same to the last bit.
    let all = "SELECT hex(concat_ws(' ', sensor, kind, boottime_ms, utc_ms, score, raw, detail, aux, scalar, lat,
        lon, height_mm, speed_mm_s, course_1e5_deg, h_acc_mm, dop_centi, satellites)) FROM reading ORDER BY seq";
    let before = desk.column(all);
    desk.execute(
        "CREATE TEMP TABLE copy AS SELECT * FROM readings; DELETE FROM readings;
         INSERT INTO readings SELECT * FROM copy; UPDATE readings SET score = 1000;",
    );
    assert_eq!(desk.column(all), before);
    assert_eq!(desk.column("SELECT count(*) FROM readings"), ["6"]);
    assert_eq!(desk.column("SELECT count(*) FROM streams"), ["1"]);
}

/// Bulk speed, printed with `--ignored --nocapture` in a release build.
#[test]
#[ignore = "a measurement: cargo test --release -p central -- --ignored --nocapture bulk"]
fn bulk_rows_per_second() {
    let mut desk = Desk::new();
    let frames = 20_000_u64;
    let groups: Vec<Vec<_>> = (0..frames / 64)
        .map(|group| {
            (0..64)
                .map(|n| {
                    let at = group * 64 + n;
                    let (epoch, slot) = (at % 20, at / 20);
                    desk.delivery(Leaf::Telemetry, &frame(stream(epoch, T), slot * 60, 60))
                })
                .collect()
        })
        .collect();
    let start_ms = crate::clock::monotonic_ms();
    for group in &groups {
        desk.committer.commit(desk.now_ms, group).unwrap();
    }
    let took_ms = crate::clock::monotonic_ms() - start_ms;
    let rows = groups.len() as u64 * 64 * 60;
    assert_eq!(desk.value("SELECT count(*) FROM reading"), rows.to_string());
    let bytes = std::fs::metadata(desk.db()).unwrap().len();
    println!(
        "{rows} rows in {took_ms} ms: {} rows/s, {:.1} B per row in the file",
        rows * 1_000 / took_ms.max(1),
        bytes as f64 / rows as f64
    );
}

#[test]
fn the_catalogue_says_where_a_sensor_sits_and_until_when_its_calibration_counts() {
    let mut desk = Desk::new();
    desk.give(Leaf::Health, &opening(stream(1, Lane::Health), boot(1)));
    assert_eq!(
        desk.column("SELECT compartment || ' ' || calibration_until FROM catalogues"),
        ["rear 2027-01-04"]
    );
    desk.give(Leaf::Telemetry, &frame(stream(1, T), 0, 1));
    assert_eq!(
        desk.value("SELECT compartment FROM readings_named WHERE lane = 'telemetry'"),
        "rear"
    );
}
