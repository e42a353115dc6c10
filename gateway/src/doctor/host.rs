//! What this machine offers without an I2C driver of ours.
//!
//! Promises: names as the configuration wants them. Never: a write.

use std::path::Path;

use serde::Serialize;

/// Probes and chips that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostReport {
    /// ROMs on the 1-Wire bus.
    pub ds18b20: Vec<String>,
    /// Names of hwmon chips.
    pub hwmon: Vec<String>,
    /// Names of IIO chips.
    pub iio: Vec<String>,
}

/// Lists them.
#[must_use]
pub fn examine_host(sysfs: &Path) -> HostReport {
    let mut report = HostReport {
        ds18b20: entries(&sysfs.join("bus/w1/devices")),
        hwmon: names(&sysfs.join("class/hwmon")),
        iio: names(&sysfs.join("bus/iio/devices")),
    };
    report.ds18b20.retain(|name| name.starts_with("28-"));
    report
}

fn entries(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    found
}

fn names(folder: &Path) -> Vec<String> {
    entries(folder)
        .iter()
        .filter_map(|chip| std::fs::read_to_string(folder.join(chip).join("name")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

impl HostReport {
    /// The report in plain words.
    #[must_use]
    pub fn text(&self) -> String {
        let lists = [
            ("DS18B20 probes (driver \"ds18b20\", rom)", &self.ds18b20),
            ("chips of the kernel (driver \"hwmon\", chip)", &self.hwmon),
            ("chips of the kernel (driver \"iio\", chip)", &self.iio),
        ];
        let lines = lists.into_iter().filter(|(_, list)| !list.is_empty());
        lines
            .map(|(what, list)| format!("{what}: {}\n", list.join(", ")))
            .collect()
    }
}
