//! The configuration file.
//!
//! Promises: a configuration that loads is complete, in range and free of contradictions, so that no stage
//! ever sees a bad value; what is wrong is one sentence with file, key, value and what is allowed; relative
//! paths start at the folder of the file. Never: an environment variable, a silent default in place of a
//! bad value, a secret in the printed form.
//!
//! ```toml
//! [device]
//! id = "truck-001"
//!
//! [broker]
//! host = "broker.example"
//!
//! [[bus]]
//! name = "i2c1"
//! path = "/dev/i2c-1"            # or "sim:scenario.toml"
//!
//! [[bus.sensor]]
//! name = "cargo"
//! driver = "tmp117"
//! address = 0x48
//! role = "load"
//! limit_high_deg_c = 8.0
//! ```

mod broker;
mod budget;
mod bus;
mod detector;
mod error;
mod host;
mod keys;
mod limit;
mod metrics;
mod notify;
mod part;
mod section;
mod sensor;
mod time;
mod trip;
mod world;

use std::path::{Path, PathBuf};

use firmware_shared::batch;
use firmware_shared::id::DeviceId;

pub use broker::BrokerConfig;
pub use budget::BudgetConfig;
pub use bus::{BusConfig, BusPath};
pub use detector::{DetectorConfig, DetectorSize};
pub use error::ConfigError;
pub use host::{BAUDS, Bias, GpioChip, HostConfig, HostSource, KernelInterface};
pub use keys::{KeyFiles, LoginFile, TlsFiles};
pub use limit::{LIMITS_PER_SENSOR_MAX, LimitRule, Limits, PlacedLimit, Schedule};
pub use metrics::MetricsConfig;
pub use notify::{BuzzerConfig, HookConfig, LocalBrokerConfig, NotifyConfig};
pub use part::Driver;
use section::Section;
pub use sensor::{
    GATEWAY_SENSOR_INDEX, GATEWAY_SENSOR_NAME, POWER_GOOD_ROLE, Quantity, SensorConfig, Source,
};
pub use time::TimeConfig;
pub use trip::{PROFILE_LEN_MAX, TripProfile};
pub use world::check_scenarios;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The name of the device.
    pub device: DeviceId,
    /// Where sealed frames wait.
    pub spool: SpoolConfig,
    /// Where they go.
    pub broker: BrokerConfig,
    /// What that may cost.
    pub budget: BudgetConfig,
    /// When batches are closed.
    pub seal: SealConfig,
    /// The gateway about itself.
    pub health: HealthConfig,
    /// How the process answers questions.
    pub status: StatusConfig,
    /// Where figures are read.
    pub metrics: MetricsConfig,
    /// Where this machine shows its own sensors.
    pub host: HostConfig,
    /// The clocks of this machine.
    pub time: TimeConfig,
    /// How streams are judged.
    pub detector: DetectorConfig,
    /// What tells people on the vehicle.
    pub notify: NotifyConfig,
    /// The buses with their sensors.
    pub buses: Vec<BusConfig>,
    /// Sensors without a bus of ours.
    pub host_sensors: Vec<SensorConfig>,
    /// Everything that is in effect, defaults included.
    effective: toml::Table,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The folder.
    pub dir: PathBuf,
    /// Most bytes of alerts; they are rare and small.
    pub alert_max_bytes: u64,
    /// Most bytes of readings: 256 MiB hold weeks of a few sensors at 1 Hz.
    pub telemetry_max_bytes: u64,
    /// Most bytes about the gateway itself.
    pub health_max_bytes: u64,
    /// Most bytes of all lanes together; 0 for no more than their sum.
    pub total_max_bytes: u64,
    /// How old a reading may get that is neither durable nor committed by the centre, ms; 0 syncs each.
    pub commit_ms: u64,
    /// The same after ten minutes without a connection, ms.
    pub commit_offline_ms: u64,
    /// How long acknowledged batches are kept for a centre that is restored from a backup, hours; then
    /// their room goes first. 0 writes nothing that is acknowledged in time.
    pub rewind_history_hours: u64,
    /// What commits are padded to, bytes: what the card writes at once must not hold two commits.
    pub align: u32,
    /// Bytes that the card takes in its life, 10^12.
    pub card_endurance_tb: u64,
}

/// `[seal]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealConfig {
    /// Readings after which a batch is closed.
    pub count_max: usize,
    /// Age of its first reading after which a batch is closed, ms of stamps.
    pub age_ms_max: u64,
}

/// `[health]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// Time between two reports of the gateway about itself, ms.
    pub period_ms: u64,
}

/// `[status]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusConfig {
    /// The unix socket of `fleet-gateway status`.
    pub socket: PathBuf,
    /// The unix socket of `fleet-gateway profile`.
    pub control_socket: PathBuf,
}

/// The longest path of a unix socket on Linux: 108 bytes with the closing zero.
const SOCKET_PATH_LEN_MAX: usize = 107;
const MIB: i64 = 1024 * 1024;
/// A lane smaller than two segments of the spool could not evict one and keep one.
const LANE_BYTES_MIN: i64 = 8 * MIB;
const LANE_BYTES_MAX: i64 = 1024 * 1024 * MIB;

impl Config {
    /// Reads and checks a file and the scenario files that it names; nothing is written.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that a person must change.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let config = Self::read(file)?;
        check_scenarios(&config)?;
        Ok(config)
    }

    /// Reads and checks a file alone.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that a person must change.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason: std::io::Error| ConfigError::Unreadable {
            file: file.to_owned(),
            reason: reason.to_string(),
        };
        let file = std::path::absolute(file).map_err(unreadable)?;
        let text = std::fs::read_to_string(&file).map_err(unreadable)?;
        Self::parse(&file, &text)
    }

    /// Checks the text of a file without reading the files that it names, except for secrets.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that a person must change.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let table = text
            .parse::<toml::Table>()
            .map_err(|error| syntax(file, text, &error))?;
        let mut root = Section::root(file, table);
        let device = read_device(&mut root)?;
        let spool = read_spool(&mut root)?;
        let broker = broker::read(&mut root)?;
        let budget = budget::read(&mut root)?;
        let seal = read_seal(&mut root)?;
        let health = read_health(&mut root)?;
        let status = read_status(&mut root)?;
        let metrics = metrics::read(&mut root)?;
        let host = host::read_host(&mut root)?;
        let time = time::read(&mut root, &host.sysfs)?;
        let detector = detector::read(&mut root)?;
        let mut taken = sensor::Taken::new(detector.size);
        let mut buses = bus::read(&mut root, &mut taken)?;
        let mut host_sensors = host::read(&mut root, &mut taken)?;
        if buses.is_empty() && host_sensors.is_empty() {
            let allowed = "at least one section [[bus]] with a sensor, or [[sensor]]";
            return Err(root.refuse("bus", "[]", allowed));
        }
        let notify = notify::read(&mut root)?;
        let placed = limit::read(&mut root)?;
        let on_buses = buses.iter_mut().flat_map(|bus| &mut bus.sensors);
        let mut all: Vec<&mut SensorConfig> = on_buses.chain(&mut host_sensors).collect();
        sensor::place_limits(&root, &mut all, &placed)?;
        let effective = root.finish()?;
        let file = file.to_owned();
        Ok(Self {
            file,
            device,
            spool,
            broker,
            budget,
            seal,
            health,
            status,
            metrics,
            host,
            time,
            detector,
            notify,
            buses,
            host_sensors,
            effective,
        })
    }

    /// What is in effect, as TOML that would load to the same configuration.
    #[must_use]
    pub fn effective_toml(&self) -> String {
        self.effective.to_string()
    }

    /// Every sensor: those of every bus, then those without one.
    pub fn sensors(&self) -> impl Iterator<Item = &SensorConfig> {
        let buses = self.buses.iter().flat_map(|bus| &bus.sensors);
        buses.chain(&self.host_sensors)
    }
}

fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    ConfigError::Syntax {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        reason: error.message().replace('\n', ", "),
    }
}

fn read_device(root: &mut Section<'_>) -> Result<DeviceId, ConfigError> {
    let mut section = root.section("device")?;
    let device = section.parsed(
        "id",
        "a name of 1 to 32 characters out of a-z, 0-9, _ and -",
    )?;
    root.adopt("device", section)?;
    Ok(device)
}

fn read_spool(root: &mut Section<'_>) -> Result<SpoolConfig, ConfigError> {
    let mut section = root.section("spool")?;
    let range = LANE_BYTES_MIN..=LANE_BYTES_MAX;
    let mut bytes = |name, default| -> Result<u64, ConfigError> {
        Ok(section
            .integer(name, default, range.clone())?
            .unsigned_abs())
    };
    let alert_max_bytes = bytes("alert_max_bytes", 8 * MIB)?;
    let telemetry_max_bytes = bytes("telemetry_max_bytes", 256 * MIB)?;
    let health_max_bytes = bytes("health_max_bytes", 16 * MIB)?;
    // Six segments: below that a lane could not evict one and keep one.
    let total = section.integer("total_max_bytes", 0, 0..=3 * LANE_BYTES_MAX)?;
    if (1..24 * MIB).contains(&total) {
        let allowed = format!("0 or an integer from {}", 24 * MIB);
        return Err(section.refuse("total_max_bytes", total, allowed));
    }
    let mut number = |name, default, range| -> Result<u64, ConfigError> {
        Ok(section.integer::<i64>(name, default, range)?.unsigned_abs())
    };
    let commit_ms = number("commit_ms", 5_000, 0..=60_000)?;
    let commit_offline_ms = number("commit_offline_ms", 30_000, 0..=600_000)?;
    let rewind_history_hours = number("rewind_history_hours", 24, 0..=8_760)?;
    let align = number("align", 4_096, 512..=16_384)?;
    let card_endurance_tb = number("card_endurance_tb", 20, 1..=100_000)?;
    let align = match u32::try_from(align) {
        Ok(align @ (512 | 4_096 | 16_384)) => align,
        _ => return Err(section.refuse("align", align, "512, 4096 or 16384")),
    };
    let dir = section.path("dir", "spool")?;
    root.adopt("spool", section)?;
    Ok(SpoolConfig {
        dir,
        alert_max_bytes,
        telemetry_max_bytes,
        health_max_bytes,
        total_max_bytes: total.unsigned_abs(),
        commit_ms,
        commit_offline_ms,
        rewind_history_hours,
        align,
        card_endurance_tb,
    })
}

fn read_seal(root: &mut Section<'_>) -> Result<SealConfig, ConfigError> {
    let mut section = root.section("seal")?;
    let count_limit = u16::try_from(batch::COUNT_MAX).unwrap_or(u16::MAX);
    // A minute at 1 Hz: beyond that a larger batch saves little, and it delays the link.
    let count_max = section.integer("count_max", 60_u16.min(count_limit), 1..=count_limit)?;
    // A reading is worth nothing before it is accepted, and a batch cannot be accepted before it is closed.
    let age_ms_max = section.integer("age_ms_max", 2000_u32, 0..=3_600_000)?;
    root.adopt("seal", section)?;
    Ok(SealConfig {
        count_max: usize::from(count_max),
        age_ms_max: u64::from(age_ms_max),
    })
}

fn read_health(root: &mut Section<'_>) -> Result<HealthConfig, ConfigError> {
    let mut section = root.section("health")?;
    let period_s = section.integer("period_s", 60_u32, 1..=86_400)?;
    root.adopt("health", section)?;
    Ok(HealthConfig {
        period_ms: u64::from(period_s) * 1000,
    })
}

fn read_status(root: &mut Section<'_>) -> Result<StatusConfig, ConfigError> {
    let mut section = root.section("status")?;
    let socket = section.path("socket", "status.sock")?;
    // Beside the other one, unless somebody says otherwise.
    let control_socket = match section.path_if_any("control_socket")? {
        Some(path) => path,
        None => {
            let beside = socket.with_file_name("control.sock");
            section.resolve("control_socket", "", &beside.to_string_lossy())
        }
    };
    for (key, path) in [("socket", &socket), ("control_socket", &control_socket)] {
        if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
            let allowed = format!("a path of at most {SOCKET_PATH_LEN_MAX} bytes in all");
            return Err(section.refuse(key, path.display(), allowed));
        }
    }
    if socket == control_socket {
        let allowed = "another path than that of socket";
        return Err(section.refuse("control_socket", control_socket.display(), allowed));
    }
    root.adopt("status", section)?;
    Ok(StatusConfig {
        socket,
        control_socket,
    })
}

#[cfg(test)]
mod tests;
