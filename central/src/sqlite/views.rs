//! The views that people query, and the triggers that let them write to one.
//!
//! Promises: `readings` has one column per thing that a reading says, with the contract's own names; it can be
//! written like a table, so that people can move, repair or forget rows with plain SQL, and a copied row is
//! the same row. Never: a check of what people do to their rows; that is what `verify` is for.

use firmware_shared::reading::{FaultKind, FixKind, Kind, Metric};
use firmware_shared::time::ClockSource;
use firmware_shared::units::Unit;

const TEMPERATURE: i64 = Kind::Temperature as i64;
const POSITION: i64 = Kind::Position as i64;
const SCALAR: i64 = Kind::Scalar as i64;
const STATE: i64 = Kind::State as i64;
const FAULT: i64 = Kind::Fault as i64;
const HEALTH: i64 = Kind::Health as i64;

/// 2026-01-01: no reading is older than the software that takes it.
const BUILD_MS: i64 = 1_767_225_600_000;
/// Later than anything.
const FAR_MS: i64 = 1 << 62;

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
pub(super) fn all() -> [(&'static str, String); 7] {
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
        ("boots", boots()),
        ("readings_timed", timed()),
    ]
}

fn readings() -> String {
    let kind = name_of("r.kind", &kinds());
    let unit = name_of("r.detail", &units());
    let fix = name_of("r.detail", &fixes());
    let fault = name_of("r.detail", &faults());
    let metric = name_of("r.detail", &metrics());
    let source = name_of("r.utc_source", &sources());
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
         r.score, r.utc_error_ms, {source} AS utc_source \
         FROM reading AS r JOIN streams AS s ON s.stream = r.stream"
    )
}

fn named() -> String {
    "CREATE VIEW readings_named AS SELECT r.*, c.name, c.role, c.compartment FROM readings AS r \
     LEFT JOIN catalogues AS c \
     ON c.device = r.device AND c.epoch = r.epoch AND c.sensor = r.sensor"
        .to_owned()
}

/// What is known about the time of each boot, with or without an anchor.
///
/// A boot is over before the next one begins, and a frame is received after it was sealed: that confines the
/// moment at which a boot's stamps began. `zero_low_ms` and `zero_high_ms` are for a crystal that drifts by
/// at most 100 ppm; they are NULL where the clocks contradict each other.
fn boots() -> String {
    let source = name_of("p.source", &sources());
    format!(
        "CREATE VIEW boots AS WITH spans AS (\
         SELECT e.device, e.boot_id, max(e.spool_id) AS spool_id, max(e.incarnation) AS incarnation, \
         max(b.utc_source) AS source, min(b.base_ms) AS first_ms, max(b.base_ms) AS last_ms, \
         min(b.received_ms - b.base_ms) AS zero_high_ms \
         FROM epochs AS e JOIN batches AS b ON b.device = e.device AND b.epoch = e.epoch \
         WHERE e.boot_id IS NOT NULL GROUP BY e.device, e.boot_id), \
         ends AS (\
         SELECT e.device, e.boot_id, \
         max((SELECT r.utc_ms - r.utc_error_ms FROM reading AS r \
         WHERE r.stream = s.stream AND r.utc_error_ms IS NOT NULL ORDER BY r.seq DESC LIMIT 1)) AS last_low_ms, \
         min((SELECT r.utc_ms + r.utc_error_ms FROM reading AS r \
         WHERE r.stream = s.stream AND r.utc_error_ms IS NOT NULL ORDER BY r.seq LIMIT 1)) AS first_high_ms \
         FROM epochs AS e JOIN streams AS s ON s.device = e.device AND s.epoch = e.epoch \
         WHERE e.boot_id IS NOT NULL GROUP BY e.device, e.boot_id), \
         known AS (\
         SELECT q.device, q.spool_id, q.incarnation, t.last_low_ms, t.first_high_ms FROM spans AS q \
         JOIN ends AS t ON t.device = q.device AND t.boot_id = q.boot_id), \
         bounds AS (\
         SELECT p.*, max({BUILD_MS}, coalesce((SELECT max(k.last_low_ms) FROM known AS k \
         WHERE k.device = p.device AND k.spool_id = p.spool_id AND k.incarnation < p.incarnation), 0)) AS low, \
         min(p.zero_high_ms + p.last_ms / 10000 + 1, \
         coalesce((SELECT min(k.first_high_ms) - p.last_ms + p.last_ms / 10000 + 1 FROM known AS k \
         WHERE k.device = p.device AND k.spool_id = p.spool_id AND k.incarnation > p.incarnation), \
         {FAR_MS})) AS high FROM spans AS p) \
         SELECT p.device, p.boot_id, {source} AS utc_source, p.first_ms, p.last_ms, \
         CASE WHEN p.low <= p.high THEN p.low END AS zero_low_ms, \
         CASE WHEN p.low <= p.high THEN p.high END AS zero_high_ms FROM bounds AS p"
    )
}

/// Readings with the interval in which their UTC certainly is: by the bound of a clock that somebody vouches
/// for, or else by what is known about their boot.
fn timed() -> String {
    "CREATE VIEW readings_timed AS SELECT r.*, e.boot_id, \
     coalesce(r.utc_ms - r.utc_error_ms, r.boottime_ms + b.zero_low_ms - r.boottime_ms / 10000 - 1) \
     AS utc_low_ms, \
     coalesce(r.utc_ms + r.utc_error_ms, r.boottime_ms + b.zero_high_ms) AS utc_high_ms \
     FROM readings AS r \
     LEFT JOIN epochs AS e ON e.device = r.device AND e.epoch = r.epoch \
     LEFT JOIN boots AS b ON b.device = r.device AND b.boot_id = e.boot_id"
        .to_owned()
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

fn sources() -> Names {
    let source = |number: u8| Some((number.into(), ClockSource::from_wire(number)?.name()));
    (0..=u8::MAX).map_while(source).collect()
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
