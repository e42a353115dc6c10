//! How a vehicle is, as the centre sees it.
//!
//! Promises: keys of its JSON are only added; what nobody said is null. Never: a guess shown as a fact.

use firmware_shared::alert::Severity;
use serde::Serialize;

use crate::ingest::Link;

/// A vehicle at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VehicleState {
    pub(crate) device: String,
    pub(crate) groups: Vec<String>,
    pub(crate) condition: Condition,
    #[serde(serialize_with = "link_name")]
    pub(crate) link: Link,
    /// When anything came from it last.
    pub(crate) heard_ms: Option<i64>,
    /// When readings came from it last.
    pub(crate) data_ms: Option<i64>,
    pub(crate) software: String,
    /// What it said about itself last.
    pub(crate) status: Option<StatusView>,
    pub(crate) sensors: Vec<SensorView>,
    pub(crate) open_alerts: u32,
    pub(crate) worst_open: Option<Severity>,
}

/// Whether it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// It speaks.
    Heard,
    /// It said goodbye and nothing is expected of it.
    Parked,
    /// The broker lost it, and it did not come back in time.
    LinkLost,
    /// The broker has not lost it, and nothing comes from it.
    Silent,
}

/// What a gateway says about itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatusView {
    /// When it came.
    pub(crate) received_ms: i64,
    pub(crate) spool_bytes: u64,
    pub(crate) oldest_unacked_ms: u64,
    pub(crate) ram_mode: bool,
    /// What only gateways of a later version say.
    #[serde(flatten)]
    pub(crate) more: Option<MoreView>,
}

/// What a gateway says about itself from version 0.1 on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MoreView {
    pub(crate) spool_max_bytes: u64,
    /// Numbers lost to make room since the start of the gateway.
    pub(crate) evicted: u64,
    pub(crate) card_life_used_percent: f64,
    pub(crate) clock_source: &'static str,
    pub(crate) clock_error_ms: Option<u64>,
    /// When its certificate ends, UTC.
    pub(crate) certificate_until_ms: Option<i64>,
    pub(crate) ack_latency_ms: Option<u64>,
    pub(crate) plan_used_bytes: u64,
    /// 0: no limit.
    pub(crate) plan_max_bytes: u64,
}

/// One sensor of a vehicle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SensorView {
    pub(crate) index: u8,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) silent: bool,
    /// The last day on which its calibration counts, days since 1970-01-01.
    pub(crate) calibration_until_day: Option<i32>,
}

fn link_name<S: serde::Serializer>(link: &Link, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(link.name())
}
