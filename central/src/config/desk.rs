//! The desk's part of the configuration: `[desk]` and `[[group]]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file::{Check, ConfigError};
use super::{Database, Place};

/// What the desk does with alerts and silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Desk {
    /// Its own file.
    pub(crate) path: PathBuf,
    /// A vehicle from which nothing comes for so long is silent, unless its group says otherwise.
    pub(crate) silent_after_s: u32,
    /// A sensor without a reading for so long, while its gateway is heard, is silent.
    pub(crate) sensor_silent_after_s: u32,
    /// The same alert again within this time is not told again; 0: always told.
    pub(crate) mute_s: u32,
    /// More alerts of one kind than this ...
    pub(crate) collapse_count: u32,
    /// ... within this time become one item.
    pub(crate) collapse_s: u32,
    /// An alert that nobody acknowledges for so long is escalated; 0: never.
    pub(crate) escalate_after_s: u32,
    /// The mildest severity that is escalated.
    pub(crate) escalate_severity: SeverityName,
    /// An alert that arrives so long after its time is late.
    pub(crate) late_s: u32,
    /// A late alert waits so long for its end before it is told.
    pub(crate) pair_ms: u32,
    /// A spool that is so full is near its bound.
    pub(crate) spool_percent: u8,
    /// A card with so much of its life used is to be replaced.
    pub(crate) card_life_percent: u8,
    /// A certificate is to be renewed so long before its end.
    pub(crate) certificate_days: u32,
    /// A clock without NTP or GNSS for so long is unsure.
    pub(crate) clock_unsure_s: u32,
    /// Closed alerts, events and the audit log are kept for so long.
    pub(crate) retention_days: u32,
}

/// A set of devices that somebody names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Patterns of device names: `*` is any text, `?` one character.
    pub(crate) devices: Vec<String>,
    pub(crate) silent_after_s: Option<u32>,
    pub(crate) sensor_silent_after_s: Option<u32>,
}

/// A severity as the file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeverityName {
    #[default]
    Diagnostic,
    Warning,
    Critical,
}

impl From<SeverityName> for firmware_shared::alert::Severity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Diagnostic => Self::Diagnostic,
            SeverityName::Warning => Self::Warning,
            SeverityName::Critical => Self::Critical,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeskTable {
    path: Option<PathBuf>,
    silent_after_s: u32,
    sensor_silent_after_s: u32,
    mute_s: u32,
    collapse_count: u32,
    collapse_s: u32,
    escalate_after_s: u32,
    escalate_severity: SeverityName,
    late_s: u32,
    pair_ms: u32,
    spool_percent: u8,
    card_life_percent: u8,
    certificate_days: u32,
    clock_unsure_s: u32,
    retention_days: u32,
}

impl Default for DeskTable {
    fn default() -> Self {
        Self {
            path: None,
            // Thirty times the period of a vehicle's word about itself, and longer than a tunnel.
            silent_after_s: 900,
            sensor_silent_after_s: 300,
            mute_s: 600,
            // The flood of EEMUA 191: ten alarms in ten minutes.
            collapse_count: 10,
            collapse_s: 600,
            escalate_after_s: 900,
            escalate_severity: SeverityName::Critical,
            late_s: 60,
            // Alerts of a backlog come one after the other within a second or two.
            pair_ms: 3_000,
            spool_percent: 80,
            card_life_percent: 90,
            certificate_days: 30,
            // A cold start under a roof is no trouble yet.
            clock_unsure_s: 3_600,
            retention_days: 90,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupTable {
    name: String,
    devices: Vec<String>,
    silent_after_s: Option<u32>,
    sensor_silent_after_s: Option<u32>,
}

const DAY_S: u32 = 86_400;
const NAME_ALLOWED: &str = "1 to 32 of a-z, 0-9, '_' and '-', each name once";

/// Whether a group or a route may be called so: it becomes a level of a topic.
pub(super) fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

impl Check<'_> {
    pub(super) fn desk(&self, table: DeskTable, database: &Database) -> Result<Desk, ConfigError> {
        let seconds =
            |key, value: u32, first: u32, allowed| match (first..=30 * DAY_S).contains(&value) {
                true => Ok(value),
                false => Err(self.value(key, value, allowed)),
            };
        let percent = |key, value: u8| match (1..=100).contains(&value) {
            true => Ok(value),
            false => Err(self.value(key, value, "1 to 100")),
        };
        let long = "10 to 2592000";
        let short = "1 to 2592000";
        let never = "0 (never) to 2592000";
        if !(2..=10_000).contains(&table.collapse_count) {
            return Err(self.value("desk.collapse_count", table.collapse_count, "2 to 10000"));
        }
        if table.pair_ms > 60_000 {
            return Err(self.value("desk.pair_ms", table.pair_ms, "0 to 60000"));
        }
        if table.certificate_days > 365 {
            return Err(self.value(
                "desk.certificate_days",
                table.certificate_days,
                "0 (never) to 365",
            ));
        }
        if !(1..=36_500).contains(&table.retention_days) {
            return Err(self.value("desk.retention_days", table.retention_days, "1 to 36500"));
        }
        let path = match (&table.path, &database.place) {
            (Some(path), _) if path.as_os_str().is_empty() => {
                return Err(self.value("desk.path", "", "the path of a file"));
            }
            (Some(path), _) => self.beside(path),
            (None, Place::Sqlite(path)) => path.with_extension("desk.sqlite"),
            (None, Place::Postgres(_)) => self.beside(&PathBuf::from("fleet.desk.sqlite")),
        };
        if matches!(&database.place, Place::Sqlite(db) if *db == path) {
            let allowed = "another file than that of the database";
            return Err(self.value("desk.path", path.display(), allowed));
        }
        Ok(Desk {
            path,
            silent_after_s: seconds("desk.silent_after_s", table.silent_after_s, 10, long)?,
            sensor_silent_after_s: seconds(
                "desk.sensor_silent_after_s",
                table.sensor_silent_after_s,
                10,
                long,
            )?,
            mute_s: seconds("desk.mute_s", table.mute_s, 0, never)?,
            collapse_count: table.collapse_count,
            collapse_s: seconds("desk.collapse_s", table.collapse_s, 1, short)?,
            escalate_after_s: seconds("desk.escalate_after_s", table.escalate_after_s, 0, never)?,
            escalate_severity: table.escalate_severity,
            late_s: seconds("desk.late_s", table.late_s, 1, short)?,
            pair_ms: table.pair_ms,
            spool_percent: percent("desk.spool_percent", table.spool_percent)?,
            card_life_percent: percent("desk.card_life_percent", table.card_life_percent)?,
            certificate_days: table.certificate_days,
            clock_unsure_s: seconds("desk.clock_unsure_s", table.clock_unsure_s, 1, short)?,
            retention_days: table.retention_days,
        })
    }

    pub(super) fn groups(&self, tables: Vec<GroupTable>) -> Result<Vec<Group>, ConfigError> {
        let mut groups: Vec<Group> = Vec::new();
        for table in tables {
            if !is_name(&table.name) || groups.iter().any(|group| group.name == table.name) {
                return Err(self.value("group.name", table.name, NAME_ALLOWED));
            }
            if table.devices.is_empty() || table.devices.iter().any(String::is_empty) {
                let allowed = "at least one pattern such as \"truck-*\"";
                return Err(self.value("group.devices", table.devices.join(", "), allowed));
            }
            for (key, value) in [
                ("group.silent_after_s", table.silent_after_s),
                ("group.sensor_silent_after_s", table.sensor_silent_after_s),
            ] {
                if let Some(value) = value.filter(|value| !(10..=30 * DAY_S).contains(value)) {
                    return Err(self.value(key, value, "10 to 2592000"));
                }
            }
            groups.push(Group {
                name: table.name,
                devices: table.devices,
                silent_after_s: table.silent_after_s,
                sensor_silent_after_s: table.sensor_silent_after_s,
            });
        }
        Ok(groups)
    }
}

/// The tables that would give this again.
pub(super) fn desk_table(desk: &Desk) -> DeskTable {
    DeskTable {
        path: Some(desk.path.clone()),
        silent_after_s: desk.silent_after_s,
        sensor_silent_after_s: desk.sensor_silent_after_s,
        mute_s: desk.mute_s,
        collapse_count: desk.collapse_count,
        collapse_s: desk.collapse_s,
        escalate_after_s: desk.escalate_after_s,
        escalate_severity: desk.escalate_severity,
        late_s: desk.late_s,
        pair_ms: desk.pair_ms,
        spool_percent: desk.spool_percent,
        card_life_percent: desk.card_life_percent,
        certificate_days: desk.certificate_days,
        clock_unsure_s: desk.clock_unsure_s,
        retention_days: desk.retention_days,
    }
}

/// The tables that would give these again.
pub(super) fn group_tables(groups: &[Group]) -> Vec<GroupTable> {
    groups
        .iter()
        .map(|group| GroupTable {
            name: group.name.clone(),
            devices: group.devices.clone(),
            silent_after_s: group.silent_after_s,
            sensor_silent_after_s: group.sensor_silent_after_s,
        })
        .collect()
}

#[cfg(test)]
impl Desk {
    /// Every default, and this file.
    pub(crate) fn with_path(path: PathBuf) -> Self {
        let table = DeskTable::default();
        Self {
            path,
            silent_after_s: table.silent_after_s,
            sensor_silent_after_s: table.sensor_silent_after_s,
            mute_s: table.mute_s,
            collapse_count: table.collapse_count,
            collapse_s: table.collapse_s,
            escalate_after_s: table.escalate_after_s,
            escalate_severity: table.escalate_severity,
            late_s: table.late_s,
            pair_ms: table.pair_ms,
            spool_percent: table.spool_percent,
            card_life_percent: table.card_life_percent,
            certificate_days: table.certificate_days,
            clock_unsure_s: table.clock_unsure_s,
            retention_days: table.retention_days,
        }
    }
}
