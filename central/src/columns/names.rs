//! The names of what a reading says, as SQL, and the views that every database has.
//!
//! Promises: `readings` has one column per thing that a reading says, with the contract's own names; the views
//! have the same columns in every database. Never: SQL that only one database understands, but for [`Words`].

use firmware_shared::reading::{FaultKind, FixKind, Kind, Metric};
use firmware_shared::time::ClockSource;
use firmware_shared::units::Unit;

/// What databases call differently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// The larger and the smaller of two values.
    pub(crate) greatest: &'static str,
    pub(crate) least: &'static str,
    /// A relation of the frames with device and epoch.
    pub(crate) batches: &'static str,
}

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
pub(crate) const POSITION_COLUMNS: [&str; 8] = [
    "lat",
    "lon",
    "height_mm",
    "speed_mm_s",
    "course_1e5_deg",
    "h_acc_mm",
    "dop_centi",
    "satellites",
];

pub(crate) type Names = Vec<(i64, &'static str)>;

/// The view `readings` over `reading` and `streams`.
pub(crate) fn readings() -> String {
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
         CASE r.kind WHEN {TEMPERATURE} THEN CAST(r.raw AS DOUBLE PRECISION) / 128.0 WHEN {SCALAR} THEN r.scalar \
         WHEN {STATE} THEN CAST(r.raw AS DOUBLE PRECISION) WHEN {HEALTH} THEN CAST(r.raw AS DOUBLE PRECISION) END AS value, \
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

/// The view `readings_named`: `readings` with the names of the catalogue.
pub(crate) fn named() -> String {
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
pub(crate) fn boots(words: Words) -> String {
    let Words {
        greatest,
        least,
        batches,
    } = words;
    let source = name_of("p.source", &sources());
    format!(
        "CREATE VIEW boots AS WITH spans AS (\
         SELECT e.device, e.boot_id, max(e.spool_id) AS spool_id, max(e.incarnation) AS incarnation, \
         max(b.utc_source) AS source, min(b.base_ms) AS first_ms, max(b.base_ms) AS last_ms, \
         min(b.received_ms - b.base_ms) AS zero_high_ms \
         FROM epochs AS e JOIN {batches} AS b ON b.device = e.device AND b.epoch = e.epoch \
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
         SELECT p.*, {greatest}({BUILD_MS}, coalesce((SELECT max(k.last_low_ms) FROM known AS k \
         WHERE k.device = p.device AND k.spool_id = p.spool_id AND k.incarnation < p.incarnation), 0)) AS low, \
         {least}(p.zero_high_ms + p.last_ms / 10000 + 1, \
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
pub(crate) fn timed() -> String {
    "CREATE VIEW readings_timed AS SELECT r.*, e.boot_id, \
     coalesce(r.utc_ms - r.utc_error_ms, r.boottime_ms + b.zero_low_ms - r.boottime_ms / 10000 - 1) \
     AS utc_low_ms, \
     coalesce(r.utc_ms + r.utc_error_ms, r.boottime_ms + b.zero_high_ms) AS utc_high_ms \
     FROM readings AS r \
     LEFT JOIN epochs AS e ON e.device = r.device AND e.epoch = r.epoch \
     LEFT JOIN boots AS b ON b.device = r.device AND b.boot_id = e.boot_id"
        .to_owned()
}

pub(crate) fn sources() -> Names {
    let source = |number: u8| Some((number.into(), ClockSource::from_wire(number)?.name()));
    (0..=u8::MAX).map_while(source).collect()
}

pub(crate) fn kinds() -> Names {
    Kind::ALL.map(|kind| (kind as i64, kind.name())).to_vec()
}

pub(crate) fn units() -> Names {
    known(|n| Unit(n).symbol(), "?")
}

pub(crate) fn fixes() -> Names {
    known(|n| FixKind(n).name(), "unknown")
}

pub(crate) fn faults() -> Names {
    known(|n| FaultKind(n).name(), "unknown")
}

pub(crate) fn metrics() -> Names {
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
pub(crate) fn number_of(column: &str, names: &Names) -> String {
    let cases: String = names
        .iter()
        .map(|(number, name)| format!(" WHEN '{name}' THEN {number}"))
        .collect();
    format!("CASE {column}{cases} ELSE CAST(substr({column}, 2) AS INTEGER) END")
}
