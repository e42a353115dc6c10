//! From a configuration to what the stages need.
//!
//! Promises: the catalogue names every sensor and the gateway itself. Never: a default of its own; those
//! stand in the configuration and in the stages.

use firmware_shared::catalogue::{Catalogue, Details, Name, SensorDetail, SensorEntry};
use firmware_shared::id::Epoch;
use firmware_shared::reading::Kind;
use firmware_shared::time::BootId;
use firmware_shared::units::Unit;
use jiff::civil::Date;

use crate::alert::AlertDesk;
use crate::config::{Config, GATEWAY_SENSOR_INDEX, GATEWAY_SENSOR_NAME, Quantity, SensorConfig};
use crate::deliver::{DeliverConfig, ProcessIdentity};
use crate::forward::mqtt::MqttConfig;
use crate::forward::transport::Access;
use crate::identity;
use crate::run::health;
use crate::sequencer::QUEUE_COUNT_MAX;

/// Who this process is.
#[must_use]
pub fn process_identity(config: &Config, epoch: Epoch, boot_id: BootId) -> ProcessIdentity {
    let details = details(config);
    ProcessIdentity {
        device: config.device.clone(),
        epoch,
        boot_id,
        software: identity::software(),
        catalogue: catalogue(config, &details),
        details,
        tail_at_most: tail_at_most(config),
    }
}

/// Readings that may wait in RAM for their commit: more than a vehicle takes in 30 s.
const PENDING_COUNT_MAX: usize = 8_192;

/// The most numbers that a crash can leave issued but neither durable nor committed, per lane.
fn tail_at_most(config: &Config) -> [u64; 3] {
    // Every condition may change in one turn, before the first of the changes is durable.
    let alert = AlertDesk::condition_count_max(config.sensors().count());
    // A full queue behind a drained one, the open batch, and what waits in RAM for its commit.
    let telemetry = 2 * QUEUE_COUNT_MAX + config.seal.count_max + PENDING_COUNT_MAX;
    // The opening, a report, and the last report of a stop.
    let reports = usize::try_from(config.spool.commit_offline_ms / config.health.period_ms.max(1));
    let health = 1 + (2 + reports.unwrap_or(0)) * health::REPORT_COUNT;
    [alert, telemetry, health].map(|count| count as u64)
}

fn catalogue(config: &Config, details: &Details) -> Catalogue {
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
    Catalogue::described(entries, details).unwrap_or_default()
}

fn entry(sensor: &SensorConfig) -> SensorEntry {
    let (kind, unit) = sensor.quantity.kind_and_unit();
    let period_ms = match sensor.quantity {
        // A receiver finds its position once a second, however often its buffer is emptied.
        Quantity::Position => 1000,
        _ => sensor.period_ms,
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

/// What there is to say beyond the catalogue; a sensor about which there is nothing has no entry.
fn details(config: &Config) -> Details {
    let detail = |sensor: &SensorConfig| {
        let until = sensor.calibration_until;
        let detail = SensorDetail {
            index: sensor.index,
            compartment: sensor.compartment.clone(),
            calibration_until_day: until.map(day_number),
        };
        (!detail.compartment.is_empty() || until.is_some()).then_some(detail)
    };
    Details(config.sensors().filter_map(detail).collect())
}

/// Days since 1970-01-01.
fn day_number(date: Date) -> i32 {
    let since = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1)));
    since.map_or(0, |span| span.get_days())
}

/// How frames are kept and forwarded.
#[must_use]
pub fn deliver_config(config: &Config, seed: u64) -> DeliverConfig {
    let mut deliver = DeliverConfig::new(seed);
    deliver.spool.max_bytes.alert = config.spool.alert_max_bytes;
    deliver.spool.max_bytes.telemetry = config.spool.telemetry_max_bytes;
    deliver.spool.max_bytes.health = config.spool.health_max_bytes;
    let spool = &config.spool;
    let sum = spool.alert_max_bytes + spool.telemetry_max_bytes + spool.health_max_bytes;
    deliver.spool.total_bytes = match spool.total_max_bytes {
        0 => sum,
        total => total,
    };
    deliver.spool.pending_count_max = PENDING_COUNT_MAX as u64;
    deliver.spool.align = spool.align;
    deliver.spool.history_ms = spool.rewind_history_hours.saturating_mul(3_600_000);
    // The promise is about the age of a reading, and its batch may be that old already.
    let after_seal = |age_ms: u64| age_ms.saturating_sub(config.seal.age_ms_max);
    deliver.commit_ms = after_seal(spool.commit_ms);
    deliver.commit_offline_ms = after_seal(spool.commit_offline_ms);
    deliver.card_endurance_bytes = spool.card_endurance_tb.saturating_mul(1_000_000_000_000);
    deliver.prefix.clone_from(&config.broker.prefix);
    deliver.resend_ms_min = config.broker.resend_ms_min;
    deliver.resend_ms_max = config.broker.resend_ms_max;
    deliver.centre_silent_ms = config.broker.centre_silent_ms;
    deliver.status_ms = config.broker.status_period_ms;
    deliver.ack_level = config.broker.ack;
    deliver.plans = config.budget.plans;
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
    mqtt.spread_ms = broker.reconnect_spread_ms;
    mqtt.return_ms = broker.return_ms;
    mqtt.brokers.extend(broker.fallbacks.iter().cloned());
    mqtt.route = broker.route.clone();
    mqtt.version = broker.version;
    mqtt.profile_topic = mqtt.profile_topic.filter(|_| broker.commands);
    let keys = broker.keys.clone();
    mqtt.access = Access::new(move || keys.read());
    Some(mqtt)
}
