//! The detector of one stream, in the size that the configuration asks for.
//!
//! Promises: the same readings give the same verdicts in both sizes of memory; a snapshot goes on where it
//! stopped. Never: a fault or an absent value is learned.

use firmware_shared::detect::gnss::{Epoch, GnssDetector, GnssFault};
use firmware_shared::detect::{Channels, Input, Large, Small, SnapshotError, Verdict};
use firmware_shared::reading::{FaultKind, Value};

use crate::config::{DetectorSize, Quantity, SensorConfig};

/// A receiver finds its position once a second.
const FIX_PERIOD_MS: u64 = 1000;
/// The larger of both sizes, and room for what it may grow to.
pub(super) const SNAPSHOT_LEN_MAX: usize = 64 * 1024;
const SNAPSHOT_LEN_MAX_SMALL: usize = 8 * 1024;

/// What the position rules say about one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PositionVerdict {
    /// The fault that begins here.
    pub begins: Option<GnssFault>,
    /// The position stands while the speed says moving.
    pub freeze: bool,
    /// Positions leave the track that the speed describes.
    pub drag_off: bool,
    /// Without a fix for longer than any tunnel.
    pub loss: bool,
}

/// The detector of one stream. The models are boxed: they are kibibytes, and most sensors have none.
#[derive(Debug)]
pub(super) enum Model {
    Small(Box<Small>),
    Large(Box<Large>),
    Position(GnssDetector),
}

impl Model {
    /// `None` for what has no detector.
    pub(super) fn of(sensor: &SensorConfig) -> Option<Self> {
        match (sensor.quantity, sensor.detector) {
            (Quantity::Input, _) | (_, DetectorSize::Off) => None,
            (Quantity::Position, _) => Some(Self::Position(GnssDetector::new(FIX_PERIOD_MS))),
            (_, DetectorSize::Small) => Some(Self::Small(Box::default())),
            (_, DetectorSize::Large) => Some(Self::Large(Box::default())),
        }
    }

    /// Judges a number.
    pub(super) fn number(&mut self, at_ms: u64, value: f64, around: Channels) -> Option<Verdict> {
        let input = Input::with_channels(value, around);
        match self {
            Self::Small(model) => Some(model.step(at_ms, &input)),
            Self::Large(model) => Some(model.step(at_ms, &input)),
            Self::Position(_) => None,
        }
    }

    /// Judges an epoch of a receiver; `None` for what is none.
    pub(super) fn position(&mut self, at_ms: u64, value: &Value) -> Option<PositionVerdict> {
        let Self::Position(rules) = self else {
            return None;
        };
        let epoch = match value {
            // The driver reports an epoch once: a repeated sentence is silence here, and told as that.
            Value::Position(position) => Epoch::Fix {
                position: *position,
                time_of_day_ms: None,
            },
            Value::Fault(fault) if fault.kind == FaultKind::NO_FIX => Epoch::NoFix,
            _ => return None,
        };
        let begins = rules.step(at_ms, &epoch);
        Some(PositionVerdict {
            begins,
            freeze: rules.is_on(GnssFault::Freeze),
            drag_off: rules.is_on(GnssFault::DragOff),
            loss: rules.is_on(GnssFault::Loss),
        })
    }

    /// Whether there is something to keep: rules have learned nothing.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Self::Position(_))
    }

    /// The model as bytes; `None` for rules, which have learned nothing.
    pub(super) fn save(&self) -> Option<Vec<u8>> {
        let (mut bytes, saved) = match self {
            Self::Small(model) => {
                let mut bytes = vec![0; SNAPSHOT_LEN_MAX_SMALL];
                let saved = model.save(&mut bytes);
                (bytes, saved)
            }
            Self::Large(model) => {
                let mut bytes = vec![0; SNAPSHOT_LEN_MAX];
                let saved = model.save(&mut bytes);
                (bytes, saved)
            }
            Self::Position(_) => return None,
        };
        match saved {
            Ok(len) => {
                bytes.truncate(len);
                Some(bytes)
            }
            Err(error) => {
                tracing::error!(%error, "a model cannot be kept");
                None
            }
        }
    }

    /// Goes on from such bytes.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        match self {
            Self::Small(model) => **model = Small::load(bytes)?,
            Self::Large(model) => **model = Large::load(bytes)?,
            Self::Position(_) => {}
        }
        Ok(())
    }
}
