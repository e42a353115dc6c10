//! `fleet-central verify`: is every number that was issued stored once, or explained?
//!
//! Promises: counts what is in the tables, not what the have-set says of them; reads one consistent
//! snapshot of a live database and writes nothing. Never: a gap called anything but a gap.

mod account;
mod facts;
mod postgres;
mod print;
mod report;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::Place;
use account::account;
use facts::Facts;
pub(crate) use print::table;
pub(crate) use report::{DeviceReport, Report};

/// Reads a database and reports on it.
///
/// # Errors
/// When it cannot be read or is not a fleet database of this version.
pub(crate) fn verify(place: &Place) -> anyhow::Result<Report> {
    Ok(report(&match place {
        Place::Sqlite(path) => sqlite::facts(path)?,
        Place::Postgres(reach) => postgres::facts(reach)?,
    }))
}

fn report(facts: &Facts) -> Report {
    let mut devices: BTreeMap<String, DeviceReport> = BTreeMap::new();
    for (key, stream) in &facts.streams {
        let device = key.device.as_str().to_owned();
        devices
            .entry(device)
            .or_default()
            .add(key, &account(stream));
    }
    for (device, stamps) in &facts.duplicate_stamps {
        let report = devices.entry(device.clone()).or_default();
        report.duplicates += stamps;
        report.duplicate_stamps += stamps;
    }
    for (device, name, value) in &facts.counters {
        let report = devices.entry(device.clone()).or_default();
        match name.as_str() {
            "quarantined" => report.quarantined += value,
            "clashes" => report.clashes += value,
            _ => {}
        }
    }
    Report::new(devices)
}
