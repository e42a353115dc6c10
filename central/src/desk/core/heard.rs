//! What the desk hears of vehicles and of the centre itself.
//!
//! Promises: whatever is here was committed before. Never: a judgement.

use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::message::Status;

use crate::ingest::Link;

/// Something that was heard of a vehicle, committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) device: DeviceId,
    /// When it came; `None` for what is no word of the vehicle by itself.
    pub(crate) at_ms: Option<i64>,
    pub(crate) what: What,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// Anything else that shows that it speaks.
    Word,
    /// How it is connected, and which process of its gateway speaks.
    Link {
        link: Link,
        epoch: Option<Epoch>,
    },
    /// That process began, at this stamp.
    Born {
        epoch: Epoch,
        software: String,
        stamp_ms: u64,
    },
    Catalogue {
        epoch: Epoch,
        sensors: Vec<SensorKnown>,
    },
    Status(Box<Status>),
    /// The newest stamp of each sensor in a batch.
    Readings {
        epoch: Epoch,
        newest: Vec<(u8, u64)>,
    },
    /// Something that the centre found out about it.
    Alarm {
        kind: &'static str,
        text: String,
    },
}

/// A sensor as the catalogue describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SensorKnown {
    pub(crate) index: u8,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) period_ms: u32,
    pub(crate) calibration_until_day: Option<i32>,
}

/// What the main database knows about a vehicle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) device: DeviceId,
    pub(crate) link: Link,
    pub(crate) seen_ms: i64,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) software: String,
    pub(crate) sensors: Vec<SensorKnown>,
    pub(crate) status: Option<(i64, Status)>,
}

/// How the centre itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pulse {
    pub(crate) is_connected: bool,
    pub(crate) is_stalled: bool,
    pub(crate) backlog: usize,
}
