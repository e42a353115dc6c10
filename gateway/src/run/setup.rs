//! From a configuration to what the stages need.
//!
//! Promises: the catalogue names every sensor and the gateway itself. Never: a default of its own; those
//! stand in the configuration and in the stages.

use firmware_shared::catalogue::{Catalogue, Name, SensorEntry};
use firmware_shared::id::Epoch;
use firmware_shared::reading::Kind;
use firmware_shared::time::BootId;
use firmware_shared::units::Unit;

use crate::alert::AlertDesk;
use crate::config::{Config, Driver, GATEWAY_SENSOR_INDEX, GATEWAY_SENSOR_NAME, SensorConfig};
use crate::deliver::{DeliverConfig, ProcessIdentity};
use crate::forward::mqtt::MqttConfig;
use crate::identity;
use crate::run::health;
use crate::sequencer::QUEUE_COUNT_MAX;

/// Who this process is.
#[must_use]
pub fn process_identity(config: &Config, epoch: Epoch, boot_id: BootId) -> ProcessIdentity {
    ProcessIdentity {
        device: config.device.clone(),
        epoch,
        boot_id,
        software: identity::software(),
        catalogue: catalogue(config),
        tail_at_most: tail_at_most(config),
    }
}

/// The most numbers that a crash can leave issued but neither durable nor committed, per lane.
fn tail_at_most(config: &Config) -> [u64; 3] {
    // Every condition may change in one turn, before the first of the changes is durable.
    let alert = AlertDesk::condition_count_max(config.sensors().count());
    // A full queue behind a drained one whose batches are not synced yet, and the open batch.
    let telemetry = 2 * QUEUE_COUNT_MAX + config.seal.count_max;
    // The opening, a report, and the last report of a stop.
    let health = 1 + 2 * health::REPORT_COUNT;
    [alert, telemetry, health].map(|count| count as u64)
}

fn catalogue(config: &Config) -> Catalogue {
    let gateway = SensorEntry {
        index: GATEWAY_SENSOR_INDEX,
        name: Name::try_from(GATEWAY_SENSOR_NAME).unwrap_or_default(),
        kind: Kind::Health,
        unit: Unit::NONE,
        role: Name::try_from("gateway").unwrap_or_default(),
        calibration: 0,
        period_ms: u32::try_from(config.health.period_ms).unwrap_or(u32::MAX),
    };
    let entries = config.sensors().map(entry).chain([gateway]);
    // The configuration admits no more sensors than a catalogue holds.
    Catalogue::new(entries).unwrap_or_default()
}

fn entry(sensor: &SensorConfig) -> SensorEntry {
    let (kind, unit, period_ms) = match sensor.driver {
        Driver::Tmp117 => (Kind::Temperature, Unit::CELSIUS, sensor.period_ms),
        // A receiver finds its position once a second, however often its buffer is emptied.
        Driver::Ublox => (Kind::Position, Unit::DEGREE, 1000),
    };
    SensorEntry {
        index: sensor.index,
        name: sensor.name.clone(),
        kind,
        unit,
        role: sensor.role.clone(),
        calibration: sensor.calibration.0,
        period_ms: u32::try_from(period_ms).unwrap_or(u32::MAX),
    }
}

/// How frames are kept and forwarded.
#[must_use]
pub fn deliver_config(config: &Config, seed: u64) -> DeliverConfig {
    let mut deliver = DeliverConfig::new(seed);
    deliver.spool.max_bytes.alert = config.spool.alert_max_bytes;
    deliver.spool.max_bytes.telemetry = config.spool.telemetry_max_bytes;
    deliver.spool.max_bytes.health = config.spool.health_max_bytes;
    deliver.prefix.clone_from(&config.broker.prefix);
    deliver.resend_ms_min = config.broker.resend_ms_min;
    deliver.resend_ms_max = config.broker.resend_ms_max;
    deliver.centre_silent_ms = config.broker.centre_silent_ms;
    deliver.status_ms = config.broker.status_period_ms;
    deliver.ack_level = config.broker.ack;
    deliver
}

/// How to reach the broker; `None` when prefix and device make the topics too long.
#[must_use]
pub fn mqtt_config(config: &Config, identity: &ProcessIdentity, seed: u64) -> Option<MqttConfig> {
    let broker = &config.broker;
    let mut mqtt = MqttConfig::new(&broker.host, broker.port, &broker.prefix, identity, seed)?;
    mqtt.keep_alive_s = broker.keep_alive_s;
    mqtt.backoff_ms_min = broker.backoff_ms_min;
    mqtt.backoff_ms_max = broker.backoff_ms_max;
    mqtt.credentials = broker
        .credentials
        .as_ref()
        .map(|c| (c.username.clone(), c.password.clone()));
    Some(mqtt)
}
