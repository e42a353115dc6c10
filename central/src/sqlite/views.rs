//! The views that people query, and the triggers that let them write to one.
//!
//! Promises: `readings` has one column per thing that a reading says, with the contract's own names; it can be
//! written like a table, so that people can move, repair or forget rows with plain SQL, and a copied row is
//! the same row. Never: a check of what people do to their rows; that is what `verify` is for.

use firmware_shared::reading::{FaultKind, FixKind, Kind, Metric};
use firmware_shared::units::Unit;

const TEMPERATURE: i64 = Kind::Temperature as i64;
const POSITION: i64 = Kind::Position as i64;
const SCALAR: i64 = Kind::Scalar as i64;
const STATE: i64 = Kind::State as i64;
const FAULT: i64 = Kind::Fault as i64;
const HEALTH: i64 = Kind::Health as i64;

/// Columns that are the same in table and view.
const POSITION_COLUMNS: [&str; 8] = [
    "lat",
    "lon",
    "height_mm",
    "speed_mm_s",
    "course_1e5_deg",
    "h_acc_mm",
    "dop_centi",
    "satellites",
];

type Names = Vec<(i64, &'static str)>;

/// Every view and trigger with its SQL, in the order in which they can be made.
pub(super) fn all() -> [(&'static str, String); 5] {
    let trigger = |name: &str, event: &str, body: &str| {
        format!("CREATE TRIGGER {name} INSTEAD OF {event} ON readings BEGIN {body} END")
    };
    let delete = "DELETE FROM reading WHERE seq = OLD.seq AND stream = (SELECT stream FROM streams \
                  WHERE device = OLD.device AND epoch = OLD.epoch AND lane = OLD.lane);";
    let insert = insert();
    let update = format!("{delete} {insert}");
    [
        ("readings", readings()),
        (
            "readings_delete",
            trigger("readings_delete", "DELETE", delete),
        ),
        (
            "readings_insert",
            trigger("readings_insert", "INSERT", &insert),
        ),
        (
            "readings_update",
            trigger("readings_update", "UPDATE", &update),
        ),
        ("readings_named", named()),
    ]
}

fn readings() -> String {
    let kind = name_of("r.kind", &kinds());
    let unit = name_of("r.detail", &units());
    let fix = name_of("r.detail", &fixes());
    let fault = name_of("r.detail", &faults());
    let metric = name_of("r.detail", &metrics());
    let position = POSITION_COLUMNS
        .map(|column| format!("r.{column}"))
        .join(", ");
    format!(
        "CREATE VIEW readings AS SELECT s.device, s.epoch, s.lane, r.seq, r.sensor, {kind} AS kind, \
         r.boottime_ms, r.utc_ms, \
         CASE r.kind WHEN {TEMPERATURE} THEN r.raw / 128.0 WHEN {SCALAR} THEN r.scalar \
         WHEN {STATE} THEN CAST(r.raw AS REAL) WHEN {HEALTH} THEN CAST(r.raw AS REAL) END AS value, \
         CASE WHEN r.kind <> {FAULT} THEN r.raw END AS raw, \
         CASE r.kind WHEN {TEMPERATURE} THEN 'degC' WHEN {SCALAR} THEN {unit} END AS unit, \
         CASE r.kind WHEN {SCALAR} THEN r.aux END AS scale, {position}, \
         CASE r.kind WHEN {POSITION} THEN {fix} END AS fix, \
         CASE r.kind WHEN {FAULT} THEN {fault} END AS fault, \
         CASE r.kind WHEN {FAULT} THEN r.aux END AS fault_register, \
         CASE r.kind WHEN {FAULT} THEN r.raw END AS fault_code, \
         CASE r.kind WHEN {HEALTH} THEN {metric} END AS metric, \
         r.score FROM reading AS r JOIN streams AS s ON s.stream = r.stream"
    )
}

fn named() -> String {
    "CREATE VIEW readings_named AS SELECT r.*, c.name, c.role, c.compartment FROM readings AS r \
     LEFT JOIN catalogues AS c \
     ON c.device = r.device AND c.epoch = r.epoch AND c.sensor = r.sensor"
        .to_owned()
}

/// The way back from the columns of the view.
fn insert() -> String {
    let kind = number_of("NEW.kind", &kinds());
    let unit = number_of("NEW.unit", &units());
    let fix = number_of("NEW.fix", &fixes());
    let fault = number_of("NEW.fault", &faults());
    let metric = number_of("NEW.metric", &metrics());
    let columns = POSITION_COLUMNS.join(", ");
    let position = POSITION_COLUMNS
        .map(|column| format!("NEW.{column}"))
        .join(", ");
    format!(
        "INSERT OR IGNORE INTO streams (device, epoch, lane) VALUES (NEW.device, NEW.epoch, NEW.lane); \
         INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, utc_ms, score, raw, detail, aux, \
         scalar, {columns}) VALUES (\
         (SELECT stream FROM streams \
         WHERE device = NEW.device AND epoch = NEW.epoch AND lane = NEW.lane), \
         NEW.seq, NEW.sensor, {kind}, NEW.boottime_ms, NEW.utc_ms, coalesce(NEW.score, 0), \
         CASE NEW.kind WHEN 'fault' THEN NEW.fault_code \
         WHEN 'temperature' THEN coalesce(NEW.raw, CAST(round(NEW.value * 128) AS INTEGER)) \
         ELSE coalesce(NEW.raw, CAST(NEW.value AS INTEGER)) END, \
         CASE NEW.kind WHEN 'scalar' THEN {unit} WHEN 'position' THEN {fix} \
         WHEN 'fault' THEN {fault} WHEN 'health' THEN {metric} END, \
         CASE NEW.kind WHEN 'scalar' THEN NEW.scale WHEN 'fault' THEN NEW.fault_register END, \
         CASE NEW.kind WHEN 'scalar' THEN NEW.value END, {position});"
    )
}

fn kinds() -> Names {
    Kind::ALL.map(|kind| (kind as i64, kind.name())).to_vec()
}

fn units() -> Names {
    known(|n| Unit(n).symbol(), "?")
}

fn fixes() -> Names {
    known(|n| FixKind(n).name(), "unknown")
}

fn faults() -> Names {
    known(|n| FaultKind(n).name(), "unknown")
}

fn metrics() -> Names {
    known(|n| Metric(n.into()).name(), "unknown")
}

/// The numbers of an open set that have a name.
fn known(name: impl Fn(u8) -> &'static str, unknown: &str) -> Names {
    (0..=u8::MAX)
        .map(|n| (i64::from(n), name(n)))
        .filter(|(_, name)| *name != unknown)
        .collect()
}

/// A number as its name; one without a name as `#number`.
fn name_of(column: &str, names: &Names) -> String {
    let cases: String = names
        .iter()
        .map(|(number, name)| format!(" WHEN {number} THEN '{name}'"))
        .collect();
    format!("CASE {column}{cases} ELSE '#' || {column} END")
}

/// The number of a name, or of `#number`.
fn number_of(column: &str, names: &Names) -> String {
    let cases: String = names
        .iter()
        .map(|(number, name)| format!(" WHEN '{name}' THEN {number}"))
        .collect();
    format!("CASE {column}{cases} ELSE CAST(substr({column}, 2) AS INTEGER) END")
}
