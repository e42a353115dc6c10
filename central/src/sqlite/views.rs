//! The views that people query, and the triggers that let them write to one.
//!
//! Promises: `readings` has one column per thing that a reading says, with the contract's own names; it can be
//! written like a table, so that people can move, repair or forget rows with plain SQL, and a copied row is
//! the same row. Never: a check of what people do to their rows; that is what `verify` is for.

use crate::columns::names::{
    POSITION_COLUMNS, Words, boots, faults, fixes, kinds, metrics, named, number_of, readings,
    sources, timed, units,
};

const WORDS: Words = Words {
    greatest: "max",
    least: "min",
    batches: "batches",
};

/// Every view and trigger with its SQL, in the order in which they can be made.
pub(super) fn all() -> [(&'static str, String); 8] {
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
        ("boots", boots(WORDS)),
        ("readings_timed", timed()),
        // As PostgreSQL has it, where a frame's row names its stream.
        (
            "frames",
            "CREATE VIEW frames AS SELECT * FROM batches".to_owned(),
        ),
    ]
}

/// The way back from the columns of the view.
fn insert() -> String {
    let kind = number_of("NEW.kind", &kinds());
    let unit = number_of("NEW.unit", &units());
    let fix = number_of("NEW.fix", &fixes());
    let fault = number_of("NEW.fault", &faults());
    let metric = number_of("NEW.metric", &metrics());
    let source = number_of("NEW.utc_source", &sources());
    let columns = POSITION_COLUMNS.join(", ");
    let position = POSITION_COLUMNS
        .map(|column| format!("NEW.{column}"))
        .join(", ");
    format!(
        "INSERT OR IGNORE INTO streams (device, epoch, lane) VALUES (NEW.device, NEW.epoch, NEW.lane); \
         INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, utc_ms, score, raw, detail, aux, \
         scalar, {columns}, utc_error_ms, utc_source) VALUES (\
         (SELECT stream FROM streams \
         WHERE device = NEW.device AND epoch = NEW.epoch AND lane = NEW.lane), \
         NEW.seq, NEW.sensor, {kind}, NEW.boottime_ms, NEW.utc_ms, coalesce(NEW.score, 0), \
         CASE NEW.kind WHEN 'fault' THEN NEW.fault_code \
         WHEN 'temperature' THEN coalesce(NEW.raw, CAST(round(NEW.value * 128) AS INTEGER)) \
         ELSE coalesce(NEW.raw, CAST(NEW.value AS INTEGER)) END, \
         CASE NEW.kind WHEN 'scalar' THEN {unit} WHEN 'position' THEN {fix} \
         WHEN 'fault' THEN {fault} WHEN 'health' THEN {metric} END, \
         CASE NEW.kind WHEN 'scalar' THEN NEW.scale WHEN 'fault' THEN NEW.fault_register END, \
         CASE NEW.kind WHEN 'scalar' THEN NEW.value END, {position}, \
         NEW.utc_error_ms, coalesce({source}, 0));"
    )
}
