//! `fleet-gateway doctor`: what is connected, whether it works, and what to do where it does not.
//!
//! Promises: every part that the gateway knows is looked for where it can be, named, and read once; what a
//! driver of the kernel owns or a running gateway reads is named and left alone; a bus that hangs is left at
//! once. Never: a write to something that has not said what it is, but for the commands by which a part is asked
//! that; a truth file.

mod host;
mod identity;
mod in_use;
mod part;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmware_shared::reading::FaultKind;
use sensor_drivers::adapter::Adapter;
use sensor_drivers::sim::{Scenario, SimBus};
use serde::Serialize;

use crate::clock::boottime_ms;
use crate::sample::{BusHandle, LinuxBus};
pub use host::{HostReport, examine_host};
pub use identity::{IdentityReport, examine_identity};
pub use in_use::InUse;
use part::{Outcome, PLACES, Place};

/// What was found on one bus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BusReport {
    /// The bus.
    pub bus: String,
    /// What the kernel calls its adapter.
    pub adapter: Option<String>,
    /// What is on it, by address.
    pub parts: Vec<PartReport>,
    /// What is wrong with the bus as a whole.
    pub problems: Vec<Problem>,
    /// What is worth knowing about it.
    pub notes: Vec<&'static str>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartReport {
    /// Its address, such as `0x48`.
    pub address: String,
    /// What it is.
    pub part: String,
    /// What it said.
    pub reading: Option<String>,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// Something that a person should change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// Time passes on a real bus, and is made to pass on a simulated one.
#[derive(Debug)]
struct Pace {
    world: Option<SimBus>,
    now_ms: u64,
}

impl Pace {
    fn pause(&mut self, ms: u64) {
        match &self.world {
            Some(world) => {
                self.now_ms = self.now_ms.saturating_add(ms);
                world.advance_to(self.now_ms);
            }
            None => {
                crossbeam_channel::after(Duration::from_millis(ms))
                    .recv()
                    .ok();
                self.now_ms = boottime_ms();
            }
        }
    }
}

/// The buses of this machine.
///
/// # Errors
/// When `/dev` cannot be listed.
pub fn buses(dev: &Path) -> std::io::Result<Vec<String>> {
    let mut found: Vec<(u32, String)> = std::fs::read_dir(dev)?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let number = name.strip_prefix("i2c-")?.parse().ok()?;
            Some((number, dev.join(name).display().to_string()))
        })
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Looks at one bus: a device file, or `sim:scenario.toml`.
#[must_use]
pub fn examine_bus(bus: &str, sysfs: &Path, in_use: &InUse) -> BusReport {
    let mut report = BusReport {
        bus: bus.to_owned(),
        adapter: None,
        parts: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    match bus.strip_prefix("sim:") {
        Some(file) => examine_world(Path::new(file), &mut report),
        None => examine_device(Path::new(bus), sysfs, in_use, &mut report),
    }
    report
}

fn examine_world(file: &Path, report: &mut BusReport) {
    let world = Scenario::read(file).and_then(|scenario| scenario.without_truth().build(0));
    match world {
        Ok(world) => {
            report.adapter = Some("simulated".to_owned());
            let pace = Pace {
                world: Some(world.bus.clone()),
                now_ms: 0,
            };
            examine(
                &|| BusHandle::Sim(world.bus.clone(), Duration::ZERO),
                pace,
                report,
            );
        }
        Err(error) => report.problems.push(Problem {
            what: error.to_string(),
            advice: "correct the scenario file".to_owned(),
        }),
    }
}

fn examine_device(path: &Path, sysfs: &Path, in_use: &InUse, report: &mut BusReport) {
    let name = path.file_name().unwrap_or_default();
    let adapter = std::fs::read_to_string(sysfs.join("class/i2c-dev").join(name).join("name"));
    let adapter = adapter.ok().map(|text| text.trim().to_owned());
    let kind = adapter
        .as_deref()
        .map_or(Adapter::Other, Adapter::from_name);
    report.notes.extend(words::adapter_note(kind));
    report.adapter = adapter;
    if let Err(error) = std::fs::File::options().read(true).write(true).open(path) {
        report.problems.push(words::cannot_open(path, &error));
        return;
    }
    let pace = Pace {
        world: None,
        now_ms: boottime_ms(),
    };
    let (path, sysfs) = (path.to_owned(), sysfs.to_owned());
    let claimed = claimed(&name.to_string_lossy(), &sysfs);
    let claimed = claimed.iter().map(|(at, chip)| words::owned(*at, chip));
    let read = in_use.of(&path).map(|(at, sensor)| words::read(at, sensor));
    report.parts.extend(claimed.chain(read));
    let handle = || BusHandle::Linux(LinuxBus::new(path.clone(), &sysfs));
    examine(&handle, pace, report);
}

/// Addresses of the bus that a driver of the kernel owns, with its chip's name.
fn claimed(bus: &str, sysfs: &Path) -> BTreeMap<u8, String> {
    let number = bus.strip_prefix("i2c-").unwrap_or_default();
    let devices: Vec<PathBuf> = std::fs::read_dir(sysfs.join("bus/i2c/devices"))
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect())
        .unwrap_or_default();
    let owned = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let (bus, address) = name.split_once('-')?;
        let address = u8::from_str_radix(address.trim_start_matches("00"), 16).ok()?;
        let chip = std::fs::read_to_string(path.join("name")).unwrap_or_default();
        let is_owned = bus == number && path.join("driver").exists();
        is_owned.then(|| (address, chip.trim().to_owned()))
    };
    devices.into_iter().filter_map(owned).collect()
}

/// Looks at every address at which nothing is that must be left alone.
fn examine(handle: &dyn Fn() -> BusHandle, mut pace: Pace, report: &mut BusReport) {
    let left: BTreeSet<String> = report.parts.iter().map(|p| p.address.clone()).collect();
    let is_free = |address: &u8| !left.contains(&words::address(*address));
    for Place { addresses, kinds } in PLACES {
        for address in addresses.clone().filter(is_free) {
            for kind in *kinds {
                match kind.look(handle(), address, &mut pace) {
                    Outcome::Absent => break,
                    Outcome::Another => {}
                    Outcome::Found(found) => {
                        report.parts.push(found);
                        break;
                    }
                    Outcome::Bus(fault) => {
                        report.problems.push(words::bus(&fault));
                        if fault.kind == FaultKind::BUS_TIMEOUT {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }
    report.problems.dedup();
    report.parts.sort_by(|a, b| a.address.cmp(&b.address));
    if report.parts.is_empty() && report.problems.is_empty() {
        report.problems.push(words::nothing());
    }
}

impl BusReport {
    /// Whether there is nothing that a person should change.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.problems.is_empty() && self.parts.iter().all(|part| part.problem.is_none())
    }

    /// The report in plain words.
    #[must_use]
    pub fn text(&self) -> String {
        let adapter = self.adapter.as_deref().unwrap_or("adapter not known");
        let mut text = format!("{} ({adapter})\n", self.bus);
        for part in &self.parts {
            let said = part.reading.as_deref().unwrap_or("no value");
            text.push_str(&format!("  {} {}: {said}\n", part.address, part.part));
            if let Some(problem) = &part.problem {
                text.push_str(&problem.text());
            }
        }
        for problem in &self.problems {
            text.push_str(&problem.text());
        }
        for note in &self.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        text
    }
}

impl Problem {
    fn text(&self) -> String {
        format!("  problem: {}\n  what to do: {}\n", self.what, self.advice)
    }
}
